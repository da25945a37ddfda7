package clientcert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// watched is a store whose events the test takes one by one.
func watched(t *testing.T, content string) (*Store, string, chan filewatch.Event) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "map")
	write(t, path, content)
	events := make(chan filewatch.Event, 16)
	s, err := Open(path, func(e filewatch.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, path, events
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestMapChangesAreInForceAndSaid(t *testing.T) {
	s, path, events := watched(t, `{"dns":"a","user":"a"}`+"\n"+`{"dns":"b"}`)
	write(t, path, `{"dns":"a","user":"x"}`+"\n"+`{"serial":"1","issuer":"CN=c"}`)
	e := <-events
	if e.Err != nil || strings.Join(e.Added, ";") != "serial 01 of CN=c" || strings.Join(e.Changed, ";") != "dns a" || strings.Join(e.Removed, ";") != "dns b" {
		t.Errorf("got %+v", e)
	}
	if e, err := s.Table().Find(&Names{DNS: []string{"a"}}); err != nil || e.User != "x" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestABadMapLeavesTheLastGoodOneInForce(t *testing.T) {
	s, path, events := watched(t, `{"dns":"a","disabled":true}`)
	good := s.Table()
	for _, bad := range []string{`{"dns":"a"`, "", `{"dns":"a"}` + "\n" + `{"dns":"a"}`} {
		write(t, path, bad)
		if e := <-events; e.Err == nil {
			t.Errorf("%q: got %+v", bad, e)
		}
		if s.Table() != good || s.Fault() == nil || s.Verify() == nil {
			t.Errorf("%q is in force", bad)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Err == nil || s.Table() != good || s.Fault() == nil {
		t.Errorf("removed: got %+v", e)
	}
	write(t, path, `{"dns":"a","disabled":true}`)
	if e := <-events; e.Err != nil || s.Fault() != nil || s.Verify() != nil {
		t.Errorf("mended: got %+v", e)
	}
}

func TestAMapThatIsWrongAtFirstIsRefused(t *testing.T) {
	for _, content := range []string{"", "{", `{"dns":"a","dns":"b"}`} {
		path := filepath.Join(t.TempDir(), "map")
		write(t, path, content)
		if _, err := Open(path, nil); err == nil {
			t.Errorf("%q was accepted", content)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there was accepted")
	}
}
