package filewatch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKeepsWhatWasReadLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write := func(text string) {
		t.Helper()
		// By a rename, as editors do it: never empty in between.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(text []byte) (*string, error) {
		s := string(text)
		if strings.Contains(s, "bad") {
			return nil, errors.New("it is bad")
		}
		return &s, nil
	}
	type event struct {
		before, after string
		err           error
	}
	events := make(chan event, 10)
	changed := func(before, after *string, err error) { events <- event{*before, *after, err} }
	next := func() event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was told")
			return event{}
		}
	}
	for name, text := range map[string]string{"bad": "bad", "large": strings.Repeat("x", 101)} {
		write(text)
		if _, err := Keep(path, 100, parse, changed); err == nil {
			t.Errorf("begins with what is %s", name)
		}
	}
	write("one")
	k, err := Keep(path, 100, parse, changed)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	write("two")
	if e := next(); e != (event{"one", "two", nil}) || *k.Value() != "two" {
		t.Errorf("got %+v, in force %q", e, *k.Value())
	}
	write("bad")
	if e := next(); e.err == nil || e.after != "two" || *k.Value() != "two" || !k.Bad() || k.Verify() == nil {
		t.Errorf("got %+v, in force %q, bad %t", e, *k.Value(), k.Bad())
	}
	write("two")
	if e := next(); e.err != nil || e.after != "two" || k.Bad() || k.Verify() != nil {
		t.Errorf("got %+v, bad %t", e, k.Bad())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if e := next(); e.err == nil || *k.Value() != "two" {
		t.Errorf("got %+v, in force %q", e, *k.Value())
	}
}
