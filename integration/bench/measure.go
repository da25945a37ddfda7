package main

import (
	"context"
	"fmt"
	"log"
)

// sample is what one contestant measured in one round. What could not be
// measured is zero.
type sample struct {
	CPUMicros  float64 `json:"cpu_us"`        // of the server, for each request
	LoadMicros float64 `json:"load_us"`       // of the load and the upstream, for each request
	PerSecond  float64 `json:"requests_s"`    // requests, saturated
	CoreMBs    float64 `json:"core_mb_s"`     // MB of body, as the upstream sent it, for each second of CPU
	Allocs     float64 `json:"allocs"`        // for each request
	AllocBytes float64 `json:"alloc_bytes"`   // for each request
	P50Micros  float64 `json:"p50_us"`        // at the constant rate
	P99Micros  float64 `json:"p99_us"`        // at the constant rate
	WarmRSS    int64   `json:"rss_warm"`      // bytes, after the warm-up
	EndRSS     int64   `json:"rss_end"`       // bytes, after everything
	PeakRSS    int64   `json:"rss_peak"`      // bytes, the highest of the measured requests
	Logged     string  `json:"log,omitempty"` // what the server logged at WARN and above
}

// bench runs contestants.
type bench struct {
	plan
	binary   string
	dir      string // of the servers' directories
	cores    cores
	profiles string // directory for CPU profiles, "" for none

	signers   map[string]*signer
	tokens    map[string][]string
	upstreams map[string]*upstream // by body
}

// result is what became of a contestant.
type result struct {
	*contestant
	samples map[int]sample // by round
	err     error          // why it was given up
}

// prepare makes the keys, tokens and upstreams that the contestants need.
func (b *bench) prepare(ctx context.Context, chosen []*contestant) error {
	b.signers, b.tokens, b.upstreams = map[string]*signer{}, map[string][]string{}, map[string]*upstream{}
	need := make(map[string]int)
	for _, c := range chosen {
		if c.alg != "" {
			need[c.alg] = max(need[c.alg], b.plan.tokens(c))
		}
		if _, ok := b.upstreams[string(c.body)]; ok || c.local {
			continue
		}
		up, err := serve(c.body)
		if err != nil {
			return err
		}
		b.upstreams[string(c.body)] = up
	}
	for alg, n := range need {
		sign, err := newSigner(alg)
		if err != nil {
			return err
		}
		log.Printf("minting %d tokens, %s", n, alg)
		if b.tokens[alg], err = sign.mintMany(n, ctx.Done()); err != nil {
			return err
		}
		b.signers[alg] = sign
	}
	return nil
}

// Close ends the upstreams.
func (b *bench) Close() {
	for _, up := range b.upstreams {
		up.Close()
	}
}

// run measures every contestant once a round, one group after the other.
func (b *bench) run(ctx context.Context, chosen []*contestant) ([]*result, error) {
	results := make([]*result, 0, len(chosen))
	var groups [][]*result
	for i, c := range chosen {
		r := &result{contestant: c, samples: map[int]sample{}}
		results = append(results, r)
		if i == 0 || chosen[i-1].group != c.group {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
	}
	for round := range b.Rounds {
		for _, group := range groups {
			if err := b.round(ctx, group, round); err != nil {
				return results, err
			}
		}
	}
	return results, nil
}

// turns is the number of turns in which a contestant does its requests of
// one round. Members of a group take turns, so that what changes about the
// machine meanwhile falls on all of them alike.
const turns = 5

// round measures each contestant of a group in a fresh process. A contestant
// that fails is given up; the error is that of the context.
func (b *bench) round(ctx context.Context, group []*result, round int) error {
	var live []*entrant
	defer func() {
		for _, e := range live {
			e.leave()
		}
	}()
	for i := range group {
		r := group[(i+round)%len(group)]
		if r.err != nil {
			continue
		}
		e, err := b.enter(ctx, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.giveUp(err)
			continue
		}
		live = append(live, e)
	}
	phases := []func(*entrant, context.Context) error{(*entrant).saturate, (*entrant).pace}
	for _, phase := range phases {
		for turn := range turns {
			for i := range live {
				e := live[(i+turn)%len(live)]
				if e.err != nil {
					continue
				}
				err := phase(e, ctx)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					e.giveUp(fmt.Errorf("%w\n%s", err, e.server.log.tail()))
				}
			}
		}
	}
	for _, e := range live {
		if e.err == nil {
			e.samples[round] = e.sample()
			log.Printf("round %d  %-52s %7.1f µs CPU  %7.0f requests/s  p99 %6.0f µs", round+1, e.title(),
				e.samples[round].CPUMicros, e.samples[round].PerSecond, e.samples[round].P99Micros)
		}
		if e.err == nil && b.profiles != "" && round == b.Rounds-1 {
			if err := e.profile(ctx); err != nil {
				return fmt.Errorf("%s: %w", e.title(), err)
			}
		}
	}
	return nil
}

// giveUp notes why a contestant is not measured any longer.
func (r *result) giveUp(err error) {
	r.err = err
	log.Printf("%s: FAILED: %v", r.title(), err)
}
