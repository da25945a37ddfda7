package keyset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

func synctestNow() time.Time { return time.Now() }

func keyFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeyFileThatCannotBeUsedIsAnErrorAtStart(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "blank": " \n", "garbage": "hello", "no keys": `{"keys":[]}`, "no list": `{}`,
		"a secret":     `{"keys":[{"kty":"oct","k":"` + strings.Repeat("A", 43) + `"}]}`,
		"too large":    jwks("a") + strings.Repeat(" ", maxBody),
		"twice a name": `{"keys":[],"keys":[]}`,
	} {
		if f, err := OpenFile(keyFile(t, content), Options{}, nil); err == nil {
			f.Close()
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: the error shows a key: %v", name, err)
		}
	}
	if _, err := OpenFile(filepath.Join(t.TempDir(), "none"), Options{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: got %v", err)
	}
}

// until waits for something that a watched file causes.
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

func fileHas(f *File, kid string) bool {
	keys, err := f.Keys(context.Background(), kid, "EdDSA")
	return err == nil && len(keys) == 1
}

func TestKeyFileThatGoesBadKeepsTheKeysReadLast(t *testing.T) {
	path := keyFile(t, jwks("a"))
	j := new(journal)
	f, err := OpenFile(path, Options{Report: j.report}, func(e filewatch.Event) {
		if e.Err != nil {
			j.report("cannot be used", e.Err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	replace := func(content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	before := f.Generation()
	replace(jwks("b"))
	until(t, "the new key is in use", func() bool { return fileHas(f, "b") })
	if fileHas(f, "a") || f.Generation() == before {
		t.Error("the removed key is still relied upon")
	}
	replace(`{"keys":[`)
	until(t, "the broken file is reported", func() bool { return j.count("cannot be used") == 1 })
	if !fileHas(f, "b") {
		t.Error("the last good keys are gone")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	until(t, "the removal is reported", func() bool { return j.count("cannot be used") == 2 })
	if !fileHas(f, "b") {
		t.Error("the last good keys are gone")
	}
	replace(jwks("c"))
	until(t, "the repaired file is in use", func() bool { return fileHas(f, "c") })
}

type down struct{}

func (down) Keys(context.Context, string, string) ([]*jwk.Key, error) {
	return nil, token.ErrUnavailable
}
func (down) Generation() uint64 { return 7 }

func TestUnionIsUnavailableOnlyIfNoSourceHasTheKey(t *testing.T) {
	keys, _, err := jwk.ParseSet([]byte(jwks("a")))
	if err != nil {
		t.Fatal(err)
	}
	u := Union{token.StaticKeys(keys...), down{}}
	if got, err := u.Keys(t.Context(), "a", "EdDSA"); err != nil || len(got) != 1 {
		t.Errorf("got %d keys, error %v", len(got), err)
	}
	if _, err := u.Keys(t.Context(), "b", "EdDSA"); !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if u.Generation() != 7 {
		t.Errorf("generation %d", u.Generation())
	}
}
