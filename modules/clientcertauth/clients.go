package clientcertauth

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/clientcert"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// maps are the maps of client certificates.
var maps = watched.Kind{
	Layer: Name, Option: "map", Subject: "the map of client certificates", What: "clients",
	Metrics: watched.Metrics{
		Entries:  prometheus.NewDesc("caddy_moat_client_certificates", "Entries in the map of client certificates, the disabled ones too.", []string{"map"}, nil),
		Unusable: prometheus.NewDesc("caddy_moat_client_certificate_map_unusable", watched.UnusableHelp, []string{"map"}, nil),
	},
}

func (p *Provider) openMap(ctx caddy.Context) (err error) {
	p.clients, err = watched.Open(ctx, &p.held, &maps, p.Map, nil, clientcert.Open)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	p.verifier.Table = p.clients.Table
	return nil
}
