package signatureauth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/goleak"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a shared secret of 32 bytes, or more"

// pair is a key to sign with, and the same in PEM to verify with.
type pair struct {
	*httpsig.Signer
	public, private string
}

func ed25519Pair(t testing.TB, id string) pair {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	p := pair{public: text("PUBLIC KEY", der, err)}
	der, err = x509.MarshalPKCS8PrivateKey(priv)
	p.private = text("PRIVATE KEY", der, err)
	if p.Signer, err = httpsig.NewSigner(id, "ed25519", []byte(p.private)); err != nil {
		t.Fatal(err)
	}
	return p
}

// now is after any memory that a test makes began.
var now = time.Now().Truncate(time.Second)

// provide reads a block and provisions it.
func provide(t testing.TB, block string) *Provider {
	t.Helper()
	p, err := tryProvide(t, block)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryProvide(t testing.TB, block string) (*Provider, error) {
	t.Helper()
	p := new(Provider)
	if err := p.UnmarshalCaddyfile(caddyfile.NewTestDispenser("signature_auth {\n" + block + "\n}")); err != nil {
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

// request is a request as Caddy hands it to handlers.
func request(method, url string, body []byte) *http.Request {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	r := httptest.NewRequest(method, url, reader)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), &caddyhttp.Server{})
}

// sign signs a request the way a careful client does.
func sign(t testing.TB, s *httpsig.Signer, r *http.Request, change func(*httpsig.Template)) {
	t.Helper()
	tpl := httpsig.Template{Components: []string{"@method", "@target-uri"}, Created: now}
	if reqctx.HasContent(r) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Set("Content-Digest", httpsig.ContentDigest(body))
		tpl.Components = append(tpl.Components, "content-digest")
	}
	if change != nil {
		change(&tpl)
	}
	input, sig, err := s.Sign(message(r), tpl)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Signature-Input", input)
	r.Header.Set("Signature", sig)
}

// rejection is the code of an error, "" for none.
func refusal(err error) string {
	var e *credential.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestSignatureSaysWhoIsCalling(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"` {\nuser acme\nroles partner\nscopes orders:write\nplan gold\n}\nkey bob hmac-sha256 `base64:YSBzaGFyZWQgc2VjcmV0IG9mIDMyIGJ5dGVzLCBvciBtb3Jl`")
	r := request("POST", "https://api.example.com/orders?x=1", []byte(`{"a":1}`))
	sign(t, acme.Signer, r, nil)
	grant, err := p.Identify(r)
	who := grant.Principal
	if err != nil {
		t.Fatal(err)
	}
	if who.ID != "acme" || who.Kind != principal.KindSignature || who.KeyID != "acme-1" || !who.HasRole("partner") || !who.HasScope("orders:write") || who.Plan != "gold" {
		t.Errorf("got %+v", who)
	}
	if raw := string(who.Claims.Raw()); raw != `{"sub":"acme","key_id":"acme-1","roles":["partner"],"scopes":["orders:write"],"plan":"gold"}` {
		t.Errorf("claims %s", raw)
	}
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != `{"a":1}` {
		t.Errorf("the upstream gets %q, %v", body, err)
	}
	bob, err := httpsig.NewSigner("bob", "hmac-sha256", []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	r = request("GET", "https://api.example.com/orders", nil)
	sign(t, bob, r, nil)
	if grant, err := p.Identify(r); err != nil || grant.Principal.ID != "bob" {
		t.Errorf("got %+v, %v", grant.Principal, err)
	}
}

func TestHostileRequestsAreRefused(t *testing.T) {
	acme, other := ed25519Pair(t, "acme-1"), ed25519Pair(t, "other")
	block := "key acme-1 ed25519 `" + acme.public + "`\nkey other ed25519 `" + other.public + "`"
	mallory := ed25519Pair(t, "acme-1")
	unknown := ed25519Pair(t, "nobody")
	tpl := func(change func(*httpsig.Template)) func(*http.Request) {
		return func(r *http.Request) { sign(t, acme.Signer, r, change) }
	}
	signed := tpl(nil)
	then := func(change func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			signed(r)
			change(r)
			arrive(r)
		}
	}
	for name, test := range map[string]struct {
		make func(*http.Request)
		want string
	}{
		"signed":                 {signed, ""},
		"nothing":                {func(*http.Request) {}, credential.CodeMissing},
		"another's key":          {func(r *http.Request) { sign(t, mallory.Signer, r, nil) }, CodeInvalid},
		"an unknown key":         {func(r *http.Request) { sign(t, unknown.Signer, r, nil) }, CodeInvalid},
		"another's key id":       {then(func(r *http.Request) { replace(r, "Signature-Input", `keyid="acme-1"`, `keyid="other"`) }), CodeInvalid},
		"another method":         {then(func(r *http.Request) { r.Method = "DELETE" }), CodeInvalid},
		"another path":           {then(func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a/b/d", "" }), CodeInvalid},
		"the path decoded":       {then(func(r *http.Request) { r.URL.RawPath = "" }), CodeInvalid},
		"the query reordered":    {then(func(r *http.Request) { r.URL.RawQuery = "y=2&x=1" }), CodeInvalid},
		"an empty query":         {then(func(r *http.Request) { r.URL.RawQuery, r.URL.ForceQuery = "", true }), CodeInvalid},
		"another host":           {then(func(r *http.Request) { r.Host = "evil.example.com" }), CodeInvalid},
		"another scheme":         {then(func(r *http.Request) { r.TLS = nil }), CodeInvalid},
		"the host in capitals":   {then(func(r *http.Request) { r.Host = "API.Example.com" }), ""},
		"the port of the scheme": {then(func(r *http.Request) { r.Host = "api.example.com:443" }), ""},
		"the body flipped":       {then(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"a":2}`)) }), CodeDigest},
		"the body cut":           {then(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"a":1`)) }), CodeDigest},
		"no body":                {then(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(``)) }), CodeDigest},
		"the digest flipped":     {then(func(r *http.Request) { replace(r, "Content-Digest", "sha-256=:", "sha-256=:A") }), CodeInvalid},
		"a second digest":        {then(func(r *http.Request) { r.Header.Add("Content-Digest", "sha-512=:AA==:") }), CodeInvalid},
		"no digest covered": {tpl(func(x *httpsig.Template) {
			x.Components = []string{"@method", "@target-uri"}
		}), CodeInvalid},
		"no method covered": {tpl(func(x *httpsig.Template) { x.Components = []string{"@target-uri", "content-digest"} }), CodeInvalid},
		"no query covered":  {tpl(func(x *httpsig.Template) { x.Components = []string{"@method", "@authority", "@path", "content-digest"} }), CodeInvalid},
		"path and query": {tpl(func(x *httpsig.Template) {
			x.Components = []string{"@method", "@authority", "@path", "@query", "content-digest"}
		}), ""},
		"created long ago":   {tpl(func(x *httpsig.Template) { x.Created = now.Add(-defaultMaxAge - defaultLeeway) }), CodeInvalid},
		"created before":     {tpl(func(x *httpsig.Template) { x.Created = now.Add(-time.Second) }), CodeReplayed}, // before the memory was made
		"created too soon":   {tpl(func(x *httpsig.Template) { x.Created = now.Add(defaultLeeway + time.Second) }), CodeInvalid},
		"created soon":       {tpl(func(x *httpsig.Template) { x.Created = now.Add(defaultLeeway) }), ""},
		"expired":            {tpl(func(x *httpsig.Template) { x.Created, x.Expires = now.Add(-time.Minute), now.Add(-defaultLeeway) }), CodeInvalid},
		"alg of another":     {then(func(r *http.Request) { replace(r, "Signature-Input", `;keyid`, `;alg="hmac-sha256";keyid`) }), CodeInvalid},
		"alg as it is":       {tpl(func(x *httpsig.Template) { x.Algorithm = true }), ""},
		"a parameter more":   {then(func(r *http.Request) { r.Header.Set("Signature-Input", r.Header.Get("Signature-Input")+";x=1") }), CodeInvalid},
		"created twice":      {then(func(r *http.Request) { r.Header.Set("Signature-Input", r.Header.Get("Signature-Input")+";created=1") }), credential.CodeInvalidRequest},
		"two lines alike":    {then(func(r *http.Request) { r.Header.Add("Signature-Input", r.Header.Get("Signature-Input")) }), credential.CodeInvalidRequest},
		"two signatures":     {then(func(r *http.Request) { r.Header.Add("Signature", r.Header.Get("Signature")) }), credential.CodeInvalidRequest},
		"another label":      {then(func(r *http.Request) { r.Header.Set("Signature", "x"+r.Header.Get("Signature")) }), credential.CodeInvalidRequest},
		"no Signature-Input": {then(func(r *http.Request) { r.Header.Del("Signature-Input") }), credential.CodeInvalidRequest},
		"no Signature":       {then(func(r *http.Request) { r.Header.Del("Signature") }), credential.CodeInvalidRequest},
		"signature cut":      {then(func(r *http.Request) { r.Header.Set("Signature", r.Header.Get("Signature")[:46]+":") }), CodeInvalid},
		"signature torn":     {then(func(r *http.Request) { r.Header.Set("Signature", r.Header.Get("Signature")[:47]+":") }), credential.CodeInvalidRequest},
		"signature empty":    {then(func(r *http.Request) { r.Header.Set("Signature", "sig1=::") }), CodeInvalid},
		"spaces":             {then(func(r *http.Request) { replace(r, "Signature-Input", "(", "( ") }), credential.CodeInvalidRequest},
		"an unknown derived": {then(func(r *http.Request) { replace(r, "Signature-Input", `"@method"`, `"@method" "@proto"`) }), credential.CodeInvalidRequest},
		"a missing field":    {then(func(r *http.Request) { replace(r, "Signature-Input", `"@method"`, `"@method" "x-gone"`) }), CodeInvalid},
	} {
		p := provide(t, block)
		r := request("POST", "https://api.example.com/a/b%2Fc?x=1&y=2", []byte(`{"a":1}`))
		test.make(r)
		grant, err := p.Identify(r)
		who := grant.Principal
		if got := refusal(err); got != test.want || (who != nil) != (test.want == "") {
			t.Errorf("%s: got %q, %+v, want %q", name, got, who, test.want)
		}
		_ = p.Cleanup()
	}
}

// arrive makes r the request that the client has sent, as it is now.
func arrive(r *http.Request) {
	*r = *caddyhttp.PrepareRequest(r.WithContext(context.Background()), caddy.NewReplacer(), httptest.NewRecorder(), &caddyhttp.Server{})
}

func replace(r *http.Request, name, from, to string) {
	r.Header.Set(name, strings.Replace(r.Header.Get(name), from, to, 1))
}

func TestSignatureIsAcceptedOnce(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	key := "key acme-1 ed25519 `" + acme.public + "`\n"
	for name, test := range map[string]struct {
		block         string
		first, second func(*httpsig.Template)
		want          string
	}{
		"the same":              {"", nil, nil, CodeReplayed},
		"another nonce":         {"", nil, func(x *httpsig.Template) { x.Nonce = "n2" }, ""},
		"another time":          {"", nil, func(x *httpsig.Template) { x.Created = now.Add(time.Second) }, ""},
		"off":                   {"replay off", nil, nil, ""},
		"a nonce for all":       {"replay nonce", func(x *httpsig.Template) { x.Nonce = "n1" }, func(x *httpsig.Template) { x.Nonce, x.Created = "n1", now.Add(time.Second) }, CodeReplayed},
		"no nonce where needed": {"replay nonce", func(x *httpsig.Template) { x.Nonce = "n1" }, nil, CodeInvalid},
	} {
		p := provide(t, key+test.block)
		for i, step := range []func(*httpsig.Template){test.first, test.second} {
			r := request("GET", "https://api.example.com/", nil)
			sign(t, acme.Signer, r, step)
			_, err := p.Identify(r)
			if want := []string{"", test.want}[i]; refusal(err) != want {
				t.Errorf("%s: request %d: got %q, want %q", name, i+1, refusal(err), want)
			}
		}
		_ = p.Cleanup()
	}
}

// TestReloadForgetsNoSignature: a second instance comes before the first goes,
// as a reload has it.
func TestReloadForgetsNoSignature(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	block := "key acme-1 ed25519 `" + acme.public + "`"
	before := provide(t, block)
	r := request("GET", "https://api.example.com/", nil)
	sign(t, acme.Signer, r, nil)
	if _, err := before.Identify(r); err != nil {
		t.Fatal(err)
	}
	after := provide(t, block)
	_ = before.Cleanup()
	if _, err := after.Identify(r); refusal(err) != CodeReplayed {
		t.Errorf("after a reload: got %q", refusal(err))
	}
	// With another size of the memory, too.
	larger := provide(t, block+"\nremember 1000")
	larger.now = func() time.Time { return now.Add(2 * time.Second) }
	if _, err := larger.Identify(r); err == nil {
		sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Created = now.Add(-time.Second) })
		if _, err := larger.Identify(r); refusal(err) != CodeReplayed {
			t.Errorf("older than the new memory: got %q", refusal(err))
		}
	}
}

func TestFullMemoryRefuses(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\nremember 2")
	for i, want := range []string{"", "", CodeFull} {
		r := request("GET", "https://api.example.com/", nil)
		sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Nonce = string(rune('a' + i)) })
		_, err := p.Identify(r)
		if refusal(err) != want {
			t.Errorf("request %d: got %q, want %q", i+1, refusal(err), want)
		}
	}
}

func TestIdempotencyKeyIsAcceptedOnce(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\nreplay idempotency_key 1h")
	for i, step := range []struct {
		method, key string
		cover       bool
		want        string
		status      int
	}{
		{"POST", "k1", true, "", 0},
		{"POST", "k1", true, CodeKeyUsed, http.StatusConflict},
		{"POST", "k2", false, CodeInvalid, http.StatusUnauthorized},
		{"POST", "", false, CodeInvalid, http.StatusUnauthorized},
		{"POST", "k2", true, "", 0},
		{"GET", "k1", true, "", 0},
		{"GET", "", false, "", 0},
	} {
		r := request(step.method, "https://api.example.com/orders", nil)
		if step.key != "" {
			r.Header.Set("Idempotency-Key", step.key)
		}
		sign(t, acme.Signer, r, func(x *httpsig.Template) {
			x.Nonce = string(rune('a' + i))
			if step.cover {
				x.Components = append(x.Components, "idempotency-key")
			}
		})
		_, err := p.Identify(r)
		var e *credential.Error
		if refusal(err) != step.want || errors.As(err, &e) && e.Status() != step.status {
			t.Errorf("step %d: got %v, want %q", i, err, step.want)
		}
	}
}

// TestLargeContentIsNeverCompleteUnlessSigned: what does not fit into the
// buffer passes as it is compared.
func TestLargeContentIsNeverCompleteUnlessSigned(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\nbody 1KiB")
	content := bytes.Repeat([]byte("0123456789"), 1000)
	for name, test := range map[string]struct {
		body  []byte
		known bool
		good  bool
	}{
		"as signed":                 {content, true, true},
		"as signed, length unknown": {content, false, true},
		"flipped in the end":        {append(bytes.Clone(content[:9999]), 'x'), true, false},
		"flipped in the beginning":  {append([]byte("x"), content[1:]...), false, false},
		"cut":                       {content[:9999], false, false},
		"longer":                    {append(bytes.Clone(content), 'x'), false, false},
	} {
		r := request("PUT", "https://api.example.com/"+strings.ReplaceAll(name, " ", "-"), content)
		sign(t, acme.Signer, r, nil)
		r.Body = io.NopCloser(bytes.NewReader(test.body))
		r.ContentLength = -1
		if test.known {
			r.ContentLength = int64(len(test.body))
		}
		grant, err := p.Identify(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []byte
		var failed *credential.Error
		errors.As(grant.Wrap(httptest.NewRecorder(), r, func(http.ResponseWriter, *http.Request) error {
			got, err = io.ReadAll(r.Body)
			return err
		}), &failed)
		switch {
		case test.good && (err != nil || !bytes.Equal(got, content) || failed != nil):
			t.Errorf("%s: %d bytes, %v, failed %v", name, len(got), err, failed)
		case !test.good && (err == nil || len(got) >= len(test.body) || failed == nil || failed.Code != CodeDigest):
			t.Errorf("%s: %d bytes of %d, %v, failed %v", name, len(got), len(test.body), err, failed)
		}
	}
}

func TestCavageIsOffUnlessAsked(t *testing.T) {
	hmac, err := httpsig.NewSigner("bob", "hmac-sha256", []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	const key = "key bob hmac-sha256 `base64:YSBzaGFyZWQgc2VjcmV0IG9mIDMyIGJ5dGVzLCBvciBtb3Jl`\n"
	make := func(change func(*http.Request)) *http.Request {
		r := request("POST", "https://api.example.com/orders?x=1", []byte("hello"))
		r.Header.Set("Date", now.UTC().Format(http.TimeFormat))
		r.Header.Set("Digest", httpsig.LegacyDigest([]byte("hello")))
		value, err := hmac.SignCavage(message(r), []string{"(request-target)", "host", "date", "digest"})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", value)
		if change != nil {
			change(r)
			arrive(r)
		}
		return r
	}
	off := provide(t, key)
	if _, err := off.Identify(make(nil)); refusal(err) != credential.CodeMissing {
		t.Errorf("off: got %q", refusal(err))
	}
	_ = off.Cleanup()
	for name, test := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"as signed":         {nil, ""},
		"another path":      {func(r *http.Request) { r.URL.Path = "/admin" }, CodeInvalid},
		"another host":      {func(r *http.Request) { r.Host = "x" }, CodeInvalid},
		"another body":      {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("hellO")) }, CodeDigest},
		"an old date":       {func(r *http.Request) { r.Header.Set("Date", now.Add(-time.Hour).UTC().Format(http.TimeFormat)) }, CodeInvalid},
		"another algorithm": {func(r *http.Request) { replace(r, "Authorization", "hmac-sha256", "rsa-sha256") }, CodeInvalid},
		"less covered":      {func(r *http.Request) { replace(r, "Authorization", " digest", "") }, CodeInvalid},
		"a parameter twice": {func(r *http.Request) { replace(r, "Authorization", "Signature ", `Signature keyId="eve",`) }, credential.CodeInvalidRequest},
		"both kinds":        {func(r *http.Request) { sign(t, hmac, r, nil) }, credential.CodeInvalidRequest},
	} {
		p := provide(t, key+"cavage")
		grant, err := p.Identify(make(test.change))
		who := grant.Principal
		if refusal(err) != test.want || (who != nil) != (test.want == "") {
			t.Errorf("%s: got %q, %+v, want %q", name, refusal(err), who, test.want)
		}
		_ = p.Cleanup()
	}
	for replay, want := range map[string]string{"": "", "replay idempotency_key": "", "replay signature": CodeReplayed, "replay off": ""} {
		p := provide(t, key+"cavage\n"+replay)
		for i, want := range []string{"", want} {
			r := request("GET", "https://api.example.com/orders?x=1", nil)
			r.Header.Set("Date", now.UTC().Format(http.TimeFormat))
			value, err := hmac.SignCavage(message(r), []string{"(request-target)", "host", "date"})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", value)
			if _, err := p.Identify(r); refusal(err) != want {
				t.Errorf("%q: request %d in the same second: got %q, want %q", replay, i+1, refusal(err), want)
			}
		}
		_ = p.Cleanup()
	}
	// Later it is a replay, and at once where each is accepted once.
	p := provide(t, key+"cavage")
	strict := provide(t, key+"cavage\nreplay signature")
	if _, err := p.Identify(make(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := strict.Identify(make(nil)); refusal(err) != CodeReplayed {
		t.Errorf("at another site, with replay signature: got %q", refusal(err))
	}
	p.now = func() time.Time { return now.Add(3 * time.Second) }
	if _, err := p.Identify(make(nil)); refusal(err) != CodeReplayed {
		t.Errorf("three seconds later: got %q", refusal(err))
	}
}

// TestCavageStandsInEitherField: in Authorization, and in Signature as ActivityPub
// has it, and not in both.
func TestCavageStandsInEitherField(t *testing.T) {
	const actor = "https://social.example/users/alice#main-key"
	hmac, err := httpsig.NewSigner(actor, "hmac-sha256", []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	const key = "key " + actor + " hmac-sha256 `base64:YSBzaGFyZWQgc2VjcmV0IG9mIDMyIGJ5dGVzLCBvciBtb3Jl`\n"
	make := func(path, field string) *http.Request {
		r := request("POST", "https://api.example.com"+path, []byte("hello"))
		r.Header.Set("Date", now.UTC().Format(http.TimeFormat))
		r.Header.Set("Digest", httpsig.LegacyDigest([]byte("hello")))
		value, err := hmac.SignCavage(message(r), []string{"(request-target)", "host", "date", "digest"})
		if err != nil {
			t.Fatal(err)
		}
		if field == "Signature" {
			value = strings.TrimPrefix(value, "Signature ")
		}
		r.Header.Set(field, value)
		return r
	}
	p := provide(t, key+"cavage\nstrip")
	for _, field := range []string{"Authorization", "Signature"} {
		r := make("/"+field, field)
		if places := p.Places(r); len(places) != 1 || places[0].At != "header "+field {
			t.Errorf("%s: stands in %v", field, places)
		}
		if grant, err := p.Identify(r); err != nil || grant.Principal.ID != actor {
			t.Errorf("%s: got %+v, %v", field, grant.Principal, err)
		}
		p.Clean(r)
		if r.Header.Get("Signature") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s: left %v", field, r.Header)
		}
	}
	both := make("/both", "Signature")
	both.Header.Set("Authorization", "Signature "+both.Header.Get("Signature"))
	if _, err := p.Identify(both); refusal(err) != credential.CodeInvalidRequest || len(p.Places(both)) != 2 {
		t.Errorf("in both fields: got %v", err)
	}
	signed := make("/signed", "Signature")
	signed.Header.Set("Signature-Input", `sig1=();created=1;keyid="k"`)
	if _, err := p.Identify(signed); refusal(err) != credential.CodeInvalidRequest {
		t.Errorf("beside Signature-Input: got %v", err)
	}
	off := provide(t, key)
	var e *credential.Error
	if _, err := off.Identify(make("/off", "Signature")); !errors.As(err, &e) || e.Code != credential.CodeInvalidRequest || !strings.Contains(e.Cause.Error(), "option cavage") {
		t.Errorf("without cavage: got %+v", e)
	}
}

// TestProhibitedParameterIsNamed: an unregistered one is not a reason to refuse, one
// that is prohibited is a 401 which says so.
func TestProhibitedParameterIsNamed(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\nparameters expires\nprohibit alg wimse-aud")
	for _, c := range []struct {
		change func(*httpsig.Template)
		want   string
	}{
		{func(x *httpsig.Template) { x.Expires = now.Add(time.Minute) }, ""},
		{nil, httpsig.ErrRefused.Error()},
		{func(x *httpsig.Template) { x.Expires, x.Algorithm = now.Add(time.Minute), true }, "the parameter alg is prohibited"},
	} {
		r := request("GET", "https://api.example.com/", nil)
		sign(t, acme.Signer, r, c.change)
		_, err := p.Identify(r)
		var e *credential.Error
		if got := errors.As(err, &e); got != (c.want != "") || got && (e.Code != CodeInvalid || e.Status() != http.StatusUnauthorized || e.Detail != c.want) {
			t.Errorf("got %+v, want %q", e, c.want)
		}
		if c.want != "" && c.change != nil {
			if ch := p.Challenges(e); len(ch) != 1 || !strings.Contains(ch[0], c.want) {
				t.Errorf("challenge %q", ch)
			}
		}
	}
}

func TestKeysFileIsSwapped(t *testing.T) {
	first, second := ed25519Pair(t, "k1"), ed25519Pair(t, "k2")
	path := filepath.Join(t.TempDir(), "keys.jsonl")
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	line := func(id string, p pair, more string) string {
		return `{"keyid":"` + id + `","alg":"ed25519","key":"` + strings.ReplaceAll(p.public, "\n", `\n`) + `"` + more + `}`
	}
	write("# partners", line("k1", first, `,"user":"acme","roles":["partner"]`))
	p := provide(t, "keys "+path+"\nreplay off")
	known := func(s pair) bool {
		r := request("GET", "https://api.example.com/", nil)
		sign(t, s.Signer, r, nil)
		_, err := p.Identify(r)
		return err == nil
	}
	if !known(first) || known(second) {
		t.Fatal("the keys of the file are not those that count")
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	write(line("k1", first, `,"disabled":true`), line("k2", second, ""))
	await("a change is not in force", func() bool { return !known(first) && known(second) })
	write(line("k1", first, ""), "{")
	await("a bad file is not noticed", func() bool { return p.file.Fault() != nil })
	if known(first) || !known(second) {
		t.Error("a bad file has changed what is in force")
	}
	if _, err := tryProvide(t, "keys "+path); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("loaded with a bad file: %v", err)
	}
}

// TestKeyIDStandsInOnePlace: where it stood in the configuration and in the file,
// the file's "disabled" was passed over.
func TestKeyIDStandsInOnePlace(t *testing.T) {
	inline, other := ed25519Pair(t, "k1"), ed25519Pair(t, "k2")
	path := filepath.Join(t.TempDir(), "keys.jsonl")
	line := func(id, more string) string {
		return `{"keyid":"` + id + `","alg":"ed25519","key":"` + strings.ReplaceAll(other.public, "\n", `\n`) + `"` + more + "}\n"
	}
	block := "key k1 ed25519 `" + inline.public + "`\nkeys " + path + "\nreplay off"
	for _, more := range []string{"", `,"disabled":true`} {
		writeFile(t, path, "# partners\n"+line("k2", "")+line("k1", more))
		if _, err := tryProvide(t, block); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 3: the key ID k1") {
			t.Errorf("%q: loaded: %v", more, err)
		}
	}
	writeFile(t, path, line("k2", ""))
	p := provide(t, block)
	neighbour := provide(t, "keys "+path) // which has no such key itself
	writeFile(t, path, line("k1", `,"disabled":true`)+line("k3", ""))
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	await("the change is not rejected", func() bool { return p.file.Fault() != nil })
	if !strings.Contains(p.file.Fault().Error(), "line 1: the key ID k1") || p.ring(t.Context()).Key("k2") == nil || p.ring(t.Context()).Key("k3") != nil || p.ring(t.Context()).Key("k1") == nil {
		t.Errorf("fault %v, in force %v", p.file.Fault(), *p.file.Value())
	}
	await("the change is not in force at another site", func() bool { return neighbour.ring(t.Context()).Key("k3") != nil })
	// The key is moved: first into the file, then out of the configuration.
	moved, err := tryProvide(t, "keys "+path)
	if err != nil || moved.ring(t.Context()).Key("k1") != nil || moved.ring(t.Context()).Key("k3") == nil {
		t.Errorf("after the key has left the configuration: %v", err)
	}
}

func TestBadKeysFilesAreRefused(t *testing.T) {
	good := ed25519Pair(t, "k")
	quoted := strings.ReplaceAll(good.public, "\n", `\n`)
	for name, text := range map[string]string{
		"empty":          "",
		"comments alone": "# nothing\n\n",
		"no object":      "[]",
		"no id":          `{"alg":"ed25519","key":"` + quoted + `"}`,
		"unknown member": `{"keyid":"k","alg":"ed25519","key":"` + quoted + `","role":"x"}`,
		"a member twice": `{"keyid":"k","keyid":"l","alg":"ed25519","key":"` + quoted + `"}`,
		"an id twice":    `{"keyid":"k","alg":"ed25519","key":"` + quoted + `"}` + "\n" + `{"keyid":"k","alg":"ed25519","key":"` + quoted + `"}`,
		"alg of another": `{"keyid":"k","alg":"rsa-pss-sha512","key":"` + quoted + `"}`,
		"key as secret":  `{"keyid":"k","alg":"hmac-sha256","key":"` + quoted + `"}`,
		"short secret":   `{"keyid":"k","alg":"hmac-sha256","key":"c2hvcnQ="}`,
		"a file":         `{"keyid":"k","alg":"ed25519","key":"/etc/passwd"}`,
		"a placeholder":  `{"keyid":"k","alg":"hmac-sha256","key":"{env.HOME}"}`,
		"roles as text":  `{"keyid":"k","alg":"ed25519","key":"` + quoted + `","roles":"x"}`,
		"private key":    `{"keyid":"k","alg":"ed25519","key":"` + strings.ReplaceAll(good.private, "\n", `\n`) + `"}`,
	} {
		if _, err := parseKeys([]byte(text), nil); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "MC4CAQ") {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keyid":"k","alg":"hmac-sha256","key":"YSBzaGFyZWQgc2VjcmV0IG9mIDMyIGJ5dGVzLCBvciBtb3Jl","roles":["a","a"]}`))
	f.Add([]byte("# c\n\n{\"keyid\":\"k\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parseKeys(text, nil)
		if err != nil {
			return
		}
		for id, h := range *all {
			if h.key.ID != id || h.principal.ID == "" || h.principal.KeyID != id || id == "" {
				t.Fatalf("%q: key %q of %+v", text, id, h.principal)
			}
		}
	})
}

func TestCleanTakesTheSignatureOut(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	for _, strip := range []bool{false, true} {
		p := provide(t, "key acme-1 ed25519 `"+acme.public+"`"+map[bool]string{true: "\nstrip"}[strip])
		r := request("GET", "https://api.example.com/", nil)
		r.Header.Set("Authorization", "Bearer of somebody else")
		sign(t, acme.Signer, r, nil)
		p.Clean(r)
		if gone := r.Header.Get("Signature") == "" && r.Header.Get("Signature-Input") == ""; gone != strip || r.Header.Get("Authorization") == "" {
			t.Errorf("strip %t: left %v", strip, r.Header)
		}
		_ = p.Cleanup()
	}
}

// TestReloadOfAnotherModeForgetsNothing: what is to be remembered changes, and
// how much.
func TestReloadOfAnotherModeForgetsNothing(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	key := "key acme-1 ed25519 `" + acme.public + "`\n"
	n := 0
	send := func(p *Provider, r *http.Request) string {
		_, err := p.Identify(r)
		return refusal(err)
	}
	signed := func() *http.Request {
		r := request(http.MethodPost, "https://example.com/orders", nil)
		r.Header.Set("Idempotency-Key", "k1")
		sign(t, acme.Signer, r, func(x *httpsig.Template) {
			n++
			x.Nonce = string(rune('a' + n))
			x.Components = append(x.Components, "idempotency-key")
		})
		return r
	}
	first := provide(t, key)
	used := signed()
	if code := send(first, used); code != "" {
		t.Fatal(code)
	}
	for _, mode := range []string{"nonce", "idempotency_key", "signature"} {
		next := provide(t, key+"replay "+mode)
		_ = first.Cleanup()
		if code := send(next, used); code != CodeReplayed {
			t.Errorf("after a reload to %s: got %q", mode, code)
		}
		first = next
	}
	first = provide(t, key+"replay idempotency_key\nremember 1000")
	if code := send(first, signed()); code != "" {
		t.Fatal(code)
	}
	larger := provide(t, key+"replay idempotency_key\nremember 2000")
	_ = first.Cleanup()
	if code := send(larger, signed()); code != CodeKeyUsed {
		t.Errorf("after a reload with another size: got %q", code)
	}
}
