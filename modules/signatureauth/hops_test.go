package signatureauth

import (
	"net/http/httptest"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
)

// TestConnectionCannotTakeOutWhatIsCovered is about who forwards a signed
// request and names a covered field in Connection: a proxy behind would remove
// it, and the upstream never see what was signed. Our handler removes such
// fields itself, before signatures are looked at; Caddy's own does not.
func TestConnectionCannotTakeOutWhatIsCovered(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\nreplay off")
	for connection, want := range map[string]bool{
		"": true, "keep-alive": true, "X-Other": true,
		"X-Tenant": false, "close, x-tenant": false,
	} {
		r := request("GET", "https://api.example.com/orders", nil)
		r.Header.Set("X-Tenant", "acme")
		sign(t, acme.Signer, r, func(tpl *httpsig.Template) { tpl.Components = append(tpl.Components, "x-tenant") })
		if connection != "" {
			r.Header.Set("Connection", connection)
		}
		arrive(r)
		if _, ok, err := p.Authenticate(httptest.NewRecorder(), r); ok != want || err != nil {
			t.Errorf("Connection: %s: %v, %v, want %v", connection, ok, err, want)
		}
	}
}
