package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestLinesThatAreHalfUnderstoodAreRefused(t *testing.T) {
	for _, line := range []string{
		`jti`, `{`, `{}`, `[]`, `null`, `"jti"`, `{"jti":1}`, `{"jti":null}`, `{"jti":""}`, `{"jti":"a","jti":"b"}`,
		`{"jti":"a"} x`, `{"jti":"a"}{"jti":"b"}`, `{"jti":"a",}`, `{"JTI":"a"}`, `{"jti":"a","kid":"b"}`,
		`{"sub":"alice"}`, `{"sub":"alice","issued_before":"yesterday"}`, `{"sub":"alice","issued_before":1234}`,
		`{"sub":"alice","issued_before":"2026-11-22"}`, `{"jti":"a","issued_before":"2026-11-22T10:00:00Z"}`,
		`{"issued_before":"2026-11-22T10:00:00Z"}`, `{"expires":"2026-11-22T10:00:00Z"}`, `{"jti":"a","expires":"never"}`,
		`{"jti":"a","reason":"stolen"}`, `{"jti":{"a":"b"}}`, `{"jti":["a"]}`, "{\"jti\":\"\xff\"}", `{"jti":"\ud800"}`,
		`// {"jti":"a"}`, `{"jti":"` + strings.Repeat("a", maxLine) + `"}`,
	} {
		if _, err := Parse([]byte("# fine\n{\"jti\":\"ok\"}\n" + line + "\n")); err == nil {
			t.Errorf("%.80s was accepted", line)
		} else if !strings.HasPrefix(err.Error(), "line 3: ") {
			t.Errorf("%.80s: the error names no line: %v", line, err)
		}
	}
}

const sample = `
# stolen laptop
{"jti":"t1"}
  {"sub":"alice","issued_before":"2026-11-22T10:00:00Z"}  
{"sub":"bob","issued_before":"2026-11-22T10:00:00+02:00","expires":"2026-11-22T11:00:00Z"}

{"kid":"old \"key\""}`

func TestTokensAreRevokedByNameSubjectAndKey(t *testing.T) {
	l, err := Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	at := func(h, m int) time.Time { return time.Date(2026, 11, 22, h, m, 0, 0, time.UTC) }
	for _, test := range []struct {
		jti, sub, kid string
		issued, now   time.Time
		want          bool
	}{
		{"t1", "carol", "k", at(9, 0), noon, true},
		{"T1", "carol", "k", at(9, 0), noon, false},
		{"", "carol", "k", at(9, 0), noon, false},
		{"t2", "alice", "k", at(9, 59), noon, true},
		{"t2", "alice", "k", at(10, 0), noon, false},
		{"t2", "alice", "k", time.Time{}, noon, true},
		{"t2", "Alice", "k", at(9, 0), noon, false},
		{"t2", "bob", "k", at(7, 59), at(10, 59), true},
		{"t2", "bob", "k", at(8, 0), at(10, 59), false},
		{"t2", "bob", "k", at(7, 59), at(11, 0), false},
		{"t2", "carol", `old "key"`, at(9, 0), noon, true},
	} {
		if got := l.Revoked(&Token{ID: test.jti, Subject: test.sub, KeyID: test.kid, IssuedAt: test.issued}, test.now); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

// TestListIsBounded: a file that grows without end is an error, and not all of
// the server's memory.
func TestListIsBounded(t *testing.T) {
	if _, err := Parse(bytes.Repeat([]byte("\n"), MaxSize+1)); err == nil {
		t.Error("a list larger than allowed was accepted")
	}
	if testing.Short() {
		t.Skip("half a million lines take a while")
	}
	var b bytes.Buffer
	for i := range MaxEntries {
		fmt.Fprintf(&b, "{\"jti\":\"%d\"}\n", i)
	}
	if l, err := Parse(b.Bytes()); err != nil || l.Len() != MaxEntries {
		t.Errorf("as many entries as allowed: %v", err)
	}
	b.WriteString(`{"jti":"more"}`)
	if _, err := Parse(b.Bytes()); err == nil {
		t.Error("more entries than allowed were accepted")
	}
}

func FuzzParsedListPrintsAsItIs(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"jti":"\u0000 \u2028","expires":"2001-01-01T00:00:00.5Z"}`))
	f.Add([]byte(`{"sub":"a","issued_before":"9998-12-31T23:59:59.999999999+23:59"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Parse(text)
		if err != nil {
			return
		}
		printed := l.Append(nil)
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, printed, err)
		}
		if got := again.Append(nil); string(got) != string(printed) {
			t.Fatalf("%q prints as %q, then as %q", text, printed, got)
		}
	})
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 3000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) report(message string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprint(message, " ", err))
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

func TestGarbledFileKeepsTheLastGoodListAndSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revoked")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var j journal
	report := func(e filewatch.Event) {
		if e.Err != nil {
			j.report("cannot be used", e.Err)
		}
	}
	if _, err := OpenFile(path, report); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
	write("garbage\n")
	if _, err := OpenFile(path, report); err == nil {
		t.Error("a garbled file was accepted")
	}
	write("")
	f, err := OpenFile(path, report)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	revoked := func(jti string) bool { return f.List().Revoked(&Token{ID: jti, IssuedAt: noon}, noon) }
	write("{\"jti\":\"a\"}\n")
	until(t, "an edit is in force", func() bool { return revoked("a") })
	write("{\"jti\":\"b\"}\ngarbage\n")
	until(t, "the garbage is reported", func() bool { return j.len() == 1 })
	if !revoked("a") || revoked("b") {
		t.Error("the last good list is not in force")
	}
	if err := os.WriteFile(path+".new", []byte("{\"jti\":\"c\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	until(t, "a rename is in force", func() bool { return revoked("c") && !revoked("a") })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	until(t, "the removal is reported", func() bool { return j.len() == 2 })
	if !revoked("c") {
		t.Error("a removed file revokes nothing any more")
	}
}

type memory struct {
	mu     sync.Mutex
	lock   sync.Mutex
	text   []byte
	broken error
}

func (m *memory) Lock(context.Context, string) error   { m.lock.Lock(); return nil }
func (m *memory) Unlock(context.Context, string) error { m.lock.Unlock(); return nil }
func (m *memory) Load(context.Context, string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	if m.text == nil {
		return nil, fs.ErrNotExist
	}
	return m.text, nil
}

func (m *memory) Store(_ context.Context, _ string, v []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	m.text = v
	return nil
}

func openStore(t *testing.T, m *memory) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), m, func() time.Time { return noon }, new(journal).report, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoredRevocationsSurviveAndAreShared(t *testing.T) {
	m := new(memory)
	a, b := openStore(t, m), openStore(t, m)
	if err := a.Add(t.Context(), Entry{JTI: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(t.Context(), Entry{KeyID: "k"}); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"b": b, "a third": openStore(t, m)} {
		if !s.List().Revoked(&Token{ID: "x", IssuedAt: noon}, noon) || !s.List().Revoked(&Token{KeyID: "k", IssuedAt: noon}, noon) {
			t.Errorf("%s does not know all", name)
		}
	}
	a.Refresh(t.Context())
	if a.List().Len() != 2 {
		t.Error("a refresh takes nothing in")
	}
	n, err := a.Remove(t.Context(), Entry{JTI: "x", Expires: noon}, Entry{JTI: "unknown"})
	if err != nil || n != 1 || a.List().Revoked(&Token{ID: "x", IssuedAt: noon}, noon) {
		t.Errorf("removing: %d, %v", n, err)
	}
}

func TestStorageThatFailsLosesNoRevocation(t *testing.T) {
	m := new(memory)
	s := openStore(t, m)
	if err := s.Add(t.Context(), Entry{JTI: "x"}); err != nil {
		t.Fatal(err)
	}
	m.broken = errors.New("disk full")
	if err := s.Add(t.Context(), Entry{JTI: "y"}); err == nil {
		t.Error("what was not stored was reported as stored")
	}
	s.Refresh(t.Context())
	if !s.List().Revoked(&Token{ID: "x", IssuedAt: noon}, noon) {
		t.Error("a revocation is forgotten")
	}
	if _, err := OpenStore(t.Context(), m, nil, nil, nil); err == nil {
		t.Error("opened although nobody knows what is revoked")
	}
	m.broken, m.text = nil, []byte("garbage")
	if _, err := OpenStore(t.Context(), m, nil, nil, nil); err == nil {
		t.Error("opened with garbage")
	}
}

func TestStoreIsBoundedAndForgetsWhatHasExpired(t *testing.T) {
	m := new(memory)
	s := openStore(t, m)
	s.max = 1000
	full := make([]Entry, s.max)
	for i := range full {
		full[i] = Entry{JTI: fmt.Sprint(i), Expires: noon.Add(time.Hour)}
	}
	if err := s.Add(t.Context(), full...); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), Entry{JTI: "more"}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	if s.List().Len() != s.max {
		t.Error("the list changed")
	}
	s.now = func() time.Time { return noon.Add(2 * time.Hour) }
	if err := s.Add(t.Context(), Entry{JTI: "more"}); err != nil || s.List().Len() != 1 {
		t.Errorf("got %v with %d entries", err, s.List().Len())
	}
}

// TestRevocationOfOneIssuerIsThatOfNoOther holds that the names that an issuer
// gives are revoked without those that others give.
func TestRevocationOfOneIssuerIsThatOfNoOther(t *testing.T) {
	l, err := Parse([]byte(`{"iss":"https://a.example","sub":"bob","issued_before":"2026-11-22T13:00:00Z"}
{"iss":"https://a.example","jti":"x"}
{"kid":"k","iss":"https://a.example"}
{"sub":"eve","issued_before":"2026-11-22T13:00:00Z"}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		token Token
		want  bool
	}{
		{Token{Issuer: "https://a.example", Subject: "bob"}, true},
		{Token{Issuer: "https://b.example", Subject: "bob"}, false},
		{Token{Subject: "bob"}, false},
		// Whoever does not compare iss cannot get round an entry by that.
		{Token{Claimed: "https://a.example", Subject: "bob"}, true},
		{Token{Issuer: "https://b.example", Claimed: "https://a.example", Subject: "bob"}, true},
		{Token{Issuer: "https://a.example", ID: "x"}, true},
		{Token{Issuer: "https://b.example", ID: "x"}, false},
		{Token{Issuer: "https://a.example", KeyID: "k"}, true},
		{Token{Issuer: "https://a.example", KeyPrint: "k"}, true},
		{Token{Issuer: "https://b.example", KeyID: "k"}, false},
		{Token{Issuer: "https://b.example", Subject: "eve"}, true},
		{Token{Issuer: "https://a.example", Subject: "alice"}, false},
	} {
		c.token.IssuedAt = noon.Add(-time.Hour)
		if got := l.Revoked(&c.token, noon); got != c.want {
			t.Errorf("%+v: got %v", c.token, got)
		}
	}
	again, err := Parse(l.Append(nil))
	if err != nil || again.Len() != 4 || !again.Revoked(&Token{Issuer: "https://a.example", ID: "x"}, noon) || again.Revoked(&Token{ID: "x"}, noon) {
		t.Errorf("what was printed is read as something else: %v\n%s", err, l.Append(nil))
	}
	for _, line := range []string{`{"iss":"https://a.example"}`, `{"iss":"","sub":"a","issued_before":"2026-11-22T13:00:00Z"}`, `{"iss":1,"jti":"x"}`, `{"iss":"a","iss":"b","jti":"x"}`} {
		if _, err := Parse([]byte(line)); err == nil {
			t.Errorf("%s is accepted", line)
		}
	}
}
