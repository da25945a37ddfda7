package jwtauth

import (
	"fmt"
	"net/http"
	"testing"
)

// Run with: go test -run - -bench Identify -benchmem ./modules/jwtauth

// BenchmarkIdentify is what the provider takes of a request: finding the
// token and verifying it, remembered or not.
func BenchmarkIdentify(b *testing.B) {
	for _, entries := range []int{0, 10_000} {
		p := provider(b, shared+fmt.Sprintf("cache %s", map[int]string{0: "off", 10_000: "10000"}[entries]))
		r := get("Authorization", "Bearer "+sign(b, claims{"roles": []string{"clerk"}, "aud": nil}))
		b.Run(fmt.Sprint("cache=", entries), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Identify(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	p := provider(b, shared)
	b.Run("missing", func(b *testing.B) {
		r := &http.Request{Header: http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Identify(r); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
