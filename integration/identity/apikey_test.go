package identity

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestKeysAndTokensStandBesideEachOther(t *testing.T) {
	k, key := harness.NewKeyStore(t, "--role", "partner", "--plan", "gold")
	block := `api_key_auth {
			store ` + k.File + `
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
	s := harness.StartAll(t, site("PORT", tokens, block)+site("PORT2", block, tokens), harness.KeyPepper)
	tok := s.Token("--sub", "alice", "--role", "clerk")
	for name, test := range map[string]struct {
		header []string
		status int
		want   string
	}{
		"nothing":              {nil, 401, "missing_credentials"},
		"key":                  {[]string{harness.Bearer(key)}, 200, "acme partner gold acme gold"},
		"key, spoofed headers": {[]string{harness.Bearer(key), "X-User: root", "x_plan: free"}, 200, "acme partner gold acme gold"},
		"named header":         {[]string{"X-API-Key: " + key}, 200, "acme partner gold acme gold"},
		"token":                {[]string{harness.Bearer(tok)}, 200, "alice clerk  alice "},
		"mistyped":             {[]string{harness.Bearer(harness.Flip(key))}, 401, "invalid_api_key"},
		"bad token":            {[]string{harness.Bearer(tok + "x")}, 401, "invalid_token"},
		"key and token":        {[]string{"X-API-Key: " + key, harness.Bearer(tok)}, 400, "invalid_request"},
		"key twice":            {[]string{"X-API-Key: " + key, harness.Bearer(key)}, 400, "invalid_request"},
		"two fields":           {[]string{harness.Bearer(key), harness.Bearer(key)}, 400, "invalid_request"},
		"two fields of a name": {[]string{"X-API-Key: " + key, "X-API-Key: " + key}, 400, "invalid_request"},
		"folded into one":      {[]string{harness.Bearer(key + ", " + tok)}, 400, "invalid_request"},
		"with underscores":     {[]string{"X_API_Key: " + key}, 401, "missing_credentials"}, // Caddy drops it
		"with dots":            {[]string{"X.API.Key: " + key}, 401, "missing_credentials"},
		"in the query":         {nil, 401, "missing_credentials"},
	} {
		for i := range 2 * len(harness.Protocols) {
			protocol, port := harness.Protocols[i/2], []string{"PORT", "PORT2"}[i%2]
			path := "/"
			if name == "in the query" {
				path = "/?api_key=" + key
			}
			a := s.Over(protocol).Get(port, path, test.header...)
			got := a.Code()
			if a.StatusCode == 200 {
				got = a.Body
			}
			// jwt_auth, listed first, refuses what it cannot read; either way it is a refusal.
			if a.StatusCode != test.status && !(name == "folded into one" && a.StatusCode == 401) || a.StatusCode == test.status && got != test.want {
				t.Errorf("%s on %s, %s: got %d %q, want %d %q", name, port, protocol, a.StatusCode, got, test.status, test.want)
			}
			if n := len(a.Header.Values("WWW-Authenticate")); a.StatusCode == 401 && n != 2 {
				t.Errorf("%s on %s, %s: %d challenges", name, port, protocol, n)
			}
		}
	}
	if strings.Contains(s.Log.String(), key[18:40]) {
		t.Error("the log has the secret")
	}
}

func TestKeysChangeWhileRunning(t *testing.T) {
	k, key := harness.NewKeyStore(t, "--scope", "read")
	file := `
{
	log {
		format moat
		level DEBUG
	}
}
:{$PORT} {
	log
	audit ` + k.Path("trail") + ` {
		sync always
		record headers X-Partner
	}
	api_key_auth {
		store ` + k.File + `
		pepper {env.API_KEY_PEPPER}
		from header X-API-Key
		from query api_key
	}
	respond "{http.auth.user.claims.key_id}"
}
`
	s := harness.StartAll(t, file, harness.KeyPepper)
	is := func(key string, status int, code string) {
		t.Helper()
		harness.Eventually(t, func() error {
			for _, protocol := range harness.Protocols {
				a := s.Over(protocol).Get("PORT", "/", "X-API-Key: "+key)
				if a.StatusCode != status || status == 200 && a.Body != k.ID(key) || code != "" && a.Code() != code {
					return fmt.Errorf("key %s over %s: got %d %s, want %d %s", k.ID(key), protocol, a.StatusCode, a.Body, status, code)
				}
			}
			return nil
		})
	}
	is(key, 200, "")
	second := k.Command("rotate", k.ID(key), "--overlap", "1h")
	is(second, 200, "")
	is(key, 200, "")
	elsewhere := k.Mint("--cidr", "203.0.113.0/24")
	is(elsewhere, 403, "api_key_restricted")
	// Nobody is believed about his address who is not a trusted proxy.
	if a := s.Get("PORT", "/", "X-API-Key: "+elsewhere, "X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.7"); a.StatusCode != 403 {
		t.Errorf("got %d", a.StatusCode)
	}
	reader := k.Mint("--method", "GET")
	is(reader, 200, "")
	if a := s.Do("PORT", "POST", "/", "", "X-API-Key: "+reader); a.StatusCode != 403 || strings.Contains(a.Body, "POST") || strings.Contains(a.Body, "method") {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
	k.Command("disable", k.ID(reader))
	is(reader, 401, "invalid_api_key")
	k.Command("enable", k.ID(reader))
	is(reader, 200, "")
	k.Command("revoke", k.ID(reader))
	is(reader, 401, "invalid_api_key")

	// Neither a garbled store nor its loss lets go of what was revoked.
	good, err := os.ReadFile(k.File)
	if err != nil {
		t.Fatal(err)
	}
	k.WriteFile("api.keys", "garbled")
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), "what was read last stays in force") {
			return fmt.Errorf("the log does not say that the store is bad")
		}
		return nil
	})
	is(second, 200, "")
	is(reader, 401, "invalid_api_key")
	if err := s.Reload(file + "# changed\n"); err == nil {
		t.Error("a configuration with a garbled store was loaded")
	}
	is(second, 200, "")
	k.WriteFile("api.keys", string(good))
	harness.Eventually(t, func() error { return s.Reload(file + "# changed again\n") })
	is(second, 200, "")
	is(reader, 401, "invalid_api_key")
	if a := s.Get("PORT", "/?api_key="+second); a.StatusCode != 200 {
		t.Errorf("in the query: got %d %s", a.StatusCode, a.Body)
	}

	s.Stop()
	if out := k.Command("show", k.ID(key)); !strings.Contains(out, time.Now().UTC().Format("2006-01-")) || strings.Contains(out, "last used   -") {
		t.Errorf("the time of last use is not kept:\n%s", out)
	}
	trail, err := s.Caddy("moat", "audit", "search", k.Path("trail"))
	if err != nil {
		t.Fatalf("%v\n%s", err, trail)
	}
	raw := ""
	entries, err := os.ReadDir(k.Path("trail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		body, _ := os.ReadFile(k.Path("trail/" + e.Name()))
		raw += string(body)
	}
	for _, want := range []string{`"api_key"`, k.ID(key), "key " + k.ID(elsewhere) + ": address", "key " + k.ID(reader), "keys changed", "keys refused", "acme"} {
		if !strings.Contains(raw, want) {
			t.Errorf("the trail lacks %s", want)
		}
	}
	for name, text := range map[string]string{"trail": raw, "search": trail, "log": s.Log.String(), "store": string(good)} {
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
	k, _ := harness.NewKeyStore(t)
	config := func(pepper string) string {
		return ":{$PORT} {\n\tapi_key_auth {\n\t\tstore " + k.File + "\n\t\tpepper " + pepper + "\n\t}\n}\n"
	}
	for _, test := range []struct{ pepper, env, want string }{
		{"{env.API_KEY_PEPPER}", "API_KEY_PEPPER=", "{env.API_KEY_PEPPER}"},
		{"{env.API_KEY_PEPPER}", "API_KEY_PEPPER=ShortAndSecret", "{env.API_KEY_PEPPER}: it has 14 bytes"},
		{"{env.API_KEY_PEPPER}", "API_KEY_PEPPER=AnotherOne" + strings.Repeat("x", 32), "another pepper"},
		{"{file." + k.Path("none") + "}", "X=", "none"},
		{"{$API_KEY_PEPPER}", "API_KEY_PEPPER=AnotherOne" + strings.Repeat("x", 32), "must not stand in the configuration"},
	} {
		out := harness.FailsToLoad(t, config(test.pepper), test.env)
		if !strings.Contains(out, test.want) || !strings.Contains(out, "api_key_auth") || strings.Contains(out, "ShortAnd") || strings.Contains(out, "AnotherOne") {
			t.Errorf("pepper %s with %s: %s", test.pepper, test.env, out)
		}
	}
}

// TestKeysAreCounted sends over HTTP/1.1 alone: what is counted is what the
// other tests see over each protocol.
func TestKeysAreCounted(t *testing.T) {
	k, key := harness.NewKeyStore(t)
	s := harness.Start(t, `
{
	metrics
}
:{$PORT} {
	api_key_auth {
		store `+k.File+`
		pepper {env.API_KEY_PEPPER}
	}
	respond ok
}
`, harness.KeyPepper)
	s.Get("PORT", "/", harness.Bearer(key))
	s.Get("PORT", "/", harness.Bearer(harness.Flip(key)))
	s.Get("PORT", "/")
	resp, err := http.Get("http://" + s.Admin + "/metrics")
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
		`caddy_moat_api_keys{store="` + k.File + `"} 1`,
		`caddy_moat_api_key_store_unusable{store="` + k.File + `"} 0`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(b.String(), k.ID(key)) {
		t.Error("a label names a key")
	}
}
