package examples

import (
	"fmt"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestExampleBreaker(t *testing.T) {
	s := startExample(t, "breaker")
	c := s.Client()
	s.Send(c, "GET", "/").Want(t, 200, "orders")
	for n := 0; ; n++ { // more than five, if this machine is so slow that the window has gone on
		a := s.Send(c, "GET", "/broken")
		if a.StatusCode == 503 {
			a.Want(t, 503, "upstream_open")
			if n < 4 || a.Header.Get("Retry-After") == "" {
				t.Errorf("open after %d failures, Retry-After %q", n, a.Header.Get("Retry-After"))
			}
			break
		}
		if a.Want(t, 500); n == 200 {
			t.Fatal("it does not open")
		}
	}
	// What is rejected is no failure: it closes again once the upstream works.
	harness.Eventually(t, func() error {
		if a := s.Send(c, "GET", "/"); a.StatusCode != 200 {
			return fmt.Errorf("%d", a.StatusCode)
		}
		return nil
	})
	for range 3 {
		s.Send(c, "GET", "/").Want(t, 200, "orders")
	}
}
