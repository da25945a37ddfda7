package signatureauth

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
)

// TestLongerAgeMakesNoUsedSignatureGoodAgain: one that was used and forgotten,
// as it was too old, would be young enough after a reload.
func TestLongerAgeMakesNoUsedSignatureGoodAgain(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	key := "key acme-1 ed25519 `" + acme.public + "`\nleeway 0s\n"
	before := provide(t, key+"max_age 1m")
	r := request("GET", "https://api.example.com/", nil)
	sign(t, acme.Signer, r, nil)
	if _, err := before.Identify(r); err != nil {
		t.Fatal(err)
	}
	later := now.Add(2 * time.Minute)
	before.now = func() time.Time { return later }
	if _, err := before.Identify(r); refusal(err) != CodeInvalid {
		t.Fatalf("two minutes later: got %v", err)
	}
	before.memory.Stats(later) // forgets what is past
	after, err := tryProvideAt(t, key+"max_age 10m", later)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := after.Identify(r); refusal(err) != CodeReplayed {
		t.Errorf("after a reload: got %q", refusal(err))
	}
	fresh := request("GET", "https://api.example.com/", nil)
	sign(t, acme.Signer, fresh, func(x *httpsig.Template) { x.Created = later })
	if _, err := after.Identify(fresh); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

func tryProvideAt(t *testing.T, block string, at time.Time) (*Provider, error) {
	t.Helper()
	old := now
	now = at
	defer func() { now = old }()
	p, err := tryProvide(t, block)
	if p != nil {
		p.now = func() time.Time { return at }
	}
	return p, err
}

// TestNonceOfAnotherKeyOfTheSameIDIsAnotherOne: sites share the memory, and
// each has its own acme-1.
func TestNonceOfAnotherKeyOfTheSameIDIsAnotherOne(t *testing.T) {
	for name, test := range map[string]struct {
		block, field string
	}{
		"nonce":           {"replay nonce", ""},
		"idempotency key": {"replay idempotency_key", "evt-1"},
	} {
		for _, host := range []string{"one.example", "two.example"} {
			acme := ed25519Pair(t, "acme-1")
			p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\n"+test.block)
			r := request("POST", "https://"+host+"/", nil)
			if test.field != "" {
				r.Header.Set("Idempotency-Key", test.field)
			}
			sign(t, acme.Signer, r, func(x *httpsig.Template) {
				x.Nonce = "n1"
				if test.field != "" {
					x.Components = append(x.Components, "idempotency-key")
				}
			})
			if _, err := p.Identify(r); err != nil {
				t.Errorf("%s at %s: %v", name, host, err)
			}
		}
	}
}

func TestEventIsTheSameUnderANewKeyOfItsSender(t *testing.T) {
	one, two := ed25519Pair(t, "acme-1"), ed25519Pair(t, "acme-2")
	p := provide(t, "key acme-1 ed25519 `"+one.public+"` {\nuser acme\n}\nkey acme-2 ed25519 `"+two.public+"` {\nuser acme\n}\nreplay idempotency_key")
	for i, want := range []string{"", CodeKeyUsed} {
		r := request("POST", "https://api.example.com/hooks", nil)
		r.Header.Set("Idempotency-Key", "evt-1")
		sign(t, []pair{one, two}[i].Signer, r, func(x *httpsig.Template) { x.Components = append(x.Components, "idempotency-key") })
		if _, err := p.Identify(r); refusal(err) != want {
			t.Errorf("delivery %d: got %q, want %q", i+1, refusal(err), want)
		}
	}
}

// TestMethodThatWasRewrittenIsNotRepeatable: a POST is one, whatever the site
// makes of it.
func TestMethodThatWasRewrittenIsNotRepeatable(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\nreplay idempotency_key")
	for _, methods := range [][2]string{{"POST", "PUT"}, {"GET", "POST"}} {
		r := request(methods[0], "https://api.example.com/"+methods[0], nil)
		sign(t, acme.Signer, r, nil)
		r.Method = methods[1]
		if _, err := p.Identify(r); refusal(err) != CodeInvalid {
			t.Errorf("%s that has become %s, without an Idempotency-Key: got %v", methods[0], methods[1], err)
		}
	}
}

func TestOneOfManyAtOnceIsAccepted(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`")
	for i := range 20 {
		r := request("GET", "https://api.example.com/", nil)
		sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Nonce = strconv.Itoa(i) })
		var wg sync.WaitGroup
		var accepted atomic.Int32
		for range 8 {
			other := request("GET", "https://api.example.com/", nil)
			other.Header = r.Header.Clone()
			wg.Go(func() {
				if _, err := p.Identify(other); err == nil {
					accepted.Add(1)
				}
			})
		}
		wg.Wait()
		if n := accepted.Load(); n != 1 {
			t.Fatalf("accepted %d times", n)
		}
	}
}

// TestContentThatIsNotCoveredIsRefused: with a length, without one, and empty.
func TestContentThatIsNotCoveredIsRefused(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`")
	for name, length := range map[string]int64{"with a length": 5, "without one": -1} {
		r := request(http.MethodPost, "https://api.example.com/", nil)
		sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Nonce = name[:5] })
		with := request(http.MethodPost, "https://api.example.com/", []byte("hello"))
		with.Header, with.ContentLength = r.Header, length
		if _, err := p.Identify(with); refusal(err) != CodeInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
