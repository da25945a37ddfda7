package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vector is a request that a sender's manual shows.
type vector struct {
	sender, secret, content string
	header                  http.Header
}

var vectors = []vector{
	{
		// GitHub: Validating webhook deliveries, Testing the webhook payload validation.
		"github", "It's a Secret to Everybody", "Hello, World!",
		http.Header{"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}},
	},
	{
		// Slack: Verifying requests from Slack, Step-by-step walk-through.
		"slack", "8f742231b10e8888abcd99yyyzzz85a5",
		"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
			"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=" +
			"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
			"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
		http.Header{
			"X-Slack-Signature":         {"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
			"X-Slack-Request-Timestamp": {"1531420618"},
		},
	},
	{
		// Standard Webhooks and Svix: the example of their libraries.
		"standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`,
		http.Header{
			"Webhook-Id":        {"msg_p5jXN8AQM9LWM0D4loKWxJek"},
			"Webhook-Timestamp": {"1614265330"},
			"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		},
	},
}

func key(t testing.TB, s *Scheme, text string) []byte {
	t.Helper()
	k, err := s.Secret(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPublishedExamplesVerify(t *testing.T) {
	for _, v := range vectors {
		s := Named(v.sender)
		c, err := s.Read(v.header)
		if err != nil {
			t.Fatalf("%s: %v", v.sender, err)
		}
		if _, _, err := c.Verify([]byte(v.content), [][]byte{key(t, s, v.secret)}); err != nil {
			t.Errorf("%s: %v", v.sender, err)
		}
		if _, _, err := c.Verify([]byte(v.content+"\n"), [][]byte{key(t, s, v.secret)}); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s, with a line break more: %v", v.sender, err)
		}
	}
}

// sign returns the header fields that a sender would send.
func sign(s *Scheme, secret []byte, id string, made time.Time, content []byte) http.Header {
	t := strconv.FormatInt(made.Unix(), 10)
	before, wrap := "", func(text string) string { return text }
	h := make(http.Header)
	switch {
	case s.Name == "stripe":
		before, wrap = t+".", func(text string) string { return "t=" + t + ",v1=" + text }
	case s.Name == "slack":
		before = "v0:" + t + ":"
		h[s.Fields[1]] = []string{t}
	case s.Timed:
		before = id + "." + t + "."
		h[s.Fields[1]], h[s.Fields[2]] = []string{id}, []string{t}
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(before))
	m.Write(content)
	h[s.Signature] = []string{wrap(s.encode(m.Sum(nil)))}
	return h
}

var (
	made    = time.Unix(1_700_000_000, 0)
	content = []byte(`{"event":"order.paid"}`)
)

// secretOf is one that the scheme takes.
func secretOf(s *Scheme, fill byte) string {
	switch s.Name {
	case "stripe":
		return "whsec_" + strings.Repeat(string(fill), 32)
	case "standard", "svix":
		return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))
	}
	return strings.Repeat(string(fill), 32)
}

func TestEverySenderIsVerifiedAndItsSecretsRotate(t *testing.T) {
	for _, s := range Schemes {
		old, next, other := key(t, s, secretOf(s, 'a')), key(t, s, secretOf(s, 'b')), key(t, s, secretOf(s, 'c'))
		for i, secret := range [][]byte{old, next} {
			c, err := s.Read(sign(s, secret, "msg_1", made, content))
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			which, macs, err := c.Verify(content, [][]byte{old, next})
			if err != nil || which != i || len(macs) != 2 || bytes.Equal(macs[0], macs[1]) {
				t.Errorf("%s: got %d, %x, %v", s.Name, which, macs, err)
			}
			if _, _, err := c.Verify(content, [][]byte{other}); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s: with another secret: %v", s.Name, err)
			}
			if _, _, err := c.Verify(content, nil); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s: without a secret: %v", s.Name, err)
			}
			for at := range content {
				changed := bytes.Clone(content)
				changed[at] ^= 1
				if _, _, err := c.Verify(changed, [][]byte{old, next}); !errors.Is(err, ErrMismatch) {
					t.Errorf("%s: with byte %d changed: %v", s.Name, at, err)
				}
			}
		}
	}
}

func TestTimeIsAWindow(t *testing.T) {
	for _, s := range Schemes {
		c, err := s.Read(sign(s, key(t, s, secretOf(s, 'a')), "msg_1", made, content))
		if err != nil {
			t.Fatal(err)
		}
		for off, ok := range map[time.Duration]bool{
			0: true, 5 * time.Minute: true, -5 * time.Minute: true,
			5*time.Minute + time.Second: false, -5*time.Minute - time.Second: false, 1e6 * time.Hour: false,
		} {
			err := c.Fresh(made.Add(off), 5*time.Minute)
			if want := ok || !s.Timed; (err == nil) != want {
				t.Errorf("%s: %v after it was made: %v", s.Name, off, err)
			}
		}
	}
}

func TestHostileFieldsAreRefused(t *testing.T) {
	hexMAC := strings.Repeat("0", 64)
	for name, tc := range map[string]struct {
		sender string
		header http.Header
		want   error
	}{
		"nothing":                   {"github", http.Header{}, ErrMissing},
		"SHA-1 alone":               {"github", http.Header{"X-Hub-Signature": {"sha1=00"}}, ErrMissing},
		"two fields":                {"github", http.Header{"X-Hub-Signature-256": {"a", "b"}}, ErrMalformed},
		"an empty field":            {"github", http.Header{"X-Hub-Signature-256": {""}}, ErrMalformed},
		"a field beyond measure":    {"shopify", http.Header{"X-Shopify-Hmac-Sha256": {strings.Repeat("a", 5000)}}, ErrMalformed},
		"no time":                   {"stripe", http.Header{"Stripe-Signature": {"v1=" + hexMAC}}, ErrMalformed},
		"two times":                 {"stripe", http.Header{"Stripe-Signature": {"t=1,t=2,v1=" + hexMAC}}, ErrMalformed},
		"a time with a sign":        {"stripe", http.Header{"Stripe-Signature": {"t=+1700000000,v1=" + hexMAC}}, ErrMalformed},
		"a time with a full stop":   {"stripe", http.Header{"Stripe-Signature": {"t=17.00,v1=" + hexMAC}}, ErrMalformed},
		"a time beyond measure":     {"stripe", http.Header{"Stripe-Signature": {"t=9999999999999,v1=" + hexMAC}}, ErrMalformed},
		"a part without a value":    {"stripe", http.Header{"Stripe-Signature": {"t=1700000000,v1"}}, ErrMalformed},
		"signatures beyond measure": {"stripe", http.Header{"Stripe-Signature": {"t=1700000000" + strings.Repeat(",v1=a", 17)}}, ErrMalformed},
		"Slack without a time":      {"slack", http.Header{"X-Slack-Signature": {"v0=" + hexMAC}}, ErrMalformed},
		"Slack with two times":      {"slack", http.Header{"X-Slack-Signature": {"v0=" + hexMAC}, "X-Slack-Request-Timestamp": {"1700000000", "1700000001"}}, ErrMalformed},
		"a colon in Slack's time":   {"slack", http.Header{"X-Slack-Signature": {"v0=" + hexMAC}, "X-Slack-Request-Timestamp": {"17:00"}}, ErrMalformed},
		"no id":                     {"standard", http.Header{"Webhook-Signature": {"v1,a"}, "Webhook-Timestamp": {"1700000000"}}, ErrMalformed},
		"an id with a full stop":    {"standard", http.Header{"Webhook-Signature": {"v1,a"}, "Webhook-Id": {"a.1700000000"}, "Webhook-Timestamp": {"1700000000"}}, ErrMalformed},
		"a signature of no version": {"standard", http.Header{"Webhook-Signature": {"v1,a b"}, "Webhook-Id": {"a"}, "Webhook-Timestamp": {"1700000000"}}, ErrMalformed},
		"other people's fields":     {"svix", http.Header{"Webhook-Signature": {"v1,a"}, "Webhook-Id": {"a"}, "Webhook-Timestamp": {"1700000000"}}, ErrMissing},
	} {
		if _, err := Named(tc.sender).Read(tc.header); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

// TestSignaturesOfOtherVersionsCountForNothing: v0 of Stripe is for tests, v1a of
// Standard Webhooks is asymmetric.
func TestSignaturesOfOtherVersionsCountForNothing(t *testing.T) {
	for sender, edit := range map[string][2]string{"stripe": {"v1=", "v0="}, "standard": {"v1,", "v1a,"}, "slack": {"v0=", "v1="}, "github": {"sha256=", "sha1="}} {
		s := Named(sender)
		secret := key(t, s, secretOf(s, 'a'))
		h := sign(s, secret, "msg_1", made, content)
		h[s.Signature][0] = strings.Replace(h[s.Signature][0], edit[0], edit[1], 1)
		c, err := s.Read(h)
		if err != nil {
			t.Fatalf("%s: %v", sender, err)
		}
		if _, _, err := c.Verify(content, [][]byte{secret}); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", sender, err)
		}
	}
}

func TestOneOfSeveralSignaturesIsEnough(t *testing.T) {
	for sender, sep := range map[string]string{"stripe": ",v1=", "standard": " v1,"} {
		s := Named(sender)
		secret := key(t, s, secretOf(s, 'a'))
		h := sign(s, secret, "msg_1", made, content)
		h[s.Signature][0] += sep + strings.Repeat("0", 64)
		c, err := s.Read(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Verify(content, [][]byte{secret}); err != nil {
			t.Errorf("%s: %v", sender, err)
		}
	}
}

func TestSecretsThatCannotBeRightAreRefused(t *testing.T) {
	for text, sender := range map[string]string{
		"short": "github", "sk_live_0123456789abcdef0123456789": "stripe", "whsec_c2hvcnQ=": "standard",
		"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "standard", "whsec_not base64": "svix",
	} {
		if _, err := Named(sender).Secret(text); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%s: %s: %v", sender, text, err)
		}
	}
}

// FuzzOnlyTheExactMACIsAccepted has the law: what is accepted has, spelled in the
// one way that the sender has, the MAC of what the sender signs. It is computed
// here from the manuals of the senders, by code of its own.
func FuzzOnlyTheExactMACIsAccepted(f *testing.F) {
	for i, s := range Schemes {
		k, err := s.Secret(secretOf(s, 'a'))
		if err != nil {
			f.Fatal(err)
		}
		h := sign(s, k, "msg_1", made, content)
		f.Add(byte(i), h.Get(s.Signature), "msg_1", "1700000000", content, true)
		f.Add(byte(i), h.Get(s.Signature)+" v1,x", "a.1", "01", content, false)
	}
	f.Fuzz(func(t *testing.T, which byte, signature, id, at string, content []byte, right bool) {
		s := Schemes[int(which)%len(Schemes)]
		secret := key(t, s, secretOf(s, 'a'))
		h := http.Header{s.Signature: {signature}}
		switch s.Name {
		case "slack":
			h["X-Slack-Request-Timestamp"] = []string{at}
		case "standard", "svix":
			h[s.Fields[1]], h[s.Fields[2]] = []string{id}, []string{at}
		}
		if right { // most of what a fuzzer writes is not signed
			c, err := s.Read(h)
			if err != nil {
				return
			}
			h = sign(s, secret, id, c.Made, content)
			signature = h.Get(s.Signature)
		}
		c, err := s.Read(h)
		if err != nil {
			return
		}
		_, _, err = c.Verify(content, [][]byte{secret})
		mac := func(text string) []byte {
			m := hmac.New(sha256.New, secret)
			m.Write([]byte(text + string(content)))
			return m.Sum(nil)
		}
		var want bool
		switch s.Name {
		case "github":
			want = signature == "sha256="+hex.EncodeToString(mac(""))
		case "shopify":
			want = signature == base64.StdEncoding.EncodeToString(mac(""))
		case "slack":
			want = signature == "v0="+hex.EncodeToString(mac("v0:"+at+":"))
		case "stripe":
			t := ""
			for _, part := range strings.Split(signature, ",") {
				if strings.HasPrefix(part, "t=") {
					t = part[2:]
				}
			}
			for _, part := range strings.Split(signature, ",") {
				want = want || part == "v1="+hex.EncodeToString(mac(t+"."))
			}
		default:
			for _, part := range strings.Split(signature, " ") {
				want = want || part == "v1,"+base64.StdEncoding.EncodeToString(mac(id+"."+at+"."))
			}
		}
		if (err == nil) != want {
			t.Fatalf("%s: %q %q %q %q: got %v, want %v", s.Name, signature, id, at, content, err, want)
		}
	})
}
