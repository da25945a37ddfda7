package clientcertauth

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/clientcert"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// The fields of RFC 9440.
const (
	certField  = "Client-Cert"
	chainField = "Client-Cert-Chain"
)

// wellKnown are the forms of fields that proxies set under fixed names.
var wellKnown = map[string]clientcert.Form{
	"Cf-Client-Cert-Der-Base64":   clientcert.DERBase64,
	"X-Amzn-Mtls-Clientcert":      clientcert.PEMEscaped,
	"X-Amzn-Mtls-Clientcert-Leaf": clientcert.PEMEscaped,
	"X-Forwarded-Client-Cert":     clientcert.XFCC,
	"X-Forwarded-Tls-Client-Cert": clientcert.DERBase64,
}

// usual returns the form of a field that is known by its name, "" of others.
func usual(header string) clientcert.Form { return wellKnown[http.CanonicalHeaderKey(header)] }

// forms lists the forms for messages.
func forms() string {
	names := make([]string, 0, len(clientcert.Forms))
	for _, f := range clientcert.Forms {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// checkHeader refuses a header that cannot have a certificate in it, and an
// unknown form.
func (p *Provider) checkHeader() error {
	if p.Header == "" && p.HeaderForm == "" {
		return nil
	}
	if err := credential.ForwardableHeader(p.Header); err != nil {
		return fmt.Errorf("client_cert_header: %w", err)
	}
	p.Header = http.CanonicalHeaderKey(p.Header)
	form := clientcert.Form(p.HeaderForm)
	switch {
	case p.Header == certField || p.Header == chainField:
		return fmt.Errorf("client_cert_header: %s has the form of RFC 9440 and no other: write client_cert_header from <cidr>, or have the proxy use another name", p.Header)
	case !slices.Contains(clientcert.Forms, form):
		return fmt.Errorf("client_cert_header %s: '%s' is not one of %s", p.Header, p.HeaderForm, forms())
	case usual(p.Header) != "" && usual(p.Header) != form:
		return fmt.Errorf("client_cert_header %s: that field has the form %s, not %s", p.Header, usual(p.Header), form)
	}
	return nil
}

// fields returns the names of the fields that no client may send: those of RFC
// 9440 and, behind them, the one that is configured.
func (p *Provider) fields() []string {
	names := []string{certField, chainField}
	if p.Header != "" {
		names = append(names, http.CanonicalHeaderKey(p.Header))
	}
	return names
}

func parseProxies(ranges []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range ranges {
		r, err := apikey.ParseRange(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("client_cert_header from %s: %w", text, err)
		case r.Bits() == 0:
			return nil, fmt.Errorf("client_cert_header from %s: this is everybody, who could then call himself anybody: list the addresses of your proxies", text)
		case slices.Contains(out, r):
			return nil, fmt.Errorf("client_cert_header from %s is given twice", text)
		}
		out = append(out, r)
	}
	return out, nil
}

// loadTrust reads the authorities.
func (p *Provider) loadTrust() error {
	if len(p.Trust) == 0 {
		return nil
	}
	roots := x509.NewCertPool()
	for _, text := range p.Trust {
		path, err := option.Resolve(Name, "trust", text)
		if err != nil {
			return err
		}
		if err := addRoots(roots, path); err != nil {
			return fmt.Errorf("%s: trust %s: %w", Name, text, err)
		}
	}
	p.verifier.Roots = roots
	return nil
}

// addRoots adds the certificates in a PEM file, of which there must be one.
// Anything else in it could be a certificate that was not understood.
func addRoots(roots *x509.CertPool, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n := 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("it has a %s in it, where only certificates should be", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		roots.AddCert(cert)
		n, text = n+1, rest
	}
	switch {
	case bytes.Contains(text, []byte("-----BEGIN")):
		return errors.New("it has a certificate in it that is cut or garbled")
	case n == 0:
		return errors.New("it has no certificate in PEM form in it")
	}
	return nil
}

// fromProxy reports whether the peer of the connection is a proxy that is
// believed. A peer whose address is not known is not one.
func (p *Provider) fromProxy(r *http.Request) bool {
	if len(p.proxies) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.proxies, func(r netip.Prefix) bool { return r.Contains(addr) })
}

// identifyField says whose the certificate is that a proxy has passed on.
func (p *Provider) identifyField(r *http.Request) (credential.Grant, error) {
	c := reqctx.Of(r)
	var field clientcert.Field
	if p.Header != "" {
		field.Form = clientcert.Form(p.HeaderForm)
		field.Cert, _ = c.Removed(p.Header)
	} else {
		field.Cert, _ = c.Removed(certField)
		field.Chain, _ = c.Removed(chainField)
	}
	if len(field.Cert)+len(field.Chain) == 0 || field.Empty() {
		return credential.Grant{}, credential.ErrMissing // that of the connection is the proxy's
	}
	id, err := p.verifier.Field(field, p.now())
	if err != nil {
		return credential.Grant{}, explain(id, err)
	}
	return credential.Grant{Principal: id.Principal}, nil
}
