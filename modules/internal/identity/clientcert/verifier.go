package clientcert

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Errors of a Verifier that depend on the time.
var (
	ErrExpired = errors.New("the client certificate has expired")
	ErrPending = errors.New("the client certificate is not valid yet")
)

// Identity is what became of a certificate whose issuer is trusted. It is
// shared by all requests that come with it.
type Identity struct {
	Principal *principal.Principal // nil where the certificate is not accepted

	// SPKI names the key, for records. Empty where the certificate could
	// not be read.
	SPKI string

	err         error
	table       *Table
	chain       []string // the lines of Client-Cert-Chain, where it came from a field
	form        Form     // of that field
	from, until time.Time
}

// Verifier tells whose the certificates of requests are. It remembers what it
// found out about those that are verified, so that a request on a connection
// costs a look-up.
type Verifier struct {
	Rules Rules

	// Roots are who is trusted to issue the certificates of fields.
	Roots *x509.CertPool

	// Table returns the map that is in force, nil if there is none. Its
	// identity tells whether what is remembered still holds.
	Table func() *Table

	connections cache // by the certificate
	fields      cache // by the text of the field
}

// Connection tells whose certificate that of a connection is, from the
// chains that crypto/tls has verified, of which there is at least one.
//
// A connection may outlive its certificate, so the dates are looked at again.
// The identity is not nil but where the certificate cannot be read at all.
func (v *Verifier) Connection(chains [][]*x509.Certificate, now time.Time) (*Identity, error) {
	leaf := chains[0][0]
	id := v.connections.get(leaf.Raw)
	if id == nil || id.table != v.table() || !id.good(now) {
		id = v.identify(leaf, chains)
		v.connections.put(string(leaf.Raw), id)
	}
	return id, id.check(now)
}

// Field tells whose certificate the fields of a request hold. It verifies it.
func (v *Verifier) Field(f Field, now time.Time) (*Identity, error) {
	if len(f.Cert) != 1 {
		return nil, ErrField
	}
	chain := f.Chain
	id := v.fields.getText(f.Cert[0])
	if id != nil && id.table == v.table() && id.good(now) && id.form == f.Form && slices.Equal(id.chain, chain) {
		return id, id.check(now)
	}
	cert, intermediates, err := f.Parse()
	if err != nil {
		return nil, err
	}
	chains, err := Verify(cert, intermediates, v.Roots, now)
	if err != nil {
		return &Identity{SPKI: SPKI(cert)}, err
	}
	id = v.identify(cert, chains)
	id.form = f.Form
	size := 0
	for _, line := range chain {
		id.chain = append(id.chain, strings.Clone(line))
		size += len(line)
	}
	if size <= MaxCertificate && len(f.Cert[0]) <= maxRemembered {
		v.fields.put(strings.Clone(f.Cert[0]), id)
	}
	return id, id.check(now)
}

func (v *Verifier) table() *Table {
	if v.Table == nil {
		return nil
	}
	return v.Table()
}

func (v *Verifier) identify(leaf *x509.Certificate, chains [][]*x509.Certificate) *Identity {
	id := &Identity{table: v.table()}
	id.from, id.until = window(chains)
	var n *Names
	if id.Principal, n, id.err = v.Rules.Identify(leaf, id.table); n != nil {
		id.SPKI = n.SPKI
	}
	return id
}

// window returns between which times one of the chains is good as a whole.
func window(chains [][]*x509.Certificate) (from, until time.Time) {
	for i, chain := range chains {
		first, last := chain[0].NotBefore, chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(last) {
				last = c.NotAfter
			}
		}
		if i == 0 || last.After(until) {
			until = last
		}
		from = first // of the leaf, which all have in common
	}
	return from, until
}

// good reports whether the dates allow the certificate, both included (RFC
// 5280 section 4.1.2.5).
func (id *Identity) good(now time.Time) bool { return !now.Before(id.from) && !now.After(id.until) }

func (id *Identity) check(now time.Time) error {
	switch {
	case now.Before(id.from):
		return ErrPending
	case now.After(id.until):
		return ErrExpired
	}
	return id.err
}

// remembered bounds how many certificates are remembered in each of two
// generations.
const remembered = 500

// maxRemembered bounds the text of a field that is remembered: with a chain, or
// with escapes, it may be longer than a certificate.
const maxRemembered = 2 * MaxCertificate

// cache remembers what is found by a text that is compared in full, so that no
// two certificates can be taken for one another. It is bounded: when the young
// generation is full it becomes the old one, whose members are forgotten
// unless they are asked for.
type cache struct {
	mu         sync.RWMutex
	young, old map[string]*Identity
}

func (c *cache) get(key []byte) *Identity {
	c.mu.RLock()
	id := c.young[string(key)]
	old := id == nil
	if old {
		id = c.old[string(key)]
	}
	c.mu.RUnlock()
	if old && id != nil {
		c.put(string(key), id)
	}
	return id
}

func (c *cache) getText(key string) *Identity {
	c.mu.RLock()
	id := c.young[key]
	old := id == nil
	if old {
		id = c.old[key]
	}
	c.mu.RUnlock()
	if old && id != nil {
		c.put(strings.Clone(key), id)
	}
	return id
}

func (c *cache) put(key string, id *Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[key]; !ok && len(c.young) >= remembered {
		c.old, c.young = c.young, nil
	}
	if c.young == nil {
		c.young = make(map[string]*Identity)
	}
	c.young[key] = id
}

var notAllowed = []error{ErrPin, ErrTrustDomain, ErrUnmapped, ErrDisabled}

// NotAllowed reports whether an error concerns a certificate that is good and
// whose holder is not wanted here, rather than about one that is not good.
func NotAllowed(err error) bool {
	return slices.ContainsFunc(notAllowed, func(e error) bool { return errors.Is(err, e) })
}
