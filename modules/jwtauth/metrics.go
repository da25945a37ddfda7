package jwtauth

import (
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/introspection"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// collector says how the providers of one configuration and the key sets are.
// Its labels are what the administrator has written.
type collector struct {
	mu        sync.Mutex
	verifiers []*token.Verifier
	clients   []*introspection.Client
}

var (
	hitsDesc    = prometheus.NewDesc("caddy_moat_token_cache_hits_total", "Tokens that were found in the cache.", nil, nil)
	missesDesc  = prometheus.NewDesc("caddy_moat_token_verifications_total", "Tokens that had to be verified.", nil, nil)
	evictedDesc = prometheus.NewDesc("caddy_moat_token_cache_evictions_total", "Tokens that had to make room in the cache.", nil, nil)
	entriesDesc = prometheus.NewDesc("caddy_moat_token_cache_entries", "Tokens in the cache.", nil, nil)
	ageDesc     = prometheus.NewDesc("caddy_moat_keyset_age_seconds", "Time since the key set was fetched.", []string{"source"}, nil)
	keysDesc    = prometheus.NewDesc("caddy_moat_keyset_keys", "Keys of the set that are in use.", []string{"source"}, nil)
	failsDesc   = prometheus.NewDesc("caddy_moat_keyset_failures", "Failed fetches since the last that succeeded.", []string{"source"}, nil)
	askedDesc   = prometheus.NewDesc("caddy_moat_introspection_requests_total", "Requests to introspection endpoints.", nil, nil)
	unaskedDesc = prometheus.NewDesc("caddy_moat_introspection_cache_hits_total", "Opaque tokens whose response was cached.", nil, nil)
	brokenDesc  = prometheus.NewDesc("caddy_moat_introspection_failures_total", "Requests to the introspection endpoint that failed.", nil, nil)
	fetchesDesc = prometheus.NewDesc("caddy_moat_keyset_fetches_total", "Fetches of the key set.", []string{"source"}, nil)
)

func (p *Provider) registerMetrics(ctx caddy.Context) error {
	c, err := lifecycle.Register(ctx, new(collector))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.verifier != nil {
		c.verifiers = append(c.verifiers, p.verifier)
	}
	if p.opaque != nil && !slices.Contains(c.clients, p.opaque) {
		c.clients = append(c.clients, p.opaque)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{hitsDesc, missesDesc, evictedDesc, entriesDesc, ageDesc, keysDesc, failsDesc, fetchesDesc, askedDesc, unaskedDesc, brokenDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	var sum token.Stats
	c.mu.Lock()
	for _, v := range c.verifiers {
		st := v.Stats()
		sum.Hits += st.Hits
		sum.Misses += st.Misses
		sum.Evicted += st.Evicted
		sum.Entries += st.Entries
	}
	var asked introspection.Stats
	for _, client := range c.clients {
		st := client.Stats()
		asked.Asked += st.Asked
		asked.Hits += st.Hits
		asked.Failures += st.Failures
	}
	c.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(askedDesc, prometheus.CounterValue, float64(asked.Asked))
	ch <- prometheus.MustNewConstMetric(unaskedDesc, prometheus.CounterValue, float64(asked.Hits))
	ch <- prometheus.MustNewConstMetric(brokenDesc, prometheus.CounterValue, float64(asked.Failures))
	ch <- prometheus.MustNewConstMetric(hitsDesc, prometheus.CounterValue, float64(sum.Hits))
	ch <- prometheus.MustNewConstMetric(missesDesc, prometheus.CounterValue, float64(sum.Misses))
	ch <- prometheus.MustNewConstMetric(evictedDesc, prometheus.CounterValue, float64(sum.Evicted))
	ch <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64(sum.Entries))
	seen := make(map[string]bool)
	for _, st := range keySets() {
		if seen[st.Source] {
			continue // one address for two issuers
		}
		seen[st.Source] = true
		if !st.Fetched.IsZero() {
			ch <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, time.Since(st.Fetched).Seconds(), st.Source)
		}
		ch <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(len(st.Keys)), st.Source)
		ch <- prometheus.MustNewConstMetric(failsDesc, prometheus.GaugeValue, float64(st.Failures), st.Source)
		ch <- prometheus.MustNewConstMetric(fetchesDesc, prometheus.CounterValue, float64(st.Attempts), st.Source)
	}
}

// internalSets returns the state of the internal issuers.
func internalSets() []keyset.Status {
	open := ownissuer.Issuers()
	list := make([]keyset.Status, 0, len(open))
	for _, i := range open {
		list = append(list, keyset.Status{Source: "internal " + i.Name(), Keys: i.KeyIDs(), Generation: i.Generation()})
	}
	return list
}

// keySets returns the state of all key sets that are open.
func keySets() []keyset.Status {
	list := []keyset.Status{}
	for _, set := range lifecycle.Shared[token.KeySource](sets) {
		if s, ok := set.(interface{ Status() keyset.Status }); ok {
			list = append(list, s.Status())
		}
	}
	for _, file := range watched.All[*keyset.File]() {
		list = append(list, file.Status())
	}
	return list
}
