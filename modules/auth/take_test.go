package auth

import (
	"net/http"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// passedOn is a method whose credential a proxy passes on in X-Cert.
type passedOn struct{ token }

func (passedOn) Identify(r *http.Request) (credential.Grant, error) {
	if v, _ := reqctx.Of(r).Removed("X-Cert"); len(v) == 1 && v[0] != "" {
		return credential.Grant{Principal: &principal.Principal{ID: v[0], Kind: "cert"}}, nil
	}
	return credential.Grant{}, credential.ErrMissing
}

func (passedOn) Places(*http.Request) []credential.Place { return nil }

func (passedOn) Traits() credential.Traits {
	return credential.Traits{Believes: []string{"X-Cert"}}
}

func TestFieldsAreTakenBeforeTheyAreRemovedOnEveryPath(t *testing.T) {
	m := passedOn{token{place: "X-Token"}}
	preflight := []string{"Origin", "https://a", "Access-Control-Request-Method", "PUT"}
	for name, test := range map[string]struct {
		h      *Handler
		method string
		header []string
		want   string
	}{
		"believed":  {&Handler{}, "GET", []string{"X-Cert", "alice"}, "alice"},
		"anonymous": {&Handler{Optional: true}, "GET", []string{"x_cert", "alice"}, ""},
		"preflight": {&Handler{Preflight: true}, "OPTIONS", append(preflight, "X-Cert", "alice"), ""},
		"unmatched": {nil, "GET", []string{"X-Cert", "alice", "X.Cert", "alice"}, ""},
	} {
		h := test.h
		if h == nil {
			h = Stripper(Wrap("client_cert_auth", m))
		} else {
			h.methods = []method{ours(m)}
		}
		r := request(test.header...)
		r.Method = test.method
		a := serve(t, h, r)
		if a.reached == nil {
			t.Errorf("%s: refused with %d", name, a.Code)
			continue
		}
		for name := range a.reached.Header {
			if credential.Spelled(name) == "x-cert" {
				t.Errorf("the upstream sees %s", name)
			}
		}
		got := ""
		if p := reqctx.Principal(a.reached); p != nil {
			got = p.ID
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
