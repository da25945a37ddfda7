package integration

import (
	"net/http"
	"strings"
	"testing"
)

func TestBinaryStartsReloadsAndStops(t *testing.T) {
	s := start(t, ":{$PORT} {\n\trespond \"one\"\n}\n")
	if a := s.get("PORT", "/"); a.StatusCode != http.StatusOK || a.body != "one" {
		t.Fatalf("got %d %q", a.StatusCode, a.body)
	}
	if err := s.reload(":{$PORT} {\n\tnonsense\n}\n"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Fatalf("a broken Caddyfile was loaded: %v", err)
	}
	if a := s.get("PORT", "/"); a.body != "one" {
		t.Fatalf("the running configuration did not stay: %q", a.body)
	}
	if err := s.reload(":{$PORT} {\n\trespond \"two\"\n}\n"); err != nil {
		t.Fatal(err)
	}
	if a := s.get("PORT", "/"); a.body != "two" {
		t.Fatalf("got %q after the reload", a.body)
	}
	s.stop()
	s.run()
	s.wait()
	if a := s.get("PORT", "/"); a.body != "two" {
		t.Fatalf("got %q after the restart", a.body)
	}
}
