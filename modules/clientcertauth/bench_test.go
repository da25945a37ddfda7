package clientcertauth

import (
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// Run with: go test -run '^$' -bench Identify -benchmem ./modules/clientcertauth

// requests returns a provider with a request of each kind.
func requests(t testing.TB) (*Provider, map[string]*http.Request) {
	ca := newAuthority(t)
	cert := ca.client("orders", "spiffe://example.org/orders")
	p := provision(t, &Provider{
		Map:     file(t, "map", `{"spiffe":"spiffe://example.org/orders","user":"orders","roles":["clerk"]}`),
		Proxies: []string{"10.0.0.1"}, Trust: []string{ca.file()},
	})
	return p, map[string]*http.Request{
		"connection": request(somewhere, []*x509.Certificate{cert, ca.cert}),
		"field":      request("10.0.0.1:1", nil, certField, formatField(cert)),
	}
}

// believed are the fields that the handler keeps.
var believed = []string{certField, chainField}

func identify(t testing.TB, p *Provider, r *http.Request) {
	reqctx.Of(r).KeepRemoved(r.Header, believed)
	if grant, err := p.Identify(r); err != nil || grant.Principal.ID != "orders" {
		t.Fatal(grant.Principal, err)
	}
}

// BenchmarkIdentify is what the provider takes of a request.
func BenchmarkIdentify(b *testing.B) {
	p, all := requests(b)
	for name, r := range all {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				identify(b, p, r)
			}
		})
	}
}

func TestIdentifyAllocatesNothing(t *testing.T) {
	p, all := requests(t)
	for name, r := range all {
		if n := testing.AllocsPerRun(100, func() { identify(t, p, r) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
