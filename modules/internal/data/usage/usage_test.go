package usage

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

// reader reads what OpenAI, Anthropic, Gemini and Ollama send.
func reader(t testing.TB) *Reader {
	t.Helper()
	r, err := NewReader(
		Sum{{"/usage/total_tokens", "/response/usage/total_tokens"}},
		Sum{{"/usage/input_tokens", "/message/usage/input_tokens"}, {"/usage/output_tokens"}},
		Sum{{"/list/1/n"}}, Sum{{"/a~1b"}}, Sum{{"/top"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNumbersAreFoundWherever(t *testing.T) {
	for _, c := range []struct {
		body string
		want int64 // -1: none
	}{
		{`{"id":"x","usage":{"prompt_tokens":3,"total_tokens":12}}`, 12},
		{`{"usage":{"total_tokens":12.2}}`, 13},
		{`{"usage":{"total_tokens":1.2e1}}`, 12},
		{`{"usage":{"total_tokens":0}}`, 0},
		{` { "usage" : { "total_tokens" : 12 } } `, 12},
		{`{"\u0075sage":{"total\u005ftokens":12}}`, 12},
		{`{"usage":{"total_tokens":1,"total_tokens":12}}`, 12},
		{`{"usage":{"input_tokens":5,"output_tokens":7}}`, 12},
		{`{"usage":{"output_tokens":7}}`, 7},
		{`{"text":"{\"usage\":{\"total_tokens\":99}}","usage":{"total_tokens":12}}`, 12},
		{`{"text":"a\\","usage":{"total_tokens":12}}`, 12},
		{`{"list":[{"n":1},{"n":12},{"n":3}]}`, 12},
		{`{"list":[[9],[{"n":3}],{"n":3}]}`, -1},
		{`{"a/b":12}`, 12},
		{`{"a":{"usage":{"total_tokens":99}}}`, -1},
		{`[{"usage":{"total_tokens":99}}]`, -1},
		{`{"usage":[{"total_tokens":99}]}`, -1},
		{`{"usage":{"x":{"total_tokens":99}}}`, -1},
		{`{"usage":{"total_tokens":{"total_tokens":99}}}`, -1},
		{`{"usage":{"total_tokens":"12"}}`, -1},
		{`{"usage":{"total_tokens":null}}`, -1},
		{`{"usage":{"total_tokens":-12}}`, -1},
		{`{"usage":{"total_tokens":1e300}}`, -1},
		{`{"usage":{"total_tokens":0x10}}`, -1},
		{`{"usage":{"total_tokens":Infinity}}`, -1},
		{`{"usage":{"total_tokens":` + strings.Repeat("1", 1000) + `}}`, -1},
		{`{"` + strings.Repeat("k", 1000) + `":12}`, -1},
		{`{"USAGE":{"total_tokens":12}}`, -1},
		{`"usage"`, -1},
		{`12`, -1},
		{``, -1},
		{`}}}]]]`, -1},
		{`{"usage":`, -1},
		{strings.Repeat("[", 100_000), -1},
		{`{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"usage":{"total_tokens":12}}`, 12},
		{`{"top":12`, 12},
		{`{"top":3}` + "\n" + `{"top":12}` + "\n" + `{"top":null}`, 12}, // JSON lines
	} {
		for _, step := range []int{1, 3, 1 << 20} {
			if got := read(reader(t), JSON, c.body, step); got != c.want {
				t.Errorf("%.80s in pieces of %d: %d, want %d", c.body, step, got, c.want)
			}
		}
	}
}

// read reads a body in pieces, and returns -1 for no number.
func read(r *Reader, form Form, body string, step int) int64 {
	m := r.Meter(form)
	for ; len(body) > step; body = body[step:] {
		_, _ = m.Write([]byte(body[:step]))
	}
	_, _ = m.Write([]byte(body))
	if n, ok := m.Total(); ok {
		return n
	}
	return -1
}

func TestEventsTellTheLastNumber(t *testing.T) {
	for _, c := range []struct {
		body   string
		want   int64
		events int64
	}{
		{"data: {\"choices\":[]}\n\ndata: {\"usage\":{\"total_tokens\":12}}\n\ndata: [DONE]\n\n", 12, 3},
		{"data:{\"usage\":{\"total_tokens\":3}}\r\n\r\ndata:{\"usage\":{\"total_tokens\":12}}\r\n\r\n", 12, 2},
		{"data: {\"usage\":{\"total_tokens\":3}}\r\rdata: {\"usage\":{\"total_tokens\":12}}\r\r", 12, 2},
		{"data: {\"usage\":\ndata: {\"total_tokens\":12}}\n\n", 12, 1},
		{"\ufeffdata: {\"usage\":{\"total_tokens\":12}}\n\n", 12, 1},
		{"data: {\"usage\":{\"total_tokens\":12}}", 12, 0}, // cut short: what was said counts
		{"event: x\n: {\"usage\":{\"total_tokens\":99}}\nid: 1\n\n", -1, 0},
		{"datax: {\"usage\":{\"total_tokens\":99}}\n\n", -1, 0},
		{"data: {\"usage\":null}\n\ndata: {\"usage\":{\"total_tokens\":12}}\n\ndata: {\"usage\":null}\n\n", 12, 3},
		{"data: {\n\ndata: {\"usage\":{\"total_tokens\":12}}\n\n", 12, 2}, // a broken one ends with its event
		{"event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"usage\":{\"output_tokens\":7}}\n\n", 12, 2},
		{"data: {\"response\":{\"usage\":{\"total_tokens\":12}}}\n\n", 12, 1},
	} {
		for _, step := range []int{1, 2, 7, 1 << 20} {
			if got := read(reader(t), Events, c.body, step); got != c.want {
				t.Errorf("%q in pieces of %d: %d, want %d", c.body, step, got, c.want)
			}
		}
		m := reader(t).Meter(Events)
		_, _ = m.Write([]byte(c.body))
		if m.Events() != c.events || m.Bytes() != int64(len(c.body)) {
			t.Errorf("%q: %d events of %d bytes, want %d", c.body, m.Events(), m.Bytes(), c.events)
		}
	}
}

func TestEventsThatEndAResponse(t *testing.T) {
	for stream, want := range map[string]bool{
		"data: {}\n\ndata: [DONE]\n\n": true, "data:[DONE]\r\n\r\n": true,
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n": true,
		"event: response.completed\ndata: {}\n\n":                    true,
		"event: response.completed\ndata: {}\n":                      false, // not whole yet
		"data: {}\n\n":                                               false, "data: \"[DONE]\"\n\n": false, "data: [DONE] and more\n\n": false, "": false,
		"event: message_stop" + strings.Repeat("x", 100) + "\n\n": false,
	} {
		for _, step := range []int{1, 5, 1000} {
			m := reader(t).Meter(Events)
			for rest := stream; rest != ""; rest = rest[min(step, len(rest)):] {
				_, _ = m.Write([]byte(rest[:min(step, len(rest))]))
			}
			if m.Ended() != want {
				t.Errorf("%q in pieces of %d: %t", stream, step, m.Ended())
			}
		}
	}
}

func TestPointersThatAreNone(t *testing.T) {
	for _, bad := range []string{"", "usage", "/a~2b", "/a~", "/a||/b"} {
		if _, err := ParseSum([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("/n%d", i))
	}
	sum, err := ParseSum(many)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewReader(sum); err == nil {
		t.Error("100 pointers were accepted")
	}
}

// FuzzFinder holds that whatever the pieces, a JSON text has the number that
// encoding/json finds, and that nothing else makes it fail or grow.
func FuzzFinder(f *testing.F) {
	for _, s := range []string{`{"usage":{"total_tokens":12}}`, `{"list":[1,{"n":2}],"a/b":3}`, `[[[`, `{"usage":{"total_tokens":1},"usage":3}`, `{"\u0075sage":{"input_tokens":1}}`} {
		f.Add(s, 3)
	}
	r := reader(f)
	f.Fuzz(func(t *testing.T, body string, step int) {
		step = max(1, step%64)
		whole := read(r, JSON, body, len(body)+1)
		if split := read(r, JSON, body, step); split != whole {
			t.Fatalf("%q: %d at once, %d in pieces of %d", body, whole, split, step)
		}
		_ = read(r, Events, body, step)
		m := r.Meter(JSON)
		_, _ = m.Write([]byte(body))
		if len(m.f.frames) > 4 || cap(m.f.text) > 2*maxText {
			t.Fatalf("%q: %d frames, %d bytes", body, len(m.f.frames), cap(m.f.text))
		}
		if strings.Contains(body, "�") {
			return // encoding/json makes this of what is not UTF-8
		}
		var doc any
		if json.Unmarshal([]byte(body), &doc) != nil || strings.Count(body, `"`) != 2*names(doc) {
			return // no JSON, or with duplicates or text, of which the first value may stay
		}
		if want := slow(r, doc); want != whole {
			t.Fatalf("%q: %d, want %d", body, whole, want)
		}
	})
}

// names counts the members in a document, to tell those without duplicates.
func names(doc any) (n int) {
	switch v := doc.(type) {
	case map[string]any:
		for name, member := range v {
			n += names(member)
			if !strings.ContainsAny(name, `"\`) {
				n++
			}
		}
	case []any:
		for _, member := range v {
			n += names(member)
		}
	}
	return n
}

// slow is what a Reader finds, with a whole document at hand.
func slow(r *Reader, doc any) int64 {
	for _, sum := range r.sums {
		total, found := int64(0), false
		for _, alternatives := range sum {
			for _, i := range alternatives {
				at := doc
				for _, token := range r.paths[i] {
					switch v := at.(type) {
					case map[string]any:
						at = v[token]
					case []any:
						n := -1
						if _, err := fmt.Sscanf(token, "%d", &n); err == nil && fmt.Sprint(n) == token && n < len(v) {
							at = v[n]
						} else {
							at = nil
						}
					default:
						at = nil
					}
				}
				if v, ok := at.(float64); ok && v >= 0 && v <= 1<<53 {
					total, found = total+int64(math.Ceil(v)), true
					break
				}
			}
		}
		if found {
			return total
		}
	}
	return -1
}

func BenchmarkMeter(b *testing.B) {
	r := reader(b)
	body := []byte(`{"choices":[{"index":0,"message":{"role":"assistant","content":"` + strings.Repeat("a few words ", 80) + `"}}],"usage":{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		m := r.Meter(JSON)
		_, _ = m.Write(body)
		if n, ok := m.Total(); !ok || n != 12 {
			b.Fatal(n)
		}
	}
}

func TestMostIsTheLargestOfAll(t *testing.T) {
	r, err := NewReader(Sum{{"/max_tokens", "/options/n"}, {"/list/-/n"}})
	if err != nil {
		t.Fatal(err)
	}
	r.FoldCase()
	for body, want := range map[string]int64{
		`{"max_tokens":1,"options":{"n":9}}`:           9,
		`{"MAX_tokens":9,"max_tokens":1}`:              9,
		`{"max_tokens":9}{"max_tokens":1}`:             9,
		`{"list":[{"n":1},{"n":9},{"n":2}]}`:           9,
		`{"max_tokens":null,"options":{"n":9}}`:        9,
		`{"max_tokens":"9"}`:                           -1,
		`{"max_tokens":"","options":{"n":9}}`:          -1,
		`{"options":{"n":9},"max_tokens":true}`:        -1,
		`{"other":"9","options":{"m":"9"}}`:            0,
		`{"messages":[{"max_tokens":"9"}],"x":["9"] }`: 0,
	} {
		for _, step := range []int{1, 3, 1 << 20} {
			m := r.Meter(JSON)
			for rest := body; rest != ""; rest = rest[min(step, len(rest)):] {
				_, _ = m.Write([]byte(rest[:min(step, len(rest))]))
			}
			got, certain := m.Most()
			if !certain {
				got = -1
			}
			if got != want {
				t.Errorf("%s in pieces of %d: %d, want %d", body, step, got, want)
			}
		}
	}
}

func TestTextOfModelsIsMeasured(t *testing.T) {
	for body, want := range map[string]int64{
		`{"choices":[{"delta":{"content":"12345"}}]}`:                                        5,
		`{"type":"content_block_delta","delta":{"type":"text_delta","text":"12\n45"}}`:       5,
		`{"content":["123","45"]}`:                                                           3,
		`{"delta":"12345","id":"content","model":"text"}`:                                    5,
		`{"x":"text","y":"12345"}`:                                                           0,
		`{"delta":{"reasoning_content":"12345","reasoning_contents":"1"}}`:                   5,
		`{"usage":{"content":"12345"}}`:                                                      5,
		`{"content":"` + strings.Repeat("x", 100_000) + `","text":"` + "\\\"" + `","a":"b"}`: 100_001,
	} {
		for _, step := range []int{1, 3, 1 << 20} {
			m := reader(t).Meter(Events)
			for rest := "data: " + body + "\n\n"; rest != ""; rest = rest[min(step, len(rest)):] {
				_, _ = m.Write([]byte(rest[:min(step, len(rest))]))
			}
			if got := m.Said(); got != want {
				t.Errorf("%.80s in pieces of %d: %d, want %d", body, step, got, want)
			}
		}
	}
}
