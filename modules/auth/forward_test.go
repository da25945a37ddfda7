package auth

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

func spoofed() *http.Request {
	return request(
		"X-User", "root", "X-User", "root2", "x-user", "root", "X_user", "root", "X.User", "root", "x_USER", "root",
		"X-Userx", "kept", "X-Use", "kept",
	)
}

func wantNoSpoof(t *testing.T, r *http.Request, want string) {
	t.Helper()
	for name, values := range r.Header {
		switch {
		case name == "X-Userx" || name == "X-Use":
		case name == "X-User" && want != "" && len(values) == 1 && values[0] == want:
		case strings.HasPrefix(strings.ToLower(name), "x"):
			if name != "X-Token" {
				t.Errorf("the upstream sees %s: %q", name, values)
			}
		}
	}
	if len(r.Header["X-Userx"]) != 1 || len(r.Header["X-Use"]) != 1 {
		t.Error("a header of another name is gone")
	}
	if got := r.Header.Get("X-User"); got != want {
		t.Errorf("X-User: got %q, want %q", got, want)
	}
}

func TestSpoofedIdentityHeadersNeverReachTheUpstream(t *testing.T) {
	forward := []credential.Forward{{Claim: "sub", Header: "X-User"}}
	methods := []method{ours(token{place: "X-Token"})}

	r := spoofed()
	r.Header.Set("X-Token", "alice")
	wantNoSpoof(t, serve(t, &Handler{Forward: forward, methods: methods}, r).reached, "alice")

	// anonymous
	wantNoSpoof(t, serve(t, &Handler{Forward: forward, methods: methods, Optional: true}, spoofed()).reached, "")

	// preflight
	r = spoofed()
	r.Method = "OPTIONS"
	r.Header.Set("Origin", "https://a")
	r.Header.Set("Access-Control-Request-Method", "PUT")
	wantNoSpoof(t, serve(t, &Handler{Forward: forward, methods: methods, Preflight: true}, r).reached, "")

	// not matched by the directive's matcher
	stripper := Stripper(&Handler{Name: "jwt_auth", Forward: forward})
	wantNoSpoof(t, serve(t, stripper, spoofed()).reached, "")

	// a claim that the token does not have
	r = spoofed()
	r.Header.Set("X-Token", "alice")
	h := &Handler{Forward: []credential.Forward{{Claim: "none", Header: "X-User"}}, methods: methods}
	wantNoSpoof(t, serve(t, h, r).reached, "")
}

func TestSpoofedTrailersNeverReachTheUpstream(t *testing.T) {
	r := httptest.NewRequest("POST", "https://example.com/", strings.NewReader("body"))
	r.Header.Set("X-Token", "alice")
	r.Trailer = http.Header{"X-User": nil, "X-Sum": nil}
	h := &Handler{Forward: []credential.Forward{{Claim: "sub", Header: "X-User"}}, methods: []method{ours(token{place: "X-Token"})}}
	a := serve(t, h, r)
	if _, ok := a.reached.Trailer["X-User"]; ok {
		t.Error("the announcement is passed on")
	}
	// net/http fills in the map when it reaches the end of the body.
	a.reached.Trailer["X_user"] = []string{"root"}
	a.reached.Trailer["X-Sum"] = []string{"1"}
	if _, err := io.Copy(io.Discard, a.reached.Body); err != nil {
		t.Fatal(err)
	}
	if len(a.reached.Trailer) != 1 || a.reached.Trailer.Get("X-Sum") != "1" {
		t.Errorf("got %v", a.reached.Trailer)
	}
}

func TestClaimWithALineBreakIsRefusedNotForwarded(t *testing.T) {
	h := &Handler{
		Forward: []credential.Forward{{Claim: "crlf", Header: "X-Dept"}},
		methods: []method{ours(token{place: "X-Token"})},
	}
	wantRefused(t, serve(t, h, request("X-Token", "alice")), 401, credential.CodeInvalidToken)
}

// TestClaimThatHTTPWouldChangeIsRefused has values that arrive as other values,
// or that a reader of lists takes for more than one.
func TestClaimThatHTTPWouldChangeIsRefused(t *testing.T) {
	p := &principal.Principal{ID: "alice", Roles: []string{"Sales, lead", "clerk"}}
	for _, claim := range []string{
		`" alice"`, `"alice "`, `"alice\t"`, `"\u00a0alice"`, `"alice\u2003"`, `"a\u0000"`, `"a\tb"`, `"a\u0085b"`, `"a\u2028b"`, `"\ufffe\u001f"`,
		`"Sales, lead"`,
	} {
		v, _ := principal.NewClaims([]byte(`{"c":` + claim + `}`)).Lookup(principal.Pointer{"c"})
		if text, ok := fieldValue(v, p); ok {
			t.Errorf("%s is forwarded as %q", claim, text)
		}
	}
	for claim, want := range map[string]string{
		`"Müller, Hans"`:                       "Müller, Hans",
		`"a  b"`:                               "a  b",
		`""`:                                   "",
		`["Sales, lead","x"]`:                  `["Sales\u002c lead","x"]`,
		`["a\\",",\\\",admin,"]`:               `["a\\","\u002c\\\"\u002cadmin\u002c"]`,
		`{"a,b":[1,2,{"c":",,"}]}`:             `{"a\u002cb":[1,2,{"c":"\u002c\u002c"}]}`,
		`[1,2]`:                                `[1,2]`,
		`1.5`:                                  `1.5`,
		`123456789012345678901234567890`:       `123456789012345678901234567890`,
		`"x\"y"`:                               `x"y`,
		`["line\nbreak and \u2028 separator"]`: `["line\nbreak and \u2028 separator"]`,
	} {
		v, _ := principal.NewClaims([]byte(`{"c":` + claim + `}`)).Lookup(principal.Pointer{"c"})
		text, ok := fieldValue(v, p)
		if !ok || text != want {
			t.Errorf("%s: got %s, %v, want %s", claim, text, ok, want)
		}
		if v != text && text != "" {
			var back any
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			if err := d.Decode(&back); err != nil || principal.Text(back) != principal.Text(v) {
				t.Errorf("%s is read back as %v, %v", text, back, err)
			}
		}
	}
}

func TestForwardedValuesAreExact(t *testing.T) {
	h := &Handler{
		Forward: []credential.Forward{{Claim: "n", Header: "X-N"}, {Claim: "/list", Header: "X-List"}, {Claim: "/dept", Header: "X-Dept"}},
		methods: []method{ours(token{place: "X-Token"})},
	}
	a := serve(t, h, request("X-Token", "alice"))
	for name, want := range map[string]string{"X-N": "9007199254740993", "X-List": `["x","y"]`, "X-Dept": `{"no":7}`} {
		if got := a.reached.Header.Get(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestPlaceholderTextInAClaimStaysText(t *testing.T) {
	h := &Handler{Forward: []credential.Forward{{Claim: "sub", Header: "X-User"}}, methods: []method{ours(token{place: "X-Token"})}}
	a := serve(t, h, request("X-Token", "{env.HOME}"))
	if got := a.reached.Header.Get("X-User"); got != "{env.HOME}" {
		t.Errorf("got %q", got)
	}
}

func TestHeadersThatHTTPNeedsCannotBeForwarded(t *testing.T) {
	for _, name := range []string{"", "X User", "X:User", "Host", "host", "Content-Length", "transfer-encoding", "Authorization", "Cookie"} {
		if _, err := compileForward([]credential.Forward{{Claim: "sub", Header: name}}); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	if _, err := compileForward([]credential.Forward{{Claim: "a", Header: "X-User"}, {Claim: "b", Header: "x_user"}}); err == nil {
		t.Error("one header for two claims was accepted")
	}
}

func TestCredentialIsCleanedOnlyWhereAsked(t *testing.T) {
	for _, strip := range []bool{true, false} {
		a := serve(t, &Handler{methods: []method{ours(token{place: "X-Token", strip: strip})}}, request("X-Token", "alice"))
		if gone := a.reached.Header.Get("X-Token") == ""; gone != strip {
			t.Errorf("strip %v: gone %v", strip, gone)
		}
	}
}

// TestStripperSparesWhatAnotherHandlerSet has the order in which Caddy sorts a
// directive with a matcher and the stripper beside it: the stripper last.
func TestStripperSparesWhatAnotherHandlerSet(t *testing.T) {
	h := &Handler{
		Forward: []credential.Forward{{Claim: "sub", Header: "X-User"}},
		methods: []method{ours(token{place: "X-Token"})},
	}
	r := spoofed()
	r.Header.Set("X-Token", "alice")
	reached := serve(t, h, r).reached // its variable table goes with it
	stripper := Stripper(h)
	provision(t, stripper)
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		wantNoSpoof(t, r, "alice")
		return nil
	})
	if err := stripper.ServeHTTP(httptest.NewRecorder(), reached, next); err != nil {
		t.Fatal(err)
	}
}

func TestLaterHandlerRemovesWhatAnEarlierOneSaidOfAnotherIdentity(t *testing.T) {
	methods := []method{ours(token{place: "X-Token"})}
	first := &Handler{Forward: []credential.Forward{{Claim: "sub", Header: "X-User"}}, methods: methods}
	reached := serve(t, first, request("X-Token", "alice")).reached
	second := &Handler{Forward: []credential.Forward{{Claim: "none", Header: "X-User"}}, methods: methods}
	provision(t, second)
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		if got := r.Header.Get("X-User"); got != "" {
			t.Errorf("got %q", got)
		}
		return nil
	})
	if err := second.ServeHTTP(httptest.NewRecorder(), reached, next); err != nil {
		t.Fatal(err)
	}
}
