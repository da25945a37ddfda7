package auth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// winners are the indices of the methods that decided, -1 for none. app is
// meaningless where no application is asked for.
type winners struct{ app, user int }

// errOne is for a request of which one of two credentials is missing, which is
// none of an anonymous caller.
var errOne = &credential.Error{Kind: credential.Missing, Code: credential.ErrMissing.Code, Detail: credential.ErrMissing.Detail}

// granted is what the credentials of a request give. app is empty where no
// application is asked for.
type granted struct{ app, user credential.Grant }

// identify finds the methods that decide and makes the caller that was verified
// the caller of the request. Where a method refused, it is that of the user in
// what identify returns, whomever it was for.
func (h *Handler) identify(r *http.Request) (winners, granted, *credential.Error) {
	nobody := winners{-1, -1}
	// Authorization is a single field (RFC 9110 section 11.6.2). Two of
	// them are two credentials, of which the upstream might read the other.
	if len(r.Header["Authorization"]) > 1 {
		return nobody, granted{}, &credential.Error{
			Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
			Detail: "more than one Authorization field",
		}
	}
	users := side{h, h.apps, len(h.methods)}
	if h.apps == 0 {
		won, g, err := users.identify(r)
		if err == nil {
			introduce(r, &g)
		}
		return winners{-1, won}, granted{user: g}, err
	}
	app, application, err := side{h, 0, h.apps}.identify(r)
	if err != nil {
		if err.Kind == credential.Missing && (!h.Optional || users.offered(r)) {
			err = errOne
		}
		return winners{-1, app}, granted{}, err
	}
	user, g, err := users.identify(r)
	switch {
	case err != nil && err.Kind == credential.Missing, err == nil && h.shared(r, app, user):
		return nobody, granted{}, errOne
	case err != nil:
		return winners{-1, user}, granted{}, err
	}
	both := *g.Principal // which other requests may have too
	both.App = application.Principal
	g.Principal = &both
	introduce(r, &g)
	return winners{app, user}, granted{application, g}, nil
}

// introduce makes the principal of a grant the caller of the request.
func introduce(r *http.Request, g *credential.Grant) {
	reqctx.Identify(r, g.Principal)
	if len(g.Metadata) == 0 {
		return
	}
	if repl := reqctx.Replacer(r); repl != nil {
		for k, v := range g.Metadata {
			repl.Set("http.auth.user."+k, v)
		}
	}
}

// shared reports whether two methods have read the same credential, which then
// is not that of both the application and the user.
func (h *Handler) shared(r *http.Request, app, user int) bool {
	a, u := h.methods[app].Method, h.methods[user].Method
	if a == nil || u == nil {
		return a == nil && u == nil // both read Authorization, or who knows what
	}
	places := a.Places(r)
	return slices.ContainsFunc(u.Places(r), func(p credential.Place) bool {
		return slices.ContainsFunc(places, func(o credential.Place) bool { return o.At == p.At })
	})
}

// side are the methods for one caller: those from the first to before the last.
type side struct {
	h           *Handler
	first, last int
}

// identify finds the method that decides. It returns its index, -1 for none.
func (s side) identify(r *http.Request) (int, credential.Grant, *credential.Error) {
	owner := 0
	if s.last-s.first > 1 {
		places := s.places(r)
		if err := ambiguous(places); err != nil {
			return -1, credential.Grant{}, err
		}
		var at string
		owner, at = s.recognize(places)
		for i := s.first; i < owner; i++ {
			if stands(places[i-s.first], at) || s.h.methods[i].readsBasic(at) {
				continue
			}
			if g, err := s.h.methods[i].identify(r); err == nil || err.Kind != credential.Missing {
				return i, g, err
			}
		}
	}
	for i := max(owner, s.first); i < s.last; i++ {
		if g, err := s.h.methods[i].identify(r); err == nil || err.Kind != credential.Missing {
			return i, g, err
		}
	}
	return -1, credential.Grant{}, credential.ErrMissing
}

// readsBasic reports whether m is Caddy's own, which would take a credential in
// a part of Basic for a user it does not know.
func (m *method) readsBasic(at string) bool {
	return m.foreign != nil && m.foreign.kind() == principal.KindBasic && strings.HasPrefix(at, "basic ")
}

func (m *method) identify(r *http.Request) (credential.Grant, *credential.Error) {
	if m.foreign != nil {
		return m.foreign.identify(r)
	}
	return identifyOurs(m.Method, r)
}

// places returns where credentials stand, method by method.
func (s side) places(r *http.Request) [][]credential.Place {
	all := make([][]credential.Place, s.last-s.first)
	for i := range all {
		if m := s.h.methods[s.first+i].Method; m != nil {
			all[i] = m.Places(r)
		}
	}
	return all
}

// offered reports whether the request has a credential for this side.
func (s side) offered(r *http.Request) bool {
	for i := s.first; i < s.last; i++ {
		m := &s.h.methods[i]
		if m.foreign == nil {
			if len(m.Places(r)) > 0 {
				return true
			}
			continue
		}
		if _, err := m.foreign.identify(r); err == nil || err.Kind != credential.Missing {
			return true
		}
	}
	return false
}

// recognize returns the method that knows a credential for its own by its
// looks, and where it stands. It is 0 where there is none, or nobody before
// it to mistake the credential for his.
func (s side) recognize(places [][]credential.Place) (owner int, at string) {
	for i := 1; i < len(places); i++ {
		for _, p := range places[i] {
			if p.Known {
				return s.first + i, p.At
			}
		}
	}
	return 0, ""
}

// stands reports whether one of the locations is at.
func stands(places []credential.Place, at string) bool {
	return slices.ContainsFunc(places, func(p credential.Place) bool { return p.At == at })
}

// identifyOurs asks a method of ours. An error of a type that is not
// credential.Error would be a mistake of ours; it must not let anyone in.
func identifyOurs(m credential.Method, r *http.Request) (credential.Grant, *credential.Error) {
	g, err := m.Identify(r)
	if err == nil && g.Principal != nil {
		if err := principal.CheckID(g.Principal.ID); err != nil {
			return credential.Grant{}, &credential.Error{
				Kind: credential.Bad, Code: credential.CodeInvalidCredentials,
				Detail: "the credential names nobody", Rule: g.Principal.Issuer, Cause: err,
			}
		}
		return g, nil
	}
	var ce *credential.Error
	if errors.As(err, &ce) {
		return credential.Grant{}, ce
	}
	return credential.Grant{}, &credential.Error{
		Kind: credential.Unavailable, Code: credential.CodeUnavailable,
		Detail: "the credential cannot be checked", Cause: err,
	}
}

// ambiguous refuses a request with two credentials of the same kind in locations
// that belong to different methods. Each method checks its own locations.
func ambiguous(places [][]credential.Place) *credential.Error {
	at := make(map[string]string, 2)
	for _, list := range places {
		for _, p := range list {
			if where, ok := at[p.Kind]; ok && where != p.At {
				return &credential.Error{
					Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
					Detail: "more than one credential of the same kind",
				}
			}
			at[p.Kind] = p.At
		}
	}
	return nil
}
