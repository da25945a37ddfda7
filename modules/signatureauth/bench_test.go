package signatureauth

import (
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
)

// BenchmarkIdentify is what a signed request costs: one that is accepted, one
// of a key that is not known, and one that another key has signed. The latter
// two ought to take as long as the first.
//
//	GOMAXPROCS=1 go test -run '^$' -bench Identify -benchmem ./modules/signatureauth
func BenchmarkIdentify(b *testing.B) {
	acme := ed25519Pair(b, "acme-1")
	for name, s := range map[string]*httpsig.Signer{
		"good": acme.Signer, "unknown": ed25519Pair(b, "nobody").Signer, "wrong": ed25519Pair(b, "acme-1").Signer,
	} {
		b.Run(name, func(b *testing.B) {
			p := provide(b, "key acme-1 ed25519 `"+acme.public+"`\nreplay off")
			r := request("GET", "https://api.example.com/orders/4711?page=2", nil)
			sign(b, s, r, nil)
			if _, err := p.Identify(r); (err == nil) != (name == "good") {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Identify(r)
			}
		})
	}
}
