package credential

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Traits are what a method is by its configuration. They do not change once it
// is provisioned. The zero Traits are those of a method with nothing to say.
type Traits struct {
	// Options are what the directive says that the handler does.
	Options

	// Sources are where credentials may stand, as Place.At names them: "header
	// X-API-Key", "cookie id", "query key".
	Sources []string

	// Ambient says that a Place of the method can be Ambient.
	Ambient bool

	// Reads are header fields that the method looks at besides.
	Reads []string

	// Believes are header fields that all clients are forbidden to send, and
	// that some peers are believed in. The handler removes them from every
	// request; the context of the request keeps what stood in them.
	Believes []string

	// Copied are fields that forward_auth is expected to have copied.
	Copied []Copied

	// Connection says whether the method knows callers by the certificate of
	// the connection, and so depends on how connections are made.
	Connection Connection

	// Vouches are who can vouch for the callers.
	Vouches []principal.Source

	// Gives are the roles and scopes that credentials can give. Nil where the
	// method cannot say.
	Gives *Grants

	// Unauthorized is added to every 401, beside the challenge.
	Unauthorized http.Header

	// Endpoints are what the method serves itself, to everybody.
	Endpoints []Endpoint

	// Cookies are those of the method, which nobody behind sees, on requests that
	// it does not look at either. An asterisk at the end stands for any rest.
	Cookies []string

	// Login, where it is not nil, is asked about a request that is rejected with
	// 401: it may log the user in, and reports whether it has responded.
	Login Login

	// Resource is the protected resource that the credentials are for, nil where
	// none is named.
	Resource *Resource

	// Doubts are what works in the configuration and is probably not meant.
	Doubts []Doubt
}

// Options are what a method's directive says that is not the method's to do,
// but the handler's that holds it.
type Options struct {
	Optional  bool
	Preflight bool

	// Origins are those of other sites whose pages may send requests with a
	// credential in a cookie.
	Origins []string

	// KeepStreams lets streams go on when their right has ended.
	KeepStreams bool

	Forward []Forward
}

// Connection is what a method makes of the certificate of the connection.
type Connection uint8

// What a method can make of the certificate of the connection.
const (
	ConnectionIgnored Connection = iota
	ConnectionOrElse             // it identifies callers, and something else does, too
	ConnectionAlone              // nothing else does
)

// Endpoint is a path that a method serves itself: the public keys of its
// issuer, or where a login ends. Nothing is asked of who calls it.
type Endpoint struct {
	Path    string   // as in URL.Path
	Methods []string // none: all
	Rule    string   // what the record says of it
	Serve   Next
}

// Login logs the user of a browser in, in place of a rejection. It reports false
// for a request that is not one for a page, and has done nothing then.
type Login = func(w http.ResponseWriter, r *http.Request, needed *StepUp) (done bool, err error)

// LoginPath is the path below which a method has its own for logins.
const LoginPath = "/.moat"

// StepUp is the authentication that a request needs (RFC 9470). Nil stands for any.
type StepUp struct {
	ACRs   []string      // any one of them; none: whatever it is
	MaxAge time.Duration // 0: however long ago
}

// Doubt is something in the configuration of a method that works and is
// probably not meant.
type Doubt struct {
	ID   string // what kind it is, which stays the same
	Text string // what is wrong, and what to write instead
}

// ClaimDoubt returns what is doubtful about a text that was written where an
// option takes a claim pointer.
func ClaimDoubt(option, text string) (Doubt, bool) {
	meant := principal.Meant(text)
	mark := "a dot"
	if strings.Contains(text, "/") {
		mark = "a slash"
	}
	return Doubt{
		ID: "claim_name_separated",
		Text: option + " " + text + ": without a leading slash this is one claim with " + mark + " in its name; did you mean " + meant +
			"? A claim that is really named so is written " + principal.Pointer{text}.String(),
	}, meant != ""
}
