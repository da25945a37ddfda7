package reqctx

import (
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/mcp"
)

// Calls decides, by the policy that decided on a request, about calls of
// the Model Context Protocol. The handler that read the call asks.
type Calls interface {
	// Decide decides about a call. The decision of a policy in dry run is what it
	// would be; DryRun says so.
	Decide(r *http.Request, kind policy.Call, call *condition.Call) CallDecision

	// Shows returns whether a list shows a name to the caller of the request.
	Shows(r *http.Request, kind policy.Call) func(name string) bool
}

// CallDecision is what a policy says about a call.
type CallDecision struct {
	policy.Decision
	Policy string   // digest
	DryRun bool     // a call that is not allowed passes
	Scopes []string // of which each would have it allowed, where it is not
}

// mcpState is what the layers share about a request to a server of the Model
// Context Protocol.
type mcpState struct {
	carries bool
	calls   Calls
	message *mcp.Message
	peek    *peekable
}

// SetCarriesCalls says that the request and its response are messages of the
// Model Context Protocol, for layers that look into them.
func SetCarriesCalls(r *http.Request) { Of(r).mcp.carries = true }

// CarriesCalls reports whether they are.
func CarriesCalls(r *http.Request) bool { return Of(r).mcp.carries }

// SetCalls leaves who is to be asked about calls. Without rules for calls nobody
// is.
func SetCalls(r *http.Request, c Calls) { Of(r).mcp.calls = c }

// CallsOf returns who is to be asked about calls, or nil.
func CallsOf(r *http.Request) Calls { return Of(r).mcp.calls }
