package signatureauth

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
)

// collector says how the files of keys of one configuration are. Its labels are
// what the administrator has written. Decisions are counted by the auth
// handler.
type collector struct {
	mu    sync.Mutex
	files map[string]*keysFile
}

var (
	keysDesc = prometheus.NewDesc("caddy_moat_signature_keys", "Keys of the file, the disabled ones too.", []string{"keys"}, nil)
	badDesc  = prometheus.NewDesc("caddy_moat_signature_keys_unusable", "1 while the file cannot be used and what was read last is in force.", []string{"keys"}, nil)
)

func (p *Provider) registerMetrics(ctx caddy.Context) error {
	if err := p.measure(ctx); err != nil {
		return err
	}
	c, err := adapter.Register(ctx, &collector{files: make(map[string]*keysFile)})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.file != nil {
		c.files[p.KeysFile] = p.file
	}
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
	for name, f := range c.files {
		bad := 0.0
		if f.Bad() {
			bad = 1
		}
		ch <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(len(*f.Value())), name)
		ch <- prometheus.MustNewConstMetric(badDesc, prometheus.GaugeValue, bad, name)
	}
}
