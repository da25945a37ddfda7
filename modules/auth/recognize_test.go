package auth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// marked is a method for tests whose credentials begin with a mark, in the
// place of another method's.
type marked struct{ token }

func (m marked) Recognizes(r *http.Request) (string, bool) {
	for _, v := range m.values(r) {
		if strings.HasPrefix(v, "mark_") {
			return "header " + m.place, true
		}
	}
	return "", false
}

func (m marked) Identify(r *http.Request) (*principal.Principal, error) {
	p, err := m.token.Identify(r)
	if err == nil {
		own := *p
		own.Issuer = "marked"
		p = &own
	}
	return p, err
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
		if _, p, err := h.identify(nil, r); err != nil || p.Issuer != test.want {
			t.Errorf("%s: got %+v, %v, want %s", name, p, err, test.want)
		}
	}
}

// TestBadCredentialIsNotTriedAsAnother holds that a credential which one
// method knows for its own, and which is bad, goes to nobody else.
func TestBadCredentialIsNotTriedAsAnother(t *testing.T) {
	here := token{place: "X-Token"}
	h := &Handler{methods: []method{ours(here), ours(refusing{marked{here}}), ours(here)}}
	if won, p, err := h.identify(nil, request("X-Token", "mark_1")); err == nil || won.user != 1 {
		t.Errorf("method %d gives %+v, %v", won, p, err)
	}
}

// refusing accepts nobody.
type refusing struct{ marked }

func (refusing) Identify(*http.Request) (*principal.Principal, error) {
	return nil, &credential.Error{Kind: credential.Bad, Code: credential.CodeInvalidCredentials}
}
