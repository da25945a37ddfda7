package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// conditions are what a figure is worth nothing without.
type conditions struct {
	Date   string `json:"date"`
	CPU    string `json:"cpu"`
	Cores  string `json:"cores"`
	System string `json:"system"`
	Go     string `json:"go"`    // that the binary was built with
	Caddy  string `json:"caddy"` // version
	Load   string `json:"load"`  // of the machine before the run
	Plan   plan   `json:"plan"`
	Floors floors `json:"floors"`
}

// describe finds out the conditions of this run.
func (b *bench) describe(ctx context.Context) conditions {
	c := conditions{
		Date: time.Now().UTC().Format("2006-01-02 15:04 MST"),
		CPU:  cpuModel(), System: kernel(), Load: busy(), Plan: b.plan,
		Cores: fmt.Sprintf("%d; server and load are not pinned", runtime.NumCPU()),
	}
	if b.cores.server >= 0 {
		c.Cores = fmt.Sprintf("server on core %d, load and upstream on core %d", b.cores.server, b.cores.load)
	}
	if out, err := exec.CommandContext(ctx, b.binary, "version").Output(); err == nil {
		c.Caddy, _, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	}
	if out, err := exec.CommandContext(ctx, b.binary, "build-info").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if v, ok := strings.CutPrefix(line, "go\t"); ok {
				c.Go = strings.TrimSpace(v)
			}
		}
	}
	return c
}

// write prints the conditions.
func (c conditions) write(w io.Writer, markdown bool) {
	bullet := ""
	if markdown {
		bullet = "- "
	}
	p := c.Plan
	lines := []string{
		fmt.Sprintf("%s; %s; %s; %s", c.Date, c.CPU, c.Cores, c.System),
		fmt.Sprintf("Caddy %s, %s, GOMAXPROCS=1; machine load before the run: %s", c.Caddy, c.Go, c.Load),
		fmt.Sprintf("%d rounds, each in fresh processes and another order; %d connections (8 for 100 KB and 10 MB); %d requests to warm up, %d measured, %d at %g/s; cycling: %d tokens",
			p.Rounds, defaultConns, p.Warmup, p.Requests, p.Paced, p.Rate, p.Cycle),
		"Figures are medians of the rounds, with (lowest … highest); × bare and added µs compare with the bare configuration of the same binary, with the same requests (tokens included) in the same round. Latencies count from when a request was due.",
	}
	verify := make([]string, 0, len(c.Floors.Verify))
	for alg, us := range c.Floors.Verify {
		verify = append(verify, fmt.Sprintf("%s %.1f", alg, us))
	}
	slices.Sort(verify)
	if len(verify) > 0 {
		lines = append(lines, "This machine takes for one signature check of the standard library, µs: "+strings.Join(verify, ", "))
	}
	if c.Floors.Datasync > 0 {
		lines = append(lines, fmt.Sprintf("and for bringing 500 bytes to the disk: %.0f µs", c.Floors.Datasync))
	}
	for _, l := range lines {
		fmt.Fprintln(w, bullet+l)
	}
}
