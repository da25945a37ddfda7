package tokenbudget

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/budget"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// responds writes a body of a media type, and then does what end says.
func responds(media, body string, end func()) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", media)
		_, err := io.WriteString(w, body)
		end()
		return err
	}
}

func charged(h *Handler) int64 { return h.zone.ledger.Used(annsKey, budget.Day, time.Now()) }

// TestWhoHangsUpBeforeTheEndOfAStreamPaysForItsText holds that a client pays for
// the text it has read, where the stream says only at its end what that was.
func TestWhoHangsUpBeforeTheEndOfAStreamPaysForItsText(t *testing.T) {
	const text = "It is a truth universally acknowledged, that a single man in possession of a good fortune"
	for name, c := range map[string]struct {
		event string
		begin string
	}{
		"Anthropic": {
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + text + `"}}`,
			`{"type":"message_start","message":{"usage":{"input_tokens":11,"output_tokens":1}}}`,
		},
		"OpenAI":    {`{"id":"x","choices":[{"index":0,"delta":{"content":"` + text + `"}}]}`, `{"usage":null}`},
		"Responses": {`{"type":"response.output_text.delta","item_id":"msg","delta":"` + text + `"}`, `{"response":{"usage":null}}`},
		"tools":     {`{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"` + text + `"}}]}}]}`, `{"usage":{"total_tokens":0}}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := zoned(t, t.TempDir(), "limit 1M per day")
			ctx, hangUp := context.WithCancel(t.Context())
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(chat)).WithContext(ctx)
			body := "data: " + c.begin + "\n\n" + strings.Repeat("data: "+c.event+"\n\n", 100)
			_, _ = send(h, r, "ann", "", responds("text/event-stream", body, hangUp))
			if got, want := charged(h), int64(100*len(text)/bytesPerToken); got < want || got > want+200 {
				t.Errorf("charged %d for a text of about %d tokens", got, want)
			}
		})
	}
}

// TestRequestsCannotSayLessThanTheUpstreamReads holds that the largest of what a
// request says counts, since the upstream may look at any of it.
func TestRequestsCannotSayLessThanTheUpstreamReads(t *testing.T) {
	for _, body := range []string{
		`{"max_completion_tokens":1,"max_tokens":100000}`,
		`{"max_tokens":100000,"max_tokens":1}`,
		`{"max_tokens":1,"max_tokens":100000}`,
		`{"max_tokens":1,"Max_Tokens":100000}`,
		`{"max_tokens":100000}{"max_tokens":1}`,
		`{"max_tokens":1,"inferenceConfig":{"maxTokens":100000}}`,
		`{"options":{"num_predict":1},"OPTIONS":{"NUM_PREDICT":100000}}`,
		`{"max_tokens":1000,"n":1,"n":100}`,
	} {
		h := zoned(t, t.TempDir(), "limit 1M per day\nreserve 500")
		_, _ = ask(h, "ann", "", body, responds("audio/mpeg", "ID3", func() {}))
		if got := charged(h); got < 100_000 {
			t.Errorf("%s: charged %d", body, got)
		}
	}
	// What may be read as a number, or not, is nothing that a request says.
	for _, body := range []string{`{"max_tokens":1,"max_completion_tokens":"100000"}`, `{"max_tokens":1,"n":"9"}`, `{"max_tokens":1,"max_output_tokens":1e300}`} {
		h := zoned(t, t.TempDir(), "limit 600 per day\nreserve 500")
		_, _ = ask(h, "ann", "", body, func(w http.ResponseWriter, r *http.Request) error {
			if w, _ := ask(h, "ann", "", body, model(1)); w.Code != http.StatusTooManyRequests {
				t.Errorf("%s: a second request started beside it", body)
			}
			return nil
		})
	}
}

// TestWhatNobodyCanTellCostsNoLessByWhatIsSaid holds that a small max_tokens, at
// which the upstream need not look, makes nothing cheaper.
func TestWhatNobodyCanTellCostsNoLessByWhatIsSaid(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1M per day\nreserve 500")
	_, _ = ask(h, "ann", "", `{"max_tokens":1}`, responds("application/vnd.amazon.eventstream", "\x00\x00", func() {}))
	if got := charged(h); got < 500 {
		t.Errorf("an unreadable response: charged %d", got)
	}
	h = zoned(t, t.TempDir(), "limit 1M per day\nreserve 500")
	before := charged(h)
	ctx, hangUp := context.WithCancel(t.Context())
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"max_tokens":1}`)).WithContext(ctx)
	_, _ = send(h, r, "ann", "", func(http.ResponseWriter, *http.Request) error { hangUp(); return context.Canceled })
	if got := charged(h) - before; got < 500 {
		t.Errorf("who hangs up: charged %d", got)
	}
}

// TestWhoCostsMoreThanSaidIsNotBelieved holds that requests in parallel are let
// through by what the caller has cost, once that was more than a request said.
func TestWhoCostsMoreThanSaidIsNotBelieved(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 10k per day")
	const lie = `{"max_tokens":1}`
	_, _ = ask(h, "ann", "", lie, model(4000))
	_, _ = ask(h, "ann", "", lie, func(w http.ResponseWriter, r *http.Request) error {
		if w, _ := ask(h, "ann", "", lie, model(4000)); w.Code != http.StatusTooManyRequests {
			t.Error("a third request of 4000 tokens started beside the second, with 6000 left")
		}
		return model(4000)(w, r)
	})
}

// TestPlainTextOfAModelIsNoUsage holds that a model cannot be asked to write
// that its response has cost nothing.
func TestPlainTextOfAModelIsNoUsage(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1M per day")
	_, _ = ask(h, "ann", "", chat, responds("text/plain; charset=utf-8", `{"usage":{"total_tokens":0}}`+strings.Repeat(" word", 400), func() {}))
	if got := charged(h); got < 500 {
		t.Errorf("charged %d", got)
	}
}

// TestStreamsThatAreArraysSayWhatTheyCost holds that Gemini's streams without
// alt=sse are charged with what they say, thoughts included.
func TestStreamsThatAreArraysSayWhatTheyCost(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1M per day")
	_, _ = ask(h, "ann", "", chat, responds("application/json",
		"[{\"candidates\":[],\"usageMetadata\":{\"totalTokenCount\":40}}\n,\r\n{\"candidates\":[],\"usageMetadata\":{\"totalTokenCount\":9000}}\n]", func() {}))
	if got := charged(h); got != 9000 {
		t.Errorf("charged %d", got)
	}
}

// torn is a client whose connection is gone, which nobody has noticed yet.
type torn struct{ http.ResponseWriter }

func (torn) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestConnectionThatIsFoundTornIsLeft holds that a client which the server cannot
// see leaving, as it has sent more after its request, pays as others that leave.
func TestConnectionThatIsFoundTornIsLeft(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1M per day\nreserve 5000")
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(chat))
	w := torn{httptest.NewRecorder()}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	reqctx.Identify(r, &principal.Principal{ID: "ann", Issuer: "https://id.test"})
	_ = h.ServeHTTP(w, r, responds("application/json", `{"choices":[`, func() {}))
	if got := charged(h); got < 5000 {
		t.Errorf("charged %d", got)
	}
}

func TestUpgradeInASecondFieldIsRejected(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 1000 per day")
	r := httptest.NewRequest(http.MethodGet, "/v1/realtime", nil)
	r.Header["Upgrade"] = []string{"", "websocket"}
	if w, _ := send(h, r, "ann", "", model(1)); w.Code != http.StatusForbidden {
		t.Errorf("%d", w.Code)
	}
}

// TestAddressesOfOneNetworkShareABudget holds that an anonymous caller has no
// budget for each of the addresses that come with one connection.
func TestAddressesOfOneNetworkShareABudget(t *testing.T) {
	h := zoned(t, t.TempDir(), "limit 100 per day")
	from := func(address string) int {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(chat))
		r.RemoteAddr = address
		w, _ := send(h, r, "", "", model(100))
		return w.Code
	}
	for _, c := range []struct {
		address string
		want    int
	}{
		{"[2001:db8::1]:1", 200},
		{"[2001:db8::2]:1", 429},
		{"[2001:db8::ffff:0:1]:1", 429},
		{"[2001:db8:0:1::1]:1", 200},
		{"192.0.2.1:1", 200},
		{"192.0.2.2:1", 200},
		{"[::ffff:192.0.2.2]:1", 429},
	} {
		if got := from(c.address); got != c.want {
			t.Errorf("%s: %d, want %d", c.address, got, c.want)
		}
	}
}
