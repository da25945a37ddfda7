package jwtauth

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// contextWithStorage is a context with the storage at path.
func contextWithStorage(t *testing.T, path string) caddy.Context {
	t.Helper()
	root, err := json.Marshal(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true},
		StorageRaw: json.RawMessage(`{"module":"file_system","root":` + string(root) + `}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// mintConfig writes a JSON configuration with those providers and returns its
// path and the storage's.
func mintConfig(t *testing.T, providers string) (path, storage string) {
	t.Helper()
	dir := t.TempDir()
	storage = filepath.Join(dir, "storage")
	root, _ := json.Marshal(storage)
	path = filepath.Join(dir, "caddy.json")
	text := `{"storage":{"module":"file_system","root":` + string(root) + `},"apps":{"x":[` + providers + `]}}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, storage
}

func runToken(args ...string) (string, error) {
	cmd := tokenCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(new(bytes.Buffer))
	cmd.SetArgs(append([]string{"--new-key"}, args...))
	err := cmd.Execute()
	return strings.TrimSpace(out.String()), err
}

func TestMintedTokenFitsTheConfiguration(t *testing.T) {
	const issuer = `{"provider":"jwt_auth","issuers":[{"internal":{},"audience":["orders"],"typ":"at+jwt","roles":["/realm_access/roles"],"scopes":["/scp"],"subject":"/uid"}]}`
	path, storage := mintConfig(t, issuer)
	raw, err := runToken("--config", path, "--sub", "alice", "--role", "a", "--scope", "x", "--scope", "y", "--ttl", "1d", "--claim", "realm_access=1")
	if err == nil {
		t.Errorf("a claim was overwritten: %s", raw)
	}
	raw, err = runToken("--config", path, "--sub", "alice", "--role", "a", "--scope", "x", "--scope", "y", "--ttl", "1d", "--claim", "/realm_access/z=1")
	if err != nil {
		t.Fatal(raw, err)
	}
	p := new(Provider)
	if err := json.Unmarshal([]byte(issuer), p); err != nil {
		t.Fatal(err)
	}
	if err := p.Provision(contextWithStorage(t, storage)); err != nil {
		t.Fatal(err)
	}
	defer p.Cleanup() //nolint:errcheck // always nil
	r := get("Authorization", "Bearer "+raw)
	grant, err := p.Identify(r)
	who := grant.Principal
	if err != nil || who.ID != "alice" || !who.HasRole("a") || !who.HasScope("y") {
		t.Errorf("got %+v, %v", who, err)
	}
	p.now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	want(t, p, r, credential.Bad, credential.CodeInvalidToken)
}

func TestMintingRefusesWhatIsAmbiguous(t *testing.T) {
	const a = `{"provider":"jwt_auth","issuers":[{"internal":{},"audience":["a"]}]}`
	const b = `{"provider":"jwt_auth","issuers":[{"internal":{},"audience":["b"]}]}`
	const other = `{"provider":"jwt_auth","issuers":[{"issuer":"urn:x","internal":{}}]}`
	const none = `{"provider":"jwt_auth","issuers":[{"issuer":"https://id"}]}`
	for _, test := range []struct {
		config string
		args   []string
		want   string // part of the error, empty for none
	}{
		{a, []string{"--sub", "x"}, ""},
		{a + "," + a, []string{"--sub", "x"}, ""},
		{a + "," + b, []string{"--sub", "x"}, "--aud"},
		{a + "," + b, []string{"--sub", "x", "--aud", "b"}, ""},
		{a + "," + other, []string{"--sub", "x"}, "--issuer"},
		{a + "," + other, []string{"--sub", "x", "--issuer", "urn:x"}, ""},
		{none, []string{"--sub", "x"}, "issuer internal"},
		{a, nil, "--sub"},
		{a, []string{"--sub", "x", "--ttl", "soon"}, "--ttl"},
		{a, []string{"--sub", "x", "--ttl", "31d"}, "outlive"},
		{a, []string{"--sub", "x", "--claim", "iss=y"}, "iss"},
		{a, []string{"--sub", "x", "--claim", "/a~2=y"}, "RFC 6901"},
	} {
		path, _ := mintConfig(t, test.config)
		out, err := runToken(append([]string{"--config", path}, test.args...)...)
		switch {
		case test.want == "" && (err != nil || strings.Count(out, ".") != 2):
			t.Errorf("%v: got %s, %v", test.args, out, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%v: got %s, %v, want an error with %s", test.args, out, err, test.want)
		}
	}
}
