package tokenbudget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/budget"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// newContext is that of a configuration whose storage is in dir.
func newContext(t testing.TB, dir string) caddy.Context {
	t.Helper()
	root, err := json.Marshal(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		StorageRaw: json.RawMessage(`{"module":"file_system","root":` + string(root) + `}`),
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// zoned returns a handler of options, in a zone of its own.
func zoned(t testing.TB, dir, options string) *Handler {
	t.Helper()
	h := new(Handler)
	zone := strings.Map(func(c rune) rune {
		if zoneName(string(c)) {
			return c
		}
		return '-'
	}, t.Name())
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("token_budget {\n" + options + "\nzone " + zone[max(0, len(zone)-60):] + "\n}")); err != nil {
		t.Fatal(err)
	}
	if err := h.provision(newContext(t, dir)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Cleanup() })
	return h
}

// ask sends a request of a caller of a plan through the handler.
func ask(h *Handler, caller, plan, body string, next caddyhttp.HandlerFunc) (*httptest.ResponseRecorder, error) {
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	return send(h, r, caller, plan, next)
}

func send(h *Handler, r *http.Request, caller, plan string, next caddyhttp.HandlerFunc) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	if caller != "" {
		reqctx.Identify(r, &principal.Principal{ID: caller, Issuer: "https://id.test", Plan: plan})
	}
	err := h.ServeHTTP(w, r, next)
	return w, err
}

// model answers as OpenAI does, with so many tokens.
func model(tokens int) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, err := fmt.Fprintf(w, `{"choices":[{"message":{"content":"hello"}}],"usage":{"total_tokens":%d}}`, tokens)
		return err
	}
}

var annsKey = (&principal.Principal{ID: "ann", Issuer: "https://id.test"}).Caller()

const chat = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`

func TestCallersAreRejectedWhenTheirBudgetIsUsedUp(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 250 per day")
	for i, want := range []int{200, 200, 200, 429} {
		w, err := ask(h, "ann", "", chat, model(100))
		if err != nil || w.Code != want {
			t.Fatalf("request %d: %d %v", i, w.Code, err)
		}
		if want == 200 {
			continue
		}
		if wait, _ := strconv.Atoi(w.Header().Get("Retry-After")); wait < 1 || wait > 24*3600 {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
		if !strings.Contains(w.Body.String(), `"code":"token_budget_exceeded"`) || !strings.Contains(w.Body.String(), "250 per day") {
			t.Error(w.Body)
		}
		if got := w.Header().Get("RateLimit"); !strings.HasPrefix(got, `"day";r=0;t=`) {
			t.Error(got)
		}
		if got := w.Header().Get("RateLimit-Policy"); got != `"day";q=250;w=86400` {
			t.Error(got)
		}
	}
	if w, _ := ask(h, "bob", "", chat, model(100)); w.Code != 200 {
		t.Error("bob pays for ann")
	}
	if w, _ := ask(h, "", "", chat, model(100)); w.Code != 200 {
		t.Error("anonymous callers pay for ann")
	}
	// What costs nothing is not rejected: the list of models.
	if w, _ := send(h, httptest.NewRequest(http.MethodGet, "/v1/models", nil), "ann", "", model(0)); w.Code != 200 {
		t.Errorf("GET: %d", w.Code)
	}
}

func TestPlansHaveTheirOwnLimits(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 100 per day\nplan gold {\nlimit 1k per day\n}")
	count := func(caller, plan string) (n int) {
		for range 50 {
			if w, _ := ask(h, caller, plan, chat, model(100)); w.Code == 200 {
				n++
			}
		}
		return n
	}
	if n := count("ann", "gold"); n != 10 {
		t.Errorf("gold: %d", n)
	}
	for _, plan := range []string{"", "silver", "Gold", "gold,x"} {
		if n := count("plan "+plan, plan); n != 1 {
			t.Errorf("plan %q: %d", plan, n)
		}
	}
}

func TestParallelRequestsOvershootByOneResponse(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1000 per day")
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 40 {
		wg.Go(func() {
			for range 10 {
				w, _ := ask(h, "ann", "", chat, model(90))
				mu.Lock()
				codes[w.Code]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if codes[200] > 12 || codes[200] < 11 || codes[200]+codes[429] != 400 {
		t.Errorf("%v, with 90 tokens each of 1000", codes)
	}
}

func TestWhatIsReservedIsTriedAgainSoon(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1000 per day")
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = ask(h, "ann", "", `{"max_tokens":900,"n":1}`, func(w http.ResponseWriter, r *http.Request) error {
			close(inside)
			<-leave
			return model(10)(w, r)
		})
	}()
	<-inside
	w, _ := ask(h, "ann", "", `{"max_tokens":200}`, model(1))
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "token_budget_reserved") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w, _ := ask(h, "ann", "", `{"max_tokens":50}`, model(1)); w.Code != 200 {
		t.Errorf("there is room for it: %d %s", w.Code, w.Body)
	}
	if w, _ := ask(h, "ann", "", `{"max_tokens":50,"n":4}`, model(1)); w.Code != 429 {
		t.Errorf("four responses are not one: %d", w.Code)
	}
	close(leave)
	<-done
	if w, _ := ask(h, "ann", "", `{"max_tokens":900}`, model(1)); w.Code != 200 {
		t.Errorf("all of it is free again: %d", w.Code)
	}
}

func TestResponsesAreChargedByWhatTheySay(t *testing.T) {
	answer := func(status int, fields http.Header, body string) caddyhttp.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) error {
			if got := r.Header["Accept-Encoding"]; len(got) != 1 || got[0] != "identity" {
				t.Errorf("Accept-Encoding %q", got)
			}
			for name, values := range fields {
				w.Header()[name] = values
			}
			w.WriteHeader(status)
			_, err := io.Copy(w, strings.NewReader(body))
			return err
		}
	}
	typed := func(media string) http.Header { return http.Header{"Content-Type": {media}} }
	const events = "text/event-stream; charset=utf-8"
	forty := strings.Repeat("x", 40) // ten tokens of prompt
	for name, c := range map[string]struct {
		next caddyhttp.HandlerFunc
		want int64
	}{
		"OpenAI":           {answer(200, typed("application/json"), `{"usage":{"prompt_tokens":1,"total_tokens":33}}`), 33},
		"OpenAI stream":    {answer(200, typed(events), "data: {\"choices\":[{}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"total_tokens\":33}}\n\ndata: [DONE]\n\n"), 33},
		"Responses":        {answer(200, typed(events), "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"total_tokens\":33}}}\n\n"), 33},
		"Anthropic":        {answer(200, typed("application/json"), `{"usage":{"input_tokens":11,"output_tokens":12,"cache_read_input_tokens":10}}`), 33},
		"Anthropic stream": {answer(200, typed(events), "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":11,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"usage\":{\"output_tokens\":22}}\n\n"), 33},
		"Gemini":           {answer(200, typed("application/json; charset=UTF-8"), `{"usageMetadata":{"totalTokenCount":33}}`), 33},
		"Ollama":           {answer(200, typed("application/x-ndjson"), "{\"done\":false}\n{\"done\":true,\"prompt_eval_count\":11,\"eval_count\":22}\n"), 33},
		"no label":         {answer(200, nil, `{"usage":{"total_tokens":33}}`), 33},
		"an error":         {answer(500, typed("application/json"), `{"error":"x"}`), 0},
		"a costly error":   {answer(400, typed("application/json"), `{"usage":{"total_tokens":33}}`), 33},
		"no usage":         {answer(200, typed("application/json"), `{"choices":[{"text":"`+forty+`"}]}`), 10 + 17},
		"stream, no usage": {answer(200, typed(events), "data: {\"choices\":[{}]}\n\ndata: {\"choices\":[{}]}\n\ndata: [DONE]\n\n"), 10 + 3},
		"compressed":       {answer(200, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, "\x1f\x8b"), 10 + 500},
		"speech":           {answer(200, typed("audio/mpeg"), "ID3"), 10 + 500},
		"a failure":        {func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(502, errors.New("away")) }, 0},
		"a lie":            {answer(200, typed("application/json"), `{"usage":{"total_tokens":-33}}`), 10 + 8},
	} {
		t.Run(name, func(t *testing.T) {
			h := zoned(t, t.TempDir(), "limit 1000 per day\nreserve 500")
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(forty))
			r.Header.Set("Accept-Encoding", "gzip")
			_, _ = send(h, r, "ann", "", c.next)
			if got := h.zone.ledger.Used(annsKey, budget.Day, time.Now()); got != c.want {
				t.Errorf("charged %d, want %d", got, c.want)
			}
			if got := r.Header["Accept-Encoding"]; len(got) != 1 || got[0] != "gzip" {
				t.Errorf("Accept-Encoding %q afterwards", got)
			}
		})
	}
}

func TestWhoHangsUpPays(t *testing.T) {
	for name, begin := range map[string]bool{"before the response": false, "within the response": true} {
		t.Run(name, func(t *testing.T) {
			h := zoned(t, t.TempDir(), "limit 1000 per day\nreserve 500")
			ctx, cancel := context.WithCancel(t.Context())
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(chat)).WithContext(ctx)
			defer func() {
				if recover() == nil {
					t.Error("nobody panicked")
				}
				if used := h.zone.ledger.Used(annsKey, budget.Day, time.Now()); used < 500 {
					t.Errorf("charged %d", used)
				}
			}()
			_, _ = send(h, r, "ann", "", func(w http.ResponseWriter, _ *http.Request) error {
				if begin {
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, `{"choices":[`)
				}
				cancel()
				panic(http.ErrAbortHandler)
			})
		})
	}
}

func TestUpgradesAreRejected(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1000 per day")
	upgrade := httptest.NewRequest(http.MethodGet, "/v1/realtime", nil)
	upgrade.Header.Set("Connection", "Upgrade")
	upgrade.Header.Set("Upgrade", "websocket")
	connect := httptest.NewRequest(http.MethodConnect, "/v1/realtime", nil)
	for _, r := range []*http.Request{upgrade, connect} {
		w, _ := send(h, r, "ann", "", model(1))
		if w.Code != 403 || !strings.Contains(w.Body.String(), "upgrade_not_metered") {
			t.Errorf("%s: %d %s", r.Method, w.Code, w.Body)
		}
	}
}

func TestRequestsReachTheUpstreamWhole(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1000M per day")
	for _, n := range []int{1, maxContent - 1, maxContent, maxContent + 1, 3 * maxContent} {
		body := strings.Repeat("x", n)
		w, err := ask(h, "ann", "", body, func(w http.ResponseWriter, r *http.Request) error {
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != body {
				t.Errorf("%d bytes became %d, %v", n, len(got), err)
			}
			return model(1)(w, r)
		})
		if err != nil || w.Code != 200 {
			t.Error(w.Code, err)
		}
	}
	broken := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("{"), failing{}))
	if _, err := send(h, broken, "ann", "", model(1)); err == nil {
		t.Error("a broken request was sent on")
	}
	big := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(chat))
	big.Body = http.MaxBytesReader(nil, big.Body, 3)
	var status caddyhttp.HandlerError
	if _, err := send(h, big, "ann", "", model(1)); !errors.As(err, &status) || status.StatusCode != 413 {
		t.Errorf("too large: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestReloadAndRestartForgetNothing(t *testing.T) {
	dir := t.TempDir()
	first := zoned(t, dir, "limit 100 per month")
	if w, _ := ask(first, "ann", "", chat, model(100)); w.Code != 200 {
		t.Fatal(w.Code)
	}
	// A reload: the new configuration is there before the old one goes.
	second := zoned(t, dir, "limit 100 per month\nreserve 7")
	_ = first.Cleanup()
	if w, _ := ask(second, "ann", "", chat, model(100)); w.Code != 429 {
		t.Errorf("after a reload: %d", w.Code)
	}
	// A restart: nobody has the zone any more.
	_ = second.Cleanup()
	third := zoned(t, dir, "limit 100 per month")
	if w, _ := ask(third, "ann", "", chat, model(100)); w.Code != 429 {
		t.Errorf("after a restart: %d", w.Code)
	}
	_ = third.Cleanup()

	ctx := newContext(t, dir)
	if err := ctx.Storage().Store(ctx, third.zone.key(), []byte("{garbled")); err != nil {
		t.Fatal(err)
	}
	h := &Handler{Limits: []Limit{{100, "day"}}, Zone: third.Zone}
	if err := h.provision(ctx); err == nil || !strings.Contains(err.Error(), third.zone.key()) {
		t.Errorf("garbled state: %v", err)
	}
	_ = h.Cleanup()
}

func TestPlaceholderHasTheCharge(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1000 per day")
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(chat)), caddy.NewReplacer(), nil, &caddyhttp.Server{})
	if err := h.ServeHTTP(httptest.NewRecorder(), r, model(33)); err != nil {
		t.Fatal(err)
	}
	if got := reqctx.Replacer(r).ReplaceAll("{http.moat.tokens}", "unknown"); got != "33" {
		t.Error(got)
	}
}

func TestOptionsThatAreWrong(t *testing.T) {
	for block, want := range map[string]string{
		"":                                   "no limit for callers without a plan",
		"limit":                              "limit takes a number of tokens and a period",
		"limit 10":                           "limit takes",
		"limit 10 day":                       "limit takes",
		"limit 10 per week":                  "write minute, hour, day or month",
		"limit 0 per day":                    "write a number of tokens",
		"limit -1 per day":                   "write a number of tokens",
		"limit +1 per day":                   "write a number of tokens",
		"limit 1e3 per day":                  "write a number of tokens",
		"limit k per day":                    "write a number of tokens",
		"limit 99999999999M per day":         "write a number of tokens",
		"limit 1 per day\nlimit 2 per day":   "already specified",
		"limit 1 per day {\nx\n}":            "a block is not expected",
		"limit 1 per day\nplan":              "plan takes",
		"limit 1 per day\nplan gold":         "has no limit",
		"limit 1 per day\nplan g {\nby x\n}": "it has limit",
		"limit 1 per day\nplan g {\nlimit 1 per day\n}\nplan g {\nlimit 1 per day\n}": "already specified",
		"plan g {\nlimit 1 per day\n}":          "no limit for callers without a plan",
		"limit 1 per day\nusage":                "usage takes",
		"limit 1 per day\nusage total":          "not a JSON Pointer",
		"limit 1 per day\nusage /a~b":           "~ is written ~0",
		"limit 1 per day\nreserve 0":            "write a number of tokens",
		"limit 1 per day\nreserve 1\nreserve 2": "already specified",
		"limit 1 per day\nzone a/b":             "not a name",
		"limit 1 per day\nmax_callers 0":        "from 1 to 10000000",
		"limit 1 per day\nlimt 2 per day":       "limit",
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser("token_budget {\n" + block + "\n}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", block, err, want)
		}
	}
}
