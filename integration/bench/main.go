// Bench measures what the layers cost, beside the same binary without them:
//
//	go run ./integration/bench [flags]
//
// It builds the binary, or takes the one that -binary or MOAT_BINARY names,
// and runs one contestant after the other in fresh processes: the server on
// one core, this process with the load and the upstream on another, all over
// loopback. Each contestant is first checked to be correct: a layer that lets
// everything pass would win. Then it is warmed up, saturated while the
// server's CPU time is read round exactly the measured requests, and asked at
// a constant rate for the latencies. Every round measures every contestant:
// those of a group take turns, in rotated order, beside the bare configuration.
// Reported are medians of the ratios within a round.
//
// Other work on the machine falsifies all of this. Nothing else should run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		stop()
		log.Fatal(err)
	}
}

// options are the flags.
type options struct {
	plan     plan
	only     string
	binary   string
	dir      string
	cores    string
	json     string
	profiles string
	markdown bool
	list     bool
	soak     time.Duration
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := f.Bool("quick", false, "few requests and one round, to see that everything works; the figures mean little")
	f.IntVar(&o.plan.Rounds, "rounds", 5, "measure every contestant so often")
	f.IntVar(&o.plan.Requests, "n", 25_000, "requests measured")
	f.IntVar(&o.plan.Warmup, "warmup", 4_000, "requests before them")
	f.Float64Var(&o.plan.Rate, "rate", 3_000, "requests a second when latency is measured")
	f.StringVar(&o.only, "only", "", "only contestants whose title matches this `regexp`")
	f.StringVar(&o.binary, "binary", os.Getenv("MOAT_BINARY"), "the binary to measure; default: the environment variable MOAT_BINARY, or built from this checkout")
	f.StringVar(&o.dir, "dir", "", "`directory` on the disk that audit trails are to be written to; default: that for temporary files")
	f.StringVar(&o.cores, "cores", "", "`server,load`: the cores to use; default: the second and the first")
	f.StringVar(&o.json, "json", "", "write all figures to this `file`")
	f.StringVar(&o.profiles, "profile", "", "write a CPU profile of every contestant into this `directory`, after its last round")
	f.BoolVar(&o.markdown, "markdown", false, "print Markdown tables")
	f.BoolVar(&o.list, "list", false, "list the contestants and end")
	f.DurationVar(&o.soak, "soak", 0, "instead of comparing: send ever-new tokens, users and paths for so `long` and watch the memory")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	o.plan.Cycle, o.plan.Bytes = 10_000, 2<<30
	if *quick {
		o.plan.Rounds, o.plan.Requests, o.plan.Warmup, o.plan.Cycle, o.plan.Bytes = 1, 1_500, 300, 300, 256<<20
	}
	o.plan.Paced = int(3 * o.plan.Rate)
	if *quick {
		o.plan.Paced = int(o.plan.Rate / 5)
	}
	if o.profiles != "" {
		o.plan.profiled = 40_000
	}
	if o.plan.Rounds < 1 || o.plan.Requests < 1 || o.plan.Warmup < 1 || o.plan.Rate < 1 || o.plan.Rate > 100_000 {
		return o, errors.New("-rounds, -n, -warmup and -rate must be at least 1, and -rate at most 100000")
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	chosen, err := choose(contestants(), o.only)
	if err != nil {
		return err
	}
	if o.list {
		for _, c := range chosen {
			fmt.Println(c.title())
		}
		return nil
	}
	dir, err := os.MkdirTemp(o.dir, "moat-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{plan: o.plan, dir: dir, binary: o.binary, profiles: o.profiles}
	if err := b.setUp(ctx, o); err != nil {
		return err
	}
	if o.soak > 0 {
		return b.soak(ctx, o.soak)
	}
	return b.compare(ctx, o, chosen)
}

// setUp finds or builds the binary and the directories.
func (b *bench) setUp(ctx context.Context, o options) (err error) {
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o700); err != nil {
			return err
		}
	}
	if b.binary == "" {
		root, err := moduleRoot()
		if err != nil {
			return err
		}
		b.binary = filepath.Join(b.dir, "caddy.exe")
		log.Print("building the binary with xcaddy; the first time takes a few minutes")
		if err := build(ctx, root, b.binary); err != nil {
			return fmt.Errorf("building the binary: %w", err)
		}
	}
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	b.cores, err = chooseCores(o.cores)
	return err
}

// compare measures and reports.
func (b *bench) compare(ctx context.Context, o options, chosen []*contestant) error {
	defer b.Close()
	if err := b.prepare(ctx, chosen); err != nil {
		return err
	}
	if err := pinSelf(b.cores.load); err != nil {
		return err
	}
	if b.cores.server < 0 {
		log.Print("server and load are not pinned to cores here: they may get in each other's way")
	}
	if _, err := cpuTime(os.Getpid()); err != nil {
		log.Printf("CPU time and memory of the server cannot be measured: %v", err)
	}
	cond := b.describe(ctx)
	var err error
	if cond.Floors, err = measureFloors(b.dir, b.signers); err != nil {
		return err
	}
	results, err := b.run(ctx, chosen)
	if err != nil && (ctx.Err() == nil || len(results[0].samples) == 0) {
		return err
	}
	if err != nil {
		log.Print("interrupted: what follows is of the rounds before")
		cond.Plan.Rounds = len(results[0].samples)
	}
	rows := summarize(results, cond.Floors)
	write(os.Stdout, cond, rows, o.markdown)
	if o.json != "" {
		if err := writeJSON(o.json, cond, rows); err != nil {
			return err
		}
	}
	failed := 0
	for _, r := range results {
		if r.err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "\n%s: FAILED: %v\n", r.title(), r.err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d contestants failed", failed, len(results))
	}
	return err
}
