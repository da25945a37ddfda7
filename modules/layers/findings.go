package layers

import (
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// Findings returns all that is wrong with the layers of a configuration whose
// routes have been loaded, the servers in the order of their names.
func Findings(ctx caddy.Context, app *caddyhttp.App) []Finding {
	var all []Finding
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		look := examination{server: name}
		routes := routetree.Expand(server.Routes, server.NamedRoutes)
		look.routes(server, routes)
		look.logs(ctx, routes)
		for _, route := range uninvoked(server) {
			look.dropped(route, routetree.Expand(caddyhttp.RouteList{*server.NamedRoutes[route]}, server.NamedRoutes))
		}
		if err := connections(ctx, server); err != nil {
			look.add(Finding{ID: "client_cert_connections", Severity: Refused, Text: err.Error()})
		}
		all = append(all, look.found...)
	}
	return all
}

// examination collects what is found in one server.
type examination struct {
	server string
	found  []Finding
}

// add keeps a finding. about are pairs of names and values.
func (e *examination) add(f Finding, about ...string) {
	f.About = map[string]string{"server": e.server}
	for i := 0; i+1 < len(about); i += 2 {
		f.About[about[i]] = about[i+1]
	}
	e.found = append(e.found, f)
}

// routes looks at all routes of a server.
func (e *examination) routes(server *caddyhttp.Server, routes caddyhttp.RouteList) {
	errors := server.Errors
	for _, u := range unreachables(routes) {
		e.unreachable(u)
	}
	if errors != nil {
		for _, u := range unreachables(errors.Routes) {
			e.unreachable(u)
		}
		for _, u := range uncopiedFields(errors.Routes) {
			e.uncopied(u)
		}
	}
	e.identity(routes)
	e.users(routes)
	e.scopes(server, routes)
	e.calls(routes)
	e.discovery(routes)
	e.contracts(routes)
	for _, u := range uncopiedFields(routes) {
		e.uncopied(u)
	}
	for _, c := range chosenByClients(routes) {
		e.chosen(c)
	}
	for _, u := range unheardServices(routes) {
		e.unheard(u)
	}
	for _, p := range twice(routes) {
		e.twice(p)
	}
	for _, h := range strangersBehind(routes) {
		e.add(Finding{
			ID: "foreign_authenticator", Severity: Warning,
			Text: "this handler of another plugin may set another caller behind jwt_auth or auth { … }: the layers behind then decide about that one, while forwarded headers carry the first; use one of them, or write its method into auth { … }",
		}, "handler", nameOf(h))
	}
	for _, layer := range roundErrors(routes, server) {
		e.add(Finding{
			ID: "error_route_bypass", Severity: Warning,
			Text: "handle_errors hands requests to an upstream as they came, past this layer: write rewrite to a fixed path before its reverse_proxy or file_server, so that it serves error pages alone, or the layer in handle_errors too",
		}, "layer", layer)
	}
	e.addresses(server, routes)
	e.doubts(routes)
	e.fields(server, routes)
	for _, site := range sites(routes) {
		e.site(site)
		e.abuse(server, site)
	}
}

func (e *examination) unreachable(u unreachable) {
	e.add(Finding{
		ID: "layer_unreachable", Severity: Refused, Place: placeOf(u.layer),
		Text: nameOf(u.layer) + " stands behind " + u.behind + ", which responds to every request, so that no request reaches it: write it before, or leave the route block out, so that the layers are ordered by themselves",
	})
}

func (e *examination) twice(p pair) {
	first, second := nameOf(p.first), nameOf(p.second)
	method := func(name string) string {
		if name == "authentication" {
			return "basic"
		}
		return name
	}
	both := method(first) + " { … } " + method(second) + " { … }"
	where := first
	if at := placeOf(p.first); at != "" {
		where += " (" + at + ")"
	}
	severity := Refused
	if p.tolerable() {
		severity = Warning
	}
	e.add(Finding{
		ID: "two_identities", Severity: severity, Place: placeOf(p.second),
		Text: second + " stands behind " + where + ", so that each request would have two identities, of which rbac and the record know the last: write auth { " + both + " }, one method a line, for callers who have either credential, or auth { all { " + both + " } } for those who have both",
	})
}

// dropped is for a named route that was to be invoked and is not.
func (e *examination) dropped(name string, routes caddyhttp.RouteList) {
	f := Finding{
		ID: "named_route_dropped", Severity: Warning,
		Text: "nothing invokes the named route " + name + ": Caddy keeps only the first directive of a named route in which none has a matcher; put the directives of the one that invokes it into a route { … } block",
	}
	if hasLayer(routes) {
		f.Severity = Refused
	}
	e.add(f, "route", name)
}

// identity looks for what needs an identity where there can be none.
func (e *examination) identity(routes caddyhttp.RouteList) {
	for _, zone := range unauthenticated(routes) {
		e.add(Finding{
			ID: "rate_limit_unauthenticated", Severity: Warning,
			Text: "this rate limit is keyed by the user, but nothing before it authenticates: all callers share one bucket; use jwt_auth or auth { … }, which stand before rate_limit, or another key",
		}, "zone", zone)
	}
	for _, h := range closed(routes) {
		if h.DecidesOnly() {
			e.add(Finding{
				ID: "rbac_closed_dry_run", Severity: Warning, Place: placeOf(h.(caddyhttp.MiddlewareHandler)),
				Text: "nothing before this rbac authenticates and it has no rule for anyone: without dry_run it would refuse every request",
			}, "rbac", h.String())
			continue
		}
		e.add(Finding{
			ID: "rbac_closed", Severity: Refused, Place: placeOf(h.(caddyhttp.MiddlewareHandler)),
			Text: "rbac (" + h.String() + "): nothing before it authenticates and it has no rule for anyone, so that it would refuse every request: write jwt_auth or auth { … }, or an anyone block",
		})
	}
	meet(routes, func(h caddyhttp.MiddlewareHandler, known bool) {
		if n, ok := h.(interface{ NeedsIdentity() bool }); ok && !known && n.NeedsIdentity() {
			e.add(Finding{
				ID: "callers_unknown", Severity: Refused, Place: placeOf(h),
				Text: nameOf(h) + ": nothing before it authenticates, so that it knows no callers: write jwt_auth or auth { … }, or access for addresses",
			})
		}
	}, nil)
	for _, matcher := range blind(routes) {
		e.add(Finding{
			ID: "matcher_before_identity", Severity: Warning,
			Text: "this matcher looks at who is calling before anything has found out: put what uses it into a handle block behind jwt_auth or auth { … }",
		}, "matcher", matcher)
	}
}

// site looks at one site.
func (e *examination) site(site caddyhttp.RouteList) {
	e.limits(site)
	e.behindAuthentication(site)
	e.severalDeciders(site)
	e.names(site)
	if files := filesBehindRedact(site); files != nil {
		e.add(Finding{
			ID: "redact_over_files", Severity: Warning, Place: placeOf(files),
			Text: "redact also stands before this file_server and cannot read its pages, scripts and styles, so that each of them would be a 502: put redact into the handle block of the API, or write pass text/html text/css text/javascript in redact",
		})
	}
	if undecided(site) {
		e.add(Finding{
			ID: "optional_undecided", Severity: Warning,
			Text: "authentication is optional here and no rbac follows: requests without a credential reach the application",
		})
	}
	for _, header := range spoofable(site) {
		e.add(Finding{
			ID: "header_spoofable", Severity: Warning,
			Text: "this header carries the identity to an upstream, but in another part of the site a client can send it to one itself: write jwt_auth or auth { … } outside of handle blocks, or request_header -" + header + " where they are not",
		}, "header", header)
	}
}
