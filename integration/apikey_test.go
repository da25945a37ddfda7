package integration

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const keyPepper = "API_KEY_PEPPER=an example of a pepper, of 32 bytes or more"

// keyStore is a store that `caddy moat key` has made.
type keyStore struct {
	*server
	file string
}

// newKeyStore prepares a store in a directory of its own, with a first key.
func newKeyStore(t *testing.T, args ...string) (*keyStore, string) {
	t.Helper()
	k := &keyStore{server: prepare(t, "", keyPepper)}
	k.file = k.path("api.keys")
	return k, k.mint(args...)
}

// key runs `caddy moat key` and returns what it prints.
func (k *keyStore) key(args ...string) string {
	k.t.Helper()
	return strings.TrimSpace(k.output(append([]string{"moat", "key", "--store", k.file}, args...)...))
}

// mint makes a key of acme, unless args say otherwise.
func (k *keyStore) mint(args ...string) string {
	k.t.Helper()
	return k.key(append([]string{"new", "--owner", "acme", "--expires", "1d"}, args...)...)
}

func (k *keyStore) id(key string) string { return strings.Split(key, "_")[1] }

// flip changes the last character of a key: a typing mistake.
func flip(key string) string {
	last := "0"
	if strings.HasSuffix(key, last) {
		last = "1"
	}
	return key[:len(key)-1] + last
}

func TestKeysAndTokensStandBesideEachOther(t *testing.T) {
	k, key := newKeyStore(t, "--role", "partner", "--plan", "gold")
	block := `api_key_auth {
			store ` + k.file + `
			pepper {env.API_KEY_PEPPER}
			from header Authorization Bearer
			from header X-API-Key
		}`
	tokens := `jwt_auth {
			issuer internal
		}`
	site := func(port, first, second string) string {
		return ":{$" + port + "} {\n\tauth {\n\t\t" + first + "\n\t\t" + second + "\n\t\tforward sub X-User\n\t\tforward plan X-Plan\n\t}\n" +
			"\trespond \"{http.auth.user.id} {http.auth.user.roles} {http.auth.user.plan} {http.request.header.X-User} {http.request.header.X-Plan}\"\n}\n"
	}
	s := start(t, site("PORT", tokens, block)+site("PORT2", block, tokens), keyPepper)
	tok := s.token("--sub", "alice", "--role", "clerk")
	for name, test := range map[string]struct {
		header []string
		status int
		want   string
	}{
		"nothing":              {nil, 401, "missing_credentials"},
		"key":                  {[]string{bearer(key)}, 200, "acme partner gold acme gold"},
		"key, spoofed headers": {[]string{bearer(key), "X-User: root", "x_plan: free"}, 200, "acme partner gold acme gold"},
		"named header":         {[]string{"X-API-Key: " + key}, 200, "acme partner gold acme gold"},
		"token":                {[]string{bearer(tok)}, 200, "alice clerk  alice "},
		"mistyped":             {[]string{bearer(flip(key))}, 401, "invalid_api_key"},
		"bad token":            {[]string{bearer(tok + "x")}, 401, "invalid_token"},
		"key and token":        {[]string{"X-API-Key: " + key, bearer(tok)}, 400, "invalid_request"},
		"key twice":            {[]string{"X-API-Key: " + key, bearer(key)}, 400, "invalid_request"},
		"two fields":           {[]string{bearer(key), bearer(key)}, 400, "invalid_request"},
		"two fields of a name": {[]string{"X-API-Key: " + key, "X-API-Key: " + key}, 400, "invalid_request"},
		"folded into one":      {[]string{bearer(key + ", " + tok)}, 400, "invalid_request"},
		"with underscores":     {[]string{"X_API_Key: " + key}, 401, "missing_credentials"}, // Caddy drops it
		"with dots":            {[]string{"X.API.Key: " + key}, 401, "missing_credentials"},
		"in the query":         {nil, 401, "missing_credentials"},
	} {
		for _, port := range []string{"PORT", "PORT2"} {
			path := "/"
			if name == "in the query" {
				path = "/?api_key=" + key
			}
			a := s.get(port, path, test.header...)
			got := a.code()
			if a.StatusCode == 200 {
				got = a.body
			}
			// jwt_auth, listed first, refuses what it cannot read; either way it is a refusal.
			if a.StatusCode != test.status && !(name == "folded into one" && a.StatusCode == 401) || a.StatusCode == test.status && got != test.want {
				t.Errorf("%s on %s: got %d %q, want %d %q", name, port, a.StatusCode, got, test.status, test.want)
			}
			if n := len(a.Header.Values("WWW-Authenticate")); a.StatusCode == 401 && n != 2 {
				t.Errorf("%s on %s: %d challenges", name, port, n)
			}
		}
	}
	if strings.Contains(s.log.String(), key[18:40]) {
		t.Error("the log has the secret")
	}
}

func TestKeysChangeWhileRunning(t *testing.T) {
	k, key := newKeyStore(t, "--scope", "read")
	file := `
{
	log {
		format moat
		level DEBUG
	}
}
:{$PORT} {
	log
	audit ` + k.path("trail") + ` {
		sync always
		record headers X-Partner
	}
	api_key_auth {
		store ` + k.file + `
		pepper {env.API_KEY_PEPPER}
		from header X-API-Key
		from query api_key
	}
	respond "{http.auth.user.claims.key_id}"
}
`
	s := start(t, file, keyPepper)
	is := func(key string, status int, code string) {
		t.Helper()
		eventually(t, func() error {
			a := s.get("PORT", "/", "X-API-Key: "+key)
			if a.StatusCode == status && (status != 200 || a.body == k.id(key)) && (code == "" || a.code() == code) {
				return nil
			}
			return fmt.Errorf("key %s: got %d %s, want %d %s", k.id(key), a.StatusCode, a.body, status, code)
		})
	}
	is(key, 200, "")
	second := k.key("rotate", k.id(key), "--overlap", "1h")
	is(second, 200, "")
	is(key, 200, "")
	elsewhere := k.mint("--cidr", "203.0.113.0/24")
	is(elsewhere, 403, "api_key_restricted")
	// Nobody is believed about his address who is not a trusted proxy.
	if a := s.get("PORT", "/", "X-API-Key: "+elsewhere, "X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.7"); a.StatusCode != 403 {
		t.Errorf("got %d", a.StatusCode)
	}
	reader := k.mint("--method", "GET")
	is(reader, 200, "")
	if a := s.do("PORT", "POST", "/", "", "X-API-Key: "+reader); a.StatusCode != 403 || strings.Contains(a.body, "POST") || strings.Contains(a.body, "method") {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	k.key("disable", k.id(reader))
	is(reader, 401, "invalid_api_key")
	k.key("enable", k.id(reader))
	is(reader, 200, "")
	k.key("revoke", k.id(reader))
	is(reader, 401, "invalid_api_key")

	// Neither a garbled store nor its loss lets go of what was revoked.
	good, err := os.ReadFile(k.file)
	if err != nil {
		t.Fatal(err)
	}
	k.write("api.keys", "garbled")
	eventually(t, func() error {
		if !strings.Contains(s.log.String(), "what was read last stays in force") {
			return fmt.Errorf("the log does not say that the store is bad")
		}
		return nil
	})
	is(second, 200, "")
	is(reader, 401, "invalid_api_key")
	if err := s.reload(file + "# changed\n"); err == nil {
		t.Error("a configuration with a garbled store was loaded")
	}
	is(second, 200, "")
	k.write("api.keys", string(good))
	eventually(t, func() error { return s.reload(file + "# changed again\n") })
	is(second, 200, "")
	is(reader, 401, "invalid_api_key")
	if a := s.get("PORT", "/?api_key="+second); a.StatusCode != 200 {
		t.Errorf("in the query: got %d %s", a.StatusCode, a.body)
	}

	s.stop()
	if out := k.key("show", k.id(key)); !strings.Contains(out, time.Now().UTC().Format("2006-01-")) || strings.Contains(out, "last used   -") {
		t.Errorf("the time of last use is not kept:\n%s", out)
	}
	trail, err := s.caddy("moat", "audit", "search", k.path("trail"))
	if err != nil {
		t.Fatalf("%v\n%s", err, trail)
	}
	raw := ""
	entries, err := os.ReadDir(k.path("trail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		body, _ := os.ReadFile(k.path("trail/" + e.Name()))
		raw += string(body)
	}
	for _, want := range []string{`"api_key"`, k.id(key), "key " + k.id(elsewhere) + ": address", "key " + k.id(reader), "keys changed", "keys refused", "acme"} {
		if !strings.Contains(raw, want) {
			t.Errorf("the trail lacks %s", want)
		}
	}
	for name, text := range map[string]string{"trail": raw, "search": trail, "log": s.log.String(), "store": string(good)} {
		for _, key := range []string{key, second, elsewhere, reader} {
			if strings.Contains(text, key[18:40]) {
				t.Errorf("the %s has a secret", name)
			}
		}
		if strings.Contains(text, "example of a pepper") {
			t.Errorf("the %s has the pepper", name)
		}
	}
}

func TestKeysWithTheWrongPepperAreRefusedAtLoad(t *testing.T) {
	k, _ := newKeyStore(t)
	config := func(pepper string) string {
		return ":{$PORT} {\n\tapi_key_auth {\n\t\tstore " + k.file + "\n\t\tpepper " + pepper + "\n\t}\n}\n"
	}
	for _, test := range []struct{ pepper, env, want string }{
		{"{env.API_KEY_PEPPER}", "API_KEY_PEPPER=", "{env.API_KEY_PEPPER}"},
		{"{env.API_KEY_PEPPER}", "API_KEY_PEPPER=ShortAndSecret", "{env.API_KEY_PEPPER}: it has 14 bytes"},
		{"{env.API_KEY_PEPPER}", "API_KEY_PEPPER=AnotherOne" + strings.Repeat("x", 32), "another pepper"},
		{"{file." + k.path("none") + "}", "X=", "none"},
		{"{$API_KEY_PEPPER}", "API_KEY_PEPPER=AnotherOne" + strings.Repeat("x", 32), "must not stand in the configuration"},
	} {
		out := failsToLoad(t, config(test.pepper), test.env)
		if !strings.Contains(out, test.want) || !strings.Contains(out, "api_key_auth") || strings.Contains(out, "ShortAnd") || strings.Contains(out, "AnotherOne") {
			t.Errorf("pepper %s with %s: %s", test.pepper, test.env, out)
		}
	}
}

func TestKeysAreCounted(t *testing.T) {
	k, key := newKeyStore(t)
	s := start(t, `
{
	metrics
}
:{$PORT} {
	api_key_auth {
		store `+k.file+`
		pepper {env.API_KEY_PEPPER}
	}
	respond ok
}
`, keyPepper)
	s.get("PORT", "/", bearer(key))
	s.get("PORT", "/", bearer(flip(key)))
	s.get("PORT", "/")
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`caddy_moat_decisions_total{code="",layer="api_key_auth",result="allow"} 1`,
		`caddy_moat_decisions_total{code="invalid_api_key",layer="api_key_auth",result="deny"} 1`,
		`caddy_moat_decisions_total{code="missing_credentials",layer="api_key_auth",result="deny"} 1`,
		`caddy_moat_api_keys{store="` + k.file + `"} 1`,
		`caddy_moat_api_key_store_unusable{store="` + k.file + `"} 0`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(b.String(), k.id(key)) {
		t.Error("a label names a key")
	}
}
