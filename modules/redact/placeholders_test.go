package redact

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

const hides = "requests {\ndetect email api_key placeholder\n}"

// prompt sends a prompt and returns the response.
func prompt(t *testing.T, s *site, body string) (*http.Response, string) {
	t.Helper()
	resp, err := s.Client().Post(s.URL, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp, string(text)
}

// TestPlaceholdersComeBack: the upstream sees placeholders, the client what it
// has sent, in documents, streams and arguments, however a stream is split.
func TestPlaceholdersComeBack(t *testing.T) {
	const mail = "ann@example.com"
	var seen string
	echo := func(answer func(w http.ResponseWriter, name string)) caddyhttp.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) error {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			seen = string(b)
			start := strings.IndexByte(seen, '<')
			if start < 0 {
				return fmt.Errorf("no placeholder in %s", seen)
			}
			answer(w, seen[start:start+strings.IndexByte(seen[start:], '>')+1])
			return nil
		}
	}
	document := func(w http.ResponseWriter, name string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"choices":[{"message":{"content":"to %s, %s","tool_calls":[{"function":{"arguments":"{\"to\":\"%s\"}"}}]}}],"n":1.0}`, name, name, name)
	}
	_, got := prompt(t, serve(t, provision(t, hides), echo(document)), `{"messages":[{"content":"write to `+mail+`"}]}`)
	if strings.Contains(seen, mail) || !strings.Contains(seen, "<EMAIL_1_") {
		t.Errorf("the model has seen %s", seen)
	}
	if want := `{"choices":[{"message":{"content":"to ` + mail + `, ` + mail + `","tool_calls":[{"function":{"arguments":"{\"to\":\"` + mail + `\"}"}}]}}],"n":1.0}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}

	for step := 1; step < 20; step++ {
		stream := func(member string) func(w http.ResponseWriter, name string) {
			return func(w http.ResponseWriter, name string) {
				w.Header().Set("Content-Type", "text/event-stream")
				for text := "to " + name + " <b>, <EMAIL_1_AAAAAA> and so on"; text != ""; text = text[min(step, len(text)):] {
					piece, _ := json.Marshal(text[:min(step, len(text))])
					fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{%q:%s}}]}\n\n", member, piece)
				}
				fmt.Fprint(w, "data: [DONE]\n\n")
			}
		}
		for _, member := range []string{"content", "arguments"} {
			_, got := prompt(t, serve(t, provision(t, hides), echo(stream(member))), `{"stream":true,"messages":[{"content":"`+mail+`"}]}`)
			var text strings.Builder
			for lines := bufio.NewScanner(strings.NewReader(got)); lines.Scan(); {
				var event struct {
					Choices []struct {
						Delta struct{ Content, Arguments string }
					}
				}
				if data, ok := strings.CutPrefix(lines.Text(), "data: {"); ok && json.Unmarshal([]byte("{"+data), &event) == nil {
					text.WriteString(event.Choices[0].Delta.Content + event.Choices[0].Delta.Arguments)
				}
			}
			if want := "to " + mail + " <b>, <EMAIL_1_AAAAAA> and so on"; text.String() != want {
				t.Errorf("%s in pieces of %d: %q", member, step, text.String())
			}
			if !strings.HasSuffix(got, "data: [DONE]\n\n") {
				t.Errorf("no end: %q", got)
			}
		}
	}
}

// TestArgumentsStayJSON: what comes back into arguments that come in pieces is
// written as in a string of JSON.
func TestArgumentsStayJSON(t *testing.T) {
	h := provision(t, hides)
	key := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END EC PRIVATE KEY-----"
	s := serve(t, h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		b, _ := io.ReadAll(r.Body)
		name := string(b[strings.IndexByte(string(b), '<') : strings.IndexByte(string(b), '>')+1])
		w.Header().Set("Content-Type", "text/event-stream")
		for _, piece := range []string{`{"key":"`, name[:5], name[5:], `"}`} {
			text, _ := json.Marshal(piece)
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":%s}}]}}]}\n\n", text)
		}
		return nil
	}))
	body, _ := json.Marshal(map[string]string{"content": key})
	_, got := prompt(t, s, string(body))
	var arguments strings.Builder
	for lines := bufio.NewScanner(strings.NewReader(got)); lines.Scan(); {
		var event struct {
			Choices []struct {
				Delta struct {
					ToolCalls []struct{ Function struct{ Arguments string } } `json:"tool_calls"`
				}
			}
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &event); err != nil {
				t.Fatal(err)
			}
			arguments.WriteString(event.Choices[0].Delta.ToolCalls[0].Function.Arguments)
		}
	}
	var call struct{ Key string }
	if err := json.Unmarshal([]byte(arguments.String()), &call); err != nil || call.Key != key {
		t.Errorf("%q: %v", arguments.String(), err)
	}
}

// TestPlaceholdersFailClosed: a response that cannot be read does not pass with
// placeholders in it, and another exchange learns nothing.
func TestPlaceholdersFailClosed(t *testing.T) {
	s := serve(t, provision(t, hides), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/html")
		_, err := io.WriteString(w, "<p>hello")
		return err
	}))
	if resp, got := prompt(t, s, `{"content":"ann@example.com"}`); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	if resp, got := prompt(t, s, `{"content":"nobody"}`); resp.StatusCode != http.StatusOK || got != "<p>hello" {
		t.Errorf("nothing was hidden, and the response is %d %s", resp.StatusCode, got)
	}

	var first string
	s = serve(t, provision(t, hides), caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		b, _ := io.ReadAll(r.Body)
		if first == "" {
			first = string(b)
		}
		w.Header().Set("Content-Type", "application/json")
		_, err := io.WriteString(w, first)
		return err
	}))
	if _, got := prompt(t, s, `{"content":"ann@example.com"}`); got != `{"content":"ann@example.com"}` {
		t.Errorf("it came back as %s", got)
	}
	if _, got := prompt(t, s, `{"content":"eve@example.com"}`); strings.Contains(got, "ann") || got != first {
		t.Errorf("another exchange has got %s", got)
	}
}

func TestPlaceholderIsForRequests(t *testing.T) {
	for _, block := range []string{
		"detect email placeholder", "placeholder name", "except role clerk {\nplaceholder name\n}", "only role clerk {\ndetect email placeholder\n}",
	} {
		if _, err := parse("redact {\n" + block + "\n}"); err == nil || !strings.Contains(err.Error(), "requests { detect email placeholder }") {
			t.Errorf("%s: %v", block, err)
		}
		h := &Handler{Rules: []Rule{{Action: "placeholder", Selectors: []string{"name"}}}}
		if err := h.Validate(); err == nil {
			t.Error("in JSON it is accepted")
		}
	}
}

// BenchmarkRestore is the cost of an event that has no placeholder in it.
func BenchmarkRestore(b *testing.B) {
	h := provision(b, hides)
	event := []byte("data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n")
	s := newEventStream(io.Discard, h.restoring.strict.program.NewRewriter(nil), h, redaction.Caller{Vault: redaction.NewVault()})
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.write(event); err != nil {
			b.Fatal(err)
		}
	}
}
