package audit

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// handlerOn returns a handler with an open trail, without a configuration.
func handlerOn(tb testing.TB, mode trail.Sync) *Handler {
	tb.Helper()
	_, key, err := makeKey("bench")
	if err != nil {
		tb.Fatal(err)
	}
	signer, vkey, err := trail.NewSigner("bench", key)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	t, err := trail.Open(dir, trail.Options{Signer: signer, VerifierKey: vkey, Sync: mode})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = t.Close() })
	s := newStore(dir, zap.NewNop())
	s.trail.Store(t)
	s.stop = make(chan struct{})
	tb.Cleanup(func() { metrics.forget(s) })
	o := trailOptions{sync: SyncBatch}
	if mode == trail.Always {
		o.sync = SyncAlways
	}
	text := conceal.NewText(nil, nil)
	return &Handler{Path: dir, Site: "api.example.com", trail: &claim{store: s, options: o}, logger: zap.NewNop(), text: text, scrub: conceal.NewBody(text, nil)}
}

// nowhere is a client that takes everything.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

var alice = &principal.Principal{ID: "alice", Issuer: "https://id.example.com", Kind: "jwt", KeyID: "k1", TokenID: "t-123", Roles: []string{"clerk", "auditor"}}

// layers is what stands behind audit: three layers that note their decisions,
// and a response of 140 bytes.
var layers = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	reqctx.Identify(r, alice)
	log := reqctx.Decisions(r)
	log.Add(decisionOf("jwt_auth", "allow", "", ""))
	log.Add(decisionOf("rbac", "allow", "role clerk: allow GET /orders/*", ""))
	log.AddRedacted(2, "mask mobile $..phone")
	w.WriteHeader(200)
	_, err := w.Write(answer)
	return err
})

var noServer = new(caddyhttp.Server)

var answer = make([]byte, 140)

func request() *http.Request {
	r := httptest.NewRequest("GET", "https://api.example.com/orders/4711?page=2", nil)
	r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, &caddyhttp.Server{})
}

func prepared() *http.Request {
	return request()
}

// go test -run '^$' -bench Serve -benchmem -cpu 1 ./modules/audit
//
// Bare is the same request without audit: the difference is what audit costs
// altogether. On a machine with other work, cpu-ns/op is what counts: the time
// of the processor, the writer of the trail included.
func BenchmarkServe(b *testing.B) {
	base := prepared()
	run := func(b *testing.B, serve func(http.ResponseWriter, *http.Request) error) {
		b.ReportAllocs()
		before := cpuTime()
		n := 0
		for b.Loop() {
			n++
			r := caddyhttp.PrepareRequest(base, caddy.NewReplacer(), nil, noServer)
			if err := serve(nowhere{http.Header{}}, r); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(cpuTime()-before)/float64(n), "cpu-ns/op")
	}
	b.Run("Bare", func(b *testing.B) { run(b, layers.ServeHTTP) })
	b.Run("UUID", func(b *testing.B) {
		run(b, func(w http.ResponseWriter, r *http.Request) error {
			reqctx.Replacer(r).GetString("http.request.uuid")
			return layers(w, r)
		})
	})
	b.Run("Batch", func(b *testing.B) {
		h := handlerOn(b, trail.Batch)
		run(b, func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, layers) })
	})
}

func TestAuditCostsFewAllocations(t *testing.T) {
	h := handlerOn(t, trail.Batch)
	base := prepared()
	measure := func(serve func(http.ResponseWriter, *http.Request) error) float64 {
		return testing.AllocsPerRun(1000, func() {
			r := caddyhttp.PrepareRequest(base, caddy.NewReplacer(), nil, noServer)
			if err := serve(nowhere{http.Header{}}, r); err != nil {
				t.Fatal(err)
			}
		})
	}
	bare := measure(layers.ServeHTTP)
	with := measure(func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, layers) })
	// One is the entry; one is the layers', who note their rules only where
	// somebody listens.
	if own := with - bare - 1; own > 2 {
		t.Errorf("%v allocations of our own", own)
	}
}
