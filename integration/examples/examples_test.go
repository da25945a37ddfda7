package examples

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// startExample runs examples/<name>/Caddyfile as it stands, from the root of
// the repository as its README says, on free ports and with its audit trail in
// the test's directory.
func startExample(t testing.TB, name string, env ...string) *harness.Server {
	t.Helper()
	s := harness.Prepare(t, "", env...)
	s.Env = append(s.Env, "AUDIT="+s.Path(name+".audit"))
	s.WorkDir, s.Config = harness.Root(t), "examples/"+name+"/Caddyfile"
	s.Run()
	s.Wait()
	s.Ready("PORT", "localhost")
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
func replay(t *testing.T, s *harness.Server, name string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the README's commands are for a POSIX shell")
	}
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	file := filepath.Join(harness.Root(t), "examples", name, "README.md")
	all := steps(t, file)
	if len(all) == 0 {
		t.Fatalf("%s shows no commands", file)
	}

	// The README speaks of the ports and places of a first run.
	here := strings.NewReplacer("8443", s.Ports["PORT"], name+".audit", s.Path(name+".audit"))
	var script strings.Builder
	for i, st := range all {
		fmt.Fprintf(&script, "%s\necho; echo @@@%d\n", here.Replace(st.command), i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*harness.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Dir = s.WorkDir
	cmd.Env = append(s.Env, "MOAT_BINARY="+s.Binary)
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

func TestExampleMCPServerReadmeReplays(t *testing.T) {
	s := startExample(t, "mcp-server", "UPSTREAM_PORT="+harness.FreePorts(t, 1)[0])
	replay(t, s, "mcp-server")
}

func TestExampleContractReadmeReplays(t *testing.T) {
	s := startExample(t, "contract", "UPSTREAM_PORT="+harness.FreePorts(t, 1)[0])
	replay(t, s, "contract")
}

func TestExampleKeycloakStyle(t *testing.T) {
	signer := harness.NewSigner(t)
	idp := harness.StartProvider(t, "")
	idp.Keys["one"] = &signer.Key.PublicKey
	issuer := idp.URL + "/realms/acme"
	s := startExample(t, "keycloak-style", "ISSUER="+issuer)
	c := s.Client()
	token := func(changes map[string]any) string {
		base := map[string]any{
			"iss": issuer, "aud": []string{"account", "orders-api"}, "roles": nil,
			"email": "alice@acme.example", "email_verified": true, "teams": []string{"north"},
			"realm_access": map[string]any{"roles": []string{"offline_access", "orders-read"}},
		}
		for k, v := range changes {
			base[k] = v
		}
		return "Authorization: Bearer " + signer.Sign(map[string]any{"kid": "one"}, harness.Claims(base))
	}
	s.Send(c, "GET", "/orders/1").Want(t, 401)
	s.Send(c, "GET", "/orders/1", token(nil), "X-User-Id: root").
		Want(t, 200, `"user":"alice"`, `"email":"alice@acme.example"`, `"authorization":""`)
	s.Send(c, "DELETE", "/orders/1", token(nil)).Want(t, 403)
	admin := map[string]any{"resource_access": map[string]any{"orders-api": map[string]any{"roles": []string{"orders-admin"}}}}
	s.Send(c, "DELETE", "/orders/1", token(admin)).Want(t, 200)
	s.Send(c, "GET", "/teams/north/report", token(admin)).Want(t, 200)
	s.Send(c, "GET", "/teams/south/report", token(admin)).Want(t, 403)
	s.Send(c, "GET", "/orders/1", token(map[string]any{"email_verified": false})).Want(t, 401)
	s.Send(c, "GET", "/orders/1", token(map[string]any{"aud": "account"})).Want(t, 401)
}

func TestExampleSharedSecret(t *testing.T) {
	const shared = "an example of a secret of 32 bytes or more"
	out := failsToLoadExample(t, "shared-secret")
	if !strings.Contains(out, "API_SECRET") || !strings.Contains(out, "jwt_auth") {
		t.Errorf("without a secret, the error names neither directive nor source:\n%s", out)
	}
	s := startExample(t, "shared-secret", "API_SECRET="+shared)
	c := s.Client()
	token := func(changes map[string]any) string {
		all := map[string]any{"iss": nil, "aud": "internal-api", "iat": time.Now().Unix(), "scope": "jobs:read jobs:write", "roles": nil}
		for k, v := range changes {
			all[k] = v
		}
		signed := harness.HS256(t, shared, harness.Claims(all))
		return "Authorization: Bearer " + signed
	}
	s.Send(c, "GET", "/status").Want(t, 401)
	s.Send(c, "GET", "/status", token(map[string]any{"scope": nil})).Want(t, 200, "ok")
	s.Send(c, "POST", "/jobs", token(nil)).Want(t, 200, `"user":"alice"`)
	s.Send(c, "POST", "/jobs", token(map[string]any{"scope": "jobs:read"})).Want(t, 403)
	s.Send(c, "DELETE", "/jobs/7", token(nil)).Want(t, 200)
	s.Send(c, "GET", "/status", token(map[string]any{"iat": time.Now().Add(-2 * time.Hour).Unix()})).Want(t, 401)
	s.Send(c, "GET", "/status", token(map[string]any{"aud": "another"})).Want(t, 401)
	if strings.Contains(s.Log.String(), shared) {
		t.Error("the secret stands in the log")
	}
}

func TestExamplePartnerAPI(t *testing.T) {
	s := startExample(t, "partner-api")
	c := s.Client()
	partner := "Authorization: Bearer " + s.Token("--sub", "acme", "--role", "partner")
	staff := "Authorization: Bearer " + s.Token("--sub", "sam", "--role", "staff")
	a := s.Send(c, "GET", "/shipments/7", partner)
	a.Want(t, 200, `"hs_code":"8471.30"`, `"phone":"138****8000"`, `"birthday":null`, `"id":7`)
	for _, hidden := range []string{
		"Baifeng", "13800138000", "dao@dali.example", "Cangshan Road 12", "1990-04-01", "C-1029", "DE89370400440532013000",
		"129.95", "VIP", "4111 1111 1111 1111", "203.0.113.77", "password",
	} {
		if strings.Contains(a.Body, hidden) {
			t.Errorf("a partner sees %q: %s", hidden, a.Body)
		}
	}
	s.Send(c, "GET", "/shipments/7", staff).Want(t, 200, "Dao Baifeng", "13800138000", "129.95")
	if a := s.Send(c, "GET", "/shipments/8", partner); a.StatusCode < 500 || strings.Contains(a.Body, "app.py") {
		t.Errorf("an upstream's error page leaks: %d %s", a.StatusCode, a.Body)
	}
	s.Send(c, "POST", "/shipments/7", partner).Want(t, 403)
	s.Stop()
	if out, err := s.Caddy("moat", "audit", "verify", s.Path("partner-api.audit")); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

func TestExampleExistingBasicAuth(t *testing.T) {
	s := startExample(t, "existing-basic-auth")
	c := s.Client()
	s.Send(c, "GET", "/employees/3").Want(t, 401)
	s.Send(c, "GET", "/employees/3", harness.Basic("alice", "builder")).Want(t, 401)
	s.Send(c, "GET", "/employees/3", harness.Basic("alice", "wonderland")).Want(t, 200, "DE89370400440532013000")
	a := s.Send(c, "GET", "/employees/3", harness.Basic("bob", "builder"))
	a.Want(t, 200, "3000", "Carol")
	if strings.Contains(a.Body, "DE8937") || strings.Contains(a.Body, "4200") {
		t.Errorf("bob sees too much: %s", a.Body)
	}
	s.Send(c, "PUT", "/employees/3", harness.Basic("bob", "builder")).Want(t, 403)
	s.Send(c, "PUT", "/employees/3", harness.Basic("alice", "wonderland")).Want(t, 200)
	s.Stop()
	if n := harness.CountRecords(t, s.Path("existing-basic-auth.audit"), "bob"); n == 0 {
		t.Error("the trail does not name bob")
	}
}

func TestExamplePlanLimits(t *testing.T) {
	s := startExample(t, "plan-limits")
	c := s.Client()
	bearer := func(sub, role string) string {
		return "Authorization: Bearer " + s.Token("--sub", sub, "--role", role)
	}
	ann, bob, eve := bearer("ann", "free"), bearer("bob", "gold"), bearer("eve", "editor")
	s.Send(c, "GET", "/quotes").Want(t, 401)
	s.Send(c, "GET", "/quotes/live", ann).Want(t, 403)
	for i := range 59 {
		if a := s.Send(c, "GET", "/quotes", ann); a.StatusCode != 200 || a.Header.Get("X-Plan") != "" {
			t.Fatalf("request %d of the free plan: %d, plan %q", i+2, a.StatusCode, a.Header.Get("X-Plan"))
		}
	}
	a := s.Send(c, "GET", "/quotes", ann)
	if a.Want(t, 429); a.Header.Get("Retry-After") == "" {
		t.Error("the refusal does not say when to try again")
	}
	for i := range 61 {
		if a := s.Send(c, "GET", "/quotes/live", bob); a.StatusCode != 200 || a.Header.Get("X-Plan") != "gold" {
			t.Fatalf("request %d of the gold plan: %d, plan %q", i+1, a.StatusCode, a.Header.Get("X-Plan"))
		}
	}
	// The zone of gold is by role: what inherits it in the policy is not in it.
	a = s.Send(c, "GET", "/quotes", eve)
	a.Want(t, 200, `"edit":"/quotes"`)
	if a := s.Send(c, "GET", "/quotes", bearer("dan", "free")); strings.Contains(a.Body, "edit") {
		t.Error("somebody who may not edit gets the page of editors")
	}
}

func TestExampleAPIKeys(t *testing.T) {
	out := failsToLoadExample(t, "api-keys")
	if !strings.Contains(out, "API_KEY_PEPPER") || !strings.Contains(out, "api_key_auth") {
		t.Errorf("without a pepper, the error names neither directive nor source:\n%s", out)
	}
	k, gold := harness.NewKeyStore(t, "--scope", "orders:read", "--plan", "gold")
	plain := k.Mint("--owner", "umbrella", "--scope", "orders:read", "--scope", "orders:write")
	s := startExample(t, "api-keys", harness.KeyPepper, "KEYS="+k.File)
	c := s.Client()
	s.Send(c, "GET", "/orders/1").Want(t, 401, "missing_credentials")
	s.Send(c, "GET", "/orders/1", "X-API-Key: "+harness.Flip(gold)).Want(t, 401, "invalid_api_key")
	s.Send(c, "GET", "/orders/1", "X-API-Key: "+gold, "Authorization: ApiKey "+plain).Want(t, 400, "invalid_request")
	s.Send(c, "POST", "/orders", "X-API-Key: "+gold).Want(t, 403, "forbidden")
	for range 8 {
		s.Send(c, "GET", "/orders/1", "X-API-Key: "+gold, "X-Partner: root").
			Want(t, 200, `"partner":"acme"`, `"plan":"gold"`, `"key":"`+k.ID(gold)+`"`, `"key_header":""`)
	}
	for i := range 6 {
		a := s.Send(c, "POST", "/orders", "Authorization: ApiKey "+plain)
		if want := map[bool]int{true: 200, false: 429}[i < 5]; a.StatusCode != want {
			t.Errorf("request %d of the other plan: got %d, want %d", i+1, a.StatusCode, want)
		}
	}
	k.Command("revoke", k.ID(gold))
	harness.Eventually(t, func() error {
		if a := s.Send(c, "GET", "/orders/1", "X-API-Key: "+gold); a.StatusCode != 401 {
			return fmt.Errorf("a revoked key: got %d", a.StatusCode)
		}
		return nil
	})
	if strings.Contains(s.Log.String(), gold[18:40]) || strings.Contains(s.Log.String(), plain[18:40]) {
		t.Error("a secret stands in the log")
	}
}

func TestExampleMutualTLS(t *testing.T) {
	body, err := os.ReadFile(filepath.Join(harness.Root(t), "examples", "mutual-tls", "clients.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	clients := t.TempDir() + "/clients.jsonl"
	if err := os.WriteFile(clients, body, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startExample(t, "mutual-tls", "CLIENTS="+clients)
	ca := harness.LoadClientCA(t, s.Path(".local/share/caddy/pki/authorities/clients"))
	as := func(name string, uris ...string) *http.Client {
		return s.ClientWith(ca.Issue(name, nil, uris...), true, "")
	}
	orders := as("orders", "spiffe://example.org/orders")
	reports := as("reports", "spiffe://example.org/reports")
	s.Send(s.Client(), "GET", "/health").Want(t, 200, `"client":""`)
	s.Send(s.Client(), "GET", "/orders/1").Want(t, 401, "missing_credentials")
	s.Send(orders, "GET", "/orders/1", "X-Client: root").Want(t, 200, `"client":"orders"`, `"certificate_until":"20`)
	s.Send(orders, "POST", "/orders").Want(t, 200)
	s.Send(reports, "GET", "/orders/1").Want(t, 200, `"client":"reports"`)
	s.Send(reports, "POST", "/orders").Want(t, 403, "forbidden")
	for _, path := range []string{"/health", "/orders/1"} {
		s.Send(as("retired", "spiffe://example.org/retired"), "GET", path).Want(t, 403, "client_certificate_not_allowed")
		s.Send(as("stranger", "spiffe://example.org/stranger"), "GET", path).Want(t, 403, "client_certificate_not_allowed")
		s.Send(as("orders", "spiffe://example.com/orders"), "GET", path).Want(t, 403, "client_certificate_not_allowed")
		s.Send(as("orders", "spiffe://example.org/orders", "spiffe://example.org/reports"), "GET", path).Want(t, 401, "invalid_client_certificate")
	}
	other := harness.NewClientCA(t, "Clients of the example").Issue("orders", nil, "spiffe://example.org/orders")
	if got := harness.Fetch(t, s.ClientWith(other, true, ""), "https://localhost:"+s.Ports["PORT"]+"/health"); got != "no connection" {
		t.Errorf("with a certificate of another authority: %s", got)
	}
	if err := os.WriteFile(clients, []byte(strings.Replace(string(body), `"user":"reports","roles":["reader"]`, `"disabled":true`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, func() error {
		if a := s.Send(reports, "GET", "/orders/1"); a.StatusCode != 403 || a.Code() != "client_certificate_not_allowed" {
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
	acme, other := harness.NewSender(t, "acme-1"), harness.NewSender(t, "acme-1")
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir + "/" + name
	}
	s := startExample(t, "signed-webhooks", "SENDER_KEY="+write("sender.pub.pem", acme.Public))
	key, event := write("sender.pem", acme.Private), write("event.json", `{"event":"order.paid","id":4711}`)
	c := s.Client()
	url := "https://localhost:" + s.Ports["PORT"] + "/hooks/orders"
	sign := func(more ...string) []string {
		t.Helper()
		out := s.Output(append([]string{"moat", "sign", "--keyid", "acme-1", "--key", key, "--headers", "--body", event, "--nonce", "random"}, append(more, url)...)...)
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	deliver := func(id string) []string {
		return sign("--header", "Idempotency-Key: "+id, "--header", "Content-Type: application/json", "--cover", "@method,@target-uri,content-type,idempotency-key")
	}
	post := func(path string, body string, header []string) *harness.Response {
		t.Helper()
		a := s.SendBody(c, "PORT", "POST", path, strings.NewReader(body), header...)
		if a.ProtoMajor != 2 {
			t.Errorf("the request went by %s", a.Proto)
		}
		return a
	}
	const body = `{"event":"order.paid","id":4711}`
	first := deliver("evt-1")
	post("/hooks/orders", body, first).Want(t, 200, `{"accepted_from":"acme","key":"acme-1"}`)
	post("/hooks/orders", body, first).Want(t, 401, "signature_replayed")
	post("/hooks/orders", body, deliver("evt-1")).Want(t, 409, "idempotency_key_used")
	post("/hooks/orders", strings.Replace(body, "4711", "4712", 1), deliver("evt-2")).Want(t, 401, "content_digest_mismatch")
	post("/hooks/other", body, deliver("evt-3")).Want(t, 401, "invalid_signature")
	post("/hooks/orders", body, sign()).Want(t, 401, "invalid_signature")
	post("/hooks/orders", body, nil).Want(t, 401, "missing_credentials")
	key = write("other.pem", other.Private)
	post("/hooks/orders", body, deliver("evt-4")).Want(t, 401, "invalid_signature")
	if strings.Contains(s.Log.String(), first[len(first)-1][20:60]) {
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
	if log := s.Log.String(); strings.Contains(log, secret) || strings.Contains(log, endpoint) {
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
	entries, err := os.ReadDir(filepath.Join(harness.Root(t), "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(string(body), `startExample(t, "`+e.Name()+`"`) {
			t.Errorf("no test starts examples/%s", e.Name())
		}
		if _, err := os.Stat(filepath.Join(harness.Root(t), "examples", e.Name(), "README.md")); err != nil {
			t.Error(err)
		}
		// Each log has the encoder that masks credentials. A site's log
		// without options is the default one.
		config, err := os.ReadFile(filepath.Join(harness.Root(t), "examples", e.Name(), "Caddyfile"))
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
	body, err := os.ReadFile(filepath.Join(harness.Root(t), "examples", name, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	return harness.FailsToLoad(t, string(body), env...)
}
