package layers

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// contractor is validate, as far as it matters here.
type contractor interface {
	// Secured returns an operation for which the document demands a credential, or
	// nothing.
	Secured() string
}

// seenBefore is what a request has met on its way.
type seenBefore struct{ identity, contract bool }

// contracts looks whether what validate and validate_responses need stands before them.
func (e *examination) contracts(routes caddyhttp.RouteList) {
	routetree.Walk[seenBefore]{
		Handle: func(h caddyhttp.MiddlewareHandler, m seenBefore) seenBefore {
			if c, ok := h.(contractor); ok {
				if operation := c.Secured(); operation != "" && !m.identity {
					e.add(Finding{
						ID: "contract_without_identity", Severity: Warning, Place: placeOf(h),
						Text: "the OpenAPI document demands a credential for " + operation + ", and nothing before validate finds out who calls: validate does not check credentials. Write jwt_auth, api_key_auth or another method, and rbac, or security: [] in the document",
					})
				}
				m.contract = true
				return m
			}
			if mod, ok := h.(caddy.Module); ok && mod.CaddyModule().ID == "http.handlers.validate_responses" && !m.contract {
				e.add(Finding{
					ID: "responses_without_contract", Severity: Refused, Place: placeOf(h),
					Text: "no validate stands before this validate_responses, so that it checks nothing: write validate with the file of the OpenAPI document in the same site",
				})
			}
			m.identity = m.identity || identifies(h)
			return m
		},
		Leave: func(route caddyhttp.Route, before, inside seenBefore) seenBefore {
			if route.Terminal {
				return before
			}
			return inside
		},
		Alternatives: true,
	}.Follow(routes, seenBefore{})
}
