package jwtauth

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// doubts returns what is probably not meant: names of claims with separators
// in them, and keys and responses that come over clear text.
func (p *Provider) doubts() []credential.Doubt {
	var all []credential.Doubt
	for _, i := range p.Issuers {
		all = append(all, i.claimDoubts()...)
		for _, set := range i.JWKS {
			if set.Place != "" {
				all = append(all, clearText("jwks", set.Place, "whoever is on the way can put keys of theirs in it, and sign tokens")...)
			}
		}
		if i.ALB != nil && i.ALB.Keys != "" {
			all = append(all, clearText("alb <arn>", i.ALB.Keys, "whoever is on the way can respond with keys of theirs, and sign tokens")...)
		}
		discovers := !i.hasKeys()
		for _, set := range i.JWKS {
			discovers = discovers || set.Place == ""
		}
		if discovers && i.Internal == nil {
			all = append(all, clearText("issuer", i.Issuer, "its keys are fetched from there, and whoever is on the way can replace them")...)
		}
	}
	if d, ok := p.albDoubt(); ok {
		all = append(all, d)
	}
	if i := p.Introspection; i != nil {
		all = append(all, i.claimDoubts()...)
		all = append(all, clearText("introspection", i.Endpoint, "tokens and the client secret can be read on the way, and responses changed")...)
	}
	return all
}

// albDoubt returns what is doubtful about reading the header of a load balancer
// without saying whose it is.
func (p *Provider) albDoubt() (credential.Doubt, bool) {
	reads := slices.ContainsFunc(p.From, func(s Source) bool { return strings.EqualFold(s.Header, albHeader) })
	named := slices.ContainsFunc(p.Issuers, func(i *Issuer) bool { return i.ALB != nil })
	return credential.Doubt{
		ID: "alb_missing",
		Text: "from header " + albHeader + ": load balancers of AWS pad what they put there, and sign it with keys of their own, " +
			"so that it is never accepted: write alb <arn> in the block of the issuer",
	}, reads && !named
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
	address, err := resolve(option, text)
	if err != nil {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || loopback(u.Hostname()) {
		return nil
	}
	u.Scheme = "https"
	return []credential.Doubt{{
		ID:   "clear_text_http",
		Text: option + " " + address + " is not encrypted: " + danger + "; write " + option + " " + u.String(),
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
