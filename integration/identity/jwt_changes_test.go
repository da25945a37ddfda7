package identity

import (
	"fmt"
	"os"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestTrailRecordsKeysAndRevocations is about what changes without a request: it
// sends over HTTP/1.1 alone.
func TestTrailRecordsKeysAndRevocations(t *testing.T) {
	p := harness.StartProvider(t, "")
	one, two := harness.NewSigner(t), harness.NewSigner(t)
	p.Keys["one"] = &one.Key.PublicKey
	s := harness.Prepare(t, `
:{$PORT} {
	audit trail
	jwt_auth {
		issuer {env.IDP}
		issuer internal
		audience api
		revocations revoked.jsonl
	}
	respond "{http.auth.user.id}"
}
:{$PORT2} {
	audit trail
	jwt_auth {
		issuer internal
		revocations revoked.jsonl
	}
	respond "{http.auth.user.id}"
}
`, "IDP="+p.URL)
	s.WriteFile("revoked.jsonl", "# none\n")
	s.Run()
	s.Wait()
	on := func(text string) {
		t.Helper()
		harness.Eventually(t, func() error {
			if harness.CountRecords(t, s.Path("trail"), text) != 1 {
				return fmt.Errorf("not one record has %s", text)
			}
			return nil
		})
	}
	on(`"what":"issuer keys"`)
	on(`"detail":"issuer: ` + p.URL + `\ncame: one"`)
	p.Set(func(p *harness.Provider) {
		delete(p.Keys, "one")
		p.Keys["two"] = &two.Key.PublicKey
	})
	s.Get("PORT", "/", harness.Bearer(p.Token(two, "two")))
	on(`"detail":"issuer: ` + p.URL + `\ncame: two\nleft: one"`)

	s.WriteFile("new.jsonl", "{\"jti\":\"very secret name\"}\n")
	if err := os.Rename(s.Path("new.jsonl"), s.Path("revoked.jsonl")); err != nil {
		t.Fatal(err)
	}
	on(`"detail":"added: 1 by jti, 0 by sub, 0 by kid"`)
	body := `{"sub":"bob","issued_before":"2099-01-01T00:00:00Z"}`
	a := harness.Raw(t, s.Admin, fmt.Sprintf("POST /moat/revocations HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", s.Admin, len(body), body))
	if a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.Body)
	}
	on(`"detail":"added: 0 by jti, 1 by sub, 0 by kid"`)
	on(`"source":"admin API","by":"127.0.0.1:`)
	if n := harness.CountRecords(t, s.Path("trail"), "very secret name"); n != 0 {
		t.Errorf("%d records name the token", n)
	}
}
