package issuer

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// memory is a storage for tests.
type memory struct {
	mu     sync.Mutex
	lock   sync.Mutex
	files  map[string][]byte
	loads  int
	stores int
	broken error
}

func newMemory() *memory { return &memory{files: make(map[string][]byte)} }

func (m *memory) Lock(context.Context, string) error   { m.lock.Lock(); return nil }
func (m *memory) Unlock(context.Context, string) error { m.lock.Unlock(); return nil }

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	if m.broken != nil {
		return nil, m.broken
	}
	if v, ok := m.files[key]; ok {
		return v, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stores++
	m.files[key] = value
	return m.broken
}

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T, m *memory, c *clock) *Issuer {
	t.Helper()
	i, err := Open(t.Context(), m, Options{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func start() *clock { return &clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

func verifier(t *testing.T, i *Issuer) *token.Verifier {
	t.Helper()
	v, err := token.NewVerifier([]token.Issuer{{Name: i.Name(), Keys: i}}, token.Options{Cache: 100})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mint(t *testing.T, i *Issuer, ttl time.Duration) string {
	t.Helper()
	raw, err := i.Mint(map[string]any{"sub": "alice"}, "", ttl)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTokenOfOneProcessVerifiesInAnotherThatSharesTheStorage(t *testing.T) {
	m, c := newMemory(), start()
	server := open(t, m, c)
	v := verifier(t, server)
	raw := mint(t, open(t, m, c), time.Minute)
	tok, err := v.Verify(t.Context(), raw, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	if tok.Principal.ID != "alice" || tok.Principal.TokenID == "" || tok.Principal.KeyID == "" {
		t.Errorf("got %+v", tok.Principal)
	}
	if _, err := v.Verify(t.Context(), raw, c.Now().Add(time.Minute)); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("expired: got %v", err)
	}
	if m.stores != 1 {
		t.Errorf("%d keys were made", m.stores)
	}
}

func TestKeyThatAnotherProcessHasJustMadeIsFoundWithoutRestart(t *testing.T) {
	m, c := newMemory(), start()
	server := open(t, m, c)
	c.add(DefaultRotate + 2*time.Hour) // the server has slept over it
	other := open(t, m, c)
	c.add(2 * time.Hour)
	raw := mint(t, other, time.Minute)
	if _, err := verifier(t, server).Verify(t.Context(), raw, c.Now()); err != nil {
		t.Error(err)
	}
}

func TestManyServersThatStartAtOnceMakeOneKey(t *testing.T) {
	m, c := newMemory(), start()
	var wg sync.WaitGroup
	ids := make([]string, 20)
	for n := range ids {
		wg.Go(func() {
			i, err := Open(context.Background(), m, Options{Now: c.Now})
			if err != nil {
				t.Error(err)
				return
			}
			ids[n] = i.KeyIDs()[0]
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("servers disagree: %q", ids)
		}
	}
	if m.stores != 1 {
		t.Errorf("%d keys were made", m.stores)
	}
}

func TestKeyThatComesLateIsStillPublishedBeforeItSigns(t *testing.T) {
	m, c := newMemory(), start()
	first := open(t, m, c).KeyIDs()[0]
	c.add(3 * DefaultRotate) // no server ran for long
	i := open(t, m, c)
	if got := i.signer(c.Now()).public.ID; got != first || len(i.KeyIDs()) != 2 {
		t.Errorf("%s signs, of %q", got, i.KeyIDs())
	}
	c.add(ahead)
	if got := i.signer(c.Now()).public.ID; got == first {
		t.Error("the old key still signs")
	}
}

func TestUnknownKeysCannotHammerTheStorage(t *testing.T) {
	m, c := newMemory(), start()
	i := open(t, m, c)
	before := m.loads
	for range 1000 {
		if keys, err := i.Keys(t.Context(), "unknown", "EdDSA"); err != nil || len(keys) != 0 {
			t.Fatalf("got %d keys, error %v", len(keys), err)
		}
	}
	if n := m.loads - before; n > 1 {
		t.Errorf("1000 unknown keys cost %d reads", n)
	}
}

func TestStorageThatIsDownIsUnavailableNotInvalid(t *testing.T) {
	m, c := newMemory(), start()
	i := open(t, m, c)
	m.broken = errors.New("no route to storage")
	if _, err := i.Keys(t.Context(), "unknown", "EdDSA"); !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := i.Keys(t.Context(), i.KeyIDs()[0], "EdDSA"); err != nil {
		t.Errorf("a known key: %v", err)
	}
	if _, err := Open(t.Context(), m, Options{}); err == nil {
		t.Error("opened without a storage")
	}
}

func TestGarbageInTheStorageIsAnErrorAndStaysAsItIs(t *testing.T) {
	for _, garbage := range []string{
		"", "{", "{}", `{"issuer":"urn:caddy-moat:internal","keys":[]}`,
		`{"issuer":"other","keys":[{"seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","from":"2026-11-22T10:00:00Z"}]}`,
		`{"issuer":"urn:caddy-moat:internal","keys":[{"seed":"AAAA","from":"2026-11-22T10:00:00Z"}]}`,
		`{"issuer":"urn:caddy-moat:internal","keys":[{"seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`,
	} {
		m := newMemory()
		m.files[StorageKey(DefaultName)] = []byte(garbage)
		if _, err := Open(t.Context(), m, Options{}); err == nil {
			t.Errorf("%q was accepted", garbage)
		} else if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("the error shows a key: %v", err)
		}
		if string(m.files[StorageKey(DefaultName)]) != garbage {
			t.Errorf("%q was overwritten", garbage)
		}
	}
}

// TestNoTokenOutlivesItsKey goes through a year in steps of six hours and keeps the
// longest token of each day: every one must verify until it expires.
func TestNoTokenOutlivesItsKey(t *testing.T) {
	m, c := newMemory(), start()
	server := open(t, m, c)
	v := verifier(t, server)
	type held struct {
		raw     string
		expires time.Time
	}
	var tokens []held
	seen := make(map[string]bool)
	for h := 0; h < 365*24; h += 6 {
		if err := server.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h%24 == 0 {
			tokens = append(tokens, held{mint(t, server, Keep), c.Now().Add(Keep)})
		}
		if h%12 == 0 {
			for len(tokens) > 0 && !tokens[0].expires.After(c.Now()) {
				tokens = tokens[1:]
			}
			tok, err := v.Verify(t.Context(), tokens[0].raw, c.Now())
			if err != nil {
				t.Fatalf("hour %d: %v", h, err)
			}
			seen[tok.Principal.KeyID] = true
		}
		if n := len(server.KeyIDs()); n > 4 {
			t.Fatalf("hour %d: %d keys verify", h, n)
		}
		c.add(6 * time.Hour)
	}
	if len(seen) < 11 {
		t.Errorf("only %d keys in a year", len(seen))
	}
}

func TestNewKeyIsPublishedBeforeItSigns(t *testing.T) {
	m, c := newMemory(), start()
	i := open(t, m, c)
	first := i.KeyIDs()[0]
	c.add(DefaultRotate - ahead)
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(i.KeyIDs()) != 2 {
		t.Fatalf("got keys %q", i.KeyIDs())
	}
	if got := i.signer(c.Now()).public.ID; got != first {
		t.Error("the new key signs at once")
	}
	c.add(ahead)
	if got := i.signer(c.Now()).public.ID; got == first {
		t.Error("the old key still signs")
	}
	c.add(Keep + time.Second)
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys, _ := i.Keys(t.Context(), first, "EdDSA"); len(keys) != 0 {
		t.Error("the old key verifies for ever")
	}
}

func TestPublicSetHoldsNoPrivateKey(t *testing.T) {
	i := open(t, newMemory(), start())
	keys, skipped, err := jwk.ParseSet(i.PublicSet())
	if err != nil || len(skipped) != 0 || len(keys) != 1 || keys[0].ID != i.KeyIDs()[0] {
		t.Errorf("%s: got %d keys, %v, error %v", i.PublicSet(), len(keys), skipped, err)
	}
	if strings.Contains(string(i.PublicSet()), `"d"`) {
		t.Errorf("%s", i.PublicSet())
	}
}

func TestTokensThatCannotBeAreNotMinted(t *testing.T) {
	i := open(t, newMemory(), start())
	for _, ttl := range []time.Duration{0, -time.Hour, time.Millisecond, Keep + time.Second} {
		if _, err := i.Mint(nil, "", ttl); err == nil {
			t.Errorf("a token of %v was minted", ttl)
		}
	}
	for _, name := range []string{"iss", "exp", "iat", "jti"} {
		if _, err := i.Mint(map[string]any{name: 1}, "", time.Minute); err == nil {
			t.Errorf("the claim %s was the caller's", name)
		}
	}
	if _, err := Open(t.Context(), newMemory(), Options{Rotate: time.Hour}); err == nil {
		t.Error("a key an hour was accepted")
	}
}

func TestIssuersOfDifferentNamesDoNotShareKeys(t *testing.T) {
	if StorageKey("urn:a") == StorageKey("urn-a") {
		t.Error("one place for two names")
	}
	m, c := newMemory(), start()
	a, err := Open(t.Context(), m, Options{Name: "a", Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), m, Options{Name: "b", Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if a.KeyIDs()[0] == b.KeyIDs()[0] {
		t.Error("one key for two names")
	}
}
