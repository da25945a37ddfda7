package clientcertauth

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
)

// collector says how the maps of one configuration are. Its labels are what
// the administrator has written. Decisions are counted by the auth handler.
type collector struct {
	mu   sync.Mutex
	maps map[string]*clients
}

var (
	clientsDesc = prometheus.NewDesc("caddy_moat_client_certificates", "Entries in the map of client certificates, the disabled ones too.", []string{"map"}, nil)
	badDesc     = prometheus.NewDesc("caddy_moat_client_certificate_map_unusable", "1 while the file cannot be used and what was read last is in force.", []string{"map"}, nil)
)

func (p *Provider) registerMetrics(ctx caddy.Context) error {
	if p.clients == nil {
		return nil
	}
	c, err := adapter.Register(ctx, &collector{maps: make(map[string]*clients)})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maps[p.Map] = p.clients
	return nil
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- clientsDesc
	ch <- badDesc
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, m := range c.maps {
		bad := 0.0
		if m.Bad() {
			bad = 1
		}
		ch <- prometheus.MustNewConstMetric(clientsDesc, prometheus.GaugeValue, float64(m.Table().Len()), name)
		ch <- prometheus.MustNewConstMetric(badDesc, prometheus.GaugeValue, bad, name)
	}
}
