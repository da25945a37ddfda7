package identity

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
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
	s := harness.PrepareAll(t, internalSite, "STORE="+store)
	// Minted before the server has ever run: the key is made here.
	early := s.Token("--sub", "early", "--new-key")
	s.Run()
	s.Wait()
	if a := s.Get("PORT", "/", harness.Bearer(early)); a.StatusCode != 200 || !strings.HasPrefix(a.Body, "early ") {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
	tok := s.Token("--sub", "alice", "--role", "clerk", "--role", "boss", "--scope", "read", "--scope", "write",
		"--claim", "big=9007199254740993", "--claim", `list=["a","b"]`, "--claim", "dept=sales team", "--ttl", "1h")
	for _, protocol := range harness.Protocols {
		a := s.Over(protocol).Get("PORT", "/", harness.Bearer(tok))
		if want := "alice clerk,boss read,write 9007199254740993 [a b] sales team"; a.Body != want {
			t.Errorf("%s: got  %d %s\nwant %s", protocol, a.StatusCode, a.Body, want)
		}
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

	if a := s.Get("PORT", "/", harness.Bearer(s.Token("--sub", "alice", "--aud", "other"))); a.StatusCode != 401 {
		t.Errorf("another audience: got %d %s", a.StatusCode, a.Body)
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
		if out, err := s.Caddy(append([]string{"moat", "token", "--config", "Caddyfile"}, args...)...); err == nil {
			t.Errorf("%v: got %s", args, out)
		}
	}

	for _, protocol := range harness.Protocols {
		if a := s.Over(protocol).Get("PORT", "/keys.json"); a.StatusCode != 200 || !strings.Contains(a.Body, `"crv":"Ed25519"`) || strings.Contains(a.Body, `"d"`) {
			t.Errorf("published keys, %s: %d %s", protocol, a.StatusCode, a.Body)
		}
	}
	// A restart keeps the key.
	s.Stop()
	s.Run()
	s.Wait()
	if a := s.Get("PORT", "/", harness.Bearer(tok)); a.StatusCode != 200 {
		t.Errorf("after a restart: got %d %s", a.StatusCode, a.Body)
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
	a := harness.Start(t, internalSite, "STORE="+store)
	b := harness.Start(t, internalSite, "STORE="+store)
	tok := a.Token("--sub", "alice")
	for name, s := range map[string]*harness.Server{"a": a, "b": b} {
		if got := s.Get("PORT", "/", harness.Bearer(tok)); got.StatusCode != 200 {
			t.Errorf("%s: got %d %s", name, got.StatusCode, got.Body)
		}
	}
	if a.Get("PORT", "/keys.json").Body != b.Get("PORT", "/keys.json").Body {
		t.Error("the servers publish different keys")
	}
}

func TestRevocationsWorkWithinASecondAndSurvive(t *testing.T) {
	store := t.TempDir()
	s := harness.PrepareAll(t, `
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
	s.WriteFile("revoked.jsonl", "# none\n")
	s.Run()
	s.Wait()
	jti := func(tok string) string {
		var c struct{ Jti string }
		payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(tok, ".")[1])
		_ = json.Unmarshal(payload, &c)
		return c.Jti
	}
	status := func(tok string) int { // over each protocol, 0 where they differ
		first := s.Get("PORT", "/", harness.Bearer(tok)).StatusCode
		for _, protocol := range harness.Protocols[1:] {
			if s.Over(protocol).Get("PORT", "/", harness.Bearer(tok)).StatusCode != first {
				return 0
			}
		}
		return first
	}
	becomes := func(tok string, want int) {
		t.Helper()
		harness.Eventually(t, func() error {
			if got := status(tok); got != want {
				return fmt.Errorf("got %d, want %d", got, want)
			}
			return nil
		})
	}
	one, two, three := s.Token("--sub", "alice"), s.Token("--sub", "bob"), s.Token("--sub", "carol")
	for _, tok := range []string{one, two, three} {
		if status(tok) != 200 {
			t.Fatal("a good token is refused")
		}
	}
	s.WriteFile("revoked.jsonl", fmt.Sprintf("{\"jti\":%q}\n", jti(one)))
	becomes(one, 401)
	// atomic rename, by subject
	s.WriteFile("new.jsonl", `{"sub":"bob","issued_before":"2099-01-01T00:00:00Z"}`+"\n")
	if err := os.Rename(s.Path("new.jsonl"), s.Path("revoked.jsonl")); err != nil {
		t.Fatal(err)
	}
	becomes(two, 401)
	becomes(one, 200)
	// garbage keeps the last good list
	s.WriteFile("revoked.jsonl", "{\"jti\":\n")
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), "stays in force") {
			return fmt.Errorf("the garbage is not logged")
		}
		return nil
	})
	if status(two) != 401 {
		t.Error("garbage lifted a revocation")
	}

	post := func(method, body string) (int, string) {
		t.Helper()
		a := harness.Raw(t, s.Admin, fmt.Sprintf("%s /moat/revocations HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, s.Admin, len(body), body))
		return a.StatusCode, a.Body
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
	s.WriteFile("revoked.jsonl", "")
	becomes(two, 200)
	if err := s.Reload(`
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
	s.Stop()
	s.Run()
	s.Wait()
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
