package tokenserver

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// clientMetrics are those of the file of clients.
var clientMetrics = watched.Metrics{
	Entries:  prometheus.NewDesc("caddy_moat_clients", "Clients in the file, whatever their state.", []string{"clients"}, nil),
	Unusable: prometheus.NewDesc("caddy_moat_clients_unusable", watched.UnusableHelp, []string{"clients"}, nil),
}

// userMetrics are those of the file of users.
var userMetrics = watched.Metrics{
	Entries:  prometheus.NewDesc("caddy_moat_users", "Users in the file, whatever their state.", []string{"users"}, nil),
	Unusable: prometheus.NewDesc("caddy_moat_users_unusable", watched.UnusableHelp, []string{"users"}, nil),
}

type metrics struct {
	tokens  *prometheus.CounterVec
	decided *prometheus.CounterVec
}

func newMetrics(ctx caddy.Context) (m metrics, err error) {
	m.tokens, err = lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat_token_server", Name: "tokens_total",
		Help: "Access tokens issued, by grant type.",
	}, []string{"grant"}))
	if err != nil {
		return m, err
	}
	for _, grant := range oauth.Grants {
		m.tokens.WithLabelValues(grant)
	}
	m.decided, err = lifecycle.Decided(ctx)
	return m, err
}

// issued counts an access token. The grant is one of oauth.Grants.
func (m *metrics) issued(grant string) { m.tokens.WithLabelValues(grant).Inc() }
