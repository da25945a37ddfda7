package apikeyauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const pepper = "an example of a pepper, of 32 bytes or more"

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// bench is a store with keys and a provider that reads it.
type bench struct {
	t    testing.TB
	path string
	p    *Provider
}

// run runs `caddy moat key` with those arguments on the store at path.
func run(t testing.TB, path string, args ...string) (string, error) {
	t.Helper()
	f := keyCommand()
	var out, errs strings.Builder
	f.SetOut(&out)
	f.SetErr(&errs)
	f.SilenceUsage, f.SilenceErrors = true, true
	f.SetArgs(append(args, "--store", path))
	err := f.Execute()
	return strings.TrimSpace(out.String()), err
}

func (b *bench) key(args ...string) string {
	b.t.Helper()
	out, err := run(b.t, b.path, args...)
	if err != nil {
		b.t.Fatalf("%v: %v", args, err)
	}
	return out
}

// mint makes a key of alice.
func (b *bench) mint(args ...string) string {
	b.t.Helper()
	return b.key(append([]string{"new", "--owner", "alice", "--expires", "never"}, args...)...)
}

func idOf(t testing.TB, text string) string {
	t.Helper()
	k, err := apikey.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k.ID
}

func parse(block string) (*Provider, error) {
	p := new(Provider)
	return p, p.UnmarshalCaddyfile(caddyfile.NewTestDispenser("api_key_auth {\n" + block + "\n}"))
}

// load parses a block, takes it through JSON and provisions it.
func load(t testing.TB, block string) (*Provider, error) {
	t.Helper()
	parsed, err := parse(block)
	if err != nil {
		t.Fatalf("%s\n%v", block, err)
	}
	raw, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	p := new(Provider)
	if err := caddy.StrictUnmarshalJSON(raw, p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	t.Cleanup(func() { _ = p.Cleanup() })
	return p, p.Provision(ctx)
}

// newBench makes a store with a first key, which it returns.
func newBench(t testing.TB, more string) (*bench, string) {
	t.Helper()
	t.Setenv("API_KEY_PEPPER", pepper)
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "api.keys")}
	first := b.mint("--role", "clerk", "--scope", "read", "--plan", "gold")
	p, err := load(t, "store "+b.path+"\npepper {env.API_KEY_PEPPER}\n"+more)
	if err != nil {
		t.Fatal(err)
	}
	b.p = p
	return b, first
}

// get makes a request as Caddy prepares it, from an address.
func get(client string, fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.com/orders?a=1", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header[fields[i]] = append(r.Header[fields[i]], fields[i+1])
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	reqctx.Vars(r)[caddyhttp.ClientIPVarKey] = client
	return r
}

// code returns the code of the rejection, "" where there is none.
func code(t testing.TB, p *Provider, r *http.Request) string {
	t.Helper()
	grant, err := p.Identify(r)
	who := grant.Principal
	if err == nil {
		if who == nil || who.ID == "" {
			t.Fatal("nobody is accepted")
		}
		return ""
	}
	var ce *credential.Error
	if who != nil || !errors.As(err, &ce) {
		t.Fatalf("got %v, %v", who, err)
	}
	want := map[string]int{
		"missing_credentials": 401, "invalid_api_key": 401, "invalid_request": 400, "api_key_restricted": 403,
	}[ce.Code]
	if ce.Status() != want {
		t.Errorf("%s has the status %d", ce.Code, ce.Status())
	}
	return ce.Code
}

func TestWhatTheClientSends(t *testing.T) {
	b, key := newBench(t, "")
	named, err := load(t, "store "+b.path+"\npepper {env.API_KEY_PEPPER}\nfrom header X-API-Key\nfrom query api_key\nlast_used off")
	if err != nil {
		t.Fatal(err)
	}
	wrong := key[:len(key)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(key, "0")]
	other, _, err := apikey.Mint(mustPepper(t, strings.Repeat("another pepper ", 4)), "moat", idOf(t, key))
	if err != nil {
		t.Fatal(err)
	}
	const missing, invalid, malformed = "missing_credentials", "invalid_api_key", "invalid_request"
	for name, test := range map[string]struct {
		p      *Provider
		fields []string
		query  string
		want   string
	}{
		"nothing":                     {b.p, nil, "", missing},
		"bearer":                      {b.p, []string{"Authorization", "Bearer " + key}, "", ""},
		"bearer in small letters":     {b.p, []string{"Authorization", "bearer " + key}, "", ""},
		"own scheme":                  {b.p, []string{"Authorization", "ApiKey " + key}, "", ""},
		"own scheme in capitals":      {b.p, []string{"Authorization", "APIKEY  " + key}, "", ""},
		"a token":                     {b.p, []string{"Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."}, "", missing},
		"a token in the own scheme":   {b.p, []string{"Authorization", "ApiKey eyJhbGciOiJub25lIn0.e30."}, "", invalid},
		"another scheme":              {b.p, []string{"Authorization", "Basic " + key}, "", missing},
		"a scheme that begins so":     {b.p, []string{"Authorization", "Bearers " + key}, "", missing},
		"no scheme":                   {b.p, []string{"Authorization", key}, "", missing},
		"scheme alone":                {b.p, []string{"Authorization", "ApiKey"}, "", malformed},
		"scheme and space":            {b.p, []string{"Authorization", "ApiKey  "}, "", malformed},
		"two in one field":            {b.p, []string{"Authorization", "Bearer " + key + ", Bearer " + key}, "", malformed},
		"behind a tab":                {b.p, []string{"Authorization", "Bearer\t" + key}, "", malformed},
		"behind a comma":              {b.p, []string{"Authorization", "Bearer ," + key}, "", malformed},
		"trailing space":              {b.p, []string{"Authorization", "Bearer " + key + " "}, "", malformed},
		"two fields":                  {b.p, []string{"Authorization", "Bearer " + key, "Authorization", "Bearer " + key}, "", malformed},
		"two fields, one empty":       {b.p, []string{"Authorization", "Bearer " + key, "Authorization", ""}, "", malformed},
		"quoted":                      {b.p, []string{"Authorization", `Bearer "` + key + `"`}, "", invalid},
		"wrong checksum":              {b.p, []string{"Authorization", "Bearer " + wrong}, "", invalid},
		"another pepper":              {b.p, []string{"Authorization", "Bearer " + other}, "", invalid},
		"truncated":                   {b.p, []string{"Authorization", "Bearer " + key[:len(key)-1]}, "", invalid},
		"the prefix alone":            {b.p, []string{"Authorization", "Bearer moat_"}, "", invalid},
		"in capitals":                 {b.p, []string{"Authorization", "ApiKey " + strings.ToUpper(key)}, "", invalid},
		"in small letters":            {b.p, []string{"Authorization", "Bearer " + strings.ToLower(key)}, "", invalid},
		"letters that look the same":  {b.p, []string{"Authorization", "Bearer moаt_" + key[5:]}, "", missing}, // Cyrillic а
		"the same in the own scheme":  {b.p, []string{"Authorization", "ApiKey moаt_" + key[5:]}, "", invalid},
		"very long":                   {b.p, []string{"Authorization", "Bearer " + key + strings.Repeat("A", 1<<20)}, "", invalid},
		"zero byte":                   {b.p, []string{"Authorization", "Bearer " + key + "\x00"}, "", invalid},
		"in a header nobody reads":    {b.p, []string{"X-Api-Key", key}, "", missing},
		"in a query nobody reads":     {b.p, nil, "api_key=" + key, missing},
		"named header":                {named, []string{"X-Api-Key", key}, "", ""},
		"named header, not a key":     {named, []string{"X-Api-Key", "hello"}, "", invalid},
		"named header, empty":         {named, []string{"X-Api-Key", ""}, "", malformed},
		"named header, a scheme":      {named, []string{"X-Api-Key", "Bearer " + key}, "", malformed},
		"named header twice":          {named, []string{"X-Api-Key", key, "X-Api-Key", key}, "", malformed},
		"named header, underscores":   {named, []string{"X-Api-Key", key, "X_api_key", key}, "", malformed},
		"only with underscores":       {named, []string{"X_api_key", key}, "", malformed},
		"not in Authorization then":   {named, []string{"Authorization", "Bearer " + key}, "", missing},
		"query":                       {named, nil, "a=1&api_key=" + key, ""},
		"query, escaped":              {named, nil, "api%5Fkey=" + key, ""},
		"query, empty":                {named, nil, "api_key=", malformed},
		"query twice":                 {named, nil, "api_key=" + key + "&api_key=" + key, malformed},
		"query with semicolon":        {named, nil, "a=1;api_key=" + key, malformed},
		"header and query":            {named, []string{"X-Api-Key", key}, "api_key=" + key, malformed},
		"header and another in query": {named, []string{"X-Api-Key", key}, "api_key=x", malformed},
	} {
		r := get("192.0.2.1", test.fields...)
		r.URL.RawQuery = test.query
		if got := code(t, test.p, r); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func mustPepper(t testing.TB, text string) *apikey.Pepper {
	t.Helper()
	p, err := apikey.NewPepper([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKeyIsItsOwner(t *testing.T) {
	b, key := newBench(t, "")
	r := get("192.0.2.1", "Authorization", "Bearer "+key)
	user, ok, err := b.p.Authenticate(httptest.NewRecorder(), r)
	if err != nil || !ok || user.ID != "alice" || user.Metadata["plan"] != "gold" || user.Metadata["roles"] != "clerk" {
		t.Fatalf("got %+v, %t, %v", user, ok, err)
	}
	for name, want := range map[string]any{
		"id": "alice", "roles": "clerk", "scopes": "read", "plan": "gold", "claims.key_id": idOf(t, key), "claims.plan": "gold", "claims.sub": "alice",
	} {
		if got, _ := reqctx.Replacer(r).Get("http.auth.user." + name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if p := reqctx.Principal(r); p.Kind != "api_key" || p.KeyID != idOf(t, key) {
		t.Errorf("got %+v", p)
	}
	w := httptest.NewRecorder()
	_, ok, err = b.p.Authenticate(w, get("", "Authorization", "Bearer "+key+"x"))
	if ok || err != nil || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), `ApiKey realm="restricted", error="invalid_api_key"`) {
		t.Errorf("got %t, %v, %v", ok, err, w.Header())
	}
}

func TestRestrictionsOfTheKey(t *testing.T) {
	b, _ := newBench(t, "")
	here := b.mint("--cidr", "203.0.113.0/24", "--cidr", "2001:db8::1")
	read := b.mint("--method", "GET", "--method", "OPTIONS")
	await(t, b, here)
	await(t, b, read)
	for _, test := range []struct{ key, client, method, want string }{
		{here, "203.0.113.9", "DELETE", ""},
		{here, "2001:db8::1", "GET", ""},
		{here, "::ffff:203.0.113.9", "GET", ""},
		{here, "203.0.114.9", "GET", CodeRestricted},
		{here, "2001:db8::2", "GET", CodeRestricted},
		{here, "", "GET", CodeRestricted},
		{here, "not an address", "GET", CodeRestricted},
		{read, "", "GET", ""},
		{read, "", "OPTIONS", ""},
		{read, "", "HEAD", CodeRestricted},
		{read, "", "get", CodeRestricted},
		{read, "", "POST", CodeRestricted},
	} {
		r := get(test.client, "Authorization", "Bearer "+test.key)
		r.Method = test.method
		if got := code(t, b.p, r); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
	// The record tells what the response does not.
	_, err := b.p.Identify(get("192.0.2.1", "Authorization", "Bearer "+here))
	var ce *credential.Error
	if !errors.As(err, &ce) || ce.Rule != "key "+idOf(t, here)+": address" || strings.Contains(ce.Error(), "address") {
		t.Errorf("got %+v", ce)
	}
	// Without Caddy's table there is no address.
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.RemoteAddr = "203.0.113.9:1234"
	r.Header.Set("Authorization", "Bearer "+here)
	if got := code(t, b.p, r); got != CodeRestricted {
		t.Errorf("got %q", got)
	}
}

// eventually waits for what the store's watch will bring about.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// await waits until the provider knows a key that was just made.
func await(t testing.TB, b *bench, key string) {
	t.Helper()
	eventually(t, "the key is not known", func() bool { _, err := b.p.store.Check(key, now); return err == nil })
}

func TestCommandsTakeEffectWhileRunning(t *testing.T) {
	b, key := newBench(t, "")
	id := idOf(t, key)
	b.p.now = func() time.Time { return time.Now().Add(time.Minute) }
	is := func(key, want string) {
		t.Helper()
		eventually(t, "the key "+key[:17]+" is not "+want, func() bool {
			return code(t, b.p, get("", "Authorization", "ApiKey "+key)) == want
		})
	}
	is(key, "")
	b.key("disable", id)
	is(key, CodeInvalid)
	b.key("enable", id)
	is(key, "")
	second := b.key("rotate", id, "--overlap", "1h")
	is(second, "")
	is(key, "")
	if _, err := run(t, b.path, "rotate", id); err == nil {
		t.Error("a third secret was made while two are good")
	}
	third := b.key("rotate", id, "--overlap", "0s")
	is(third, "")
	is(second, CodeInvalid)
	is(key, CodeInvalid)
	if out := b.key("revoke", id); out != "The key "+id+" is revoked." {
		t.Errorf("got %s", out)
	}
	is(third, CodeInvalid)
	for _, name := range []string{"enable", "rotate"} {
		if _, err := run(t, b.path, name, id); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("%s of a revoked key: %v", name, err)
		}
	}
	_, err := b.p.Identify(get("", "Authorization", "ApiKey "+third))
	var ce *credential.Error
	if !errors.As(err, &ce) || ce.Rule != "key "+id || !strings.Contains(ce.Detail, "revoked") {
		t.Errorf("got %+v", ce)
	}
}

func TestBadStoreLeavesInForceWhatWasRead(t *testing.T) {
	b, key := newBench(t, "")
	if err := os.WriteFile(b.path, []byte("garbled"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file is not noticed", func() bool { return b.p.store.Fault() != nil })
	if got := code(t, b.p, get("", "Authorization", "Bearer "+key)); got != "" {
		t.Errorf("got %q", got)
	}
	// A configuration that is loaded anew is refused, as if it were the first.
	if _, err := load(t, "store "+b.path+"\npepper {env.API_KEY_PEPPER}"); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("got %v", err)
	}
	if _, err := run(t, b.path, "new", "--owner", "a", "--expires", "never"); err == nil {
		t.Error("a garbled store was written over")
	}
}

func TestReloadKeepsTheStore(t *testing.T) {
	b, _ := newBench(t, "")
	again, err := load(t, "store "+b.path+"\npepper {env.API_KEY_PEPPER}\nstrip")
	if err != nil || again.store != b.p.store {
		t.Errorf("got another store, %v", err)
	}
	if err := b.p.Cleanup(); err != nil {
		t.Fatal(err)
	}
	late := b.mint()
	eventually(t, "the store is not watched any longer", func() bool { _, err := again.store.Check(late, now); return err == nil })
}

func TestMistakesAtLoadAreRefused(t *testing.T) {
	b, _ := newBench(t, "")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("MOAT_SHORT", "ShortSecretValue")
	t.Setenv("MOAT_EMPTY", "")
	t.Setenv("MOAT_OTHER", "another pepper of at least 32 bytes is here")
	good := "pepper {env.API_KEY_PEPPER}\n"
	for _, test := range []struct{ block, want string }{
		{"store " + b.path + "\npepper {env.MOAT_SHORT}", "pepper {env.MOAT_SHORT}: it has 16 bytes"},
		{"store " + b.path + "\npepper {env.MOAT_EMPTY}", "{env.MOAT_EMPTY}"},
		{"store " + b.path + "\npepper {env.MOAT_NOT_SET}", "{env.MOAT_NOT_SET}"},
		{"store " + b.path + "\npepper {env.MOAT_OTHER}", "another pepper"},
		{"store " + b.path + "\npepper {file." + write("blank", "\n") + "}", "blank"},
		{"store " + b.path + "\npepper {file." + dir + "/none}", "none"},
		{good + "store " + dir + "/none.keys", "none.keys"},
		{good + "store {env.MOAT_NOT_SET}", "MOAT_NOT_SET"},
		{good + "store " + write("empty.keys", ""), "empty"},
		{good + "store " + write("garbled.keys", "{}\n"), "line 1"},
		{good + "store " + dir, dir},
	} {
		_, err := load(t, test.block)
		if err == nil || !strings.HasPrefix(err.Error(), "api_key_auth: ") || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "ShortSecret") {
			t.Errorf("%s\ngot %v, want %q", test.block, err, test.want)
		}
	}
	path := write("pepper", pepper+"\r\n")
	if _, err := load(t, "store "+b.path+"\npepper {file."+path+"}"); err != nil {
		t.Errorf("a pepper in a file with a line break: %v", err)
	}
	for _, text := range []string{"", pepper, "{env.A}{env.B}", "x{env.A}", "{system.hostname}", "{env.A:x}", "{time.now}", "env.A"} {
		if _, err := loadPepper(text); !errors.Is(err, errPepper) || text != "" && strings.Contains(err.Error(), text+" ") {
			t.Errorf("pepper %q: %v", text, err)
		}
	}
}

func TestMistakesInTheBlockAreRefused(t *testing.T) {
	const good = "store a\npepper {env.A}\n"
	for _, test := range []struct{ block, want string }{
		{"", "needs a store and a pepper"},
		{"store a", "needs a store and a pepper"},
		{"pepper {env.A}", "needs a store and a pepper"},
		{"store", "takes one argument"},
		{"store \"\"", "takes one argument"},
		{"store a b", "takes one argument"},
		{"store a\nstore b", "already specified"},
		{"store a\npepper 0123456789abcdef0123456789abcdef", "must not stand in the configuration"},
		{"store a\npepper {$MOAT_NOT_SET}", "takes one argument"},
		{good + "pepper {env.B}", "already specified"},
		{good + "from", "from takes"},
		{good + "from header", "from takes"},
		{good + "from cookie id", "not supported"},
		{good + "from body x", "from takes"},
		{good + "from query a b", "from takes"},
		{good + "from header Authorization", "needs a scheme"},
		{good + "from header Cookie", "cannot stand in"},
		{good + "from header \"a b\"", "cannot be one"},
		{good + "from header X-Key\nfrom header x-key", "already specified"},
		{good + "from header Authorization Bearer\nfrom header authorization bearer", "already specified"},
		{good + "from query a\nfrom query a", "already specified"},
		{good + "realm", "takes one argument"},
		{good + "last_used", "takes one argument: off"},
		{good + "last_used on", "last_used 'on': write off"},
		{good + "forward sub", "forward takes"},
		{good + "forward sub Host", "HTTP itself needs"},
		{good + "forward sub X-A\nforward plan x-a", "already specified"},
		{good + "strip yes", "takes no arguments"},
		{good + "strip\nstrip", "already specified"},
		{good + "strip {\n\tx\n}", "a block is not expected"},
		{good + "optional 1", "takes no arguments"},
		{good + "preflight 1", "takes no arguments"},
		{good + "key abc", "caddy moat key new"},
		{good + "hash sha256", "unrecognized subdirective 'hash'"},
	} {
		if _, err := parse(test.block); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%s\ngot %v, want %q", test.block, err, test.want)
		}
	}
	if err := new(Provider).UnmarshalCaddyfile(caddyfile.NewTestDispenser("api_key_auth internal {\n" + good + "}")); err == nil {
		t.Error("an argument is accepted")
	}
}

func TestKeyGoesNoFurtherWithStrip(t *testing.T) {
	b, key := newBench(t, "strip")
	named, err := load(t, "store "+b.path+"\npepper {env.API_KEY_PEPPER}\nfrom header X-API-Key\nfrom query api_key\nstrip")
	if err != nil {
		t.Fatal(err)
	}
	r := get("", "Authorization", "Bearer "+key, "X-Api-Key", "theirs")
	b.p.Clean(r)
	if len(r.Header["Authorization"]) > 0 || r.Header.Get("X-Api-Key") != "theirs" {
		t.Errorf("got %v", r.Header)
	}
	for _, value := range []string{"Bearer eyJ", "Basic x", "Bearer"} { // not ours
		r := get("", "Authorization", value)
		if b.p.Clean(r); r.Header.Get("Authorization") != value {
			t.Errorf("%s is gone", value)
		}
	}
	r = get("", "Authorization", "Bearer "+key, "X-Api-Key", "bad one")
	r.URL.RawQuery = "b=%20&api%5fkey=1&c&api_key=2"
	if named.Clean(r); len(r.Header["X-Api-Key"]) > 0 || r.URL.RawQuery != "b=%20&c" || len(r.Header["Authorization"]) == 0 {
		t.Errorf("got %v, %s", r.Header, r.URL.RawQuery)
	}
	plain, key := newBench(t, "")
	r = get("", "Authorization", "Bearer "+key)
	if plain.p.Clean(r); len(r.Header["Authorization"]) == 0 {
		t.Error("the key is gone without strip")
	}
}

func TestPlacesAndRecognition(t *testing.T) {
	b, key := newBench(t, "from header Authorization Bearer\nfrom header X-API-Key")
	for name, test := range map[string]struct {
		fields     []string
		places     []string
		recognized string
	}{
		"nothing": {nil, nil, ""},
		"token":   {[]string{"Authorization", "Bearer eyJ"}, nil, ""},
		"key":     {[]string{"Authorization", "Bearer " + key}, []string{"header Authorization"}, "header Authorization"},
		"named":   {[]string{"X-Api-Key", key}, []string{"header X-Api-Key"}, ""},
		"both":    {[]string{"Authorization", "Bearer " + key, "X-Api-Key", key}, []string{"header Authorization", "header X-Api-Key"}, "header Authorization"},
	} {
		r := get("", test.fields...)
		var places []string
		at := ""
		for _, p := range b.p.Places(r) {
			places = append(places, p.At)
			if p.Known && at == "" {
				at = p.At
			}
		}
		if !slices.Equal(places, test.places) || at != test.recognized {
			t.Errorf("%s: got %v, %s", name, places, at)
		}
	}
}

func TestChallenges(t *testing.T) {
	b, _ := newBench(t, "realm \"a \\\" b\"")
	bearerOnly, err := load(t, "store "+b.path+"\npepper {env.API_KEY_PEPPER}\nfrom header Authorization bearer")
	if err != nil {
		t.Fatal(err)
	}
	bad := &credential.Error{Kind: credential.Bad, Code: CodeInvalid, Detail: "d"}
	restrict := &credential.Error{Kind: credential.Insufficient, Code: CodeRestricted}
	for _, test := range []struct {
		p    *Provider
		why  *credential.Error
		want string
	}{
		{b.p, nil, `ApiKey realm="a \" b"`},
		{b.p, credential.ErrMissing, `ApiKey realm="a \" b"`},
		{b.p, bad, `ApiKey realm="a \" b", error="invalid_api_key", error_description="d"`},
		{bearerOnly, bad, `Bearer realm="restricted", error="invalid_token", error_description="d"`},
		{bearerOnly, restrict, `Bearer realm="restricted", error="insufficient_scope"`},
	} {
		if got := test.p.Challenges(test.why); !slices.Equal(got, []string{test.want}) {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestLastUseIsWrittenInTheEnd(t *testing.T) {
	b, key := newBench(t, "")
	if got := code(t, b.p, get("", "Authorization", "Bearer "+key)); got != "" {
		t.Fatal(got)
	}
	refused := b.mint("--method", "PUT")
	await(t, b, refused)
	if got := code(t, b.p, get("", "Authorization", "Bearer "+refused)); got != CodeRestricted {
		t.Fatal(got)
	}
	if err := b.p.Cleanup(); err != nil {
		t.Fatal(err)
	}
	used, err := apikey.LoadUsed(apikey.UsedPath(b.path))
	if err != nil || used[idOf(t, key)].IsZero() || len(used) != 1 {
		t.Errorf("got %v, %v", used, err)
	}
	if out := b.key("list"); strings.Contains(strings.Split(out, "\n")[1], " -  gold") {
		t.Errorf("got\n%s", out)
	}
}
