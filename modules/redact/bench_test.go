package redact

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// sink is a client that costs nothing.
type sink struct {
	h      http.Header
	writes int
}

func (s *sink) Header() http.Header             { return s.h }
func (*sink) WriteHeader(int)                   {}
func (s *sink) Write(p []byte) (int, error)     { s.writes++; return len(p), nil }
func (*sink) Flush()                            {}
func (*sink) ReadFrom(io.Reader) (int64, error) { return 0, nil }

const benchRules = "remove ssn\nmask mobile phone\nexcept role manager {\n remove balance\n}"

func benchBody(size int) []byte {
	item := `{"id":12345,"name":"Some Customer","phone":"13812345678","ssn":"123-45-6789","tags":["a","b"],"balance":1234.56},`
	return []byte("[" + strings.Repeat(item, size/len(item)) + "0]")
}

// benchRequest returns a request and the handler that answers it with body, in
// pieces as reverse_proxy would.
func benchRequest(body []byte) (caddyhttp.Handler, *sink, *http.Request) {
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header()["Content-Type"] = []string{"application/json"}
		w.WriteHeader(200)
		for p := body; len(p) > 0; {
			n := min(len(p), 32<<10)
			if _, err := w.Write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		return nil
	})
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := &sink{h: http.Header{}}
	return next, w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
}

// A test of what a benchmark would show too late: allocations, and how many
// writes reach the client.
func TestRedactCostsFewAllocationsAndWrites(t *testing.T) {
	h := provision(t, benchRules)
	for _, c := range []struct{ size, allocs, writes int }{
		{1 << 10, 4, 1},
		{10 << 10, 4, 1},
		{200 << 10, 4, 7}, // the hold and at most one for each of five that are left
	} {
		next, w, r := benchRequest(benchBody(c.size))
		// The least of some runs: a collection in the middle of one empties the
		// pools, more often on a busy machine.
		serve := func(f func() error) float64 {
			least := math.Inf(1)
			for range 10 {
				least = min(least, testing.AllocsPerRun(20, func() {
					clear(w.h)
					w.writes = 0
					if err := f(); err != nil {
						t.Fatal(err)
					}
				}))
			}
			return least
		}
		bare := serve(func() error { return next.ServeHTTP(w, r) })
		own := serve(func() error { return h.ServeHTTP(w, r, next) }) - bare
		if int(own) > c.allocs+1 && !raceEnabled { // the race detector empties the pools
			t.Errorf("%d bytes: %v allocations of our own, want %d", c.size, own, c.allocs)
		}
		if w.writes > c.writes {
			t.Errorf("%d bytes: %d writes, want at most %d", c.size, w.writes, c.writes)
		}
	}
}

// BenchmarkHandler measures what the handler adds to one that responds with a
// body of 1 KB, 100 KB or 10 MB:
//
//	go test ./modules/redact -run '^$' -bench Handler -benchmem -cpu 1
func BenchmarkHandler(b *testing.B) {
	h := provision(b, benchRules)
	for _, size := range []struct {
		name string
		n    int
	}{{"1KB", 1 << 10}, {"100KB", 100 << 10}, {"10MB", 10 << 20}} {
		body := benchBody(size.n)
		next, w, r := benchRequest(body)
		for name, handler := range map[string]caddyhttp.Handler{
			"bare": next,
			"redact": caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				return h.ServeHTTP(w, r, next)
			}),
		} {
			b.Run(size.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					clear(w.h)
					if err := handler.ServeHTTP(w, r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
