package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSumChangesWithWhatTheBinaryIsMadeFrom holds that no stale binary is used,
// and that none is built for what is not in it.
func TestSumChangesWithWhatTheBinaryIsMadeFrom(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := func() string {
		t.Helper()
		s, err := sourceSum(root)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	last := sum()
	for _, name := range []string{"go.mod", "go.sum", "xcaddy.json", "imports.go", "modules/a/a.go", "modules/a/schema.json", "integration/build/main.go"} {
		for _, text := range []string{"one", "two"} {
			write(name, text)
			if now := sum(); now == last {
				t.Errorf("%s with %s: the sum is as before", name, text)
			} else {
				last = now
			}
		}
	}
	for _, name := range []string{"README.md", "modules/a/a_test.go", "modules/a/testdata/x.go", "integration/harness/server.go", "examples/quickstart/trail/1.jsonl", ".git/x.go"} {
		write(name, "text")
		if sum() != last {
			t.Errorf("%s changes the sum", name)
		}
	}
}

func TestForgetKeepsTheBinariesUsedLast(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"caddy-a", "caddy-b", "caddy-c"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := forget(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "caddy-b" || filepath.Base(left[1]) != "caddy-c" {
		t.Errorf("left: %v, %v", left, err)
	}
}
