package reqctx

import (
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// Resource is the protected resource (RFC 9728) that a request is for, as the
// configuration of the authenticator names it.
type Resource struct {
	// Path is that of the resource identifier, such as /mcp; empty for one
	// without a path.
	Path string

	// Origin is that of the identifier: https://api.example.com.
	Origin string

	// Metadata is where its metadata is served.
	Metadata string

	// Scheme is how its tokens are sent: Bearer, or DPoP.
	Scheme string
}

// Is reports whether the resource is what a request to this path is for, and not
// only something below it.
func (s *Resource) Is(path string) bool {
	return path == s.Path || path == s.Path+"/"
}

type resourceKey struct{}

// SetResource says which protected resource a request is for.
func SetResource(r *http.Request, s *Resource) {
	Of(r).Keep(resourceKey{}, s)
}

// ResourceOf returns the protected resource that a request is for, or nil.
func ResourceOf(r *http.Request) *Resource {
	s, _ := Of(r).Kept(resourceKey{}).(*Resource)
	return s
}

// ChallengeScheme returns the scheme by which tokens are sent with this request.
func ChallengeScheme(r *http.Request) string {
	if s := ResourceOf(r); s != nil {
		return s.Scheme
	}
	return "Bearer"
}

// WithParameter returns challenges of WWW-Authenticate, of which those for
// tokens (RFC 6750, RFC 9449) have a parameter more. One that has it already
// stays, and an empty value adds nothing. The value must be one that a
// quoted-string can hold as it is.
func WithParameter(challenges []string, name, value string) []string {
	if value == "" {
		return challenges
	}
	all := make([]string, len(challenges))
	for i, c := range challenges {
		scheme, params, _ := strings.Cut(c, " ")
		all[i] = c
		if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "DPoP") || strings.Contains(" "+params, " "+name+`="`) {
			continue
		}
		separator := ", "
		if params == "" {
			separator = " "
		}
		all[i] = c + separator + name + `="` + value + `"`
	}
	return all
}

// withMetadata has every 401 and 403 say where the metadata of the resource is
// (RFC 9728 section 5.1). Shared problems are not changed.
func withMetadata(r *http.Request, p *problem.Problem) *problem.Problem {
	if p.Status != http.StatusUnauthorized && p.Status != http.StatusForbidden {
		return p
	}
	s := ResourceOf(r)
	if s == nil {
		return p
	}
	with := *p
	if len(with.Challenges) == 0 {
		with.Challenges = []string{s.Scheme}
	}
	with.Challenges = WithParameter(with.Challenges, "resource_metadata", s.Metadata)
	return &with
}
