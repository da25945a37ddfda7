package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// rotated is a source that has another key of the same name once it is asked
// to fetch again.
type rotated struct {
	now, next []*jwk.Key
	asked     int
}

func (r *rotated) Keys(context.Context, string, string) ([]*jwk.Key, error) { return r.now, nil }
func (r *rotated) Generation() uint64                                       { return uint64(r.asked) }

func (r *rotated) Refetch(context.Context) bool {
	r.asked++
	changed := r.next != nil
	if changed {
		r.now, r.next = r.next, nil
	}
	return changed
}

// TestSignatureThatNoKeyHasMadeIsWorthAnotherLook is for a provider that has made
// its key anew under the same name.
func TestSignatureThatNoKeyHasMadeIsWorthAnotherLook(t *testing.T) {
	old := families()["ES256"]
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.Static("ES256", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	fresh := pair{alg: "ES256", sign: private, verify: key, public: &private.PublicKey}

	source := &rotated{now: []*jwk.Key{old.verify}}
	iss := standard(old)
	iss.Keys = source
	v := verifier(t, Options{}, iss)
	raw := sign(t, fresh, goodClaims)
	if _, err := v.Verify(t.Context(), raw, now); err == nil || source.asked != 1 {
		t.Errorf("a key that is not there: got %v, asked %d times", err, source.asked)
	}
	if _, err := v.Verify(t.Context(), sign(t, old, goodClaims), now); err != nil || source.asked != 1 {
		t.Errorf("a good token: got %v, asked %d times", err, source.asked)
	}
	source.next = []*jwk.Key{fresh.verify}
	if _, err := v.Verify(t.Context(), raw, now); err != nil || source.asked != 2 {
		t.Errorf("the new key: got %v, asked %d times", err, source.asked)
	}
	if _, err := v.Verify(t.Context(), sign(t, old, goodClaims), now); err == nil {
		t.Error("a token of the key that has left is accepted")
	}
}
