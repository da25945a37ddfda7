package jwtauth

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// KeySet is the location of a public key set and how to request it. In JSON it
// may be the location alone, as a string.
type KeySet struct {
	// A URL or a file. Default: where the discovery document of the issuer
	// says. Placeholders are expanded when the configuration is loaded.
	Place string `json:"place,omitempty"`

	// Header fields of the requests, for a provider that does not publish its
	// keys, such as a Kubernetes API server. Their values may have
	// placeholders such as {file./run/token}, which are read anew for each
	// request. They go to the host of the URL or issuer and to no other.
	Header http.Header `json:"header,omitempty"`

	// A file with certificates in PEM of the authorities that vouch for the
	// provider, in place of the system's. It is read when the
	// configuration is loaded.
	CA string `json:"ca,omitempty"`
}

type plainKeySet KeySet

// UnmarshalJSON reads a location, or an object.
func (k *KeySet) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte{'"'}) {
		return json.Unmarshal(b, &k.Place)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode((*plainKeySet)(k))
}

// MarshalJSON writes the location where there is nothing else.
func (k KeySet) MarshalJSON() ([]byte, error) {
	if len(k.Header) == 0 && k.CA == "" {
		return json.Marshal(k.Place)
	}
	return json.Marshal(plainKeySet(k))
}

// unmarshalCaddyfile reads the rest of a line with its block.
//
//	jwks [<url>|<file>] {
//		header <name> <value>
//		ca     <file>
//	}
func (k *KeySet) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) > 1 || slices.Contains(args, "") {
		return option.Takes(d, "jwks", "one URL or file")
	}
	if len(args) == 1 {
		k.Place = args[0]
		if err := checkJWKS(d, k.Place); err != nil {
			return err
		}
	}
	if err := option.Block(d, []string{"header"}, k.unmarshalOption); err != nil {
		return err
	}
	if k.Place == "" && len(k.Header) == 0 && k.CA == "" {
		return option.Takes(d, "jwks", "one URL or file")
	}
	return nil
}

func (k *KeySet) unmarshalOption(d *caddyfile.Dispenser) error {
	if k.file() {
		return d.Errf("jwks %s is a file: header and ca are for a URL", k.Place)
	}
	switch d.Val() {
	case "header":
		var name, value string
		if !d.AllArgs(&name, &value) {
			return option.Takes(d, "header", "a name and a value, such as Authorization \"Bearer {file./run/token}\"")
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return d.Errf("'%s' is not a header field", name)
		}
		if k.Header == nil {
			k.Header = make(http.Header)
		}
		if k.Header.Get(name) != "" {
			return d.Errf("header %s already specified", name)
		}
		k.Header.Set(name, value)
		return nil
	case "ca":
		return option.OneArg(d, &k.CA)
	}
	return option.Unrecognized(d, "jwks", []string{"header", "ca"})
}

// file reports whether the location is a file, as far as it can be told before
// placeholders are expanded.
func (k *KeySet) file() bool {
	return k.Place != "" && !strings.Contains(k.Place, "://") && !strings.Contains(k.Place, "{")
}

// source makes the source of a key set that is not a file. Without a location it
// is the one that the issuer's discovery document names.
func (k *KeySet) source(issuer string) (keyset.Source, error) {
	s := keyset.Source{URL: k.Place}
	var err error
	if s.URL, err = resolve("jwks", k.Place); err != nil {
		return s, err
	}
	// The address alone does not make two issuers share a set: each has the
	// fetches that its own unknown keys cause.
	s.Issuer = issuer
	if s.URL == "" && issuer == "" {
		return s, errors.New("jwks without a URL is for an issuer whose keys can be discovered")
	}
	if err := s.Check(); err != nil {
		return s, err
	}
	var lines strings.Builder
	for name, values := range k.Header {
		for _, v := range values {
			if _, err := expand(v); err != nil {
				return s, fmt.Errorf("header %s: %w", name, err)
			}
		}
	}
	if err := k.Header.Write(&lines); err != nil { // in the order of the names
		return s, err
	}
	s.Header = lines.String()
	if k.CA == "" {
		return s, nil
	}
	path, err := resolve("ca", k.CA)
	if err != nil {
		return s, err
	}
	ca, err := filewatch.Read(path, maxCA)
	if err != nil {
		return s, fmt.Errorf("ca %s: %w", k.CA, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return s, fmt.Errorf("ca %s: the file has no certificate in PEM", k.CA)
	}
	s.CA = string(ca)
	return s, nil
}

const maxCA = 1 << 20

// expand replaces the placeholders of a header field.
func expand(text string) (string, error) { return resolve("header", text) }

func (p *Provider) openJWKS(ctx caddy.Context, set KeySet, issuer string) (token.KeySource, error) {
	place, err := resolve("jwks", set.Place)
	if err != nil {
		return nil, err
	}
	if place != "" && !strings.Contains(place, "://") {
		if len(set.Header) > 0 || set.CA != "" {
			return nil, fmt.Errorf("jwks %s is a file: header and ca are for a URL", set.Place)
		}
		return p.sharedFile(ctx, set.Place)
	}
	source, err := set.source(issuer)
	if err != nil {
		return nil, fmt.Errorf("jwks %s: %w", set.Place, err)
	}
	return p.sharedSet(source)
}
