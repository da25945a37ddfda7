package auth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// marked is a method for tests whose credentials begin with a mark, in the
// place of another method's.
type marked struct{ token }

func (m marked) Places(r *http.Request) []credential.Place {
	places := m.token.Places(r)
	for i, v := range m.values(r) {
		places[i].Known = strings.HasPrefix(v, "mark_")
	}
	return places
}

func (m marked) Identify(r *http.Request) (credential.Grant, error) {
	g, err := m.token.Identify(r)
	if err == nil {
		own := *g.Principal
		own.Issuer = "marked"
		g.Principal = &own
	}
	return g, err
}

func TestCredentialIsOfTheMethodThatKnowsItByItsLooks(t *testing.T) {
	here, there := token{place: "X-Token"}, token{place: "X-Other"}
	for name, test := range map[string]struct {
		methods []method
		value   string
		want    string
	}{
		"listed first":          {[]method{ours(marked{here}), ours(here)}, "mark_1", "marked"},
		"listed last":           {[]method{ours(here), ours(marked{here})}, "mark_1", "marked"},
		"among others":          {[]method{ours(there), ours(here), ours(marked{here}), ours(here)}, "mark_1", "marked"},
		"without the mark":      {[]method{ours(here), ours(marked{here})}, "alice", "iss"},
		"of nobody's knowledge": {[]method{ours(here), ours(here)}, "mark_1", "iss"},
	} {
		h := &Handler{methods: test.methods}
		r := request("X-Token", test.value)
		if _, g, err := h.identify(r); err != nil || g.user.Principal.Issuer != test.want {
			t.Errorf("%s: got %+v, %v, want %s", name, g.user.Principal, err, test.want)
		}
	}
}

// TestBadCredentialIsNotTriedAsAnother holds that a credential which one
// method knows for its own, and which is bad, goes to nobody else.
func TestBadCredentialIsNotTriedAsAnother(t *testing.T) {
	here := token{place: "X-Token"}
	h := &Handler{methods: []method{ours(here), ours(refusing{marked{here}}), ours(here)}}
	if won, p, err := h.identify(request("X-Token", "mark_1")); err == nil || won.user != 1 {
		t.Errorf("method %d gives %+v, %v", won, p, err)
	}
}

// refusing accepts nobody.
type refusing struct{ marked }

func (refusing) Identify(*http.Request) (credential.Grant, error) {
	return credential.Grant{}, &credential.Error{Kind: credential.Bad, Code: credential.CodeInvalidCredentials}
}
