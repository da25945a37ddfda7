package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

const internalSite = `
{
	storage file_system {$STORE}
}
:{$PORT} {
	jwt_auth {
		issuer internal {
			publish /keys.json
			audience orders
			roles /realm_access/roles
		}
		forward /dept X-Dept
	}
	respond "{http.auth.user.id} {http.auth.user.roles} {http.auth.user.scopes} {http.auth.user.claims.big} {http.auth.user.claims.list} {http.request.header.X-Dept}"
}
`

func TestMintedTokenIsAcceptedAtOnce(t *testing.T) {
	store := t.TempDir()
	s := prepare(t, internalSite, "STORE="+store)
	// Minted before the server has ever run: the key is made here.
	early := s.token("--sub", "early", "--new-key")
	s.run()
	s.wait()
	if a := s.get("PORT", "/", bearer(early)); a.StatusCode != 200 || !strings.HasPrefix(a.body, "early ") {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	tok := s.token("--sub", "alice", "--role", "clerk", "--role", "boss", "--scope", "read", "--scope", "write",
		"--claim", "big=9007199254740993", "--claim", `list=["a","b"]`, "--claim", "dept=sales team", "--ttl", "1h")
	a := s.get("PORT", "/", bearer(tok))
	if want := "alice clerk,boss read,write 9007199254740993 [a b] sales team"; a.body != want {
		t.Errorf("got  %d %s\nwant %s", a.StatusCode, a.body, want)
	}
	var claims struct {
		Aud string
		Exp int64
		Iat int64
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(tok, ".")[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Aud != "orders" || claims.Exp-claims.Iat != 3600 {
		t.Errorf("got %s", payload)
	}

	if a := s.get("PORT", "/", bearer(s.token("--sub", "alice", "--aud", "other"))); a.StatusCode != 401 {
		t.Errorf("another audience: got %d %s", a.StatusCode, a.body)
	}
	for _, args := range [][]string{
		{"--config", "Caddyfile"},
		{"--config", "nowhere", "--sub", "a"},
		{"--sub", "a", "--ttl", "10000h"},
		{"--sub", "a", "--ttl", "-1s"},
		{"--sub", "a", "--claim", "x"},
		{"--sub", "a", "--claim", "exp=1"},
		{"--sub", "a", "--claim", "sub=b"},
		{"--sub", "a", "extra"},
	} {
		if out, err := s.caddy(append([]string{"moat", "token", "--config", "Caddyfile"}, args...)...); err == nil {
			t.Errorf("%v: got %s", args, out)
		}
	}

	if a := s.get("PORT", "/keys.json"); a.StatusCode != 200 || !strings.Contains(a.body, `"crv":"Ed25519"`) || strings.Contains(a.body, `"d"`) {
		t.Errorf("published keys: %d %s", a.StatusCode, a.body)
	}
	// A restart keeps the key.
	s.stop()
	s.run()
	s.wait()
	if a := s.get("PORT", "/", bearer(tok)); a.StatusCode != 200 {
		t.Errorf("after a restart: got %d %s", a.StatusCode, a.body)
	}
	found := false
	for _, e := range readDir(t, store+"/moat/issuer") {
		info, err := e.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
		}
		found = true
	}
	if !found {
		t.Error("no key in the storage")
	}
}

func readDir(t testing.TB, dir string) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestServersThatShareAStorageAcceptEachOthersTokens(t *testing.T) {
	store := t.TempDir()
	a := start(t, internalSite, "STORE="+store)
	b := start(t, internalSite, "STORE="+store)
	tok := a.token("--sub", "alice")
	for name, s := range map[string]*server{"a": a, "b": b} {
		if got := s.get("PORT", "/", bearer(tok)); got.StatusCode != 200 {
			t.Errorf("%s: got %d %s", name, got.StatusCode, got.body)
		}
	}
	if a.get("PORT", "/keys.json").body != b.get("PORT", "/keys.json").body {
		t.Error("the servers publish different keys")
	}
}

func TestRevocationsWorkWithinASecondAndSurvive(t *testing.T) {
	store := t.TempDir()
	s := prepare(t, `
{
	storage file_system {$STORE}
}
:{$PORT} {
	jwt_auth {
		issuer internal
		revocations revoked.jsonl
	}
	respond "{http.auth.user.id}"
}
`, "STORE="+store)
	s.write("revoked.jsonl", "# none\n")
	s.run()
	s.wait()
	jti := func(tok string) string {
		var c struct{ Jti string }
		payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(tok, ".")[1])
		_ = json.Unmarshal(payload, &c)
		return c.Jti
	}
	status := func(tok string) int { return s.get("PORT", "/", bearer(tok)).StatusCode }
	becomes := func(tok string, want int) {
		t.Helper()
		eventually(t, func() error {
			if got := status(tok); got != want {
				return fmt.Errorf("got %d, want %d", got, want)
			}
			return nil
		})
	}
	one, two, three := s.token("--sub", "alice"), s.token("--sub", "bob"), s.token("--sub", "carol")
	for _, tok := range []string{one, two, three} {
		if status(tok) != 200 {
			t.Fatal("a good token is refused")
		}
	}
	s.write("revoked.jsonl", fmt.Sprintf("{\"jti\":%q}\n", jti(one)))
	becomes(one, 401)
	// atomic rename, by subject
	s.write("new.jsonl", `{"sub":"bob","issued_before":"2099-01-01T00:00:00Z"}`+"\n")
	if err := os.Rename(s.path("new.jsonl"), s.path("revoked.jsonl")); err != nil {
		t.Fatal(err)
	}
	becomes(two, 401)
	becomes(one, 200)
	// garbage keeps the last good list
	s.write("revoked.jsonl", "{\"jti\":\n")
	eventually(t, func() error {
		if !strings.Contains(s.log.String(), "stays in force") {
			return fmt.Errorf("the garbage is not logged")
		}
		return nil
	})
	if status(two) != 401 {
		t.Error("garbage lifted a revocation")
	}

	post := func(method, body string) (int, string) {
		t.Helper()
		a := raw(t, s.admin, fmt.Sprintf("%s /moat/revocations HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, s.admin, len(body), body))
		return a.StatusCode, a.body
	}
	if code, body := post("POST", fmt.Sprintf(`{"jti":%q}`, jti(three))); code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	if got := status(three); got != 401 {
		t.Errorf("right after the answer: got %d", got)
	}
	if code, body := post("POST", `{"jti":"x","y":"z"}`); code != 400 {
		t.Errorf("got %d %s", code, body)
	}
	s.write("revoked.jsonl", "")
	becomes(two, 200)
	if err := s.reload(`
{
	storage file_system {$STORE}
}
:{$PORT} {
	jwt_auth {
		issuer internal
	}
	respond "again"
}
`); err != nil {
		t.Fatal(err)
	}
	if status(three) != 401 || status(two) != 200 {
		t.Error("the reload forgot a revocation or made one")
	}
	s.stop()
	s.run()
	s.wait()
	if status(three) != 401 || status(two) != 200 {
		t.Error("the restart forgot a revocation or made one")
	}
	if code, body := post("GET", ""); code != 200 || !strings.Contains(body, jti(three)) {
		t.Errorf("got %d %s", code, body)
	}
	if code, body := post("DELETE", fmt.Sprintf(`{"jti":%q}`, jti(three))); code != 200 {
		t.Errorf("got %d %s", code, body)
	}
	if got := status(three); got != 200 {
		t.Errorf("after it was taken back: got %d", got)
	}
}
