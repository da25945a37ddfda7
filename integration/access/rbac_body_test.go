package access

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestBodyThatWasDecidedOnIsTheBodyServed sends bodies over HTTP/1.1 and
// HTTP/2, with and without a length; the upstream says what it read.
func TestBodyThatWasDecidedOnIsTheBodyServed(t *testing.T) {
	got := make(chan string, 1)
	back := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		got <- fmt.Sprintf("%d %v %s", r.ContentLength, err, body)
	})
	s := harness.Start(t, `{
	skip_install_trust
	auto_https disable_redirects
}
https://localhost:{$PORT} {
	audit trail
	rbac {
		anyone {
			allow POST /transfers when `+"`body.amount <= 1000`"+`
			allow POST /free
		}
		max_body 2KiB
	}
	reverse_proxy `+back+`
}`)
	s.Ready("PORT", "localhost")
	h2 := s.Client()
	h1 := s.Client()
	transport := h1.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2, transport.Protocols = false, new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	small := "{ \"amount\" : 1e2,\n\t\"x\":\"" + strings.Repeat("é", 500) + "\" }\r\n"
	large := `{"amount":1,"x":"` + strings.Repeat("x", 1<<20) + `"}`
	for proto, c := range map[string]*http.Client{"HTTP/1.1": h1, "HTTP/2.0": h2} {
		for _, tc := range []struct {
			path, body string
			want       int
		}{
			{"/transfers", small, 200},
			{"/transfers", strings.Replace(small, "1e2", "1e4", 1), 401},
			{"/transfers", strings.Replace(small, "1e2", `1,"amount":5000`, 1), 401},
			{"/transfers", large, 401},
			{"/free", large, 200},
		} {
			for _, chunked := range []bool{false, true} {
				var body io.Reader = bytes.NewReader([]byte(tc.body))
				length := int64(len(tc.body))
				if chunked {
					body, length = struct{ io.Reader }{body}, -1
				}
				req, err := http.NewRequest("POST", "https://localhost:"+s.Ports["PORT"]+tc.path, body)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != tc.want || res.Proto != proto {
					t.Errorf("%s %s, %d bytes: got %d over %s, want %d", proto, tc.path, len(tc.body), res.StatusCode, res.Proto, tc.want)
				}
				if res.StatusCode != 200 {
					continue
				}
				if read, want := <-got, fmt.Sprintf("%d <nil> %s", length, tc.body); read != want {
					t.Errorf("%s %s: the upstream read %.80q, want %.80q", proto, tc.path, read, want)
				}
			}
		}
	}
	s.Stop()
	if n := harness.CountRecords(t, s.Path("trail"), `"policy":"sha256:`); n != 20 {
		t.Errorf("%d records name the policy, want 20", n)
	}
}
