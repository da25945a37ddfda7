package dpop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
)

var now = time.Unix(1795341600, 0)

const accessToken = "the.access.token"

// client is somebody with a key.
type client struct {
	private *ecdsa.PrivateKey
	public  string // JWK
	thumb   string
}

func newClient(t testing.TB) client {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	public := fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":"%s","y":"%s"}`, b64(point[1:33]), b64(point[33:]))
	parsed, err := jwk.Parse([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	return client{k, public, parsed.Thumbprint()}
}

func ath(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// proof makes a good proof, with some claims changed: pairs of name and JSON
// text, an empty text leaves the claim out.
func (c client) proof(t testing.TB, with ...string) string {
	t.Helper()
	claims := map[string]string{
		"jti": `"1"`, "htm": `"GET"`, "htu": `"https://api.example.com/orders"`,
		"iat": "1795341600", "ath": `"` + ath(accessToken) + `"`,
	}
	for i := 0; i < len(with); i += 2 {
		claims[with[i]] = with[i+1]
	}
	var list []string
	for name, value := range claims {
		if value != "" {
			list = append(list, `"`+name+`":`+value)
		}
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+c.public+`}`)) + "." + b64([]byte("{"+strings.Join(list, ",")+"}"))
	sig, err := jwt.SigningMethodES256.Sign(text, c.private)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}

func (c client) request() Request {
	return Request{Method: "GET", URL: "https://api.example.com/orders", Token: accessToken, Thumbprint: c.thumb}
}

func checker(limit int) *Checker {
	c := &Checker{MaxAge: time.Minute, Leeway: 5 * time.Second}
	c.Used = replay.NewMemory(limit, now.Add(-time.Hour))
	return c
}

func TestProofIsGoodForOneRequest(t *testing.T) {
	alice, mallory := newClient(t), newClient(t)
	get := alice.request()
	change := func(f func(*Request)) Request {
		r := get
		f(&r)
		return r
	}
	for _, c := range []struct {
		name    string
		proof   string
		request Request
		says    string // empty: accepted
	}{
		{"good", alice.proof(t), get, ""},
		{"htu with query and fragment", alice.proof(t, "htu", `"https://api.example.com/orders?a=b#c"`), get, ""},
		{"request with a query", alice.proof(t), change(func(r *Request) { r.URL += "?page=2" }), ""},
		{"htu written otherwise", alice.proof(t, "htu", `"HTTPS://API.example.com:443/%6frders"`), get, ""},
		{"iat as old as allowed", alice.proof(t, "iat", "1795341536"), get, ""},
		{"iat in leeway", alice.proof(t, "iat", "1795341605"), get, ""},

		{"no proof", "", get, "proof: malformed"},
		{"no JWT", "x", get, "proof: malformed"},
		{"two proofs in one", alice.proof(t) + "," + alice.proof(t), get, "proof: malformed"},
		{"forged", strings.TrimSuffix(alice.proof(t), "A") + "x", get, "proof"},
		{"access token as proof", accessToken, get, "proof: malformed"},
		{"another method", alice.proof(t, "htm", `"POST"`), get, "htm"},
		{"method in lower case", alice.proof(t, "htm", `"get"`), get, "htm"},
		{"request of another method", alice.proof(t), change(func(r *Request) { r.Method = "DELETE" }), "htm"},
		{"another host", alice.proof(t, "htu", `"https://api.example.org/orders"`), get, "htu"},
		{"another path", alice.proof(t, "htu", `"https://api.example.com/orders/1"`), get, "htu"},
		{"path in other case", alice.proof(t, "htu", `"https://api.example.com/Orders"`), get, "htu"},
		{"another scheme", alice.proof(t, "htu", `"http://api.example.com/orders"`), get, "htu"},
		{"another port", alice.proof(t, "htu", `"https://api.example.com:8443/orders"`), get, "htu"},
		{"dot segments", alice.proof(t, "htu", `"https://api.example.com/x/../orders"`), get, "htu"},
		{"user in htu", alice.proof(t, "htu", `"https://a@api.example.com/orders"`), get, "htu"},
		{"htu a path", alice.proof(t, "htu", `"/orders"`), get, "htu"},
		{"too old", alice.proof(t, "iat", "1795341535"), get, "iat"},
		{"from the future", alice.proof(t, "iat", "1795341606"), get, "iat"},
		{"no iat", alice.proof(t, "iat", ""), get, "proof: malformed"},
		{"no jti", alice.proof(t, "jti", ""), get, "proof: malformed"},
		{"no ath", alice.proof(t, "ath", ""), get, "ath"},
		{"ath of another token", alice.proof(t, "ath", `"`+ath("other")+`"`), get, "ath"},
		{"another token", alice.proof(t), change(func(r *Request) { r.Token = "other" }), "ath"},
		{"another client's key", mallory.proof(t), get, "bound"},
		{"token that is not bound", alice.proof(t), change(func(r *Request) { r.Thumbprint = "" }), "bound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checker(10).Check(context.Background(), c.proof, c.request, now)
			if c.says == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrProof) || !strings.Contains(e.Reason, c.says) {
				t.Errorf("got %#v, want a refusal that says %q", err, c.says)
			}
			if err != nil && err.Error() != ErrProof.Error() {
				t.Errorf("tells the client %q", err)
			}
		})
	}
}

func TestProofIsGoodOnce(t *testing.T) {
	alice, bob := newClient(t), newClient(t)
	c := checker(100)
	proof := alice.proof(t)
	if err := c.Check(context.Background(), proof, alice.request(), now); err != nil {
		t.Fatal(err)
	}
	// Again as long as its date allows, and under another signature, since
	// the same jti by the same key is the same proof.
	for sec := range 65 {
		if err := c.Check(context.Background(), proof, alice.request(), now.Add(time.Duration(sec)*time.Second)); !errors.Is(err, ErrProof) {
			t.Fatalf("after %d s: %v", sec, err)
		}
	}
	if err := c.Check(context.Background(), alice.proof(t), alice.request(), now); !errors.Is(err, ErrProof) {
		t.Errorf("signed again: %v", err)
	}
	if err := c.Check(context.Background(), bob.proof(t), bob.request(), now); err != nil {
		t.Errorf("the same jti by somebody else: %v", err)
	}
	if err := c.Check(context.Background(), alice.proof(t, "jti", `"2"`), alice.request(), now); err != nil {
		t.Errorf("another jti: %v", err)
	}
}

func TestRefusedProofIsNotUsedUp(t *testing.T) {
	alice := newClient(t)
	c := checker(100)
	proof := alice.proof(t)
	other := alice.request()
	other.Method = "POST"
	if err := c.Check(context.Background(), proof, other, now); err == nil {
		t.Fatal("accepted")
	}
	if err := c.Check(context.Background(), proof, alice.request(), now); err != nil {
		t.Error(err)
	}
}

// TestProofIsRememberedWhileItIsGood uses a proof at every moment at which it
// can first be used, and again at every later moment.
func TestProofIsRememberedWhileItIsGood(t *testing.T) {
	alice := newClient(t)
	proof := alice.proof(t, "iat", "1795341660")
	issued := now.Add(time.Minute)
	for first := -5; first < 65; first += 7 {
		c := checker(10)
		if err := c.Check(context.Background(), proof, alice.request(), issued.Add(time.Duration(first)*time.Second)); err != nil {
			t.Fatalf("first at %d s: %v", first, err)
		}
		for again := first; again < 200; again++ {
			if err := c.Check(context.Background(), proof, alice.request(), issued.Add(time.Duration(again)*time.Second)); err == nil {
				t.Fatalf("first at %d s, accepted again at %d s", first, again)
			}
		}
	}
}

func TestFullStoreRefusesAndEmptiesWithTime(t *testing.T) {
	alice := newClient(t)
	c := checker(3)
	at := func(i int, now time.Time) error {
		return c.Check(context.Background(), alice.proof(t, "jti", fmt.Sprintf(`"%d"`, i), "iat", fmt.Sprint(now.Unix())), alice.request(), now)
	}
	for i := range 3 {
		if err := at(i, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := at(3, now); !errors.Is(err, replay.ErrFull) || errors.Is(err, ErrProof) {
		t.Errorf("got %v", err)
	}
	if err := at(0, now); !errors.Is(err, ErrProof) {
		t.Errorf("a replay at a full store: %v", err)
	}
	later := now.Add(c.MaxAge)
	for i := range 100 {
		later = later.Add(30 * time.Second)
		if err := at(10+i, later); err != nil {
			t.Fatalf("after %v: %v", later.Sub(now), err)
		}
		if n := c.Used.(*replay.Memory).Stats(later).Entries; n > 3 {
			t.Fatalf("%d proofs remembered", n)
		}
	}
}

func TestProofFromBeforeTheStoreIsRefused(t *testing.T) {
	alice := newClient(t)
	c := checker(10)
	c.Used = replay.NewMemory(10, now.Add(500*time.Millisecond))
	if err := c.Check(context.Background(), alice.proof(t, "iat", "1795341599"), alice.request(), now.Add(time.Second)); !errors.Is(err, ErrProof) {
		t.Errorf("got %v", err)
	}
	if err := c.Check(context.Background(), alice.proof(t), alice.request(), now.Add(time.Second)); err != nil {
		t.Errorf("of the same second: %v", err)
	}
}

func TestNonceIsAskedForAndRunsOut(t *testing.T) {
	alice, mallory := newClient(t), newClient(t)
	key := make([]byte, 32)
	nonces, err := NewNonces(key, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	with := func(nonce string) error {
		c := checker(10)
		c.Nonces = nonces
		return c.Check(context.Background(), alice.proof(t, "nonce", nonce), alice.request(), now)
	}
	ago := func(d time.Duration) string { return `"` + nonces.Current(now.Add(-d)) + `"` }
	other, err := NewNonces([]byte(strings.Repeat("x", 32)), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		nonce string
		want  error
	}{
		"current":       {ago(0), nil},
		"previous":      {ago(time.Minute), nil},
		"one too old":   {ago(2 * time.Minute), ErrNonce},
		"of the future": {ago(-time.Minute), ErrNonce},
		"none":          {"", ErrNonce},
		"another":       {`"x"`, ErrNonce},
		"of another":    {`"` + other.Current(now) + `"`, ErrNonce},
	} {
		if err := with(c.nonce); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	// Who has not the key of the token is not told to try again.
	c := checker(10)
	c.Nonces = nonces
	if err := c.Check(context.Background(), mallory.proof(t), alice.request(), now); errors.Is(err, ErrNonce) {
		t.Error("a stranger is given a nonce")
	}
	again, err := NewNonces(key, time.Minute)
	if err != nil || again.Current(now) != nonces.Current(now) {
		t.Error("another server with the same key gives other nonces")
	}
	if _, err := NewNonces(key[:31], time.Minute); err == nil {
		t.Error("short key accepted")
	}
	if _, err := NewNonces(key, time.Millisecond); err == nil {
		t.Error("short period accepted")
	}
}

func TestManyUseOneProof(t *testing.T) {
	alice := newClient(t)
	c := checker(100)
	proof := alice.proof(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	accepted := 0
	for range 16 {
		wg.Go(func() {
			if c.Check(context.Background(), proof, alice.request(), now) == nil {
				mu.Lock()
				accepted++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if accepted != 1 {
		t.Errorf("accepted %d times", accepted)
	}
}

func TestAddressesAreComparedAsTheyAreMeant(t *testing.T) {
	for _, same := range [][2]string{
		{"https://a.example", "https://a.example/"},
		{"https://A.Example:443/", "HTTPS://a.example"},
		{"http://a.example:80/x", "http://a.example/x"},
		{"https://a.example/%7ex", "https://a.example/~x"},
		{"https://a.example/%c3%a9", "https://a.example/%C3%A9"},
		{"https://a.example/x?y", "https://a.example/x#z"},
		{"https://[::1]:8443/x", "https://[::1]:8443/x"},
	} {
		if !sameURL(same[0], same[1]) {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
	for _, other := range [][2]string{
		{"https://a.example/x", "https://a.example/x/"},
		{"https://a.example/x", "https://a.example//x"},
		{"https://a.example/a%2fb", "https://a.example/a/b"},
		{"https://a.example/%2e%2e/x", "https://a.example/%2e%2e/x"},
		{"https://a.example/./x", "https://a.example/./x"},
		{"https://a.example:80/", "https://a.example/"},
		{"https://a.example.evil/", "https://a.example/"},
		{"https:a.example/x", "https://a.example/x"},
		{"//a.example/x", "//a.example/x"},
		{"ftp://a.example/x", "ftp://a.example/x"},
		{"https:///x", "https:///x"},
		{"https://a.example/%zz", "https://a.example/%zz"},
		{"", ""},
	} {
		if sameURL(other[0], other[1]) {
			t.Errorf("%s and %s are the same", other[0], other[1])
		}
	}
}

// FuzzNormalize holds that normalizing twice changes nothing more.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"https://A.example:443/%7e%2f/x?y#z", "http://[::1]", "https://a/%25%32%65", "https://a:/", "http://:", "http://%25"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, ok := normalize(s)
		if !ok {
			return
		}
		if twice, ok := normalize(once); !ok || twice != once {
			t.Fatalf("%q: %q, then %q, %v", s, once, twice, ok)
		}
		if !sameURL(s, once) {
			t.Fatalf("%q is not %q", s, once)
		}
	})
}
