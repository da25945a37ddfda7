package trustedheaderauth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// request is one that has the fields of sent and for which, where the status is
// not 0, a service has answered with those of answered.
func request(status any, answered map[string]string, sent http.Header) *http.Request {
	repl := caddy.NewReplacer()
	if status != nil {
		repl.Set(statusPlaceholder, status)
	}
	for name, value := range answered {
		repl.Set(headerPlaceholder+name, value)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = sent
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)
	return r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}))
}

func provider(t *testing.T) *Provider {
	t.Helper()
	p := &Provider{
		User: "X-Name>Remote-User", Groups: "remote-groups", Separator: "|", Issuer: "here",
		Claims: map[string]string{"email": "Remote-Email"},
	}
	if err := p.compile(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnlyWhatTheServiceAnsweredAndCaddyCopiedCounts(t *testing.T) {
	name, groups := map[string]string{"X-Name": "alice"}, map[string]string{"X-Name": "alice", "Remote-Groups": " a b |c,d||a b"}
	alice := http.Header{"Remote-User": {"alice"}}
	for title, test := range map[string]struct {
		status   any
		answered map[string]string
		sent     http.Header
		user     string // none: missing
		roles    []string
	}{
		"copied":                         {200, name, alice, "alice", nil},
		"another good status":            {204, name, alice, "alice", nil},
		"with groups":                    {200, groups, http.Header{"Remote-User": {"alice"}, "Remote-Groups": {" a b |c,d||a b"}}, "alice", []string{"a b", "c,d"}},
		"groups of the client":           {200, name, http.Header{"Remote-User": {"alice"}, "Remote-Groups": {"admins"}}, "alice", nil},
		"groups that were not copied":    {200, groups, alice, "", nil},
		"other groups than answered":     {200, groups, http.Header{"Remote-User": {"alice"}, "Remote-Groups": {"admins"}}, "", nil},
		"nobody was asked":               {nil, nil, alice, "", nil},
		"no status":                      {nil, name, alice, "", nil},
		"a status that is text":          {"200", name, alice, "", nil},
		"denied":                         {403, name, alice, "", nil},
		"redirected":                     {302, name, alice, "", nil},
		"not copied":                     {200, name, http.Header{}, "", nil},
		"another user":                   {200, name, http.Header{"Remote-User": {"root"}}, "", nil},
		"another spelling":               {200, name, http.Header{"Remote_user": {"alice"}}, "", nil},
		"twice":                          {200, name, http.Header{"Remote-User": {"alice", "root"}}, "", nil},
		"the same twice":                 {200, name, http.Header{"Remote-User": {"alice", "alice"}}, "", nil},
		"another case of the user":       {200, name, http.Header{"Remote-User": {"Alice"}}, "", nil},
		"answered under another name":    {200, map[string]string{"Remote-User": "alice"}, alice, "", nil},
		"answered nobody":                {200, map[string]string{"X-Name": ""}, http.Header{"Remote-User": {""}}, "", nil},
		"answered nobody, client claims": {200, nil, alice, "", nil},
	} {
		p, r := provider(t), request(test.status, test.answered, test.sent)
		reqctx.Of(r).KeepRemoved(r.Header, p.Traits().Believes)
		grant, err := p.Identify(r)
		who := grant.Principal
		switch {
		case test.user == "" && (err == nil || who != nil):
			t.Errorf("%s: %v", title, who)
		case test.user == "":
			var ce *credential.Error
			if !errors.As(err, &ce) || ce.Kind != credential.Missing || len(p.Places(r)) > 0 {
				t.Errorf("%s: %v", title, err)
			}
		case err != nil:
			t.Errorf("%s: %v", title, err)
		case who.ID != test.user || who.Issuer != "here" || !slices.Equal(who.Roles, test.roles):
			t.Errorf("%s: %+v", title, who)
		}
	}
}

func TestValuesThatAreNotClearAreRejected(t *testing.T) {
	for _, test := range []map[string]string{
		{"X-Name": "alice,bob"},
		{"X-Name": "al\xefce"},
		{"X-Name": "alice\u2028"},
		{"X-Name": "alice", "Remote-Groups": "a|b\x00"},
		{"X-Name": "alice", "Remote-Email": "a\tb"},
	} {
		sent := http.Header{"Remote-User": {test["X-Name"]}}
		for _, name := range []string{"Remote-Groups", "Remote-Email"} {
			if v, ok := test[name]; ok {
				sent[name] = []string{v}
			}
		}
		p, r := provider(t), request(200, test, sent)
		reqctx.Of(r).KeepRemoved(r.Header, p.Traits().Believes)
		grant, err := p.Identify(r)
		who := grant.Principal
		var ce *credential.Error
		if who != nil || !errors.As(err, &ce) || ce.Kind != credential.Bad {
			t.Errorf("%q: %v, %v", test, who, err)
		}
	}
}

// TestWhatWasTakenIsOfThisPass: the request comes by once more, and nobody has
// been asked about it this time.
func TestWhatWasTakenIsOfThisPass(t *testing.T) {
	p := provider(t)
	r := request(200, map[string]string{"X-Name": "alice"}, http.Header{"Remote-User": {"alice"}})
	reqctx.Of(r).KeepRemoved(r.Header, p.Traits().Believes)
	if _, err := p.Identify(r); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Remote-User", "root")
	reqctx.Of(r).KeepRemoved(r.Header, p.Traits().Believes)
	if grant, err := p.Identify(r); err == nil {
		t.Errorf("%+v", grant.Principal)
	}
}

// TestInCaddysOwnHandler: it removes nothing by itself.
func TestInCaddysOwnHandler(t *testing.T) {
	p := provider(t)
	r := request(200, map[string]string{"X-Name": "alice"}, http.Header{"Remote-User": {"alice"}, "Remote_User": {"root"}, "Remote.groups": {"admins"}})
	user, ok, err := p.Authenticate(httptest.NewRecorder(), r)
	if !ok || err != nil || user.ID != "alice" || len(r.Header) != 1 || r.Header.Get("Remote-User") != "alice" {
		t.Errorf("%+v, %t, %v; the upstream sees %v", user, ok, err, r.Header)
	}
	r = request(nil, nil, http.Header{"Remote-User": {"root"}})
	w := httptest.NewRecorder()
	if user, ok, err := p.Authenticate(w, r); ok || err != nil || len(r.Header) > 0 || w.Header().Get("WWW-Authenticate") != `ForwardAuth realm="restricted"` {
		t.Errorf("%+v, %t, %v; the upstream sees %v; %v", user, ok, err, r.Header, w.Header())
	}
}
