package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// parrot is a model that streams the prompt back, a few bytes an event, and then
// what it has cost: 40 tokens. A prompt with "break" breaks off in the middle of
// an event.
func parrot(t *testing.T) (addr string, requests *atomic.Int64, saw *atomic.Value) {
	requests, saw = new(atomic.Int64), new(atomic.Value)
	return harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		var chat struct{ Messages []struct{ Content string } }
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &chat); err != nil || len(chat.Messages) == 0 {
			http.Error(w, "no chat", http.StatusBadRequest)
			return
		}
		text := chat.Messages[0].Content
		saw.Store(text)
		w.Header().Set("Content-Type", "text/event-stream")
		for rest := text; rest != ""; rest = rest[min(3, len(rest)):] {
			piece, _ := json.Marshal(rest[:min(3, len(rest))])
			fmt.Fprintf(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\n", piece)
			w.(http.Flusher).Flush()
		}
		if strings.Contains(text, "break") {
			fmt.Fprint(w, "data: {\"choices\":[{\"delta\":\n\n")
			return
		}
		fmt.Fprint(w, "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":20,\"total_tokens\":40}}\n\ndata: [DONE]\n\n")
	}), requests, saw
}

// TestOpenAIClient has OpenAI's own client behind placeholders and a budget.
func TestOpenAIClient(t *testing.T) {
	dir := npm(t)
	up, requests, saw := parrot(t)
	s := harness.Start(t, `:{$PORT} {
	audit trail
	token_budget {
		limit 100 per day
	}
	redact {
		requests {
			detect email api_key placeholder
		}
	}
	reverse_proxy `+up+`
}
`)
	const key = "sk-proj-not-a-key-of-anybody"
	ctx, cancel := context.WithTimeout(context.Background(), 4*harness.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "llm.mjs"), "http://"+s.Addr("PORT")+"/v1", key,
		"write to ann@example.com <now>", "break it", "hello", "hello again", "and again")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type said struct {
		Text   string
		Events int
		Tokens int
		Error  *struct {
			Status int
			Code   string
			Name   string
		}
	}
	var all []said
	for line := range bytes.Lines(out) {
		var one said
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, one)
	}
	if len(all) != 5 {
		t.Fatalf("%s", out)
	}
	if first := all[0]; first.Error != nil || first.Text != "write to ann@example.com <now>" || first.Tokens != 40 || first.Events < 8 {
		t.Errorf("%s", out)
	}
	if cut := all[1]; cut.Error == nil || !strings.HasPrefix(cut.Text, "break") && cut.Text != "" {
		t.Errorf("a stream that was cut is taken for a whole one: %s", out)
	}
	// The cut stream costs its prompt and its events, so that one more begins.
	if all[2].Error != nil || all[2].Text != "hello" {
		t.Errorf("%s", out)
	}
	last := all[4]
	if last.Error == nil || last.Error.Status != 429 || last.Error.Code != "token_budget_exceeded" && last.Error.Name != "RateLimitError" {
		t.Errorf("%s", out)
	}
	refused := 0
	for _, one := range all {
		if one.Error != nil && one.Error.Status == 429 {
			refused++
		}
	}
	// A client that is told to wait until tomorrow does not try again at once.
	if n := requests.Load(); int(n) != 5-refused {
		t.Errorf("%d requests came to the model, with %d of 5 rejected", n, refused)
	}
	if text, _ := saw.Load().(string); strings.Contains(text, "@") {
		t.Errorf("the model has seen %s", text)
	}
	if trail := s.TrailText("trail"); strings.Contains(trail, "ann@example.com") || strings.Count(trail, `"status":429`) != refused {
		t.Errorf("%d were rejected: %s", refused, trail)
	}
}
