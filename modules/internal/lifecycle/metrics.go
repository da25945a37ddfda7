package lifecycle

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Register adds a collector to the registry of the configuration that ctx
// belongs to and returns it, or the equal one that another instance of a
// module has registered before. A context without a registry, as in tests,
// gives the collector back unregistered.
func Register[C prometheus.Collector](ctx caddy.Context, c C) (C, error) {
	reg := ctx.GetMetricsRegistry()
	if reg == nil {
		return c, nil
	}
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old, nil
		}
	}
	return c, err
}

// Decided is the counter of decisions, by layer (the directive), result (one
// of the constants of package decision) and code (of a rejection, else empty).
func Decided(ctx caddy.Context) (*prometheus.CounterVec, error) {
	return Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy",
		Subsystem: "moat",
		Name:      "decisions_total",
		Help:      "Decisions of the layers, by layer, result and error code.",
	}, []string{"layer", "result", "code"}))
}
