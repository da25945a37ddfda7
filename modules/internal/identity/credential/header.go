package credential

import (
	"fmt"
	"net/textproto"

	"golang.org/x/net/http/httpguts"
)

// reserved are fields that say how a message is framed, where it goes or what
// it may be trusted with. A claim in one of them would let whoever writes
// the claim speak to the upstream's HTTP parser.
var reserved = map[string]bool{
	"Authorization": true, "Proxy-Authorization": true, "Connection": true, "Content-Encoding": true,
	"Content-Length": true, "Content-Type": true, "Cookie": true, "Expect": true, "Host": true,
	"Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true,
}

// ForwardableHeader says why name cannot be the name of a header that carries
// identity to the upstream, nil if it can.
func ForwardableHeader(name string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%q is not a header name", name)
	}
	if reserved[textproto.CanonicalMIMEHeaderKey(name)] {
		return fmt.Errorf("%s is a header that HTTP itself needs: choose another name", name)
	}
	return nil
}
