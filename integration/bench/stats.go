package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// spread is the median of several rounds with the smallest and the largest.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of values, zero if there are none.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return spread{median(sorted), sorted[0], sorted[len(sorted)-1]}
}

// median returns the middle of sorted values, the mean of the middle two if
// their number is even.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// quantile returns the smallest of the sorted values that at least q of them
// do not exceed (the nearest rank), and zero if there are none.
func quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// micros returns d in microseconds.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ratio returns a/b, and zero where b is nothing to compare with.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// paired applies f to what two contestants measured in the same round. Rounds
// that one of them lacks are left out.
func paired(ours, base map[int]sample, f func(ours, base sample) (float64, bool)) []float64 {
	var out []float64
	for round, o := range ours {
		b, ok := base[round]
		if !ok {
			continue
		}
		if v, ok := f(o, b); ok {
			out = append(out, v)
		}
	}
	return out
}

// each applies f to every round of one contestant.
func each(samples map[int]sample, f func(sample) (float64, bool)) []float64 {
	return paired(samples, samples, func(s, _ sample) (float64, bool) { return f(s) })
}
