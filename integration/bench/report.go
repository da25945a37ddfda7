package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// row is what is reported of one contestant: medians of its rounds, and of
// the comparisons with the bare configuration in the same round.
type row struct {
	Group     string   `json:"group"`
	Name      string   `json:"name"`
	Failed    string   `json:"failed,omitempty"`
	CPU       spread   `json:"cpu_us"`
	Added     spread   `json:"added_us"`
	CPURatio  spread   `json:"cpu_ratio"`
	PerSecond spread   `json:"requests_s"`
	Allocs    spread   `json:"added_allocs"`
	Bytes     spread   `json:"added_alloc_bytes"`
	CoreMBs   spread   `json:"core_mb_s"`
	P50       spread   `json:"p50_us"`
	P99       spread   `json:"p99_us"`
	P99Ratio  spread   `json:"p99_ratio"`
	AddedP50  spread   `json:"added_p50_us"`
	RSS       spread   `json:"rss_mib"`
	Growth    spread   `json:"rss_growth_mib"`
	AddedPeak spread   `json:"added_peak_mib"`
	Targets   []string `json:"targets,omitempty"`
	Rounds    []sample `json:"rounds"`

	base bool
}

// summarize compares every contestant with the bare one of its group.
func summarize(results []*result, f floors) []row {
	rows := make([]row, 0, len(results))
	var base *result
	for _, r := range results {
		if r.base {
			base = r
		}
		rows = append(rows, summary(r, base, f))
	}
	return rows
}

func summary(r, base *result, f floors) row {
	with := func(f func(o, b sample) (float64, bool)) spread {
		if r == base {
			return spread{}
		}
		return spreadOf(paired(r.samples, base.samples, f))
	}
	of := func(f func(sample) float64) spread {
		return spreadOf(each(r.samples, func(s sample) (float64, bool) { v := f(s); return v, v != 0 }))
	}
	const mib = 1 << 20
	w := row{
		Group: r.group, Name: r.name, base: r.base,
		CPU:       of(func(s sample) float64 { return s.CPUMicros }),
		PerSecond: of(func(s sample) float64 { return s.PerSecond }),
		CoreMBs:   of(func(s sample) float64 { return s.CoreMBs }),
		P50:       of(func(s sample) float64 { return s.P50Micros }),
		P99:       of(func(s sample) float64 { return s.P99Micros }),
		RSS:       of(func(s sample) float64 { return float64(s.EndRSS) / mib }),
		Growth:    of(func(s sample) float64 { return float64(s.EndRSS-s.WarmRSS) / mib }),
		Added:     with(func(o, b sample) (float64, bool) { return o.CPUMicros - b.CPUMicros, b.CPUMicros > 0 }),
		CPURatio:  with(func(o, b sample) (float64, bool) { return ratio(o.CPUMicros, b.CPUMicros), b.CPUMicros > 0 }),
		Allocs:    with(func(o, b sample) (float64, bool) { return o.Allocs - b.Allocs, true }),
		Bytes:     with(func(o, b sample) (float64, bool) { return o.AllocBytes - b.AllocBytes, true }),
		P99Ratio:  with(func(o, b sample) (float64, bool) { return ratio(o.P99Micros, b.P99Micros), b.P99Micros > 0 }),
		AddedP50:  with(func(o, b sample) (float64, bool) { return o.P50Micros - b.P50Micros, b.P50Micros > 0 }),
		AddedPeak: with(func(o, b sample) (float64, bool) { return float64(o.PeakRSS-b.PeakRSS) / mib, b.PeakRSS > 0 }),
	}
	if r.err != nil {
		w.Failed = r.err.Error()
	}
	for round := range len(r.samples) {
		w.Rounds = append(w.Rounds, r.samples[round])
	}
	if len(r.samples) > 0 {
		w.Targets = w.verdicts(r.target, f)
	}
	return w
}

// verdicts says of each target whether it is met.
func (w *row) verdicts(t target, f floors) []string {
	var said []string
	judge := func(want string, wanted bool, met bool) {
		if !wanted {
			return
		}
		if met {
			said = append(said, want+" met")
		} else {
			said = append(said, want+" MISSED")
		}
	}
	measured := w.CPU.Median > 0
	judge(fmt.Sprintf("≤ +%g µs", t.addedMicros), t.addedMicros > 0 && measured, w.Added.Median <= t.addedMicros)
	judge(fmt.Sprintf("≤ %g ×", t.cpuRatio), t.cpuRatio > 0 && measured, w.CPURatio.Median <= t.cpuRatio)
	judge(fmt.Sprintf("p99 ≤ %g ×", t.p99Ratio), t.p99Ratio > 0, w.P99Ratio.Median <= t.p99Ratio)
	judge(fmt.Sprintf("≥ %g MB/s", t.coreMBs), t.coreMBs > 0 && measured, w.CoreMBs.Median >= t.coreMBs)
	judge(fmt.Sprintf("≤ +%g MiB", t.addedMiB), t.addedMiB > 0 && measured, w.AddedPeak.Median <= t.addedMiB)
	judge(fmt.Sprintf("≤ %g fdatasync", t.syncs), t.syncs > 0, w.AddedP50.Median <= t.syncs*f.Datasync)
	return said
}

// column is one column of a table. A column with nothing in it is left out.
type column struct {
	title string
	cell  func(row) string
}

const nothing = "–"

// figure prints the median, and the extremes if there were several rounds.
func figure(format string, s spread, all bool) string {
	if s == (spread{}) {
		return nothing
	}
	out := fmt.Sprintf(format, s.Median)
	if all && s.Min != s.Max {
		out += fmt.Sprintf(" ("+format+" … "+format+")", s.Min, s.Max)
	}
	return out
}

var columns = []column{
	{"", func(w row) string { return w.Name }},
	{"requests/s", func(w row) string { return figure("%.0f", w.PerSecond, false) }},
	{"CPU µs", func(w row) string { return figure("%.1f", w.CPU, false) }},
	{"added µs", func(w row) string { return figure("%+.1f", w.Added, true) }},
	{"× bare", func(w row) string { return figure("%.2f", w.CPURatio, true) }},
	{"added allocations", func(w row) string { return figure("%+.0f", w.Allocs, false) }},
	{"of bytes", func(w row) string { return figure("%+.0f", w.Bytes, false) }},
	{"MB/s a core", func(w row) string {
		if w.CoreMBs.Median < 10 {
			return nothing
		}
		return figure("%.0f", w.CoreMBs, true)
	}},
	{"p50 µs", func(w row) string { return figure("%.0f", w.P50, false) }},
	{"p99 µs", func(w row) string { return figure("%.0f", w.P99, false) }},
	{"p99 × bare", func(w row) string { return figure("%.2f", w.P99Ratio, true) }},
	{"RSS MiB", func(w row) string { return figure("%.0f", w.RSS, false) }},
	{"growth MiB", func(w row) string { return figure("%+.1f", w.Growth, false) }},
	{"peak MiB over bare", func(w row) string { return figure("%+.1f", w.AddedPeak, false) }},
	{"target", func(w row) string { return strings.Join(w.Targets, ", ") }},
}

// table returns the cells of one group, the titles first.
func table(rows []row) [][]string {
	out := make([][]string, len(rows)+1)
	for i, c := range columns {
		cells := make([]string, 0, len(rows))
		filled := false
		for _, w := range rows {
			cell := c.cell(w)
			if w.Failed != "" && i > 0 {
				cell = nothing
				if i == 1 {
					cell = "FAILED"
				}
			}
			filled = filled || cell != nothing && cell != ""
			cells = append(cells, cell)
		}
		if !filled {
			continue
		}
		out[0] = append(out[0], c.title)
		for r, cell := range cells {
			out[r+1] = append(out[r+1], cell)
		}
	}
	return out
}

// write prints the tables, as Markdown or aligned for a terminal.
func write(w io.Writer, cond conditions, rows []row, markdown bool) {
	cond.write(w, markdown)
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Group == rows[0].Group {
			n++
		}
		cells := table(rows[:n])
		cells[0][0] = rows[0].Group
		fmt.Fprintln(w)
		if markdown {
			writeMarkdown(w, cells)
		} else {
			writeAligned(w, cells)
		}
		rows = rows[n:]
	}
}

func writeMarkdown(w io.Writer, cells [][]string) {
	for i, line := range cells {
		fmt.Fprintln(w, "| "+strings.Join(line, " | ")+" |")
		if i == 0 {
			fmt.Fprintln(w, "|---|"+strings.Repeat("---:|", len(line)-1))
		}
	}
}

func writeAligned(w io.Writer, cells [][]string) {
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, line := range cells {
		var b strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// writeJSON writes everything that was measured to a file.
func writeJSON(file string, cond conditions, rows []row) error {
	body, err := json.MarshalIndent(struct {
		Conditions conditions `json:"conditions"`
		Rows       []row      `json:"rows"`
	}{cond, rows}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(body, '\n'), 0o600)
}
