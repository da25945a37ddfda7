package token

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// changing is a source whose keys can be taken away.
type changing struct {
	mu    sync.Mutex
	keys  []*jwk.Key
	gen   atomic.Uint64
	asked int
}

func (c *changing) Keys(context.Context, string, string) ([]*jwk.Key, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.keys, nil
}

func (c *changing) Generation() uint64 { return c.gen.Load() }

func (c *changing) set(keys ...*jwk.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = keys
	c.gen.Add(1)
}

func TestCachedTokenIsNotVerifiedAgain(t *testing.T) {
	p := families()["ES256"]
	source := &changing{keys: []*jwk.Key{p.verify}}
	iss := standard(p)
	iss.Keys = source
	v := verifier(t, Options{Cache: 10}, iss)
	raw := sign(t, p, goodClaims)
	first, err := v.Verify(context.Background(), raw, now)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		// Another string with the same bytes.
		again, err := v.Verify(context.Background(), strings.Clone(raw), now)
		if err != nil || again != first {
			t.Fatal(err)
		}
	}
	if source.asked != 1 || v.Stats() != (Stats{Hits: 5, Misses: 1, Entries: 1}) {
		t.Errorf("asked %d times, %+v", source.asked, v.Stats())
	}
}

func TestKeyThatLeavesTakesItsCachedTokensAlong(t *testing.T) {
	p := families()["ES256"]
	source := &changing{keys: []*jwk.Key{p.verify}}
	iss := standard(p)
	iss.Keys = source
	v := verifier(t, Options{Cache: 10}, iss)
	raw := sign(t, p, goodClaims)
	for range 2 {
		if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Fatal(err)
		}
	}
	source.set(families()["ES384"].verify)
	refused(t, v, raw, ReasonAlgorithm)
	source.set()
	refused(t, v, raw, ReasonUnknownKey)
	source.set(p.verify)
	for range 2 {
		if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Error(err)
		}
	}
	if st := v.Stats(); st.Entries != 1 || st.Hits != 2 {
		t.Errorf("%+v", st)
	}
}

// rotating loses its key while it is asked for it.
type rotating struct{ changing }

func (r *rotating) Keys(ctx context.Context, kid, alg string) ([]*jwk.Key, error) {
	keys, err := r.changing.Keys(ctx, kid, alg)
	r.set()
	return keys, err
}

func TestTokenVerifiedWhileItsKeyLeavesIsNotCached(t *testing.T) {
	p := families()["ES256"]
	source := &rotating{}
	source.keys = []*jwk.Key{p.verify}
	iss := standard(p)
	iss.Keys = source
	v := verifier(t, Options{Cache: 10}, iss)
	raw := sign(t, p, goodClaims)
	if _, err := v.Verify(context.Background(), raw, now); err != nil {
		t.Fatal(err)
	}
	refused(t, v, raw, ReasonUnknownKey)
}

// TestCachedTokenIsJudgedLikeAFreshOne asks at many times, forwards and
// backwards, and compares with a verifier that has no cache.
func TestCachedTokenIsJudgedLikeAFreshOne(t *testing.T) {
	p := families()["HS256"]
	aged := standard(p)
	aged.MaxAge = 400 * time.Second
	for name, iss := range map[string]Issuer{"exp": standard(p), "max_age": aged} {
		for _, claims := range []string{
			claimsWith("nbf", "1795341550"),
			claimsWith("iat", ""),
			claimsWith("exp", "1795341700.5"),
			claimsWith("exp", "253402300799", "iat", "1795341400"),
		} {
			options := Options{Leeway: 30 * time.Second}
			fresh := verifier(t, options, iss)
			options.Cache = 4
			kept := verifier(t, options, iss)
			raw := sign(t, p, claims)
			times := []int{0, 10, -45, -90, -200, 1, 69, 70, 99, 100, 101, 129, 130, 131, 200, 229, 230, 231, 300, 329, 330, 331, 899, 900, 901, 929, 930, 931, 0, -81, -80, -79, 5}
			for _, sec := range times {
				at := now.Add(time.Duration(sec) * time.Second)
				_, want := fresh.Verify(context.Background(), raw, at)
				_, got := kept.Verify(context.Background(), raw, at)
				if reasonOf(got) != reasonOf(want) || (got == nil) != (want == nil) {
					t.Errorf("%s, %s at %+d: cached says %v, fresh %v", name, claims, sec, got, want)
				}
			}
		}
	}
}

func TestCachedTokenIsRevokedAtOnce(t *testing.T) {
	p := families()["HS256"]
	var revoked atomic.Bool
	v := verifier(t, Options{Cache: 4, Revoked: func(tok *Token) bool {
		return revoked.Load() && tok.Principal.TokenID == "8b0b5f0e-6c0a-4a39-9d57-8f7a5c1f2d11"
	}}, standard(p))
	raw, other := sign(t, p, goodClaims), sign(t, p, claimsWith())
	for range 2 {
		for _, r := range []string{raw, other} {
			if _, err := v.Verify(context.Background(), r, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	revoked.Store(true)
	refused(t, v, raw, ReasonRevoked)
	if _, err := v.Verify(context.Background(), other, now); err != nil {
		t.Error(err)
	}
	fresh := verifier(t, Options{Revoked: v.revoked}, standard(p))
	refused(t, fresh, raw, ReasonRevoked)
}

func TestCacheHoldsNoMoreThanItsEntries(t *testing.T) {
	p := families()["HS256"]
	for _, entries := range []int{1, 2, 7, 63, 64, 100, 1000} {
		v := verifier(t, Options{Cache: entries}, standard(p))
		const n = 3000
		for i := range n {
			raw := sign(t, p, claimsWith("jti", fmt.Sprintf(`"%d"`, i)))
			if _, err := v.Verify(context.Background(), raw, now); err != nil {
				t.Fatal(err)
			}
		}
		st := v.Stats()
		indexed := 0
		for i := range v.cache.shards {
			indexed += len(v.cache.shards[i].index)
		}
		if st.Entries > entries || indexed != st.Entries || st.Misses != n || st.Evicted != uint64(n-st.Entries) {
			t.Errorf("%d entries allowed: %+v, %d indexed", entries, st, indexed)
		}
		if st.Entries < entries*3/4 {
			t.Errorf("%d entries allowed, only %d used", entries, st.Entries)
		}
	}
}

func TestTokensThatComeTwiceOutliveAFloodOfNewOnes(t *testing.T) {
	p := families()["HS256"]
	v := verifier(t, Options{Cache: 20}, standard(p))
	regular := sign(t, p, claimsWith())
	for i := range 500 {
		for _, raw := range []string{regular, sign(t, p, claimsWith("jti", fmt.Sprintf(`"%d"`, i)))} {
			if _, err := v.Verify(context.Background(), raw, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st := v.Stats(); st.Hits != 499 {
		t.Errorf("%+v", st)
	}
}

func TestExpiredEntriesMakeRoomFirst(t *testing.T) {
	p := families()["HS256"]
	v := verifier(t, Options{Cache: 4}, standard(p))
	old := make([]string, 3)
	for i := range old {
		old[i] = sign(t, p, claimsWith("exp", "1795341700", "jti", fmt.Sprintf(`"%d"`, i)))
	}
	regular := sign(t, p, claimsWith())
	for _, raw := range append(old, regular, regular, old[0], old[1], old[2]) {
		if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Fatal(err)
		}
	}
	later := now.Add(200 * time.Second)
	for i := range 3 {
		if _, err := v.Verify(context.Background(), sign(t, p, claimsWith("jti", fmt.Sprintf(`"n%d"`, i))), later); err != nil {
			t.Fatal(err)
		}
	}
	before := v.Stats().Hits
	if _, err := v.Verify(context.Background(), regular, later); err != nil || v.Stats().Hits != before+1 {
		t.Error("the one that was good had to go")
	}
}

func TestRefusedTokensAreNotCached(t *testing.T) {
	p := families()["HS256"]
	v := verifier(t, Options{Cache: 100}, standard(p))
	good := sign(t, p, goodClaims)
	for _, raw := range []string{
		"", "x", good + "A", good[:len(good)-1] + "!", sign(t, p, claimsWith("exp", "1")), sign(t, p, claimsWith("sub", "")),
		sign(t, pair{alg: "HS256", sign: []byte(strings.Repeat("x", 32))}, goodClaims),
	} {
		for range 2 {
			if _, err := v.Verify(context.Background(), raw, now); err == nil {
				t.Errorf("%q accepted", raw)
			}
		}
	}
	if st := v.Stats(); st.Entries != 0 || st.Hits != 0 {
		t.Errorf("%+v", st)
	}
}

// TestCollisionDoesNotConfuseTokens plants the entry of one token where the
// hash of another leads.
func TestCollisionDoesNotConfuseTokens(t *testing.T) {
	p := families()["HS256"]
	v := verifier(t, Options{Cache: 10}, standard(p))
	admin, user := sign(t, p, claimsWith("sub", `"admin"`)), sign(t, p, claimsWith("sub", `"clerk"`))
	if len(admin) != len(user) {
		t.Fatal("the two differ in length, which would be too easy")
	}
	if _, err := v.Verify(context.Background(), admin, now); err != nil {
		t.Fatal(err)
	}
	s := &v.cache.shards[0]
	for _, i := range s.index {
		s.index[v.cache.hash(user)] = i
	}
	tok, err := v.Verify(context.Background(), user, now)
	if err != nil || tok.Principal.ID != "clerk" {
		t.Errorf("got %v, %v", tok, err)
	}
}

func TestEqualLooksAtEveryByte(t *testing.T) {
	text := strings.Repeat("abcdefgh", 9)
	for n := range len(text) {
		a := text[:n]
		if !equal(a, strings.Clone(a)) || equal(a, text[:n+1]) || equal(text[:n+1], a) {
			t.Fatalf("length %d", n)
		}
		for i := range n {
			b := []byte(a)
			b[i] ^= 0x80
			if equal(a, string(b)) {
				t.Fatalf("length %d: byte %d is not looked at", n, i)
			}
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	p := families()["HS256"]
	source := &changing{keys: []*jwk.Key{p.verify}}
	iss := standard(p)
	iss.Keys = source
	v := verifier(t, Options{Cache: 64}, iss)
	var tokens []string
	for i := range 200 {
		tokens = append(tokens, sign(t, p, claimsWith("sub", fmt.Sprintf(`"user %d"`, i))))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				n := (i*7 + g*31) % len(tokens)
				tok, err := v.Verify(context.Background(), tokens[n], now)
				if err != nil || tok.Principal.ID != fmt.Sprintf("user %d", n) {
					t.Errorf("token %d: %v", n, err)
					return
				}
				if i%100 == 0 {
					source.gen.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if st := v.Stats(); st.Hits+st.Misses != 4000 || st.Entries > 64 {
		t.Errorf("%+v", st)
	}
}

// TestEntryTakesLittleMemory holds what Options.Cache promises.
func TestEntryTakesLittleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	const n = 5000
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	p := families()["HS256"]
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = sign(t, p, strings.Replace(goodClaims, "8b0b5f0e", fmt.Sprintf("%08x", i), 1))
	}
	before := heap()
	v := verifier(t, Options{Cache: 2 * n}, standard(p))
	for _, raw := range tokens {
		if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Fatal(err)
		}
	}
	per := int(heap()-before) / n
	t.Logf("%d bytes an entry, with tokens of %d bytes", per, len(tokens[0]))
	if limit := 1024 + len(tokens[0]); per > limit {
		t.Errorf("%d bytes an entry, want at most %d", per, limit)
	}
	runtime.KeepAlive(tokens)
	runtime.KeepAlive(v)
}

func TestAsManyTokensAsEntriesAllFit(t *testing.T) {
	const n = 5000
	c := newCache(n)
	iss := &issuer{Issuer: Issuer{Keys: StaticKeys()}}
	now := time.Unix(1_700_000_000, 0)
	tok := &Token{Expires: now.Add(time.Hour)}
	for i := range 2 * n {
		c.put("token"+strconv.Itoa(i%n), tok, now.UnixNano(), iss, 0)
	}
	for i := range n {
		if c.get("token"+strconv.Itoa(i), now.UnixNano()) == nil {
			t.Fatalf("token %d of %d is not remembered", i, n)
		}
	}
	for i := range n {
		c.put("other"+strconv.Itoa(i), tok, now.UnixNano(), iss, 0)
	}
	if got := c.stats().Entries; got != n {
		t.Errorf("%d entries, the bound is %d", got, n)
	}
}
