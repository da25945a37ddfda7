package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

var bg = context.Background()

// clock is a time that tests change.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(1_800_000_000_000_000_000)
	return c
}
func (c *clock) now() time.Time           { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(by time.Duration) { c.at.Add(int64(by)) }

// away is a storage that can be out of reach.
type away struct {
	certmagic.Storage
	gone atomic.Bool
}

var errGone = errors.New("no route to host")

func (a *away) Load(ctx context.Context, key string) ([]byte, error) {
	if a.gone.Load() {
		return nil, errGone
	}
	return a.Storage.Load(ctx, key)
}

func (a *away) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	if a.gone.Load() {
		return certmagic.KeyInfo{}, errGone
	}
	return a.Storage.Stat(ctx, key)
}

func (a *away) Store(ctx context.Context, key string, value []byte) error {
	if a.gone.Load() {
		return errGone
	}
	return a.Storage.Store(ctx, key, value)
}

func (a *away) Lock(ctx context.Context, key string) error {
	if a.gone.Load() {
		return errGone
	}
	return a.Storage.Lock(ctx, key)
}

const host = "app.example.com"

func open(t testing.TB, storage certmagic.Storage, c *clock) *Store {
	t.Helper()
	ring, err := OpenKeyring(bg, storage, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return New(ring, storage, Options{Issuer: "https://id.example.com", Client: "app", Idle: time.Hour, Lifetime: 12 * time.Hour, Now: c.now})
}

func alice() *Session {
	s := &Session{Subject: "alice", SID: "s1"}
	s.Private.Claims = json.RawMessage(`{"sub":"alice","n":12345678901234567890}`)
	s.Private.Refresh, s.Private.Access = "refresh-token", "access-token"
	return s
}

func find(s *Store, cookie string) (*Live, error) {
	l, _, err := s.Find(bg, host, cookie)
	return l, err
}

func TestSessionIsFoundByItsCookieAlone(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	storage := &certmagic.FileStorage{Path: dir}
	s := open(t, storage, c)
	_, cookie, err := s.Create(bg, host, alice())
	if err != nil {
		t.Fatal(err)
	}
	// Another server on the storage, which has nothing in memory.
	for name, store := range map[string]*Store{"this server": s, "another server": open(t, storage, c)} {
		l, err := find(store, cookie)
		if err != nil || l.Session().Subject != "alice" || l.Session().Private.Refresh != "refresh-token" || !strings.Contains(string(l.Session().Private.Claims), "12345678901234567890") {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if _, _, err := s.Find(bg, "other.example.com", cookie); !errors.Is(err, ErrSealed) {
		t.Errorf("on another host: %v", err)
	}
	other := New(s.ring, storage, Options{Issuer: "https://id.example.com", Client: "other", Idle: time.Hour, Lifetime: time.Hour, Now: c.now})
	if _, err := find(other, cookie); !errors.Is(err, ErrSealed) {
		t.Errorf("of another client: %v", err)
	}
	for i := range cookie {
		changed := []byte(cookie)
		if changed[i]++; changed[i] == 'Z'+1 || changed[i] == 'z'+1 || changed[i] == '9'+1 {
			changed[i] = 'A'
		}
		if string(changed) == cookie {
			continue
		}
		if _, err := find(s, string(changed)); !errors.Is(err, ErrSealed) {
			t.Fatalf("changed at %d: %v", i, err)
		}
	}
	// Nothing in the storage opens a session or shows a token.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			text, _ := os.ReadFile(path)
			for _, secret := range []string{"refresh-token", "access-token", "1234567890"} {
				if strings.Contains(string(text), secret) {
					t.Errorf("%s shows %s", path, secret)
				}
			}
		}
		return nil
	})
}

func TestSessionsEnd(t *testing.T) {
	c := newClock()
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	s, other := open(t, storage, c), open(t, storage, c)
	l, cookie, _ := s.Create(bg, host, alice())
	if _, err := find(other, cookie); err != nil {
		t.Fatal(err)
	}
	// Idle, unless the cookie is renewed.
	c.advance(59 * time.Minute)
	if _, renew, err := s.Find(bg, host, cookie); err != nil || !renew {
		t.Errorf("after 59m: %v, %v", renew, err)
	}
	renewed := s.Cookie(host, l)
	c.advance(2 * time.Minute)
	if _, err := find(s, cookie); !errors.Is(err, ErrEnded) {
		t.Errorf("after 61m: %v", err)
	}
	if _, renew, err := s.Find(bg, host, renewed); err != nil || renew {
		t.Errorf("renewed: %v, %v", renew, err)
	}
	// A log-out here is one everywhere, within some seconds.
	if err := l.End(bg); err != nil {
		t.Fatal(err)
	}
	if _, err := find(s, renewed); !errors.Is(err, ErrEnded) {
		t.Errorf("ended: %v", err)
	}
	c.advance(6 * time.Second)
	if _, err := find(other, renewed); !errors.Is(err, ErrEnded) {
		t.Errorf("ended by another server: %v", err)
	}
	if _, err := find(open(t, storage, c), renewed); !errors.Is(err, ErrEnded) {
		t.Errorf("after a restart: %v", err)
	}
	if !Revoked(l, c.now()) {
		t.Error("streams go on")
	}
	// In any case.
	l, _, _ = s.Create(bg, host, alice())
	c.advance(12 * time.Hour)
	if _, err := find(s, s.Cookie(host, l)); !errors.Is(err, ErrEnded) {
		t.Errorf("after its lifetime: %v", err)
	}
	s.Sweep(bg)
	if all, err := List(bg, storage, s.prefix, time.Time{}); err != nil || len(all) > 1 {
		t.Errorf("not swept: %v, %v", all, err)
	}
}

func TestProviderEndsTheSessionsItNames(t *testing.T) {
	c := newClock()
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	s := open(t, storage, c)
	var cookies []string
	for _, who := range [][2]string{{"alice", "s1"}, {"alice", "s2"}, {"bob", "s3"}, {"carol", ""}} {
		_, cookie, err := s.Create(bg, host, &Session{Subject: who[0], SID: who[1], Private: Private{Claims: json.RawMessage(`{}`)}})
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, cookie)
	}
	for _, tc := range []struct {
		sub, sid string
		n        int
		left     string
	}{
		{"nobody", "", 0, "0123"},
		{"bob", "s1", 0, "0123"},
		{"", "s2", 1, "023"},
		{"alice", "s1", 1, "23"},
		{"bob", "", 1, "3"},
	} {
		n, err := s.EndAll(bg, tc.sub, tc.sid)
		left := ""
		for i, cookie := range cookies {
			if _, err := find(s, cookie); err == nil {
				left += fmt.Sprint(i)
			}
		}
		if n != tc.n || err != nil || left != tc.left {
			t.Errorf("%+v: ended %d, %v, left %s", tc, n, err, left)
		}
	}
}

func TestStorageThatIsAwayLogsNobodyOutAndNobodyIn(t *testing.T) {
	c := newClock()
	storage := &away{Storage: &certmagic.FileStorage{Path: t.TempDir()}}
	s := open(t, storage, c)
	_, cookie, _ := s.Create(bg, host, alice())
	other := open(t, storage, c)
	storage.gone.Store(true)
	if _, err := find(s, cookie); err != nil {
		t.Errorf("right after: %v", err)
	}
	if _, err := find(other, cookie); !errors.Is(err, ErrStorage) {
		t.Errorf("not known here: %v", err)
	}
	c.advance(6 * time.Second)
	for range 2 {
		if _, err := find(s, cookie); !errors.Is(err, ErrStorage) {
			t.Errorf("when it is looked: %v", err)
		}
	}
	if _, _, err := s.Create(bg, host, alice()); !errors.Is(err, ErrStorage) {
		t.Errorf("a login: %v", err)
	}
	storage.gone.Store(false)
	for _, store := range []*Store{s, other} {
		if _, err := find(store, cookie); err != nil {
			t.Errorf("it is back: %v", err)
		}
	}
}

func TestRefreshHappensOnceOnAllServers(t *testing.T) {
	c := newClock()
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	s, other := open(t, storage, c), open(t, storage, c)
	first := alice()
	first.Private.Expires = c.now().Add(time.Minute)
	l, cookie, _ := s.Create(bg, host, first)
	elsewhere, err := find(other, cookie)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	renew := func(_ context.Context, old *Session) (*Session, error) {
		asked.Add(1)
		if old.Private.Refresh != "refresh-token" {
			return nil, ErrEnded // it was used
		}
		time.Sleep(20 * time.Millisecond)
		fresh := *old
		fresh.Private.Refresh, fresh.Private.Expires = "second", c.now().Add(time.Hour)
		return &fresh, nil
	}
	if err := l.Refresh(bg, renew); err != nil || asked.Load() != 0 {
		t.Fatalf("before it expires: %v, asked %d", err, asked.Load())
	}
	c.advance(2 * time.Minute)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			live := []*Live{l, elsewhere}[i%2]
			if err := live.Refresh(bg, renew); err != nil {
				t.Error(err)
			}
			if got := live.Session().Private.Refresh; got != "second" {
				t.Errorf("goes on with %s", got)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestRefreshGoesOnWithoutItsRequest(t *testing.T) {
	c := newClock()
	s := open(t, &certmagic.FileStorage{Path: t.TempDir()}, c)
	first := alice()
	first.Private.Expires = c.now()
	l, cookie, _ := s.Create(bg, host, first)
	gone, leave := context.WithCancel(bg)
	asked := make(chan struct{})
	go func() { <-asked; leave() }()
	if err := l.Refresh(gone, func(ctx context.Context, old *Session) (*Session, error) {
		close(asked)
		<-gone.Done()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		fresh := *old
		fresh.Private.Refresh, fresh.Private.Expires = "second", c.now().Add(time.Hour)
		return &fresh, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.Refresh(bg, func(context.Context, *Session) (*Session, error) { return nil, ErrEnded }); err != nil {
		t.Fatal(err)
	}
	if l, err := find(s, cookie); err != nil || l.Session().Private.Refresh != "second" {
		t.Errorf("%v", err)
	}
}

func TestFailedRefreshes(t *testing.T) {
	c := newClock()
	storage := &away{Storage: &certmagic.FileStorage{Path: t.TempDir()}}
	s := open(t, storage, c)
	first := alice()
	first.Private.Expires = c.now()
	l, cookie, _ := s.Create(bg, host, first)
	asked := 0
	fails := func(context.Context, *Session) (*Session, error) { asked++; return nil, errors.New("502") }
	for range 3 {
		if err := l.Refresh(bg, fails); err != nil {
			t.Errorf("the provider is away: %v", err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times at once", asked)
	}
	// What cannot be stored is not lost, and the old token not used again.
	c.advance(time.Minute)
	if err := l.Refresh(bg, func(_ context.Context, old *Session) (*Session, error) {
		storage.gone.Store(true)
		fresh := *old
		fresh.Private.Refresh, fresh.Private.Expires = "second", c.now().Add(time.Minute)
		return &fresh, nil
	}); err != nil || l.Session().Private.Refresh != "second" {
		t.Fatalf("%v, %s", err, l.Session().Private.Refresh)
	}
	storage.gone.Store(false)
	c.advance(2 * time.Minute)
	if err := l.Refresh(bg, func(_ context.Context, old *Session) (*Session, error) {
		if old.Private.Refresh != "second" {
			t.Errorf("refreshed with %s", old.Private.Refresh)
		}
		return nil, ErrEnded
	}); !errors.Is(err, ErrEnded) {
		t.Errorf("taken back: %v", err)
	}
	if _, err := find(open(t, storage, c), cookie); !errors.Is(err, ErrEnded) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestRefreshDoesNotBringASessionBack(t *testing.T) {
	c := newClock()
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	s, other := open(t, storage, c), open(t, storage, c)
	first := alice()
	first.Private.Expires = c.now()
	l, cookie, _ := s.Create(bg, host, first)
	elsewhere, _ := find(other, cookie)
	if err := elsewhere.End(bg); err != nil {
		t.Fatal(err)
	}
	if err := l.Refresh(bg, func(_ context.Context, old *Session) (*Session, error) {
		t.Error("the provider was asked")
		return old, nil
	}); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if all, err := List(bg, storage, s.prefix, c.now()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestWhatCouldNotBeStoredBringsNoSessionBack: the session was ended on another
// server while the renewed one waited for the storage.
func TestWhatCouldNotBeStoredBringsNoSessionBack(t *testing.T) {
	c := newClock()
	shared := &certmagic.FileStorage{Path: t.TempDir()}
	storage := &away{Storage: shared}
	s, other := open(t, storage, c), open(t, shared, c)
	first := alice()
	first.Private.Expires = c.now()
	l, cookie, _ := s.Create(bg, host, first)
	if err := l.Refresh(bg, func(_ context.Context, old *Session) (*Session, error) {
		storage.gone.Store(true)
		fresh := *old
		fresh.Private.Refresh, fresh.Private.Expires = "second", c.now().Add(time.Second)
		return &fresh, nil
	}); err != nil || l.Session().Private.Refresh != "second" {
		t.Fatalf("%v, %s", err, l.Session().Private.Refresh)
	}
	elsewhere, err := find(other, cookie)
	if err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.End(bg); err != nil {
		t.Fatal(err)
	}
	storage.gone.Store(false)
	c.advance(2 * time.Minute)
	if err := l.Refresh(bg, func(_ context.Context, old *Session) (*Session, error) {
		t.Error("the provider was asked")
		return old, nil
	}); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if all, err := List(bg, shared, s.prefix, c.now()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestKeysRotate(t *testing.T) {
	c := newClock()
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	ring, err := OpenKeyring(bg, storage, c.now)
	if err != nil {
		t.Fatal(err)
	}
	old := ring.Seal("p", []byte("text"))
	c.advance(rotateEvery)
	other, err := OpenKeyring(bg, storage, c.now) // makes the next one
	if err != nil {
		t.Fatal(err)
	}
	fresh := other.Seal("p", []byte("text"))
	if fresh[:8] == old[:8] {
		t.Error("the key is the same")
	}
	for name, sealed := range map[string]string{"old": old, "new": fresh} {
		for _, r := range []*Keyring{ring, other} {
			if text, err := r.Open(bg, "p", sealed); err != nil || string(text) != "text" {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		}
	}
	if _, err := ring.Open(bg, "q", fresh); !errors.Is(err, ErrSealed) {
		t.Errorf("for another purpose: %v", err)
	}
	c.advance(keepKeys + time.Hour)
	if err := ring.Refresh(bg); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Open(bg, "p", old); !errors.Is(err, ErrSealed) {
		t.Errorf("with a key that is gone: %v", err)
	}
	if err := storage.Store(bg, keyringKey, []byte(`[{"id":"12345678","key":"AAAA"}]`)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyring(bg, storage, c.now); err == nil {
		t.Error("a key that is too short was taken")
	}
}

func TestManySessionsAreNotKeptForEver(t *testing.T) {
	s := &Store{now: map[string]*Live{}}
	for i := range 3 * half {
		s.put(&Live{ticket: &Ticket{name: fmt.Sprint(i)}})
	}
	if n := len(s.now) + len(s.old); n > 2*half {
		t.Errorf("%d are kept", n)
	}
	if s.get(fmt.Sprint(3*half-1)) == nil || s.get("0") != nil {
		t.Error("not the latest are kept")
	}
}

// FuzzTarget wants that whatever a browser is sent to is a path of the same origin.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "/a?b=c", "//x", "/\\x", "/\t/x", "https://x", "/a#b", "/%0a", "/%5cx", "/..//x"} {
		f.Add(s)
	}
	base, _ := url.Parse("https://app.example.com/.moat/callback")
	f.Fuzz(func(t *testing.T, s string) {
		got := Target(s)
		if got != s && got != "/" {
			t.Errorf("%q became %q", s, got)
		}
		// As browsers read it (WHATWG URL): without tabs and newlines, and with
		// slashes for backslashes.
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimSpace(got))
		u, err := base.Parse(seen)
		if err != nil || u.Host != base.Host || u.Scheme != "https" || strings.HasPrefix(seen, "//") || slices.ContainsFunc([]byte(got), func(c byte) bool { return c < ' ' || c >= 0x7f }) {
			t.Errorf("%q leads to %v, %v", s, u, err)
		}
	})
}

// FuzzOpen wants that nothing is opened that was not sealed.
func FuzzOpen(f *testing.F) {
	c := newClock()
	ring, err := OpenKeyring(bg, &certmagic.FileStorage{Path: f.TempDir()}, c.now)
	if err != nil {
		f.Fatal(err)
	}
	sealed := ring.Seal("p", []byte("text"))
	f.Add(sealed)
	f.Add(sealed[:9])
	f.Fuzz(func(t *testing.T, s string) {
		if text, err := ring.Open(bg, "p", s); err == nil && (s != sealed || string(text) != "text") {
			t.Errorf("%q was opened: %q", s, text)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	c := newClock()
	s := open(b, &certmagic.FileStorage{Path: b.TempDir()}, c)
	_, cookie, err := s.Create(bg, host, alice())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := find(s, cookie); err != nil {
			b.Fatal(err)
		}
	}
}
