package audit

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count for the whole process, like the trails they count for: a
// reload must not begin at zero.
var metrics = newMetrics()

// auditMetrics are the figures of all trails. The only label whose values are
// not fixed is the path of a trail, which the administrator wrote.
type auditMetrics struct {
	records  *prometheus.CounterVec   // by trail and kind
	failures *prometheus.CounterVec   // by trail and what could not be recorded
	refused  *prometheus.CounterVec   // requests rejected with 503, by trail
	lost     *prometheus.CounterVec   // accepted and lost, by trail
	fsyncs   *prometheus.HistogramVec // seconds, by trail
	sent     *prometheus.CounterVec   // delivered, by trail and sink
	retries  *prometheus.CounterVec   // by trail and sink

	cosignatures *prometheus.CounterVec // by trail, witness and result
	cosigned     *prometheus.GaugeVec   // by trail

	mu     sync.Mutex
	stores map[*store]bool // for the gauges that are read from the trails
}

var (
	queueDesc = prometheus.NewDesc("caddy_moat_audit_queue_bytes", "Bytes of records that wait to become durable.", []string{"trail"}, nil)
	sizeDesc  = prometheus.NewDesc("caddy_moat_audit_trail_records", "Durable records of the trail since it was begun.", []string{"trail"}, nil)
	upDesc    = prometheus.NewDesc("caddy_moat_audit_available", "1 while records can be written, 0 while they cannot.", []string{"trail"}, nil)
	lagDesc   = prometheus.NewDesc("caddy_moat_audit_delivery_lag_records", "Durable records that a sink has not acknowledged.", []string{"trail", "sink"}, nil)
)

func newMetrics() *auditMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "moat_audit", Name: name, Help: help}, labels)
	}
	return &auditMetrics{
		records:      counter("records_total", "Records accepted by the trail.", "trail", "kind"),
		failures:     counter("failures_total", "Records that could not be written.", "trail", "kind"),
		refused:      counter("refused_total", "Requests rejected because they could not be recorded.", "trail"),
		lost:         counter("lost_total", "Records accepted and lost.", "trail"),
		sent:         counter("delivered_total", "Records acknowledged by a sink.", "trail", "sink"),
		retries:      counter("delivery_failures_total", "Failed attempts to deliver to a sink.", "trail", "sink"),
		cosignatures: counter("cosignatures_total", "Checkpoints that a witness was asked to cosign.", "trail", "witness", "result"),
		cosigned: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "caddy", Subsystem: "moat_audit", Name: "cosigned_records",
			Help: "Records of the last checkpoint that enough witnesses have cosigned.",
		}, []string{"trail"}),
		fsyncs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "caddy", Subsystem: "moat_audit", Name: "fsync_seconds",
			Help:    "Duration of the syncs of the trail.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"trail"}),
		stores: make(map[*store]bool),
	}
}

// register adds the metrics to the registry of a configuration.
func (m *auditMetrics) register(reg *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{m.records, m.failures, m.refused, m.lost, m.fsyncs, m.sent, m.retries, m.cosignatures, m.cosigned, m} {
		var already prometheus.AlreadyRegisteredError
		if err := reg.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}

// Describe is part of prometheus.Collector, for the gauges.
func (m *auditMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- queueDesc
	ch <- sizeDesc
	ch <- upDesc
	ch <- lagDesc
}

// Collect is part of prometheus.Collector, for the gauges.
func (m *auditMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.stores {
		t := s.trail.Load()
		if t == nil {
			continue
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.path}, labels...)...)
		}
		stats := t.Stats()
		gauge(queueDesc, float64(stats.Queued))
		gauge(sizeDesc, float64(stats.Durable))
		up := 1.0
		if t.Err() != nil {
			up = 0
		}
		gauge(upDesc, up)
		s.lags(func(sink string, lag int64) { gauge(lagDesc, float64(lag), sink) })
	}
}

// of returns the figures of one trail.
func (m *auditMetrics) of(path string) storeMetrics {
	s := storeMetrics{path: path}
	for i, kind := range recordKinds {
		s.records[i] = m.records.WithLabelValues(path, kind)
	}
	s.refused = m.refused.WithLabelValues(path)
	s.lost = m.lost.WithLabelValues(path)
	s.fsyncs = m.fsyncs.WithLabelValues(path)
	return s
}

func (m *auditMetrics) watch(s *store) {
	m.mu.Lock()
	m.stores[s] = true
	m.mu.Unlock()
}

func (m *auditMetrics) forget(s *store) {
	m.mu.Lock()
	delete(m.stores, s)
	m.mu.Unlock()
}

// Kinds of record, and the values of the label kind.
const (
	kindIntent = iota
	kindOutcome
	kindChange
)

var recordKinds = [...]string{kindIntent: "intent", kindOutcome: "outcome", kindChange: "change"}

// storeMetrics are the figures of one trail, looked up once.
type storeMetrics struct {
	path    string
	records [len(recordKinds)]prometheus.Counter
	refused prometheus.Counter
	lost    prometheus.Counter
	fsyncs  prometheus.Observer
}

func (s *storeMetrics) fsync(d time.Duration) { s.fsyncs.Observe(d.Seconds()) }

func (s *storeMetrics) lose(n int64) { s.lost.Add(float64(n)) }
