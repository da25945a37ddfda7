package httpsig

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cavage is a policy for signatures of draft-cavage-http-signatures-12 and of
// the two dialects of it that are in wide use:
//
//	Authorization: Signature keyId="…",algorithm="…",headers="…",signature="…"
//
// as the draft has it, and as clients of APISIX's hmac-auth send it, who list
// @request-target instead of (request-target) and sign the key id as a first
// line; and
//
//	Authorization: hmac username="…",algorithm="…",headers="…",signature="…"
//
// as clients of Kong's hmac-auth send it, who list request-line or, for versions
// of Kong that have it, @request-target.
//
// APISIX is so from version 3.11 on; before, it had fields named X-HMAC. Kong
// writes the line of @request-target in its own way, and takes a request-line
// without the query too, for which a query could be added to what was signed;
// we do not. Where a field is not there, Kong signs an empty value and APISIX
// nothing; here that is refused. Of their algorithms there is hmac-sha256 alone.
//
// The draft has the field Signature too, without a scheme, as ActivityPub sends
// it:
//
//	Signature: keyId="…",algorithm="…",headers="…",signature="…"
//
// RFC 9421 has given that field another meaning, with Signature-Input beside it.
// Where that is, Signature is not read as the draft has it.
type Cavage struct {
	// Headers must be covered, in lower case. (request-target) stands for
	// request-line and @request-target too, and date for x-date and (created).
	// Empty: (request-target), host and date. If there may be content, digest
	// besides, whatever stands here.
	Headers []string

	// MaxAge and Leeway are those of Options.
	MaxAge, Leeway time.Duration
}

// Check says what is wrong with the policy.
func (c *Cavage) Check() error {
	if err := checkWindow(c.MaxAge, c.Leeway); err != nil {
		return err
	}
	for i, h := range c.Headers {
		switch {
		case h == "(request-target)" || h == "(created)" || lowerName(h):
		default:
			return fmt.Errorf("cavage: %.40q is neither (request-target) nor the name of a field in lower case", h)
		}
		if slices.Contains(c.Headers[:i], h) {
			return fmt.Errorf("cavage: %s already specified", h)
		}
	}
	return nil
}

// CavagePlaces returns the fields that hold a signature of the draft:
// Authorization, Signature or both, of which one may be.
func CavagePlaces(h http.Header) (fields []string) {
	if slices.ContainsFunc(h["Authorization"], func(v string) bool {
		_, _, ok := cavageScheme(v)
		return ok
	}) {
		fields = append(fields, "Authorization")
	}
	if len(h["Signature-Input"]) == 0 && slices.ContainsFunc(h["Signature"], cavageBare) {
		fields = append(fields, "Signature")
	}
	return fields
}

// cavageBare reports whether a value of Signature begins with a parameter of the
// draft, and not with the label of a signature.
func cavageBare(value string) bool {
	name, rest, _ := strings.Cut(strings.TrimLeft(value, " \t"), "=")
	switch name {
	case "keyId", "algorithm", "headers", "signature":
		return strings.HasPrefix(rest, `"`)
	case "created", "expires":
		return rest != "" && rest[0] >= '0' && rest[0] <= '9'
	}
	return false
}

// cavageScheme splits off the scheme.
func cavageScheme(value string) (kong bool, rest string, ok bool) {
	scheme, rest, found := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	switch {
	case strings.EqualFold(scheme, "signature"):
		return false, rest, found
	case strings.EqualFold(scheme, "hmac"):
		return true, rest, found
	}
	return false, "", false
}

// cavageParams are the parameters of one signature.
type cavageParams struct {
	keyID, algorithm       string
	headers                []string
	signature              []byte
	created, expires       int64
	hasCreated, hasExpires bool
}

// parseCavage reads parameters. Each may stand once, and those that are not
// known are refused.
func parseCavage(s string, kong bool) (p cavageParams, ok bool) {
	if len(s) > maxField {
		return p, false
	}
	seen := map[string]bool{}
	idName := "keyId"
	if kong {
		idName = "username"
	}
	for more := true; more; {
		var name, value string
		var quoted bool
		if name, value, quoted, s, more, ok = cavagePair(s); !ok || seen[name] {
			return p, false
		}
		seen[name] = true
		ok = quoted
		switch name {
		case idName:
			p.keyID = value
		case "algorithm":
			p.algorithm = value
		case "headers":
			p.headers = strings.Split(value, " ")
			ok = ok && len(p.headers) <= maxComponents
		case "signature":
			sig, err := base64.StdEncoding.Strict().DecodeString(value)
			p.signature = sig
			ok = ok && err == nil && !strings.ContainsAny(value, "\r\n")
		case "created":
			p.created, p.hasCreated, ok = integer(value, quoted)
		case "expires":
			p.expires, p.hasExpires, ok = integer(value, quoted)
		default:
			ok = false
		}
		if !ok {
			return p, false
		}
	}
	return p, p.keyID != "" && seen["signature"]
}

func integer(s string, quoted bool) (n int64, has, ok bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, true, !quoted && err == nil && n >= 0 && n <= maxTime && strconv.FormatInt(n, 10) == s
}

// cavagePair reads name="value" or name=digits and the comma after it.
func cavagePair(s string) (name, value string, quoted bool, rest string, more, ok bool) {
	s = strings.TrimLeft(s, " \t")
	name, s, found := strings.Cut(s, "=")
	if !found {
		return "", "", false, "", false, false
	}
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			return "", "", false, "", false, false
		}
		value, s, quoted = s[1:1+end], s[2+end:], true
		if strings.ContainsRune(value, '\\') || !printable(value) {
			return "", "", false, "", false, false // two readings
		}
	} else {
		end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(s)
		}
		value, s = s[:end], s[end:]
	}
	s = strings.TrimLeft(s, " \t")
	if s == "" {
		return name, value, quoted, "", false, true
	}
	if s[0] != ',' {
		return "", "", false, "", false, false
	}
	return name, value, quoted, s[1:], true, true
}

// CavageResult is a signature of the draft that verified.
type CavageResult struct {
	Key       *Key
	Until     time.Time // from when on it is not accepted any more
	Created   time.Time // or the date of the request
	Signature []byte

	// Fingerprint is the SHA-256 of the text that was signed, and of the key id.
	Fingerprint [sha256.Size]byte

	Digest  *Digest // what content must be; nil if digest is not covered
	Field   string  // Authorization or Signature
	covered []string
}

// Covers reports whether the signature covers the field of that name, in lower
// case.
func (r *CavageResult) Covers(field string) bool { return slices.Contains(r.covered, field) }

// Verify checks the signature of a request. An error is an *Error.
func (c *Cavage) Verify(m *Message, keys Keys, now time.Time) (*CavageResult, error) {
	if r, err := c.verify(m, keys, now); err != nil {
		return nil, err
	} else {
		return r, nil
	}
}

func (c *Cavage) verify(m *Message, keys Keys, now time.Time) (*CavageResult, *Error) {
	places := CavagePlaces(m.Header)
	switch {
	case len(places) == 0:
		return nil, &Error{Class: ErrMissing, Reason: "no signature"}
	case len(places) > 1:
		return nil, malformed("a signature in Authorization and one in Signature")
	case len(m.Header[places[0]]) != 1:
		return nil, malformed("more than one " + places[0] + " field")
	}
	kong, rest := false, m.Header[places[0]][0]
	if places[0] == "Authorization" {
		kong, rest, _ = cavageScheme(rest)
	}
	p, ok := parseCavage(rest, kong)
	if !ok {
		return nil, malformed("the parameters of the signature cannot be read")
	}
	if p.headers == nil {
		p.headers = []string{"date"} // the draft's default is (created), which older ones do not have
		if p.hasCreated {
			p.headers = []string{"(created)"}
		}
	}
	if what := c.uncovered(m, p.headers, kong); what != "" {
		return nil, refused(what)
	}
	made, err := c.date(m, &p, now)
	if err != nil {
		return nil, err
	}
	base, err := cavageBase(m, &p, kong)
	if err != nil {
		return nil, err
	}
	key := keys.Key(p.keyID)
	checked := key
	if checked == nil {
		checked = decoy
	}
	if key != nil && !cavageAlgorithm(p.algorithm, key.Algorithm) {
		return nil, refused("algorithm is not that of the key")
	}
	switch good := checked.verify(base, p.signature); {
	case key == nil:
		return nil, refused("the key is not known")
	case !good:
		return nil, refused("the signature is not one of the key over this message")
	}
	// The key id is part of the text of one dialect only.
	sum := sha256.Sum256(append(append([]byte(p.keyID), 0), base...))
	r := &CavageResult{Fingerprint: sum, Key: key, Created: made, Until: made.Add(c.MaxAge + c.Leeway), Signature: p.signature, Field: places[0], covered: p.headers}
	if slices.Contains(p.headers, "digest") {
		if r.Digest, err = parseLegacyDigest(m.Header["Digest"]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// cavageAlgorithm reports whether the name in a signature goes with the
// algorithm of the key. It chooses nothing. ECDSA is left out: the draft does
// not say how the two numbers are written.
func cavageAlgorithm(name, of string) bool {
	switch of {
	case "hmac-sha256", "rsa-pss-sha512":
		return name == of || name == "hs2019" || name == ""
	case "ed25519": // which Node's http-signature names with the hash inside
		return name == of || name == "ed25519-sha512" || name == "hs2019" || name == ""
	case "rsa-v1_5-sha256":
		return name == "rsa-sha256" || name == "hs2019" || name == ""
	}
	return false
}

// uncovered says what of the least is not covered, empty if nothing.
func (c *Cavage) uncovered(m *Message, headers []string, kong bool) string {
	for i, h := range headers {
		if slices.Contains(headers[:i], h) {
			return "a field is covered twice"
		}
	}
	least := c.Headers
	if len(least) == 0 {
		least = []string{"(request-target)", "host", "date"}
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(headers, n) })
	}
	for _, want := range least {
		ok := has(want)
		switch want {
		case "(request-target)":
			// Outside of Kong, request-line is a field as others.
			ok = ok || has("@request-target") || kong && has("request-line")
		case "date":
			ok = ok || has("x-date", "(created)")
		}
		if !ok {
			return "a field of the configuration is not covered"
		}
	}
	if !has("date", "x-date", "(created)") {
		return "no time is covered"
	}
	if m.HasContent && !has("digest") {
		return "digest is not covered"
	}
	return ""
}

// date returns when the signature was made, by what is covered, if that is
// neither too long ago nor in the future.
func (c *Cavage) date(m *Message, p *cavageParams, now time.Time) (time.Time, *Error) {
	var made time.Time
	for _, h := range p.headers {
		switch h {
		case "(created)":
			if !p.hasCreated {
				return made, malformed("(created) is covered and not there")
			}
			made = time.Unix(p.created, 0)
		case "date", "x-date":
			lines, ok := m.lines(h)
			if !ok || len(lines) != 1 {
				return made, malformed("the covered date is not there once")
			}
			t, err := http.ParseTime(strings.Trim(lines[0], " \t"))
			if err != nil {
				return made, malformed("the covered date cannot be read")
			}
			made = t
		default:
			continue
		}
		switch {
		case made.After(now.Add(c.Leeway)):
			return made, refused("its date lies in the future")
		case !now.Before(made.Add(c.MaxAge + c.Leeway)):
			return made, refused("its date is too long ago")
		}
	}
	if p.hasExpires && !now.Before(time.Unix(p.expires, 0).Add(c.Leeway)) {
		return made, refused("it has expired")
	}
	return made, nil
}

// cavageBase makes the text that is signed: section 2.3 of the draft, or what
// Kong and APISIX make of it.
func cavageBase(m *Message, p *cavageParams, kong bool) ([]byte, *Error) {
	apisix := !kong && slices.Contains(p.headers, "@request-target")
	var base []byte
	if apisix {
		base = append(append(base, p.keyID...), '\n')
	}
	target := string(appendTarget(nil, m))
	lower := strings.ToLower(m.Method)
	if !oneLine([]byte(m.Method+target+m.Proto)) || strings.ToUpper(m.Method) != m.Method {
		return nil, refused("the method or the target would be signed as those of another request")
	}
	// Section 2.3: not with the names of algorithms that are older than they.
	timed := !apisix && !kong && !slices.ContainsFunc([]string{"rsa", "hmac", "ecdsa"}, func(prefix string) bool {
		return strings.HasPrefix(p.algorithm, prefix)
	})
	for i, h := range p.headers {
		if i > 0 {
			base = append(base, '\n')
		}
		switch {
		case h == "(request-target)" && !apisix && !kong:
			base = fmt.Appendf(base, "%s: %s %s", h, lower, target)
		case h == "(created)" && timed && p.hasCreated:
			base = fmt.Appendf(base, "%s: %d", h, p.created)
		case h == "(expires)" && timed && p.hasExpires:
			base = fmt.Appendf(base, "%s: %d", h, p.expires)
		case h == "request-line" && kong:
			base = fmt.Appendf(base, "%s %s %s", m.Method, target, m.Proto)
		case h == "@request-target" && kong:
			base = fmt.Appendf(base, "%s: %s %s", h, lower, target)
		case h == "@request-target":
			base = fmt.Appendf(base, "%s %s", m.Method, target)
		case lowerName(h):
			base = append(append(base, h...), ": "...)
			start := len(base)
			var err *Error
			if base, err = appendField(base, m, &item{name: h}); err != nil {
				return nil, err
			}
			if !oneLine(base[start:]) {
				return nil, refused("a covered field holds control characters")
			}
		default:
			return nil, malformed("something is covered that cannot be")
		}
	}
	if apisix {
		base = append(base, '\n')
	}
	return base, nil
}

// SignCavage signs a request as the draft has it and returns the value of
// Authorization. headers are covered; date, host and digest must stand in the
// message.
func (s *Signer) SignCavage(m *Message, headers []string) (string, error) {
	name := s.Algorithm
	if name == "rsa-v1_5-sha256" {
		name = "rsa-sha256"
	}
	if !cavageAlgorithm(name, s.Algorithm) {
		return "", fmt.Errorf("signatures of draft-cavage with %s are not supported", s.Algorithm)
	}
	p := cavageParams{keyID: s.ID, headers: headers}
	if strings.ContainsAny(s.ID, `"\`) {
		return "", errors.New("the key ID cannot stand in a signature of draft-cavage")
	}
	base, fault := cavageBase(m, &p, false)
	if fault != nil {
		return "", fmt.Errorf("making the text to be signed: %s", fault.Reason)
	}
	sig, err := s.sign(base)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`Signature keyId="%s",algorithm="%s",headers="%s",signature="%s"`,
		s.ID, name, strings.Join(headers, " "), base64.StdEncoding.EncodeToString(sig)), nil
}
