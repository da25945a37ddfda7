package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// chat makes an event of a chat completion.
func chat(index int, text string) string {
	quoted, _ := json.Marshal(text)
	return fmt.Sprintf("data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":%s},\"index\":%d}]}\n\n", quoted, index)
}

// said reads the texts of a stream of such events, by choice, and how many
// events it has.
func said(t *testing.T, stream string) (texts map[int]string, events int) {
	t.Helper()
	texts = map[int]string{}
	for _, event := range strings.Split(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		data, _ := strings.CutPrefix(event, "data: ")
		events++
		if data == "[DONE]" {
			continue
		}
		var doc struct {
			Choices []struct {
				Delta struct{ Content string }
				Index int
			}
		}
		if err := json.Unmarshal([]byte(data), &doc); err != nil {
			t.Fatalf("%q: %v", event, err)
		}
		for _, c := range doc.Choices {
			texts[c.Index] += c.Delta.Content
		}
	}
	return texts, events
}

// redactStream is what becomes of a stream that is written in one piece.
func redactStream(t *testing.T, h *Handler, in string) string {
	t.Helper()
	var out bytes.Buffer
	s := newEventStream(&out, h.responses.strict.program.NewRewriter(nil), h, redaction.Caller{ID: "alice"})
	err := s.write([]byte(in))
	if err == nil {
		err = s.end()
	}
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	return out.String()
}

// whole is what detect makes of a text that comes in one string.
func whole(t *testing.T, h *Handler, text string) string {
	t.Helper()
	quoted, _ := json.Marshal(text)
	var out bytes.Buffer
	w := h.responses.strict.program.NewRewriter(&out)
	w.SetCaller(redaction.Caller{ID: "alice"})
	if _, err := w.Write(quoted); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var s string
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

var joinedTexts = []string{
	"call 13812345678 now", "call 138 1234 5678 or 138-1234-5678.", "+86 13812345678", "write to alice.b+c@sub.example.com, please", "alice@example.com",
	"the key is sk-" + strings.Repeat("a1B2", 8) + "!", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefg is a token", "id 11010519491231002X", "card 4111 1111 1111 1111 ok",
	"-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY----- end", "nothing here, 12 apples for 3 people", "\u4f60\u597d 13812345678 \u518d\u89c1", "a \"quote\" \\ 13812345678\n",
}

func TestTextIsFoundWhereverItIsSplit(t *testing.T) {
	for _, options := range []string{`detect pan id_card mobile email jwt api_key replace "[x]"`, "detect mobile email mask last4", "detect mobile api_key remove", "detect email hash\nhash_key 0123456789abcdef0123456789abcdef"} {
		h := provision(t, options)
		for _, text := range joinedTexts {
			want := whole(t, h, text)
			if strings.Contains(options, "[x]") && !strings.HasPrefix(text, "nothing") && want == text {
				t.Fatalf("%q has nothing to be found", text)
			}
			check := func(parts ...string) {
				t.Helper()
				in := ""
				for _, p := range parts {
					in += chat(0, p)
				}
				for _, end := range []string{"", "data: [DONE]\n\n"} {
					out := redactStream(t, h, in+end)
					got, n := said(t, out)
					if got[0] != want || n != strings.Count(in+end, "\n\n") {
						t.Fatalf("%q: %q in %d events, want %q", parts, got[0], n, want)
					}
					if want == text && out != in+end {
						t.Fatalf("%q: nothing was found, but %q became %q", parts, in+end, out)
					}
				}
			}
			runes := []rune(text)
			var single []string
			for at := range len(runes) + 1 {
				check(string(runes[:at]), string(runes[at:]))
				for to := at; to < len(runes); to += 5 {
					check(string(runes[:at]), string(runes[at:to]), "", string(runes[to:]))
				}
				if at < len(runes) {
					single = append(single, string(runes[at]))
				}
			}
			check(single...)
		}
	}
}

func TestTextsOfSeveralChoicesAreToldApart(t *testing.T) {
	h := provision(t, `detect mobile email replace "[x]"`)
	in := chat(0, "call 138") + chat(1, "write a@ex") + chat(0, "1234") + chat(2, "12") + chat(1, "ample.com now") + chat(0, "5678") + chat(2, " of them") + "data: [DONE]\n\n"
	got, n := said(t, redactStream(t, h, in))
	if n != 8 || got[0] != "call [x]" || got[1] != "write [x] now" || got[2] != "12 of them" {
		t.Errorf("%d events: %v", n, got)
	}
}

func TestShapesOfStreams(t *testing.T) {
	h := provision(t, `detect mobile replace "[x]"`)
	for name, format := range map[string]string{
		"chat":        `{"choices":[{"index":0,"delta":{"role":"assistant","content":"%s"}}]}`,
		"tools":       `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"%s"}}]}}]}`,
		"completions": `{"choices":[{"index":0,"text":"%s","logprobs":null}]}`,
		"messages":    `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}`,
		"tool input":  `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"%s"}}`,
		"responses":   `{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"%s"}`,
		"candidates":  `{"candidates":[{"content":{"parts":[{"text":"%s"}],"role":"model"}}]}`,
		"message":     `{"message":{"role":"assistant","content":"%s"},"done":false}`,
		"generate":    `{"token":{"id":1,"text":"%s","special":false}}`,
	} {
		in := ""
		for _, part := range []string{"a 138", "1234", "56\\u00378"} {
			in += "event: x\r\ndata: " + fmt.Sprintf(format, part) + "\r\n\r\n"
		}
		out := redactStream(t, h, in)
		want := strings.NewReplacer("138", "[x]", "1234", "", "56\\u00378", "").Replace(in)
		if out != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, out, want)
		}
	}
	// The same text elsewhere is not part of a longer one.
	for _, event := range []string{`{"id":"138"}`, `{"user":{"text":"138"}}`, `["138"]`, `{"text":"138"}`} {
		in := "data: " + event + "\n\ndata: " + strings.Replace(event, "138", "12345678", 1) + "\n\n"
		if out := redactStream(t, h, in); out != in {
			t.Errorf("%q became %q", in, out)
		}
	}
}

// TestEventsThatCanBeginNothingLeaveAtOnce: the upstream sends an event when
// the client has the one before.
func TestEventsThatCanBeginNothingLeaveAtOnce(t *testing.T) {
	list := []string{chat(0, "Hello"), chat(0, " there, "), chat(1, "x"), ": ping\n\n", "event: ping\ndata: {\"type\":\"ping\"}\n\n", chat(0, "12 "), chat(0, "apples."), "data: [DONE]\n\n"}
	want := slices.Clone(list)
	want[5], want[6] = "", list[5]+list[6] // digits may be a number's
	trickle(t, "detect mobile mask last4", "text/event-stream", list, want)
}

// What is held is bounded, and what leaves is in order whatever comes between.
func TestHeldEventsAreBounded(t *testing.T) {
	h := provision(t, `detect mobile replace "[x]"`)
	var out bytes.Buffer
	s := newEventStream(&out, h.responses.strict.program.NewRewriter(nil), h, redaction.Caller{})
	other := "data: {\"type\":\"ping\"}\n\n"
	in := chat(0, "138")
	if err := s.write([]byte(in)); err != nil || out.Len() > 0 {
		t.Fatalf("%q (%v)", out.String(), err)
	}
	for n := range maxHeld + 10 {
		if err := s.write([]byte(other)); err != nil {
			t.Fatal(err)
		}
		in += other
		if n < maxHeld-1 && out.Len() > 0 {
			t.Fatalf("after %d events: %q", n, out.String())
		}
	}
	if out.String() != in || len(s.joiner.queue) > 0 {
		t.Errorf("%d events are kept", len(s.joiner.queue))
	}
}

// TestSplittingNeverChangesWhatIsFound is the law, on texts of all sorts.
func TestSplittingNeverChangesWhatIsFound(t *testing.T) {
	h := provision(t, `detect pan id_card mobile email jwt api_key replace "[x]"`)
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		var parts []string
		for range 1 + r.IntN(6) {
			text := joinedTexts[r.IntN(len(joinedTexts))]
			runes := []rune(text)
			from := r.IntN(len(runes))
			parts = append(parts, string(runes[from:from+r.IntN(len(runes)-from+1)]))
		}
		in := ""
		for _, p := range parts {
			in += chat(0, p)
		}
		got, _ := said(t, redactStream(t, h, in))
		if want := whole(t, h, strings.Join(parts, "")); got[0] != want {
			t.Fatalf("%q: %q, want %q", parts, got[0], want)
		}
	}
}

func TestTextsThatAreKeptAreBounded(t *testing.T) {
	h := provision(t, `detect mobile replace "[x]"`)
	var out bytes.Buffer
	s := newEventStream(&out, h.responses.strict.program.NewRewriter(nil), h, redaction.Caller{})
	in := ""
	for n := range 10 * maxHeld {
		event := fmt.Sprintf("data: {\"item_id\":\"%d\",\"delta\":\"word, \"}\n\n", n)
		in += event
		if err := s.write([]byte(event)); err != nil {
			t.Fatal(err)
		}
		if n := len(s.joiner.texts); n > maxHeld+1 {
			t.Fatalf("%d texts are kept", n)
		}
	}
	if out.String() != in {
		t.Errorf("%d of %d bytes", out.Len(), len(in))
	}
}

func TestCutStreamSendsNothingThatWasKept(t *testing.T) {
	h := provision(t, "detect mobile mask last4")
	s := serve(t, h, proxy(t, upstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		_, _ = io.WriteString(chunks{c}, chat(0, "hi. ")+chat(0, "1381234")+"data: {\"ssn\":}\n\n")
		_, _ = io.WriteString(c, "0\r\n\r\n")
	})))
	if a := s.get(); a.err == nil && a.status == 200 || strings.Contains(string(a.body), "1381234") {
		t.Errorf("%d %q (%v)", a.status, a.body, a.err)
	}
}
