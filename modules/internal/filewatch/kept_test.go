package filewatch

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
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
		case <-time.After(time.Minute):
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
	if e := next(); e.err == nil || e.after != "two" || *k.Value() != "two" || !(k.Fault() != nil) || k.Verify() == nil {
		t.Errorf("got %+v, in force %q, bad %t", e, *k.Value(), (k.Fault() != nil))
	}
	write("two")
	if e := next(); e.err != nil || e.after != "two" || (k.Fault() != nil) || k.Verify() != nil {
		t.Errorf("got %+v, bad %t", e, (k.Fault() != nil))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if e := next(); e.err == nil || *k.Value() != "two" {
		t.Errorf("got %+v, in force %q", e, *k.Value())
	}
	k.Close()
	for range 2 {
		k.reread()
	}
	select {
	case e := <-events:
		t.Errorf("a fault is said more than once: %+v", e)
	default:
	}
}

// TestFileThatIsWrittenInPiecesCountsAsAWhole is for a policy whose denies
// stand at its end.
func TestFileThatIsWrittenInPiecesCountsAsAWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("allow\ndeny\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10)
	parse := func(text []byte) (*string, error) { s := string(text); return &s, nil }
	k, err := Keep(path, 100, parse, func(_, after *string, _ error) { seen <- *after })
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pause := quiet / 2
	if runtime.GOOS == "linux" {
		pause = 4 * quiet // a lease tells that the file is open for writing
	}
	for _, piece := range []string{"allow\n", "allow too\n", "deny\n"} {
		began := time.Now()
		time.Sleep(pause)
		if _, err := f.WriteString(piece); err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "linux" && time.Since(began) >= quiet {
			t.Skip("the machine is too busy to write the pieces one soon after the other")
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "allow\nallow too\ndeny\n" {
		t.Errorf("a piece was in force: %q", got)
	}
}
