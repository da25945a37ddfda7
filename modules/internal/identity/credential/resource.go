package credential

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// WellKnown is the path at which a resource server publishes its metadata (RFC
// 9728 section 3.1).
const WellKnown = "/.well-known/oauth-protected-resource"

// Resource is a protected resource (RFC 9728): what tokens are for.
type Resource struct {
	ID       string // its identifier, such as https://api.example.com/mcp
	Origin   string // of the identifier
	Path     string // of the identifier, empty for none
	Metadata string // the URL of its metadata

	// Scheme is how tokens are sent.
	Scheme string

	// Document returns the metadata, with the scopes that are known to have a
	// meaning here.
	Document func(scopes []string) []byte
}

// ParseResource checks the identifier of a resource (RFC 8707 section 2, RFC 9728
// section 1.2): clients compare it with what they were told to connect to, byte
// by byte.
func ParseResource(id string) (*Resource, error) {
	u, err := url.Parse(id)
	local := err == nil && u.Scheme == "http" && isLocal(u.Hostname())
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("write the URL of the endpoint as clients know it, such as https://api.example.com/mcp")
	case u.Scheme != "https" && !local:
		return nil, errors.New("the URL must begin with https://, which only localhost need not")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(id, "#"):
		return nil, errors.New("the URL must have no user, query and fragment")
	case strings.HasSuffix(u.Path, "/"):
		return nil, fmt.Errorf("the URL must not end in a slash, since clients compare it with the endpoint: write %s", strings.TrimRight(id, "/"))
	case u.Host != strings.ToLower(u.Host):
		return nil, fmt.Errorf("the host must be written in small letters: %s", strings.ToLower(u.Host))
	case u.RawPath != "" || strings.Contains(u.Path, "//") || strings.Contains(u.Path+"/", "/./") || strings.Contains(u.Path+"/", "/../"):
		return nil, errors.New("the path must be a plain one, without encoded characters, empty and dot segments")
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return nil, errors.New("leave the port out, which the scheme implies")
	}
	origin := u.Scheme + "://" + u.Host
	return &Resource{ID: id, Origin: origin, Path: u.Path, Metadata: origin + WellKnown + u.Path, Scheme: Bearer}, nil
}

func isLocal(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasSuffix(host, ".localhost")
}

// Audiences are the names of the resource in tokens. A client that is given an
// origin may print it with a slash.
func (r *Resource) Audiences() []string {
	if r.Path == "" {
		return []string{r.ID, r.ID + "/"}
	}
	return []string{r.ID}
}

// MetadataPaths are where the metadata is served: below the root as RFC 9728 has
// it, and at the root, where some clients look.
func (r *Resource) MetadataPaths() []string {
	if r.Path == "" {
		return []string{WellKnown}
	}
	return []string{WellKnown + r.Path, WellKnown}
}
