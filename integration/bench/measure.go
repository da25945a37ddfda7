package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// plan says how much is measured.
type plan struct {
	Rounds   int     `json:"rounds"`
	Warmup   int     `json:"warmup_requests"`
	Requests int     `json:"requests"`
	Cycle    int     `json:"cycling_tokens"`
	Rate     float64 `json:"rate_per_second"`
	Paced    int     `json:"requests_at_rate"`
	Bytes    int     `json:"bytes_at_most"` // of bodies in one measurement, where that is fewer requests

	profiled int // unique tokens to spend while a profile is taken
}

// scaled is n, or fewer where bodies are so large that n would take too long.
func (p plan) scaled(n int, c *contestant) int {
	return min(n, max(p.Bytes/len(c.body), 3*c.conns))
}

// warmup is the number of requests before the measured ones: at least each of
// the cycling tokens once.
func (p plan) warmup(c *contestant) int {
	if c.order == cycling {
		return max(p.Warmup, p.Cycle)
	}
	return p.scaled(p.Warmup, c)
}

// paced is the number of requests at the constant rate. There are none where
// bodies are so large that the network would be measured.
func (p plan) paced(c *contestant) int {
	if len(c.body) > 10<<10 {
		return 0
	}
	return p.Paced
}

// tokens is the number of tokens a contestant needs.
func (p plan) tokens(c *contestant) int {
	switch c.order {
	case repeated:
		return 1
	case cycling:
		return p.Cycle
	case unique:
		return p.warmup(c) + p.scaled(p.Requests, c) + p.paced(c) + p.profiled
	}
	return 0
}

// sample is what one contestant measured in one round. What could not be
// measured is zero.
type sample struct {
	CPUMicros float64 `json:"cpu_us"`        // of the server, for each request
	PerSecond float64 `json:"requests_s"`    // requests, saturated
	CoreMBs   float64 `json:"core_mb_s"`     // MB of body for each second of CPU
	P50Micros float64 `json:"p50_us"`        // at the constant rate
	P99Micros float64 `json:"p99_us"`        // at the constant rate
	WarmRSS   int64   `json:"rss_warm"`      // bytes, after the warm-up
	EndRSS    int64   `json:"rss_end"`       // bytes, after everything
	PeakRSS   int64   `json:"rss_peak"`      // bytes, the highest of the measured requests
	Logged    string  `json:"log,omitempty"` // what the server logged at WARN and above
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

// choose returns the contestants whose title matches, and the bare ones they
// are compared with.
func choose(all []*contestant, only string) ([]*contestant, error) {
	re, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	groups := make(map[string]bool)
	for _, c := range all {
		if re.MatchString(c.title()) {
			groups[c.group] = true
		}
	}
	chosen := slices.DeleteFunc(slices.Clone(all), func(c *contestant) bool {
		return !groups[c.group] || !c.base && !re.MatchString(c.title())
	})
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no contestant matches %q", only)
	}
	return chosen, nil
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

// run measures every contestant once a round. A group is measured together,
// each round in another order, so that what changes about the machine falls
// on all of them alike.
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
			for i := range group {
				r := group[(i+round)%len(group)]
				if r.err != nil {
					continue
				}
				s, err := b.measure(ctx, r.contestant, round)
				if ctx.Err() != nil {
					return results, ctx.Err()
				}
				if r.err = err; err != nil {
					log.Printf("round %d  %s: FAILED: %v", round+1, r.title(), err)
					continue
				}
				r.samples[round] = s
				log.Printf("round %d  %-55s %7.1f µs CPU  %8.0f requests/s  p99 %6.0f µs", round+1, r.title(), s.CPUMicros, s.PerSecond, s.P99Micros)
			}
		}
	}
	return results, nil
}

// measure runs one contestant in a fresh process.
func (b *bench) measure(ctx context.Context, c *contestant, round int) (s sample, err error) {
	dir, err := os.MkdirTemp(b.dir, "server-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	sign, up := b.signers[c.alg], b.upstreams[string(c.body)]
	if c.local {
		up = nil
	}
	directives, env, err := b.directives(c, dir)
	if err != nil {
		return s, err
	}
	srv, err := start(ctx, b.binary, dir, b.cores.server, directives, env)
	if err != nil {
		return s, err
	}
	defer srv.stop()
	defer func() {
		s.Logged = srv.log.tail()
		if err != nil && s.Logged != "" {
			err = fmt.Errorf("%w\n%s", err, s.Logged)
		}
	}()
	if err := check(ctx, c, srv, up, sign); err != nil {
		return s, fmt.Errorf("not correct: %w", err)
	}
	l, err := connect(srv.site, c.conns, min(len(c.body), 256<<10), requests(resource, c.order, b.Cycle, b.tokens[c.alg]))
	if err != nil {
		return s, err
	}
	defer l.Close()
	if _, err := l.saturate(ctx, b.warmup(c)); err != nil {
		return s, fmt.Errorf("warming up: %w", err)
	}
	if err := s.saturated(ctx, srv, l, b.scaled(b.Requests, c)); err != nil {
		return s, err
	}
	if n := b.paced(c); n > 0 {
		took, err := l.pace(ctx, n, b.Rate)
		if err != nil {
			return s, fmt.Errorf("at %g requests/s: %w", b.Rate, err)
		}
		slices.Sort(took)
		s.P50Micros, s.P99Micros = micros(quantile(took, 0.5)), micros(quantile(took, 0.99))
	}
	s.EndRSS, _, _ = memory(srv.cmd.Process.Pid)
	if b.profiles != "" && round == b.Rounds-1 {
		err = b.profile(ctx, c, srv, l)
	}
	return s, err
}

// directives returns those of a contestant's site and the environment its
// server needs.
func (b *bench) directives(c *contestant, dir string) (string, []string, error) {
	var (
		key string
		env []string
		err error
	)
	if sign := b.signers[c.alg]; sign != nil {
		if key, env, err = sign.install(dir); err != nil {
			return "", nil, err
		}
	}
	app := respond(c.body)
	if !c.local {
		app = "\treverse_proxy " + b.upstreams[string(c.body)].addr() + "\n"
	}
	return c.expand(dir, key) + app, env, nil
}

// saturated measures n requests: CPU and memory of the server, and time.
func (s *sample) saturated(ctx context.Context, srv *server, l *load, n int) error {
	pid := srv.cmd.Process.Pid
	s.WarmRSS, _, _ = memory(pid)
	_ = forgetPeak(pid)
	cpu, cpuErr := cpuTime(pid)
	began := time.Now()
	body, err := l.saturate(ctx, n)
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.PerSecond = float64(n) / took.Seconds()
	if cpuErr == nil {
		after, err := cpuTime(pid)
		if err != nil {
			return err
		}
		cpu = after - cpu
		s.CPUMicros = micros(cpu) / float64(n)
		s.CoreMBs = float64(body) / 1e6 / cpu.Seconds()
	}
	_, s.PeakRSS, _ = memory(pid)
	return nil
}

// profileSeconds is how long a CPU profile takes.
const profileSeconds = 5

// profile keeps the server busy while it writes a CPU profile of itself.
func (b *bench) profile(ctx context.Context, c *contestant, srv *server, l *load) error {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" :,/", r) {
			return '-'
		}
		return r
	}, c.title())
	busy, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- srv.profile(ctx, filepath.Join(b.profiles, name+".pprof"), profileSeconds)
		stop()
	}()
	// It ends with an error: stopped with the profile, or out of tokens.
	_, err := l.saturate(busy, 1<<30)
	if busy.Err() == nil && !errors.Is(err, errExhausted) {
		return errors.Join(err, <-done)
	}
	return <-done
}
