package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// session is a method of the kind that logs browsers in: it has a cookie that it
// renews, paths of its own, and something to do while the request is served.
type session struct{ over error }

func (session) Traits() credential.Traits {
	return credential.Traits{
		Sources: []string{"cookie session"}, Ambient: true,
		Endpoints: []credential.Endpoint{
			{Path: "/logout", Methods: []string{http.MethodPost}, Rule: "logout", Serve: func(w http.ResponseWriter, _ *http.Request) error {
				w.WriteHeader(http.StatusNoContent)
				return nil
			}},
			{Path: "/callback", Rule: "callback", Serve: func(http.ResponseWriter, *http.Request) error {
				return caddyhttp.Error(http.StatusBadGateway, errors.New("the provider is down"))
			}},
		},
	}
}

func (session) Places(r *http.Request) []credential.Place {
	if _, err := r.Cookie("session"); err != nil {
		return nil
	}
	return []credential.Place{{Kind: "session", At: "cookie session", Ambient: true}}
}

func (s session) Identify(r *http.Request) (credential.Grant, error) {
	c, err := r.Cookie("session")
	if err != nil {
		return credential.Grant{}, credential.ErrMissing
	}
	g := credential.Grant{
		Principal: &principal.Principal{ID: c.Value, Kind: "session"},
		Header:    http.Header{"Set-Cookie": {"session=renewed"}, "Cache-Control": {"no-store"}},
		Upstream:  http.Header{"X-Session-User": {c.Value}},
	}
	g.Wrap = func(w http.ResponseWriter, r *http.Request, next credential.Next) error {
		if s.over != nil {
			return s.over
		}
		return next(w, r)
	}
	return g, nil
}

func (session) Challenges(*credential.Error) []string { return []string{"Session"} }
func (session) Clean(r *http.Request)                 { r.Header.Del("Cookie") }

// serveSession is serve, with a field of the response that is there before, and
// with the error of the handler.
func serveSession(t *testing.T, h *Handler, r *http.Request) (answer, error) {
	t.Helper()
	provision(t, h)
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	a.Header().Set("Set-Cookie", "other=1")
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), a, new(caddyhttp.Server))
	a.log = reqctx.Decisions(r)
	err := h.ServeHTTP(a, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		a.reached = r
		return nil
	}))
	return a, err
}

func sessionHandler(s session) *Handler {
	return &Handler{methods: []method{ours(s), ours(token{place: "X-Token"})}}
}

func TestSessionFitsTheOneInterface(t *testing.T) {
	a, err := serveSession(t, sessionHandler(session{}), request("Cookie", "session=alice", "X-Session-User", "root"))
	if err != nil || a.reached == nil {
		t.Fatalf("rejected: %v, %d %s", err, a.Code, a.Body)
	}
	if got := a.Header()["Set-Cookie"]; !slices.Equal(got, []string{"other=1", "session=renewed"}) || a.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the response has %v", a.Header())
	}
	if got := a.reached.Header; got.Get("X-Session-User") != "alice" || got.Get("Cookie") != "" {
		t.Errorf("the upstream sees %v", got)
	}
}

func TestNothingOfASessionIsSetWhereTheRequestIsRejected(t *testing.T) {
	r := request("Cookie", "session=alice", "Origin", "https://evil.example")
	r.Method = http.MethodPost
	a, err := serveSession(t, sessionHandler(session{}), r)
	if err != nil || a.reached != nil || a.Code != http.StatusForbidden || len(a.Header()["Set-Cookie"]) != 1 {
		t.Errorf("got %d, %v, %v", a.Code, err, a.Header())
	}
	// One that turns out to be over while it is served.
	over := &credential.Error{Kind: credential.Bad, Code: credential.CodeInvalidCredentials}
	if a, err = serveSession(t, sessionHandler(session{over}), request("Cookie", "session=alice")); err != nil || a.reached != nil || a.Code != http.StatusUnauthorized || a.log.Code() != over.Code {
		t.Errorf("got %d, %v", a.Code, err)
	}
	// An error that only wraps such a one is somebody else's.
	wrapped := errors.Join(over)
	if a, err = serveSession(t, sessionHandler(session{wrapped}), request("Cookie", "session=alice")); !errors.Is(err, wrapped) {
		t.Errorf("got %d, %v", a.Code, err)
	}
}

func TestEndpointsOfAMethodNeedNoCredential(t *testing.T) {
	for name, test := range map[string]struct {
		method, path string
		status       int // of the response, or of the error
		rule         string
	}{
		"logout":         {"POST", "/logout", 204, "logout"},
		"another method": {"GET", "/logout", 401, ""},
		"another path":   {"POST", "/logout/", 401, ""},
		"an error":       {"GET", "/callback", 502, "callback"},
	} {
		r := request()
		r.Method, r.URL.Path = test.method, test.path
		a, err := serveSession(t, sessionHandler(session{}), r)
		status := a.Code
		var he caddyhttp.HandlerError
		if errors.As(err, &he) {
			status = he.StatusCode
		}
		if d := a.log.Decisions(); a.reached != nil || status != test.status || len(d) != 1 || d[0].Rule != test.rule {
			t.Errorf("%s: got %d, %v, decided %+v", name, a.Code, err, d)
		}
	}
}

func TestLifeEndsForThoseWhoWaitBeforeAndAfter(t *testing.T) {
	type key struct{}
	outer, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
	defer cancel()
	for name, wait := range map[string]bool{"waited for before": true, "waited for after": false} {
		l := &life{Context: outer}
		if l.Err() != nil || l.Value(key{}) != "kept" {
			t.Fatalf("%s: %v, %v", name, l.Err(), l.Value(key{}))
		}
		var child context.Context
		if wait {
			var stop context.CancelFunc
			child, stop = context.WithTimeout(context.WithValue(l, key{}, "child"), time.Hour)
			defer stop()
			if child.Err() != nil {
				t.Fatal(child.Err())
			}
		}
		l.end()
		if l.Err() == nil || outer.Err() != nil || l.Value(key{}) != "kept" {
			t.Errorf("%s: %v, %v", name, l.Err(), outer.Err())
		}
		<-l.Done() // or the test does not end
		if wait {
			<-child.Done()
		}
	}
	l := &life{Context: outer}
	cancel()
	<-l.Done() // with the request
	if !errors.Is(l.Err(), context.Canceled) {
		t.Error(l.Err())
	}
}
