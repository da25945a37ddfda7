package watched

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// Metrics are the gauges of one kind of file. Their one label is what the
// administrator has written.
type Metrics struct {
	Entries  *prometheus.Desc // nil: the entries are counted elsewhere
	Unusable *prometheus.Desc
}

// UnusableHelp is the help of the gauges Unusable.
const UnusableHelp = "1 while the file cannot be used and what was read last is in force."

// Faulty is a file whose gauges are shown.
type Faulty interface {
	Fault() error
	Len() int
}

// Add has the configuration that ctx belongs to show the file.
func (m Metrics) Add(ctx caddy.Context, written string, f Faulty) error {
	c, err := lifecycle.Register(ctx, &collector{metrics: m, files: make(map[string]Faulty)})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[written] = f
	return nil
}

// collector shows the files of one kind in one configuration.
type collector struct {
	metrics Metrics
	mu      sync.Mutex
	files   map[string]Faulty
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.metrics.Unusable
	if c.metrics.Entries != nil {
		ch <- c.metrics.Entries
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for written, f := range c.files {
		bad := 0.0
		if f.Fault() != nil {
			bad = 1
		}
		ch <- prometheus.MustNewConstMetric(c.metrics.Unusable, prometheus.GaugeValue, bad, written)
		if c.metrics.Entries != nil {
			ch <- prometheus.MustNewConstMetric(c.metrics.Entries, prometheus.GaugeValue, float64(f.Len()), written)
		}
	}
}
