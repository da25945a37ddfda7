package hostile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// secret is what no refused request may see.
const secret = "crown-jewels-7f3a"

// hostileSite is a site with every layer whose upstream counts what reaches it.
type hostileSite struct {
	*harness.Server
	*harness.Signer
	reached atomic.Int64
	header  atomic.Pointer[http.Header] // of the last request the upstream saw
}

func startHostileSite(t *testing.T) *hostileSite {
	t.Helper()
	site := &hostileSite{Signer: harness.NewSigner(t)}
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		site.reached.Add(1)
		h := r.Header.Clone()
		site.header.Store(&h)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"path":%q,"phone":"18049531999","secret":%q}`, r.URL.EscapedPath(), secret)
	})
	s := harness.Prepare(t, `
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
	s.WriteFile("rsa.pem", site.Public)
	site.Server = s
	s.Run()
	s.Wait()
	return site
}

func TestHostileCredentialsAreRefused(t *testing.T) {
	site := startHostileSite(t)
	good := site.Good()
	if a := site.Get("PORT", "/orders/1", "Authorization: Bearer "+good); a.StatusCode != 200 ||
		!strings.Contains(a.Body, "180****1999") || strings.Contains(a.Body, secret) {
		t.Fatalf("a good token: %d %s", a.StatusCode, a.Body)
	}
	reached := site.reached.Load()

	header, payload := harness.Part(map[string]any{"alg": "RS256", "typ": "JWT"}), harness.Part(harness.Claims(nil))
	parts := strings.Split(good, ".")
	hs := func(signed string, key []byte) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	hsInput := harness.Part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + payload
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(harness.Claims(nil))).SignedString(ec)
	if err != nil {
		t.Fatal(err)
	}
	other := harness.NewSigner(t)
	ps, err := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims(harness.Claims(nil))).SignedString(site.Key)
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
		"alg none":                       {bearer(harness.Part(map[string]any{"alg": "none"}) + "." + payload + "."), 401},
		"alg None":                       {bearer(harness.Part(map[string]any{"alg": "None"}) + "." + payload + "."), 401},
		"empty signature":                {bearer(header + "." + payload + "."), 401},
		"no signature part":              {bearer(header + "." + payload), 401},
		"HS256 with the public key PEM":  {bearer(hs(hsInput, []byte(site.Public))), 401},
		"HS256 with the trimmed PEM":     {bearer(hs(hsInput, []byte(strings.TrimSpace(site.Public)))), 401},
		"ES256 by a foreign key":         {bearer(es), 401},
		"PS256 by the right key":         {bearer(ps), 401},
		"signed by another key":          {bearer(other.Good()), 401},
		"payload of another token":       {bearer(parts[0] + "." + harness.Part(harness.Claims(map[string]any{"sub": "root"})) + "." + parts[2]), 401},
		"unknown crit":                   {bearer(site.Sign(map[string]any{"crit": []string{"x"}, "x": 1}, harness.Claims(nil))), 401},
		"empty crit":                     {bearer(site.Sign(map[string]any{"crit": []string{}}, harness.Claims(nil))), 401},
		"b64 false":                      {bearer(site.Sign(map[string]any{"crit": []string{"b64"}, "b64": false}, harness.Claims(nil))), 401},
		"jku of another's key":           {bearer(other.Sign(map[string]any{"jku": "https://evil.test/keys"}, harness.Claims(nil))), 401},
		"crit jku":                       {bearer(site.Sign(map[string]any{"jku": "https://evil.test/keys", "crit": []string{"jku"}}, harness.Claims(nil))), 401},
		"embedded jwk":                   {bearer(site.Sign(map[string]any{"jwk": map[string]any{"kty": "RSA"}}, harness.Claims(nil))), 401},
		"no exp":                         {bearer(site.Sign(nil, harness.Claims(map[string]any{"exp": nil}))), 401},
		"expired":                        {bearer(site.Sign(nil, harness.Claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))), 401},
		"exp as a string":                {bearer(site.Sign(nil, harness.Claims(map[string]any{"exp": "9999999999"}))), 401},
		"exp as an array":                {bearer(site.Sign(nil, harness.Claims(map[string]any{"exp": []int{9999999999}}))), 401},
		"exp beyond all numbers":         {bearer(site.Sign(nil, harness.Claims(map[string]any{"exp": 1e300}))), 401},
		"not yet":                        {bearer(site.Sign(nil, harness.Claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}))), 401},
		"issued tomorrow":                {bearer(site.Sign(nil, harness.Claims(map[string]any{"iat": time.Now().Add(24 * time.Hour).Unix()}))), 401},
		"another issuer":                 {bearer(site.Sign(nil, harness.Claims(map[string]any{"iss": "https://id.test/"}))), 401},
		"no issuer":                      {bearer(site.Sign(nil, harness.Claims(map[string]any{"iss": nil}))), 401},
		"another audience":               {bearer(site.Sign(nil, harness.Claims(map[string]any{"aud": []string{"apis"}}))), 401},
		"no audience":                    {bearer(site.Sign(nil, harness.Claims(map[string]any{"aud": nil}))), 401},
		"audience a number":              {bearer(site.Sign(nil, harness.Claims(map[string]any{"aud": 7}))), 401},
		"subject a number":               {bearer(site.Sign(nil, harness.Claims(map[string]any{"sub": 7}))), 401},
		"subject an array":               {bearer(site.Sign(nil, harness.Claims(map[string]any{"sub": []string{"alice"}}))), 401},
		"roles a number":                 {bearer(site.Sign(nil, harness.Claims(map[string]any{"roles": 7}))), 401},
		"roles with a null":              {bearer(site.Sign(nil, harness.Claims(map[string]any{"roles": []any{"clerk", json.RawMessage("null")}}))), 401},
		"100 kB token":                   {bearer(site.Sign(nil, harness.Claims(map[string]any{"pad": strings.Repeat("x", 100_000)}))), 0},
		"padding":                        {bearer(good + "="), 401},
		"standard alphabet":              {bearer(strings.Replace(good, "_", "/", 1) + "+"), 401},
		"newline inside":                 {bearer(good[:20] + "%0a" + good[20:]), 401},
		"credential in another scheme":   {[]string{"Authorization: Token " + good}, 401},
		"credential in a cookie":         {[]string{"Cookie: token=" + good + "; access_token=" + good}, 401},
		"credential in another header":   {[]string{"X-Access-Token: " + good, "Proxy-Authorization: Bearer " + good}, 401},
		"basic":                          {[]string{"Authorization: Basic YTpi"}, 401},
		"placeholder as a token":         {bearer("{env.HOME}"), 401},
		"role of somebody else's choice": {bearer(site.Sign(nil, harness.Claims(map[string]any{"roles": "janitor"}))), 403},
	} {
		t.Run(name, func(t *testing.T) {
			a := site.Get("PORT", "/orders/1", tc.header...)
			if tc.status != 0 && a.StatusCode != tc.status || a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("got %d, want %d: %s", a.StatusCode, tc.status, a.Body)
			}
			if a.StatusCode == 401 && a.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if a.StatusCode < 430 && (a.Header.Get("Content-Type") != "application/problem+json" || a.Code() == "") {
				t.Errorf("no problem document: %q %s", a.Header.Get("Content-Type"), a.Body)
			}
			if strings.Contains(a.Body, secret) {
				t.Error("the secret leaked")
			}
		})
	}
	t.Run("credential in the query", func(t *testing.T) {
		if a := site.Get("PORT", "/orders/1?access_token="+good); a.StatusCode != 401 {
			t.Errorf("got %d", a.StatusCode)
		}
	})
	t.Run("a bad token is refused where none is needed", func(t *testing.T) {
		if a := site.Get("PORT", "/public", bearer(other.Good())...); a.StatusCode != 401 {
			t.Errorf("got %d", a.StatusCode)
		}
	})
	if n := site.reached.Load(); n != reached {
		t.Errorf("%d refused requests reached the upstream", n-reached)
	}
	site.noCredentialOnDisk(t, good, other.Good())
}

// noCredentialOnDisk looks for tokens in all that the server wrote.
func (site *hostileSite) noCredentialOnDisk(t *testing.T, tokens ...string) {
	t.Helper()
	site.Stop()
	written := site.Log.String() + site.TrailText("trail")
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
	auth := "Authorization: Bearer " + site.Good()
	for _, path := range []string{
		"/orders/..%2fadmin", "/orders/%2e%2e/admin", "/orders/../admin", "/orders/./1", "/orders//1", "//orders/1",
		"/orders/%5c..%5cadmin", `/orders/\..\admin`, "/orders/1;admin", "/orders/1%3b.json", "/orders/%00", "/orders/%0d%0aX:1",
		"/orders/%252e%252e/admin", "/orders/%252fadmin", "/orders/a%2Fb", "/public/../orders/1", "/orders/%ff",
		"/orders/%c0%ae%c0%ae/admin", "/orders/1/..", "/orders/.", "/orders/%2e",
	} {
		a := site.Get("PORT", path, auth)
		if a.StatusCode != 400 {
			t.Errorf("%s: got %d, want 400: %s", path, a.StatusCode, a.Body)
		}
		if strings.Contains(a.Body, secret) {
			t.Errorf("%s: the secret leaked", path)
		}
	}
	for _, path := range []string{"/admin", "/orders", "/ORDERS/1", "/", "/orders?x=/orders/1"} {
		if a := site.Get("PORT", path, auth); a.StatusCode != 403 {
			t.Errorf("%s: got %d, want 403", path, a.StatusCode)
		}
	}
	if n := site.reached.Load(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
	// Encodings with one reading are no trick.
	for _, path := range []string{"/orders/caf%C3%A9", "/orders/a%20b", "/orders/1.2", "/orders/a..b"} {
		if a := site.Get("PORT", path, auth); a.StatusCode != 200 {
			t.Errorf("%s: got %d, want 200: %s", path, a.StatusCode, a.Body)
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
		a := site.Get("PORT", path, header...)
		if a.StatusCode != 200 {
			t.Fatalf("%s: got %d %s", path, a.StatusCode, a.Body)
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
	check("/orders/1", []string{"alice"}, append(spoof, "Authorization: Bearer "+site.Good())...)

	// Text from a token that would be more than a value.
	for _, sub := range []string{"{env.HOME}", "{http.request.header.Authorization}", "a b", "ü"} {
		tok := site.Sign(nil, harness.Claims(map[string]any{"sub": sub}))
		a := site.Get("PORT", "/orders/1", "Authorization: Bearer "+tok, "X-Note: {env.HOME}")
		if a.StatusCode == 200 {
			if got := site.header.Load().Get("X-User"); got != sub {
				t.Errorf("sub %q arrived as %q", sub, got)
			}
		} else if a.StatusCode != 401 {
			t.Errorf("sub %q: got %d", sub, a.StatusCode)
		}
	}
	for _, sub := range []string{"a\r\nX-Admin: 1", "a\nb", "a\x00b"} {
		tok := site.Sign(nil, harness.Claims(map[string]any{"sub": sub}))
		if a := site.Get("PORT", "/orders/1", "Authorization: Bearer "+tok); a.StatusCode != 401 {
			t.Errorf("sub %q: got %d, want 401", sub, a.StatusCode)
		}
		if site.header.Load().Get("X-Admin") != "" {
			t.Errorf("sub %q made a header of its own", sub)
		}
	}
	home := os.Getenv("HOME")
	site.Stop()
	if strings.Contains(site.Log.String(), `"X-Note":["`+home) {
		t.Error("a placeholder in a request was expanded")
	}
}
