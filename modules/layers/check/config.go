package check

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// config is as much of Caddy's JSON as the rules look at.
type config struct {
	Admin *struct {
		Disabled bool   `json:"disabled"`
		Listen   string `json:"listen"`
	} `json:"admin"`
	Logging struct {
		Logs map[string]*struct {
			Writer  json.RawMessage `json:"writer"`
			Encoder struct {
				Format string `json:"format"`
			} `json:"encoder"`
		} `json:"logs"`
	} `json:"logging"`
	Apps struct {
		HTTP struct {
			HTTPPort int                `json:"http_port"`
			Servers  map[string]*server `json:"servers"`
		} `json:"http"`
	} `json:"apps"`
}

type server struct {
	Listen      []string                  `json:"listen"`
	Routes      []route                   `json:"routes"`
	Errors      *struct{ Routes []route } `json:"errors"`
	Named       map[string]*route         `json:"named_routes"`
	TLSPolicies []json.RawMessage         `json:"tls_connection_policies"`
	Automatic   *struct {
		Disable bool     `json:"disable"`
		Skip    []string `json:"skip"`
		NoCerts []string `json:"skip_certificates"`
	} `json:"automatic_https"`
	Protocols      []string        `json:"protocols"`
	Allow0RTT      *bool           `json:"allow_0rtt"`
	MaxHeaderBytes int             `json:"max_header_bytes"`
	Proxies        json.RawMessage `json:"trusted_proxies"`
	ProxiesStrict  int             `json:"trusted_proxies_strict"`
	Logs           *struct {
		Names       map[string]json.RawMessage `json:"logger_names"`
		Default     string                     `json:"default_logger_name"`
		Skip        []string                   `json:"skip_hosts"`
		Credentials bool                       `json:"should_log_credentials"`
	} `json:"logs"`
}

type route struct {
	Group    string                       `json:"group"`
	Match    []map[string]json.RawMessage `json:"match"`
	Handle   []json.RawMessage            `json:"handle"`
	Terminal bool                         `json:"terminal"`
}

// site is what stands behind one address.
type site struct {
	server   *server
	hosts    []string
	handlers []*handler // in the order in which requests meet them
}

// name returns the site's address, as a finding shows it.
func (s *site) name() string {
	if len(s.hosts) == 0 {
		return strings.Join(s.server.Listen, " ")
	}
	return strings.Join(s.hosts, ", ")
}

// handler is a handler of a site.
type handler struct {
	name      string // of its module
	raw       json.RawMessage
	site      *site
	within    string     // the matchers that a request has met on the way to it
	providers []provider // of auth and authentication
}

// provider is a credential method.
type provider struct {
	name string
	raw  json.RawMessage
}

// readConfig reads Caddy's JSON.
func readConfig(text []byte) (*config, error) {
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	return &c, nil
}

// sites returns the sites of all servers, in a fixed order.
func (c *config) sites() []*site {
	var all []*site
	for _, name := range sortedKeys(c.Apps.HTTP.Servers) {
		server := c.Apps.HTTP.Servers[name]
		loose := &site{server: server}
		for _, r := range server.Routes {
			hosts := r.hosts()
			if !r.Terminal || len(hosts) == 0 {
				server.collect(loose, []route{r}, nil, "")
				continue
			}
			s := &site{server: server, hosts: hosts}
			r.Match = r.withoutHosts()
			server.collect(s, []route{r}, nil, "")
			all = append(all, s)
		}
		if len(loose.handlers) > 0 {
			all = append(all, loose)
		}
	}
	return all
}

func (r route) hosts() []string {
	var all []string
	for _, set := range r.Match {
		var hosts []string
		if json.Unmarshal(set["host"], &hosts) == nil {
			all = append(all, hosts...)
		}
	}
	return all
}

// withoutHosts returns the matchers of a site's route but for its hosts.
func (r route) withoutHosts() []map[string]json.RawMessage {
	sets := make([]map[string]json.RawMessage, 0, len(r.Match))
	for _, set := range r.Match {
		rest := maps.Clone(set)
		delete(rest, "host")
		sets = append(sets, rest)
	}
	return sets
}

// matchers returns the matchers of a route as text, "" if it is for all
// requests.
func (r route) matchers() string {
	if len(r.Match) == 0 || slices.ContainsFunc(r.Match, func(set map[string]json.RawMessage) bool { return len(set) == 0 }) {
		return ""
	}
	text, err := json.Marshal(r.Match)
	if err != nil {
		return ""
	}
	return string(text) + "\n"
}

// collect adds the handlers of routes to a site, those of named routes where
// they are invoked.
func (s *server) collect(to *site, routes []route, within []string, matched string) {
	for _, r := range routes {
		matched := matched + r.matchers()
		for _, raw := range r.Handle {
			var h struct {
				Name   string  `json:"handler"`
				Routes []route `json:"routes"`
				Invoke string  `json:"name"`
			}
			if json.Unmarshal(raw, &h) != nil {
				continue
			}
			switch h.Name {
			case "subroute":
				s.collect(to, h.Routes, within, matched)
				continue
			case "invoke":
				if named := s.Named[h.Invoke]; named != nil && !slices.Contains(within, h.Invoke) {
					s.collect(to, []route{*named}, append(slices.Clip(within), h.Invoke), matched)
				}
				continue
			}
			to.handlers = append(to.handlers, &handler{name: h.Name, raw: raw, site: to, within: matched, providers: providersOf(h.Name, raw)})
		}
	}
}

// providersOf returns the methods of an authentication handler, also those in
// the groups of auth.
func providersOf(name string, raw json.RawMessage) []provider {
	var all []provider
	switch name {
	case "auth":
		var a struct {
			Providers []json.RawMessage `json:"providers"`
			Apps      []json.RawMessage `json:"app_providers"`
		}
		if json.Unmarshal(raw, &a) != nil {
			return nil
		}
		for _, p := range append(a.Apps, a.Providers...) {
			var m struct {
				Provider string `json:"provider"`
			}
			if json.Unmarshal(p, &m) == nil {
				all = append(all, provider{m.Provider, p})
			}
		}
	case "authentication":
		var a struct {
			Providers map[string]json.RawMessage `json:"providers"`
		}
		if json.Unmarshal(raw, &a) != nil {
			return nil
		}
		for _, name := range sortedKeys(a.Providers) {
			all = append(all, provider{name, a.Providers[name]})
		}
	}
	return all
}

// into reads a handler's or provider's configuration.
func into[T any](raw json.RawMessage) T {
	var to T
	_ = json.Unmarshal(raw, &to) // what does not fit, the server refuses
	return to
}

// authenticates reports whether the handler makes callers known.
func (h *handler) authenticates() bool { return len(h.providers) > 0 }

// place returns where the handler's directive is written, "" if that is not
// known.
func (h *handler) place() string {
	info, err := caddy.GetModule("http.handlers." + h.name)
	if err != nil {
		return ""
	}
	module := info.New()
	var members map[string]json.RawMessage
	if json.Unmarshal(h.raw, &members) != nil {
		return ""
	}
	delete(members, "handler")
	text, err := json.Marshal(members)
	if err != nil || json.Unmarshal(text, module) != nil {
		return ""
	}
	return option.PlaceOf(module)
}

// directive returns the name that the handler goes by in a Caddyfile.
func (h *handler) directive() string {
	if h.name != "auth" {
		return h.name
	}
	return cmp.Or(into[struct {
		Name string `json:"name"`
	}](h.raw).Name, h.name)
}

// spot returns where a finding about the handler is, at the line with words.
func (c *checker) spot(h *handler, words ...string) spot {
	at := spot{hosts: h.site.where(), places: c.src.ours(h.place()), words: words}
	if len(at.places) == 0 || !c.src.holds(at) {
		at.places, at.directives = nil, directivesOf(h.directive())
	}
	return at
}

// where returns the hosts that a site's block names, never nil.
func (s *site) where() []string {
	if s.hosts == nil {
		return []string{}
	}
	return s.hosts
}

// directivesOf returns the directives that adapt to a handler.
func directivesOf(name string) []string {
	switch name {
	case "authentication":
		return []string{"basic_auth", "basicauth"}
	case "reverse_proxy":
		return []string{"reverse_proxy", "forward_auth", "php_fastcgi"}
	case "rate_limit":
		return []string{"rate_limit", "flood_limit"}
	case "static_response":
		return []string{"respond", "redir", "abort"}
	case "headers":
		return []string{"header", "request_header"}
	case "rewrite":
		return []string{"rewrite", "uri", "method"}
	}
	return []string{name}
}

// has reports whether a site has a handler of one of these names.
func (s *site) has(names ...string) bool {
	return slices.ContainsFunc(s.handlers, func(h *handler) bool { return slices.Contains(names, h.name) })
}

// known reports whether something in the site authenticates callers.
func (s *site) known() bool { return slices.ContainsFunc(s.handlers, (*handler).authenticates) }
