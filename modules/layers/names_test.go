package layers

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// giver stands for an authenticator that says what it gives.
type giver struct {
	next
	credential.Grants
}

func (giver) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "http.handlers.auth"} }

// source is giver with its method.
type source struct{ giver }

func (s source) Grants() credential.Grants { return s.giver.Grants }

// roles is the matcher of that name.
type roles []string

func (r roles) RoleNames() []string                      { return r }
func (roles) MatchWithError(*http.Request) (bool, error) { return true, nil }

// heir is rbac with roles that its policy gives.
type heir struct {
	gate
	given []string
}

func (h heir) GivenNames() (roles, scopes []string) { return h.given, nil }

func TestNamesThatNobodyCanHaveAreFound(t *testing.T) {
	redact := func(mode, of string, names ...string) caddyhttp.Route {
		return route(module{id: "http.handlers.redact", Groups: []map[string]any{{"mode": mode, "of": of, "names": names}}})
	}
	when := func(set ...any) caddyhttp.Route {
		m := make(caddyhttp.MatcherSet, len(set))
		for i := range set {
			m[i] = set[i]
		}
		return caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{m}}
	}
	token := route(source{giver{Grants: credential.Grants{Others: true, Roles: []string{"auditor"}}}})
	keys := route(source{giver{Grants: credential.Grants{Roles: []string{"partner"}, Scopes: []string{"write"}}}})
	basic := route(&caddyauth.Authentication{Providers: map[string]caddyauth.Authenticator{"http_basic": nil}})
	foreign := route(&caddyauth.Authentication{Providers: map[string]caddyauth.Authenticator{"other": nil}})
	rules := route(gate{roles: []string{"clerk", "manager"}})
	for name, tc := range map[string]struct {
		site []caddyhttp.Route
		want []string
	}{
		"near a rule":            {[]caddyhttp.Route{token, rules, redact("except", "role", "manger", "clerk")}, []string{"redact_unknown_name role manger 'role manager'"}},
		"from a token":           {[]caddyhttp.Route{token, rules, redact("except", "role", "board")}, nil},
		"near what is required":  {[]caddyhttp.Route{token, redact("only", "role", "auditer")}, []string{"redact_unknown_name role auditer 'role auditor'"}},
		"without rbac":           {[]caddyhttp.Route{token, redact("except", "role", "board")}, nil},
		"of a key":               {[]caddyhttp.Route{keys, rules, redact("only", "role", "partner"), redact("except", "scope", "write", "read")}, nil},
		"of no key":              {[]caddyhttp.Route{keys, rules, redact("only", "role", "partnr", "board")}, []string{"redact_unknown_name role board possible typo", "redact_unknown_name role partnr 'role partner'"}},
		"of no key, no rbac":     {[]caddyhttp.Route{keys, redact("except", "scope", "wirte")}, []string{"redact_unknown_name scope wirte 'scope write'"}},
		"basic_auth has none":    {[]caddyhttp.Route{basic, redact("except", "role", "board")}, []string{"redact_unknown_name role board possible typo"}},
		"another's may have any": {[]caddyhttp.Route{foreign, redact("except", "role", "board")}, nil},
		"nobody is known":        {[]caddyhttp.Route{redact("except", "role", "board")}, []string{"redact_unknown_name role board possible typo"}},
		"users are not roles":    {[]caddyhttp.Route{keys, redact("except", "user", "bob")}, nil},
		"a matcher":              {[]caddyhttp.Route{keys, rules, when(roles{"clerk", "clrek"})}, []string{"matcher_unknown_name role clrek 'role clerk'"}},
		"a matcher, negated":     {[]caddyhttp.Route{token, rules, when(&caddyhttp.MatchNot{MatcherSets: caddyhttp.MatcherSets{{roles{"clrek"}}}})}, []string{"matcher_unknown_name role clrek 'role clerk'"}},
		"rules for a typo":       {[]caddyhttp.Route{keys, route(gate{roles: []string{"partnr"}})}, []string{"rbac_unknown_name role partnr 'role partner'"}},
		"rules, keys to come":    {[]caddyhttp.Route{keys, route(gate{roles: []string{"partner", "partners", "board"}})}, nil},
		"rules and tokens":       {[]caddyhttp.Route{token, keys, route(gate{roles: []string{"partnr"}})}, nil},
		"given to a user":        {[]caddyhttp.Route{keys, route(heir{gate{roles: []string{"partnr"}}, []string{"partnr"}})}, nil},
	} {
		look := new(examination)
		look.names(caddyhttp.RouteList{route(sub(tc.site...))})
		var got []string
		for _, f := range look.found {
			end := "possible typo"
			if _, near, ok := strings.Cut(f.Text, "did you mean "); ok {
				end = strings.TrimSuffix(near, "?")
			} else if !strings.Contains(f.Text, end) {
				end = f.Text
			}
			got = append(got, f.ID+" "+f.About["name"]+" "+end)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, tc.want)
		}
	}
}
