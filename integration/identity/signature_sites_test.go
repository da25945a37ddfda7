package identity

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestSignatureIsUsedOnceAtAllSites: two sites whose options differ, and reloads that
// change these while both get each signature.
func TestSignatureIsUsedOnceAtAllSites(t *testing.T) {
	acme := harness.NewSender(t, "acme-1")
	site := func(port, options string) string {
		return `http://localhost:{$` + port + "} {\nsignature_auth {\nkey acme-1 ed25519 acme.pem\ncomponents @method @target-uri x-a\n" + options + "\n}\nrespond served\n}\n"
	}
	file := func(n int) string {
		other := []string{"remember 1000", "remember 600000\nleeway 1m", "max_age 10m", "leeway 0s"}[n%4]
		return "{\nskip_install_trust\nauto_https off\n}\n" + site("PORT", "") + site("PORT2", other)
	}
	s := harness.Prepare(t, file(0))
	s.WriteFile("acme.pem", acme.Public)
	s.Run()
	s.Wait()
	var accepted, failed atomic.Int64
	const signatures = 200
	var wg sync.WaitGroup
	jobs := make(chan []string)
	for range 4 {
		wg.Go(func() {
			for lines := range jobs {
				var both sync.WaitGroup
				for _, port := range []string{"PORT", "PORT2", "PORT"} {
					both.Go(func() {
						switch a := s.Get(port, "/", lines...); a.StatusCode {
						case http.StatusOK:
							accepted.Add(1)
						case http.StatusUnauthorized:
						default:
							failed.Add(1)
						}
					})
				}
				both.Wait()
			}
		})
	}
	for i := range signatures {
		jobs <- append(acme.Sign(harness.Delivery{URI: "http://localhost/", Covered: [][2]string{{`"x-a"`, fmt.Sprint(i)}}}), fmt.Sprintf("X-A: %d", i))
		if i%50 == 25 {
			if err := s.Reload(file(i/50 + 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(jobs)
	wg.Wait()
	if accepted.Load() != signatures || failed.Load() != 0 {
		t.Errorf("of %d signatures at two sites, %d were accepted and %d failed\n%s", signatures, accepted.Load(), failed.Load(), strings.TrimSpace(s.Log.String()))
	}
}
