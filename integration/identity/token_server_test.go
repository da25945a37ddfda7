package identity

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const tokenSites = `
{
	storage file_system {$STORE}
}
http://:{$PORT} {
	audit trail.audit
	token_server {
		issuer http://127.0.0.1:{$PORT}
		clients clients.jsonl
		token_lifetime 5m
	}
	respond "another page"
}
http://:{$PORT2} {
	jwt_auth {
		issuer http://127.0.0.1:{$PORT}
		audience orders
		typ at+jwt
	}
	respond "{http.auth.user.id} {http.auth.user.roles} {http.auth.user.scopes}"
}
http://:{$PORT3} {
	jwt_auth {
		issuer internal {
			name http://127.0.0.1:{$PORT}
			audience orders
		}
	}
	respond "{http.auth.user.id}"
}
`

// tokenServer starts a token server with a client billing, whose secret it
// returns, and two sites that accept its tokens.
func tokenServer(t *testing.T, args ...string) (*harness.Server, string) {
	t.Helper()
	s := harness.PrepareAll(t, tokenSites, "STORE="+t.TempDir())
	secret := s.NewClient("billing", append([]string{"--audience", "orders", "--scope", "orders:read", "--scope", "orders:write", "--role", "clerk"}, args...)...)
	s.Run()
	s.Wait()
	return s, secret
}

const formType = "Content-Type: application/x-www-form-urlencoded"

func basicAuth(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// issued returns the access token of a response.
func issued(t *testing.T, a *harness.Response) string {
	t.Helper()
	var doc struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.Body), &doc); a.StatusCode != 200 || err != nil || doc.Token == "" {
		t.Fatalf("got %d %s", a.StatusCode, a.Body)
	}
	return doc.Token
}

func TestTokensOfTheTokenServerAreAcceptedElsewhere(t *testing.T) {
	s, secret := tokenServer(t)
	for _, protocol := range harness.Protocols {
		o := s.Over(protocol)
		a := o.Do("PORT", "POST", "/token", "grant_type=client_credentials&scope=orders:read", formType, basicAuth("billing", secret))
		token := issued(t, a)
		if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", protocol, a.Header)
		}
		harness.Eventually(t, func() error { // its keys are fetched by discovery
			if a := o.Get("PORT2", "/", harness.Bearer(token)); a.Body != "billing clerk orders:read" {
				return fmt.Errorf("%s: got %d %s", protocol, a.StatusCode, a.Body)
			}
			return nil
		})
		o.Get("PORT3", "/", harness.Bearer(token)).Want(t, 200, "billing")
		o.Get("PORT", "/elsewhere").Want(t, 200, "another page")
	}
	if r := s.RecordOf(s.Path("trail.audit"), "/token"); len(r.Decisions) != 1 || r.Decisions[0].Layer != "token_server" || r.Decisions[0].Rule != "client billing: client_credentials" {
		t.Errorf("the record has %+v", r.Decisions)
	}
	token := issued(t, s.Do("PORT", "POST", "/token", "grant_type=client_credentials", formType, basicAuth("billing", secret)))
	s.Do("PORT", "POST", "/introspect", "token="+token, formType, basicAuth("billing", secret)).Want(t, 200, `"active":true`, `"client_id":"billing"`)
	s.Do("PORT", "POST", "/revoke", "token="+token, formType, basicAuth("billing", secret))
	s.Get("PORT3", "/", harness.Bearer(token)).Want(t, 401, "invalid_token")
	s.Do("PORT", "POST", "/introspect", "token="+token, formType, basicAuth("billing", secret)).Want(t, 200, `{"active":false}`)
}

func TestMetadataOfTheTokenServerDoNotFollowTheHost(t *testing.T) {
	s, secret := tokenServer(t)
	base := "http://127.0.0.1:" + s.Ports["PORT"]
	const path = "/.well-known/oauth-authorization-server"
	a := harness.Raw(t, s.Addr("PORT"), "GET "+path+" HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\nConnection: close\r\n\r\n")
	a.Want(t, 200, `"issuer":"`+base+`"`, `"token_endpoint":"`+base+`/token"`, `"jwks_uri":"`+base+`/jwks.json"`)
	if strings.Contains(a.Body, "evil") {
		t.Errorf("the metadata follow the host: %s", a.Body)
	}
	body := "grant_type=client_credentials"
	token := issued(t, harness.Raw(t, s.Addr("PORT"), fmt.Sprintf("POST /token HTTP/1.1\r\nHost: evil.example\r\n%s\r\n%s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		formType, basicAuth("billing", secret), len(body), body)))
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || !strings.Contains(string(payload), `"iss":"`+base+`"`) {
		t.Errorf("the token has %s", payload)
	}
	s.Get("PORT", "/jwks.json").Want(t, 200, `"crv":"Ed25519"`)
	for _, c := range [][2]string{{"GET", "/token"}, {"PUT", "/token"}, {"POST", "/jwks.json"}, {"POST", path}, {"GET", "/revoke"}} {
		if a := s.Do("PORT", c[0], c[1], ""); a.StatusCode != 405 || a.Header.Get("Allow") == "" {
			t.Errorf("%s %s: got %d", c[0], c[1], a.StatusCode)
		}
	}
}

func TestTokenServerRefusesHostileRequests(t *testing.T) {
	s, secret := tokenServer(t)
	creds := basicAuth("billing", secret)
	for what, c := range map[string]struct {
		path, body string
		header     []string
		status     int
		code       string
	}{
		"JSON":                  {"/token", `{"grant_type":"client_credentials"}`, []string{"Content-Type: application/json", creds}, 400, "invalid_request"},
		"no type":               {"/token", "grant_type=client_credentials", []string{creds}, 400, "invalid_request"},
		"twice":                 {"/token", "grant_type=client_credentials&grant_type=client_credentials", []string{formType, creds}, 400, "invalid_request"},
		"a query":               {"/token?scope=admin", "grant_type=client_credentials", []string{formType, creds}, 400, "invalid_request"},
		"a secret in the query": {"/token?client_id=billing&client_secret=" + secret, "grant_type=client_credentials", []string{formType}, 400, "invalid_request"},
		"two credentials":       {"/token", "grant_type=client_credentials&client_id=billing&client_secret=" + secret, []string{formType, creds}, 400, "invalid_request"},
		"too large":             {"/token", "grant_type=client_credentials&x=" + strings.Repeat("a", 70_000), []string{formType, creds}, 413, "invalid_request"},
		"empty":                 {"/token", "", []string{formType, creds, "Content-Length: 0"}, 400, "invalid_request"},
		"another scope":         {"/token", "grant_type=client_credentials&scope=orders:read+admin", []string{formType, creds}, 400, "invalid_scope"},
		"another resource":      {"/token", "grant_type=client_credentials&resource=stock", []string{formType, creds}, 400, "invalid_target"},
		"a wrong secret":        {"/token", "grant_type=client_credentials", []string{formType, basicAuth("billing", harness.Flip(secret))}, 401, "invalid_client"},
		"nobody":                {"/token", "grant_type=client_credentials", []string{formType, basicAuth("nobody", secret)}, 401, "invalid_client"},
		"nobody asks":           {"/introspect", "token=x", []string{formType}, 401, "invalid_client"},
		"nobody revokes":        {"/revoke", "token=x", []string{formType}, 401, "invalid_client"},
	} {
		a := s.Do("PORT", "POST", c.path, c.body, c.header...)
		if a.StatusCode != c.status || !strings.Contains(a.Body, `"error":"`+c.code+`"`) || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %s, want %d %s", what, a.StatusCode, a.Body, c.status, c.code)
		}
		if c.status == 401 && a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without a challenge", what)
		}
	}
	if harness.CountRecords(t, s.Path("trail.audit"), secret) > 0 {
		t.Error("the secret stands in the trail")
	}
}

func TestFileOfClientsIsThatOfTheStorage(t *testing.T) {
	s := harness.PrepareAll(t, tokenSites, "STORE="+t.TempDir())
	s.Run()
	<-s.Exit
	if out := s.Log.String(); !strings.Contains(out, "token_server: clients clients.jsonl") {
		t.Errorf("without a file of clients: %s", out)
	}
	secret := s.NewClient("billing", "--audience", "orders")
	for what, args := range map[string][]string{
		"no ID":            {"--audience", "orders"},
		"no audience":      {"--id", "a"},
		"the same ID":      {"--id", "billing", "--audience", "orders"},
		"an unknown grant": {"--id", "a", "--audience", "orders", "--grant", "password"},
		"any audience":     {"--id", "a", "--audience", "*"},
		"a year":           {"--id", "a", "--audience", "orders", "--lifetime", "365d"},
	} {
		if out, err := s.Caddy(append([]string{"moat", "client", "new", "--config", "Caddyfile"}, args...)...); err == nil {
			t.Errorf("%s: got %s", what, out)
		}
	}
	if out := s.Output("moat", "client", "list"); !strings.Contains(out, "billing  active") || strings.Contains(out, secret) {
		t.Errorf("list prints %s", out)
	}
	// Another storage has another pepper.
	s.Env = append(s.Env, "STORE="+t.TempDir())
	if out, err := s.Caddy("moat", "client", "rotate", "billing"); err == nil || !strings.Contains(out, "another pepper") {
		t.Errorf("got %v %s", err, out)
	}
	s.Run()
	<-s.Exit
	if out := s.Log.String(); !strings.Contains(out, "another pepper") {
		t.Errorf("with another storage: %s", out)
	}
}

func TestClientIsRotatedAndDisabledWhileTheServerRuns(t *testing.T) {
	s, first := tokenServer(t)
	status := func(secret string) int {
		return s.Do("PORT", "POST", "/token", "grant_type=client_credentials", formType, basicAuth("billing", secret)).StatusCode
	}
	await := func(secret string, want int) {
		t.Helper()
		harness.Eventually(t, func() error {
			if got := status(secret); got != want {
				return fmt.Errorf("got %d, want %d", got, want)
			}
			return nil
		})
	}
	second := strings.TrimSpace(s.Output("moat", "client", "rotate", "billing", "--overlap", "1h"))
	await(second, 200)
	await(first, 200)
	third := strings.TrimSpace(s.Output("moat", "client", "rotate", "billing", "--overlap", "0s"))
	await(third, 200)
	await(first, 401)
	await(second, 401)
	s.Output("moat", "client", "disable", "billing")
	await(third, 401)
	s.Output("moat", "client", "enable", "billing")
	await(third, 200)
	// A file that goes bad leaves the clients in force.
	s.WriteFile("clients.jsonl", "{}\n")
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), "the file of clients cannot be used") {
			return fmt.Errorf("the log does not say so")
		}
		return nil
	})
	await(third, 200)
}

// TestIssuerIsTheNameOfTheSite validates configurations, which provisions them
// without listening on port 443. The name of the issuer is that of its keys.
func TestIssuerIsTheNameOfTheSite(t *testing.T) {
	store := t.TempDir()
	s := harness.Prepare(t, "{\n\tstorage file_system "+store+"\n}\nid.example.com {\n\ttoken_server {\n\t\tclients clients.jsonl\n\t}\n}\n")
	s.NewClient("billing", "--audience", "orders")
	if out, err := s.Caddy("validate", "--config", "Caddyfile"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if list := readDir(t, store+"/moat/issuer"); len(list) != 1 || !strings.HasPrefix(list[0].Name(), "https---id-example-com-") {
		t.Errorf("the issuer is %v", list)
	}
	for _, site := range []string{"id.example.com, other.example.com", "*.example.com", "id.example.com:8443", "http://id.example.com", ":443"} {
		s.WriteFile("Caddyfile", "{\n\tstorage file_system "+store+"\n}\n"+site+" {\n\ttoken_server {\n\t\tclients clients.jsonl\n\t}\n}\n")
		if out, err := s.Caddy("validate", "--config", "Caddyfile"); err == nil || !strings.Contains(out, "write issuer https://id.example.com") {
			t.Errorf("%s: got %v %s", site, err, out)
		}
	}
}
