package lifecycle

import (
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
)

// replays says how the stores are that remember what may be used once. They
// are labelled by what they remember: dpop, signature.
type replays struct {
	mu     sync.Mutex
	stores map[string][]*replay.Memory
}

var (
	replayEntriesDesc = prometheus.NewDesc("caddy_moat_replay_entries", "What was used once and is remembered.", []string{"store"}, nil)
	replayRefusedDesc = prometheus.NewDesc("caddy_moat_replay_refused_total",
		"Requests rejected because their credential had been used before (replayed), was made before the process began to remember (older), or could not be remembered (full).",
		[]string{"store", "reason"}, nil)
)

// MeasureReplays has the metrics of the configuration that ctx belongs to tell
// how a store of that name is.
func MeasureReplays(ctx caddy.Context, name string, store *replay.Memory) error {
	c, err := Register(ctx, &replays{stores: make(map[string][]*replay.Memory)})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.stores[name], store) {
		c.stores[name] = append(c.stores[name], store)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (c *replays) Describe(ch chan<- *prometheus.Desc) {
	ch <- replayEntriesDesc
	ch <- replayRefusedDesc
}

// Collect implements prometheus.Collector.
func (c *replays) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for name, stores := range c.stores {
		var sum replay.Stats
		for _, s := range stores {
			st := s.Stats(now)
			sum.Entries += st.Entries
			sum.Replayed += st.Replayed
			sum.Older += st.Older
			sum.Full += st.Full
		}
		ch <- prometheus.MustNewConstMetric(replayEntriesDesc, prometheus.GaugeValue, float64(sum.Entries), name)
		for reason, n := range map[string]uint64{"replayed": sum.Replayed, "older": sum.Older, "full": sum.Full} {
			ch <- prometheus.MustNewConstMetric(replayRefusedDesc, prometheus.CounterValue, float64(n), name, reason)
		}
	}
}
