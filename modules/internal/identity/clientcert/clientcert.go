// Package clientcert finds out whom a client certificate belongs to.
//
// It decides nothing about trust but what Rules and a Table say: that the
// certificate was issued by somebody to be trusted, and that the client has
// its key, is for crypto/tls to verify, or, where a proxy has done that, for
// VerifyField.
package clientcert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// The sorts of what a certificate is known by.
const (
	URISort     = "uri"
	DNSSort     = "dns"
	EmailSort   = "email"
	SubjectSort = "subject"
	CNSort      = "cn"
	SPIFFESort  = "spiffe"
	SPKISort    = "spki"
	SerialSort  = "serial" // with the issuer; in a Table alone
)

// Sorts are the sorts that can be the user's id.
var Sorts = []string{URISort, DNSSort, EmailSort, SubjectSort, CNSort, SPIFFESort, SPKISort}

// Errors of Identify besides ErrUnreadable.
var (
	ErrNobody      = errors.New("the client certificate does not say whose it is")
	ErrSeveral     = errors.New("the client certificate names more than one user")
	ErrTrustDomain = errors.New("the SPIFFE ID is of another trust domain")
	ErrPin         = errors.New("the key is not one of those that are pinned")
	ErrUnmapped    = errors.New("the map does not name the client certificate")
	ErrDisabled    = errors.New("the map disables the client certificate")
)

// Rules say whom a certificate belongs to.
type Rules struct {
	// Identity are the sorts of names of which the first that the certificate
	// has is the user. None is the subject.
	Identity []string

	// TrustDomains are those that SPIFFE IDs may be of. None is no
	// restriction.
	TrustDomains []string

	// Pins are the keys that are accepted. Empty means no restriction.
	Pins []string

	// Roles are what every certificate grants.
	Roles []string

	// AllowUnmapped is whether a certificate that the Table does not name
	// goes by its name. Without a Table all do.
	AllowUnmapped bool
}

// Validate says what is wrong with the rules.
func (r *Rules) Validate() error {
	for i, sort := range r.Identity {
		if !slices.Contains(Sorts, sort) {
			return fmt.Errorf("identity: '%s' is not one of %v", sort, Sorts)
		}
		if slices.Contains(r.Identity[:i], sort) {
			return fmt.Errorf("identity: %s is given twice", sort)
		}
	}
	for i, domain := range r.TrustDomains {
		if err := CheckTrustDomain(domain); err != nil {
			return fmt.Errorf("trust_domain '%s': %w", domain, err)
		}
		if slices.Contains(r.TrustDomains[:i], domain) {
			return fmt.Errorf("trust_domain: %s is given twice", domain)
		}
	}
	for i, pin := range r.Pins {
		if err := CheckPin(pin); err != nil {
			return fmt.Errorf("pin '%s': %w", pin, err)
		}
		if slices.Contains(r.Pins[:i], pin) {
			return fmt.Errorf("pin: %s is given twice", pin)
		}
	}
	for i, role := range r.Roles {
		if err := apikey.CheckRole(role); err != nil {
			return fmt.Errorf("roles '%s': %w", role, err)
		}
		if slices.Contains(r.Roles[:i], role) {
			return fmt.Errorf("roles: %s is given twice", role)
		}
	}
	return nil
}

// Identify returns whom a certificate belongs to. The names are those of the
// certificate, also where the error says that it is not accepted; they are nil
// where it is ErrUnreadable. Table is nil where there is none.
func (r *Rules) Identify(cert *x509.Certificate, t *Table) (*principal.Principal, *Names, error) {
	n, err := Read(cert)
	if err != nil {
		return nil, nil, err
	}
	if len(r.Pins) > 0 && !slices.Contains(r.Pins, n.SPKI) {
		return nil, n, ErrPin
	}
	if n.ID != "" && len(r.TrustDomains) > 0 && !slices.Contains(r.TrustDomains, n.ID.TrustDomain()) {
		return nil, n, ErrTrustDomain
	}
	e := new(Entry)
	if t != nil {
		found, err := t.Find(n)
		switch {
		case err != nil:
			return nil, n, err
		case found != nil:
			e = found
		case !r.AllowUnmapped:
			return nil, n, ErrUnmapped
		}
	}
	user, err := r.user(n, e)
	if err != nil {
		return nil, n, err
	}
	p := &principal.Principal{
		ID: user, Issuer: n.Issuer, Kind: principal.KindCertificate, KeyID: n.SPKI, TokenID: n.Serial,
		Roles: union(r.Roles, e.Roles), Scopes: e.Scopes, Plan: e.Plan,
	}
	p.Claims = principal.NewClaims(n.claims(p, cert))
	return p, n, nil
}

// user returns the user's id.
func (r *Rules) user(n *Names, e *Entry) (string, error) {
	switch {
	case e.User != "":
		return e.User, nil
	case e.Sort != "" && e.Sort != SPKISort && e.Sort != SerialSort:
		return e.Value, nil
	}
	sorts := r.Identity
	if len(sorts) == 0 {
		sorts = []string{SubjectSort}
	}
	for _, sort := range sorts {
		switch names := n.of(sort); {
		case len(names) > 1:
			return "", ErrSeveral
		case len(names) == 1:
			return names[0], nil
		}
	}
	return "", ErrNobody
}

// of returns the names of a sort.
func (n *Names) of(sort string) []string {
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	switch sort {
	case URISort:
		return n.URIs
	case DNSSort:
		return n.DNS
	case EmailSort:
		return n.Emails
	case SubjectSort:
		return one(n.Subject)
	case CNSort:
		return n.CommonNames
	case SPIFFESort:
		return one(string(n.ID))
	case SPKISort:
		return one(n.SPKI)
	}
	return nil
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// claims returns what is known of the certificate in the form of claims, for
// what reads those.
func (n *Names) claims(p *principal.Principal, cert *x509.Certificate) []byte {
	b := append([]byte(nil), `{"sub":`...)
	b = strictjson.AppendString(b, p.ID)
	for _, m := range []struct{ name, value string }{
		{"subject", n.Subject},
		{"issuer", n.Issuer},
		{"serial", n.Serial},
		{"spki", n.SPKI},
		{"spiffe", string(n.ID)},
		{"plan", p.Plan},
		{"not_before", cert.NotBefore.UTC().Format(time.RFC3339)},
		{"not_after", cert.NotAfter.UTC().Format(time.RFC3339)},
	} {
		if m.value == "" {
			continue
		}
		b = append(b, `,"`+m.name+`":`...)
		b = strictjson.AppendString(b, m.value)
	}
	for _, m := range []struct {
		name   string
		values []string
	}{
		{"cn", n.CommonNames}, {"uri", n.URIs}, {"dns", n.DNS}, {"email", n.Emails}, {"roles", p.Roles}, {"scopes", p.Scopes},
	} {
		b = appendList(b, m.name, m.values)
	}
	return append(b, '}')
}

func appendList(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, `,"`+name+`":[`...)
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strictjson.AppendString(b, s)
	}
	return append(b, ']')
}
