package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entrant is a contestant in one round: a running server and the load on it.
type entrant struct {
	*result
	bench  *bench
	server *server
	load   *load

	requests       int64
	cpu, own, took time.Duration // of the server, of this process, of the clock
	p50, p99       []float64     // microseconds, of each turn
	warm, peak     int64
	heap           allocated // during the measured requests
	measured       bool      // whether CPU times are known
}

// enter starts a contestant, checks it and warms it up.
func (b *bench) enter(ctx context.Context, r *result) (_ *entrant, err error) {
	c := r.contestant
	e := &entrant{result: r, bench: b}
	dir, err := os.MkdirTemp(b.dir, "server-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			if e.server != nil {
				err = fmt.Errorf("%w\n%s", err, e.server.log.tail())
			}
			e.leave()
			os.RemoveAll(dir)
		}
	}()
	directives, env, err := b.directives(c, dir)
	if err != nil {
		return nil, err
	}
	if e.server, err = start(ctx, b.binary, dir, b.cores.server, directives, env); err != nil {
		return nil, err
	}
	up := b.upstreams[string(c.body)]
	if c.local {
		up = nil
	}
	if err := check(ctx, c, e.server, up, b.signers[c.alg]); err != nil {
		return nil, fmt.Errorf("not correct: %w", err)
	}
	next := requests(resource, c.order, b.Cycle, b.tokens[c.alg])
	if c.call != nil {
		next = calls(c.call)
	}
	if e.load, err = connect(e.server.site, c.conns, min(len(c.body), 256<<10), next); err != nil {
		return nil, err
	}
	if _, err := e.load.saturate(ctx, b.warmup(c)); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	e.warm, _, _ = memory(e.pid())
	_ = forgetPeak(e.pid())
	return e, nil
}

// leave ends the server and removes what it left.
func (e *entrant) leave() {
	if e.load != nil {
		e.load.Close()
	}
	if e.server != nil {
		e.server.stop()
		os.RemoveAll(e.server.dir)
	}
}

func (e *entrant) pid() int { return e.server.cmd.Process.Pid }

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

// saturate is one turn of measuring how much the server can do and what a
// request costs it.
func (e *entrant) saturate(ctx context.Context) error {
	n := max(e.bench.scaled(e.bench.Requests, e.contestant)/turns, 1)
	before, err := e.server.allocated(ctx)
	if err != nil {
		return err
	}
	own, _ := cpuTime(os.Getpid())
	cpu, cpuErr := cpuTime(e.pid())
	began := time.Now()
	if _, err := e.load.saturate(ctx, n); err != nil {
		return err
	}
	e.took += time.Since(began)
	e.requests += int64(n)
	if cpuErr == nil {
		after, err := cpuTime(e.pid())
		if err != nil {
			return err
		}
		e.measured = true
		e.cpu += after - cpu
		after, _ = cpuTime(os.Getpid())
		e.own += after - own
	}
	_, e.peak, _ = memory(e.pid())
	after, err := e.server.allocated(ctx)
	e.heap.Objects += after.Objects - before.Objects
	e.heap.Bytes += after.Bytes - before.Bytes
	return err
}

// pace is one turn of measuring latencies.
func (e *entrant) pace(ctx context.Context) error {
	n := e.bench.paced(e.contestant) / turns
	if n == 0 {
		return nil
	}
	took, err := e.load.pace(ctx, n, e.bench.Rate)
	if err != nil {
		return fmt.Errorf("at %g requests/s: %w", e.bench.Rate, err)
	}
	slices.Sort(took)
	e.p50 = append(e.p50, micros(quantile(took, 0.5)))
	e.p99 = append(e.p99, micros(quantile(took, 0.99)))
	return nil
}

// sample returns what was measured.
func (e *entrant) sample() sample {
	n := float64(e.requests)
	s := sample{PerSecond: n / e.took.Seconds(), Allocs: float64(e.heap.Objects) / n, AllocBytes: float64(e.heap.Bytes) / n, WarmRSS: e.warm, PeakRSS: e.peak, Logged: e.server.log.tail()}
	if e.measured {
		s.CPUMicros, s.LoadMicros = micros(e.cpu)/n, micros(e.own)/n
		s.CoreMBs = n * float64(len(e.contestant.body)) / 1e6 / e.cpu.Seconds()
	}
	// The median of the turns: what disturbs one of them does not decide,
	// what happens in each does.
	s.P50Micros, s.P99Micros = spreadOf(e.p50).Median, spreadOf(e.p99).Median
	s.EndRSS, _, _ = memory(e.pid())
	return s
}

// profileSeconds is how long a CPU profile takes.
const profileSeconds = 10

// profile keeps the server busy while it writes a CPU profile of itself.
func (e *entrant) profile(ctx context.Context) error {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" :,/", r) {
			return '-'
		}
		return r
	}, e.title())
	busy, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- e.server.profile(ctx, filepath.Join(e.bench.profiles, name+".pprof"), profileSeconds)
		stop()
	}()
	// It ends with an error: stopped with the profile, or out of tokens.
	_, err := e.load.saturate(busy, 1<<30)
	if busy.Err() == nil && !errors.Is(err, errExhausted) {
		return errors.Join(err, <-done)
	}
	return <-done
}
