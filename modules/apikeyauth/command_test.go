package apikeyauth

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
)

func TestCommandsNeverShowASecretAgain(t *testing.T) {
	b, key := newBench(t, "")
	id := idOf(t, key)
	out := b.key("list") + b.key("show", id)
	for _, want := range []string{id, "alice", "active", "gold", "clerk"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s lacks %s", out, want)
		}
	}
	body, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	_, wholeKey := run(t, b.path, "show", key)
	for name, text := range map[string]string{"output": out, "store": string(body), "error": wholeKey.Error()} {
		if strings.Contains(text, key[18:30]) || strings.Contains(text, pepper) {
			t.Errorf("%s shows a secret: %s", name, text)
		}
	}
	file, err := apikey.Load(b.path)
	if err != nil {
		t.Fatal(err)
	}
	if mac := string(body[strings.Index(string(body), `"hmac":"`)+8:][:64]); strings.Contains(out, mac) || len(file.Entries) != 1 {
		t.Errorf("the hash is shown: %s", out)
	}
	if info, err := os.Stat(b.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the store has the permissions %v, %v", info.Mode(), err)
	}
}

func TestMistakesOnTheCommandLineAreRefused(t *testing.T) {
	b, key := newBench(t, "")
	t.Setenv("MOAT_OTHER", "another pepper of at least 32 bytes is here")
	before, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	good := []string{"new", "--owner", "a", "--expires", "1d"}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"new", "--expires", "1d"}, "--owner is required"},
		{[]string{"new", "--owner", "a"}, "--expires is required"},
		{[]string{"new", "--owner", "a\nb", "--expires", "1d"}, "--owner"},
		{[]string{"new", "--owner", "a", "--expires", "soon"}, "--expires"},
		{[]string{"new", "--owner", "a", "--expires", "-1h"}, "that has passed"},
		{[]string{"new", "--owner", "a", "--expires", "2020-01-31"}, "that has passed"},
		{[]string{"new", "--owner", "a", "--expires", "2099-02-31"}, "nor a date such as 2027-01-31"},
		{[]string{"new", "--owner", "a", "--expires", "2020-01-01T00:00:00Z"}, "that has passed"},
		{append(good, "--not-before", "2d"), "expire before it begins"},
		{append(good, "--role", "a,b"), "--role"},
		{append(good, "--role", "a", "--role", "a"), "given twice"},
		{append(good, "--scope", "a b"), "--scope"},
		{append(good, "--plan", "a b"), "--plan"},
		{append(good, "--cidr", "203.0.113.7/24"), "the range is written 203.0.113.0/24"},
		{append(good, "--cidr", "home"), "--cidr"},
		{append(good, "--method", "get"), "--method"},
		{append(good, "--prefix", "other"), "have the prefix moat"},
		{append(good, "--pepper", "{env.MOAT_OTHER}"), "another pepper"},
		{append(good, "--pepper", pepper), "must not stand"},
		{append(good, "--config", "Caddyfile"), "leave out"},
		{append(good, "extra"), "unknown command"},
		{[]string{"rotate", idOf(t, key), "--overlap", "-1h"}, "--overlap"},
		{[]string{"rotate", idOf(t, key), "--pepper", "{env.MOAT_OTHER}"}, "another pepper"},
		{[]string{"rotate", "AAAAAAAAAAAA"}, "there is no key AAAAAAAAAAAA"},
		{[]string{"revoke"}, "accepts 1 arg"},
		{[]string{"revoke", "../x"}, "not the id of a key"},
		{[]string{"show", "AAAAAAAAAAAA"}, "there is no key"},
		{[]string{"delete", idOf(t, key)}, "unknown command"},
	} {
		out, err := run(t, b.path, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), pepper) {
			t.Errorf("%v: got %q, %v, want %q", test.args, out, err, test.want)
		}
	}
	if after, err := os.ReadFile(b.path); err != nil || string(after) != string(before) {
		t.Error("the store has changed")
	}
	for _, name := range []string{"revoke", "rotate"} {
		none := filepath.Join(t.TempDir(), "none")
		if _, err := run(t, none, name, idOf(t, key)); err == nil || !strings.Contains(err.Error(), "no store") {
			t.Errorf("%s without a store: %v", name, err)
		}
		if _, err := os.Stat(none); err == nil {
			t.Errorf("%s makes a store", name)
		}
	}
}

func TestCommandsFindTheStoreInAConfiguration(t *testing.T) {
	b, key := newBench(t, "")
	dir := t.TempDir()
	config := func(name string, providers ...string) string {
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, []byte(`{"apps":{"x":[`+strings.Join(providers, ",")+`]}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := `{"provider":"api_key_auth","store":"` + filepath.ToSlash(b.path) + `","pepper":"{env.API_KEY_PEPPER}"}`
	f := &keyFlags{config: config("one", one, one), now: time.Now, owner: "bob", expires: "1h"}
	text, _, err := f.mint()
	if err != nil {
		t.Fatal(err)
	}
	await(t, b, text)
	for name, f := range map[string]*keyFlags{
		"none":    {config: config("none", `{"provider":"jwt_auth"}`)},
		"several": {config: config("two", one, strings.Replace(one, "api.keys", "other.keys", 1))},
		"nothing": {},
	} {
		if _, _, err := f.locate(false); err == nil {
			t.Errorf("%s: a store was found", name)
		}
	}
	if list, err := run(t, b.path, "list"); err != nil || !strings.Contains(list, "bob") || !strings.Contains(list, idOf(t, key)) {
		t.Errorf("got %s, %v", list, err)
	}
}

// TestListMarksKeysThatAreRestricted: the ranges and methods are in `key show`.
func TestListMarksKeysThatAreRestricted(t *testing.T) {
	for want, e := range map[string]apikey.Entry{
		"-":                 {},
		"addresses":         {Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		"addresses,methods": {Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Methods: []string{"GET"}},
	} {
		if got := restrictions(&e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
