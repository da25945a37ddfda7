package token

import (
	"context"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// KeySource has the keys of one issuer. It is used by many goroutines at
// once, for every token that is not cached.
type KeySource interface {
	// Keys returns the keys that a token with this kid (empty if it has
	// none) and alg may have been signed with. The caller checks again that
	// they fit alg and must not change the list. No keys is a result too:
	// the token is refused. An error that wraps ErrUnavailable says that
	// nobody can tell at the moment.
	//
	// kid and alg come from a token that nobody has verified yet.
	Keys(ctx context.Context, kid, alg string) ([]*jwk.Key, error)

	// Generation is a number that changes whenever tokens that were verified
	// before must be verified again: when a key has left the set, and when
	// the set has become unavailable. It is asked for every request, so it
	// should be quick.
	Generation() uint64
}

// Refetcher is a KeySource whose keys are somewhere else.
type Refetcher interface {
	// Refetch has the keys fetched again, within limits however often it is
	// called, and reports whether they are others than before. It is called
	// for a token whose signature none of its keys has made.
	Refetch(ctx context.Context) (changed bool)
}

// StaticKeys returns a source of keys that never change. A token that names a
// key gets the key of that name and those that have no name; a token that names
// none gets all.
func StaticKeys(keys ...*jwk.Key) KeySource {
	s := &staticKeys{all: keys, byID: make(map[string][]*jwk.Key)}
	for _, k := range keys {
		if k.ID == "" {
			s.nameless = append(s.nameless, k)
		}
	}
	for _, k := range keys {
		if k.ID == "" || s.byID[k.ID] != nil {
			continue
		}
		var fit []*jwk.Key
		for _, other := range keys {
			if other.ID == k.ID || other.ID == "" {
				fit = append(fit, other)
			}
		}
		s.byID[k.ID] = fit
	}
	return s
}

type staticKeys struct {
	all, nameless []*jwk.Key
	byID          map[string][]*jwk.Key
}

func (s *staticKeys) Keys(_ context.Context, kid, _ string) ([]*jwk.Key, error) {
	if kid == "" {
		return s.all, nil
	}
	if fit, ok := s.byID[kid]; ok {
		return fit, nil
	}
	return s.nameless, nil
}

func (s *staticKeys) Generation() uint64 { return 0 }
