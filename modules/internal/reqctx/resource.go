package reqctx

import (
	"net/http"
	"strings"
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
