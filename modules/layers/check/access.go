package check

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// rbacConfig is as much of rbac as the rules look at.
type rbacConfig struct {
	DryRun bool   `json:"dry_run"`
	Policy string `json:"policy"`
}

// access looks at what callers may do.
func (c *checker) access() {
	for _, s := range c.sites {
		for _, h := range s.handlers {
			if h.name != "rbac" {
				continue
			}
			if into[rbacConfig](h.raw).DryRun {
				c.add("rbac_dry_run", c.spot(h, "dry_run"), s, "dry_run: what the rules refuse passes all the same; take the line out when the log shows nothing that must go on", "# dry_run")
			}
			c.ruleWarnings(h)
		}
		if gate := firstOf(s, (*handler).authenticates); gate != nil && !s.has("rbac") && !optionalOf(gate) {
			c.add("rbac_missing", c.spot(gate), s, "callers are authenticated and no rbac decides what they may do: whoever has any credential of this issuer may send every request")
		}
	}
}

// ruleWarnings tells of rules of a policy that decide nothing.
func (c *checker) ruleWarnings(h *handler) {
	doc := documentOf(h.raw)
	if doc == nil {
		return
	}
	p, err := policy.Compile(doc)
	if err != nil {
		return // the server refuses it
	}
	for _, w := range p.Warnings() {
		at, text := c.spot(h), w
		if place, rest, ok := strings.Cut(w, ": "); ok {
			if _, _, ok := position(place); ok {
				at, text = spot{places: []string{place}}, rest
			}
		}
		if at.directives == nil {
			at.words = ruleWords(text)
		}
		c.add("rbac_rule", at, h.site, text)
	}
}

// ruleWords returns the words of the rule that a warning begins with: method
// and path stand behind "allow" or "deny".
func ruleWords(text string) []string {
	fields := strings.Fields(text)
	for i, f := range fields {
		if (f == "allow" || f == "deny") && i+2 < len(fields) {
			return []string{f, fields[i+1], strings.TrimSuffix(fields[i+2], ":")}
		}
	}
	return nil
}

// documentOf returns the policy of an rbac handler: its own or that of its
// file. nil is one that cannot be read.
func documentOf(raw json.RawMessage) *policy.Document {
	config := into[rbacConfig](raw)
	if config.Policy == "" {
		doc := into[policy.Document](raw)
		return &doc
	}
	content, err := filewatch.Read(resolved(config.Policy), policy.MaxFile)
	if err != nil {
		return nil
	}
	file, err := policy.ReadFile(config.Policy, content)
	if err != nil {
		return nil
	}
	own := into[policy.Document](raw)
	doc, err := policy.Merge(&own, file)
	if err != nil {
		return nil
	}
	return doc
}

func firstOf(s *site, is func(*handler) bool) *handler {
	if i := slices.IndexFunc(s.handlers, is); i >= 0 {
		return s.handlers[i]
	}
	return nil
}

func optionalOf(h *handler) bool {
	return into[struct {
		Optional bool `json:"optional"`
	}](h.raw).Optional
}

// data looks at what callers see.
func (c *checker) data() {
	for _, s := range c.sites {
		for _, h := range s.handlers {
			if h.name != "redact" {
				continue
			}
			r := into[struct {
				Unreadable string `json:"unreadable"`
				Groups     []struct {
					Mode  string   `json:"mode"`
					Of    string   `json:"of"`
					Names []string `json:"names"`
				} `json:"groups"`
			}](h.raw)
			if r.Unreadable == "pass" {
				c.add("redact_passes_unreadable", c.spot(h, "unreadable", "pass"), s, "unreadable pass: whoever gets the upstream to respond in a form that redact cannot read, as with another Accept header, sees every member")
			}
			if len(r.Groups) > 0 && !s.knowable() {
				g := r.Groups[0]
				c.add("redact_without_identity", c.spot(h, append([]string{g.Mode, g.Of}, g.Names...)...), s,
					g.Mode+" "+g.Of+" "+strings.Join(g.Names, " ")+" is about callers, and nothing in this site authenticates: all callers are anonymous here",
					"jwt_auth {", "\tissuer   https://id.example.com", "\taudience <the name of this API at the issuer>", "}")
			}
		}
	}
}

// knowable reports whether something in the site may make callers known, be it
// of another plugin.
func (s *site) knowable() bool {
	return s.known() || slices.ContainsFunc(s.handlers, func(h *handler) bool { return !standard(h.name) && !ours(h.name) })
}

// limits looks at how often callers may try.
func (c *checker) limits() {
	for _, s := range c.sites {
		gate := firstOf(s, func(h *handler) bool {
			return slices.ContainsFunc(h.providers, func(p provider) bool { return p.name != "client_cert_auth" && p.name != "trusted_header_auth" })
		})
		if gate == nil {
			continue
		}
		before := slices.Index(s.handlers, gate)
		if !slices.ContainsFunc(s.handlers[:before], func(h *handler) bool { return h.name == "rate_limit" }) {
			c.add("flood_limit_missing", c.spot(gate), s, "no limit stands before authentication: one address may try as many credentials as it can send, and each costs a signature check")
		}
	}
}
