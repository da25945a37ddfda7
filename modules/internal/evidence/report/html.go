package report

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"
)

// WriteHTML writes the summary as one page that needs nothing else: no
// script, no font, no image from anywhere, as its Content-Security-Policy
// says. Everything that came from a request is escaped for the place where it
// stands.
func (s *Summary) WriteHTML(w io.Writer) error {
	return page.Execute(w, s)
}

// More tells whether more requests were counted than are listed.
func (s *Summary) More() bool { return s.Requests > int64(len(s.Matches)) }

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"timeline": timeline,
	"bars":     bars,
	"when":     when,
	"percent":  percent,
	"number":   number,
	"ms":       func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) },
	"visible":  visible,
	"lines":    lines,
}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Audit report: {{visible .Title}}</title>
<style>
:root { --ink: #1c2430; --soft: #5b6675; --line: #dde2e8; --paper: #fff; --ground: #f5f7f9; --ok: #3b7dd8; --no: #d9534f; --err: #e0a030; --bar: #8fb3e0 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #313a46; --paper: #1b222b; --ground: #12171d; --bar: #3d6199 } }
* { box-sizing: border-box }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 0 0 .8rem }
header p { color: var(--soft); margin: .2rem 0 1.2rem }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.2rem; min-width: 0 }
.wide { grid-column: 1 / -1 }
.figures { display: flex; flex-wrap: wrap; gap: .6rem 2.4rem; margin: 0 }
.figures div { display: flex; flex-direction: column-reverse } .figures dt { color: var(--soft); font-size: .85rem } .figures dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100%; font-size: .9rem } th { text-align: left; color: var(--soft); font-weight: 500 }
td, th { padding: .25rem .5rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal }
.changes td:nth-child(-n+3) { overflow-wrap: normal; white-space: nowrap }
td svg { display: block } svg { max-width: 100%; height: auto } svg text { fill: var(--soft); font: 11px system-ui, sans-serif }
.none { color: var(--soft) } .legend { color: var(--soft); font-size: .85rem; margin: .4rem 0 0 } .key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .9em }
.warn { border-left: 4px solid var(--err) } .bad { border-left: 4px solid var(--no) }
@media print { body { background: #fff; padding: 0 } section { break-inside: avoid } }
</style>
</head>
<body>
<header>
<h1>Audit report: {{visible .Title}}</h1>
<p>{{if .Requests}}{{when .First}} to {{when .Last}} · {{end}}records {{.FirstIndex}} to {{.LastIndex}} · made {{when .Made}}{{if .Filter}} · only {{visible .Filter}}{{end}}</p>
</header>
<div class="grid">
<section class="wide {{if .Problem}}bad{{end}}"><h2>Integrity</h2>{{if .Problem}}<p><strong>{{visible .Problem}}</strong></p>{{else if .Integrity}}<p>{{visible .Integrity}}</p>{{else}}<p class="none">Not checked. Run <code>caddy moat audit verify</code>.</p>{{end}}</section>
<section class="wide"><dl class="figures">
<div><dt>requests</dt><dd>{{number .Requests}}</dd></div>
<div><dt>refused by a layer</dt><dd>{{number .Refused}} ({{percent .Refused .Requests}})</dd></div>
<div><dt>server errors</dt><dd>{{number .Errors}} ({{percent .Errors .Requests}})</dd></div>
<div><dt>anonymous</dt><dd>{{number .Anonymous}} ({{percent .Anonymous .Requests}})</dd></div>
<div><dt>users</dt><dd>{{number .UserCount}}{{if .UsersCapped}}+{{end}}</dd></div>
<div><dt>values masked or removed</dt><dd>{{number .Redacted}}</dd></div>
<div><dt>duration p50 / p99</dt><dd>{{ms .P50}} / {{ms .P99}}</dd></div>
<div><dt>without outcome</dt><dd>{{number .Unfinished}}</dd></div>
</dl></section>
<section class="wide"><h2>Requests and rejections over time</h2>{{timeline .Buckets}}
<p class="legend">per {{visible .Width}}<span class="key" style="background:var(--ok)"></span>served<span class="key" style="background:var(--no)"></span>rejected<span class="key" style="background:var(--err)"></span>server error</p></section>
<section class="wide {{if .Anomalies}}warn{{end}}"><h2>Worth a look</h2>{{if .Anomalies}}<table><tr><th>what</th><th>who</th><th>detail</th><th class="n">when</th></tr>{{range .Anomalies}}<tr><td>{{visible .Kind}}</td><td>{{visible .Who}}</td><td>{{visible .Detail}}</td><td class="n">{{when .At}}</td></tr>{{end}}</table>{{else}}<p class="none">Nothing stood out.</p>{{end}}</section>
{{if .Matches}}<section class="wide"><h2>Requests{{if .More}} (the first {{len .Matches}} of {{number .Requests}}){{end}}</h2><table><tr><th class="n">record</th><th class="n">when</th><th>user</th><th>client</th><th>site</th><th class="n">status</th><th>request</th><th>why</th></tr>{{range .Matches}}<tr><td class="n">{{.Index}}</td><td class="n">{{when .Time}}</td><td>{{if .User}}{{visible .User}}{{else}}–{{end}}</td><td>{{visible .Client}}</td><td>{{visible .Site}}</td><td class="n">{{.Status}}</td><td>{{visible .Route}}</td><td>{{visible .Why}}</td></tr>{{end}}</table>{{if .More}}<p class="legend">caddy moat audit search with the same filters lists all.</p>{{end}}</section>{{end}}
{{range .Tables}}{{template "top" .}}{{end}}
<section class="wide"><h2>Changes of policy and configuration</h2>{{if .Changes}}<table class="changes"><tr><th class="n">when</th><th>layer</th><th>what</th><th>source</th><th>by</th><th>detail</th></tr>{{range .Changes}}<tr><td class="n">{{when .Time}}</td><td>{{visible .Layer}}</td><td>{{visible .What}}</td><td>{{visible .Source}}</td><td>{{visible .By}}</td><td>{{range lines .Detail}}<div>{{visible .}}</div>{{end}}</td></tr>{{end}}</table>{{if .ChangesLeftOut}}<p class="legend">{{number .ChangesLeftOut}} earlier ones are left out: caddy moat audit search --kind change lists all.</p>{{end}}{{else if .ChangesHidden}}<p class="none">Not shown with this filter.</p>{{else}}<p class="none">None recorded{{if .Filter}} in this time{{end}}.</p>{{end}}</section>
</div>
</body>
</html>
{{define "top"}}<section><h2>{{.Title}}</h2>{{$most := .Most}}{{if .Rows}}<table><tr><th>{{.Name}}</th><th></th><th class="n">{{.Unit}}</th>{{if .Second}}<th class="n">{{.Second}}</th>{{end}}</tr>{{$second := .Second}}{{range .Rows}}<tr><td>{{visible .Name}}</td><td>{{bars .Count $most}}</td><td class="n">{{number .Count}}</td>{{if $second}}<td class="n">{{number .Second}}</td>{{end}}</tr>{{end}}</table>{{if .Capped}}<p class="legend">There were more than could be counted one by one; rare ones may be missing.</p>{{end}}{{else}}<p class="none">None.</p>{{end}}</section>{{end}}`))

// timeline draws stacked bars, one for each stretch of time.
func timeline(buckets []Bucket) template.HTML {
	const width, height, left, bottom = 1100, 220, 46, 20
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="requests over time">`, width, height)
	var most int64 = 1
	for _, k := range buckets {
		most = max(most, k.Total)
	}
	top := nice(most)
	scale := float64(height-bottom-10) / float64(top)
	for i := range 5 {
		v := top * int64(i) / 4
		y := float64(height-bottom) - float64(v)*scale
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="var(--line)"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, left, width, y, y, left-6, y+4, number(v))
	}
	if n := len(buckets); n > 0 {
		step := float64(width-left) / float64(n)
		for i, k := range buckets {
			x, y := float64(left)+float64(i)*step, float64(height-bottom)
			fmt.Fprintf(&b, `<g><title>%s: %d requests, %d refused, %d server errors</title>`, when(k.Start), k.Total, k.Refused, k.Errors)
			for _, part := range []struct {
				n     int64
				color string
			}{{k.Total - k.Refused - k.Errors, "ok"}, {k.Refused, "no"}, {k.Errors, "err"}} {
				h := float64(max(part.n, 0)) * scale
				if h > 0 {
					y -= h
					fmt.Fprintf(&b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="var(--%s)"/>`, x+step*.08, y, step*.84, h, part.color)
				}
			}
			b.WriteString("</g>")
		}
		format := "15:04"
		if d := buckets[n-1].Start.Sub(buckets[0].Start); d > 48*time.Hour {
			format = "01-02"
		} else if d < 5*time.Minute {
			format = "15:04:05"
		}
		every := max(n/8, 1)
		for i := 0; i < n; i += every {
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, float64(left)+(float64(i)+.5)*step, height-4, buckets[i].Start.Local().Format(format))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers and times of our own only
}

// bars draws one horizontal bar.
func bars(n, most int64) template.HTML {
	w := 0.0
	if most > 0 {
		w = 120 * float64(n) / float64(most)
	}
	return template.HTML(fmt.Sprintf(`<svg width="120" height="12" viewBox="0 0 120 12" aria-hidden="true"><rect width="%.1f" height="12" rx="2" fill="var(--bar)"/></svg>`, math.Max(w, 1))) //nolint:gosec // a number
}

// nice rounds up to a number that axes like.
func nice(n int64) int64 {
	for base := int64(1); ; base *= 10 {
		for _, m := range []int64{1, 2, 4, 5, 8, 10} {
			if v := base * m; v >= n && v%4 == 0 {
				return v
			}
		}
	}
}

func percent(n, of int64) string {
	if of == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// number prints n with thin groups of three.
func number(n int64) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteRune('\u202f')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// maxLines is how many lines of a detail are shown.
const maxLines = 20

// lines returns the lines of a detail, of which each is shown on its own.
func lines(s string) []string {
	list := strings.SplitN(s, "\n", maxLines+1)
	if len(list) > maxLines {
		list[maxLines] = "…"
	}
	return list
}

// visible shows what a reader could not see or would be deceived by: control
// characters, and those that turn the direction of text.
func visible(s string) string {
	if len(s) > 400 {
		s = strings.ToValidUTF8(s[:400], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return '\u2400' + r
		case r == 0x7f:
			return '\u2421'
		case r >= 0x80 && r < 0xa0, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff, r == 0xfffd:
			return '\ufffd'
		}
		return r
	}, s)
}
