package main

import (
	"fmt"
	"regexp"
	"slices"
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
