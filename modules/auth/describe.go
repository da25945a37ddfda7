package auth

import (
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// This is what other layers ask of the handler when a configuration is loaded.

// ForwardedHeaders returns the names of the headers that carry identity to
// the upstream, which no client may send.
func (h *Handler) ForwardedHeaders() []string {
	var names []string
	for _, f := range slices.Concat(h.Forward, h.AppForward) {
		names = append(names, f.Header)
	}
	return append(names, h.StripHeaders...)
}

// KnowsConnection reports whether a method looks at the certificate of the
// connection, and whether one of them looks at nothing else.
func (h *Handler) KnowsConnection() (looks, only bool) {
	for i := range h.methods {
		c := h.methods[i].traits.Connection
		looks, only = looks || c != credential.ConnectionIgnored, only || c == credential.ConnectionAlone
	}
	return looks, only
}

// Exposed returns the locations where credentials may stand that Caddy's logs show:
// it hides Authorization and cookies, and nothing else.
func (h *Handler) Exposed() []string {
	var places []string
	for i := range h.methods {
		for _, at := range h.methods[i].traits.Sources {
			if at != "header Authorization" && at != "header Proxy-Authorization" && !strings.HasPrefix(at, "basic ") && !strings.HasPrefix(at, "cookie ") && !slices.Contains(places, at) {
				places = append(places, at)
			}
		}
	}
	return places
}

// AdmitsPreflights reports whether CORS preflights pass without a credential.
func (h *Handler) AdmitsPreflights() bool { return h.Preflight }

// CredentialPlaces returns the locations in which the methods that name them look
// for credentials, method by method, such as "header X-API-Key".
func (h *Handler) CredentialPlaces() [][]string {
	var all [][]string
	for i := range h.methods {
		if sources := h.methods[i].traits.Sources; sources != nil {
			all = append(all, sources)
		}
	}
	return all
}

// HeaderNames returns the header fields that methods look at besides.
func (h *Handler) HeaderNames() []string {
	var all []string
	for i := range h.methods {
		all = append(all, h.methods[i].traits.Reads...)
	}
	return all
}

// CopiedFields returns the fields that a method expects forward_auth to have
// copied.
func (h *Handler) CopiedFields() []credential.Copied {
	var fields []credential.Copied
	for i := range h.methods {
		fields = append(fields, h.methods[i].traits.Copied...)
	}
	return fields
}

// LayerName returns the directive that the handler stands for.
func (h *Handler) LayerName() string { return h.Name }

// Authenticates reports whether the handler makes callers known. One without
// methods only removes headers.
func (h *Handler) Authenticates() bool { return len(h.methods) > 0 }

// AdmitsAnonymous reports whether a request without any credential may pass.
func (h *Handler) AdmitsAnonymous() bool { return h.Optional }

// Vouches returns who can vouch for callers here; what an application shows
// beside its user is not their credential.
func (h *Handler) Vouches() []principal.Source {
	var all []principal.Source
	for _, m := range h.methods[h.apps:] {
		all = append(all, m.traits.Vouches...)
	}
	return all
}

// Grants returns what the credentials of callers can give here.
func (h *Handler) Grants() credential.Grants {
	var all credential.Grants
	for _, m := range h.methods[h.apps:] {
		given := m.traits.Gives
		if given == nil {
			all.Others = true
			continue
		}
		all.Add(given.Roles, given.Scopes)
		all.Others = all.Others || given.Others
	}
	return all
}

// Doubts returns what is probably not meant in the configuration of the
// methods and in what is forwarded.
func (h *Handler) Doubts() []credential.Doubt {
	var all []credential.Doubt
	for i := range h.methods {
		all = append(all, h.methods[i].traits.Doubts...)
	}
	for _, list := range [][]credential.Forward{h.Forward, h.AppForward} {
		for _, f := range list {
			if d, ok := credential.ClaimDoubt("forward", f.Claim); ok {
				all = append(all, d)
			}
		}
	}
	return all
}
