package integration

import (
	"fmt"
	"os"
	"testing"
)

func TestTrailRecordsKeysAndRevocations(t *testing.T) {
	p := startIDP(t, "")
	one, two := newSigner(t), newSigner(t)
	p.keys["one"] = &one.key.PublicKey
	s := prepare(t, `
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
	s.write("revoked.jsonl", "# none\n")
	s.run()
	s.wait()
	on := func(text string) {
		t.Helper()
		eventually(t, func() error {
			if countRecords(t, s.path("trail"), text) != 1 {
				return fmt.Errorf("not one record has %s", text)
			}
			return nil
		})
	}
	on(`"what":"issuer keys"`)
	on(`"detail":"issuer: ` + p.URL + `\ncame: one"`)
	p.set(func(p *idp) {
		delete(p.keys, "one")
		p.keys["two"] = &two.key.PublicKey
	})
	s.get("PORT", "/", bearer(p.token(two, "two")))
	on(`"detail":"issuer: ` + p.URL + `\ncame: two\nleft: one"`)

	s.write("new.jsonl", "{\"jti\":\"very secret name\"}\n")
	if err := os.Rename(s.path("new.jsonl"), s.path("revoked.jsonl")); err != nil {
		t.Fatal(err)
	}
	on(`"detail":"added: 1 by jti, 0 by sub, 0 by kid"`)
	body := `{"sub":"bob","issued_before":"2099-01-01T00:00:00Z"}`
	a := raw(t, s.admin, fmt.Sprintf("POST /moat/revocations HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", s.admin, len(body), body))
	if a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	on(`"detail":"added: 0 by jti, 1 by sub, 0 by kid"`)
	on(`"source":"admin API","by":"127.0.0.1:`)
	if n := countRecords(t, s.path("trail"), "very secret name"); n != 0 {
		t.Errorf("%d records name the token", n)
	}
}
