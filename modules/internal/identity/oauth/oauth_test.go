package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"math/big"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
)

// memory is a storage for tests.
type memory struct {
	mu     sync.Mutex
	locks  map[string]*sync.Mutex
	files  map[string][]byte
	broken error
}

func newMemory() *memory {
	return &memory{files: make(map[string][]byte), locks: make(map[string]*sync.Mutex)}
}

func (m *memory) lockOf(name string) *sync.Mutex {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] == nil {
		m.locks[name] = new(sync.Mutex)
	}
	return m.locks[name]
}

func (m *memory) Lock(_ context.Context, name string) error {
	m.lockOf(name).Lock()
	return nil
}

func (m *memory) Unlock(_ context.Context, name string) error {
	m.lockOf(name).Unlock()
	return nil
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	if v, ok := m.files[key]; ok {
		return slices.Clone(v), nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	m.files[key] = slices.Clone(value)
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	delete(m.files, key)
	return nil
}

func (m *memory) List(_ context.Context, prefix string, _ bool) (keys []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.files {
		if strings.HasPrefix(key, prefix+"/") {
			keys = append(keys, key)
		}
	}
	return keys, m.broken
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const (
	iss      = "https://id.example.com"
	tokenURL = iss + "/token"
	orders   = "https://orders.example.com"
	stock    = "https://stock.example.com"
)

// fixture is a server with clients.
type fixture struct {
	*Server
	t       testing.TB
	clock   *clock
	storage *memory
	pepper  *apikey.Pepper
	file    *ClientFile
}

// fix makes a server with those clients, and returns the secrets of those that
// have neither keys nor a certificate, by ID.
func fix(t testing.TB, clients ...*Client) (*fixture, map[string]string) {
	t.Helper()
	pepper, err := apikey.NewPepper([]byte(strings.Repeat("p", 32)))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		t: t, clock: &clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}, storage: newMemory(), pepper: pepper,
		file: &ClientFile{PepperCheck: pepper.Check()},
	}
	secrets := make(map[string]string)
	for _, c := range clients {
		c.Created = f.clock.Now()
		if c.JWKS == nil && c.Certificate.Sort == "" {
			if secrets[c.ID], err = c.NewSecret(pepper, c.Created, 0); err != nil {
				t.Fatal(err)
			}
		}
		f.file.Clients = append(f.file.Clients, c)
	}
	path := filepath.Join(t.TempDir(), "clients.jsonl")
	if err := EditClients(path, func(*ClientFile) (*ClientFile, error) { return f.file, nil }); err != nil {
		t.Fatal(err)
	}
	opened, err := OpenClients(path, pepper, []string{iss, tokenURL}, func(filewatch.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	own, err := issuer.Open(t.Context(), f.storage, issuer.Options{Name: iss, Now: f.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := revocation.OpenStore(t.Context(), f.storage, f.clock.Now, func(string, error) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = &Server{
		Issuer: own, Clients: opened, Revoked: revoked, Lifetime: 10 * time.Minute, Now: f.clock.Now,
		Used:   replay.NewMemory(1000, f.clock.Now()),
		Proofs: &dpop.Checker{MaxAge: time.Minute, Leeway: Leeway, Used: replay.NewMemory(1000, f.clock.Now())},
	}
	if err := f.Prepare(); err != nil {
		t.Fatal(err)
	}
	return f, secrets
}

// request makes a request with a form that is written as pairs of name and value.
func request(t testing.TB, pairs ...string) *Request {
	t.Helper()
	text := ""
	for i := 0; i < len(pairs); i += 2 {
		text += "&" + url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1])
	}
	form, err := ParseQuery(strings.TrimPrefix(text, "&"))
	if err != nil {
		t.Fatal(err)
	}
	return &Request{Form: form, URL: tokenURL}
}

// as has a client authenticate by its secret.
func (r *Request) as(id, secret string) *Request {
	r.Authorization = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))}
	return r
}

// want fails the test unless err is an error of that status and code.
func want(t testing.TB, what string, err error, status int, code string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Status != status || e.Code != code {
		t.Errorf("%s: got %v (%+v), want %d %s", what, err, e, status, code)
	}
}

func claims(t testing.TB, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("not a token: %s", raw)
	}
	payload, err := base64url.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(payload, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// billing is a usual client.
func billing() *Client {
	return &Client{
		ID: "billing", Grants: []string{GrantClientCredentials}, Scopes: []string{"orders:read", "orders:write"},
		Audiences: []string{orders}, Roles: []string{"clerk"},
	}
}

func TestClientGetsWhatItsEntryAllows(t *testing.T) {
	short := &Client{ID: "short", Grants: []string{GrantClientCredentials}, Audiences: []string{orders, stock}, Lifetime: 2 * time.Minute}
	f, secrets := fix(t, billing(), short)
	resp, err := f.Token(t.Context(), request(t, "grant_type", "client_credentials").as("billing", secrets["billing"]))
	if err != nil {
		t.Fatal(err)
	}
	got := claims(t, resp.AccessToken)
	for name, want := range map[string]any{
		"iss": iss, "sub": "billing", "client_id": "billing", "aud": orders, "scope": "orders:read orders:write",
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	if resp.TokenType != "Bearer" || resp.ExpiresIn != 600 || resp.Scope != "orders:read orders:write" || got["exp"].(float64)-got["iat"].(float64) != 600 || got["jti"] == "" {
		t.Errorf("got %+v, %v", resp, got)
	}
	if roles, _ := got["roles"].([]any); len(roles) != 1 || roles[0] != "clerk" {
		t.Errorf("roles: %v", got["roles"])
	}
	header, _ := base64url.DecodeString(strings.Split(resp.AccessToken, ".")[0])
	if !strings.Contains(string(header), `"typ":"at+jwt"`) {
		t.Errorf("header: %s", header)
	}
	// Less than the entry allows, and by the other way to send a secret.
	resp, err = f.Token(t.Context(), request(t, "grant_type", "client_credentials", "client_id", "billing", "client_secret", secrets["billing"],
		"scope", "orders:read", "resource", orders))
	if err != nil || resp.Scope != "orders:read" {
		t.Errorf("got %+v, %v", resp, err)
	}
	resp, err = f.Token(t.Context(), request(t, "grant_type", "client_credentials", "resource", stock).as("short", secrets["short"]))
	if err != nil || resp.ExpiresIn != 120 || claims(t, resp.AccessToken)["aud"] != stock {
		t.Errorf("got %+v, %v", resp, err)
	}
	_, err = f.Token(t.Context(), request(t, "grant_type", "client_credentials").as("short", secrets["short"]))
	want(t, "several audiences and none named", err, 400, CodeInvalidTarget)
}

func TestRequestCannotWidenWhatTheEntryAllows(t *testing.T) {
	reader := &Client{ID: "reader", Introspects: []string{orders}}
	gone := billing()
	gone.ID, gone.Disabled = "gone", true
	old := billing()
	old.ID, old.Expires = "old", time.Date(2026, 11, 22, 10, 0, 1, 0, time.UTC)
	f, secrets := fix(t, billing(), reader, gone, old)
	f.clock.add(time.Second)
	secret := secrets["billing"]
	for what, c := range map[string]struct {
		r      *Request
		status int
		code   string
	}{
		"another scope":            {request(t, "grant_type", "client_credentials", "scope", "orders:read admin").as("billing", secret), 400, CodeInvalidScope},
		"a scope twice":            {request(t, "grant_type", "client_credentials", "scope", "orders:read orders:read").as("billing", secret), 400, CodeInvalidScope},
		"two spaces":               {request(t, "grant_type", "client_credentials", "scope", "orders:read  orders:write").as("billing", secret), 400, CodeInvalidScope},
		"another resource":         {request(t, "grant_type", "client_credentials", "resource", stock).as("billing", secret), 400, CodeInvalidTarget},
		"one of two resources":     {request(t, "grant_type", "client_credentials", "resource", orders, "resource", stock).as("billing", secret), 400, CodeInvalidTarget},
		"a resource with a slash":  {request(t, "grant_type", "client_credentials", "resource", orders+"/").as("billing", secret), 400, CodeInvalidTarget},
		"another audience":         {request(t, "grant_type", "client_credentials", "audience", stock).as("billing", secret), 400, CodeInvalidTarget},
		"no grant_type":            {request(t).as("billing", secret), 400, CodeInvalidRequest},
		"an empty grant_type":      {request(t, "grant_type", "").as("billing", secret), 400, CodeInvalidRequest},
		"the password grant":       {request(t, "grant_type", "password", "username", "a", "password", "b").as("billing", secret), 400, CodeUnsupportedGrantType},
		"the implicit grant":       {request(t, "grant_type", "implicit").as("billing", secret), 400, CodeUnsupportedGrantType},
		"a grant it has not":       {request(t, "grant_type", "client_credentials").as("reader", secrets["reader"]), 400, CodeUnauthorizedClient},
		"a wrong secret":           {request(t, "grant_type", "client_credentials").as("billing", secrets["gone"]), 401, CodeInvalidClient},
		"a secret that is none":    {request(t, "grant_type", "client_credentials").as("billing", "hunter2"), 401, CodeInvalidClient},
		"an empty secret":          {request(t, "grant_type", "client_credentials").as("billing", ""), 401, CodeInvalidClient},
		"an unknown client":        {request(t, "grant_type", "client_credentials").as("nobody", secret), 401, CodeInvalidClient},
		"another case":             {request(t, "grant_type", "client_credentials").as("Billing", secret), 401, CodeInvalidClient},
		"a disabled client":        {request(t, "grant_type", "client_credentials").as("gone", secrets["gone"]), 401, CodeInvalidClient},
		"an expired client":        {request(t, "grant_type", "client_credentials").as("old", secrets["old"]), 401, CodeInvalidClient},
		"no credential":            {request(t, "grant_type", "client_credentials"), 401, CodeInvalidClient},
		"an ID alone":              {request(t, "grant_type", "client_credentials", "client_id", "billing"), 401, CodeInvalidClient},
		"two ways":                 {request(t, "grant_type", "client_credentials", "client_id", "billing", "client_secret", secret).as("billing", secret), 400, CodeInvalidRequest},
		"another client_id":        {request(t, "grant_type", "client_credentials", "client_id", "reader").as("billing", secret), 400, CodeInvalidRequest},
		"an unknown assertion":     {request(t, "grant_type", "client_credentials", "client_assertion", "x", "client_assertion_type", "urn:x"), 400, CodeInvalidRequest},
		"a garbled assertion":      {request(t, "grant_type", "client_credentials", "client_assertion", "x", "client_assertion_type", assertionType), 401, CodeInvalidClient},
		"a bearer token as client": {&Request{Form: request(t, "grant_type", "client_credentials").Form, Authorization: []string{"Bearer " + secret}}, 401, CodeInvalidClient},
		"two Authorization fields": {&Request{Form: request(t, "grant_type", "client_credentials").Form, Authorization: []string{"Basic YTpi", "Basic YTpi"}}, 400, CodeInvalidRequest},
	} {
		resp, err := f.Token(t.Context(), c.r)
		if resp != nil {
			t.Errorf("%s: got a token", what)
		}
		want(t, what, err, c.status, c.code)
	}
}

func TestSecretsOverlapWhileTheyAreRotated(t *testing.T) {
	c := billing()
	f, secrets := fix(t, c)
	second, err := c.NewSecret(f.pepper, f.clock.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewSecret(f.pepper, f.clock.Now(), time.Hour); err == nil {
		t.Error("a client has three secrets")
	}
	r := &registered{Client: c}
	for _, secret := range []string{secrets["billing"], second} {
		if err := f.checkSecret(r, secret, f.clock.Now()); err != nil {
			t.Error(err)
		}
	}
	f.clock.add(time.Hour)
	want(t, "after the overlap", f.checkSecret(r, secrets["billing"], f.clock.Now()), 401, CodeInvalidClient)
	if err := f.checkSecret(r, second, f.clock.Now()); err != nil {
		t.Error(err)
	}
}

func TestFormsHaveOneReading(t *testing.T) {
	for text, code := range map[string]string{
		"grant_type=a&grant_type=a":                     CodeInvalidRequest,
		"grant_type=a&grant_type=":                      CodeInvalidRequest,
		"grant_type=a&%67rant_type=b":                   CodeInvalidRequest,
		"grant_type=a;scope=b":                          CodeInvalidRequest,
		"grant_type=%zz":                                CodeInvalidRequest,
		"grant_type=%ff":                                CodeInvalidRequest,
		"grant_type=%00":                                CodeInvalidRequest,
		strings.Repeat("a=&", 1) + "a=":                 CodeInvalidRequest,
		"x=" + strings.Repeat("y", MaxForm):             CodeInvalidRequest,
		"grant_type=a&resource=b&resource=c&audience=d": "",
		"":         "",
		"a=b&&c=d": "",
	} {
		_, err := ParseForm([]string{"application/x-www-form-urlencoded;charset=UTF-8"}, []byte(text))
		var e *Error
		if errors.As(err, &e); (e == nil) != (code == "") || e != nil && e.Code != code {
			t.Errorf("%.60s: got %v", text, err)
		}
	}
	for _, types := range [][]string{nil, {"application/json"}, {"multipart/form-data; boundary=x"}, {"text/plain"}, {"application/x-www-form-urlencoded", "application/json"}} {
		if _, err := ParseForm(types, []byte("a=b")); err == nil {
			t.Errorf("%q is read as a form", types)
		}
	}
}

// keyed makes a client with a key of its own.
func keyed(t testing.TB, id string) (*Client, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{ID: id, Grants: []string{GrantClientCredentials}, Audiences: []string{orders}}
	if err := c.SetKeys([]byte(`{"keys":[` + ecJWK(t, key) + `]}`)); err != nil {
		t.Fatal(err)
	}
	return c, key
}

func ecJWK(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return `{"kty":"EC","crv":"P-256","x":"` + base64url.EncodeToString(b[1:33]) + `","y":"` + base64url.EncodeToString(b[33:]) + `"}`
}

func sign(t testing.TB, key any, method jwt.SigningMethod, header, claims map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for name, value := range header {
		tok.Header[name] = value
	}
	raw, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAssertionsOfClients(t *testing.T) {
	c, key := keyed(t, "robot")
	other, otherKey := keyed(t, "other")
	f, secrets := fix(t, c, other, billing())
	now := f.clock.Now().Unix()
	n := 0
	good := func(change map[string]any) map[string]any {
		n++
		all := map[string]any{"iss": "robot", "sub": "robot", "aud": iss, "iat": now, "exp": now + 60, "jti": string(rune('a' + n))}
		for name, value := range change {
			if all[name] = value; value == nil {
				delete(all, name)
			}
		}
		return all
	}
	ask := func(assertion string, more ...string) error {
		_, err := f.Token(t.Context(), request(t, append([]string{
			"grant_type", "client_credentials", "client_assertion_type", assertionType, "client_assertion", assertion,
		}, more...)...))
		return err
	}
	es := jwt.SigningMethodES256
	for what, change := range map[string]map[string]any{
		"the issuer":                    {},
		"the endpoint":                  {"aud": tokenURL},
		"a list of one":                 {"aud": []string{iss}},
		"a client whose clock is ahead": {"iat": now + 20, "exp": now + 80},
	} {
		if err := ask(sign(t, key, es, nil, good(change)), "client_id", "robot"); err != nil {
			t.Errorf("%s: %v (%v)", what, err, errors.Unwrap(err))
		}
	}
	for what, change := range map[string]map[string]any{
		"another audience":          {"aud": "https://evil.example.com"},
		"two audiences":             {"aud": []string{iss, "https://evil.example.com"}},
		"no audience":               {"aud": nil},
		"another subject":           {"sub": "other"},
		"no subject":                {"sub": nil},
		"no jti":                    {"jti": nil},
		"no iat":                    {"iat": nil},
		"no exp":                    {"exp": nil},
		"expired":                   {"iat": now - 200, "exp": now - 100},
		"valid for a day":           {"exp": now + 86400},
		"from before the server":    {"iat": now - 60, "exp": now + 60},
		"issued in the future":      {"iat": now + 120, "exp": now + 180},
		"of a client with a secret": {"iss": "billing", "sub": "billing"},
		"of nobody":                 {"iss": "nobody", "sub": "nobody"},
	} {
		want(t, what, ask(sign(t, key, es, nil, good(change))), 401, CodeInvalidClient)
	}
	want(t, "another key", ask(sign(t, otherKey, es, nil, good(nil))), 401, CodeInvalidClient)
	want(t, "none", ask(sign(t, jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, nil, good(nil))), 401, CodeInvalidClient)
	want(t, "HMAC with the public key", ask(sign(t, []byte(c.JWKS), jwt.SigningMethodHS256, nil, good(nil))), 401, CodeInvalidClient)
	want(t, "for another client_id", ask(sign(t, key, es, nil, good(nil)), "client_id", "other"), 401, CodeInvalidClient)
	want(t, "beside a secret", ask(sign(t, key, es, nil, good(nil)), "client_secret", secrets["billing"]), 400, CodeInvalidRequest)
	want(t, "a key as secret", func() error {
		_, err := f.Token(t.Context(), request(t, "grant_type", "client_credentials").as("robot", secrets["billing"]))
		return err
	}(), 401, CodeInvalidClient)
	once := sign(t, key, es, nil, good(nil))
	if err := ask(once); err != nil {
		t.Fatal(err)
	}
	want(t, "replayed", ask(once), 401, CodeInvalidClient)
	// The same jti from another client is another value.
	again := sign(t, otherKey, es, nil, good(map[string]any{"iss": "other", "sub": "other", "jti": string(rune('a' + n))}))
	if err := ask(again); err != nil {
		t.Error(err)
	}
	f.Used = replay.NewMemory(1, f.clock.Now())
	if err := ask(sign(t, key, es, nil, good(nil))); err != nil {
		t.Fatal(err)
	}
	want(t, "no room to remember", ask(sign(t, key, es, nil, good(nil))), 503, CodeUnavailable)
}

func proof(t testing.TB, key *ecdsa.PrivateKey, now time.Time, change map[string]any) string {
	t.Helper()
	var jwk map[string]any
	if err := json.Unmarshal([]byte(ecJWK(t, key)), &jwk); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": tokenURL, "iat": now.Unix()}
	for name, value := range change {
		all[name] = value
	}
	return sign(t, key, jwt.SigningMethodES256, map[string]any{"typ": "dpop+jwt", "jwk": jwk}, all)
}

func TestTokensAreBoundToTheKeyOfTheProof(t *testing.T) {
	must := billing()
	must.ID, must.Bound = "must", BoundDPoP
	f, secrets := fix(t, billing(), must)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id string, proofs ...string) (*Response, error) {
		r := request(t, "grant_type", "client_credentials").as(id, secrets[id])
		r.Proofs = proofs
		return f.Token(t.Context(), r)
	}
	for _, id := range []string{"billing", "must"} {
		resp, err := ask(id, proof(t, key, f.clock.Now(), nil))
		if err != nil {
			t.Fatal(err)
		}
		cnf, _ := claims(t, resp.AccessToken)["cnf"].(map[string]any)
		if resp.TokenType != "DPoP" || cnf["jkt"] == "" || len(cnf) != 1 {
			t.Errorf("%s: got %+v, %v", id, resp, cnf)
		}
	}
	_, err = ask("must")
	want(t, "no proof", err, 400, CodeInvalidProof)
	once := proof(t, key, f.clock.Now(), nil)
	_, err = ask("billing", once, once)
	want(t, "two proofs", err, 400, CodeInvalidProof)
	if _, err := ask("billing", once); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"used before":            once,
		"for another endpoint":   proof(t, key, f.clock.Now(), map[string]any{"htu": iss + "/revoke"}),
		"for another server":     proof(t, key, f.clock.Now(), map[string]any{"htu": "https://evil.example.com/token"}),
		"for another method":     proof(t, key, f.clock.Now(), map[string]any{"htm": "GET"}),
		"of an hour ago":         proof(t, key, f.clock.Now().Add(-time.Hour), nil),
		"for the use of a token": proof(t, key, f.clock.Now(), map[string]any{"ath": "x"}),
		"garbled":                "x.y.z",
	} {
		_, err := ask("billing", text)
		want(t, what, err, 400, CodeInvalidProof)
	}
}

// certificate makes a self-signed certificate.
func certificate(t testing.TB, names ...string) *x509.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "robot"}, DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestClientsAuthenticateByCertificate(t *testing.T) {
	cert, other := certificate(t, "robot.example.com"), certificate(t, "other.example.com")
	pin := fingerprint(&Request{Certificate: cert})
	client := func(id, sort, value string) *Client {
		c := billing()
		c.ID, c.Certificate, c.Bound = id, Certificate{sort, value}, BoundTLS
		return c
	}
	f, _ := fix(t, client("pinned", SHA256Sort, pin), client("dns", "dns", "robot.example.com"), client("subject", "subject", "CN=robot"))
	ask := func(id string, cert *x509.Certificate, trusted bool) (*Response, error) {
		r := request(t, "grant_type", "client_credentials", "client_id", id)
		r.Certificate, r.Trusted = cert, trusted
		return f.Token(t.Context(), r)
	}
	for id, trusted := range map[string]bool{"pinned": false, "dns": true, "subject": true} {
		resp, err := ask(id, cert, trusted)
		if err != nil {
			t.Errorf("%s: %v (%v)", id, err, errors.Unwrap(err))
			continue
		}
		if cnf, _ := claims(t, resp.AccessToken)["cnf"].(map[string]any); cnf["x5t#S256"] != pin {
			t.Errorf("%s: cnf is %v", id, cnf)
		}
	}
	for what, c := range map[string]struct {
		id      string
		cert    *x509.Certificate
		trusted bool
	}{
		"no certificate":                  {"pinned", nil, false},
		"another certificate":             {"pinned", other, true},
		"a name that nobody has verified": {"dns", cert, false},
		"another name":                    {"dns", other, true},
		"a subject nobody has verified":   {"subject", cert, false},
	} {
		_, err := ask(c.id, c.cert, c.trusted)
		want(t, what, err, 401, CodeInvalidClient)
	}
}

func TestIntrospectionIsForThoseConcerned(t *testing.T) {
	f, secrets := fix(t, billing(), &Client{ID: "orders", Introspects: []string{orders}}, &Client{ID: "stock", Introspects: []string{stock}})
	resp, err := f.Token(t.Context(), request(t, "grant_type", "client_credentials").as("billing", secrets["billing"]))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id, token string) map[string]any {
		t.Helper()
		known, err := f.Introspect(t.Context(), request(t, "token", token).as(id, secrets[id]))
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	for id, active := range map[string]bool{"billing": true, "orders": true, "stock": false} {
		known := ask(id, resp.AccessToken)
		if known["active"] != active || !active && len(known) != 1 || active && (known["client_id"] != "billing" || known["scope"] != "orders:read orders:write") {
			t.Errorf("%s: got %v", id, known)
		}
	}
	forged := resp.AccessToken[:len(resp.AccessToken)-4] + "AAAA"
	for what, text := range map[string]string{"garbage": "x", "forged": forged} {
		if known := ask("orders", text); known["active"] != false || len(known) != 1 {
			t.Errorf("%s: got %v", what, known)
		}
	}
	_, err = f.Introspect(t.Context(), request(t, "token", resp.AccessToken))
	want(t, "nobody", err, 401, CodeInvalidClient)
	_, err = f.Introspect(t.Context(), request(t).as("orders", secrets["orders"]))
	want(t, "no token", err, 400, CodeInvalidRequest)
	f.clock.add(11 * time.Minute)
	if known := ask("orders", resp.AccessToken); known["active"] != false {
		t.Errorf("expired: %v", known)
	}
}

func TestRevocationIsForOnesOwnTokens(t *testing.T) {
	second := billing()
	second.ID = "second"
	f, secrets := fix(t, billing(), second)
	resp, err := f.Token(t.Context(), request(t, "grant_type", "client_credentials").as("billing", secrets["billing"]))
	if err != nil {
		t.Fatal(err)
	}
	active := func() bool {
		t.Helper()
		known, err := f.Introspect(t.Context(), request(t, "token", resp.AccessToken).as("billing", secrets["billing"]))
		if err != nil {
			t.Fatal(err)
		}
		return known["active"] == true
	}
	want(t, "another client's", f.Revoke(t.Context(), request(t, "token", resp.AccessToken).as("second", secrets["second"])), 400, CodeUnauthorizedClient)
	f.storage.fail(errors.New("no route to storage"))
	want(t, "storage away", f.Revoke(t.Context(), request(t, "token", resp.AccessToken).as("billing", secrets["billing"])), 503, CodeUnavailable)
	f.storage.fail(nil)
	if !active() {
		t.Error("revoked by somebody else, or without a note in the storage")
	}
	for range 2 { // RFC 7009 section 2.2: no error the second time
		if err := f.Revoke(t.Context(), request(t, "token", resp.AccessToken, "token_type_hint", "refresh_token").as("billing", secrets["billing"])); err != nil {
			t.Fatal(err)
		}
	}
	if active() {
		t.Error("still active")
	}
	if err := f.Revoke(t.Context(), request(t, "token", "garbage").as("billing", secrets["billing"])); err != nil {
		t.Error(err)
	}
}
