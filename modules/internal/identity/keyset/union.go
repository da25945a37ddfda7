package keyset

import (
	"context"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// Union is several sources of one issuer's keys.
type Union []token.KeySource

// Keys returns the keys of all sources. A source that cannot be reached
// matters only if no other has a key.
func (u Union) Keys(ctx context.Context, kid, alg string) ([]*jwk.Key, error) {
	var keys []*jwk.Key
	var failed error
	for _, s := range u {
		k, err := s.Keys(ctx, kid, alg)
		if err != nil {
			failed = err
		}
		keys = append(keys, k...)
	}
	if len(keys) > 0 {
		return keys, nil
	}
	return nil, failed
}

// Refetch has the sources fetch their keys again that can, and reports whether
// one has others now.
func (u Union) Refetch(ctx context.Context) (changed bool) {
	for _, s := range u {
		if r, ok := s.(token.Refetcher); ok && r.Refetch(ctx) {
			changed = true
		}
	}
	return changed
}

// Generation changes whenever the generation of one of the sources does: they
// only grow.
func (u Union) Generation() uint64 {
	var sum uint64
	for _, s := range u {
		sum += s.Generation()
	}
	return sum
}

// Interface guards
var (
	_ token.KeySource = (*Set)(nil)
	_ token.KeySource = (*File)(nil)
	_ token.KeySource = Union(nil)
)
