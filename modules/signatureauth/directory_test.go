package signatureauth

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// bot signs as Web Bot Auth has it and serves its directory.
type bot struct {
	*httpsig.Signer
	jwk     string
	server  *httptest.Server
	agent   string
	asked   atomic.Int64
	mu      sync.Mutex
	respond http.HandlerFunc
}

func newBot(t *testing.T) *bot {
	t.Helper()
	p := ed25519Pair(t, "x")
	block, _ := pem.Decode([]byte(p.public))
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	b := &bot{jwk: `{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(pub.(ed25519.PublicKey)) + `"}`}
	k, err := jwk.Parse([]byte(b.jwk))
	if err != nil {
		t.Fatal(err)
	}
	if b.Signer, err = httpsig.NewSigner(k.Thumbprint(), "ed25519", []byte(p.private)); err != nil {
		t.Fatal(err)
	}
	b.serve(b.jwk)
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		b.mu.Lock()
		respond := b.respond
		b.mu.Unlock()
		respond(w, r)
	}))
	t.Cleanup(b.server.Close)
	b.agent = b.server.URL
	return b
}

// serve has the directory hold these keys.
func (b *bot) serve(keys ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.respond = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != httpsig.WellKnown {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", httpsig.DirectoryType)
		fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(keys, ","))
	}
}

// request is one that the bot signs: the authority and where its keys are.
func (b *bot) request(t *testing.T, method, agent string, change func(*httpsig.Template)) *http.Request {
	t.Helper()
	r := request(method, "https://api.example.com/page", nil)
	r.Header.Set("Signature-Agent", `sig2="`+agent+`"`)
	sign(t, b.Signer, r, func(x *httpsig.Template) {
		x.Label, x.Tag = "sig2", "web-bot-auth"
		x.Components, x.Expires = []string{"@authority", `signature-agent;key="sig2"`}, now.Add(time.Minute)
		x.Nonce = fmt.Sprint(time.Now().UnixNano())
		if change != nil {
			change(x)
		}
	})
	return r
}

func TestBotsAreKnownByTheirDirectory(t *testing.T) {
	b, stranger := newBot(t), newBot(t)
	partner := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+partner.public+"`\ndirectory "+b.agent+" {\nuser crawler\nroles bot\n}\nleeway 0s")
	grant, err := p.Identify(b.request(t, "GET", b.agent, nil))
	if err != nil {
		t.Fatalf("%v: %v", err, errors.Unwrap(err))
	}
	who := grant.Principal
	if who.ID != "crawler" || !who.HasRole("bot") || who.KeyID != b.ID || !strings.Contains(string(who.Claims.Raw()), `"directory":"`+b.agent+httpsig.WellKnown+`"`) {
		t.Errorf("got %+v, %s", who, who.Claims.Raw())
	}
	// Partners sign as they did.
	r := request("GET", "https://api.example.com/", nil)
	sign(t, partner.Signer, r, nil)
	if _, err := p.Identify(r); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		r     *http.Request
		cause string
	}{
		"a directory that is not listed": {stranger.request(t, "GET", stranger.agent, nil), "not listed"},
		"another's directory":            {stranger.request(t, "GET", b.agent, nil), "not known"},
		"a method that changes things":   {b.request(t, "POST", b.agent, nil), "@method is not covered"},
		"no expires":                     {b.request(t, "GET", b.agent, func(x *httpsig.Template) { x.Expires = time.Time{} }), "expires"},
		"no tag":                         {b.request(t, "GET", b.agent, func(x *httpsig.Template) { x.Tag = "" }), "tag"},
		"a bare signature":               {b.request(t, "GET", b.agent, func(x *httpsig.Template) { x.Components = x.Components[:1] }), "Signature-Agent"},
	} {
		_, err := p.Identify(c.r)
		var e *credential.Error
		if !errors.As(err, &e) || e.Code != CodeInvalid || !strings.Contains(e.Cause.Error(), c.cause) {
			t.Errorf("%s: got %v, %v; want %q", name, err, errors.Unwrap(err), c.cause)
		}
	}
	if n := stranger.asked.Load(); n != 0 {
		t.Errorf("a directory that is not listed was fetched %d times", n)
	}
	again := b.request(t, "GET", b.agent+httpsig.WellKnown, nil)
	if _, err := p.Identify(again); err != nil {
		t.Errorf("the directory named as itself: %v", errors.Unwrap(err))
	}
	if _, err := p.Identify(again); refusal(err) != CodeReplayed {
		t.Errorf("a second time: got %v", err)
	}
	full := b.request(t, "POST", b.agent, func(x *httpsig.Template) { x.Components = append(x.Components, "@method", "@path") })
	if _, err := p.Identify(full); err != nil {
		t.Errorf("POST with more covered: %v", errors.Unwrap(err))
	}
	if got := p.Traits().Unauthorized["Accept-Signature"]; len(got) != 2 || !strings.Contains(got[1], `tag="web-bot-auth"`) {
		t.Errorf("asks for %q", got)
	}
	// An unknown key is worth one fetch in a while, however often it is named.
	before := b.asked.Load()
	for range 20 {
		_, _ = p.Identify(stranger.request(t, "GET", b.agent, nil))
	}
	if n := b.asked.Load() - before; n > 1 {
		t.Errorf("%d fetches for an unknown key", n)
	}
}

func TestDirectoryThatCannotBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		respond http.HandlerFunc
		code    string
	}{
		"down":       {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusBadGateway) }, credential.CodeUnavailable},
		"a web page": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, credential.CodeUnavailable},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, credential.CodeUnavailable},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", httpsig.DirectoryType)
			for i := 0; i < 3<<20; i += 1 << 10 {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}, credential.CodeUnavailable},
		"no keys": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", httpsig.DirectoryType)
			fmt.Fprint(w, `{"keys":[]}`)
		}, CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBot(t)
			b.mu.Lock()
			b.respond = c.respond
			b.mu.Unlock()
			p := provide(t, "directory "+b.agent)
			_, err := p.Identify(b.request(t, "GET", b.agent, nil))
			var e *credential.Error
			if !errors.As(err, &e) || e.Code != c.code || e.Kind == credential.Unavailable && e.RetryAfter == 0 {
				t.Errorf("got %+v, %v", e, errors.Unwrap(err))
			}
		})
	}
}

// TestKeyOfADirectoryEnds: at the time it says, and not before it begins.
func TestKeyOfADirectoryEnds(t *testing.T) {
	b := newBot(t)
	b.serve(strings.TrimSuffix(b.jwk, "}") + fmt.Sprintf(`,"nbf":%d,"exp":%d}`, now.Unix()-5, now.Unix()+60))
	p := provide(t, "directory "+b.agent)
	for _, c := range []struct {
		at   time.Duration
		want string
	}{{-6 * time.Second, CodeInvalid}, {0, ""}, {59 * time.Second, ""}, {60 * time.Second, CodeInvalid}} {
		r := b.request(t, "GET", b.agent, func(x *httpsig.Template) { x.Created, x.Expires = now.Add(c.at), now.Add(c.at+time.Minute) })
		p.now = func() time.Time { return now.Add(c.at) }
		if _, err := p.Identify(r); refusal(err) != c.want {
			t.Errorf("%v: got %v, %v", c.at, err, errors.Unwrap(err))
		}
	}
	// By default the user is the directory.
	p.now = func() time.Time { return now }
	if who, err := p.Identify(b.request(t, "GET", b.agent, nil)); err != nil || who.Principal.ID != b.agent+httpsig.WellKnown {
		t.Errorf("got %+v, %v", who, err)
	}
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	for _, block := range []string{
		"directory", "directory a b", "directory bot.example.com", "directory http://bot.example.com", "directory https://u:p@bot.example.com", "directory ftp://bot.example.com",
		"directory https://bot.example.com/?x=1", "directory https://bot.example.com/a/../b", "directory https://bot.example.com\ndirectory https://BOT.example.com:443/",
		"directory https://bot.example.com {\nsigned x\n}", "directory https://bot.example.com {\nrole\n}", "directory https://bot.example.com {\nuser a\nuser b\n}",
		"directory https://bot.example.com {\nca /nowhere\n}", "directory https://bot.example.com {\nkey x\n}",
	} {
		if _, err := tryProvide(t, block); err == nil {
			t.Errorf("%q: accepted", block)
		}
	}
}
