package httpsig

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Policy says which signatures are accepted.
type Policy struct {
	label, tag   string
	components   []item // nil: the default
	required     []param
	prohibited   []string
	maxAge       time.Duration
	leeway       time.Duration
	requireNonce bool
}

// Options are what a Policy is made of.
type Options struct {
	// Label and Tag choose the signature, where a message may have several.
	// Without either, a message may have but one.
	Label, Tag string

	// Components must be covered, each as it stands in a signature, with or
	// without quotes round its name. Empty means the default: @method, the
	// authority (by @authority or @target-uri), the path and, if there is one,
	// the query (by @target-uri, @request-target, or @path and @query), and
	// content-digest where there may be content. Where there is none,
	// content-digest need not be covered here either. The parameter key without
	// a value stands for the signature's own label: signature-agent;key.
	Components []string

	// Parameters must stand in the signature, beside created and keyid, each as
	// its name, or as name=value where it must have that value.
	Parameters []string

	// Prohibited parameters must not. Any other that is not registered (RFC 9421
	// section 6.3) may, and is part of what is signed, as all are.
	Prohibited []string

	// MaxAge is how long after it was created a signature is accepted, and
	// Leeway how far the signer's clock may be off.
	MaxAge, Leeway time.Duration

	// RequireNonce asks for the parameter nonce.
	RequireNonce bool
}

// NewPolicy makes a policy.
func NewPolicy(o Options) (*Policy, error) {
	if err := checkWindow(o.MaxAge, o.Leeway); err != nil {
		return nil, err
	}
	if o.Label != "" {
		if c := (cursor{s: o.Label}); c.key() != o.Label || c.bad {
			return nil, fmt.Errorf("label %.40q is not a key of RFC 9651 section 3.1.2: lower case letters, digits, _, -, . and *", o.Label)
		}
	}
	if !printable(o.Tag) {
		return nil, errors.New("tag: printable characters of ASCII only")
	}
	p := &Policy{label: o.Label, tag: o.Tag, maxAge: o.MaxAge, leeway: o.Leeway, requireNonce: o.RequireNonce}
	if err := p.setParameters(o.Parameters, o.Prohibited); err != nil {
		return nil, err
	}
	for _, text := range o.Components {
		it, err := parseComponent(text)
		if err != nil {
			return nil, err
		}
		probe := it.of("label")
		if err := possible(&probe); err != nil {
			return nil, fmt.Errorf("component %s: %w", text, err)
		}
		if covers(p.components, &it) {
			return nil, fmt.Errorf("component %s already specified", text)
		}
		p.components = append(p.components, it)
	}
	return p, nil
}

// checkWindow says what is wrong with the time in which a signature is
// accepted.
func checkWindow(maxAge, leeway time.Duration) error {
	const most = 365 * 24 * time.Hour // far from where sums of times overflow
	if maxAge <= 0 || leeway < 0 {
		return errors.New("max_age must be positive, and leeway not negative")
	}
	if maxAge > most || leeway > most {
		return errors.New("max_age and leeway are at most a year")
	}
	return nil
}

// possible says why no request can have the component.
func possible(it *item) error {
	probe := &Message{Method: "GET", Scheme: "https", Authority: "a"}
	if err := checkParams(probe, it); err != nil {
		return errors.New(err.Reason)
	}
	if !isField(it.name) {
		if _, err := appendDerived(nil, probe, it); err != nil && !errors.Is(err, ErrRefused) {
			return errors.New(err.Reason)
		}
		return nil
	}
	if !lowerName(it.name) {
		return errors.New("not the name of a field in lower case")
	}
	return nil
}

// CoversContent reports whether the policy demands that content is covered.
func (p *Policy) CoversContent() bool {
	return p.components == nil || covers(p.components, &contentDigest)
}

// Names of components, as the default policy and others look for them.
var (
	method        = item{name: "@method"}
	authority     = item{name: "@authority"}
	targetURI     = item{name: "@target-uri"}
	requestTarget = item{name: "@request-target"}
	path          = item{name: "@path"}
	query         = item{name: "@query"}
	contentDigest = item{name: "content-digest"}
)

// uncovered says what of the least is not covered, empty if nothing.
func (p *Policy) uncovered(m *Message, in *input) string {
	items := in.items
	if p.components != nil {
		for i := range p.components {
			it := p.components[i].of(in.label)
			if !covers(items, &it) && (m.HasContent || !aboutContent(it)) {
				return "a component of the configuration is not covered"
			}
		}
		return ""
	}
	target := covers(items, &targetURI)
	switch {
	case !covers(items, &method):
		return "@method is not covered"
	case !target && !covers(items, &authority):
		return "the authority is not covered"
	case !target && !covers(items, &requestTarget) && (!covers(items, &path) || (m.HasQuery || m.Query != "") && !covers(items, &query)):
		return "the path or the query is not covered"
	case m.HasContent && !covers(items, &contentDigest):
		return "content-digest is not covered"
	}
	return ""
}

// Result is a signature that verified.
type Result struct {
	Key     *Key
	Label   string
	Created time.Time
	Expires time.Time // zero if it does not say
	Until   time.Time // from when on it is not accepted any more
	Nonce   string
	Tag     string
	Agent   string // name of the directory that the key is in, if it is in one

	// Signature are the bytes of the signature.
	Signature []byte

	// Fingerprint is the SHA-256 of the signature base. It is the same for two
	// signatures if, and only if, they say the same about the same message;
	// the bytes of a signature may differ, as with ECDSA anybody can change
	// them into another signature that is as good.
	Fingerprint [sha256.Size]byte

	// ContentDigest tells that the field Content-Digest is covered, so that
	// content is verified once it agrees with the field. It may be covered
	// whole, by one of its hashes, or written anew (the parameters key and sf):
	// in each case the signer means the content.
	ContentDigest bool

	covered []item
}

// Covers reports whether the signature covers the field of that name, in lower
// case, whole and as it stands.
func (r *Result) Covers(field string) bool { return covers(r.covered, &item{name: field}) }

// Present reports whether a request has anything of a signature that the
// policy could be about.
func (p *Policy) Present(m *Message) bool {
	return len(m.Header["Signature-Input"]) > 0 || len(m.Header["Signature"]) > 0
}

// Verify finds the signature of m that the policy applies to and checks it, as
// RFC 9421 section 3.2 demands. An error is an *Error.
//
// It looks at no content and stores no nonce: see Result.
func Verify(m *Message, p *Policy, keys Keys, now time.Time) (*Result, error) {
	if r, err := verify(m, p, keys, now); err != nil {
		return nil, err
	} else {
		return r, nil
	}
}

func verify(m *Message, p *Policy, keys Keys, now time.Time) (*Result, *Error) {
	in, sig, err := p.choose(m)
	if err != nil {
		return nil, err
	}
	var v parameters
	if err := v.read(in.params); err != nil {
		return nil, err
	}
	key, named, err := p.find(m, in, &v, keys, now)
	if err != nil {
		return nil, err
	}
	checked := key
	if checked == nil {
		checked = decoy // so that an unknown key takes as long as a wrong signature
	}
	if v.alg != "" && v.alg != checked.Algorithm && key != nil {
		return nil, refused("alg is not the algorithm of the key")
	}
	buf := bases.Get().(*[]byte)
	base, err := appendBase((*buf)[:0], m, in.items, in.text)
	if err != nil {
		bases.Put(buf)
		return nil, err
	}
	good := checked.verify(base, sig)
	fingerprint := sha256.Sum256(base)
	if cap(base) <= 64<<10 {
		*buf = base
	}
	bases.Put(buf)
	switch {
	case key == nil:
		return nil, refused("the key is not known")
	case !good:
		return nil, refused("the signature is not one of the key over this message")
	}
	r := p.result(in, &v, key, sig)
	r.Fingerprint, r.Agent = fingerprint, named
	return r, nil
}

// find checks all but the signature itself and finds the key, nil if there is none,
// and the directory that it is in, if it is in one.
func (p *Policy) find(m *Message, in *input, v *parameters, keys Keys, now time.Time) (*Key, string, *Error) {
	key := keys.Key(v.keyID)
	agents, _ := keys.(Agents)
	named, ofBot := "", false
	if key == nil && agents != nil {
		named = agent(m, in)
		ofBot = named != "" || v.tag == botTag
	}
	if err := p.check(m, in, v, ofBot, now); err != nil || !ofBot {
		return key, "", err
	}
	if named == "" {
		return nil, "", refused("the key is not known, and no covered member of Signature-Agent names a directory")
	}
	if err := p.checkAgent(m, in, v); err != nil {
		return nil, "", err
	}
	key, err := agentKey(agents, named, v.keyID)
	return key, named, err
}

var bases = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

func (p *Policy) result(in *input, v *parameters, key *Key, sig []byte) *Result {
	r := &Result{
		Key: key, Label: in.label, Created: time.Unix(v.created, 0), Nonce: v.nonce, Tag: v.tag,
		Signature: sig, ContentDigest: slices.ContainsFunc(in.items, aboutContent), covered: in.items,
	}
	r.Until = r.Created.Add(p.maxAge + p.leeway)
	if v.hasExpires {
		r.Expires = time.Unix(v.expires, 0)
		if end := r.Expires.Add(p.leeway); end.Before(r.Until) {
			r.Until = end
		}
	}
	return r
}

// aboutContent reports whether a component is the digest of the content of the
// message itself, and not of the request that a response answers.
func aboutContent(it item) bool {
	_, req := it.param("req")
	return it.name == "content-digest" && !req
}

// choose returns the one signature that the policy applies to.
func (p *Policy) choose(m *Message) (*input, []byte, *Error) {
	inputs, sigs := m.Header["Signature-Input"], m.Header["Signature"]
	switch {
	case len(inputs) == 0 && len(sigs) == 0:
		return nil, nil, &Error{Class: ErrMissing, Reason: "no signature"}
	case len(inputs) == 0 && slices.ContainsFunc(sigs, cavageBare):
		return nil, nil, malformed("Signature holds a signature of draft-cavage, which only the option cavage accepts")
	case len(inputs) == 0 || len(sigs) == 0:
		return nil, nil, malformed("Signature-Input and Signature do not go together")
	}
	all, err := parseInputs(inputs)
	if err != nil {
		return nil, nil, err
	}
	values, err := parseSignatures(sigs)
	if err != nil {
		return nil, nil, err
	}
	var chosen *input
	for i := range all {
		in := &all[i]
		if tag, _ := find(in.params, "tag"); p.label != "" && in.label != p.label || p.tag != "" && tag != p.tag {
			continue
		}
		if chosen != nil {
			return nil, nil, malformed("more than one signature")
		}
		chosen = in
	}
	if chosen == nil {
		return nil, nil, &Error{Class: ErrMissing, Reason: "no signature with the label and tag of the configuration"}
	}
	i := slices.IndexFunc(values, func(s signature) bool { return s.label == chosen.label })
	if i < 0 {
		return nil, nil, malformed("Signature-Input and Signature do not go together")
	}
	return chosen, values[i].bytes, nil
}

// parameters are those of a signature (RFC 9421 section 2.3).
type parameters struct {
	created, expires       int64
	hasCreated, hasExpires bool
	keyID, alg, nonce, tag string
	hasNonce               bool
}

func (v *parameters) read(params []param) *Error {
	for _, p := range params {
		ok := true
		switch p.name {
		case "created":
			v.created, ok = p.value.(int64)
			v.hasCreated = ok
		case "expires":
			v.expires, ok = p.value.(int64)
			v.hasExpires = ok
		case "keyid":
			v.keyID, ok = p.value.(string)
		case "alg":
			v.alg, ok = p.value.(string)
			ok = ok && v.alg != ""
		case "nonce":
			v.nonce, ok = p.value.(string)
			ok = ok && v.nonce != ""
			v.hasNonce = true
		case "tag":
			v.tag, ok = p.value.(string)
		}
		if !ok {
			return malformed("a parameter of the signature is of the wrong type")
		}
	}
	return v.check()
}

// check looks at what can be said without a policy.
func (v *parameters) check() *Error {
	switch {
	case !v.hasCreated:
		return refused("created is missing")
	case v.keyID == "":
		return refused("keyid is missing")
	case v.created < 0 || v.created > maxTime || v.hasExpires && (v.expires < 0 || v.expires > maxTime):
		return refused("a time lies outside of what can be")
	case v.hasExpires && v.expires <= v.created:
		return refused("expires is not after created")
	}
	return nil
}

// maxTime is the end of the year 9999.
const maxTime = 253402300799

// check checks what a policy asks of every signature.
func (p *Policy) check(m *Message, in *input, v *parameters, ofAgent bool, now time.Time) *Error {
	created := time.Unix(v.created, 0)
	switch {
	case created.After(now.Add(p.leeway)):
		return refused("created lies in the future")
	case !now.Before(created.Add(p.maxAge + p.leeway)):
		return refused("created is too long ago")
	case v.hasExpires && !now.Before(time.Unix(v.expires, 0).Add(p.leeway)):
		return refused("it has expired")
	case p.requireNonce && !v.hasNonce:
		return refused("nonce is missing")
	}
	if err := p.checkParameters(in.params); err != nil {
		return err
	}
	if ofAgent && p.components == nil {
		return nil // checkAgent asks for less
	}
	if what := p.uncovered(m, in); what != "" {
		return refused(what)
	}
	return nil
}

// decoy stands in for a key that is not known. The time of a check differs
// between algorithms, so it hides the ids of Ed25519 keys only; ids are not
// secrets, and secrets are never compared by it.
var decoy = func() *Key {
	k, err := NewKey("decoy", "ed25519", bytes.TrimSpace([]byte(decoyKey)))
	if err != nil {
		panic(err)
	}
	return k
}()

// The public key of RFC 8032 section 7.1, test 1.
const decoyKey = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

// AcceptSignature returns the value of the field by which a server says what it
// would accept (RFC 9421 section 5.1). A keyid without a value asks for that of
// whichever key the signer has, as created without one asks for its time; a nonce
// would have to be a value that the server chooses.
func (p *Policy) AcceptSignature() string {
	label := p.label
	if label == "" {
		label = "sig1"
	}
	items := slices.Clone(p.components)
	if items == nil {
		items = []item{method, targetURI, contentDigest}
	}
	params := []param{{"created", true}, {"keyid", true}}
	for _, r := range p.required {
		if r.name != "nonce" && !slices.ContainsFunc(params, func(q param) bool { return q.name == r.name }) {
			params = append(params, param{r.name, true})
		}
	}
	if p.tag != "" {
		params = append(params, param{"tag", p.tag})
	}
	for i := range items {
		items[i] = items[i].of(label)
	}
	return string(appendInput([]byte(label+"="), items, params))
}
