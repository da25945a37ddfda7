package redact

import (
	"errors"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// leaves reports whether there is a rule that leaves placeholders.
func leaves(rules []Rule, groups []Group) bool {
	does := func(r Rule) bool { return r.does("placeholder") }
	return slices.ContainsFunc(rules, does) ||
		slices.ContainsFunc(groups, func(g Group) bool { return slices.ContainsFunc(g.Rules, does) })
}

func (r *Requests) leavesPlaceholders() bool { return leaves(r.Rules, r.Groups) }

// placeholdersInRequests reports a placeholder in a response, which nobody
// would ever turn back.
func (h *Handler) placeholdersInRequests() error {
	if leaves(h.Rules, h.Groups) {
		return errors.New("placeholder is for requests, since the response turns it back: write requests { detect email placeholder }, or for responses hash or encrypt")
	}
	return nil
}

// vault returns what the placeholders of the request stand for, nil if it has
// none.
func (b *requestBody) vault() *redaction.Vault {
	if b == nil {
		return nil
	}
	return b.caller.Vault
}

// places reports whether the request has placeholders, or may get some as the
// rest of it is read.
func (b *requestBody) places() bool {
	return b.vault() != nil && (!b.ended || b.vault().Len() > 0)
}
