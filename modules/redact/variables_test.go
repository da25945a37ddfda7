package redact

import (
	"net/http"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestVariablesAreNotWrittenOnceTheRequestHasGoneOn has what reverse_proxy
// does: a dial that it began for a request outlives it, where another
// connection came free, and looks into the request's variables. Writing to
// that map meanwhile would end the process. The race detector sees it.
func TestVariablesAreNotWrittenOnceTheRequestHasGoneOn(t *testing.T) {
	var dial sync.WaitGroup
	over := make(chan struct{})
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		begun := make(chan struct{})
		dial.Go(func() {
			close(begun)
			for {
				caddyhttp.GetVar(r.Context(), "reverse_proxy.dial_info")
				select {
				case <-over:
					return
				default:
				}
			}
		})
		<-begun
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write([]byte(`{"password":"x","a":1}`))
		return err
	})
	w, err := direct(t, provision(t, "remove password"), next)
	close(over)
	dial.Wait()
	if err != nil || w.Body.String() != `{"a":1}` {
		t.Fatalf("got %q, %v", w.Body, err)
	}
}
