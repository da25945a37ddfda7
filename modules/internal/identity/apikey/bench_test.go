package apikey

import (
	"fmt"
	"testing"
	"time"
)

// Run with: go test -run - -bench Check -benchmem ./modules/internal/apikey

// checks returns what is checked and what comes of it, among n keys.
func checks(t testing.TB, n int) (*Store, map[string]string, map[string]error) {
	p := newPepper(t)
	f := newFile(p)
	var text string
	for range n {
		text = mint(t, f, p, nil)
	}
	unknown, _, _ := Mint(p, "moat", NewID())
	wrong, _, _ := Mint(p, "moat", f.Entries[n-1].ID)
	mistyped := text[:len(text)-1] + string(text[len(text)-1]^1)
	s, _ := open(t, f, p)
	return s, map[string]string{"good": text, "unknown id": unknown, "wrong secret": wrong, "mistyped": mistyped},
		map[string]error{"good": nil, "unknown id": ErrUnknown, "wrong secret": ErrUnknown, "mistyped": ErrMalformed}
}

// check is the body of the benchmark and of its test.
func check(t testing.TB, s *Store, text string, at time.Time, want error) {
	c, err := s.Check(text, at)
	if err != want {
		t.Fatalf("got %v, want %v", err, want)
	}
	if err == nil {
		c.Touch(at)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		s, texts, want := checks(b, n)
		for _, name := range []string{"good", "wrong secret", "unknown id", "mistyped"} {
			b.Run(fmt.Sprintf("%d keys/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					check(b, s, texts[name], now, want[name])
				}
			})
		}
	}
}

// raceEnabled is whether the race detector runs, under which a sync.Pool
// forgets at random and allocations say nothing.
var raceEnabled bool

func TestCheckAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	s, texts, want := checks(t, 100)
	for name, text := range texts {
		if n := testing.AllocsPerRun(200, func() { check(t, s, text, now, want[name]) }); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
