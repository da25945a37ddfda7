package lifecycle

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
)

// TestReplayMetricsAreThoseOfAllStoresOfAName: each site may have one.
func TestReplayMetricsAreThoseOfAllStoresOfAName(t *testing.T) {
	now := time.Now()
	one, two, dpop := replay.NewMemory(1, now), replay.NewMemory(100, now), replay.NewMemory(100, now)
	use := func(m *replay.Memory, value string, made time.Time) {
		_ = m.Use(context.Background(), replay.Entry{Value: value, Made: made, Until: now.Add(time.Hour)}, now)
	}
	for _, v := range []string{"1", "1", "2", "3"} {
		use(one, v, now)
		use(two, v, now)
	}
	use(two, "4", now.Add(-time.Minute))
	c := &replays{stores: map[string][]*replay.Memory{"signature": {one, two}, "dpop": {dpop}}}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "caddy_moat_replay_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"entries dpop": 0, "entries signature": 4,
		"refused_total full dpop": 0, "refused_total full signature": 2,
		"refused_total older dpop": 0, "refused_total older signature": 1,
		"refused_total replayed dpop": 0, "refused_total replayed signature": 2,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
