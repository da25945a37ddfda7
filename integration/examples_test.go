package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// startExample runs examples/<name>/Caddyfile as it stands, from the root of
// the repository as its README says, on free ports and with its audit trail in
// the test's directory.
func startExample(t testing.TB, name string, env ...string) *server {
	t.Helper()
	s := prepare(t, "", env...)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "AUDIT="+s.path(name+".audit"))
	s.cwd, s.config = root, "examples/"+name+"/Caddyfile"
	s.run()
	s.wait()
	// Caddy's internal CA signs the first certificate in the background.
	eventually(t, func() error {
		conn, err := tls.Dial("tcp", s.addr("PORT"), s.tls())
		if err == nil {
			conn.Close()
		}
		return err
	})
	return s
}

// step is one command of a README and the output it shows.
type step struct {
	line    int
	command string
	output  []string
}

// steps returns the commands in the console blocks of a README.
func steps(t *testing.T, file string) []step {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []step
	inside := false
	for i, line := range strings.Split(string(body), "\n") {
		switch {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case !inside:
		case strings.HasPrefix(line, "$ "):
			all = append(all, step{line: i + 1, command: line[2:]})
		case len(all) == 0:
			t.Fatalf("%s:%d: output before any command", file, i+1)
		default:
			all[len(all)-1].output = append(all[len(all)-1].output, line)
		}
	}
	return all
}

// replay runs the commands of a README in one shell and compares what they
// print with what the README shows. There, … stands for any text.
func replay(t *testing.T, s *server, name string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the README's commands are for a POSIX shell")
	}
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	file := filepath.Join("..", "examples", name, "README.md")
	all := steps(t, file)
	if len(all) == 0 {
		t.Fatalf("%s shows no commands", file)
	}

	// The README speaks of the ports and places of a first run.
	here := strings.NewReplacer("8443", s.ports["PORT"], name+".audit", s.path(name+".audit"))
	var script strings.Builder
	for i, st := range all {
		fmt.Fprintf(&script, "%s\necho; echo @@@%d\n", here.Replace(st.command), i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Dir = s.cwd
	cmd.Env = append(s.env, "MOAT_BINARY="+binary(t))
	cmd.Env = append(cmd.Env, goEnv(t)...)
	cmd.Stdin = strings.NewReader(script.String())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	rest := out.String()
	for i, st := range all {
		var got string
		var ok bool
		got, rest, ok = strings.Cut(rest, fmt.Sprintf("\n@@@%d\n", i))
		if !ok {
			t.Fatalf("%s:%d: %s: no output\n%s", file, st.line, st.command, rest)
		}
		got = strings.TrimRight(strings.ReplaceAll(got, "\r", ""), "\n")
		want := strings.Join(st.output, "\n")
		if !pattern(want).MatchString(got) {
			t.Errorf("%s:%d: %s\ngot:\n%s\nwant:\n%s", file, st.line, st.command, got, want)
		}
	}
}

// pattern compiles expected output in which … stands for any text, over
// several lines where it has a line to itself.
func pattern(want string) *regexp.Regexp {
	var re strings.Builder
	re.WriteString(`\A`)
	lines := strings.Split(strings.TrimRight(want, "\n"), "\n")
	for i, line := range lines {
		if line == "…" {
			re.WriteString(`(?s:.*)`)
		} else {
			parts := strings.Split(line, "…")
			for j := range parts {
				parts[j] = regexp.QuoteMeta(parts[j])
			}
			re.WriteString(strings.Join(parts, ".*"))
			if i < len(lines)-1 {
				re.WriteString(`\n`)
			}
		}
	}
	re.WriteString(`\z`)
	return regexp.MustCompile(re.String())
}

// goEnv returns where the go command keeps its caches, since HOME is moved.
func goEnv(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

func TestQuickstartReadmeReplays(t *testing.T) {
	s := startExample(t, "quickstart")
	replay(t, s, "quickstart")
}

// provider stands for an OpenID Connect provider with one RSA key.
func provider(t *testing.T, s *signer) (issuer string) {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	issuer = srv.URL + "/realms/acme"
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	mux.HandleFunc("/realms/acme/.well-known/openid-configuration", answer(map[string]any{
		"issuer": issuer, "jwks_uri": srv.URL + "/realms/acme/certs",
	}))
	mux.HandleFunc("/realms/acme/certs", answer(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one",
		"n": base64.RawURLEncoding.EncodeToString(s.key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(s.key.E)).Bytes()),
	}}}))
	return issuer
}

// ask sends a request over HTTPS with header lines ("Name: value").
func (s *server) ask(c *http.Client, method, path string, header ...string) *answer {
	s.t.Helper()
	req, err := http.NewRequest(method, "https://localhost:"+s.ports["PORT"]+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{Response: resp, body: string(body), err: err}
}

// want fails the test unless the answer has the status and all of the texts.
func (a *answer) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("got %d, want %d: %s", a.StatusCode, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%s lacks %s", a.body, text)
		}
	}
}

func TestExampleKeycloakStyle(t *testing.T) {
	signer := newSigner(t)
	issuer := provider(t, signer)
	s := startExample(t, "keycloak-style", "ISSUER="+issuer)
	c := s.client()
	token := func(changes map[string]any) string {
		base := map[string]any{
			"iss": issuer, "aud": []string{"account", "orders-api"}, "roles": nil,
			"email": "alice@acme.example", "email_verified": true, "teams": []string{"north"},
			"realm_access": map[string]any{"roles": []string{"offline_access", "orders-read"}},
		}
		for k, v := range changes {
			base[k] = v
		}
		return "Authorization: Bearer " + signer.sign(map[string]any{"kid": "one"}, claims(base))
	}
	s.ask(c, "GET", "/orders/1").want(t, 401)
	s.ask(c, "GET", "/orders/1", token(nil), "X-User-Id: root").
		want(t, 200, `"user":"alice"`, `"email":"alice@acme.example"`, `"authorization":""`)
	s.ask(c, "DELETE", "/orders/1", token(nil)).want(t, 403)
	admin := map[string]any{"resource_access": map[string]any{"orders-api": map[string]any{"roles": []string{"orders-admin"}}}}
	s.ask(c, "DELETE", "/orders/1", token(admin)).want(t, 200)
	s.ask(c, "GET", "/teams/north/report", token(admin)).want(t, 200)
	s.ask(c, "GET", "/teams/south/report", token(admin)).want(t, 403)
	s.ask(c, "GET", "/orders/1", token(map[string]any{"email_verified": false})).want(t, 401)
	s.ask(c, "GET", "/orders/1", token(map[string]any{"aud": "account"})).want(t, 401)
}

func TestExampleSharedSecret(t *testing.T) {
	const shared = "an example of a secret of 32 bytes or more"
	out := failsToLoadExample(t, "shared-secret")
	if !strings.Contains(out, "API_SECRET") || !strings.Contains(out, "jwt_auth") {
		t.Errorf("without a secret, the error names neither directive nor source:\n%s", out)
	}
	s := startExample(t, "shared-secret", "API_SECRET="+shared)
	c := s.client()
	token := func(changes map[string]any) string {
		all := map[string]any{"iss": nil, "aud": "internal-api", "iat": time.Now().Unix(), "scope": "jobs:read jobs:write", "roles": nil}
		for k, v := range changes {
			all[k] = v
		}
		signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims(all))).SignedString([]byte(shared))
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + signed
	}
	s.ask(c, "GET", "/status").want(t, 401)
	s.ask(c, "GET", "/status", token(map[string]any{"scope": nil})).want(t, 200, "ok")
	s.ask(c, "POST", "/jobs", token(nil)).want(t, 200, `"user":"alice"`)
	s.ask(c, "POST", "/jobs", token(map[string]any{"scope": "jobs:read"})).want(t, 403)
	s.ask(c, "DELETE", "/jobs/7", token(nil)).want(t, 200)
	s.ask(c, "GET", "/status", token(map[string]any{"iat": time.Now().Add(-2 * time.Hour).Unix()})).want(t, 401)
	s.ask(c, "GET", "/status", token(map[string]any{"aud": "another"})).want(t, 401)
	if strings.Contains(s.log.String(), shared) {
		t.Error("the secret stands in the log")
	}
}

func TestExamplePartnerAPI(t *testing.T) {
	s := startExample(t, "partner-api")
	c := s.client()
	partner := "Authorization: Bearer " + s.token("--sub", "acme", "--role", "partner")
	staff := "Authorization: Bearer " + s.token("--sub", "sam", "--role", "staff")
	a := s.ask(c, "GET", "/shipments/7", partner)
	a.want(t, 200, `"hs_code":"8471.30"`, `"phone":"138****8000"`, `"birthday":null`, `"id":7`)
	for _, hidden := range []string{
		"Baifeng", "13800138000", "dao@dali.example", "Cangshan Road 12", "1990-04-01", "C-1029", "DE89370400440532013000",
		"129.95", "VIP", "4111 1111 1111 1111", "203.0.113.77", "password",
	} {
		if strings.Contains(a.body, hidden) {
			t.Errorf("a partner sees %q: %s", hidden, a.body)
		}
	}
	s.ask(c, "GET", "/shipments/7", staff).want(t, 200, "Dao Baifeng", "13800138000", "129.95")
	if a := s.ask(c, "GET", "/shipments/8", partner); a.StatusCode < 500 || strings.Contains(a.body, "app.py") {
		t.Errorf("an upstream's error page leaks: %d %s", a.StatusCode, a.body)
	}
	s.ask(c, "POST", "/shipments/7", partner).want(t, 403)
	s.stop()
	if out, err := s.caddy("moat", "audit", "verify", s.path("partner-api.audit")); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

func TestExampleExistingBasicAuth(t *testing.T) {
	s := startExample(t, "existing-basic-auth")
	c := s.client()
	basic := func(user, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	s.ask(c, "GET", "/employees/3").want(t, 401)
	s.ask(c, "GET", "/employees/3", basic("alice", "builder")).want(t, 401)
	s.ask(c, "GET", "/employees/3", basic("alice", "wonderland")).want(t, 200, "DE89370400440532013000")
	a := s.ask(c, "GET", "/employees/3", basic("bob", "builder"))
	a.want(t, 200, "3000", "Carol")
	if strings.Contains(a.body, "DE8937") || strings.Contains(a.body, "4200") {
		t.Errorf("bob sees too much: %s", a.body)
	}
	s.ask(c, "PUT", "/employees/3", basic("bob", "builder")).want(t, 403)
	s.ask(c, "PUT", "/employees/3", basic("alice", "wonderland")).want(t, 200)
	s.stop()
	if n := countRecords(t, s.path("existing-basic-auth.audit"), "bob"); n == 0 {
		t.Error("the trail does not name bob")
	}
}

func TestExamplePlanLimits(t *testing.T) {
	s := startExample(t, "plan-limits")
	c := s.client()
	bearer := func(sub, role string) string {
		return "Authorization: Bearer " + s.token("--sub", sub, "--role", role)
	}
	ann, bob, eve := bearer("ann", "free"), bearer("bob", "gold"), bearer("eve", "editor")
	s.ask(c, "GET", "/quotes").want(t, 401)
	s.ask(c, "GET", "/quotes/live", ann).want(t, 403)
	for i := range 59 {
		if a := s.ask(c, "GET", "/quotes", ann); a.StatusCode != 200 || a.Header.Get("X-Plan") != "" {
			t.Fatalf("request %d of the free plan: %d, plan %q", i+2, a.StatusCode, a.Header.Get("X-Plan"))
		}
	}
	a := s.ask(c, "GET", "/quotes", ann)
	if a.want(t, 429); a.Header.Get("Retry-After") == "" {
		t.Error("the refusal does not say when to try again")
	}
	for i := range 61 {
		if a := s.ask(c, "GET", "/quotes/live", bob); a.StatusCode != 200 || a.Header.Get("X-Plan") != "gold" {
			t.Fatalf("request %d of the gold plan: %d, plan %q", i+1, a.StatusCode, a.Header.Get("X-Plan"))
		}
	}
	// The zone of gold is by role: what inherits it in the policy is not in it.
	a = s.ask(c, "GET", "/quotes", eve)
	a.want(t, 200, `"edit":"/quotes"`)
	if a := s.ask(c, "GET", "/quotes", bearer("dan", "free")); strings.Contains(a.body, "edit") {
		t.Error("somebody who may not edit gets the page of editors")
	}
}

func TestExampleAPIKeys(t *testing.T) {
	out := failsToLoadExample(t, "api-keys")
	if !strings.Contains(out, "API_KEY_PEPPER") || !strings.Contains(out, "api_key_auth") {
		t.Errorf("without a pepper, the error names neither directive nor source:\n%s", out)
	}
	k, gold := newKeyStore(t, "--scope", "orders:read", "--plan", "gold")
	plain := k.mint("--owner", "umbrella", "--scope", "orders:read", "--scope", "orders:write")
	s := startExample(t, "api-keys", keyPepper, "KEYS="+k.file)
	c := s.client()
	s.ask(c, "GET", "/orders/1").want(t, 401, "missing_credentials")
	s.ask(c, "GET", "/orders/1", "X-API-Key: "+flip(gold)).want(t, 401, "invalid_api_key")
	s.ask(c, "GET", "/orders/1", "X-API-Key: "+gold, "Authorization: ApiKey "+plain).want(t, 400, "invalid_request")
	s.ask(c, "POST", "/orders", "X-API-Key: "+gold).want(t, 403, "forbidden")
	for range 8 {
		s.ask(c, "GET", "/orders/1", "X-API-Key: "+gold, "X-Partner: root").
			want(t, 200, `"partner":"acme"`, `"plan":"gold"`, `"key":"`+k.id(gold)+`"`, `"key_header":""`)
	}
	for i := range 6 {
		a := s.ask(c, "POST", "/orders", "Authorization: ApiKey "+plain)
		if want := map[bool]int{true: 200, false: 429}[i < 5]; a.StatusCode != want {
			t.Errorf("request %d of the other plan: got %d, want %d", i+1, a.StatusCode, want)
		}
	}
	k.key("revoke", k.id(gold))
	eventually(t, func() error {
		if a := s.ask(c, "GET", "/orders/1", "X-API-Key: "+gold); a.StatusCode != 401 {
			return fmt.Errorf("a revoked key: got %d", a.StatusCode)
		}
		return nil
	})
	if strings.Contains(s.log.String(), gold[18:40]) || strings.Contains(s.log.String(), plain[18:40]) {
		t.Error("a secret stands in the log")
	}
}

func TestExampleMutualTLS(t *testing.T) {
	body, err := os.ReadFile("../examples/mutual-tls/clients.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	clients := t.TempDir() + "/clients.jsonl"
	if err := os.WriteFile(clients, body, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startExample(t, "mutual-tls", "CLIENTS="+clients)
	ca := loadClientCA(t, s.path(".local/share/caddy/pki/authorities/clients"))
	as := func(name string, uris ...string) *http.Client { return s.with(ca.issue(name, nil, uris...), true, "") }
	orders := as("orders", "spiffe://example.org/orders")
	reports := as("reports", "spiffe://example.org/reports")
	s.ask(s.client(), "GET", "/health").want(t, 200, `"client":""`)
	s.ask(s.client(), "GET", "/orders/1").want(t, 401, "missing_credentials")
	s.ask(orders, "GET", "/orders/1", "X-Client: root").want(t, 200, `"client":"orders"`, `"certificate_until":"20`)
	s.ask(orders, "POST", "/orders").want(t, 200)
	s.ask(reports, "GET", "/orders/1").want(t, 200, `"client":"reports"`)
	s.ask(reports, "POST", "/orders").want(t, 403, "forbidden")
	for _, path := range []string{"/health", "/orders/1"} {
		s.ask(as("retired", "spiffe://example.org/retired"), "GET", path).want(t, 403, "client_certificate_not_allowed")
		s.ask(as("stranger", "spiffe://example.org/stranger"), "GET", path).want(t, 403, "client_certificate_not_allowed")
		s.ask(as("orders", "spiffe://example.com/orders"), "GET", path).want(t, 403, "client_certificate_not_allowed")
		s.ask(as("orders", "spiffe://example.org/orders", "spiffe://example.org/reports"), "GET", path).want(t, 401, "invalid_client_certificate")
	}
	other := newClientCA(t, "Clients of the example").issue("orders", nil, "spiffe://example.org/orders")
	if got := fetchWith(t, s.with(other, true, ""), "https://localhost:"+s.ports["PORT"]+"/health"); got != "no connection" {
		t.Errorf("with a certificate of another authority: %s", got)
	}
	if err := os.WriteFile(clients, []byte(strings.Replace(string(body), `"user":"reports","roles":["reader"]`, `"disabled":true`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if a := s.ask(reports, "GET", "/orders/1"); a.StatusCode != 403 || a.code() != "client_certificate_not_allowed" {
			return fmt.Errorf("disabled in the map: got %d", a.StatusCode)
		}
		return nil
	})
	out := failsToLoadExample(t, "mutual-tls", "CLIENTS=/nowhere/clients.jsonl")
	if !strings.Contains(out, "client_cert_auth: map /nowhere/clients.jsonl") {
		t.Errorf("without its map, it says\n%s", out)
	}
}

func TestExampleSignedWebhooks(t *testing.T) {
	acme, other := newSender(t, "acme-1"), newSender(t, "acme-1")
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir + "/" + name
	}
	s := startExample(t, "signed-webhooks", "SENDER_KEY="+write("sender.pub.pem", acme.public))
	key, event := write("sender.pem", acme.private), write("event.json", `{"event":"order.paid","id":4711}`)
	c := s.client()
	url := "https://localhost:" + s.ports["PORT"] + "/hooks/orders"
	sign := func(more ...string) []string {
		t.Helper()
		out := s.output(append([]string{"moat", "sign", "--keyid", "acme-1", "--key", key, "--headers", "--body", event, "--nonce", "random"}, append(more, url)...)...)
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	deliver := func(id string) []string {
		return sign("--header", "Idempotency-Key: "+id, "--header", "Content-Type: application/json", "--cover", "@method,@target-uri,content-type,idempotency-key")
	}
	post := func(path string, body string, header []string) *answer {
		t.Helper()
		req, err := http.NewRequest("POST", "https://localhost:"+s.ports["PORT"]+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Add(name, value)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("the request went by %s", resp.Proto)
		}
		return &answer{Response: resp, body: string(text)}
	}
	const body = `{"event":"order.paid","id":4711}`
	first := deliver("evt-1")
	post("/hooks/orders", body, first).want(t, 200, `{"accepted_from":"acme","key":"acme-1"}`)
	post("/hooks/orders", body, first).want(t, 401, "signature_replayed")
	post("/hooks/orders", body, deliver("evt-1")).want(t, 409, "idempotency_key_used")
	post("/hooks/orders", strings.Replace(body, "4711", "4712", 1), deliver("evt-2")).want(t, 401, "content_digest_mismatch")
	post("/hooks/other", body, deliver("evt-3")).want(t, 401, "invalid_signature")
	post("/hooks/orders", body, sign()).want(t, 401, "invalid_signature")
	post("/hooks/orders", body, nil).want(t, 401, "missing_credentials")
	key = write("other.pem", other.private)
	post("/hooks/orders", body, deliver("evt-4")).want(t, 401, "invalid_signature")
	if strings.Contains(s.log.String(), first[len(first)-1][20:60]) {
		t.Error("a signature stands in the log")
	}
}

func TestExampleWebhooks(t *testing.T) {
	if out := failsToLoadExample(t, "webhooks", "STRIPE_SECRET=whsec_0123456789abcdef"); !strings.Contains(out, "webhook_auth: github {env.GITHUB_SECRET}") {
		t.Errorf("without a secret, it says\n%s", out)
	}
	const secret, endpoint = "a secret of a webhook of GitHub", "whsec_a secret of an endpoint of Stripe"
	s := startExample(t, "webhooks", "GITHUB_SECRET="+secret, "STRIPE_SECRET="+endpoint)
	replay(t, s, "webhooks")
	if log := s.log.String(); strings.Contains(log, secret) || strings.Contains(log, endpoint) {
		t.Error("a secret stands in the log")
	}
}

// TestEveryExampleHasATestAndAReadme finds examples that nobody runs.
func TestEveryExampleHasATestAndAReadme(t *testing.T) {
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	for _, name := range tests {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, text...)
	}
	entries, err := os.ReadDir("../examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(string(body), `startExample(t, "`+e.Name()+`"`) {
			t.Errorf("no test starts examples/%s", e.Name())
		}
		if _, err := os.Stat(filepath.Join("..", "examples", e.Name(), "README.md")); err != nil {
			t.Error(err)
		}
		// Each log has the encoder that masks credentials. A site's log
		// without options is the default one.
		config, err := os.ReadFile(filepath.Join("..", "examples", e.Name(), "Caddyfile"))
		if err != nil {
			t.Fatal(err)
		}
		logs := regexp.MustCompile(`(?m)^\s*log\b.*\{$`).FindAll(config, -1)
		masked := regexp.MustCompile(`(?m)^\s*format moat\b`).FindAll(config, -1)
		if len(logs) == 0 || len(logs) != len(masked) {
			t.Errorf("examples/%s has %d logs, %d of them mask credentials", e.Name(), len(logs), len(masked))
		}
	}
}

// failsToLoadExample runs an example that must be refused, and returns what
// the binary said.
func failsToLoadExample(t *testing.T, name string, env ...string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "examples", name, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	return failsToLoad(t, string(body), env...)
}
