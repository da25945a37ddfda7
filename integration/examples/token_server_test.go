package examples

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestExampleTokenServer(t *testing.T) {
	// The file of clients and the storage are there before the server is.
	before := harness.Prepare(t, "")
	before.WorkDir, before.Config = harness.Root(t), "examples/token-server/Caddyfile"
	env := []string{"XDG_DATA_HOME=" + before.Path("data"), "CLIENTS=" + before.Path("clients.jsonl")}
	before.Env = append(before.Env, env...)
	secret := strings.TrimSpace(before.Output("moat", "client", "new", "--config", before.Config, "--id", "billing",
		"--audience", "https://api.example.com", "--scope", "orders:read", "--scope", "orders:write", "--role", "clerk"))

	s := startExample(t, "token-server", env...)
	s.Ready("PORT2", "localhost")
	c := s.Client()
	post := func(path, form string) *harness.Response {
		return s.SendBody(c, "PORT", "POST", path, strings.NewReader(form), "Content-Type: application/x-www-form-urlencoded")
	}
	creds := "&client_id=billing&client_secret=" + secret
	issue := func(scope string) string {
		t.Helper()
		a := post("/token", "grant_type=client_credentials&scope="+scope+creds)
		a.Want(t, 200, `"token_type":"Bearer"`, `"expires_in":600`)
		var doc struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(a.Body), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Token
	}
	order := func(token string) *harness.Response {
		return s.SendBody(c, "PORT2", "GET", "/orders/1", nil, "Authorization: Bearer "+token)
	}
	read := issue("orders:read")
	order(read).Want(t, 200, `"caller":"billing"`, `"scopes":"orders:read"`)
	order(issue("orders:write")).Want(t, 403, "forbidden")
	post("/token", "grant_type=client_credentials&client_id=billing&client_secret="+harness.Flip(secret)).Want(t, 401, "invalid_client")
	post("/token", "grant_type=client_credentials&scope=admin"+creds).Want(t, 400, "invalid_scope")
	post("/token", "grant_type=client_credentials&resource=https://other.example.com"+creds).Want(t, 400, "invalid_target")
	post("/token", "grant_type=password"+creds).Want(t, 400, "unsupported_grant_type")
	if a := post("/revoke", "token="+read+creds); a.StatusCode != 200 {
		t.Errorf("revoke: got %d %s", a.StatusCode, a.Body)
	}
	order(read).Want(t, 401, "invalid_token")

	before.Output("moat", "client", "disable", "--config", before.Config, "billing")
	harness.Eventually(t, func() error {
		if a := post("/token", "grant_type=client_credentials"+creds); a.StatusCode != 401 {
			return fmt.Errorf("a disabled client: got %d", a.StatusCode)
		}
		return nil
	})
	if strings.Contains(s.Log.String(), secret[20:40]) {
		t.Error("the secret stands in the log")
	}
}
