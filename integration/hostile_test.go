package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// secret is what no refused request may see.
const secret = "crown-jewels-7f3a"

// signer makes tokens for a site that knows its public key.
type signer struct {
	t      testing.TB
	key    *rsa.PrivateKey
	public string // PEM
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

// claims returns good claims, with changes: a nil value removes a claim.
func claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://id.test", "aud": "api", "sub": "alice",
		"exp": time.Now().Add(time.Hour).Unix(), "roles": []string{"clerk"},
	}
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// good returns a token that is accepted.
func (s *signer) good() string { return s.sign(nil, claims(nil)) }

// sign signs claims with RS256, with changes to the header.
func (s *signer) sign(header map[string]any, c map[string]any) string {
	s.t.Helper()
	tok := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(c))
	for k, v := range header {
		tok.Header[k] = v
	}
	signed, err := tok.SignedString(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// part encodes one part of a token.
func part(v any) string {
	b, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b)
}

// hostileSite is a site with every layer whose upstream counts what reaches it.
type hostileSite struct {
	*server
	*signer
	reached atomic.Int64
	header  atomic.Pointer[http.Header] // of the last request the upstream saw
}

func startHostileSite(t *testing.T) *hostileSite {
	t.Helper()
	site := &hostileSite{signer: newSigner(t)}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		site.reached.Add(1)
		h := r.Header.Clone()
		site.header.Store(&h)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"path":%q,"phone":"18049531999","secret":%q}`, r.URL.EscapedPath(), secret)
	})
	s := prepare(t, `
:{$PORT} {
	audit trail
	jwt_auth {
		issuer https://id.test {
			key RS256 rsa.pem
			audience api
			roles /roles
		}
		forward /sub X-User
		optional
	}
	rbac {
		role clerk {
			allow GET /orders/*
		}
		anyone {
			allow GET /public
		}
	}
	redact {
		remove secret
		mask mobile phone
	}
	reverse_proxy {env.UPSTREAM}
}
`, "UPSTREAM="+up)
	s.write("rsa.pem", site.public)
	site.server = s
	s.run()
	s.wait()
	return site
}

func TestHostileCredentialsAreRefused(t *testing.T) {
	site := startHostileSite(t)
	good := site.good()
	if a := site.get("PORT", "/orders/1", "Authorization: Bearer "+good); a.StatusCode != 200 ||
		!strings.Contains(a.body, "180****1999") || strings.Contains(a.body, secret) {
		t.Fatalf("a good token: %d %s", a.StatusCode, a.body)
	}
	reached := site.reached.Load()

	header, payload := part(map[string]any{"alg": "RS256", "typ": "JWT"}), part(claims(nil))
	parts := strings.Split(good, ".")
	hs := func(signed string, key []byte) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	hsInput := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + payload
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(claims(nil))).SignedString(ec)
	if err != nil {
		t.Fatal(err)
	}
	other := newSigner(t)
	ps, err := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims(claims(nil))).SignedString(site.key)
	if err != nil {
		t.Fatal(err)
	}
	bearer := func(tok string) []string { return []string{"Authorization: Bearer " + tok} }

	for name, tc := range map[string]struct {
		header []string
		status int
	}{
		"no token":                       {nil, 401},
		"empty bearer":                   {bearer(""), 0},
		"two authorization lines":        {append(bearer(good), bearer(good)...), 400},
		"two tokens in one line":         {bearer(good + ", Bearer " + good), 0},
		"alg none":                       {bearer(part(map[string]any{"alg": "none"}) + "." + payload + "."), 401},
		"alg None":                       {bearer(part(map[string]any{"alg": "None"}) + "." + payload + "."), 401},
		"empty signature":                {bearer(header + "." + payload + "."), 401},
		"no signature part":              {bearer(header + "." + payload), 401},
		"HS256 with the public key PEM":  {bearer(hs(hsInput, []byte(site.public))), 401},
		"HS256 with the trimmed PEM":     {bearer(hs(hsInput, []byte(strings.TrimSpace(site.public)))), 401},
		"ES256 by a foreign key":         {bearer(es), 401},
		"PS256 by the right key":         {bearer(ps), 401},
		"signed by another key":          {bearer(other.good()), 401},
		"payload of another token":       {bearer(parts[0] + "." + part(claims(map[string]any{"sub": "root"})) + "." + parts[2]), 401},
		"unknown crit":                   {bearer(site.sign(map[string]any{"crit": []string{"x"}, "x": 1}, claims(nil))), 401},
		"empty crit":                     {bearer(site.sign(map[string]any{"crit": []string{}}, claims(nil))), 401},
		"b64 false":                      {bearer(site.sign(map[string]any{"crit": []string{"b64"}, "b64": false}, claims(nil))), 401},
		"jku of another's key":           {bearer(other.sign(map[string]any{"jku": "https://evil.test/keys"}, claims(nil))), 401},
		"crit jku":                       {bearer(site.sign(map[string]any{"jku": "https://evil.test/keys", "crit": []string{"jku"}}, claims(nil))), 401},
		"embedded jwk":                   {bearer(site.sign(map[string]any{"jwk": map[string]any{"kty": "RSA"}}, claims(nil))), 401},
		"no exp":                         {bearer(site.sign(nil, claims(map[string]any{"exp": nil}))), 401},
		"expired":                        {bearer(site.sign(nil, claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))), 401},
		"exp as a string":                {bearer(site.sign(nil, claims(map[string]any{"exp": "9999999999"}))), 401},
		"exp as an array":                {bearer(site.sign(nil, claims(map[string]any{"exp": []int{9999999999}}))), 401},
		"exp beyond all numbers":         {bearer(site.sign(nil, claims(map[string]any{"exp": 1e300}))), 401},
		"not yet":                        {bearer(site.sign(nil, claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}))), 401},
		"issued tomorrow":                {bearer(site.sign(nil, claims(map[string]any{"iat": time.Now().Add(24 * time.Hour).Unix()}))), 401},
		"another issuer":                 {bearer(site.sign(nil, claims(map[string]any{"iss": "https://id.test/"}))), 401},
		"no issuer":                      {bearer(site.sign(nil, claims(map[string]any{"iss": nil}))), 401},
		"another audience":               {bearer(site.sign(nil, claims(map[string]any{"aud": []string{"apis"}}))), 401},
		"no audience":                    {bearer(site.sign(nil, claims(map[string]any{"aud": nil}))), 401},
		"audience a number":              {bearer(site.sign(nil, claims(map[string]any{"aud": 7}))), 401},
		"subject a number":               {bearer(site.sign(nil, claims(map[string]any{"sub": 7}))), 401},
		"subject an array":               {bearer(site.sign(nil, claims(map[string]any{"sub": []string{"alice"}}))), 401},
		"roles a number":                 {bearer(site.sign(nil, claims(map[string]any{"roles": 7}))), 401},
		"roles with a null":              {bearer(site.sign(nil, claims(map[string]any{"roles": []any{"clerk", json.RawMessage("null")}}))), 401},
		"100 kB token":                   {bearer(site.sign(nil, claims(map[string]any{"pad": strings.Repeat("x", 100_000)}))), 0},
		"padding":                        {bearer(good + "="), 401},
		"standard alphabet":              {bearer(strings.Replace(good, "_", "/", 1) + "+"), 401},
		"newline inside":                 {bearer(good[:20] + "%0a" + good[20:]), 401},
		"credential in another scheme":   {[]string{"Authorization: Token " + good}, 401},
		"credential in a cookie":         {[]string{"Cookie: token=" + good + "; access_token=" + good}, 401},
		"credential in another header":   {[]string{"X-Access-Token: " + good, "Proxy-Authorization: Bearer " + good}, 401},
		"basic":                          {[]string{"Authorization: Basic YTpi"}, 401},
		"placeholder as a token":         {bearer("{env.HOME}"), 401},
		"role of somebody else's choice": {bearer(site.sign(nil, claims(map[string]any{"roles": "janitor"}))), 403},
	} {
		t.Run(name, func(t *testing.T) {
			a := site.get("PORT", "/orders/1", tc.header...)
			if tc.status != 0 && a.StatusCode != tc.status || a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("got %d, want %d: %s", a.StatusCode, tc.status, a.body)
			}
			if a.StatusCode == 401 && a.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if a.StatusCode < 430 && (a.Header.Get("Content-Type") != "application/problem+json" || a.code() == "") {
				t.Errorf("no problem document: %q %s", a.Header.Get("Content-Type"), a.body)
			}
			if strings.Contains(a.body, secret) {
				t.Error("the secret leaked")
			}
		})
	}
	t.Run("credential in the query", func(t *testing.T) {
		if a := site.get("PORT", "/orders/1?access_token="+good); a.StatusCode != 401 {
			t.Errorf("got %d", a.StatusCode)
		}
	})
	t.Run("a bad token is refused where none is needed", func(t *testing.T) {
		if a := site.get("PORT", "/public", bearer(other.good())...); a.StatusCode != 401 {
			t.Errorf("got %d", a.StatusCode)
		}
	})
	if n := site.reached.Load(); n != reached {
		t.Errorf("%d refused requests reached the upstream", n-reached)
	}
	site.noCredentialOnDisk(t, good, other.good())
}

// noCredentialOnDisk looks for tokens in all that the server wrote.
func (site *hostileSite) noCredentialOnDisk(t *testing.T, tokens ...string) {
	t.Helper()
	site.stop()
	written := site.log.String()
	err := filepath.WalkDir(site.path("trail"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		written += string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range tokens {
		// The signature is what makes a token usable.
		if sig := tok[strings.LastIndexByte(tok, '.')+1:]; strings.Contains(written, sig) {
			t.Error("a token stands in the trail or in the log")
		}
	}
	if strings.Contains(written, secret) {
		t.Error("a redacted value stands in the trail or in the log")
	}
}

func TestHostilePathsAreRefused(t *testing.T) {
	site := startHostileSite(t)
	auth := "Authorization: Bearer " + site.good()
	for _, path := range []string{
		"/orders/..%2fadmin", "/orders/%2e%2e/admin", "/orders/../admin", "/orders/./1", "/orders//1", "//orders/1",
		"/orders/%5c..%5cadmin", `/orders/\..\admin`, "/orders/1;admin", "/orders/1%3b.json", "/orders/%00", "/orders/%0d%0aX:1",
		"/orders/%252e%252e/admin", "/orders/%252fadmin", "/orders/a%2Fb", "/public/../orders/1", "/orders/%ff",
		"/orders/%c0%ae%c0%ae/admin", "/orders/1/..", "/orders/.", "/orders/%2e",
	} {
		a := site.get("PORT", path, auth)
		if a.StatusCode != 400 {
			t.Errorf("%s: got %d, want 400: %s", path, a.StatusCode, a.body)
		}
		if strings.Contains(a.body, secret) {
			t.Errorf("%s: the secret leaked", path)
		}
	}
	for _, path := range []string{"/admin", "/orders", "/ORDERS/1", "/", "/orders?x=/orders/1"} {
		if a := site.get("PORT", path, auth); a.StatusCode != 403 {
			t.Errorf("%s: got %d, want 403", path, a.StatusCode)
		}
	}
	if n := site.reached.Load(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
	// Encodings with one reading are no trick.
	for _, path := range []string{"/orders/caf%C3%A9", "/orders/a%20b", "/orders/1.2", "/orders/a..b"} {
		if a := site.get("PORT", path, auth); a.StatusCode != 200 {
			t.Errorf("%s: got %d, want 200: %s", path, a.StatusCode, a.body)
		}
	}
}

func TestSpoofedIdentityNeverReachesTheUpstream(t *testing.T) {
	site := startHostileSite(t)
	spoof := []string{
		"X-User: root", "X_User: root", "x.user: root", "x-user: root2", "X-USER: root3", "X.User: root4", "x_user: root5",
	}
	check := func(path string, want []string, header ...string) {
		t.Helper()
		a := site.get("PORT", path, header...)
		if a.StatusCode != 200 {
			t.Fatalf("%s: got %d %s", path, a.StatusCode, a.body)
		}
		for name, values := range *site.header.Load() {
			if plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name)); plain == "x-user" {
				if len(values) != len(want) || len(want) == 1 && values[0] != want[0] || name != "X-User" {
					t.Errorf("%s: the upstream saw %s: %q, want %q", path, name, values, want)
				}
			}
		}
		if len(want) == 1 && site.header.Load().Get("X-User") != want[0] {
			t.Errorf("%s: the upstream saw no identity", path)
		}
	}
	check("/public", nil, spoof...)
	check("/orders/1", []string{"alice"}, append(spoof, "Authorization: Bearer "+site.good())...)

	// Text from a token that would be more than a value.
	for _, sub := range []string{"{env.HOME}", "{http.request.header.Authorization}", "a b", "ü"} {
		tok := site.sign(nil, claims(map[string]any{"sub": sub}))
		a := site.get("PORT", "/orders/1", "Authorization: Bearer "+tok, "X-Note: {env.HOME}")
		if a.StatusCode == 200 {
			if got := site.header.Load().Get("X-User"); got != sub {
				t.Errorf("sub %q arrived as %q", sub, got)
			}
		} else if a.StatusCode != 401 {
			t.Errorf("sub %q: got %d", sub, a.StatusCode)
		}
	}
	for _, sub := range []string{"a\r\nX-Admin: 1", "a\nb", "a\x00b"} {
		tok := site.sign(nil, claims(map[string]any{"sub": sub}))
		if a := site.get("PORT", "/orders/1", "Authorization: Bearer "+tok); a.StatusCode != 401 {
			t.Errorf("sub %q: got %d, want 401", sub, a.StatusCode)
		}
		if site.header.Load().Get("X-Admin") != "" {
			t.Errorf("sub %q made a header of its own", sub)
		}
	}
	home := os.Getenv("HOME")
	site.stop()
	if strings.Contains(site.log.String(), `"X-Note":["`+home) {
		t.Error("a placeholder in a request was expanded")
	}
}
