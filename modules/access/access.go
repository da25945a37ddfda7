// Package access lets requests in or rejects them by lists of addresses,
// networks, countries and callers.
package access

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/lists"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Handler{})
}

const (
	// Name is the name of the directive.
	Name = "access"

	// CodeDenied is the code of a request from an address that is not let in.
	CodeDenied = "address_denied"

	byClient, byPeer = "client", "peer"
)

// Handler lets requests in or rejects them by the address that they come from.
//
// deny is stronger than everything else. With allow, every address is rejected that is in neither
// allow nor exempt. exempt lists addresses without closing the site to others.
//
// Requests from what allow or exempt list by address, range or file are left alone
// by the layers that ban or challenge callers; a whole country or network is let in, and no more.
//
// Addresses are compared in one form: IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4,
// and zones count for nothing. A request without an address, as on a Unix socket
// whose proxy is not trusted, is rejected.
//
// Requests in TLS early data (0-RTT) are rejected with 425 too_early, and clients
// repeat them after the handshake: before it, anybody can send from anybody's
// address.
//
// Rejected requests get 403 address_denied. The response does not say why; the
// record does.
type Handler struct {
	// What is rejected.
	Deny *Entries `json:"deny,omitempty"`

	// What is let in. If anything is listed here, everything else is rejected.
	Allow *Entries `json:"allow,omitempty"`

	// What is let in and left alone by layers that ban or challenge, while others
	// are let in too.
	Exempt *Entries `json:"exempt,omitempty"`

	// Which address of a request counts: `client`, Caddy's {client_ip}, which is
	// what a proxy of trusted_proxies says, or `peer`, the other end of the
	// connection. Default: client
	By string `json:"by,omitempty"`

	// Files in the MaxMind DB format that know countries, networks (ASN), or both.
	// They are watched like lists. Global placeholders are replaced at load. The
	// first one that has what an entry needs is asked.
	Databases []string `json:"databases,omitempty"`

	deny, allow, exempt *list
	where               *locator
	held                lifecycle.Held
	decided             *prometheus.CounterVec
	allowed             prometheus.Counter
	memo                *decision.Memo
	option.Placed
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.access",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision opens the lists.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	if err := h.provision(ctx); err != nil {
		return h.At(fmt.Errorf("%s: %w", Name, err))
	}
	return nil
}

func (h *Handler) provision(ctx caddy.Context) error {
	err := h.check()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		to      **list
		verb    string
		entries *Entries
	}{{&h.deny, "deny", h.Deny}, {&h.allow, "allow", h.Allow}, {&h.exempt, "exempt", h.Exempt}} {
		if *l.to, err = newList(ctx, &h.held, l.verb, l.entries); err != nil {
			return err
		}
	}
	if h.where, err = newLocator(ctx, &h.held, h.Databases, h.Deny, h.Allow, h.Exempt); err != nil {
		return err
	}
	if err := h.opens(); err != nil {
		return err
	}
	h.memo = new(decision.Memo)
	if h.decided, err = lifecycle.Decided(ctx); err != nil {
		return err
	}
	h.allowed = h.decided.WithLabelValues(Name, decision.Allow, "")
	return nil
}

// check refuses what means nothing. It needs no file.
func (h *Handler) check() error {
	if h.Deny.empty() && h.Allow.empty() && h.Exempt.empty() {
		return errors.New("nothing is listed: write deny <entry>, allow <entry> or exempt <entry>, where an entry is an address, a range or the path of a file")
	}
	if err := option.CheckWord("by", h.By, byClient, byPeer); err != nil {
		return err
	}
	return checkEntries(h.Databases, h.Deny, h.Allow, h.Exempt)
}

// opens refuses a list of who is let in that lets nobody in.
func (h *Handler) opens() error {
	if h.allow == nil {
		return nil
	}
	if h.allow.entries() == 0 {
		return errors.New("allow lists nobody, since its files have no entries, so that every request would be rejected: write an address into one, or remove allow")
	}
	shadowed := h.shadowed()
	if h.allow.entries() == len(shadowed) {
		return fmt.Errorf("allow lets nobody in, since deny has all of it (%s) and is stronger: remove what is not meant", shadowed[0])
	}
	return nil
}

// shadowed returns what of allow, as far as it is written, is in deny.
func (h *Handler) shadowed() []string {
	var found []string
	for r, rule := range h.allow.rules {
		if _, ok := h.deny.covers(r); ok {
			found = append(found, rule)
		}
	}
	return found
}

// Cleanup gives the files back.
func (h *Handler) Cleanup() error {
	h.held.Release()
	return nil
}

// ServeHTTP lets the request in or rejects it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	c := reqctx.Of(r)
	if reqctx.EarlyData(r) {
		return h.reject(w, r, reqctx.TooEarly(), decision.Deny, "early_data")
	}
	v := h.decide(addressOf(r, h.By))
	if v.result != decision.Allow {
		return h.reject(w, r, denied(CodeDenied), v.result, v.rule)
	}
	if v.listed {
		c.Exempt()
	}
	h.allowed.Inc()
	c.Decisions().Note(h.memo.Of(decision.Decision{Layer: Name, Result: decision.Allow, Rule: v.rule}))
	return next.ServeHTTP(w, r)
}

func denied(code string) *problem.Problem {
	return &problem.Problem{Status: http.StatusForbidden, Code: code, Detail: "Requests from here are not accepted."}
}

func (h *Handler) reject(w http.ResponseWriter, r *http.Request, p *problem.Problem, result, rule string) error {
	h.decided.WithLabelValues(Name, result, p.Code).Inc()
	reqctx.Decisions(r).Note(h.memo.Of(decision.Decision{Layer: Name, Result: result, Rule: rule, Code: p.Code}))
	return reqctx.Refuse(w, r, p)
}

// verdict is what is decided about an address.
type verdict struct {
	result string // of package decision
	rule   string
	listed bool // let in by itself, and left alone
}

// decide decides about an address in its normal form. What cannot be looked up
// is rejected.
func (h *Handler) decide(a netip.Addr, known bool) verdict {
	if !known {
		return verdict{result: decision.Error, rule: "the request has no address"}
	}
	rule, _, err := h.deny.find(a, h.where)
	switch {
	case err != nil:
		return verdict{result: decision.Error, rule: "deny: the database cannot be read"}
	case rule != "":
		return verdict{result: decision.Deny, rule: h.deny.detailed(a, rule)}
	}
	for _, l := range [...]*list{h.exempt, h.allow} {
		rule, exact, err := l.find(a, h.where)
		switch {
		case err != nil && l == h.allow:
			return verdict{result: decision.Error, rule: "allow: the database cannot be read"}
		case rule != "":
			return verdict{result: decision.Allow, rule: rule, listed: exact}
		}
	}
	if h.allow != nil {
		return verdict{result: decision.Deny, rule: "default: deny"}
	}
	return verdict{result: decision.Allow}
}

// addressOf returns the address of a request that counts, in its normal form.
func addressOf(r *http.Request, by string) (netip.Addr, bool) {
	var text string
	if by == byPeer {
		text, _, _ = net.SplitHostPort(r.RemoteAddr)
	} else {
		text, _ = reqctx.Vars(r)[caddyhttp.ClientIPVarKey].(string)
	}
	a, err := netip.ParseAddr(text)
	return lists.Normal(a), err == nil
}

// DecidesByAddress reports which address counts, for the check of the layers.
func (h *Handler) DecidesByAddress() (client, opens bool) {
	return h.By != byPeer, h.Allow != nil || h.Exempt != nil
}

// Doubts returns what is doubtful about the lists.
func (h *Handler) Doubts() []credential.Doubt {
	doubts := listDoubts(h.deny, h.allow, h.exempt)
	if h.allow != nil && h.deny != nil {
		for _, rule := range h.shadowed() {
			doubts = append(doubts, credential.Doubt{
				ID: "access_shadowed", Text: rule + " has no effect: deny has all of it and is stronger; remove one of them",
			})
		}
	}
	return doubts
}

// listDoubts returns what is doubtful about single lists.
func listDoubts(all ...*list) (doubts []credential.Doubt) {
	for _, l := range all {
		if l == nil {
			continue
		}
		for _, f := range l.files {
			if f.file.Len() == 0 {
				doubts = append(doubts, credential.Doubt{ID: "access_empty_list", Text: f.rule + ": the file has no entries, so that it lists nobody"})
			}
		}
		for r, rule := range l.rules {
			if r.Bits() == 0 && l.verb != "deny" {
				doubts = append(doubts, credential.Doubt{
					ID: "access_lists_all", Text: rule + " is every address of its version of IP: write those that are meant, or remove it",
				})
			}
		}
	}
	return doubts
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
