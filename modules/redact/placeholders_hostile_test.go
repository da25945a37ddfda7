package redact

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// TestPlaceholdersKeepTheRulesForCalls holds that a caller cannot turn the rules
// for JSON in text blocks off by something in the request that is hidden.
func TestPlaceholdersKeepTheRulesForCalls(t *testing.T) {
	h := provision(t, "remove password\n"+hides)
	for _, sent := range []string{"nobody", "ann@example.com"} {
		r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"q":"`+sent+`"}}}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		reqctx.SetCarriesCalls(r)
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			b, _ := io.ReadAll(r.Body)
			_, q, _ := strings.Cut(string(b), `"q":"`)
			q, _, _ = strings.Cut(q, `"`)
			w.Header().Set("Content-Type", "application/json")
			_, err := io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"{\"password\":\"hunter2\",\"to\":\"`+q+`\"}"}]}}`)
			return err
		}))
		if got := w.Body.String(); err != nil || strings.Contains(got, "hunter2") || !strings.Contains(got, sent) {
			t.Errorf("%s: %v %s", sent, err, got)
		}
	}
}

// TestRestoredResponsesAreForNoSharedCache holds that what came back in a response is
// for its caller alone, whatever the upstream says of caches.
func TestRestoredResponsesAreForNoSharedCache(t *testing.T) {
	h := provision(t, hides)
	r := httptest.NewRequest(http.MethodGet, "/search", strings.NewReader(`{"q":"ann@example.com"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=60")
		_, err := io.Copy(w, r.Body)
		return err
	}))
	if control := w.Header().Get("Cache-Control"); err != nil || !strings.Contains(w.Body.String(), "ann@") || !strings.Contains(control, "private") || strings.Contains(control, "public") {
		t.Errorf("%v %q %s", err, control, w.Body)
	}
}
