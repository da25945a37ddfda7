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

// TestReplayCountsWhateverTheOptions: a signature that was used at one site is used
// at all of the process, whatever max_age, leeway, remember and the rest are there.
func TestReplayCountsWhateverTheOptions(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	key := "key acme-1 ed25519 `" + acme.public + "`\n"
	options := []string{"", "max_age 1m", "leeway 0s", "leeway 5m\nmax_age 1h", "remember 1000", "remember 1000000", "replay nonce", "replay idempotency_key", "cavage", "body 1KiB", "components @method @target-uri"}
	var sites []*Provider
	for _, o := range options {
		sites = append(sites, provide(t, key+o))
	}
	for i, first := range sites {
		r := request("GET", "https://api.example.com/", nil)
		sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Nonce = strconv.Itoa(i) })
		if _, err := first.Identify(r); err != nil {
			t.Errorf("%q: %v", options[i], err)
		}
		for j, then := range sites {
			if _, err := then.Identify(r); refusal(err) != CodeReplayed {
				t.Errorf("%q after %q: got %q", options[j], options[i], refusal(err))
			}
		}
	}
	// A site that comes later, and those that go, change nothing.
	r := request("GET", "https://api.example.com/", nil)
	sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Nonce = "last" })
	if _, err := sites[0].Identify(r); err != nil {
		t.Fatal(err)
	}
	for _, s := range sites[:len(sites)-1] {
		_ = s.Cleanup()
	}
	if _, err := provide(t, key+"remember 7").Identify(r); refusal(err) != CodeReplayed {
		t.Errorf("after a reload: got %q", refusal(err))
	}
}

// TestLargestRememberCounts for all sites, as long as the site is there.
func TestLargestRememberCounts(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	key := "key acme-1 ed25519 `" + acme.public + "`\n"
	n := 0
	use := func(p *Provider) string {
		n++
		r := request("GET", "https://api.example.com/", nil)
		sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Nonce = strconv.Itoa(n) })
		_, err := p.Identify(r)
		return refusal(err)
	}
	small := provide(t, key+"remember 1")
	for i, want := range []string{"", CodeFull} {
		if got := use(small); got != want {
			t.Errorf("alone, %d: got %q", i, got)
		}
	}
	large := provide(t, key+"remember 3")
	for i, want := range []string{"", "", CodeFull} {
		if got := use(small); got != want {
			t.Errorf("beside a larger one, %d: got %q", i, got)
		}
	}
	_ = large.Cleanup()
	small.now = func() time.Time { return now.Add(time.Hour) }
	n++
	r := request("GET", "https://api.example.com/", nil)
	sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Created = now.Add(time.Hour) })
	if _, err := small.Identify(r); err != nil {
		t.Errorf("when all are past: %v", err)
	}
	if got := use(small); got != CodeInvalid { // of an hour ago
		t.Errorf("got %q", got)
	}
}

// TestMaxAgeAndLeeway: created may be leeway ahead; max_age and expires are over
// leeway later.
func TestMaxAgeAndLeeway(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\nmax_age 60s\nleeway 10s")
	for i, c := range []struct {
		created, expires time.Duration // before and after now
		want             string
	}{
		{-10 * time.Second, 0, ""},
		{-11 * time.Second, 0, CodeInvalid},
		{60 * time.Second, 0, ""},
		{69 * time.Second, 0, ""},
		{70 * time.Second, 0, CodeInvalid},
		{30 * time.Second, -9 * time.Second, ""},
		{30 * time.Second, -10 * time.Second, CodeInvalid},
		{69 * time.Second, time.Hour, ""},
		{70 * time.Second, time.Hour, CodeInvalid}, // expires makes nothing longer
	} {
		// The memory knows nothing from before it began, so the clock is later.
		p.now = func() time.Time { return now.Add(10 * time.Minute) }
		r := request("GET", "https://api.example.com/", nil)
		sign(t, acme.Signer, r, func(x *httpsig.Template) {
			x.Created, x.Nonce = p.now().Add(-c.created), strconv.Itoa(i)
			if c.expires != 0 {
				x.Expires = p.now().Add(c.expires)
			}
		})
		if _, err := p.Identify(r); refusal(err) != c.want {
			t.Errorf("created %v ago, expires %v: got %v, want %q", c.created, c.expires, err, c.want)
		}
	}
	// The default, and 0.
	for block, ahead := range map[string]time.Duration{"": 30 * time.Second, "leeway 0s": 0} {
		p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\n"+block)
		for i, c := range []struct {
			created time.Duration
			want    string
		}{{ahead, ""}, {ahead + time.Second, CodeInvalid}} {
			r := request("GET", "https://api.example.com/"+block[:min(3, len(block))], nil)
			sign(t, acme.Signer, r, func(x *httpsig.Template) { x.Created, x.Nonce = now.Add(c.created), "d"+strconv.Itoa(i) })
			if _, err := p.Identify(r); refusal(err) != c.want {
				t.Errorf("%q, %v ahead: got %v", block, c.created, err)
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
