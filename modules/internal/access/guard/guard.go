// Package guard finds abuse in what a site has answered, and keeps the bans that
// come of it.
//
// A Counter counts one signal of one rule in a sliding window, by address,
// network, caller or key, in bounded memory. It counts exactly and never
// estimates above the truth: where memory runs out it forgets, so that an
// innocent caller cannot be taken for another. A Book has the bans.
//
// The package knows nothing of Caddy. Time is an argument: a Moment has a clock
// that never steps, by which everything is counted, and the time of day, which is
// only shown and stored.
package guard

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Moment is a point in time.
type Moment struct {
	Since time.Duration // since some moment in the past, by a monotonic clock
	Wall  time.Time     // the time of day
}

// Request is what is known about a request that has been answered.
type Request struct {
	Address netip.Addr // of the client, as Normal returns it; not valid if unknown

	// Proven is false where the client may have chosen its address, or where it may be
	// that of a proxy: nobody is banned by it.
	Proven bool

	// Foreign is set where a page of another site made the browser send the
	// request. It counts apart, so that such a page cannot have its visitors
	// banned: see Subject.
	Foreign bool

	Principal *principal.Principal // verified, or nil

	Method     string
	Path       string // as the client has sent it
	Route      string // a pattern with variables that a layer has matched
	RoutePath  string // and the path that it has matched with it
	Status     int
	Signals    Signals
	Credential uint64 // a keyed hash of what was offered and rejected, 0 if none or not known
	Bytes      int64  // of the body of the response

	// ID is asked for the ID of the request's record, if it is evidence. May be nil.
	ID RecordID
}

// RecordID is what knows the ID that the record of a request has: see FormatID.
type RecordID interface{ RecordID() [16]byte }

// Normal returns an address in the one form in which it is counted and looked up:
// an IPv4 address that is mapped into IPv6 as IPv4, and without a zone.
func Normal(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Kind says what a subject is.
type Kind uint8

// The kinds of subjects.
const (
	Network Kind = iota + 1 // addresses, one or many
	Caller                  // Principal.Caller
	Key                     // kind and ID of the key of a credential
)

// Subject is who is banned.
type Subject struct {
	Kind Kind
	Net  netip.Prefix
	Name string // of a caller or key

	// Foreign restricts it to requests that pages of other sites make browsers
	// send. Whoever is tricked into sending those loses nothing else.
	Foreign bool
}

// The beginnings of the text of a subject.
const (
	callerText  = "caller:"
	keyText     = "key:"
	foreignText = " from other sites"
)

// String returns the subject as administrators write it: an address, a
// network, caller:<caller> or key:<kind>|<id>.
func (s Subject) String() string {
	text := ""
	switch s.Kind {
	case Network:
		if text = s.Net.String(); s.Net.IsSingleIP() {
			text = s.Net.Addr().String()
		}
	case Caller:
		text = callerText + s.Name
	case Key:
		text = keyText + s.Name
	}
	if s.Foreign {
		text += foreignText
	}
	return text
}

var errSubject = errors.New("write an address, a network such as 203.0.113.0/24, caller:<caller> as {http.moat.caller} has it, or key:<kind>|<key ID>")

// ParseSubject reads what String returns. An address of IPv6 stands for its /64,
// as for rules.
func ParseSubject(text string) (Subject, error) {
	var s Subject
	text, s.Foreign = strings.CutSuffix(text, foreignText)
	if name, ok := strings.CutPrefix(text, callerText); ok {
		s.Kind, s.Name = Caller, name
	} else if name, ok := strings.CutPrefix(text, keyText); ok {
		s.Kind, s.Name = Key, name
	} else if a, err := netip.ParseAddr(text); err == nil {
		s.Kind, s.Net = Network, host(Normal(a))
		return s, nil
	} else if p, err := netip.ParsePrefix(text); err == nil {
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return s, errSubject
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16 {
			return s, errors.New("the network is too large: at most a /8 of IPv4 or a /16 of IPv6")
		}
		s.Kind, s.Net = Network, p.Masked()
		return s, nil
	}
	if s.Name == "" {
		return s, errSubject
	}
	return s, nil
}

// host returns the network that counts as one address: of IPv6 the /64, since whoever
// has one address of it has all (RFC 4291 section 2.5.4).
func host(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Host is the subject of an address.
func Host(a netip.Addr) Subject { return Subject{Kind: Network, Net: host(a)} }

// keyName returns the name of the key of a credential, "" where it has none of its
// own: that of a token is the issuer's, which all callers share.
func keyName(p *principal.Principal) string {
	if !ownKey(p) {
		return ""
	}
	return p.Kind + "|" + p.KeyID
}

func ownKey(p *principal.Principal) bool {
	if p == nil || p.KeyID == "" {
		return false
	}
	switch p.Kind {
	case principal.KindAPIKey, principal.KindSignature, principal.KindCertificate, principal.KindWebhook:
		return true
	}
	return false
}

// CallerOf is the subject of a verified caller.
func CallerOf(p *principal.Principal, foreign bool) Subject {
	return Subject{Kind: Caller, Name: p.Caller(), Foreign: foreign}
}

// KeyOf is the subject of the key of a verified caller, with an empty name where
// there is none.
func KeyOf(p *principal.Principal, foreign bool) Subject {
	return Subject{Kind: Key, Name: keyName(p), Foreign: foreign}
}

// By is by what a rule counts.
type By struct {
	Kind     Kind // 0: the whole site
	Address  bool // Network: of one address
	Bits4    int
	Bits6    int
	original string
}

// ParseBy reads by what to count: address, network with the lengths of its
// prefixes if they are not /24 and /64, caller, key or site.
func ParseBy(words []string) (By, error) {
	text := strings.Join(words, " ")
	switch text {
	case "address":
		return By{Kind: Network, Address: true, Bits4: 32, Bits6: 64, original: text}, nil
	case "network":
		return By{Kind: Network, Bits4: 24, Bits6: 64, original: text}, nil
	case "caller":
		return By{Kind: Caller, original: text}, nil
	case "key":
		return By{Kind: Key, original: text}, nil
	case "site":
		return By{original: text}, nil
	}
	if len(words) == 3 && words[0] == "network" {
		b4, ok4 := prefixBits(words[1], 8, 32)
		b6, ok6 := prefixBits(words[2], 16, 64)
		if ok4 && ok6 {
			return By{Kind: Network, Bits4: b4, Bits6: b6, original: text}, nil
		}
	}
	return By{}, errors.New("write by address, by network, by network /24 /48, by caller, by key or by site")
}

func prefixBits(text string, low, high int) (int, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "/"))
	return n, err == nil && strings.HasPrefix(text, "/") && n >= low && n <= high
}

// String returns what ParseBy has read.
func (b By) String() string { return b.original }

// Subject returns who it is that a rule counts a request for. A request without a
// verified caller counts by its address where callers are counted, as
// {http.moat.caller} has it. The second result is false where there is nobody.
func (b By) Subject(r *Request) (Subject, bool) {
	switch {
	case b.Kind == Key:
		s := KeyOf(r.Principal, r.Foreign)
		return s, s.Name != ""
	case b.Kind == Caller && r.Principal != nil:
		return CallerOf(r.Principal, r.Foreign), true
	case b.Kind == 0:
		return Subject{}, true
	case !r.Address.IsValid():
		return Subject{}, false
	}
	s := Host(r.Address)
	if b.Kind == Network {
		bits := b.Bits4
		if r.Address.Is6() {
			bits = b.Bits6
		}
		s.Net, _ = r.Address.Prefix(bits)
	}
	s.Foreign = r.Foreign
	return s, true
}

// Signals are what the layers have said about a request, as a set.
type Signals uint64

// The signals that are no error codes.
const (
	// Trapped: the path is one that nobody has a reason to request.
	Trapped Signals = 1 << (63 - iota)

	// Limited: too many requests, or tokens.
	Limited

	// Rejected: a layer rejected the request, and not the upstream.
	Rejected

	// Foreign401: an authenticator that is not ours rejected a credential.
	Foreign401
)

// codes are the error codes that can be counted, each a signal.
var codes = []string{
	"ambiguous_object", "ambiguous_path", "api_key_restricted", "caller_denied", "client_certificate_not_allowed", "content_digest_mismatch", "cross_origin",
	"forbidden", "forbidden_origin", "graphql_name", "idempotency_key_used", "insufficient_scope", "invalid_api_key",
	"invalid_client", "invalid_client_certificate", "invalid_credentials", "invalid_dpop_proof", "invalid_grant", "invalid_mcp_message", "invalid_request",
	"invalid_request_body", "invalid_signature", "invalid_token", "invalid_webhook_signature", "mcp_header_mismatch",
	"mcp_message_too_large", "missing_credentials", "request_body_too_large", "signature_replayed", "token_budget_exceeded",
	"unsupported_request_body", "webhook_replayed", "webhook_too_large",
}

// OfCode returns the signal of an error code, 0 for one that nobody counts.
func OfCode(code string) Signals {
	if i, ok := slices.BinarySearch(codes, code); ok {
		return 1 << i
	}
	return 0
}

func ofCodes(codes ...string) (all Signals) {
	for _, code := range codes {
		all |= OfCode(code)
	}
	return all
}

// Credentials are the signals of credentials that were checked and are wrong.
var Credentials = ofCodes("content_digest_mismatch", "invalid_api_key", "invalid_client", "invalid_client_certificate", "invalid_credentials",
	"invalid_dpop_proof", "invalid_signature", "invalid_token", "invalid_webhook_signature") | Foreign401

var missing = OfCode("missing_credentials")

// words are the signals that have names of their own.
var words = map[string]Signals{
	"failed_credentials": Credentials,
	"ambiguous_path":     ofCodes("ambiguous_object", "ambiguous_path"),
	"replay":             ofCodes("signature_replayed", "webhook_replayed"),
	"invalid_body": ofCodes("graphql_name", "invalid_mcp_message", "invalid_request_body", "mcp_header_mismatch",
		"mcp_message_too_large", "request_body_too_large", "unsupported_request_body", "webhook_too_large"),
	"rate_limited": Limited | ofCodes("token_budget_exceeded"),
	"trap":         Trapped,
}

// Words returns the names of signals.
func Words() []string {
	all := append(make([]string, 0, len(words)+3), "requests", "success", "bytes")
	for name := range words {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
