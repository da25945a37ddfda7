package clientcert

import (
	"testing"
)

// Run with: go test -run '^$' -bench . -benchmem ./modules/internal/clientcert

// asked is a verifier with a request of each kind.
type asked struct {
	v        *Verifier
	verified func() error
	field    func() error
}

func newAsked(t testing.TB) *asked {
	ca := newAuthority(t, "Test CA")
	table := parse(t, `{"spiffe":"spiffe://example.org/orders","user":"orders","roles":["clerk"]}`)
	v := &Verifier{Table: func() *Table { return table }, Roots: pool(ca.cert)}
	cert := ca.named(t, "orders", uri("spiffe://example.org/orders"), dns("orders.example.com"))
	chains := chainOf(cert, ca.cert)
	f := Field{Cert: []string{formatField(cert)}}
	return &asked{
		v:        v,
		verified: func() error { _, err := v.Connection(chains, now); return err },
		field:    func() error { _, err := v.Field(f, now); return err },
	}
}

func BenchmarkVerifier(b *testing.B) {
	a := newAsked(b)
	for name, ask := range map[string]func() error{
		"connection":        a.verified,
		"field":             a.field,
		"connection, first": func() error { a.v.connections = cache{}; return a.verified() },
		"field, first":      func() error { a.v.fields = cache{}; return a.field() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestWhatIsRememberedCostsNoAllocation(t *testing.T) {
	a := newAsked(t)
	for name, ask := range map[string]func() error{"connection": a.verified, "field": a.field} {
		n := testing.AllocsPerRun(100, func() {
			if err := ask(); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
