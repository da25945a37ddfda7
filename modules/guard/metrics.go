package guard

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// The actions.
const (
	actionAlert = "alert"
	actionSlow  = "slow"
	actionBan   = "ban"
)

// trapRule is the name of traps where rules have theirs.
const trapRule = "trap"

type metrics struct {
	alarms  *prometheus.CounterVec
	decided *prometheus.CounterVec
}

func newMetrics(ctx caddy.Context, rules []rule) (metrics, error) {
	var m metrics
	var err error
	m.alarms, err = lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat_guard", Name: "alarms_total",
		Help: "Alarms by rule and by what came of them: alert, slow or ban.",
	}, []string{"rule", "action"}))
	if err != nil {
		return m, err
	}
	m.alarms.WithLabelValues(trapRule, actionBan)
	for _, r := range rules {
		m.alarms.WithLabelValues(r.Name, r.action())
	}
	m.decided, err = lifecycle.Decided(ctx)
	return m, err
}

// action returns what comes of a rule.
func (r *Rule) action() string {
	switch {
	case len(r.Ban) > 0:
		return actionBan
	case r.Slow > 0:
		return actionSlow
	}
	return actionAlert
}
