package apikey

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/fileedit"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

var (
	now       = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	secretKey = []byte("an example of a pepper, of 32 bytes or more")
)

func newPepper(t testing.TB) *Pepper {
	t.Helper()
	p, err := NewPepper(secretKey)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mint adds a key to f and returns its text.
func mint(t testing.TB, f *File, p *Pepper, change func(*Entry)) string {
	t.Helper()
	id := NewID()
	text, mac, err := Mint(p, f.Prefix, id)
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{ID: id, Owner: "acme", Created: now.Add(-time.Hour), Secrets: []Secret{{MAC: mac, Created: now.Add(-time.Hour)}}}
	if change != nil {
		change(&e)
	}
	f.Entries = append(f.Entries, e)
	return text
}

func newFile(p *Pepper) *File { return &File{Prefix: "moat", PepperCheck: p.Check()} }

// open writes f to a file and opens it.
func open(t testing.TB, f *File, p *Pepper) (*Store, chan filewatch.Event) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, f.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	events := make(chan filewatch.Event, 100)
	s, err := Open(path, p, func(e filewatch.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, events
}

func TestWhatIsNoKeyIsMalformed(t *testing.T) {
	good, _, err := Mint(newPepper(t), "acme_live", "7GhX2kQz9LmA")
	if err != nil {
		t.Fatal(err)
	}
	if k, err := ParseKey(good); err != nil || k.Prefix != "acme_live" || k.ID != "7GhX2kQz9LmA" {
		t.Fatalf("%s: got %+v, %v", good, k, err)
	}
	bad := []string{
		"", "_", "moat", "moat__", good + "x", "x" + good, " " + good, good + " ", good + "\n", strings.ToUpper(good), strings.ToLower(good),
		strings.TrimPrefix(good, "acme"), strings.ReplaceAll(good, "_", "-"), strings.Replace(good, "a", "а", 1), // Cyrillic
		strings.Repeat("A", 1<<20), "acme_live_7GhX2kQz9LmA", good + good, "\x00" + good[1:], good[:20] + "\xff" + good[21:],
	}
	for i := range good {
		bad = append(bad, good[:i]) // truncated anywhere
	}
	for _, text := range bad {
		if k, err := ParseKey(text); !errors.Is(err, ErrMalformed) || k != (Key{}) {
			t.Errorf("%.80q: got %+v, %v", text, k, err)
		}
	}
}

func TestChecksumFindsEveryWrongCharacterAndEverySwap(t *testing.T) {
	good, _, err := Mint(newPepper(t), "moat", NewID())
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for c := byte(0x20); c < 0x7f; c++ {
			if c == good[i] {
				continue
			}
			if text := good[:i] + string(c) + good[i+1:]; !malformed(text) {
				t.Errorf("%s for %s is accepted", text, good)
			}
		}
		if i+1 < len(good) && good[i] != good[i+1] {
			if text := good[:i] + string(good[i+1]) + string(good[i]) + good[i+2:]; !malformed(text) {
				t.Errorf("%s for %s is accepted", text, good)
			}
		}
	}
}

func malformed(text string) bool {
	_, err := ParseKey(text)
	return errors.Is(err, ErrMalformed)
}

func TestChecksumIsAsPublished(t *testing.T) {
	// "check" of CRC-32/ISO-HDLC: 0xCBF43926 is 3421780262, in base 62
	// 3*62^5 + 45*62^4 + 35*62^3 + 27*62^2 + 22*62 + 14.
	if got := keyform.Checksum("123456789"); string(got[:]) != "3jZRME" {
		t.Errorf("got %s", got)
	}
}

func TestPrefixThatCannotBeToldFromTheRestIsRefused(t *testing.T) {
	for _, p := range []string{"", "_", "a_", "_a", "a__b", "A", "1a", "a-b", "ä", "a b", strings.Repeat("a", MaxPrefix+1), "a\n"} {
		if CheckPrefix(p) == nil {
			t.Errorf("%q is accepted", p)
		}
	}
	for _, p := range []string{"a", "moat", "acme_live", "a1", "a_1", strings.Repeat("a", MaxPrefix)} {
		if err := CheckPrefix(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestShortPepperIsRefused(t *testing.T) {
	for n := range MinPepper {
		if _, err := NewPepper(bytes.Repeat([]byte("SeCrEt7"), 5)[:n]); err == nil || strings.Contains(err.Error(), "SeCr") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestOnlyTheKeyItselfIsAccepted(t *testing.T) {
	p := newPepper(t)
	f := newFile(p)
	alice := mint(t, f, p, func(e *Entry) { e.Owner, e.Roles, e.Plan = "alice", []string{"clerk"}, "gold" })
	bob := mint(t, f, p, nil)
	s, _ := open(t, f, p)

	c, err := s.Check(alice, now)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Principal; w.ID != "alice" || w.Kind != "api_key" || w.KeyID != f.Entries[0].ID || w.Plan != "gold" || !w.HasRole("clerk") {
		t.Errorf("got %+v", w)
	}
	if got, want := string(c.Principal.Claims.Raw()), `{"sub":"alice","key_id":"`+f.Entries[0].ID+`","plan":"gold","roles":["clerk"]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	other, err := NewPepper([]byte("another pepper of at least 32 bytes is here"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, _, _ := Mint(other, "moat", f.Entries[0].ID)
	strange, _, _ := Mint(p, "moat", NewID())
	elsewhere, _, _ := Mint(p, "test", f.Entries[0].ID)
	swap := func(id, secret string) string { // whose checksum is right
		signed := id[:len("moat_")+idLen+1] + secret[len("moat_")+idLen+1:len(secret)-checksumLen]
		sum := keyform.Checksum(signed)
		return signed + string(sum[:])
	}
	for name, test := range map[string]struct {
		key  string
		want error
	}{
		"another's secret":         {swap(alice, bob), ErrUnknown},
		"own secret, another's id": {swap(bob, alice), ErrUnknown},
		"another server's":         {foreign, ErrUnknown},
		"unknown id":               {strange, ErrUnknown},
		"another prefix":           {elsewhere, ErrMalformed},
		"no key":                   {"moat_x", ErrMalformed},
	} {
		if c, err := s.Check(test.key, now); err != test.want || c != nil {
			t.Errorf("%s: got %v, %v, want %v", name, c, err, test.want)
		}
	}
}

func TestKeysThatAreNotInForceAreRefused(t *testing.T) {
	p := newPepper(t)
	f := newFile(p)
	minute := func(n int) time.Time { return now.Add(time.Duration(n) * time.Minute) }
	keys := map[string]struct {
		text string
		want error
	}{}
	add := func(name string, want error, change func(*Entry)) {
		text := mint(t, f, p, change)
		keys[name] = struct {
			text string
			want error
		}{text, want}
	}
	add("plain", nil, nil)
	add("expires later", nil, func(e *Entry) { e.Expires = now.Add(time.Second) })
	add("expires now", ErrExpired, func(e *Entry) { e.Expires = now })
	add("expired", ErrExpired, func(e *Entry) { e.Expires = minute(-1) })
	add("secret expired", ErrExpired, func(e *Entry) { e.Secrets[0].Expires = minute(-1) })
	add("secret outlives the key", ErrExpired, func(e *Entry) { e.Expires, e.Secrets[0].Expires = minute(-1), minute(1) })
	add("expired long ago", ErrExpired, func(e *Entry) { e.Expires = time.Unix(0, 0).UTC() })
	add("begins now", nil, func(e *Entry) { e.NotBefore = now })
	add("begins later", ErrPending, func(e *Entry) { e.NotBefore = now.Add(time.Second) })
	add("disabled", ErrDisabled, func(e *Entry) { e.Disabled = true })
	add("revoked", ErrRevoked, func(e *Entry) { e.Revoked = now })
	add("revoked for later", ErrRevoked, func(e *Entry) { e.Revoked = minute(10) })
	add("revoked and enabled", ErrRevoked, func(e *Entry) { e.Revoked, e.Expires = minute(-9), minute(9) })
	s, _ := open(t, f, p)
	for name, test := range keys {
		if _, err := s.Check(test.text, now); err != test.want {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestBothSecretsAreGoodWhileTheyOverlap(t *testing.T) {
	p := newPepper(t)
	f := newFile(p)
	old := mint(t, f, p, nil)
	e := &f.Entries[0]
	text, err := e.Rotate(p, "moat", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, f, p)
	for at, want := range map[time.Duration][2]error{
		0: {nil, nil}, time.Hour - time.Second: {nil, nil}, time.Hour: {ErrExpired, nil}, 1e6 * time.Hour: {ErrExpired, nil},
	} {
		_, err1 := s.Check(old, now.Add(at))
		_, err2 := s.Check(text, now.Add(at))
		if err1 != want[0] || err2 != want[1] {
			t.Errorf("after %v: got %v and %v, want %v", at, err1, err2, want)
		}
	}
	if _, err := e.Rotate(p, "moat", now.Add(time.Minute), time.Hour); err == nil {
		t.Error("a third secret was made while two are alive")
	}
	third, err := e.Rotate(p, "moat", now.Add(2*time.Hour), 0)
	if err != nil || len(e.Secrets) != 1 {
		t.Fatalf("%v, %d secrets", err, len(e.Secrets))
	}
	s, _ = open(t, f, p)
	if _, err := s.Check(text, now.Add(2*time.Hour)); err != ErrUnknown {
		t.Errorf("a secret that was replaced at once: %v", err)
	}
	if _, err := s.Check(third, now.Add(2*time.Hour)); err != nil {
		t.Error(err)
	}
	for _, state := range []func(*Entry){func(e *Entry) { e.Revoked = now }, func(e *Entry) { e.Expires = now }} {
		c := *e
		state(&c)
		if _, err := c.Rotate(p, "moat", now, time.Hour); err == nil {
			t.Error("a dead key was rotated")
		}
	}
}

func TestAddressesAndMethods(t *testing.T) {
	c := &Credential{}
	if !c.AllowsMethod("GET") || !c.AllowsAddress(netip.Addr{}) || c.Restricted() {
		t.Error("a key without restrictions is restricted")
	}
	c = &Credential{methods: []string{"GET"}, addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}}
	for method, want := range map[string]bool{"GET": true, "get": false, "HEAD": false, "POST": false, "": false, "GET ": false} {
		if c.AllowsMethod(method) != want {
			t.Errorf("method %q: %t", method, !want)
		}
	}
	for addr, want := range map[string]bool{
		"203.0.113.7": true, "::ffff:203.0.113.7": true, "203.0.114.0": false, "2001:db8::1": true, "2001:db8::1%eth0": true, "::1": false,
	} {
		if c.AllowsAddress(netip.MustParseAddr(addr)) != want {
			t.Errorf("address %s: %t", addr, !want)
		}
	}
	if c.AllowsAddress(netip.Addr{}) || !c.Restricted() {
		t.Error("no address is in a range")
	}
}

const goldenHeader = `{"moat_api_keys":1,"prefix":"moat","pepper_check":"0123456789abcdef"}` + "\n"

var (
	goldenSecret = `{"hmac":"` + strings.Repeat("0a", 32) + `","created":"2026-11-22T10:00:00Z"}`
	golden       = goldenHeader + `{"id":"7GhX2kQz9LmA","owner":"Ácme \"Ltd\"","roles":["partner","clerk"],"scopes":["orders:read"],"plan":"gold",` +
		`"created":"2026-11-22T10:00:00Z","not_before":"2026-11-23T00:00:00Z","expires":"2027-11-22T10:00:00Z",` +
		`"addresses":["203.0.113.0/24","2001:db8::1/128"],"methods":["GET","POST"],"disabled":true,"revoked":"2026-12-01T00:00:00Z",` +
		`"secrets":[` + goldenSecret + `,{"hmac":"` + strings.Repeat("0b", 32) + `","created":"2026-11-22T11:00:00Z","expires":"2026-11-23T11:00:00Z"}]}` + "\n"
)

func TestFileIsWrittenAsItIsRead(t *testing.T) {
	f, err := ParseFile([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.Append(nil)); got != golden {
		t.Errorf("got\n%s\nwant\n%s", got, golden)
	}
}

func TestGarbledFileIsRefused(t *testing.T) {
	entry := func(more string) string {
		return goldenHeader + `{"id":"7GhX2kQz9LmA","owner":"a","created":"2026-11-22T10:00:00Z","secrets":[` + goldenSecret + `]` + more + `}`
	}
	if _, err := ParseFile([]byte(entry(""))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":                 "",
		"blank":                 " \n\n",
		"no header":             strings.TrimPrefix(entry(""), goldenHeader),
		"header alone, cut":     goldenHeader[:40],
		"another version":       strings.Replace(golden, `s":1`, `s":2`, 1),
		"version as text":       strings.Replace(golden, `s":1`, `s":"1"`, 1),
		"no prefix":             strings.Replace(golden, `"prefix":"moat",`, ``, 1),
		"bad prefix":            strings.Replace(golden, `"prefix":"moat"`, `"prefix":"Moat_"`, 1),
		"no check":              strings.Replace(golden, `,"pepper_check":"0123456789abcdef"`, ``, 1),
		"short check":           strings.Replace(golden, `0123456789abcdef`, `0123456789abcd`, 1),
		"check in capitals":     strings.Replace(golden, `0123456789abcdef`, `0123456789ABCDEF`, 1),
		"unknown in header":     strings.Replace(golden, `"prefix"`, `"x":1,"prefix"`, 1),
		"header twice":          goldenHeader + golden,
		"cut":                   golden[:len(golden)-9],
		"trailing data":         entry("") + "x",
		"blank line":            goldenHeader + "\n" + strings.TrimPrefix(entry(""), goldenHeader),
		"comment":               entry("") + "\n# x",
		"key twice":             entry("") + "\n" + strings.TrimPrefix(entry(""), goldenHeader),
		"unknown member":        entry(`,"scope":["x"]`),
		"member in capitals":    entry(`,"Methods":["GET"]`),
		"member twice":          entry(`,"owner":"b"`),
		"member twice, escaped": entry(`,"own\u0065r":"b"`),
		"null":                  entry(`,"methods":null`),
		"empty list":            entry(`,"methods":[]`),
		"empty addresses":       entry(`,"addresses":[]`),
		"no list":               entry(`,"methods":"GET"`),
		"small method":          entry(`,"methods":["get"]`),
		"method *":              entry(`,"methods":["*"]`),
		"method twice":          entry(`,"methods":["GET","GET"]`),
		"no range":              entry(`,"addresses":["x"]`),
		"host bits":             entry(`,"addresses":["203.0.113.7/24"]`),
		"mapped":                entry(`,"addresses":["::ffff:203.0.113.0/120"]`),
		"zone":                  entry(`,"addresses":["fe80::1%eth0"]`),
		"number in list":        entry(`,"roles":[1]`),
		"empty role":            entry(`,"roles":[""]`),
		"role with comma":       entry(`,"roles":["a,admin"]`),
		"scope with space":      entry(`,"scopes":["a admin"]`),
		"scope with line break": entry(`,"scopes":["a\nb"]`),
		"plan with space":       entry(`,"plan":"a b"`),
		"time without zone":     entry(`,"expires":"2027-11-22T10:00:00"`),
		"time with offset":      entry(`,"expires":"2027-11-22T10:00:00+02:00"`),
		"time with fraction":    entry(`,"expires":"2027-11-22T10:00:00.5Z"`),
		"time as number":        entry(`,"expires":1795348800`),
		"time too early":        entry(`,"expires":"1969-11-22T10:00:00Z"`),
		"ends before it begins": entry(`,"not_before":"2027-11-22T10:00:00Z","expires":"2026-11-22T10:00:00Z"`),
		"disabled as text":      entry(`,"disabled":"true"`),
		"disabled as number":    entry(`,"disabled":1`),
		"no id":                 strings.Replace(entry(""), `"id":"7GhX2kQz9LmA",`, ``, 1),
		"short id":              strings.Replace(entry(""), `7GhX2kQz9LmA`, `7GhX2kQz9Lm`, 1),
		"id with sign":          strings.Replace(entry(""), `7GhX2kQz9LmA`, `7GhX2kQz9L_A`, 1),
		"no owner":              strings.Replace(entry(""), `"owner":"a",`, ``, 1),
		"empty owner":           strings.Replace(entry(""), `"owner":"a"`, `"owner":""`, 1),
		"owner with line break": strings.Replace(entry(""), `"owner":"a"`, `"owner":"a\r\nX: b"`, 1),
		"owner with format":     strings.Replace(entry(""), `"owner":"a"`, `"owner":"a\u202eb"`, 1),
		"owner with space":      strings.Replace(entry(""), `"owner":"a"`, `"owner":"a "`, 1),
		"long owner":            strings.Replace(entry(""), `"owner":"a"`, `"owner":"`+strings.Repeat("a", maxText+1)+`"`, 1),
		"no secret":             strings.Replace(entry(""), goldenSecret, ``, 1),
		"same secret twice":     strings.Replace(entry(""), goldenSecret, goldenSecret+","+goldenSecret, 1),
		"three secrets":         strings.Replace(entry(""), goldenSecret, goldenSecret+","+strings.Replace(goldenSecret, "0a", "0b", 1)+","+strings.Replace(goldenSecret, "0a", "0c", 1), 1),
		"hash in capitals":      strings.Replace(entry(""), "0a", "0A", 1),
		"short hash":            strings.Replace(entry(""), "0a", "", 1),
		"long hash":             strings.Replace(entry(""), "0a", "0a0a", 1),
		"unknown in secret":     strings.Replace(entry(""), `{"hmac"`, `{"x":1,"hmac"`, 1),
		"twice in secret":       strings.Replace(entry(""), `{"hmac"`, `{"created":"2026-11-22T10:00:00Z","hmac"`, 1),
		"secret without time":   strings.Replace(entry(""), `"0a`, `"0a`, 1)[:0] + strings.Replace(entry(""), `,"created":"2026-11-22T10:00:00Z"}`, `}`, 1),
		"invalid UTF-8":         strings.Replace(entry(""), `"owner":"a"`, "\"owner\":\"\xff\"", 1),
		"byte order mark":       "\ufeff" + entry(""),
		"long line":             strings.Replace(entry(""), `"owner"`, strings.Repeat(" ", maxLine)+`"owner"`, 1),
	} {
		if f, err := ParseFile([]byte(text)); err == nil {
			t.Errorf("%s: %s\nis read as %+v", name, text, f)
		}
	}
}

func TestEveryPrefixOfAFileIsRefusedOrHasFewerKeys(t *testing.T) {
	whole, err := ParseFile([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	for i := range golden {
		f, err := ParseFile([]byte(golden[:i]))
		if err == nil && len(f.Entries) >= len(whole.Entries) && i < len(golden)-1 {
			t.Errorf("cut after %d bytes, all keys are read", i)
		}
	}
}

func TestFileThatCannotBeUsedIsRefusedAtFirst(t *testing.T) {
	p := newPepper(t)
	dir := t.TempDir()
	other := newFile(p)
	other.PepperCheck = "0123456789abcdef"
	for name, body := range map[string]string{"empty": "", "garbled": "{}\n", "pepper": string(other.Append(nil))} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, p, nil)
		if err == nil || name == "pepper" && !errors.Is(err, ErrPepper) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "missing"), p, nil); err == nil {
		t.Error("a missing file is accepted")
	}
}

// await returns the next event.
func await(t *testing.T, events chan filewatch.Event) filewatch.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(time.Minute):
		t.Fatal("nothing was reported")
		return filewatch.Event{}
	}
}

func TestReplacedStoreIsInForceAndABadOneIsNot(t *testing.T) {
	p := newPepper(t)
	f := newFile(p)
	first := mint(t, f, p, nil)
	s, events := open(t, f, p)
	second := ""
	var id string
	err := Edit(s.path, func(old *File) (*File, error) {
		second = mint(t, old, p, nil)
		id = old.Entries[1].ID
		old.Entries[0].Revoked = now
		return old, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e := await(t, events)
	if e.Err != nil || !reflect.DeepEqual(e.Added, []string{id}) || len(e.Removed) != 0 || len(e.Changed) != 1 {
		t.Errorf("got %+v", e)
	}
	check := func(want1, want2 error) {
		t.Helper()
		_, err1 := s.Check(first, now)
		_, err2 := s.Check(second, now)
		if err1 != want1 || err2 != want2 {
			t.Errorf("got %v and %v, want %v and %v", err1, err2, want1, want2)
		}
	}
	check(ErrRevoked, nil)
	good, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	// In place, by rename, and gone.
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(s.path, good[:len(good)-5], 0o600) },
		func() error { return fileedit.Replace(s.path, []byte("{}\n"), nil) },
		func() error { return os.Remove(s.path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if e := await(t, events); e.Err == nil {
			t.Errorf("got %+v", e)
		}
		check(ErrRevoked, nil)
		if s.Fault() == nil {
			t.Error("a bad file is not said to be one")
		}
	}
	if err := os.WriteFile(s.path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := await(t, events); e.Err != nil {
		t.Errorf("got %+v", e)
	}
	if err := s.Fault(); err != nil || s.Len() != 2 {
		t.Errorf("got %v, %d keys", err, s.Len())
	}
}

func TestEditsDoNotLoseOneAnother(t *testing.T) {
	p := newPepper(t)
	path := filepath.Join(t.TempDir(), "keys")
	const n = 24
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			err := Edit(path, func(f *File) (*File, error) {
				if f == nil {
					f = newFile(p)
				}
				mint(t, f, p, nil)
				return f, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f, err := Load(path)
	if err != nil || len(f.Entries) != n {
		t.Fatalf("%v, %d keys of %d", err, len(f.Entries), n)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".keys.*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEditThatFailsChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(golden), 0o640); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*File) (*File, error){
		"an error":   func(*File) (*File, error) { return nil, errors.New("no") },
		"a bad file": func(f *File) (*File, error) { f.Entries[0].Owner = "a\nb"; return f, nil },
	} {
		if err := Edit(path, change); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if body, err := os.ReadFile(path); err != nil || string(body) != golden {
			t.Errorf("%s: got %s, %v", name, body, err)
		}
	}
	if err := Edit(path, func(f *File) (*File, error) { return f, nil }); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the permissions are now %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("garbled"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Edit(path, func(*File) (*File, error) { t.Error("called"); return nil, nil }); err == nil {
		t.Error("a garbled file was edited")
	}
}

func TestLastUseIsKeptBesideTheStore(t *testing.T) {
	p := newPepper(t)
	f := newFile(p)
	text := mint(t, f, p, nil)
	mint(t, f, p, nil)
	s, _ := open(t, f, p)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(UsedPath(s.path)); err == nil {
		t.Error("a file was written although no key was used")
	}
	c, err := s.Check(text, now)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{c.Principal.KeyID: now.Add(time.Minute)}
	for _, at := range []time.Duration{0, time.Minute, time.Second} { // clocks go back
		c.Touch(now.Add(at))
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := LoadUsed(UsedPath(s.path)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	// Another process knows nothing of the use and must not forget it.
	again, err := Open(s.path, p, func(filewatch.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadUsed(UsedPath(s.path)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if err := os.WriteFile(UsedPath(s.path), []byte("garbled"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadUsed(UsedPath(s.path)); err == nil {
		t.Error("a garbled file is read")
	}
}

func TestSecretsAreNotAlike(t *testing.T) {
	p := newPepper(t)
	seen := make(map[string]bool)
	for range 1000 {
		text, _, err := Mint(p, "moat", NewID())
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParseKey(text)
		if err != nil || seen[k.ID] || seen[text[18:]] {
			t.Fatalf("%s: %v", text, err)
		}
		seen[k.ID], seen[text[18:]] = true, true
	}
}

func TestNoErrorShowsASecret(t *testing.T) {
	p := newPepper(t)
	f := newFile(p)
	text := mint(t, f, p, func(e *Entry) { e.Disabled = true })
	s, _ := open(t, f, p)
	_, err := s.Check(text, now)
	for _, e := range []error{err, ErrMalformed, ErrUnknown} {
		if got := fmt.Sprintf("%v %+v", e, e); strings.Contains(got, text[18:40]) {
			t.Errorf("%s shows the secret", got)
		}
	}
	if body := string(f.Append(nil)); strings.Contains(body, text[18:40]) || strings.Contains(body, string(secretKey)) {
		t.Errorf("%s holds a secret", body)
	}
}

func TestChecksumDoesNotMakeAKey(t *testing.T) {
	const secret = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	for _, signed := range []string{"moat-7GhX2kQz9LmA_" + secret, "moat_7GhX2kQz9L-A_" + secret, "moat_7GhX2kQz9LmA-" + secret, "Moat_7GhX2kQz9LmA_" + secret, "moat_7GhX2kQz9LmA_" + secret[:31] + "_"} {
		sum := keyform.Checksum(signed)
		if text := signed + string(sum[:]); !malformed(text) {
			t.Errorf("%s is accepted", text)
		}
	}
}

func TestChangeOfAKeySaysWhatHappened(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	base := Entry{ID: "YJwDO0KvDqJb", Owner: "office", Created: now, Secrets: []Secret{{MAC: [32]byte{1}, Created: now}}}
	line := func(change func(*Entry)) string {
		e := base
		e.Secrets = slices.Clone(base.Secrets)
		change(&e)
		return string(e.append(nil))
	}
	same := line(func(*Entry) {})
	for want, after := range map[string]string{
		"revoked":           line(func(e *Entry) { e.Revoked = now }),
		"disabled":          line(func(e *Entry) { e.Disabled = true }),
		"rotated":           line(func(e *Entry) { e.Secrets = append(e.Secrets, Secret{MAC: [32]byte{2}, Created: now}) }),
		"expiry changed":    line(func(e *Entry) { e.Expires = now.Add(time.Hour) }),
		"":                  line(func(e *Entry) { e.Roles = []string{"clerk"} }),
		"disabled, rotated": line(func(e *Entry) { e.Disabled = true; e.Secrets[0].MAC[0] = 9 }),
	} {
		e := diff(map[string]string{base.ID: same}, map[string]string{base.ID: after})
		if len(e.Changed) != 1 || e.How[base.ID] != want {
			t.Errorf("got %q, want %q (%v)", e.How[base.ID], want, e.Changed)
		}
	}
	if e := diff(map[string]string{base.ID: line(func(e *Entry) { e.Disabled = true })}, map[string]string{base.ID: same}); e.How[base.ID] != "enabled" {
		t.Errorf("%v", e)
	}
}
