package keyset

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// provider is an identity provider that a test controls, without a network:
// in a bubble of synctest its clock is the test's.
type provider struct {
	mu               sync.Mutex
	fetches          int
	concurrent, most int
	delay            time.Duration
	status           int
	body             string
	header           http.Header
	redirect         string
	err              error
	asked            []string
}

func (p *provider) set(f func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.fetches++
	p.asked = append(p.asked, r.URL.String())
	p.concurrent++
	p.most = max(p.most, p.concurrent)
	delay := p.delay
	p.mu.Unlock()
	t := time.NewTimer(delay)
	defer t.Stop()
	var err error
	select {
	case <-t.C:
	case <-r.Context().Done():
		err = r.Context().Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.concurrent--
	if err == nil {
		err = p.err
	}
	if err != nil {
		return nil, err
	}
	h := p.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	status := p.status
	if status == 0 {
		status = 200
	}
	if p.redirect != "" {
		status = 302
		h.Set("Location", p.redirect)
	}
	return &http.Response{
		StatusCode: status, Header: h, Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(p.body)),
	}, nil
}

// jwks is a key set of Ed25519 keys with the names given. The same name is
// the same key.
func jwks(kids ...string) string {
	var b strings.Builder
	b.WriteString(`{"keys":[`)
	for i, kid := range kids {
		if i > 0 {
			b.WriteByte(',')
		}
		seed := bytes.Repeat([]byte(kid+"."), 32)[:32]
		pub := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
		fmt.Fprintf(&b, `{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":%q,"x":%q}`,
			kid, base64.RawURLEncoding.EncodeToString(pub))
	}
	return b.String() + "]}"
}

const where = "https://id.example.com/keys"

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) report(message string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprint(message, " ", err))
}

func (j *journal) count(part string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

// bubble runs test in a synctest bubble with a set of that provider.
func bubble(t *testing.T, p *provider, test func(t *testing.T, s *Set, j *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		j := new(journal)
		s := Open(Source{URL: where}, Options{Transport: p, Report: j.report})
		defer s.Close()
		test(t, s, j)
	})
}

func wantKey(t *testing.T, s *Set, kid string) {
	t.Helper()
	keys, err := s.Keys(t.Context(), kid, "EdDSA")
	if err != nil || len(keys) != 1 || keys[0].ID != kid {
		t.Fatalf("key %s: got %d keys, error %v", kid, len(keys), err)
	}
}

func wantNoKey(t *testing.T, s *Set, kid string) {
	t.Helper()
	if keys, err := s.Keys(t.Context(), kid, "EdDSA"); err != nil || len(keys) != 0 {
		t.Fatalf("key %s: got %d keys, error %v, want none", kid, len(keys), err)
	}
}

func wantUnavailable(t *testing.T, s *Set, kid string) {
	t.Helper()
	if keys, err := s.Keys(t.Context(), kid, "EdDSA"); !errors.Is(err, token.ErrUnavailable) {
		t.Fatalf("key %s: got %d keys, error %v, want unavailable", kid, len(keys), err)
	}
}

func TestFirstRequestWaitsForTheFirstFetch(t *testing.T) {
	p := &provider{body: jwks("a"), delay: 2 * time.Second}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		if p.count() != 1 {
			t.Errorf("got %d fetches", p.count())
		}
	})
}

func TestStartingWhileTheProviderIsDownWorks(t *testing.T) {
	p := &provider{err: errors.New("connection refused")}
	bubble(t, p, func(t *testing.T, s *Set, j *journal) {
		wantUnavailable(t, s, "a")
		p.set(func(p *provider) { p.err, p.body = nil, jwks("a") })
		time.Sleep(2 * time.Minute)
		wantKey(t, s, "a")
		if j.count("failed") != 1 || j.count("available again") != 1 {
			t.Errorf("reports: %q", j.lines)
		}
	})
}

func TestRequestsCannotMakeADownProviderBeAskedMore(t *testing.T) {
	p := &provider{status: 500}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		for i := range 1000 {
			wantUnavailable(t, s, fmt.Sprint(i))
		}
		if n := p.count(); n > 2 {
			t.Errorf("1000 requests caused %d fetches", n)
		}
		time.Sleep(time.Hour)
		if n := p.count(); n > 130 || n < 30 {
			t.Errorf("%d fetches in an hour of being down", n)
		}
	})
}

func TestThousandUnknownKeysCostAtMostTwoFetches(t *testing.T) {
	p := &provider{body: jwks("a"), delay: 10 * time.Millisecond}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				if keys, err := s.Keys(context.Background(), fmt.Sprint("x", i), "EdDSA"); err != nil || len(keys) != 0 {
					t.Errorf("got %d keys, error %v", len(keys), err)
				}
			})
		}
		wg.Wait()
		for i := range 1000 {
			wantNoKey(t, s, fmt.Sprint("y", i))
		}
		if n := p.count(); n != 2 {
			t.Errorf("got %d fetches, want 2", n)
		}
		time.Sleep(demandEvery)
		wantNoKey(t, s, "z")
		wantNoKey(t, s, "z")
		if n := p.count(); n != 3 {
			t.Errorf("got %d fetches after a while, want 3", n)
		}
		if p.most != 1 {
			t.Errorf("%d fetches at once", p.most)
		}
	})
}

func TestRotatedKeyIsFoundAtOnce(t *testing.T) {
	p := &provider{body: jwks("a")}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		before := s.Generation()
		p.set(func(p *provider) { p.body = jwks("a", "b") })
		wantKey(t, s, "b")
		wantKey(t, s, "a")
		if s.Generation() == before {
			t.Error("the generation is the same")
		}
	})
}

func TestRemovedKeyIsGoneAtTheNextRefreshAndChangesTheGeneration(t *testing.T) {
	p := &provider{body: jwks("a", "b"), header: http.Header{"Cache-Control": {"max-age=60"}}}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		before := s.Generation()
		time.Sleep(10 * time.Minute)
		if s.Generation() != before {
			t.Error("a refresh that changed nothing changed the generation")
		}
		p.set(func(p *provider) { p.body = jwks("b") })
		time.Sleep(time.Minute)
		if s.Generation() == before {
			t.Error("the generation is the same")
		}
		wantNoKey(t, s, "a")
		wantKey(t, s, "b")
	})
}

func TestRefreshComesBeforeExpiryWithoutAnyRequest(t *testing.T) {
	p := &provider{body: jwks("a"), header: http.Header{"Cache-Control": {"public, max-age=1000"}}}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		time.Sleep(740 * time.Second)
		if n := p.count(); n != 1 {
			t.Errorf("%d fetches at three quarters of the life", n)
		}
		time.Sleep(250 * time.Second)
		if n := p.count(); n != 2 {
			t.Errorf("%d fetches shortly before expiry", n)
		}
	})
}

func TestNoRequestWaitsWhileASlowProviderIsAskedAgain(t *testing.T) {
	p := &provider{body: jwks("a"), header: http.Header{"Cache-Control": {"max-age=60"}}}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		p.set(func(p *provider) { p.delay = time.Hour })
		time.Sleep(58 * time.Second)
		start := time.Now()
		for range 100 {
			wantKey(t, s, "a")
		}
		if time.Since(start) != 0 {
			t.Errorf("requests waited %v", time.Since(start))
		}
		// An unknown key waits, but not as long as the provider likes.
		start = time.Now()
		wantUnavailable(t, s, "b")
		if d := time.Since(start); d > patience {
			t.Errorf("an unknown key waited %v", d)
		}
	})
}

func TestStaleKeysServeForAnHourAndNoLonger(t *testing.T) {
	for name, broken := range map[string]func(*provider){
		"down":     func(p *provider) { p.err = errors.New("no route to host") },
		"500":      func(p *provider) { p.status = 500 },
		"204":      func(p *provider) { p.status = 204 },
		"garbage":  func(p *provider) { p.body = "<html>" },
		"empty":    func(p *provider) { p.body = "" },
		"not keys": func(p *provider) { p.body = `{"keys":{}}` },
		"10 MB":    func(p *provider) { p.body = jwks("a") + strings.Repeat(" ", 10<<20) },
		"redirect": func(p *provider) { p.redirect = "https://evil.example.com/keys" },
		"no TLS":   func(p *provider) { p.redirect = "http://id.example.com/keys" },
		"loop":     func(p *provider) { p.redirect = where },
	} {
		t.Run(name, func(t *testing.T) {
			p := &provider{body: jwks("a"), header: http.Header{"Cache-Control": {"max-age=600"}}}
			bubble(t, p, func(t *testing.T, s *Set, j *journal) {
				wantKey(t, s, "a")
				generation := s.Generation()
				p.set(broken)
				time.Sleep(600*time.Second + maxStale - time.Second)
				wantKey(t, s, "a")
				wantUnavailable(t, s, "unknown")
				if s.Generation() != generation {
					t.Error("the generation changed while the keys were in use")
				}
				time.Sleep(2 * time.Second)
				wantUnavailable(t, s, "a")
				if s.Generation() == generation {
					t.Error("what the keys have verified is still relied upon")
				}
				if j.count("failed") != 1 || j.count("too old") != 1 {
					t.Errorf("reports: %q", j.lines)
				}
				for _, asked := range p.asked {
					if !strings.HasPrefix(asked, where) {
						t.Errorf("%s was asked", asked)
					}
				}
			})
		})
	}
}

// TestHangingProviderDoesNotProlongTheHour has a fetch under way at the moment
// at which the keys become too old: what they have verified must not be relied
// upon until that fetch gives up.
func TestHangingProviderDoesNotProlongTheHour(t *testing.T) {
	p := &provider{body: jwks("a"), header: http.Header{"Cache-Control": {"max-age=600"}}}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		generation := s.Generation()
		p.set(func(p *provider) { p.status = 500 })
		time.Sleep(600*time.Second + maxStale - time.Second)
		p.set(func(p *provider) { p.delay = time.Hour })
		s.mu.Lock()
		s.next = time.Now() // the fetch in the background, which may come at any time
		s.mu.Unlock()
		s.wake <- struct{}{}
		time.Sleep(2 * time.Second)
		if s.Generation() == generation {
			t.Error("what the keys have verified is still relied upon")
		}
		wantUnavailable(t, s, "a")
	})
}

// TestServersDoNotComeAtOnce opens many sets at one moment: that they are
// refreshed at different ones is what spares the provider.
func TestServersDoNotComeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: jwks("a"), header: http.Header{"Cache-Control": {"max-age=1000"}}}
		begun := time.Now()
		var sets []*Set
		for range 50 {
			s := Open(Source{URL: where}, Options{Transport: p})
			defer s.Close()
			sets = append(sets, s)
		}
		synctest.Wait()
		at := make(map[time.Duration]bool)
		for _, s := range sets {
			s.mu.Lock()
			next := s.next.Sub(begun)
			s.mu.Unlock()
			at[next.Round(time.Second)] = true
			if next < 750*time.Second || next >= 950*time.Second {
				t.Errorf("a set of 1000 s is fetched again after %v", next)
			}
		}
		if len(at) < 20 {
			t.Errorf("50 sets come at %d different seconds", len(at))
		}
	})
}

func TestRedirectWithinTheHostIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &redirector{provider{body: jwks("a")}}
		s := Open(Source{URL: where}, Options{Transport: p})
		defer s.Close()
		wantKey(t, s, "a")
	})
}

type redirector struct{ provider }

func (p *redirector) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/keys" {
		return &http.Response{
			StatusCode: 307, Header: http.Header{"Location": {"/v2/keys"}}, Request: r, Body: http.NoBody,
		}, nil
	}
	return p.provider.RoundTrip(r)
}

func TestLifeOfASetIsWhatCacheControlSaysWithinBounds(t *testing.T) {
	for _, test := range []struct {
		header http.Header
		want   time.Duration
	}{
		{nil, defaultLife},
		{http.Header{"Cache-Control": {"max-age=3600"}}, time.Hour},
		{http.Header{"Cache-Control": {"public, Max-Age=3600, must-revalidate"}}, time.Hour},
		{http.Header{"Cache-Control": {"public", `max-age="3600"`}}, time.Hour},
		{http.Header{"Cache-Control": {"max-age=0"}}, minLife},
		{http.Header{"Cache-Control": {"max-age=59"}}, minLife},
		{http.Header{"Cache-Control": {"no-store"}}, minLife},
		{http.Header{"Cache-Control": {"max-age=3600, no-cache"}}, minLife},
		{http.Header{"Cache-Control": {"max-age=31536000"}}, maxLife},
		{http.Header{"Cache-Control": {"max-age=99999999999999999999999"}}, maxLife},
		{http.Header{"Cache-Control": {"max-age=9223372036854775807"}}, maxLife},
		{http.Header{"Cache-Control": {"max-age=-5"}}, defaultLife},
		{http.Header{"Cache-Control": {"max-age=soon"}}, defaultLife},
		{http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"600"}}, 50 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"99999"}}, minLife},
	} {
		if got := life(test.header); got != test.want {
			t.Errorf("%v: got %v, want %v", test.header, got, test.want)
		}
	}
}

func TestSetWithoutUsableKeysIsReportedAndHasNone(t *testing.T) {
	p := &provider{body: jwks("a"), header: http.Header{"Cache-Control": {"max-age=60"}}}
	bubble(t, p, func(t *testing.T, s *Set, j *journal) {
		wantKey(t, s, "a")
		before := s.Generation()
		p.set(func(p *provider) { p.body = `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a"}]}` })
		time.Sleep(time.Minute)
		wantNoKey(t, s, "a")
		if s.Generation() == before || j.count("without usable keys") == 0 || j.count("left out") == 0 {
			t.Errorf("generation %d, reports %q", s.Generation(), j.lines)
		}
	})
}

func TestRequestThatEndsDoesNotEndTheFetch(t *testing.T) {
	p := &provider{body: jwks("a"), delay: time.Second}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Keys(ctx, "a", "EdDSA"); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		wantKey(t, s, "a")
		if p.count() != 1 {
			t.Errorf("got %d fetches", p.count())
		}
	})
}

func TestKeyOfAnotherAlgorithmIsNoReasonToFetch(t *testing.T) {
	p := &provider{body: jwks("a")}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		for _, kid := range []string{"a", ""} {
			if keys, err := s.Keys(t.Context(), kid, "RS256"); err != nil || len(keys) != 0 {
				t.Errorf("kid %q: got %d keys, error %v", kid, len(keys), err)
			}
		}
		if p.count() != 1 {
			t.Errorf("got %d fetches", p.count())
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Open(Source{URL: where}, Options{Transport: &provider{delay: time.Hour}})
		time.Sleep(time.Second)
		s.Close() // the bubble fails if a goroutine remains
		wantUnavailable(t, s, "a")
	})
}

func TestStatusSaysWhatIsGoingOn(t *testing.T) {
	p := &provider{body: jwks("a", "b")}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		st := s.Status()
		if st.Source != where || len(st.Keys) != 2 || st.Failures != 0 || st.Error != "" || st.Expires.Sub(st.Fetched) != defaultLife {
			t.Errorf("got %+v", st)
		}
	})
}
