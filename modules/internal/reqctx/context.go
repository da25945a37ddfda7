package reqctx

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Var is the key of the request's variable table under which its Context
// stands.
const Var = "moat.context"

// Context is all that the layers share about one request: the caller, the
// decisions, the fields for the upstream, the challenges, and what single
// layers keep for later. The first layer of ours that a request meets makes it,
// whichever that is.
//
// It is written by the goroutine that serves the request. Only the decisions may
// be noted from others. The variable table is written once, when the Context is
// made: reverse_proxy may still be dialling for a request whose response has been sent
// on another connection, and reads the table as it does.
type Context struct {
	vars map[string]any
	repl *caddy.Replacer

	principal  *principal.Principal
	decisions  decision.Log
	forwarded  []string // names of fields, see Forward
	challenges []string

	removed []removed
	pass    int // through handlers that remove fields

	watch watch // see Gate
	mcp   mcpState

	kept  []kept
	space [2]kept // kept starts here, so that usual requests allocate nothing more
}

type removed struct {
	name   string
	values []string
	pass   int
}

type kept struct{ key, value any }

// Of returns the context of the request, which it makes if there is none. A
// request that Caddy does not serve has a new one each time.
func Of(r *http.Request) *Context { return of(r, nil) }

// Use is Of for a layer that has room for the context: where the request has
// none yet, it is made there, and costs no allocation of its own.
func Use(r *http.Request, room *Context) *Context { return of(r, room) }

// Find returns the context of the request, or nil.
func Find(r *http.Request) *Context {
	c, _ := Vars(r)[Var].(*Context)
	return c
}

func of(r *http.Request, room *Context) *Context {
	vars := Vars(r)
	if c, ok := vars[Var].(*Context); ok {
		return c
	}
	c := room
	if c == nil {
		c = new(Context)
	}
	c.vars, c.repl = vars, Replacer(r)
	if vars != nil {
		vars[Var] = c
	}
	if c.repl != nil {
		c.repl.Map(c.placeholder)
	}
	return c
}

// String returns nothing: {http.vars.moat.context} must not print a request's
// secrets.
func (*Context) String() string { return "" }

// Decisions returns where the layers note what they decided.
func (c *Context) Decisions() *decision.Log { return &c.decisions }

// Challenges returns what a layer asks for that rejects an anonymous request
// with 401: what the authenticator would have that has let it pass.
func (c *Context) Challenges() []string { return c.challenges }

// SetChallenges leaves the challenges of an authenticator that lets a request
// pass as anonymous.
func (c *Context) SetChallenges(challenges []string) { c.challenges = challenges }

// Forward sets a field that carries identity to the upstream. The header's
// names are in canonical form.
func (c *Context) Forward(r *http.Request, name string, values []string) {
	r.Header[name] = values
	if !slices.Contains(c.forwarded, name) {
		c.forwarded = append(c.forwarded, name)
	}
}

// Forwarded reports whether the field is one that a layer of ours has set.
// A handler that the request meets later must not take it for the client's.
func (c *Context) Forwarded(name string) bool { return slices.Contains(c.forwarded, name) }

// DropForwarded forgets a field that was set and is removed.
func (c *Context) DropForwarded(name string) {
	if i := slices.Index(c.forwarded, name); i >= 0 {
		c.forwarded = slices.Delete(c.forwarded, i, i+1)
	}
}

// KeepRemoved keeps the values of fields that are about to be removed from the
// request, since clients must not send them, for a method that believes some
// peers in them. Each call is one pass of the request through a handler.
func (c *Context) KeepRemoved(h http.Header, names []string) {
	c.pass++
	for _, name := range names {
		values := h[name]
		if len(values) == 0 {
			continue
		}
		r := removed{name, values, c.pass}
		if i := slices.IndexFunc(c.removed, func(o removed) bool { return o.name == name }); i >= 0 {
			c.removed[i] = r
			continue
		}
		c.removed = append(c.removed, r)
	}
}

// Removed returns the values of a field that was removed, as they were when it
// was removed last, and whether that was in the latest pass.
func (c *Context) Removed(name string) (values []string, latest bool) {
	for _, r := range c.removed {
		if r.name == name {
			return r.values, r.pass == c.pass
		}
	}
	return nil, false
}

// Keep has a value for a layer that asks for it later, by a key of its own type.
func (c *Context) Keep(key, value any) {
	for i := range c.kept {
		if c.kept[i].key == key {
			c.kept[i].value = value
			return
		}
	}
	if c.kept == nil {
		c.kept = c.space[:0]
	}
	c.kept = append(c.kept, kept{key, value})
}

// Kept returns what was kept under a key, or nil.
func (c *Context) Kept(key any) any {
	for i := range c.kept {
		if c.kept[i].key == key {
			return c.kept[i].value
		}
	}
	return nil
}
