package reqctx

import (
	"hash/maphash"
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// watch is what the layers tell a guard outside of them about a request.
type watch struct {
	gate      Gate
	route     string
	routePath string
	rejected  uint64
	exempt    bool
}

// Gate is asked about a caller as soon as it is verified, before anything is done
// for it.
type Gate interface {
	// Admit returns why the caller is rejected, or nil.
	Admit(p *principal.Principal) *problem.Problem
}

// SetGate has g asked by Admit, and returns the one that was before.
func (c *Context) SetGate(g Gate) (before Gate) {
	before, c.watch.gate = c.watch.gate, g
	return before
}

// Admit returns why the verified caller p is rejected, nil if it is not, or anonymous.
// Whoever makes a caller known asks, and whoever decides about one: authenticators
// that are not ours do not ask.
func (c *Context) Admit(p *principal.Principal) *problem.Problem {
	if c.watch.gate == nil || p == nil {
		return nil
	}
	return c.watch.gate.Admit(p)
}

// Exempt has no guard count the request or reject it: its address or its caller is
// on a list of those that are always let in.
func (c *Context) Exempt() { c.watch.exempt = true }

// Exempted reports whether Exempt was called.
func (c *Context) Exempted() bool { return c.watch.exempt }

// SetRoute notes which pattern of paths the request is one of, such as
// /orders/{id}, and the path that was compared with it.
func (c *Context) SetRoute(pattern, path string) { c.watch.route, c.watch.routePath = pattern, path }

// Route returns what SetRoute has noted last.
func (c *Context) Route() (pattern, path string) { return c.watch.route, c.watch.routePath }

// RejectedCredential returns a keyed hash of the credential that was rejected, 0 if none was.
// It is the same for the same credential until the process ends.
func (c *Context) RejectedCredential() uint64 { return c.watch.rejected }

// SetRejected notes the credential that was rejected, which stands at the places; with
// none, in Authorization.
func (c *Context) SetRejected(r *http.Request, places []credential.Place) {
	c.watch.rejected = HashCredential(r, places)
}

var credentialSeed = maphash.MakeSeed()

// HashCredential returns a keyed hash of what stands at the places; with none, in
// Authorization. It is 0 where there is nothing.
//
// A signature is over the request, so that each is another; nobody finds one by trying.
// All that a client sends count as one: a partner whose clock is wrong, or a sender of
// webhooks with an old secret, repeats its request for hours.
func HashCredential(r *http.Request, places []credential.Place) uint64 {
	var h maphash.Hash
	h.SetSeed(credentialSeed)
	any := false
	add := func(texts ...string) {
		for _, text := range texts {
			any = any || text != ""
			_, _ = h.WriteString(text)
			_ = h.WriteByte(0)
		}
	}
	for _, p := range places {
		kind, name, _ := strings.Cut(p.At, " ")
		switch {
		case p.Kind == principal.KindSignature || p.Kind == principal.KindWebhook:
			add(p.Kind)
		case kind == "header":
			add(r.Header[http.CanonicalHeaderKey(name)]...)
		case kind == "basic":
			add(r.Header["Authorization"]...)
		case kind == "query":
			add(r.URL.Query()[name]...)
		case kind == "cookie":
			for _, c := range r.CookiesNamed(name) {
				add(c.Value)
			}
		default:
			add(p.At)
		}
	}
	if len(places) == 0 {
		add(r.Header["Authorization"]...)
	}
	if !any {
		return 0
	}
	return h.Sum64() | 1
}
