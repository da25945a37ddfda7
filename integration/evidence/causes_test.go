package evidence

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestRejectionsHaveACauseThatCanBeFound holds that the record and the log say
// what came and what was expected, and the client no more than before.
func TestRejectionsHaveACauseThatCanBeFound(t *testing.T) {
	secret := strings.Repeat("s", 32)
	token := func(payload string) string {
		var claims map[string]any
		if err := json.Unmarshal([]byte(payload), &claims); err != nil {
			t.Fatal(err)
		}
		return harness.HS256(t, secret, claims)
	}
	s := harness.Start(t, `
:{$PORT} {
	audit trail
	jwt_auth {
		issuer https://id.test {
			key HS256 {env.MOAT_KEY}
			audience api
		}
	}
	respond ok
}
`, "MOAT_KEY="+secret)
	for _, c := range []struct {
		name, token, cause string
	}{
		{"issuer", token(`{"iss":"https://other.test/\n","aud":"api","sub":"a","exp":4102444800}`), `iss is "https://other.test/\n", and must be https://id.test`},
		{"audience", token(`{"iss":"https://id.test","aud":["web"],"sub":"a","exp":4102444800}`), `and must be or hold api`},
		{"expired", token(`{"iss":"https://id.test","aud":"api","sub":"a","exp":1700000000}`), `exp was 2023-11-14T22:13:20Z`},
		{"long", strings.Repeat("A", 17<<10), `at most 16384 are read`},
	} {
		a := s.Get("PORT", "/"+c.name, harness.Bearer(c.token))
		if a.StatusCode != 401 || strings.Contains(a.Body, "must be") {
			t.Errorf("%s: got %d %s", c.name, a.StatusCode, a.Body)
		}
		harness.Eventually(t, func() error {
			out, err := s.Caddy("moat", "audit", "search", "--path", "/"+c.name, "--format", "text", "trail")
			if err != nil || !strings.Contains(out, c.cause) {
				return fmt.Errorf("%s: the record does not say %q: %v %s", c.name, c.cause, err, out)
			}
			return nil
		})
		for range 3 {
			s.Get("PORT", "/"+c.name, harness.Bearer(c.token))
		}
	}
}

// TestCodeOfARequestThatAnotherHandlerRejected holds that {http.moat.code} is
// never a literal text in a page.
func TestCodeOfARequestThatAnotherHandlerRejected(t *testing.T) {
	s := harness.Start(t, `
:{$PORT} {
	flood_limit {
		zone all {
			key {client_ip}
			events 2
			window 1h
		}
	}
	handle /proxy {
		reverse_proxy 127.0.0.1:1
	}
	handle {
		respond ok
	}
	handle_errors {
		respond "code=[{http.moat.code}] {http.error.status_code}"
	}
}
`)
	if a := s.Get("PORT", "/proxy"); a.Body != "code=[] 502" {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
	s.Get("PORT", "/")
	if a := s.Get("PORT", "/"); a.Body != "code=[rate_limited] 429" {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
}
