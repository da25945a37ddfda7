package jwtauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Resource is the protected resource that tokens are for (RFC 9728, RFC 8707).
//
// Its metadata is served to everybody at /.well-known/oauth-protected-resource
// and, with the path of the identifier behind it, below that; the challenge of
// every 401 and 403 behind the handler has its URL (resource_metadata). It depends
// on the configuration alone and never on the Host of a request.
type Resource struct {
	// The identifier: the URL of the endpoint exactly as clients know it, without
	// a slash at the end, such as https://api.example.com/mcp. It is the default
	// of audience.
	ID string `json:"id"`

	// The authorization servers where clients get tokens. Default: the issuers
	// whose names are URLs.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`

	// The scopes to advertise to clients. Default: those that the rules and
	// conditions of the rbac behind use.
	Scopes []string `json:"scopes,omitempty"`

	// A name to show to people, and where they read more. Default: nothing.
	Name          string `json:"name,omitempty"`
	Documentation string `json:"documentation,omitempty"`
	Policy        string `json:"policy,omitempty"`
	Terms         string `json:"terms,omitempty"`

	// The URL of the metadata as clients get to it, where a proxy before this
	// server serves it under another URL. Default: where RFC 9728 section 3.1
	// puts it.
	Metadata string `json:"metadata,omitempty"`

	// Whether the token goes on to the upstream. By default it does not: it is
	// for this resource and for no other (MCP, "Token Passthrough").
	PassToken bool `json:"pass_token,omitempty"`
}

// compileResource prepares the resource. The issuers are known.
func (p *Provider) compileResource() error {
	if p.Resource == nil {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("resource: %w", err) }
	id, err := resolve("resource", p.Resource.ID)
	if err != nil {
		return err
	}
	r, err := credential.ParseResource(id)
	if err != nil {
		return fail(err)
	}
	if p.Resource.Metadata != "" {
		if r.Metadata, err = resolve("resource metadata", p.Resource.Metadata); err != nil {
			return err
		}
		if err := checkURL(r.Metadata); err != nil {
			return fail(fmt.Errorf("metadata: %w", err))
		}
	}
	if p.Resource.PassToken && p.Strip {
		return fail(errors.New("pass_token and strip at once: remove one of them"))
	}
	p.strip = p.Strip || !p.Resource.PassToken
	if p.scheme != "" {
		r.Scheme = p.scheme
	}
	p.resource = r
	for _, i := range p.Issuers {
		if len(i.Audience) == 0 {
			i.Audience = r.Audiences()
		}
	}
	if p.Introspection != nil && len(p.Introspection.Audience) == 0 {
		p.Introspection.Audience = r.Audiences()
	}
	return nil
}

// describeResource makes the metadata, once the issuers have their names.
func (p *Provider) describeResource() error {
	if p.resource == nil {
		return nil
	}
	servers := p.Resource.AuthorizationServers
	if len(servers) == 0 {
		for _, name := range append(slices.Clone(p.vouchers), p.opaqueIssuer) {
			if checkURL(name) == nil && !slices.Contains(servers, name) {
				servers = append(servers, name)
			}
		}
	}
	if len(servers) == 0 {
		return errors.New("resource: clients have to be told where they get tokens, and no issuer has a URL for its name: write authorization_servers https://… in its block")
	}
	for _, s := range servers {
		if err := checkURL(s); err != nil {
			return fmt.Errorf("resource: authorization_servers: '%s': %w", s, err)
		}
	}
	doc := metadata{
		Resource: p.resource.ID, AuthorizationServers: servers,
		Name: p.Resource.Name, Documentation: p.Resource.Documentation, Policy: p.Resource.Policy, Terms: p.Resource.Terms,
		Methods:     p.bearerMethods(),
		TLSBound:    p.bindTLS,
		DPoPBound:   p.bindDPoP,
		ProofsByAlg: nil,
	}
	if p.bindDPoP {
		doc.ProofsByAlg = strings.Fields(dpop.Algorithms)
	}
	p.resource.Document = func(known []string) []byte {
		doc := doc
		if doc.Scopes = p.Resource.Scopes; len(doc.Scopes) == 0 {
			doc.Scopes = known
		}
		text, _ := json.Marshal(doc) // strings alone
		return text
	}
	return nil
}

// metadata is the document of RFC 9728 section 2.
type metadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	Methods              []string `json:"bearer_methods_supported,omitempty"`
	Name                 string   `json:"resource_name,omitempty"`
	Documentation        string   `json:"resource_documentation,omitempty"`
	Policy               string   `json:"resource_policy_uri,omitempty"`
	Terms                string   `json:"resource_tos_uri,omitempty"`
	TLSBound             bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	ProofsByAlg          []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoPBound            bool     `json:"dpop_bound_access_tokens_required,omitempty"`
}

// bearerMethods are the ways of RFC 6750 in which tokens may be sent.
func (p *Provider) bearerMethods() []string {
	var all []string
	for _, at := range p.from.Names() {
		switch at {
		case "header Authorization":
			all = append(all, "header")
		case "query access_token":
			all = append(all, "query")
		}
	}
	return all
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.ContainsAny(text, `"\ `) {
		return errors.New("write a URL such as https://id.example.com")
	}
	return nil
}

// unmarshalResource reads a resource and its block.
func (p *Provider) unmarshalResource(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Err("resource takes the URL of the endpoint as clients know it: resource https://api.example.com/mcp")
	}
	r := &Resource{ID: args[0]}
	p.Resource = r
	if !strings.ContainsAny(r.ID, "{}") {
		if _, err := credential.ParseResource(r.ID); err != nil {
			return d.Errf("resource '%s': %v", r.ID, err)
		}
	}
	seen := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.Check(d); err != nil {
			return err
		}
		var err error
		switch d.Val() {
		case "authorization_servers":
			if err = option.List(d, &r.AuthorizationServers); err == nil {
				for _, s := range r.AuthorizationServers {
					if bad := checkURL(s); bad != nil && !strings.ContainsAny(s, "{}") {
						err = d.Errf("authorization_servers: '%s': %v", s, bad)
					}
				}
			}
		case "scopes":
			err = option.List(d, &r.Scopes)
		case "name":
			err = option.OneArg(d, &r.Name)
		case "documentation":
			err = oneURL(d, &r.Documentation)
		case "policy":
			err = oneURL(d, &r.Policy)
		case "terms":
			err = oneURL(d, &r.Terms)
		case "metadata":
			err = oneURL(d, &r.Metadata)
		case "pass_token":
			err = option.Flag(d, &r.PassToken)
		default:
			return option.Unrecognized(d, "resource", []string{"authorization_servers", "scopes", "name", "documentation", "policy", "terms", "metadata", "pass_token"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func oneURL(d *caddyfile.Dispenser, target *string) error {
	name := d.Val()
	if err := option.OneArg(d, target); err != nil {
		return err
	}
	if err := checkURL(*target); err != nil && !strings.ContainsAny(*target, "{}") {
		return d.Errf("%s '%s': %v", name, *target, err)
	}
	return nil
}
