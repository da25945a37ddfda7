package redact

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// sink is a client that is no cost.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header             { return s.h }
func (*sink) WriteHeader(int)                   {}
func (*sink) Write(p []byte) (int, error)       { return len(p), nil }
func (*sink) Flush()                            {}
func (*sink) ReadFrom(io.Reader) (int64, error) { return 0, nil }

// BenchmarkHandler measures what the handler adds to one that answers with a
// body of 1 KB, 100 KB or 10 MB:
//
//	go test ./modules/redact -run '^$' -bench Handler -benchmem -cpu 1
func BenchmarkHandler(b *testing.B) {
	item := `{"id":12345,"name":"Some Customer","phone":"13812345678","ssn":"123-45-6789","tags":["a","b"],"balance":1234.56},`
	h := provision(b, "remove ssn\nmask mobile phone\nexcept role manager {\n remove balance\n}")
	for _, size := range []struct {
		name string
		n    int
	}{{"1KB", 1 << 10}, {"100KB", 100 << 10}, {"10MB", 10 << 20}} {
		body := []byte("[" + strings.Repeat(item, size.n/len(item)) + "0]")
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
		w := &sink{http.Header{}}
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
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
