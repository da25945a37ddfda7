package keyset

import (
	"errors"
	"net/url"
	"strings"
)

// Source says where a remote key set is: at URL, or where the discovery
// document of Issuer says.
type Source struct {
	Issuer string
	URL    string

	// Header are fields of the requests, as lines "Name: value". They go to
	// the host that the source names and to no other.
	Header string

	// CA are certificates in PEM of the only authorities that may vouch for
	// the provider. Empty: those of the system.
	CA string
}

// host is who may see Header.
func (s Source) host() string {
	where := s.URL
	if where == "" {
		where = s.Issuer
	}
	u, err := url.Parse(where)
	if err != nil {
		return ""
	}
	return u.Host
}

// String names the source for logs and metrics.
func (s Source) String() string {
	if s.URL != "" {
		return s.URL
	}
	return s.Issuer
}

// Check says why a source that an administrator wrote cannot be used.
//
// Plain http is accepted where it is written out: the administrator has
// decided. What a provider says later is held to https (see CheckDiscovered).
func (s Source) Check() error {
	if s.URL != "" {
		_, err := parse(s.URL)
		return err
	}
	u, err := parse(s.Issuer)
	if err != nil {
		return err
	}
	// OpenID Connect Discovery section 4.1, RFC 8414 section 2.
	if u.RawQuery != "" || u.ForceQuery {
		return errors.New("an issuer with a query cannot be discovered")
	}
	return nil
}

func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("not a URL such as https://id.example.com")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the scheme of the URL is neither https nor http")
	case u.User != nil:
		return nil, errors.New("the URL must not hold a user name or password")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return nil, errors.New("the URL must not have a fragment")
	}
	return u, nil
}

// discoveryURLs returns where the metadata of an issuer may be: where OpenID
// Connect Discovery section 4 puts it, then where RFC 8414 section 3.1 does.
func discoveryURLs(issuer string) ([]string, error) {
	u, err := parse(issuer)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	root := u.Scheme + "://" + u.Host
	return []string{
		root + path + "/.well-known/openid-configuration",
		root + "/.well-known/oauth-authorization-server" + path,
	}, nil
}
