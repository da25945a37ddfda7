package filewatch

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// await waits until the watcher has seen content.
func await(t *testing.T, seen <-chan string, want string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case got := <-seen:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("%q was never seen", want)
		}
	}
}

func watch(t *testing.T, path string) <-chan string {
	seen := make(chan string, 1000)
	w := Start(path, func() bool {
		b, err := os.ReadFile(path)
		if err != nil {
			b = []byte("(gone)")
		}
		select {
		case seen <- string(b):
		default:
		}
		return true
	})
	t.Cleanup(w.Stop)
	return seen
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEditRenameRemovalAndReturnAreSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	seen := watch(t, path)
	write(t, path, "two")
	await(t, seen, "two")
	write(t, path+".new", "three")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	await(t, seen, "three")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	await(t, seen, "(gone)")
	write(t, path, "four")
	await(t, seen, "four")
}

// TestChangeIsSeenWithinASecondWithoutNotifications is for file systems that
// notify nothing. The second is that of the bubble's clock.
func TestChangeIsSeenWithinASecondWithoutNotifications(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	old := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC) // a file that looks young is looked into each time
	edit := func(content string) {
		write(t, path, content)
		old = old.Add(time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	edit("one")
	synctest.Test(t, func(t *testing.T) {
		w := &Watcher{stop: make(chan struct{}), done: make(chan struct{})}
		var calls atomic.Int32
		go func() {
			defer close(w.done)
			w.run(path, nil, look(path), func() bool { calls.Add(1); return true })
		}()
		for name, change := range map[string]func(){
			"nothing":            func() {},
			"an edit":            func() { edit("two and more") },
			"an edit as long":    func() { edit("ten") },
			"removal and return": func() { _ = os.Remove(path); time.Sleep(time.Second); edit("back") },
			"removal":            func() { _ = os.Remove(path) },
		} {
			edit("one")
			time.Sleep(10 * time.Minute)
			before := calls.Load()
			change()
			time.Sleep(time.Second - time.Millisecond)
			if seen := calls.Load() != before; seen != (name != "nothing") {
				t.Errorf("%s: seen is %v", name, seen)
			}
		}
		w.Stop()
	})
	if poll+settle+quiet >= time.Second {
		t.Errorf("a change is seen after %v", poll+settle+quiet)
	}
}

func TestSymbolicLinkThatPointsElsewhereIsSeen(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "f"), name)
	}
	link := filepath.Join(dir, "current")
	if err := os.Symlink("v1", link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	seen := watch(t, filepath.Join(link, "f"))
	if err := os.Symlink("v2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	await(t, seen, "v2")
}

func TestFileThatAppearsLaterIsSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later", "f")
	seen := watch(t, path)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, "here")
	await(t, seen, "here")
}
