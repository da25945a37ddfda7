package httpsig

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// Web Bot Auth, as draft-ietf-webbotauth-httpsig-protocol-01 has it: a signer names,
// in a member of Signature-Agent that it covers, the directory where its keys are.
const (
	botTag = "web-bot-auth"

	// WellKnown is where the directory of an origin is.
	WellKnown = "/.well-known/http-message-signatures-directory"

	maxAgent = 2048 // bytes of the address of a directory
)

// Agents finds keys in the directories of signers. A request is never why a
// directory is looked for that is not listed already.
type Agents interface {
	Keys

	// Listed reports whether keys of the directory with that name (see AgentName)
	// are accepted.
	Listed(agent string) bool

	// AgentKey returns the key with that thumbprint which the directory has, nil
	// if there is none. An error says that it cannot be known.
	AgentKey(agent, thumbprint string) (*Key, error)
}

// hostLetters are those of names and addresses of hosts. Percent-encoded ones, which
// RFC 3986 section 3.2.2 allows, are a second reading.
const hostLetters = "abcdefghijklmnopqrstuvwxyz0123456789-._:"

// AgentName returns the name by which directories are told apart: the address in one
// form (RFC 3986 section 6.2), without query. An origin stands for its well-known
// directory, as signers wrote it before the draft named the directory itself. ok is
// false for what is not an address of a directory: another scheme than https, but for
// http on this machine; a user, a fragment, a path with two readings.
func AgentName(address string) (name string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxAgent || !printable(address) || strings.ContainsAny(address, ` "\#`) {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case u.Opaque != "" || u.User != nil || host == "" || strings.Trim(host, hostLetters) != "" || strings.HasSuffix(u.Host, ":"):
		return "", false
	case u.Scheme != "https" && (u.Scheme != "http" || !local):
		return "", false
	}
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		port = ""
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	path, ok := agentPath(u.EscapedPath())
	return u.Scheme + "://" + host + path, ok
}

// agentPath writes a path in one form. One that has segments which somebody may
// take out, or a slash in disguise, has none.
func agentPath(escaped string) (string, bool) {
	if escaped == "" || escaped == "/" {
		return WellKnown, true
	}
	path, err := url.PathUnescape(escaped)
	if err != nil || strings.Contains(path, `\`) || strings.Count(path, "/") != strings.Count(escaped, "/") || !printable(path) {
		return "", false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "." || segment == ".." || segment == "" && !strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
			return "", false
		}
	}
	return (&url.URL{Path: path}).EscapedPath(), true
}

// agent returns the name of the directory that the signature says its key is in: by
// the member of Signature-Agent with its own label or, where a proxy has renamed
// the label, the only one that it covers. Who covers the field whole covers all its
// members, or the one string that is the older form of the field. It is empty if
// there is none.
func agent(m *Message, in *input) string {
	var whole bool
	var members []string
	for i := range in.items {
		it := &in.items[i]
		if it.name != "signature-agent" {
			continue
		}
		key, _ := it.param("key")
		switch text, isText := key.(string); {
		case len(it.params) == 0:
			whole = true
		case len(it.params) == 1 && isText:
			members = append(members, text)
		}
	}
	lines := m.Header["Signature-Agent"]
	d, err := httpsfv.UnmarshalDictionary(lines)
	switch {
	case whole && err != nil:
		item, err := httpsfv.UnmarshalItem(lines)
		return agentValue(item, err)
	case err != nil:
		return ""
	case whole: // every member is covered
		members = d.Names()
	}
	if slices.Contains(members, in.label) {
		members = []string{in.label}
	}
	if len(members) != 1 {
		return ""
	}
	v, _ := d.Get(members[0])
	item, ok := v.(httpsfv.Item)
	if !ok {
		return ""
	}
	return agentValue(item, nil)
}

// agentValue returns the name of the directory at an address. It returns
// "" for a member with parameters, which the draft has ignored.
func agentValue(item httpsfv.Item, err error) string {
	text, ok := item.Value.(string)
	if err != nil || !ok || len(item.Params.Names()) > 0 {
		return ""
	}
	name, _ := AgentName(text)
	return name
}

// AcceptBotSignature is the value of Accept-Signature that asks for Web Bot Auth.
const AcceptBotSignature = `bot1=("@authority" "signature-agent";key="bot1");created;expires;keyid;tag="` + botTag + `"`

// checkAgent checks what a signature needs whose key is in a directory.
func (p *Policy) checkAgent(m *Message, in *input, v *parameters) *Error {
	switch {
	case v.tag != botTag:
		return refused("the key is one of a directory and the tag is not " + botTag)
	case !v.hasExpires:
		return refused("the key is one of a directory and expires is missing")
	case !covers(in.items, &authority) && !covers(in.items, &targetURI):
		return refused("the authority is not covered")
	case p.components != nil:
		return nil // they have been looked for
	}
	// Who signs by the draft alone covers no more than the authority. Whoever gets
	// to see such a signature first could make another request of it, so that is
	// good for reading only.
	if m.HasContent || !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, m.Method) {
		if what := p.uncovered(m, in); what != "" {
			return refused(what)
		}
	}
	return nil
}

// agentKey finds the key in the directory that the signature names.
func agentKey(agents Agents, agent, id string) (*Key, *Error) {
	if !agents.Listed(agent) {
		return nil, refused("the directory that Signature-Agent names is not listed")
	}
	key, err := agents.AgentKey(agent, id)
	if err != nil {
		return nil, &Error{Class: ErrUnavailable, Reason: "the directory that Signature-Agent names: " + err.Error()}
	}
	return key, nil
}

// DirectoryKey makes a key of one in a directory, whose id is its thumbprint. For RSA
// without alg that is rsa-pss-sha512.
func DirectoryKey(k *jwk.Key) (*Key, error) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool {
		return k.Fits(a.jose) || k.Alg == "Ed25519" && a.jose == "EdDSA"
	})
	if i < 0 || k.Symmetric() {
		return nil, errors.New("it is for none of " + Algorithms)
	}
	a := &algorithms[i]
	key := k
	if k.Alg == "Ed25519" {
		pinned := *k
		pinned.Alg = ""
		key = &pinned
	}
	return &Key{ID: k.Thumbprint(), Algorithm: a.name, alg: a, key: key}, nil
}
