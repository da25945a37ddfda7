package redact

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

type metrics struct {
	fields   prometheus.Counter
	refusals *prometheus.CounterVec
	decided  *prometheus.CounterVec
	allowed  prometheus.Counter // of decided
	skipped  prometheus.Counter // of decided
}

func newMetrics(ctx caddy.Context) (m metrics, err error) {
	m.fields, err = lifecycle.Register(ctx, prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat_redact", Name: "fields_total",
		Help: "Values that redact has changed or removed.",
	}))
	if err != nil {
		return m, err
	}
	m.refusals, err = lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat_redact", Name: "refusals_total",
		Help: "Bodies that redact has rejected, by error code and by reason.",
	}, []string{"code", "reason"}))
	if err != nil {
		return m, err
	}
	if m.decided, err = lifecycle.Decided(ctx); err != nil {
		return m, err
	}
	m.allowed = m.decided.WithLabelValues("redact", decision.Allow, "")
	m.skipped = m.decided.WithLabelValues("redact", decision.Skip, "")
	return m, nil
}
