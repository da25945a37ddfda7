package apikeyauth

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
	"github.com/caddy-moat/caddy-moat/modules/internal/apikey"
)

// collector says how the stores of one configuration are. Its labels are what
// the administrator has written. Decisions are counted by the auth handler.
type collector struct {
	mu     sync.Mutex
	stores map[string]*apikey.Store
}

var (
	keysDesc = prometheus.NewDesc("caddy_moat_api_keys", "API keys in the store, whatever their state.", []string{"store"}, nil)
	badDesc  = prometheus.NewDesc("caddy_moat_api_key_store_unusable", "1 while the file cannot be used and what was read last is in force.", []string{"store"}, nil)
)

func (p *Provider) registerMetrics(ctx caddy.Context) error {
	c, err := adapter.Register(ctx, &collector{stores: make(map[string]*apikey.Store)})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stores[p.Store] = p.store
	return nil
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- keysDesc
	ch <- badDesc
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range c.stores {
		st := s.Stats()
		bad := 0.0
		if st.Bad {
			bad = 1
		}
		ch <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(st.Keys), name)
		ch <- prometheus.MustNewConstMetric(badDesc, prometheus.GaugeValue, bad, name)
	}
}
