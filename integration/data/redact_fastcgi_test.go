package data

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestRedactedRequestsReachFastCGI holds that a body which is longer than the
// hold reaches an upstream that must be told its length before it.
func TestRedactedRequestsReachFastCGI(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"length":%d,"said":%d,"admin":%t,"fault":%t,"secret":"x"}`,
				len(body), r.ContentLength, strings.Contains(string(body), "is_admin"), err != nil)
		}))
	}()
	s := harness.Prepare(t, `
:{$PORT} {
	root site
	redact {
		remove secret
		requests {
			remove is_admin
			max_body 1MiB
		}
	}
	php_fastcgi `+l.Addr().String()+`
}
`)
	s.WriteFile("site/index.php", "<?php\n")
	s.Run()
	s.Wait()
	body := func(pad int) string {
		return `{"is_admin":true,"pad":"` + strings.Repeat("x", pad) + `"}`
	}
	for _, pad := range []int{0, 100, 200_000, 900_000} {
		in := body(pad)
		want := len(in) - len(`"is_admin":true,`)
		a := s.Do("PORT", "POST", "/index.php", in, "Content-Type: application/json")
		if a.StatusCode != 200 || a.Body != fmt.Sprintf(`{"length":%d,"said":%d,"admin":false,"fault":false}`, want, want) {
			t.Errorf("%d bytes: got %d %s", len(in), a.StatusCode, a.Body)
		}
	}
	if a := s.Do("PORT", "POST", "/index.php", body(2<<20), "Content-Type: application/json"); a.StatusCode != 413 || !strings.Contains(a.Body, "request_body_too_large") {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
}
