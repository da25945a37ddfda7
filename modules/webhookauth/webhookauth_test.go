package webhookauth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/goleak"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	oldSecret = "whsec_an old secret of a sender"
	newSecret = "whsec_a new secret of a sender"
)

// now is after any memory that a test makes began.
var now = time.Now().Add(time.Second).Truncate(time.Second)

func tryProvide(t testing.TB, block string) (*Provider, error) {
	t.Helper()
	t.Setenv("OLD", oldSecret+"\n")
	t.Setenv("NEW", newSecret)
	t.Setenv("OTHER", "whsec_the secret of somebody else")
	t.Setenv("SHORT", "short")
	p := new(Provider)
	if err := p.UnmarshalCaddyfile(caddyfile.NewTestDispenser("webhook_auth {\n" + block + "\n}")); err != nil {
		return nil, err
	}
	p.now = func() time.Time { return now }
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := p.Provision(ctx); err != nil {
		_ = p.Cleanup()
		return nil, err
	}
	t.Cleanup(func() { _ = p.Cleanup() })
	return p, nil
}

func provide(t testing.TB, block string) *Provider {
	t.Helper()
	p, err := tryProvide(t, block)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mac(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// request is a webhook as Caddy hands it to handlers.
func request(body string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), &caddyhttp.Server{})
}

func github(secret, body string) *http.Request {
	return request(body, "X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac(secret, body)))
}

func stripe(made time.Time, body string, secrets ...string) *http.Request {
	t := strconv.FormatInt(made.Unix(), 10)
	value := "t=" + t
	for _, s := range secrets {
		value += ",v1=" + hex.EncodeToString(mac(s, t+"."+body))
	}
	return request(body, "Stripe-Signature", value)
}

func want(t *testing.T, what string, p *Provider, r *http.Request, status int, code string) {
	t.Helper()
	_, err := p.Identify(r)
	var e *credential.Error
	if !errors.As(err, &e) || e.Status() != status || e.Code != code {
		t.Errorf("%s: got %v, want %d %s", what, err, status, code)
	}
}

func good(t *testing.T, what string, p *Provider, r *http.Request) *principal.Principal {
	t.Helper()
	grant, err := p.Identify(r)
	who := grant.Principal
	if err != nil {
		t.Fatalf("%s: %v: %v", what, err, errors.Unwrap(err))
	}
	return who
}

func TestWebhookIsOfItsSenderAndItsContentStays(t *testing.T) {
	p := provide(t, "github {env.NEW} {env.OLD} {\nuser acme\nroles ci\nscopes deploy\nplan gold\n}\nstrip")
	const body = `{"action":"opened"}`
	r := github(oldSecret, body)
	who := good(t, "the old secret", p, r)
	if who.ID != "acme" || who.Kind != "webhook" || who.KeyID != "2" || !who.HasRole("ci") || !who.HasScope("deploy") || who.Plan != "gold" ||
		who.Claims.Map()["sender"] != "github" {
		t.Errorf("got %+v", who)
	}
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != body {
		t.Errorf("the upstream reads %q, %v", b, err)
	}
	if len(p.Places(r)) != 1 {
		t.Errorf("places: %v", p.Places(r))
	}
	if p.Clean(r); r.Header.Get("X-Hub-Signature-256") != "" {
		t.Error("the signature is still there")
	}
}

func TestHostileWebhooksAreRefused(t *testing.T) {
	p := provide(t, "github {env.OLD}\nstripe {env.NEW}\nmax_body 100B")
	body := t.Name()
	long := strings.Repeat("x", 101)
	twice := github(oldSecret, body)
	twice.Header.Add("X-Hub-Signature-256", twice.Header.Get("X-Hub-Signature-256"))
	both := github(oldSecret, body)
	both.Header.Set("Stripe-Signature", stripe(now, body, newSecret).Header.Get("Stripe-Signature"))
	changed := github(oldSecret, body)
	changed.Body = io.NopCloser(strings.NewReader(strings.ToLower(body)))
	put := github(oldSecret, body)
	put.Method = http.MethodPut
	chunked := github(oldSecret, long)
	chunked.ContentLength = -1
	limited := github(oldSecret, body)
	limited.Body = http.MaxBytesReader(httptest.NewRecorder(), limited.Body, 3)
	broken := github(oldSecret, body)
	broken.Body = io.NopCloser(io.MultiReader(bytes.NewReader([]byte("a")), failing{}))
	for name, tc := range map[string]struct {
		r      *http.Request
		status int
		code   string
	}{
		"no signature":                 {request(body), 401, "missing_credentials"},
		"another secret":               {github("another secret", body), 401, CodeInvalid},
		"the secret of another sender": {github(newSecret, body), 401, CodeInvalid},
		"a changed byte":               {changed, 401, CodeInvalid},
		"no content":                   {request("", "X-Hub-Signature-256", github(oldSecret, body).Header.Get("X-Hub-Signature-256")), 401, CodeInvalid},
		"another method":               {put, 401, CodeInvalid},
		"two fields":                   {twice, 400, "invalid_request"},
		"two senders":                  {both, 400, "invalid_request"},
		"old":                          {stripe(now.Add(-301*time.Second), body, newSecret), 401, CodeInvalid},
		"future":                       {stripe(now.Add(301*time.Second), body, newSecret), 401, CodeInvalid},
		"too large":                    {github(oldSecret, long), 413, CodeTooLarge},
		"too large, of unknown length": {chunked, 413, CodeTooLarge},
		"too large for Caddy":          {limited, 413, CodeTooLarge},
		"content that cannot be read":  {broken, 400, "invalid_request"},
		"an empty list of signatures":  {stripe(now, body), 401, CodeInvalid},
	} {
		want(t, name, p, tc.r, tc.status, tc.code)
	}
	// None of these has used the webhook up.
	good(t, "after all of these", p, github(oldSecret, body))
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestWebhookIsAcceptedOnce(t *testing.T) {
	p := provide(t, "github {env.OLD}\nstripe {env.NEW} {env.OTHER}")
	t.Run("without a time", func(t *testing.T) {
		body := t.Name()
		good(t, "first", p, github(oldSecret, body))
		want(t, "second", p, github(oldSecret, body), 401, CodeReplayed)
		again := provide(t, "github {env.OLD}") // another site, or a reload
		want(t, "elsewhere", again, github(oldSecret, body), 401, CodeReplayed)
		off := provide(t, "github {env.OLD}\nreplay off")
		good(t, "with replay off", off, github(oldSecret, body))
	})
	t.Run("of two signatures one is left out", func(t *testing.T) {
		body, other := t.Name(), "whsec_the secret of somebody else"
		good(t, "first", p, stripe(now, body, newSecret, other))
		want(t, "the first one", p, stripe(now, body, newSecret), 401, CodeReplayed)
		want(t, "the second one", p, stripe(now, body, other), 401, CodeReplayed)
		want(t, "in another order", p, stripe(now, body, other, newSecret), 401, CodeReplayed)
		good(t, "sent again by the sender", p, stripe(now.Add(time.Second), body, newSecret, other))
	})
	t.Run("after a secret has been removed", func(t *testing.T) {
		body, other := t.Name(), "whsec_the secret of somebody else"
		good(t, "first", p, stripe(now, body, newSecret, other))
		want(t, "the other one", provide(t, "stripe {env.OTHER}"), stripe(now, body, other), 401, CodeReplayed)
	})
	// The last, since a memory does not go back in time.
	t.Run("for the time that is set", func(t *testing.T) {
		body := t.Name()
		good(t, "first", p, github(oldSecret, body))
		p.now = func() time.Time { return now.Add(24*time.Hour - time.Second) }
		want(t, "before a day is over", p, github(oldSecret, body), 401, CodeReplayed)
		p.now = func() time.Time { return now.Add(24*time.Hour + 2*time.Second) }
		good(t, "after a day", p, github(oldSecret, body))
	})
}

// TestWebhookThatFailedIsAcceptedAgain: senders try again, some with the same
// signature.
func TestWebhookThatFailedIsAcceptedAgain(t *testing.T) {
	p := provide(t, "github {env.OLD}")
	serve := func(r *http.Request, status int, err error) {
		t.Helper()
		grant, refused := p.Identify(r)
		if refused != nil {
			t.Fatalf("delivery: %v", refused)
		}
		got := grant.Wrap(httptest.NewRecorder(), r, func(w http.ResponseWriter, _ *http.Request) error {
			if status != 0 {
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(status)
			}
			return err
		})
		if !errors.Is(got, err) {
			t.Fatal(got)
		}
	}
	for name, tc := range map[string]struct {
		status int
		err    error
		again  bool
	}{
		"200": {200, nil, false}, "204": {204, nil, false}, "nothing written": {0, nil, false},
		"302": {302, nil, true}, "403": {403, nil, true}, "502": {502, nil, true},
		"an error": {0, errors.New("no upstream"), true}, "an error later": {200, errors.New("aborted"), true},
	} {
		body := t.Name() + name
		serve(github(oldSecret, body), tc.status, tc.err)
		if !tc.again {
			want(t, name, p, github(oldSecret, body), 401, CodeReplayed)
			continue
		}
		serve(github(oldSecret, body), 200, nil)
		want(t, name+", twice", p, github(oldSecret, body), 401, CodeReplayed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := github(oldSecret, t.Name())
	r = r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, r.Context().Value(caddyhttp.VarsCtxKey)))
	grant, err := p.Identify(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = grant.Wrap(httptest.NewRecorder(), r, func(http.ResponseWriter, *http.Request) error {
		cancel() // the sender does not wait
		return nil
	})
	good(t, "after the sender has gone", p, github(oldSecret, t.Name()))
}

func TestFailuresThatAreRememberedAreBounded(t *testing.T) {
	u := &used{failed: make(map[string]time.Time)}
	for i := range maxFailed + 10 {
		u.fail(strconv.Itoa(i), now.Add(time.Minute), now)
	}
	if len(u.failed) != maxFailed || u.again(strconv.Itoa(maxFailed), now) || !u.again("0", now) || u.again("0", now) {
		t.Errorf("%d failures are remembered", len(u.failed))
	}
	u.fail("one more", now.Add(time.Minute), now)
	if u.fail("later", now.Add(time.Hour), now.Add(2*time.Minute)); len(u.failed) != 1 {
		t.Errorf("%d failures are remembered, of which one is not past", len(u.failed))
	}
	if u.fail("full", now.Add(time.Hour), now); u.again("full", now.Add(time.Hour)) {
		t.Error("what is past is accepted")
	}
}

func TestStandardWebhooks(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	t.Setenv("STANDARD", "whsec_"+base64.StdEncoding.EncodeToString(secret))
	p := provide(t, "standard {env.STANDARD}\nleeway 1m")
	message := func(id string, made time.Time, body string) *http.Request {
		at := strconv.FormatInt(made.Unix(), 10)
		sig := base64.StdEncoding.EncodeToString(mac(string(secret), id+"."+at+"."+body))
		return request(body, "webhook-id", id, "webhook-timestamp", at, "webhook-signature", "v1a,x v1,"+sig)
	}
	good(t, "a message", p, message("msg_1", now, "x"))
	good(t, "the same, sent again", p, message("msg_1", now.Add(time.Second), "x"))
	want(t, "replayed", p, message("msg_1", now, "x"), 401, CodeReplayed)
	want(t, "old", p, message("msg_2", now.Add(-61*time.Second), "x"), 401, CodeInvalid)
	r := message("msg_3", now, "x")
	r.Header.Set("Webhook-Id", "msg_4")
	want(t, "another id", p, r, 401, CodeInvalid)
}

func TestSecretsAreReadAtLoadAndNeverShown(t *testing.T) {
	for block, texts := range map[string][]string{
		"github {env.NOT_THERE}":                          {"webhook_auth", "github", "{env.NOT_THERE}"},
		"github {env.SHORT}":                              {"webhook_auth", "github", "{env.SHORT}", "16 bytes"},
		"stripe {file./nowhere}":                          {"webhook_auth", "stripe", "{file./nowhere}"},
		"github {env.OLD} {env.OLD}":                      {"given twice"},
		"github {env.OLD}\nstripe {env.OLD}":              {"same secret"},
		"github {env.OLD}\ngithub {env.OLD} {\nuser b\n}": {"same secret"},
		"standard {env.OLD}":                              {"{env.OLD}", "base64"},
		"github " + oldSecret[6:16]:                       {"must not stand in the configuration"},
	} {
		_, err := tryProvide(t, block)
		if err == nil {
			t.Errorf("%s was accepted", block)
			continue
		}
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v lacks %s", block, err, text)
			}
		}
		if strings.Contains(err.Error(), "an old") || strings.Contains(err.Error(), "short") {
			t.Errorf("%s: the secret stands in %v", block, err)
		}
	}
}

func TestJSONThatMeansNothingIsRefused(t *testing.T) {
	for _, p := range []*Provider{
		{},
		{Senders: []*Sender{nil}},
		{Senders: []*Sender{{Sender: "gitlab", Secrets: []string{"{env.OLD}"}}}},
		{Senders: []*Sender{{Sender: "github", Secrets: []string{"{env.OLD}"}}}, Leeway: -1},
		{Senders: []*Sender{{Sender: "github", Secrets: []string{"{env.OLD}"}}}, MaxBody: 1 << 40},
		{Senders: []*Sender{{Sender: "github", Secrets: []string{"{env.OLD}"}}}, Replay: 1, ReplayOff: true},
		{Senders: []*Sender{{Sender: "github", Secrets: []string{"{vault.OLD}"}}}},
	} {
		if err := p.check(); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
}
