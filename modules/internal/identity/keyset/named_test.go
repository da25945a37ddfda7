package keyset

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

const kid1 = "0d2f4c52-6a1b-4c1e-9a55-0c7a5d4c1f11"

func ecPEM(t testing.TB, curve elliptic.Curve) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func openNamed(t *testing.T, p *provider) *Named {
	n := OpenNamed(Source{URL: "https://keys.example.com/"}, "ES256", Options{Transport: p})
	t.Cleanup(n.Close)
	return n
}

// found says what became of a name: a key, none, or that nobody can tell.
func found(t *testing.T, n *Named, kid string) string {
	t.Helper()
	keys, err := n.Keys(context.Background(), kid, "ES256")
	switch {
	case errors.Is(err, token.ErrUnavailable):
		return "unavailable"
	case err != nil:
		t.Fatal(err)
	case len(keys) == 0:
		return "none"
	case len(keys) > 1 || keys[0].ID != kid || keys[0].Alg != "ES256":
		t.Fatalf("got %+v", keys)
	}
	return "key"
}

func TestANamedKeyIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: ecPEM(t, elliptic.P256()), delay: time.Second}
		n := openNamed(t, p)
		if p.count() != 0 {
			t.Error("something is fetched before it is asked for")
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got := found(t, n, kid1); got != "key" {
					t.Errorf("got %s", got)
				}
			})
		}
		wg.Wait()
		if p.count() != 1 || p.asked[0] != "https://keys.example.com/"+kid1 {
			t.Errorf("asked %q", p.asked)
		}
		if st := n.Status(); !slices.Equal(st.Keys, []string{kid1}) || st.Attempts != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestNamesAreNoPaths: a token that nobody has verified says what is asked for.
func TestNamesAreNoPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: ecPEM(t, elliptic.P256())}
		n := openNamed(t, p)
		for _, kid := range []string{
			"", ".", "..", "../a", "a/b", "/", `a\b`, "a%2fb", "a?b", "a#b", "a b", "a\n", "a.pem", "a_b", "a:b", "@evil.example", "é", "a\x00",
			strings.Repeat("a", 65), "\u212a",
		} {
			if got := found(t, n, kid); got != "none" {
				t.Errorf("%q: got %s", kid, got)
			}
		}
		for _, alg := range []string{"HS256", "RS256", "ES384", "none", ""} {
			if keys, err := n.Keys(context.Background(), kid1, alg); len(keys) > 0 || err != nil {
				t.Errorf("%s: got %v, %v", alg, keys, err)
			}
		}
		if p.count() != 0 {
			t.Errorf("asked %q", p.asked)
		}
	})
}

// TestNamesThatSomebodyMakesUpAreRationed, and do not keep known keys from being
// served and fetched again.
func TestNamesThatSomebodyMakesUpAreRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: ecPEM(t, elliptic.P256()), header: http.Header{"Cache-Control": {"max-age=300"}}}
		n := openNamed(t, p)
		if got := found(t, n, kid1); got != "key" {
			t.Fatal(got)
		}
		p.set(func(p *provider) { p.status = 403 })
		flood := func() (none int) {
			for i := range 500 {
				if found(t, n, fmt.Sprintf("made-up-%d-%d", time.Now().Unix(), i)) == "none" {
					none++
				}
			}
			return none
		}
		if got := flood(); got != namedBurst-1 || p.count() != namedBurst {
			t.Errorf("%d are known to be none after %d fetches", got, p.count())
		}
		if got := found(t, n, kid1); got != "key" {
			t.Errorf("during the flood: %s", got)
		}
		for range 20 {
			time.Sleep(demandEvery)
			if got := flood(); got > 1 {
				t.Errorf("%d fetches in %v", got, demandEvery)
			}
		}
		p.set(func(p *provider) { p.status = 0 })
		if got := found(t, n, kid1); got != "key" { // it has expired meanwhile
			t.Errorf("after the flood: %s", got)
		}
		if last := p.asked[len(p.asked)-1]; !strings.HasSuffix(last, kid1) {
			t.Errorf("asked %s last", last)
		}
		if len(n.entries) > maxNamed {
			t.Errorf("%d names are kept", len(n.entries))
		}
	})
}

func TestANamedKeyServesWhileTheProviderIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: ecPEM(t, elliptic.P256()), header: http.Header{"Cache-Control": {"max-age=300"}}}
		n := openNamed(t, p)
		for _, step := range []struct {
			after  time.Duration
			change func(*provider)
			want   string
			grown  bool // the generation, since the last step
		}{
			{0, nil, "key", false},
			{time.Minute, func(p *provider) { p.status = 500 }, "key", false},
			{5 * time.Minute, nil, "key", false},
			{50 * time.Minute, nil, "key", false},
			{20 * time.Minute, nil, "unavailable", true},
			{time.Minute, func(p *provider) { p.status = 0 }, "key", false},
			{10 * time.Minute, nil, "key", false},
			{10 * time.Minute, func(p *provider) { p.body = ecPEM(t, elliptic.P256()) }, "key", true},
			{10 * time.Minute, func(p *provider) { p.status = 404 }, "none", true},
			{10 * time.Second, func(p *provider) { p.status = 0 }, "none", false},
			{time.Minute, nil, "key", false},
			{10 * time.Minute, func(p *provider) { p.err = errors.New("no route") }, "key", false},
			{2 * time.Hour, nil, "unavailable", true},
		} {
			time.Sleep(step.after)
			if step.change != nil {
				p.set(step.change)
			}
			before := n.Generation()
			if got := found(t, n, kid1); got != step.want || (n.Generation() > before) != step.grown {
				t.Fatalf("%v later: got %s, want %s; generation %d → %d", step.after, got, step.want, before, n.Generation())
			}
		}
	})
}

func TestWhatIsNoKeyIsNotTakenForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rsaKey := "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\n-----END PUBLIC KEY-----\n"
		for name, body := range map[string]string{
			"empty": "", "HTML": "<html>", "P-384": ecPEM(t, elliptic.P384()), "RSA": rsaKey,
			"two": ecPEM(t, elliptic.P256()) + ecPEM(t, elliptic.P256()), "text before": "x" + ecPEM(t, elliptic.P256()),
			"too long": ecPEM(t, elliptic.P256()) + strings.Repeat("\n", maxBody),
		} {
			n := openNamed(t, &provider{body: body})
			if got := found(t, n, kid1); got != "unavailable" {
				t.Errorf("%s: got %s", name, got)
			}
		}
		n := openNamed(t, &provider{redirect: "https://evil.example/key"})
		if got := found(t, n, kid1); got != "unavailable" {
			t.Errorf("redirect: got %s", got)
		}
	})
}
