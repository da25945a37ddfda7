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
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// The fields of RFC 9440.
const (
	certField  = "Client-Cert"
	chainField = "Client-Cert-Chain"
)

// fieldVar is the key of the request's variable table under which the fields
// stand once they have been taken out of the header.
const fieldVar = "moat.client_cert"

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
// believed. A peer whose address is not known is none.
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

// Take keeps the fields that a proxy has sent, before the handler removes them
// from the request.
func (p *Provider) Take(r *http.Request) {
	cert, chain := r.Header[certField], r.Header[chainField]
	if len(cert)+len(chain) == 0 || !p.fromProxy(r) {
		return
	}
	if vars := reqctx.Vars(r); vars != nil {
		vars[fieldVar] = clientcert.Field{Cert: cert, Chain: chain}
	}
}

// identifyField says whose the certificate is that a proxy has passed on.
func (p *Provider) identifyField(r *http.Request) (*principal.Principal, error) {
	field, ok := reqctx.Vars(r)[fieldVar].(clientcert.Field)
	if !ok {
		return nil, credential.ErrMissing // that of the connection is the proxy's
	}
	id, err := p.verifier.Field(field, p.now())
	if err != nil {
		return nil, explain(id, err)
	}
	return id.Principal, nil
}

// dropFields removes the fields in every spelling that servers behind us may
// take for them.
func dropFields(h http.Header) {
	for name := range h {
		if len(name) != len(certField) && len(name) != len(chainField) {
			continue
		}
		plain := strings.NewReplacer("_", "-", ".", "-").Replace(name)
		if strings.EqualFold(plain, certField) || strings.EqualFold(plain, chainField) {
			delete(h, name)
		}
	}
}
