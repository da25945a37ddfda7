package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
)

// Effect says which way a change goes.
type effect string

const (
	loosens  effect = "loosens"
	tightens effect = "tightens"
	unclear  effect = "unclear" // counted as one that loosens
)

// planned is one thing that a new configuration changes.
type planned struct {
	Effect effect   `json:"effect"`
	Site   string   `json:"site"`
	Area   string   `json:"area"` // rights, credentials, fields, limits, records, layers
	Text   string   `json:"text"`
	Who    string   `json:"who,omitempty"`
	Opened bool     `json:"opened,omitempty"`  // nobody was allowed to before
	Closed bool     `json:"closed,omitempty"`  // nobody is allowed to any more
	Show   *request `json:"request,omitempty"` // one that shows it
}

// request is a request that one configuration allows and the other does not.
type request struct {
	Known  bool     `json:"authenticated"`
	Method string   `json:"method"`
	Path   string   `json:"path"`
	Like   string   `json:"like"` // the path, with * for a segment that may be any other
	User   string   `json:"user,omitempty"`
	Issuer string   `json:"issuer,omitempty"`
	Kind   string   `json:"kind,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	Scopes []string `json:"scopes,omitempty"`
	Holds  []string `json:"holds,omitempty"` // conditions that must hold
	Fails  []string `json:"fails,omitempty"` // and those that must not
}

// planner compares two configurations.
type planner struct {
	site string
	all  []planned
}

func (p *planner) add(e effect, area, format string, args ...any) {
	p.all = append(p.all, planned{Effect: e, Site: p.site, Area: area, Text: fmt.Sprintf(format, args...)})
}

// loadSites returns the sites of a configuration file by their names.
func loadSites(file, adapter string, body []byte) (map[string]*site, error) {
	if !isJSON(file, adapter) {
		var err error
		if body, err = cli.Adapt(file, body, adapter); err != nil {
			return nil, err
		}
	}
	c, err := readConfig(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	sites := map[string]*site{}
	for _, s := range c.sites() {
		// Sites are compared host by host: one may leave its block.
		names := slices.Clone(s.hosts)
		if len(names) == 0 {
			names = []string{s.name()}
		}
		for _, name := range names {
			if sites[name] != nil {
				merged := *sites[name]
				merged.handlers = slices.Concat(merged.handlers, s.handlers)
				sites[name] = &merged
				continue
			}
			sites[name] = s
		}
	}
	return sites, nil
}

// compare returns what changes from some sites to others.
func compare(old, now map[string]*site) ([]planned, error) {
	names := maps.Clone(old)
	maps.Copy(names, now)
	p := new(planner)
	for _, name := range sortedKeys(names) {
		p.site = name
		a, b := old[name], now[name]
		switch {
		case a == nil:
			p.add(loosens, "rights", "the site is new: everything that it responds to is opened")
			a = &site{server: b.server}
			if err := p.rights(a, b, true); err != nil {
				return nil, err
			}
			continue
		case b == nil:
			if other := covering(name, now); other != "" {
				p.add(unclear, "rights", "the site is gone, and requests for it come to %s: compare that one by hand", other)
				continue
			}
			p.add(tightens, "rights", "the site is gone")
			continue
		}
		if err := p.rights(a, b, false); err != nil {
			return nil, err
		}
		p.structure(a, b)
		p.credentials(a, b)
		p.fields(a, b)
		p.rates(a, b)
		p.records(a, b)
		p.others(a, b)
		p.connections(a, b)
	}
	return p.all, nil
}

// covering returns the name of a site to which requests for another host come, ""
// if there is none.
func covering(host string, sites map[string]*site) string {
	for _, name := range sortedKeys(sites) {
		if len(sites[name].hosts) == 0 {
			return name // it is for all hosts
		}
		labels, wild := strings.Split(host, "."), strings.Split(name, ".")
		if !strings.Contains(name, "*") || len(labels) != len(wild) {
			continue
		}
		if !slices.ContainsFunc(labels, func(l string) bool {
			w := wild[0]
			wild = wild[1:]
			return w != "*" && !strings.EqualFold(w, l)
		}) {
			return name
		}
	}
	return ""
}

// connections compares how connections are made, and whom the server believes.
func (p *planner) connections(a, b *site) {
	if !same(a.server.Proxies, b.server.Proxies) || a.server.ProxiesStrict != b.server.ProxiesStrict {
		p.add(unclear, "credentials", "trusted_proxies is another: limits and rules by address believe other clients")
	}
	for _, c := range []struct {
		what string
		x, y any
	}{
		{"the TLS connection policies, as with tls and client_auth, are others", a.server.TLSPolicies, b.server.TLSPolicies},
		{"the addresses it listens to are others", a.server.Listen, b.server.Listen},
		{"automatic HTTPS is configured in another way", a.server.Automatic, b.server.Automatic},
		{"0rtt is another", a.server.Allow0RTT, b.server.Allow0RTT},
		{"handle_errors is another", a.errorRoutes(), b.errorRoutes()},
	} {
		x, errX := json.Marshal(c.x)
		y, errY := json.Marshal(c.y)
		if errX != nil || errY != nil || !same(x, y) {
			p.add(unclear, "layers", "%s: read it", c.what)
		}
	}
}

// errorRoutes returns the error routes of a server that may be for a site.
func (s *site) errorRoutes() []route {
	if s.server.Errors == nil {
		return nil
	}
	var all []route
	for _, r := range s.server.Errors.Routes {
		hosts := r.hosts()
		if len(hosts) == 0 || len(s.hosts) == 0 || slices.ContainsFunc(hosts, func(h string) bool { return slices.Contains(s.hosts, h) }) {
			r.Match = r.withoutHosts() // of which others may come and go
			all = append(all, r)
		}
	}
	return all
}

// named returns the handlers of these names.
func (s *site) named(names ...string) []*handler {
	var all []*handler
	for _, h := range s.handlers {
		if slices.Contains(names, h.name) {
			all = append(all, h)
		}
	}
	return all
}

// gate is what a site asks before it decides, and the policy by which it does.
func (s *site) gate() (policy.Side, error) {
	side := policy.Side{Nobody: !s.knowable()}
	for _, h := range s.handlers {
		if !h.authenticates() {
			continue
		}
		side.Required = side.Required || !optionalOf(h) && h.within == ""
	}
	gates := s.named("rbac")
	if len(gates) == 0 || into[rbacConfig](gates[0].raw).DryRun {
		return side, nil
	}
	doc := documentOf(gates[0].raw)
	if doc == nil {
		return side, fmt.Errorf("%s: the policy %s cannot be read", s.name(), into[rbacConfig](gates[0].raw).Policy)
	}
	var err error
	if side.Policy, err = policy.Compile(doc); err != nil {
		return side, fmt.Errorf("%s: %w", s.name(), err)
	}
	return side, nil
}

// rights compares who may do what.
func (p *planner) rights(a, b *site, added bool) error {
	from, err := a.gate()
	if err != nil {
		return err
	}
	to, err := b.gate()
	if err != nil {
		return err
	}
	if added {
		from = policy.Side{Closed: true}
	}
	changes, err := policy.CompareAll(from, to)
	if err != nil {
		return fmt.Errorf("%s: %w", p.site, err)
	}
	for _, c := range changes {
		e, verb := tightens, "loses"
		if c.Gains {
			e, verb = loosens, "gains"
		}
		who := "a caller without an identity"
		if len(c.Who) > 0 {
			who = strings.Join(c.Who, " with ")
		}
		show := &request{Known: len(c.Who) > 0, Method: c.Method, Path: c.Path, Like: c.Shown, User: c.User, Roles: c.Roles, Scopes: c.Scopes, Holds: c.Holds, Fails: c.Fails}
		if c.User != "" && strings.Contains(who, " from ") {
			show.Issuer, show.Kind = c.Source.Issuer, c.Source.Kind
		}
		p.all = append(p.all, planned{Effect: e, Site: p.site, Area: "rights", Text: verb + " " + c.Method + " " + c.Shown, Who: who, Show: show, Opened: c.Edge && c.Gains, Closed: c.Edge && !c.Gains})
	}
	if from.Policy != nil && to.Policy != nil && !slices.Equal(from.Policy.CallRules(), to.Policy.CallRules()) {
		p.calls(from.Policy, to.Policy)
	}
	return nil
}

// calls compares the rules for calls of MCP servers. Their names are compared at
// the names in the rules alone, so that a change without an effect there is
// unclear.
func (p *planner) calls(from, to *policy.Policy) {
	found := false
	for _, g := range policy.CompareCalls(from, to) {
		found = true
		e, verb := tightens, "loses"
		if g.To > g.From {
			e, verb = loosens, "gains"
		}
		p.all = append(p.all, planned{Effect: e, Site: p.site, Area: "rights", Text: fmt.Sprintf("%s %s %s", verb, g.Method, g.Path), Who: g.Who})
	}
	if !found {
		p.add(unclear, "rights", "the rules for tools, resources or prompts are others: read them")
	}
}

// structure compares where the layers stand: behind which matchers, and how
// many there are.
func (p *planner) structure(a, b *site) {
	for _, name := range []string{"auth", "authentication", "rbac", "redact", "audit", "mcp"} {
		x, y := places(a.named(name)), places(b.named(name))
		if name == "rbac" && len(b.named(name)) > 1 || len(a.named(name)) > 1 && name == "rbac" {
			if !same(raws(a.named(name)), raws(b.named(name))) {
				p.add(unclear, "rights", "the site has several rbac, of which only the first was compared: compare the others by hand")
			}
		}
		if len(x) == len(y) && !slices.Equal(x, y) {
			p.add(unclear, "layers", "%s stands behind other matchers: other requests pass it", name)
		}
	}
}

func places(handlers []*handler) []string {
	all := make([]string, 0, len(handlers))
	for _, h := range handlers {
		all = append(all, h.within)
	}
	return all
}

func raws(handlers []*handler) json.RawMessage {
	all := make([]json.RawMessage, 0, len(handlers))
	for _, h := range handlers {
		all = append(all, h.raw)
	}
	text, _ := json.Marshal(all)
	return text
}

// others tells of layers that came or went, and of those that are compared no
// further.
func (p *planner) others(a, b *site) {
	compared := []string{"auth", "authentication", "rbac", "redact", "audit", "rate_limit", "token_budget", "moat_early_data"}
	var names []string
	for _, h := range slices.Concat(a.handlers, b.handlers) {
		if ours(h.name) && !slices.Contains(names, h.name) {
			names = append(names, h.name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		x, y := a.named(name), b.named(name)
		switch {
		case name == "auth" || name == "authentication" || name == "rbac" || name == "rate_limit":
			// What that changes is said where it is compared.
		case len(x) > 0 && len(y) == 0:
			p.add(loosens, "layers", "%s is gone", name)
		case len(x) == 0:
			p.add(tightens, "layers", "%s is new", name)
		case len(x) > len(y):
			p.add(unclear, "layers", "there is a %s less", name)
		case !slices.Contains(compared, name) && !same(raws(x), raws(y)):
			p.add(unclear, "layers", "%s is configured in another way: read it", name)
		}
	}
	x, y := rest(a), rest(b)
	var differ []string
	for _, list := range [][2][][2]string{{x, y}, {y, x}} {
		for _, h := range list[0] {
			if !slices.Contains(list[1], h) && !slices.Contains(differ, h[0]) {
				differ = append(differ, h[0])
			}
		}
	}
	switch {
	case len(differ) > 0:
		slices.Sort(differ)
		p.add(unclear, "layers", "%s: configured in another way, or behind other matchers, so that other requests may come to the layers or round them: read it", strings.Join(differ, ", "))
	case !slices.Equal(x, y):
		p.add(unclear, "layers", "handlers stand in another order: read it")
	}
}

// indifferent are the handlers of Caddy whose configuration decides about no
// request, but for where they stand.
var indifferent = []string{"reverse_proxy", "headers", "encode", "file_server", "templates", "log_append", "tracing", "metrics"}

// rest returns the handlers of a site that are compared by nothing else: their
// names, and where they stand with what they do.
func rest(s *site) [][2]string {
	var all [][2]string
	for _, h := range s.handlers {
		if ours(h.name) || h.name == "authentication" {
			continue
		}
		text := h.within
		asks := len(into[map[string]json.RawMessage](h.raw)["handle_response"]) > 0 // forward_auth, for one
		if asks || !slices.Contains(indifferent, h.name) {
			raw, err := canonical(h.raw)
			if err != nil {
				raw = h.raw
			}
			text += string(raw)
		}
		all = append(all, [2]string{h.name, text})
	}
	return all
}

// same reports whether two JSON texts say the same.
func same(a, b json.RawMessage) bool {
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func canonical(text json.RawMessage) ([]byte, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
