package harness_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestBinaryStartsReloadsAndStops(t *testing.T) {
	s := harness.Start(t, ":{$PORT} {\n\trespond \"one\"\n}\n")
	if a := s.Get("PORT", "/"); a.StatusCode != http.StatusOK || a.Body != "one" {
		t.Fatalf("got %d %q", a.StatusCode, a.Body)
	}
	if err := s.Reload(":{$PORT} {\n\tnonsense\n}\n"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Fatalf("a broken Caddyfile was loaded: %v", err)
	}
	if a := s.Get("PORT", "/"); a.Body != "one" {
		t.Fatalf("the running configuration did not stay: %q", a.Body)
	}
	if err := s.Reload(":{$PORT} {\n\trespond \"two\"\n}\n"); err != nil {
		t.Fatal(err)
	}
	if a := s.Get("PORT", "/"); a.Body != "two" {
		t.Fatalf("got %q after the reload", a.Body)
	}
	s.Stop()
	s.Run()
	s.Wait()
	if a := s.Get("PORT", "/"); a.Body != "two" {
		t.Fatalf("got %q after the restart", a.Body)
	}
}
