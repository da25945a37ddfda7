package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

const (
	callback = "https://app.example.com/callback"
	password = "correct horse battery"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	alicesIP = "192.0.2.1"
)

var challenge = func() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64url.EncodeToString(sum[:])
}()

// app is a public client with logins.
func app() *Client {
	return &Client{
		ID: "app", Grants: []string{GrantCode, GrantRefresh}, Scopes: []string{"orders:read", "orders:write"}, Audiences: []string{orders, stock},
		Redirects: []string{callback}, Public: true,
	}
}

// web is a confidential one.
func web() *Client {
	c := app()
	c.ID, c.Public = "web", false
	return c
}

// withUsers gives a server users: alice, and bob who has one-time codes.
func (f *fixture) withUsers(t testing.TB) (bobsKey []byte, recovery []string) {
	t.Helper()
	secret := []byte(strings.Repeat("s", 32))
	vault, err := NewVault(secret)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := NewPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	now := f.clock.Now().Add(-time.Hour)
	alice := &User{ID: "alice", Created: now, Changed: now, Password: hash, Roles: []string{"clerk"}}
	bob := &User{ID: "bob", Created: now, Changed: now, Password: hash}
	text, recovery, err := vault.NewTOTP(bob)
	if err != nil {
		t.Fatal(err)
	}
	if bobsKey, err = base32text.DecodeString(text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users.jsonl")
	if err := EditUsers(path, func(file *UserFile) error { file.Users = []*User{alice, bob}; return nil }); err != nil {
		t.Fatal(err)
	}
	if f.Users, err = OpenUsers(path, vault, func(filewatch.Event) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Users.Close)
	if f.State, err = NewState(f.storage, iss, secret); err != nil {
		t.Fatal(err)
	}
	f.RefreshLifetime = 30 * 24 * time.Hour
	return bobsKey, recovery
}

func ask(t testing.TB, pairs ...string) *Form {
	t.Helper()
	all := map[string]string{
		"response_type": "code", "client_id": "app", "redirect_uri": callback, "code_challenge": challenge, "code_challenge_method": "S256",
		"state": "xyz", "scope": "orders:read", "resource": orders,
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	values := url.Values{}
	for name, value := range all {
		if value != "" {
			values.Set(name, value)
		}
	}
	form, err := ParseQuery(values.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return form
}

// login makes a code for alice.
func (f *fixture) login(t testing.TB, pairs ...string) string {
	t.Helper()
	a, _, err := f.Authorize(ask(t, pairs...))
	if err != nil {
		t.Fatal(err)
	}
	user, acr, err := f.Login(t.Context(), alicesIP, "alice", password, "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := f.Approve(t.Context(), a, user, acr)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func redeem(t testing.TB, text string, pairs ...string) *Request {
	t.Helper()
	all := []string{"grant_type", "authorization_code", "code", text, "redirect_uri", callback, "code_verifier", verifier, "client_id", "app"}
	for i := 0; i < len(pairs); i += 2 {
		for j := 0; j < len(all); j += 2 {
			if all[j] == pairs[i] {
				all[j+1] = pairs[i+1]
			}
		}
	}
	return request(t, all...)
}

func renewal(t testing.TB, text string, pairs ...string) *Request {
	t.Helper()
	return request(t, append([]string{"grant_type", "refresh_token", "refresh_token", text, "client_id", "app"}, pairs...)...)
}

func (f *fixture) tokens(t testing.TB) *Response {
	t.Helper()
	resp, err := f.Token(t.Context(), redeem(t, f.login(t)))
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return resp
}

func TestUserLogsInAndRefreshes(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	a, c, err := f.Authorize(ask(t))
	if err != nil || c.ID != "app" {
		t.Fatal(c, err)
	}
	if got := f.Location(a, map[string]string{"code": "c"}); got != callback+"?code=c&iss="+url.QueryEscape(iss)+"&state=xyz" {
		t.Errorf("location: %s", got)
	}
	resp := f.tokens(t)
	got := claims(t, resp.AccessToken)
	if got["sub"] != "alice" || got["client_id"] != "app" || got["aud"] != orders || got["scope"] != "orders:read" || got["acr"] != "1" ||
		got["auth_time"] != float64(f.clock.Now().Unix()) || fmt.Sprint(got["roles"]) != "[clerk]" {
		t.Errorf("got %v", got)
	}
	for range 3 {
		f.clock.add(time.Hour)
		next, err := f.Token(t.Context(), renewal(t, resp.RefreshToken))
		if err != nil {
			t.Fatal(err)
		}
		if next.RefreshToken == resp.RefreshToken || claims(t, next.AccessToken)["auth_time"] != got["auth_time"] {
			t.Errorf("got %+v", next)
		}
		resp = next
	}
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken, "scope", "orders:write"))
	want(t, "more than the user has approved", err, 400, CodeInvalidScope)
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken, "resource", stock))
	want(t, "another resource", err, 400, CodeInvalidTarget)
	if resp, err = f.Token(t.Context(), renewal(t, resp.RefreshToken)); err != nil {
		t.Fatalf("after requests that were refused: %v", err)
	}
	f.clock.add(30 * 24 * time.Hour)
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken))
	want(t, "after its absolute lifetime", err, 400, CodeInvalidGrant)
	if err := f.State.Sweep(t.Context(), f.clock.Now()); err != nil {
		t.Fatal(err)
	}
	for key := range f.storage.files {
		if strings.Contains(key, "/codes/") || strings.Contains(key, "/families/") {
			t.Errorf("%s is left", key)
		}
	}
}

func TestRedirectURIsAreComparedAsTexts(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	for _, uri := range []string{
		"", callback + "/", callback + "?x=1", callback + "#x", callback + "/../evil", "https://app.example.com/callback/../callback", "https://app.example.com/Callback",
		"https://APP.example.com/callback", "https://app.example.com:443/callback", "https://app.example.com:8443/callback", "http://app.example.com/callback",
		"https://user@app.example.com/callback", "https://app.example.com@evil.example/callback", "https://app.example.com.evil.example/callback",
		"https://evil.example/callback", "//app.example.com/callback", "https://app.example.com/callback%2f", "https://app.example.com/%63allback",
		"https://app.example.com\\@evil.example/callback", "javascript:alert(1)", callback + " ", callback + "\n",
	} {
		_, _, err := f.Authorize(ask(t, "redirect_uri", uri))
		var back *RedirectError
		if err == nil || errors.As(err, &back) {
			t.Errorf("%q: got %v: the browser must not go there", uri, err)
		}
	}
}

func TestRequestForAuthorizationIsStrict(t *testing.T) {
	f, _ := fix(t, app(), billing())
	f.withUsers(t)
	for what, c := range map[string]struct {
		pairs []string
		back  bool // the client hears of it
		code  string
	}{
		"an unknown client":        {[]string{"client_id", "nobody"}, false, CodeUnauthorizedClient},
		"a client without logins":  {[]string{"client_id", "billing"}, false, CodeUnauthorizedClient},
		"the implicit grant":       {[]string{"response_type", "token"}, true, CodeUnsupportedResponseType},
		"a hybrid":                 {[]string{"response_type", "code token"}, true, CodeUnsupportedResponseType},
		"no PKCE":                  {[]string{"code_challenge", "", "code_challenge_method", ""}, true, CodeInvalidRequest},
		"plain PKCE":               {[]string{"code_challenge_method", "plain"}, true, CodeInvalidRequest},
		"PKCE without a method":    {[]string{"code_challenge_method", ""}, true, CodeInvalidRequest},
		"a challenge that is none": {[]string{"code_challenge", "short"}, true, CodeInvalidRequest},
		"a fragment as response":   {[]string{"response_mode", "fragment"}, true, CodeInvalidRequest},
		"another scope":            {[]string{"scope", "admin"}, true, CodeInvalidScope},
		"another resource":         {[]string{"resource", "https://evil.example"}, true, CodeInvalidTarget},
		"a request object":         {[]string{"request", "x.y.z"}, true, CodeInvalidRequest},
		"a request_uri elsewhere":  {[]string{"request_uri", "https://evil.example/r"}, false, CodeInvalidRequest},
		"a request_uri of nobody":  {[]string{"request_uri", requestPrefix + "AAAA"}, false, CodeInvalidRequest},
	} {
		_, _, err := f.Authorize(ask(t, c.pairs...))
		var back *RedirectError
		if errors.As(err, &back) != c.back {
			t.Errorf("%s: got %v, redirected: %v", what, err, !c.back)
		}
		want(t, what, err, 400, c.code)
	}
}

func TestCodesAreGoodOnceAndForTheirClient(t *testing.T) {
	other := app()
	other.ID = "other"
	f, secrets := fix(t, app(), other, web())
	f.withUsers(t)
	for what, pairs := range map[string][]string{
		"another client":    {"client_id", "other"},
		"another verifier":  {"code_verifier", strings.Repeat("a", 43)},
		"no verifier":       {"code_verifier", ""},
		"the challenge":     {"code_verifier", challenge},
		"another redirect":  {"redirect_uri", callback + "/"},
		"no redirect":       {"redirect_uri", ""},
		"another code":      {"code", "moatac_" + strings.Repeat("0", 64)},
		"a path as code":    {"code", "../../issuer"},
		"an unknown client": {"client_id", "nobody"},
	} {
		text := f.login(t)
		_, err := f.Token(t.Context(), redeem(t, text, pairs...))
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInvalidGrant && e.Code != CodeInvalidClient {
			t.Errorf("%s: got %v", what, err)
		}
	}
	// Who has stolen a code cannot spoil it for its client.
	text := f.login(t)
	_, err := f.Token(t.Context(), redeem(t, text, "client_id", "other"))
	want(t, "another client's code", err, 400, CodeInvalidGrant)
	if _, err := f.Token(t.Context(), redeem(t, text)); err != nil {
		t.Error(err)
	}
	// A public client cannot redeem that of one with a secret, nor one with a secret without it.
	text = f.login(t, "client_id", "web")
	_, err = f.Token(t.Context(), redeem(t, text, "client_id", "web"))
	want(t, "without its secret", err, 401, CodeInvalidClient)
	r := request(t, "grant_type", "authorization_code", "code", text, "redirect_uri", callback, "code_verifier", verifier).as("web", secrets["web"])
	if _, err := f.Token(t.Context(), r); err != nil {
		t.Error(err)
	}
	text = f.login(t)
	f.clock.add(codeLife)
	_, err = f.Token(t.Context(), redeem(t, text))
	want(t, "too late", err, 400, CodeInvalidGrant)
}

func TestCodeThatIsReplayedEndsItsTokens(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	text := f.login(t)
	resp, err := f.Token(t.Context(), redeem(t, text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Token(t.Context(), redeem(t, text))
	want(t, "replayed", err, 400, CodeInvalidGrant)
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken))
	want(t, "its refresh token", err, 400, CodeInvalidGrant)
	if _, err := f.verifier.Verify(t.Context(), resp.AccessToken, f.clock.Now()); err == nil {
		t.Error("its access token is still good")
	}
	// Twenty at once: one gets tokens, and they end.
	text = f.login(t)
	var wg sync.WaitGroup
	var good atomic.Int32
	for range 20 {
		wg.Go(func() {
			if _, err := f.Token(t.Context(), redeem(t, text)); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("%d of 20 got tokens", good.Load())
	}
}

func TestCodeOfClientWithoutRefreshTokensIsReplayed(t *testing.T) {
	c := app()
	c.Grants = []string{GrantCode}
	f, _ := fix(t, c)
	f.withUsers(t)
	text := f.login(t)
	resp, err := f.Token(t.Context(), redeem(t, text))
	if err != nil || resp.RefreshToken != "" {
		t.Fatal(resp, err)
	}
	if _, err := f.verifier.Verify(t.Context(), resp.AccessToken, f.clock.Now()); err != nil {
		t.Fatal(err)
	}
	_, err = f.Token(t.Context(), redeem(t, text))
	want(t, "replayed", err, 400, CodeInvalidGrant)
	if _, err := f.verifier.Verify(t.Context(), resp.AccessToken, f.clock.Now()); err == nil {
		t.Error("its access token is still good")
	}
	f.clock.add(f.Lifetime)
	if err := f.State.Sweep(t.Context(), f.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if left := f.files("families"); len(left) > 0 {
		t.Errorf("%v are left when the access token has expired", left)
	}
}

func TestRefreshInParallelLogsNobodyOut(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	resp := f.tokens(t)
	var wg sync.WaitGroup
	successors := make([]string, 20)
	for i := range successors {
		wg.Go(func() {
			next, err := f.Token(t.Context(), renewal(t, resp.RefreshToken))
			if err != nil {
				t.Error(err)
				return
			}
			successors[i] = next.RefreshToken
		})
	}
	wg.Wait()
	for _, s := range successors {
		if s != successors[0] || s == resp.RefreshToken {
			t.Fatalf("the successors differ: %q", successors)
		}
	}
	if n := len(f.files("families")); n != 1 {
		t.Errorf("%d families", n)
	}
	f.clock.add(ReuseWindow)
	if _, err := f.Token(t.Context(), renewal(t, successors[0])); err != nil {
		t.Errorf("the honest client is logged out: %v", err)
	}
}

func (f *fixture) files(kind string) (keys []string) {
	f.storage.mu.Lock()
	defer f.storage.mu.Unlock()
	for key := range f.storage.files {
		if strings.Contains(key, "/"+kind+"/") {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestRefreshTokenThatComesAgainEndsItsFamily(t *testing.T) {
	for what, late := range map[string]bool{"after the window": true, "once its successor was used": false} {
		f, _ := fix(t, app())
		f.withUsers(t)
		first := f.tokens(t)
		second, err := f.Token(t.Context(), renewal(t, first.RefreshToken))
		if err != nil {
			t.Fatal(err)
		}
		last := second
		if late {
			f.clock.add(ReuseWindow)
		} else if last, err = f.Token(t.Context(), renewal(t, second.RefreshToken)); err != nil {
			t.Fatal(err)
		}
		_, err = f.Token(t.Context(), renewal(t, first.RefreshToken))
		want(t, what, err, 400, CodeInvalidGrant)
		for _, resp := range []*Response{first, second, last} {
			_, err := f.Token(t.Context(), renewal(t, resp.RefreshToken))
			want(t, what+": the family", err, 400, CodeInvalidGrant)
		}
		if _, err := f.verifier.Verify(t.Context(), last.AccessToken, f.clock.Now()); err == nil {
			t.Errorf("%s: the access token is still good", what)
		}
		// Another login of the same user goes on.
		if _, err := f.Token(t.Context(), renewal(t, f.tokens(t).RefreshToken)); err != nil {
			t.Errorf("%s: another login: %v", what, err)
		}
	}
}

func TestRefreshTokensAreForTheirClientAndUser(t *testing.T) {
	other := app()
	other.ID = "other"
	f, _ := fix(t, app(), other)
	f.withUsers(t)
	resp := f.tokens(t)
	foreign := request(t, "grant_type", "refresh_token", "refresh_token", resp.RefreshToken, "client_id", "other")
	_, err := f.Token(t.Context(), foreign)
	want(t, "another client", err, 400, CodeInvalidGrant)
	want(t, "revoked by another client", f.Revoke(t.Context(), request(t, "token", resp.RefreshToken, "client_id", "other")), 400, CodeUnauthorizedClient)
	forged := strings.Replace(resp.RefreshToken, "_1_", "_2_", 1)
	for _, text := range []string{forged, resp.RefreshToken + "x", resp.RefreshToken[:len(resp.RefreshToken)-1], "moatrt_../../x_1_y", "x"} {
		_, err := f.Token(t.Context(), renewal(t, text))
		want(t, text, err, 400, CodeInvalidGrant)
	}
	if resp, err = f.Token(t.Context(), renewal(t, resp.RefreshToken)); err != nil {
		t.Fatalf("after what others have tried: %v", err)
	}
	alice := f.Users.Find("alice")
	alice.Changed = f.clock.Now().Add(time.Second)
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken))
	want(t, "another password since", err, 400, CodeInvalidGrant)
	alice.Changed, alice.Disabled = alice.Created, true
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken))
	want(t, "a disabled user", err, 400, CodeInvalidGrant)
	alice.Disabled = false
	f.storage.fail(errors.New("no route to storage"))
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken))
	want(t, "storage away", err, 503, CodeUnavailable)
	want(t, "storage away: revoke", f.Revoke(t.Context(), request(t, "token", resp.RefreshToken, "client_id", "app")), 503, CodeUnavailable)
	f.storage.fail(nil)
	if resp, err = f.Token(t.Context(), renewal(t, resp.RefreshToken)); err != nil {
		t.Fatalf("logged out because the storage was away: %v", err)
	}
	if err := f.Revoke(t.Context(), request(t, "token", resp.RefreshToken, "client_id", "app")); err != nil {
		t.Fatal(err)
	}
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken))
	want(t, "revoked", err, 400, CodeInvalidGrant)
}

func TestRefreshTokensAreBoundToTheKey(t *testing.T) {
	f, secrets := fix(t, app(), web())
	f.withUsers(t)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	with := func(r *Request, key *ecdsa.PrivateKey) *Request {
		r.Proofs = []string{proof(t, key, f.clock.Now(), nil)}
		return r
	}
	resp, err := f.Token(t.Context(), with(redeem(t, f.login(t)), key))
	if err != nil || resp.TokenType != "DPoP" {
		t.Fatal(resp, err)
	}
	_, err = f.Token(t.Context(), renewal(t, resp.RefreshToken))
	want(t, "without a proof", err, 400, CodeInvalidProof)
	_, err = f.Token(t.Context(), with(renewal(t, resp.RefreshToken), other))
	want(t, "with another key", err, 400, CodeInvalidProof)
	if _, err := f.Token(t.Context(), with(renewal(t, resp.RefreshToken), key)); err != nil {
		t.Error(err)
	}
	// A client with a secret may change its key, and must have one.
	code := f.login(t, "client_id", "web")
	resp, err = f.Token(t.Context(), with(request(t, "grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier).as("web", secrets["web"]), key))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Token(t.Context(), request(t, "grant_type", "refresh_token", "refresh_token", resp.RefreshToken).as("web", secrets["web"]))
	want(t, "web without a proof", err, 400, CodeInvalidProof)
	if _, err = f.Token(t.Context(), with(request(t, "grant_type", "refresh_token", "refresh_token", resp.RefreshToken).as("web", secrets["web"]), other)); err != nil {
		t.Error(err)
	}
	// A code that was asked for with a key is for that key.
	sum := f.login(t, "dpop_jkt", strings.Repeat("A", 43))
	_, err = f.Token(t.Context(), with(redeem(t, sum), key))
	want(t, "dpop_jkt of another key", err, 400, CodeInvalidGrant)
}

func TestPushedRequests(t *testing.T) {
	f, secrets := fix(t, app(), web())
	f.withUsers(t)
	push := func(pairs ...string) (string, error) {
		r := &Request{Form: ask(t, append([]string{"client_id", "web"}, pairs...)...), URL: iss + "/par"}
		uri, life, err := f.Push(t.Context(), r.as("web", secrets["web"]))
		if err == nil && life != 60 {
			t.Errorf("it lives for %d s", life)
		}
		return uri, err
	}
	uri, err := push()
	if err != nil {
		t.Fatal(err)
	}
	query := func(id, uri string) *Form {
		return request(t, "client_id", id, "request_uri", uri, "scope", "admin", "redirect_uri", "https://evil.example").Form
	}
	a, c, err := f.Authorize(query("web", uri))
	if err != nil || c.ID != "web" || a.Redirect != callback || len(a.Scopes) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
	_, _, err = f.Authorize(query("app", uri))
	want(t, "another client's", err, 400, CodeInvalidRequest)
	_, err = push("redirect_uri", "https://evil.example/")
	want(t, "another redirect", err, 400, CodeInvalidRequest)
	_, err = push("code_challenge_method", "plain")
	want(t, "plain PKCE", err, 400, CodeInvalidRequest)
	_, err = push("request_uri", uri)
	want(t, "a request_uri", err, 400, CodeInvalidRequest)
	_, _, err = f.Push(t.Context(), &Request{Form: ask(t, "client_id", "web")})
	want(t, "without its secret", err, 401, CodeInvalidClient)
	// What was sealed for something else is not a pushed request.
	login, err := f.SealLogin(a, "cookie")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = f.Authorize(query("web", requestPrefix+login))
	want(t, "a login page as request_uri", err, 400, CodeInvalidRequest)
	f.clock.add(pushedLife)
	_, _, err = f.Authorize(query("web", uri))
	want(t, "expired", err, 400, CodeInvalidRequest)
}

func TestLoginPageIsForOneBrowserAndOneLogin(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	a, _, err := f.Authorize(ask(t))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := f.SealLogin(a, "cookie")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string][2]string{
		"no cookie": {sealed, ""}, "another browser's cookie": {sealed, "other"}, "garbled": {sealed[:len(sealed)-2], "cookie"}, "nothing": {"", "cookie"},
	} {
		_, _, err := f.OpenLogin(c[0], c[1])
		want(t, what, err, 400, CodeInvalidRequest)
	}
	opened, c, err := f.OpenLogin(sealed, "cookie")
	if err != nil || c.ID != "app" || opened.State != "xyz" {
		t.Fatal(opened, err)
	}
	if _, err := f.Approve(t.Context(), opened, f.Users.Find("alice"), "1"); err != nil {
		t.Fatal(err)
	}
	_, err = f.Approve(t.Context(), opened, f.Users.Find("alice"), "1")
	want(t, "twice", err, 400, CodeInvalidRequest)
	f.clock.add(loginLife)
	_, _, err = f.OpenLogin(sealed, "cookie")
	want(t, "too old", err, 400, CodeInvalidRequest)
}

// TestUnknownUserCostsTheSameWork counts hashes: a clock would tell nothing on a
// machine that does other things too.
func TestUnknownUserCostsTheSameWork(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	hashes := 0
	f.Users.derived = func() { hashes++ }
	f.Users.Find("bob").Disabled = true
	for what, c := range map[string][2]string{
		"a wrong password": {"alice", "wrong"}, "an unknown user": {"mallory", password}, "a disabled user": {"bob", password}, "nobody": {"", ""},
		"a long password": {"alice", strings.Repeat("x", 100_000)},
	} {
		before := hashes
		_, _, err := f.Login(t.Context(), alicesIP, c[0], c[1], "")
		want(t, what, err, 401, CodeAccessDenied)
		if hashes != before+1 {
			t.Errorf("%s: %d hashes", what, hashes-before)
		}
	}
	if p := f.Users.Find("alice").Password; f.Users.nobody.Memory != p.Memory || f.Users.nobody.Time != p.Time {
		t.Error("unknown users cost another work")
	}
	if _, _, err := f.Login(t.Context(), alicesIP, " Alice ", password, ""); err != nil {
		t.Error(err)
	}
}

func TestAttemptsAreLimitedByUserAndAddress(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	hashes := 0
	f.Users.derived = func() { hashes++ }
	try := func(address, name, password string) error {
		_, _, err := f.Login(t.Context(), address, name, password, "")
		return err
	}
	for range userAttempts {
		want(t, "wrong", try("192.0.2.9", "alice", "wrong"), 401, CodeAccessDenied)
	}
	before := hashes
	want(t, "the right password after too many", try(alicesIP, "alice", password), 429, "too_many_attempts")
	want(t, "an unknown user", try("192.0.2.8", "mallory", "wrong"), 401, CodeAccessDenied)
	if hashes != before+1 {
		t.Error("an attempt that is refused costs a hash")
	}
	f.clock.add(attemptWindow)
	if err := try(alicesIP, "alice", password); err != nil {
		t.Errorf("after the window: %v", err)
	}
	for n := range addrAttempts {
		want(t, "spread over users", try("192.0.2.7", fmt.Sprint("user", n), "wrong"), 401, CodeAccessDenied)
	}
	want(t, "the address", try("192.0.2.7", "alice", password), 429, "too_many_attempts")
	if err := try(alicesIP, "alice", password); err != nil {
		t.Errorf("another address: %v", err)
	}
}

func TestRefusedAttemptsFillNoMemory(t *testing.T) {
	f, _ := fix(t, app())
	f.withUsers(t)
	try := func(address, name string) error {
		_, _, err := f.Login(t.Context(), address, name, "wrong", "")
		return err
	}
	long := strings.Repeat("x", 60_000)
	for n := range addrAttempts {
		want(t, "wrong", try("192.0.2.7", fmt.Sprint(long, n)), 401, CodeAccessDenied)
	}
	for n := range 2 * maxAttempts {
		want(t, "the address", try("192.0.2.7", fmt.Sprint("user", n)), 429, CodeAttempts)
	}
	// The address alone is kept out, and not everybody.
	want(t, "another address", try(alicesIP, "alice"), 401, CodeAccessDenied)
	for key := range f.Users.attempts.seen {
		if len(key) > 200 {
			t.Fatalf("a name of %d bytes is remembered", len(key))
		}
	}
	if n := len(f.Users.attempts.seen); n > addrAttempts+3 {
		t.Errorf("%d keys are remembered", n)
	}
}

func TestOneTimeCodesAreGoodOnce(t *testing.T) {
	f, _ := fix(t, app())
	key, recovery := f.withUsers(t)
	try := func(factor string) error {
		_, acr, err := f.Login(t.Context(), alicesIP, "bob", password, factor)
		if err == nil && acr != "2" {
			t.Errorf("acr is %s", acr)
		}
		return err
	}
	f.clock.add(time.Minute) // codes of before the process are not believed
	now := totp(key, f.clock.Now().Unix()/totpStep)
	want(t, "no code", try(""), 401, CodeAccessDenied)
	want(t, "a wrong code", try("000000"), 401, CodeAccessDenied)
	if err := try(now[:3] + " " + now[3:]); err != nil {
		t.Fatal(err)
	}
	want(t, "the code again", try(now), 401, CodeAccessDenied)
	f.clock.add(totpStep * time.Second)
	want(t, "the code again in the next step", try(now), 401, CodeAccessDenied)
	if err := try(totp(key, f.clock.Now().Unix()/totpStep+1)); err != nil {
		t.Errorf("a clock that is ahead: %v", err)
	}
	want(t, "a code of two steps ago", try(totp(key, f.clock.Now().Unix()/totpStep-2)), 401, CodeAccessDenied)
	if err := try(strings.ToUpper(recovery[0])); err != nil {
		t.Fatal(err)
	}
	want(t, "a recovery code again", try(recovery[0]), 401, CodeAccessDenied)
	f.storage.fail(errors.New("no route to storage"))
	want(t, "storage away", try(recovery[1]), 503, CodeUnavailable)
	f.storage.fail(nil)
	if err := try(recovery[1]); err != nil {
		t.Error(err)
	}
}

func TestSecretOfAnotherVaultIsRefused(t *testing.T) {
	one, err := NewVault([]byte(strings.Repeat("1", 32)))
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewVault([]byte(strings.Repeat("2", 32)))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := NewPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	u := &User{ID: "bob", Created: time.Unix(1e9, 0), Changed: time.Unix(1e9, 0), Password: hash}
	if _, _, err := one.NewTOTP(u); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := EditUsers(path, func(f *UserFile) error { f.Users = append(f.Users, u); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenUsers(path, two, func(filewatch.Event) {}); !errors.Is(err, ErrVault) {
		t.Errorf("got %v", err)
	}
}

// TestTOTPVectors are those of RFC 6238 appendix B, of which six digits are used.
func TestTOTPVectors(t *testing.T) {
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"} {
		if got := totp([]byte("12345678901234567890"), at/totpStep); got != code {
			t.Errorf("%d: got %s, want %s", at, got, code)
		}
	}
}

func TestClientAndUserOfOneNameGetNoTokens(t *testing.T) {
	c := billing()
	c.ID = "alice"
	f, secrets := fix(t, app(), c)
	f.withUsers(t)
	_, err := f.Token(t.Context(), request(t, "grant_type", "client_credentials").as("alice", secrets["alice"]))
	want(t, "the client", err, 400, CodeUnauthorizedClient)
	_, err = f.Token(t.Context(), redeem(t, f.login(t)))
	want(t, "the user", err, 400, CodeInvalidGrant)
}

func TestRedirectsThatCanBeRegistered(t *testing.T) {
	for uri, good := range map[string]bool{
		callback: true, "http://127.0.0.1:8080/cb": true, "http://localhost/cb": true, "com.example.app:/cb": true, "https://app.example.com/cb?tenant=a": true,
		"http://app.example.com/cb": false, "https://*.example.com/cb": false, callback + "#": false, "https://user@app.example.com/": false,
		"javascript:alert(1)": false, "data:text/html,x": false, "/cb": false, "": false, "https:///cb": false, callback + "?code=x": false,
	} {
		if err := CheckRedirect(uri); (err == nil) != good {
			t.Errorf("%s: got %v", uri, err)
		}
	}
}

func FuzzUsers(f *testing.F) {
	hash, _ := NewPassword(password)
	f.Add([]byte("{\"moat_users\":1}\n{\"id\":\"alice\",\"created\":\"2026-11-22T10:00:00Z\",\"changed\":\"2026-11-22T10:00:00Z\",\"password\":\"" + hash.String() + "\"}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := ParseUsers(text)
		if err != nil {
			return
		}
		printed := file.Append(nil)
		again, err := ParseUsers(printed)
		if err != nil || string(again.Append(nil)) != string(printed) {
			t.Fatalf("%v\n%s", err, printed)
		}
	})
}
