package tokenbudget

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

type metrics struct {
	zone     string
	tokens   *prometheus.CounterVec
	requests *prometheus.CounterVec
	decided  *prometheus.CounterVec
}

func newMetrics(ctx caddy.Context, z *zone) (metrics, error) {
	m := metrics{zone: z.name}
	var err error
	m.tokens, err = lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat_token_budget", Name: "tokens_total",
		Help: "Tokens that requests were charged with, by zone.",
	}, []string{"zone"}))
	if err != nil {
		return m, err
	}
	m.requests, err = lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat_token_budget", Name: "requests_total",
		Help: "Requests that were charged, by zone and by how their cost was found: usage (the response says it), estimate (by its length), reserve (what was reserved) or status (it failed and costs nothing).",
	}, []string{"zone", "cost"}))
	if err != nil {
		return m, err
	}
	for _, how := range []string{byUsage, byEstimate, byReserve, byStatus} {
		m.requests.WithLabelValues(z.name, how)
	}
	m.tokens.WithLabelValues(z.name)
	m.decided, err = lifecycle.Decided(ctx)
	return m, err
}

// charged counts a request.
func (m *metrics) charged(how string, tokens int64) {
	m.requests.WithLabelValues(m.zone, how).Inc()
	m.tokens.WithLabelValues(m.zone).Add(float64(tokens))
}
