package credential

import (
	"net/http"
	"strings"
)

// Copied is a field of a request that forward_auth has copied from the response
// of an authentication service: From in the response, To in the request.
type Copied struct{ From, To string }

// ParseCopied reads a field as copy_headers of forward_auth writes it: one name
// for both, or <from>><to>.
func ParseCopied(text string) (Copied, error) {
	from, to, renamed := strings.Cut(text, ">")
	if !renamed {
		to = from
	}
	for _, name := range []string{from, to} {
		if err := ForwardableHeader(name); err != nil {
			return Copied{}, err
		}
	}
	return Copied{From: http.CanonicalHeaderKey(from), To: http.CanonicalHeaderKey(to)}, nil
}

// String returns the field as copy_headers writes it.
func (c Copied) String() string {
	if c.From == c.To {
		return c.To
	}
	return c.From + ">" + c.To
}
