package data

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// model is an upstream whose responses cost 100 tokens each, and how many it
// has sent. A stream that is asked to wait goes on once wait is closed.
func model(t *testing.T) (addr string, sent *atomic.Int64, wait chan struct{}) {
	sent, wait = new(atomic.Int64), make(chan struct{})
	return harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding %q", got)
		}
		sent.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n")
		w.(http.Flusher).Flush()
		if strings.Contains(string(body), "wait") {
			<-wait
		}
		_, _ = io.WriteString(w, "data: {\"choices\":[],\"usage\":{\"total_tokens\":100}}\n\ndata: [DONE]\n\n")
	}), sent, wait
}

func TestTokenBudgetOfParallelStreams(t *testing.T) {
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		up, sent, _ := model(t)
		s := harness.StartOver(t, protocol, ":{$PORT} {\nencode\ntoken_budget {\nlimit 1000 per month\n}\nreverse_proxy "+up+"\n}\n")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 3 {
					a := s.Do("PORT", "POST", "/v1/chat/completions", `{"stream":true}`, "Content-Type: application/json")
					if a.StatusCode != 200 && a.StatusCode != 429 {
						t.Errorf("%d %s", a.StatusCode, a.Body)
					}
				}
			})
		}
		wg.Wait()
		for sent.Load() < 10 { // what was reserved by others is free now
			s.Do("PORT", "POST", "/", `{}`, "Content-Type: application/json").Want(t, 200)
		}
		s.Do("PORT", "POST", "/", `{}`, "Content-Type: application/json").Want(t, 429, "token_budget_exceeded")
		if n := sent.Load(); n > 10 {
			t.Errorf("%d responses of 100 tokens, of 1000", n)
		}
	})
}

// TestTokenBudgetHoldsNothingBack: the first event is there while the stream goes
// on, and a reload meanwhile forgets neither what was reserved nor what it costs.
func TestTokenBudgetHoldsNothingBack(t *testing.T) {
	up, _, wait := model(t)
	site := func(note string) string {
		return ":{$PORT} {\nheader X-Note " + note + "\ntoken_budget {\nlimit 100 per month\n}\nreverse_proxy " + up + "\n}\n"
	}
	s := harness.Start(t, site("first"))
	var once sync.Once
	defer once.Do(func() { close(wait) })
	resp, err := http.Post("http://"+s.Addr("PORT")+"/v1/chat/completions", "application/json", strings.NewReader(`{"wait":true,"max_tokens":90}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); err != nil || !strings.Contains(line, `"content":"a"`) {
		t.Fatalf("%q %v", line, err)
	}
	for i := range 3 {
		s.Do("PORT", "POST", "/", `{"max_tokens":50}`).Want(t, 429, "token_budget_reserved")
		if err := s.Reload(site(fmt.Sprint("n", i))); err != nil {
			t.Fatal(err)
		}
	}
	a := s.Do("PORT", "POST", "/", `{"max_tokens":50}`)
	if a.Want(t, 429, "token_budget_reserved"); a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	once.Do(func() { close(wait) })
	rest, err := io.ReadAll(body)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("%q %v", rest, err)
	}
	harness.Eventually(t, func() error {
		if a := s.Do("PORT", "POST", "/", `{"max_tokens":50}`); a.StatusCode != 429 || a.Code() != "token_budget_exceeded" {
			return fmt.Errorf("%d %s", a.StatusCode, a.Body)
		}
		return nil
	})
	if n, err := strconv.Atoi(s.Do("PORT", "POST", "/", `{}`).Header.Get("Retry-After")); err != nil || n < 1 {
		t.Error(n, err)
	}
}
