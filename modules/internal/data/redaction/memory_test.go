package redaction

import (
	"io"
	"strings"
	"testing"
	"unsafe"
)

// footprint returns how many bytes w has allocated.
func footprint(w *Rewriter) int {
	n := int(unsafe.Sizeof(*w)) + cap(w.stack)*int(unsafe.Sizeof(frame{})) + 8*cap(w.fired)
	for _, b := range [][]byte{w.key, w.held, w.value, w.text, w.repl, w.scratch, w.names, w.out, w.actOn.scratch, w.window.buf} {
		n += cap(b)
	}
	n += cap(w.window.elems) * int(unsafe.Sizeof(span{}))
	if w.window.inner != nil {
		n += footprint(w.window.inner)
	}
	return n
}

func TestMemoryIsBoundedByOptions(t *testing.T) {
	const (
		maxValue = 4 << 10
		maxDepth = 64
		// Each buffer grows by doubling; a mask can make three bytes of one.
		bound = 2*(10*maxValue+maxDepth*(64+shortName+8)) + 3*outSize + 2*indexBytes + 8<<10
	)
	p := compile(t, Options{MaxDepth: maxDepth, MaxValue: maxValue, Sequence: true}, append(append(
		rule(Remove(), "gone", "$..last[-1]"),
		rule(Keep(1, 1, '●'), "masked")...),
		rule(detecting(t, masked(t, "last4"), "pan"), "$.free")...)...)
	const many = 256 << 10
	for name, parts := range map[string][]string{
		"a string":                {`"`, "abcd", `"`},
		"a string with escapes":   {`"`, `\u4e2d`, `"`},
		"a masked string":         {`{"masked":"`, "abcd", `"}`},
		"a masked number":         {`{"masked":1`, "2345", `}`},
		"a string looked into":    {`{"free":"`, "4111", `"}`},
		"a name":                  {`{"`, "abcd", `":1}`},
		"a name with escapes":     {`{"`, `\"\\`, `":1}`},
		"space":                   {`[`, "\n   ", `]`},
		"a removed array":         {`{"gone":[1`, `,"a"`, `]}`},
		"an array":                {`[1`, `,{}`, `]`},
		"an array held by one":    {`{"last":[1`, `,22,[]`, `]}`},
		"members":                 {`{"a":1`, `,"b":2`, `}`},
		"members removed":         {`{"a":1`, `,"gone":2`, `}`},
		"lines":                   {``, "{\"masked\":\"1\"}\n", ``},
		"depth":                   {strings.Repeat(`{"`+strings.Repeat("n", 1000)+`":`, maxDepth), ``, `1` + strings.Repeat(`}`, maxDepth)},
		"a name in a deep object": {strings.Repeat(`[`, maxDepth-1) + `{"`, `abcd`, `":1}` + strings.Repeat(`]`, maxDepth-1)},
	} {
		for _, size := range []int{7, 3000} {
			w := p.NewRewriter(io.Discard)
			most := 0
			feed := func(text string) {
				for text != "" {
					n := min(size, len(text))
					if _, err := w.Write([]byte(text[:n])); err != nil {
						t.Fatal(name, err)
					}
					text = text[n:]
					most = max(most, footprint(w))
				}
			}
			feed(parts[0])
			if parts[1] != "" {
				feed(strings.Repeat(parts[1], many/len(parts[1])))
			}
			feed(parts[2])
			if err := w.Close(); err != nil {
				t.Fatal(name, err)
			}
			if most > bound {
				t.Errorf("%s in pieces of %d: %d bytes, want at most %d", name, size, most, bound)
			}
		}
	}
}

func TestRewritingDoesNotAllocate(t *testing.T) {
	p := compile(t, Options{}, benchRules(t, 200)...)
	text := payload("api", 64<<10)
	w := p.NewRewriter(io.Discard)
	if n := testing.AllocsPerRun(20, func() {
		w.Reset(io.Discard)
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%.1f allocations a text", n)
	}
}
