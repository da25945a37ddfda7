// Package lifecycle is what a module takes from the configuration it belongs
// to, and what outlives one: pools that survive a reload, the registry of
// metrics, the audit trails that hear of changes, the check of the layers.
package lifecycle

import "github.com/caddyserver/caddy/v2"

// Held is what an instance of a module has taken from pools and gives back in
// Cleanup.
type Held []func()

// Add has release called by Release.
func (h *Held) Add(release func()) { *h = append(*h, release) }

// Release gives back what is held.
func (h *Held) Release() {
	for _, release := range *h {
		release()
	}
	*h = nil
}

// pooled is an engine with its background work, as a caddy.Destructor.
type pooled[T any] struct {
	engine T
	close  func()
}

func (p *pooled[T]) Destruct() error {
	p.close()
	return nil
}

// Share returns the engine of that key from the pool, made by open if there
// is none, and has h give it back. An engine lives as long as somebody holds
// it, so one that a reload names again survives the reload.
func Share[T any](h *Held, pool *caddy.UsagePool, key any, open func() (T, func(), error)) (T, error) {
	v, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		engine, closer, err := open()
		if err != nil {
			return nil, err
		}
		return &pooled[T]{engine, closer}, nil
	})
	if err != nil {
		var none T
		return none, err
	}
	h.Add(func() { _, _ = pool.Delete(key) })
	return v.(*pooled[T]).engine, nil
}

// Shared returns the engines of that type that are in the pool.
func Shared[T any](pool *caddy.UsagePool) []T {
	var engines []T
	pool.Range(func(_, v any) bool {
		if p, ok := v.(*pooled[T]); ok {
			engines = append(engines, p.engine)
		}
		return true
	})
	return engines
}
