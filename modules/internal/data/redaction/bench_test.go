package redaction

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

// go test -run xxx -bench . -benchmem -cpu 1 ./modules/internal/redaction
//
// What is compared does the same work: two names removed and two masked
// wherever they stand. Ratios within one run are what counts.

// benchRules returns n rules, of which the first four are what all
// contestants do.
func benchRules(t testing.TB, n int) []Rule {
	rules := []Rule{
		{"password", "password", Remove()},
		{"internal", "internal", Remove()},
		{"phone", "phone", masked(t, "mobile")},
		{"id_card", "id_card", masked(t, "id_card")},
	}
	for i := len(rules); i < n; i++ {
		name := fmt.Sprintf("%s_%d", []string{"secret", "token", "account_no", "$.items[*].private", "$..customer.field"}[i%5], i)
		rules = append(rules, Rule{name, name, []Action{Remove(), Null(), masked(t, "last4")}[i%3]})
	}
	return rules[:n]
}

func rewriteAll(p *Program, dst io.Writer, text []byte) error {
	w := p.Get(dst)
	defer p.Put(w)
	// As an HTTP server hands it on.
	for len(text) > 0 {
		n := min(len(text), 32<<10)
		if _, err := w.Write(text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return w.Close()
}

// tokenStream is the same with jsontext, the best of the streaming and
// validating libraries.
func tokenStream(dst io.Writer, text []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
	e := jsontext.NewEncoder(dst, jsontext.AllowDuplicateNames(true))
	mobile, _ := mask.Preset("mobile")
	idCard, _ := mask.Preset("id_card")
	var scratch []byte
	for {
		t, err := d.ReadToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if t.Kind() == '"' {
			if kind, length := d.StackIndex(d.StackDepth()); kind == '{' && length%2 == 1 {
				f := mobile
				switch t.String() {
				case "password", "internal":
					if err := d.SkipValue(); err != nil {
						return err
					}
					continue
				case "id_card":
					f = idCard
					fallthrough
				case "phone":
					if err := e.WriteToken(t); err != nil {
						return err
					}
					v, err := d.ReadToken()
					if err != nil {
						return err
					}
					scratch = f(scratch[:0], []byte(v.String()))
					t = jsontext.String(string(scratch))
				}
			}
		}
		if err := e.WriteToken(t); err != nil {
			return err
		}
	}
}

// anyTree is the same with encoding/json.
func anyTree(dst io.Writer, text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	editTree(v)
	out, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = dst.Write(out)
	return err
}

func editTree(v any) {
	mobile, _ := mask.Preset("mobile")
	idCard, _ := mask.Preset("id_card")
	switch v := v.(type) {
	case map[string]any:
		delete(v, "password")
		delete(v, "internal")
		if s, ok := v["phone"].(string); ok {
			v["phone"] = string(mobile(nil, []byte(s)))
		}
		if s, ok := v["id_card"].(string); ok {
			v["id_card"] = string(idCard(nil, []byte(s)))
		}
		for _, c := range v {
			editTree(c)
		}
	case []any:
		for _, c := range v {
			editTree(c)
		}
	}
}

// measure also reports the best single run, which other work on the machine
// disturbs least.
func measure(b *testing.B, size int, f func() error) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(size)/best.Seconds()/1e6, "best-MB/s")
}

var benchPayloads = []struct {
	label, name string
	size        int
}{
	{"api-1KB", "api", 1 << 10},
	{"api-100KB", "api", 100 << 10},
	{"api-10MB", "api", 10 << 20},
	{"twitter", "twitter", 630 << 10},
	{"citm", "citm", 1700 << 10},
	{"canada", "canada", 2200 << 10},
	{"fhir", "fhir", 500 << 10},
}

func TestContestantsAgree(t *testing.T) {
	p := compile(t, Options{}, benchRules(t, 4)...)
	for _, c := range benchPayloads {
		text := payload(c.name, min(c.size, 300<<10))
		var ours, tokens, tree bytes.Buffer
		for _, err := range []error{rewriteAll(p, &ours, text), tokenStream(&tokens, text), anyTree(&tree, text)} {
			if err != nil {
				t.Fatal(c.label, err)
			}
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, ours.Bytes()); err != nil {
			t.Fatal(c.label, err)
		}
		// jsontext writes escapes in its own way.
		var a, b any
		_ = json.Unmarshal(ours.Bytes(), &a)
		_ = json.Unmarshal(tokens.Bytes(), &b)
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			t.Errorf("%s: %.200s…, jsontext: %.200s…", c.label, x, y)
		}
		b = nil
		_ = json.Unmarshal(tree.Bytes(), &b)
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			t.Errorf("%s: %.200s…, encoding/json: %.200s…", c.label, x, y)
		}
		if got, want := withoutSpace(t, ours.Bytes()), reference(t, p.rules, text, p.options.FoldCase); got != want {
			t.Errorf("%s differs from the reference", c.label)
		}
	}
}

func BenchmarkRedact(b *testing.B) {
	four := compile(b, Options{}, benchRules(b, 4)...)
	for _, c := range benchPayloads {
		text := payload(c.name, c.size)
		for _, who := range []struct {
			name string
			f    func(io.Writer, []byte) error
		}{
			{"moat", func(dst io.Writer, text []byte) error { return rewriteAll(four, dst, text) }},
			{"jsontext", tokenStream},
			{"encoding-json", anyTree},
		} {
			b.Run(c.label+"/"+who.name, func(b *testing.B) {
				measure(b, len(text), func() error { return who.f(io.Discard, text) })
			})
		}
	}
}

func BenchmarkRules(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"api", 100 << 10}, {"fhir", 100 << 10}} {
		text := payload(c.name, c.size)
		for _, n := range []int{0, 1, 20, 200} {
			// One rule that redacts something in every record, and
			// others that do not, or the work would not be the same.
			all := benchRules(b, 204)
			p := compile(b, Options{}, append(all[:min(n, 1):1], all[4:max(n, 1)+3]...)...)
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				measure(b, len(text), func() error { return rewriteAll(p, io.Discard, text) })
			})
		}
	}
}

func BenchmarkWindow(b *testing.B) {
	text := payload("api", 100<<10)
	for _, selector := range []string{"$.items[-1]", "$.items[-50:]", "$.items[:-1].note", "$.items[5000:].note"} {
		p := compile(b, Options{}, append(rule(Remove(), selector), rule(Null(), "nowhere")...)...)
		b.Run(selector, func(b *testing.B) {
			measure(b, len(text), func() error { return rewriteAll(p, io.Discard, text) })
		})
	}
}

// BenchmarkHard is of texts that are as slow as can be.
func BenchmarkHard(b *testing.B) {
	p := compile(b, Options{}, benchRules(b, 200)...)
	for _, c := range []struct{ name, before, again, after string }{
		{"escapes", `"`, `\n`, `"`},
		{"units", `"`, `\u4e2d`, `"`},
		{"pairs", `"`, `\ud83d\ude00`, `"`},
		{"greek", `"`, `λόγος `, `"`},
		{"depth", `[1`, `,` + strings.Repeat(`[`, 500) + strings.Repeat(`]`, 500), `]`},
		{"removed", `[1`, `,{"password":1}`, `]`},
		{"masked", `[1`, `,{"phone":1}`, `]`},
		{"short", `[1`, `,2`, `]`},
	} {
		text := []byte(c.before + strings.Repeat(c.again, 100<<10/len(c.again)) + c.after)
		b.Run(c.name, func(b *testing.B) {
			measure(b, len(text), func() error { return rewriteAll(p, io.Discard, text) })
		})
	}
}

func BenchmarkDetect(b *testing.B) {
	all, err := Detect(mask.Kinds(), masked(b, "last4"))
	if err != nil {
		b.Fatal(err)
	}
	p := compile(b, Options{}, rule(all, "$")...)
	for _, name := range []string{"api", "twitter", "fhir"} {
		text := payload(name, 100<<10)
		b.Run(name, func(b *testing.B) {
			measure(b, len(text), func() error { return rewriteAll(p, io.Discard, text) })
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	text := payload("api", 64<<10)[:blockSize]
	var stop, ink bitmap
	for name, f := range map[string]func(stop, ink, p []byte){"used": classifyWords, "portable": classifyPortable} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				f(stop[:], ink[:], text)
			}
		})
	}
}
