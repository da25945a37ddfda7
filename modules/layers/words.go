package layers

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	caddyrl "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// shared is a layer that counts for who shares a text with placeholders.
type shared interface{ SharedBy() string }

// limits looks for limits that limit nothing, or all callers together.
func (e *examination) limits(routes caddyhttp.RouteList) {
	admits := false // authentication is optional: callers may be anonymous
	others := false // who is not ours may set placeholders that we do not know
	meet(routes, func(h caddyhttp.MiddlewareHandler, known bool) {
		if o, ok := h.(optional); ok {
			admits = admits || o.AdmitsAnonymous()
		}
		if s, ok := h.(shared); ok {
			if f, ok := keyFault(s.SharedBy(), known && admits, others); ok {
				f.Place = placeOf(h)
				e.add(f, "key", s.SharedBy())
			}
			return
		}
		limit, ok := h.(*caddyrl.Handler)
		if !ok {
			ours, _ := authenticates(h)
			_, stripper := h.(identifier)
			others = others || identifies(h) && !ours && !stripper
			return
		}
		if len(limit.RateLimits) == 0 {
			e.add(Finding{
				ID: "rate_limit_without_zone", Severity: Refused, Place: placeOf(h),
				Text: "rate_limit has no zone, so that it limits nothing: write zone <name> { key …; events …; window … } inside of it, one option a line",
			})
		}
		for name, zone := range limit.RateLimits {
			if f, ok := keyFault(zone.Key, known && admits, others); ok {
				e.add(f, "zone", name, "key", zone.Key)
			}
		}
	}, nil)
}

var placeholders = regexp.MustCompile(`\{[^{}]+\}`)

// userNames are the placeholders below {http.auth.user.} that our methods
// vouch for. Other authenticators may set more.
var userNames = []string{"id", "roles", "scopes", "plan", "issuer", "kind"}

// keyFault returns what is wrong with the key of a limit. With anonymous,
// callers without a credential come by; with others, authenticators that are
// not ours do too.
func keyFault(key string, anonymous, others bool) (Finding, bool) {
	found := placeholders.FindAllString(key, -1)
	if len(found) == 0 {
		return Finding{
			ID: "rate_limit_one_key", Severity: Warning,
			Text: "the key of this limit has no placeholder, so that all callers share one bucket: write {http.moat.caller} or {client_ip}, with the braces",
		}, key != "static" // as caddy-ratelimit's documentation writes it where that is meant
	}
	ofUser := 0
	for _, p := range found {
		name, ok := strings.CutPrefix(strings.Trim(p, "{}"), "http.auth.user.")
		if !ok {
			continue
		}
		if !slices.Contains(userNames, name) && !strings.HasPrefix(name, "claims.") {
			near := suggest.Nearest(name, userNames)
			if near == "" && others {
				continue
			}
			text := "nothing sets " + p + ", so that all callers share one bucket"
			if near != "" {
				text += ": did you mean {http.auth.user." + near + "}?"
			} else {
				text += ": write {http.moat.caller}, or a claim as {http.auth.user.claims." + name + "}"
			}
			return Finding{ID: "rate_limit_unknown_key", Severity: Warning, Text: text}, true
		}
		ofUser++
	}
	return Finding{
		ID: "rate_limit_shared_by_anonymous", Severity: Warning,
		Text: "authentication is optional here and this key is empty for all anonymous callers, who share one bucket, so that one of them can use it up for the others: write {http.moat.caller}, which is the client's address for them",
	}, anonymous && ofUser == len(found) && placeholders.ReplaceAllString(key, "") == ""
}

// behindAuthentication looks for rules for anyone that no anonymous caller can
// use, since authentication before them is not optional.
func (e *examination) behindAuthentication(routes caddyhttp.RouteList) {
	required(routes, func(h caddyhttp.MiddlewareHandler, by string) {
		if d, ok := h.(decider); ok && by != "" && d.ServesAnonymous() {
			e.add(Finding{
				ID: "anyone_behind_authentication", Severity: Warning, Place: placeOf(h),
				Text: "rbac has rules for anyone, but " + by + " before it rejects requests without a credential: write optional in " + by + " so that anonymous callers reach these rules, or name the block authenticated",
			})
		}
	})
}

// preflighter is a handler that may let CORS preflights pass.
type preflighter interface{ AdmitsPreflights() bool }

// required calls f for every handler with the authenticator that has rejected
// all anonymous requests before it, "" if there is none.
func required(routes caddyhttp.RouteList, f func(caddyhttp.MiddlewareHandler, string)) {
	routetree.Walk[string]{
		Handle: func(h caddyhttp.MiddlewareHandler, by string) string {
			f(h, by)
			return cmp.Or(by, rejectsAnonymous(h))
		},
		Leave: func(route caddyhttp.Route, before, inside string) string {
			if meetsAll(route) && route.Group == "" && !route.Terminal {
				return inside
			}
			return before
		},
	}.Follow(routes, "")
}

// rejectsAnonymous returns the name of a handler that lets no request without
// a credential pass.
func rejectsAnonymous(h caddyhttp.MiddlewareHandler) string {
	if _, ok := h.(*caddyauth.Authentication); ok {
		return "basic_auth"
	}
	i, ours := h.(identifier)
	o, ok := h.(optional)
	if !ours || !ok || !i.Authenticates() || o.AdmitsAnonymous() {
		return ""
	}
	if p, ok := h.(preflighter); ok && p.AdmitsPreflights() {
		return ""
	}
	return nameOf(h)
}

// doubter is a handler whose configuration may have something doubtful in it.
type doubter interface {
	Doubts() []credential.Doubt
}

// doubts tells of what the authenticators themselves find doubtful.
func (e *examination) doubts(routes caddyhttp.RouteList) {
	meet(routes, func(h caddyhttp.MiddlewareHandler, _ bool) {
		if d, ok := h.(doubter); ok {
			for _, doubt := range d.Doubts() {
				e.add(Finding{ID: doubt.ID, Severity: Warning, Place: placeOf(h), Text: nameOf(h) + ": " + doubt.Text})
			}
		}
	}, nil)
}

// severalDeciders looks for requests that more than one rbac decides on.
func (e *examination) severalDeciders(site caddyhttp.RouteList) {
	var before []caddyhttp.MiddlewareHandler
	required(site, func(h caddyhttp.MiddlewareHandler, _ string) {
		if _, ok := h.(decider); ok {
			before = append(before, h)
		}
	})
	for i := range before {
		if i > 0 && inSequence(site, before[i-1], before[i]) {
			where := ""
			if at := placeOf(before[i-1]); at != "" {
				where = " (" + at + ")"
			}
			e.add(Finding{
				ID: "rbac_repeated", Severity: Warning, Place: placeOf(before[i]),
				Text: "a second rbac stands behind another" + where + ": only what both allow passes; write all rules in one block, unless that is meant",
			})
		}
	}
}

// inSequence reports whether every request that meets one of two handlers meets
// the other.
func inSequence(routes caddyhttp.RouteList, a, b caddyhttp.MiddlewareHandler) bool {
	type have struct{ a, b bool } // met by every request here
	together := false
	end := routetree.Walk[have]{
		Enter: func(caddyhttp.Route, have) have { return have{} },
		Handle: func(h caddyhttp.MiddlewareHandler, met have) have {
			return have{met.a || h == a, met.b || h == b}
		},
		Leave: func(route caddyhttp.Route, before, inside have) have {
			together = together || inside.a && inside.b
			if meetsAll(route) && route.Group == "" {
				return have{before.a || inside.a, before.b || inside.b}
			}
			return before
		},
	}.Follow(routes, have{})
	return together || end.a && end.b
}

// sourced is a handler whose methods look for credentials in locations of the
// request, which it lists method by method.
type sourced interface {
	CredentialPlaces() [][]string
}

// reader is a handler that looks at header fields by their names.
type reader interface {
	HeaderNames() []string
}

// fields looks for names of header fields that never reach a handler: Caddy
// drops those with "_" or "." in them unless the server expects them.
func (e *examination) fields(server *caddyhttp.Server, routes caddyhttp.RouteList) {
	meet(routes, func(h caddyhttp.MiddlewareHandler, _ bool) {
		if s, ok := h.(sourced); ok {
			for _, places := range s.CredentialPlaces() {
				e.places(server, h, places)
			}
		}
		if r, ok := h.(reader); ok {
			for _, name := range r.HeaderNames() {
				if option := dropped(server, name); option != "" {
					e.add(Finding{
						ID: "header_never_arrives", Severity: Warning, Place: placeOf(h),
						Text: nameOf(h) + " names the header " + name + ", which Caddy removes from every request: write servers { " + option + " " + name + " } in the global options, or a name with hyphens",
					}, "header", name)
				}
			}
		}
	}, nil)
}

// places checks the locations where the credential of one method may stand. It
// is a mistake if one of them can hold none, and refused if all are like that.
func (e *examination) places(server *caddyhttp.Server, h caddyhttp.MiddlewareHandler, places []string) {
	var none []Finding
	for _, place := range places {
		name, ok := strings.CutPrefix(place, "header ")
		option := dropped(server, name)
		if !ok || option == "" {
			continue
		}
		none = append(none, Finding{
			ID: "credential_never_arrives", Severity: Warning, Place: placeOf(h),
			Text: nameOf(h) + ": from header " + name + " can never match, since Caddy removes that header from every request: write servers { " + option + " " + name + " } in the global options, or a name with hyphens",
		})
	}
	for _, f := range none {
		if len(none) == len(places) {
			f.Severity = Refused
		}
		e.add(f)
	}
}

// dropped returns the option of servers that is missing for a header field to
// reach the handlers, "" if it does.
func dropped(server *caddyhttp.Server, name string) string {
	for _, c := range []struct {
		char, option string
		expected     []string
	}{
		{"_", "expected_underscore_headers", server.ExpectedUnderscoreHeaders},
		{".", "expected_dot_headers", server.ExpectedDotHeaders},
	} {
		if strings.Contains(name, c.char) && !slices.ContainsFunc(c.expected, func(e string) bool { return expects(e, name) }) {
			return c.option
		}
	}
	return ""
}

// expects reports whether an entry of such an option is for a name. One that
// ends in * is for all names that begin so.
func expects(entry, name string) bool {
	if prefix, ok := strings.CutSuffix(entry, "*"); ok {
		return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
	}
	return strings.EqualFold(entry, name)
}
