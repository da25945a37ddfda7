package jwtauth

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const secret = "0123456789abcdef0123456789abcdef"

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type claims map[string]any

// sign makes a token with the shared secret. Claims are added to a good set;
// nil removes one.
func sign(t testing.TB, more claims) string {
	t.Helper()
	all := claims{"sub": "alice", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64(payload)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// testContext is a context with a storage of its own.
func testContext(t testing.TB) caddy.Context {
	t.Helper()
	root, err := json.Marshal(filepath.Join(t.TempDir(), "storage"))
	if err != nil {
		t.Fatal(err)
	}
	cctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true},
		StorageRaw: json.RawMessage(`{"module":"file_system","root":` + string(root) + `}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	cctx, cancel := caddy.NewContext(cctx)
	t.Cleanup(cancel)
	return cctx
}

func parse(input string) (*Provider, error) {
	p := new(Provider)
	return p, p.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
}

// load parses a block, takes it through JSON and provisions it.
func load(t testing.TB, ctx caddy.Context, block string) (*Provider, error) {
	t.Helper()
	parsed, err := parse("jwt_auth {\n" + block + "\n}")
	if err != nil {
		t.Fatalf("%s\n%v", block, err)
	}
	raw, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{now: func() time.Time { return now }}
	if err := caddy.StrictUnmarshalJSON(raw, p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Cleanup() })
	return p, p.Provision(ctx)
}

func provider(t testing.TB, block string) *Provider {
	t.Helper()
	t.Setenv("MOAT_SECRET", secret)
	p, err := load(t, testContext(t), block)
	if err != nil {
		t.Fatalf("%s\n%v", block, err)
	}
	return p
}

const shared = "key HS256 {env.MOAT_SECRET}\n"

func get(fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.com/orders?a=1", nil)
	r.TLS = nil
	for i := 0; i < len(fields); i += 2 {
		r.Header[fields[i]] = append(r.Header[fields[i]], fields[i+1])
	}
	return r
}

// want checks the code of the rejection; empty means that the request passes.
func want(t *testing.T, p *Provider, r *http.Request, kind credential.Kind, code string) *credential.Error {
	t.Helper()
	grant, err := p.Identify(r)
	who := grant.Principal
	if code == "" {
		if err != nil || who == nil {
			t.Errorf("refused: %v", err)
		}
		return nil
	}
	var ce *credential.Error
	if !errors.As(err, &ce) || ce.Code != code || ce.Kind != kind {
		t.Errorf("got %v, want %s", err, code)
		return &credential.Error{}
	}
	return ce
}

func TestOneTokenInAListedPlaceAndNoOther(t *testing.T) {
	good := sign(t, nil)
	standard := provider(t, shared)
	for name, test := range map[string]struct {
		r    *http.Request
		kind credential.Kind
		code string
	}{
		"header":                 {get("Authorization", "Bearer "+good), 0, ""},
		"any case":               {get("Authorization", "bEaReR "+good), 0, ""},
		"two spaces":             {get("Authorization", "Bearer  "+good), 0, ""},
		"nothing":                {get(), credential.Missing, credential.CodeMissing},
		"another scheme":         {get("Authorization", "Basic YTpi"), credential.Missing, credential.CodeMissing},
		"longer scheme":          {get("Authorization", "Bearers "+good), credential.Missing, credential.CodeMissing},
		"unlisted cookie":        {get("Cookie", "token="+good), credential.Missing, credential.CodeMissing},
		"unlisted header":        {get("X-Token", good), credential.Missing, credential.CodeMissing},
		"no scheme":              {get("Authorization", good), credential.Missing, credential.CodeMissing},
		"announced only":         {get("Authorization", "Bearer"), credential.Malformed, credential.CodeInvalidRequest},
		"announced with a space": {get("Authorization", "Bearer "), credential.Malformed, credential.CodeInvalidRequest},
		"tab":                    {get("Authorization", "Bearer\t"+good), credential.Malformed, credential.CodeInvalidRequest},
		"comma":                  {get("Authorization", "Bearer,"+good), credential.Malformed, credential.CodeInvalidRequest},
		"two in one":             {get("Authorization", "Bearer "+good+", Bearer "+good), credential.Malformed, credential.CodeInvalidRequest},
		"two words":              {get("Authorization", "Bearer "+good+" "+good), credential.Malformed, credential.CodeInvalidRequest},
		"two lines":              {get("Authorization", "Bearer "+good, "Authorization", "Bearer "+good), credential.Malformed, credential.CodeInvalidRequest},
		"two lines, two schemes": {get("Authorization", "Basic YTpi", "Authorization", "Bearer "+good), credential.Malformed, credential.CodeInvalidRequest},
		"quoted":                 {get("Authorization", `Bearer "`+good+`"`), credential.Bad, credential.CodeInvalidToken},
		"100 kB":                 {get("Authorization", "Bearer "+strings.Repeat("a", 100_000)), credential.Bad, credential.CodeInvalidToken},
		"placeholder":            {get("Authorization", "Bearer {env.MOAT_SECRET}"), credential.Bad, credential.CodeInvalidToken},
	} {
		t.Run(name, func(t *testing.T) { want(t, standard, test.r, test.kind, test.code) })
	}
	many := provider(t, shared+"from header X-Token\nfrom cookie id\nfrom query access_token\nfrom header Authorization Token")
	query := func(q string, fields ...string) *http.Request {
		r := get(fields...)
		r.URL.RawQuery = q
		return r
	}
	for name, test := range map[string]struct {
		r    *http.Request
		kind credential.Kind
		code string
	}{
		"header":               {get("X-Token", good), 0, ""},
		"cookie":               {get("Cookie", "a=b; id="+good+"; c=d"), 0, ""},
		"query":                {query("a=1&access_token=" + good), 0, ""},
		"own scheme":           {get("Authorization", "Token "+good), 0, ""},
		"Bearer is not listed": {get("Authorization", "Bearer "+good), credential.Missing, credential.CodeMissing},
		"two headers":          {get("X-Token", good, "X-Token", good), credential.Malformed, credential.CodeInvalidRequest},
		"two cookies":          {get("Cookie", "id="+good+"; id="+good), credential.Malformed, credential.CodeInvalidRequest},
		"two cookie lines":     {get("Cookie", "id="+good, "Cookie", "id="+good), credential.Malformed, credential.CodeInvalidRequest},
		"two parameters":       {query("access_token=" + good + "&access_token=" + good), credential.Malformed, credential.CodeInvalidRequest},
		"escaped parameter":    {query("access_token=" + good + "&%61ccess_token=" + good), credential.Malformed, credential.CodeInvalidRequest},
		"header and cookie":    {get("X-Token", good, "Cookie", "id="+good), credential.Malformed, credential.CodeInvalidRequest},
		"cookie and query":     {query("access_token="+good, "Cookie", "id="+good), credential.Malformed, credential.CodeInvalidRequest},
		"good and bad":         {get("X-Token", good, "Cookie", "id=bad"), credential.Malformed, credential.CodeInvalidRequest},
		"broken query":         {query("a=%zz"), credential.Malformed, credential.CodeInvalidRequest},
		"semicolon":            {query("a=1;access_token=" + good), credential.Malformed, credential.CodeInvalidRequest},
		"empty cookie":         {get("Cookie", "id="), credential.Malformed, credential.CodeInvalidRequest},
		"empty parameter":      {query("access_token="), credential.Malformed, credential.CodeInvalidRequest},
		"other case":           {get("Cookie", "ID="+good), credential.Missing, credential.CodeMissing},
		// What net/http does not read, somebody behind may.
		"cookie with a quote":   {get("Cookie", `id="abc`), credential.Malformed, credential.CodeInvalidRequest},
		"quoted twin before":    {get("Cookie", `id="abc; id=`+good), credential.Malformed, credential.CodeInvalidRequest},
		"quoted twin behind":    {get("Cookie", "id="+good+`; id=a\b`), credential.Malformed, credential.CodeInvalidRequest},
		"twin without a value":  {get("Cookie", "id="+good+"; id"), credential.Malformed, credential.CodeInvalidRequest},
		"twin with a tab":       {get("Cookie", "id="+good+";\tid\t=abc"), credential.Malformed, credential.CodeInvalidRequest},
		"twin beyond ASCII":     {get("Cookie", "id="+good, "Cookie", "id=ä"), credential.Malformed, credential.CodeInvalidRequest},
		"another spelling":      {get("X-Token", good, "X_token", "abc"), credential.Malformed, credential.CodeInvalidRequest},
		"another with dots":     {get("X-Token", good, "X.Token", "abc"), credential.Malformed, credential.CodeInvalidRequest},
		"only another spelling": {get("X_TOKEN", good), credential.Malformed, credential.CodeInvalidRequest},
		"a name as long":        {get("X-Tokem", "abc", "Cookie", "jd=\"abc; id="+good), 0, ""},
	} {
		t.Run("listed "+name, func(t *testing.T) { want(t, many, test.r, test.kind, test.code) })
	}
}

func TestStripRemovesTheTokenAndNothingElse(t *testing.T) {
	p := provider(t, shared+"strip\nfrom header Authorization\nfrom header X-Token\nfrom cookie id\nfrom query t")
	r := get("Authorization", "Bearer x", "X-Token", "x", "Cookie", "a=b; id=x;c=\"d e\"", "Cookie", "id=y", "X-Other", "kept")
	r.URL.RawQuery = "a=%31&t=x&b&%74=y&tt=1"
	p.Clean(r)
	if len(r.Header) != 2 || r.Header.Get("X-Other") != "kept" {
		t.Errorf("header: %v", r.Header)
	}
	if got := r.Header["Cookie"]; len(got) != 1 || got[0] != `a=b;c="d e"` {
		t.Errorf("cookie: %q", got)
	}
	if r.URL.RawQuery != "a=%31&b&tt=1" {
		t.Errorf("query: %s", r.URL.RawQuery)
	}
	r = get("Authorization", "Basic YTpi", "Cookie", "id=x")
	p.Clean(r)
	if len(r.Header) != 1 || r.Header.Get("Authorization") != "Basic YTpi" {
		t.Errorf("header: %v", r.Header)
	}
	r = get("Authorization", "Bearer x")
	provider(t, shared).Clean(r)
	if len(r.Header) != 1 {
		t.Error("removed although nobody asked")
	}
}

func TestChallengesAreThoseOfRFC6750(t *testing.T) {
	p := provider(t, shared+"realm \"my \\\"api\"\nrequire scope orders:read")
	why := want(t, p, get(), credential.Missing, credential.CodeMissing)
	if got := p.Challenges(why)[0]; got != `Bearer realm="my \"api"` {
		t.Errorf("missing: %s", got)
	}
	why = want(t, p, get("Authorization", "Bearer x"), credential.Bad, credential.CodeInvalidToken)
	if got := p.Challenges(why)[0]; got != `Bearer realm="my \"api", error="invalid_token", error_description="malformed token"` {
		t.Errorf("bad: %s", got)
	}
	why = want(t, p, get("Authorization", "Bearer "+sign(t, claims{"scope": "orders:write"})), credential.Insufficient, credential.CodeInsufficientScope)
	if got := p.Challenges(why)[0]; !strings.Contains(got, `error="insufficient_scope"`) || !strings.Contains(got, `scope="orders:read"`) {
		t.Errorf("insufficient: %s", got)
	}
	why = want(t, p, get("Authorization", "Bearer"), credential.Malformed, credential.CodeInvalidRequest)
	if got := p.Challenges(why)[0]; !strings.Contains(got, `error="invalid_request"`) {
		t.Errorf("malformed: %s", got)
	}
}

func TestRequirementsOfBothKinds(t *testing.T) {
	p := provider(t, shared+"require scope read write\nrequire /tenant/id 7\nrequire email_verified")
	good := claims{"scope": "x write", "tenant": claims{"id": 7}, "email_verified": true}
	with := func(name string, v any) *http.Request {
		c := maps.Clone(good)
		c[name] = v
		return get("Authorization", "Bearer "+sign(t, c))
	}
	want(t, p, with("x", 1), 0, "")
	want(t, p, with("scope", "read"), 0, "")
	want(t, p, with("scope", "reader"), credential.Insufficient, credential.CodeInsufficientScope)
	want(t, p, with("scope", nil), credential.Insufficient, credential.CodeInsufficientScope)
	want(t, p, with("tenant", claims{"id": 8}), credential.Bad, credential.CodeInvalidToken)
	want(t, p, with("tenant", nil), credential.Bad, credential.CodeInvalidToken)
	want(t, p, with("email_verified", nil), credential.Bad, credential.CodeInvalidToken)
}

func TestTokenWithoutExpiryIsRefused(t *testing.T) {
	p := provider(t, shared)
	want(t, p, get("Authorization", "Bearer "+sign(t, claims{"exp": nil})), credential.Bad, credential.CodeInvalidToken)
}

func TestLeewayHasTwoSides(t *testing.T) {
	expired := func(d time.Duration) *http.Request {
		return get("Authorization", "Bearer "+sign(t, claims{"exp": now.Add(-d).Unix(), "iat": now.Add(-time.Hour).Unix()}))
	}
	p := provider(t, shared)
	want(t, p, expired(29*time.Second), 0, "")
	want(t, p, expired(30*time.Second), credential.Bad, credential.CodeInvalidToken)
	p = provider(t, shared+"leeway 0s")
	want(t, p, expired(0), credential.Bad, credential.CodeInvalidToken)
	want(t, p, expired(-time.Second), 0, "")
}

func TestMaxAgeHasTwoSides(t *testing.T) {
	p := provider(t, shared+"max_age 10m\nleeway 0s")
	aged := func(d time.Duration) *http.Request {
		return get("Authorization", "Bearer "+sign(t, claims{"iat": now.Add(-d).Unix()}))
	}
	want(t, p, aged(599*time.Second), 0, "")
	want(t, p, aged(600*time.Second), credential.Bad, credential.CodeInvalidToken)
}

func TestAudienceIsCheckedBothWays(t *testing.T) {
	aud := func(v any) *http.Request { return get("Authorization", "Bearer "+sign(t, claims{"aud": v})) }
	t.Setenv("MOAT_AUD", "orders")
	p := provider(t, shared+"audience {env.MOAT_AUD} other")
	want(t, p, aud("orders"), 0, "")
	want(t, p, aud([]string{"x", "other"}), 0, "")
	want(t, p, aud("{env.MOAT_AUD}"), credential.Bad, credential.CodeInvalidToken)
	want(t, p, aud(nil), credential.Bad, credential.CodeInvalidToken)
	p = provider(t, shared)
	want(t, p, aud(nil), 0, "")
	want(t, p, aud("orders"), credential.Bad, credential.CodeInvalidToken)
	p = provider(t, shared+"audience *")
	want(t, p, aud("orders"), 0, "")
	want(t, p, aud(nil), 0, "")
}

func TestTokensAreRoutedByTheirIssuer(t *testing.T) {
	other := base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210"))
	p := provider(t, "issuer a {\n"+shared+"}\nissuer b {\n\tkey HS256 "+other+"\n}")
	with := func(iss any) *http.Request { return get("Authorization", "Bearer "+sign(t, claims{"iss": iss})) }
	want(t, p, with("a"), 0, "")
	for _, iss := range []any{"b", "A", "a/", "", "c", nil, 1} {
		want(t, p, with(iss), credential.Bad, credential.CodeInvalidToken)
	}
}

func TestTokenBoundToACertificateNeedsIt(t *testing.T) {
	mine, yours := &x509.Certificate{Raw: []byte("mine")}, &x509.Certificate{Raw: []byte("yours")}
	sum := sha256.Sum256(mine.Raw)
	bound := sign(t, claims{"cnf": claims{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}})
	request := func(raw string, certs ...*x509.Certificate) *http.Request {
		r := get("Authorization", "Bearer "+raw)
		r.TLS = &tls.ConnectionState{PeerCertificates: certs}
		return r
	}
	p := provider(t, shared+"bind tls")
	want(t, p, request(bound, mine), 0, "")
	want(t, p, request(bound, mine, yours), 0, "")
	want(t, p, request(bound, yours, mine), credential.Bad, credential.CodeInvalidToken)
	want(t, p, request(bound), credential.Bad, credential.CodeInvalidToken)
	want(t, p, get("Authorization", "Bearer "+bound), credential.Bad, credential.CodeInvalidToken)
	want(t, p, request(sign(t, nil), mine), credential.Bad, credential.CodeInvalidToken)
	for _, cnf := range []any{"x", claims{}, claims{"x5t#S256": 1}, claims{"x5t#S256": ""}, claims{"jkt": "x"}} {
		want(t, p, request(sign(t, claims{"cnf": cnf}), mine), credential.Bad, credential.CodeInvalidToken)
	}
	// A token that says it is bound is not accepted where nobody checks.
	p = provider(t, shared)
	want(t, p, request(bound, mine), credential.Bad, credential.CodeInvalidToken)
	want(t, p, get("Authorization", "Bearer "+sign(t, claims{"cnf": claims{"jkt": "x"}})), credential.Bad, credential.CodeInvalidToken)
	want(t, p, get("Authorization", "Bearer "+sign(t, nil)), 0, "")
}

func TestRevokedTokenIsRefusedEvenIfCached(t *testing.T) {
	file := filepath.Join(t.TempDir(), "revoked")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# none\n")
	p := provider(t, shared+"revocations "+file)
	r := get("Authorization", "Bearer "+sign(t, claims{"jti": "t1"}))
	want(t, p, r, 0, "")
	want(t, p, r, 0, "")
	if p.verifier.Stats().Hits == 0 {
		t.Error("the token is not cached")
	}
	write("{\"jti\":\"t1\"}\n")
	until(t, "the revocation is in force", func() bool { _, err := p.Identify(r); return err != nil })
	why := want(t, p, r, credential.Bad, credential.CodeInvalidToken)
	if why.Detail != "token has been revoked" {
		t.Errorf("got %q", why.Detail)
	}
	want(t, p, get("Authorization", "Bearer "+sign(t, claims{"jti": "t2"})), 0, "")
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 3000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func admin(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	var a Admin
	for _, route := range a.Routes() {
		if route.Pattern != path {
			continue
		}
		w := httptest.NewRecorder()
		err := route.Handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		var ae caddy.APIError
		if errors.As(err, &ae) {
			return ae.HTTPStatus, ae.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
		return w.Code, w.Body.String()
	}
	t.Fatalf("no route %s", path)
	return 0, ""
}

func TestAdminRevokesAtOnceAndForGood(t *testing.T) {
	if code, _ := admin(t, "POST", "/moat/revocations", `{"jti":"t1"}`); code != http.StatusConflict {
		t.Errorf("without any jwt_auth: got %d", code)
	}
	t.Setenv("MOAT_SECRET", secret)
	ctx := testContext(t)
	p, err := load(t, ctx, shared)
	if err != nil {
		t.Fatal(err)
	}
	r := get("Authorization", "Bearer "+sign(t, claims{"jti": "t1"}))
	want(t, p, r, 0, "")
	for _, body := range []string{"", "# comment\n", "{}", `{"jti":1}`, `[{"jti":"t1"}]`, `{"jti":"t1","x":"y"}`} {
		if code, _ := admin(t, "POST", "/moat/revocations", body); code != http.StatusBadRequest {
			t.Errorf("%q: got %d", body, code)
		}
	}
	if code, _ := admin(t, "PUT", "/moat/revocations", `{"jti":"t1"}`); code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: got %d", code)
	}
	want(t, p, r, 0, "")
	if code, body := admin(t, "POST", "/moat/revocations", "{\n  \"jti\": \"t1\"\n}"); code != 200 || body != "{\"entries\":1}\n" {
		t.Errorf("got %d %s", code, body)
	}
	want(t, p, r, credential.Bad, credential.CodeInvalidToken)

	// a reload: the new instance comes before the old one goes
	p2, err := load(t, ctx, shared)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Cleanup()
	want(t, p2, r, credential.Bad, credential.CodeInvalidToken)
	// a restart: nothing is left in memory
	_ = p2.Cleanup()
	if len(openStores()) != 0 {
		t.Fatal("a store stays open")
	}
	p3, err := load(t, ctx, shared)
	if err != nil {
		t.Fatal(err)
	}
	want(t, p3, r, credential.Bad, credential.CodeInvalidToken)

	if code, body := admin(t, "GET", "/moat/revocations", ""); code != 200 || body != "{\"jti\":\"t1\"}\n" {
		t.Errorf("got %d %s", code, body)
	}
	if code, body := admin(t, "DELETE", "/moat/revocations", `{"jti":"t1"}`); code != 200 || body != "{\"entries\":1}\n" {
		t.Errorf("got %d %s", code, body)
	}
	want(t, p3, r, 0, "")
}

// TestKeyWithoutANameIsRevokedByItsThumbprint takes what /moat/keysets says of
// a key that has no kid and revokes it.
func TestKeyWithoutANameIsRevokedByItsThumbprint(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"`+b64(public)+`"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := provider(t, "jwks "+file)
	text := b64([]byte(`{"alg":"EdDSA"}`)) + "." + strings.Split(sign(t, nil), ".")[1]
	r := get("Authorization", "Bearer "+text+"."+b64(ed25519.Sign(private, []byte(text))))
	want(t, p, r, 0, "")

	var listed []struct{ Keys []string }
	if code, body := admin(t, "GET", "/moat/keysets", ""); code != 200 || json.Unmarshal([]byte(body), &listed) != nil || len(listed) != 1 || len(listed[0].Keys) != 1 {
		t.Fatalf("got %d %s", code, body)
	}
	if code, body := admin(t, "POST", "/moat/revocations", `{"kid":"`+listed[0].Keys[0]+`"}`); code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	want(t, p, r, credential.Bad, credential.CodeInvalidToken)
}

// TestRolesComeFromSeveralClaims has each of the forms that a claim can have.
func TestRolesComeFromSeveralClaims(t *testing.T) {
	p := provider(t, shared+"roles /realm_access/roles /resource_access/orders~1v1/roles https://example.com/roles groups")
	grant, err := p.Identify(get("Authorization", "Bearer "+sign(t, claims{
		"realm_access":              claims{"roles": []string{"clerk", "offline access"}},
		"resource_access":           claims{"orders/v1": claims{"roles": "boss of clerks"}},
		"https://example.com/roles": "auditor",
		"groups":                    []string{"clerk", "staff"},
		"roles":                     []string{"root"}, // which is not asked for
	})))
	if err != nil || strings.Join(grant.Principal.Roles, "|") != "clerk|offline access|boss of clerks|auditor|staff" {
		t.Errorf("got %+v, %v", grant.Principal, err)
	}
}

func TestInternalIssuerNeedsNothingElse(t *testing.T) {
	ctx := testContext(t)
	p := &Provider{Issuers: []*Issuer{{Internal: &Internal{Publish: "/jwks.json"}, Audience: []string{"orders"}}}}
	if err := p.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	defer p.Cleanup() //nolint:errcheck // always nil
	own, err := ownissuer.Open(&p.held, p.storage, "urn:caddy-moat:internal", 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := own.Mint(map[string]any{"sub": "alice", "roles": []string{"clerk"}, "aud": "orders"}, "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	grant, ierr := p.Identify(get("Authorization", "Bearer "+raw))
	who := grant.Principal
	if ierr != nil || who.ID != "alice" || !who.HasRole("clerk") || who.Issuer != "urn:caddy-moat:internal" {
		t.Errorf("got %+v, %v", who, ierr)
	}

	if code, body := admin(t, "GET", "/moat/keysets", ""); code != 200 || !strings.Contains(body, own.KeyIDs()[0]) {
		t.Errorf("got %d %s", code, body)
	}
	for path, wantCode := range map[string]int{"/jwks.json": 200, "/jwks.json/": 0, "/": 0} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		if served := serveEndpoint(p, w, r); served != (wantCode == 200) {
			t.Errorf("%s: served %v", path, served)
		}
		if wantCode == 200 && (w.Body.String() != string(own.PublicSet()) || w.Header().Get("Content-Type") != "application/jwk-set+json") {
			t.Errorf("got %s %v", w.Body, w.Header())
		}
	}
	w := httptest.NewRecorder()
	if serveEndpoint(p, w, httptest.NewRequest("POST", "/jwks.json", nil)) {
		t.Error("POST was answered")
	}
}

// serveEndpoint answers a request as the auth handler would, if it is for one of
// the provider's own.
func serveEndpoint(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	for _, e := range p.Traits().Endpoints {
		if e.Path == r.URL.Path && slices.Contains(e.Methods, r.Method) {
			return e.Serve(w, r) == nil
		}
	}
	return false
}

func TestProviderWorksInCaddysOwnHandler(t *testing.T) {
	p := provider(t, shared+"strip")
	prepare := func(fields ...string) *http.Request {
		return caddyhttp.PrepareRequest(get(fields...), caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	}
	r := prepare("Authorization", "Bearer "+sign(t, claims{"roles": []string{"a", "b"}, "n": 7}))
	w := httptest.NewRecorder()
	user, ok, err := p.Authenticate(w, r)
	if !ok || err != nil || user.ID != "alice" || user.Metadata["roles"] != "a,b" || len(w.Header()) != 0 {
		t.Errorf("got %+v, %v, %v, header %v", user, ok, err, w.Header())
	}
	if v, _ := reqctx.Replacer(r).Get("http.auth.user.claims.n"); v != int64(7) {
		t.Errorf("claim: %#v", v)
	}
	if reqctx.Principal(r) == nil || r.Header.Get("Authorization") != "" {
		t.Error("no principal, or the token was not removed")
	}
	for _, h := range []string{"Bearer bad", ""} {
		w = httptest.NewRecorder()
		r = prepare("Authorization", h)
		if _, ok, err := p.Authenticate(w, r); ok || err != nil || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%q: got %v, %v, header %v", h, ok, err, w.Header())
		}
		if reqctx.Principal(r) != nil {
			t.Error("a refused request has a principal")
		}
	}
}

func TestUnreachableProviderIsUnavailable(t *testing.T) {
	p := provider(t, "issuer http://127.0.0.1:1")
	r := get("Authorization", "Bearer "+sign(t, claims{"iss": "http://127.0.0.1:1"}))
	want(t, p, r, credential.Unavailable, credential.CodeUnavailable)
	if _, ok, err := p.Authenticate(httptest.NewRecorder(), r); ok || err == nil {
		t.Errorf("got %v, %v", ok, err)
	}
	code, body := admin(t, "GET", "/moat/keysets", "")
	if code != 200 || !strings.Contains(body, "http://127.0.0.1:1") || !strings.Contains(body, `"failures":`) {
		t.Errorf("got %d %s", code, body)
	}
}

func TestEverythingSharedIsGivenBack(t *testing.T) {
	p := provider(t, "issuer http://127.0.0.1:1\nissuer internal")
	_ = p.Cleanup()
	n := len(ownissuer.Issuers()) + len(ownissuer.Revocations())
	sets.Range(func(any, any) bool { n++; return true })
	if n != 0 {
		t.Errorf("%d left", n)
	}
}
