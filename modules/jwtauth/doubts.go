package jwtauth

import (
	"net"
	"net/url"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// Doubts returns what is probably not meant: names of claims with separators
// in them, and keys and answers that come over clear text.
func (p *Provider) Doubts() []credential.Doubt {
	var all []credential.Doubt
	for _, i := range p.Issuers {
		all = append(all, i.claimDoubts()...)
		for _, set := range i.JWKS {
			if set.Place != "" {
				all = append(all, clearText("jwks", set.Place, "whoever is on the way can put keys of theirs in it, and sign tokens")...)
			}
		}
		discovers := len(i.JWKS) == 0 && len(i.Keys) == 0
		for _, set := range i.JWKS {
			discovers = discovers || set.Place == ""
		}
		if discovers && i.Internal == nil {
			all = append(all, clearText("issuer", i.Issuer, "its keys are fetched from there, and whoever is on the way can put theirs in their place")...)
		}
	}
	if i := p.Introspection; i != nil {
		all = append(all, i.claimDoubts()...)
		all = append(all, clearText("introspection", i.Endpoint, "tokens and the client secret can be read on the way, and answers changed")...)
	}
	return all
}

func (i *Issuer) claimDoubts() []credential.Doubt {
	var all []credential.Doubt
	look := func(option string, texts ...string) {
		for _, text := range texts {
			if d, ok := credential.ClaimDoubt(option, text); ok {
				all = append(all, d)
			}
		}
	}
	look("roles", i.Roles...)
	look("scopes", i.Scopes...)
	look("subject", i.Subject...)
	for _, r := range i.Require {
		look("require", r.Claim)
	}
	return all
}

// clearText returns the doubt about a URL of plain http, unless it is of this
// machine.
func clearText(option, text, danger string) []credential.Doubt {
	place, err := resolve(option, text)
	if err != nil {
		return nil
	}
	u, err := url.Parse(place)
	if err != nil || u.Scheme != "http" || loopback(u.Hostname()) {
		return nil
	}
	u.Scheme = "https"
	return []credential.Doubt{{
		ID:   "clear_text_http",
		Text: option + " " + place + " is not encrypted: " + danger + "; write " + option + " " + u.String(),
	}}
}

// loopback reports whether a host is this machine (RFC 6761 section 6.3).
func loopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
