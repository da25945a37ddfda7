package redact

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// provisioned provisions a handler in a context and gives back its error.
func provisioned(t *testing.T, options string) (*Handler, error) {
	t.Helper()
	h, err := parse("redact {\n" + options + "\n}")
	if err != nil {
		t.Fatal(err)
	}
	return h, h.Provision(newContext(t))
}

func TestKeysThatCannotBeUsedAreRefusedAtLoad(t *testing.T) {
	t.Setenv("MOAT_TEST_SHORT", "tooshort-S3CR3T"[:15])
	t.Setenv("MOAT_TEST_EMPTY", "")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ options, option, source string }{
		{"hash a\nhash_key {env.MOAT_TEST_NONE}", "hash_key", "{env.MOAT_TEST_NONE}"},
		{"hash a\nhash_key {env.MOAT_TEST_EMPTY}", "hash_key", "{env.MOAT_TEST_EMPTY}"},
		{"hash a\nhash_key {env.MOAT_TEST_SHORT}", "hash_key", "{env.MOAT_TEST_SHORT}"},
		{"shift_dates 3 a\nhash_key {env.MOAT_TEST_SHORT}", "hash_key", "{env.MOAT_TEST_SHORT}"},
		{"encrypt a\nencrypt_key {file." + empty + "}", "encrypt_key", empty},
		{"encrypt a\nencrypt_key {file." + empty + ".none}", "encrypt_key", empty},
		{"encrypt a\nencrypt_key {env.MOAT_TEST_SHORT}", "encrypt_key", "{env.MOAT_TEST_SHORT}"},
		{"encrypt a\nencrypt_key S3CR3T", "encrypt_key", ""},
		{"encrypt a\nencrypt_key internal a/b", "encrypt_key", "a/b"},
		{"requests {\n hash a\n}\nhash_key {env.MOAT_TEST_NONE}", "hash_key", "{env.MOAT_TEST_NONE}"},
	} {
		_, err := provisioned(t, c.options)
		if err == nil {
			t.Errorf("%q: no error", c.options)
			continue
		}
		if !strings.Contains(err.Error(), c.option) || !strings.Contains(err.Error(), c.source) || !strings.Contains(err.Error(), "redact") {
			t.Errorf("%q: %v does not name the directive, %s and %s", c.options, err, c.option, c.source)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the value is in the error: %v", c.options, err)
		}
	}
}

func TestUnusedKeysAreNotMade(t *testing.T) {
	h, err := parse("redact {\n remove a\n}")
	if err != nil {
		t.Fatal(err)
	}
	ctx := newContext(t)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if keys, _ := ctx.Storage().List(ctx, "moat", true); len(keys) > 0 {
		t.Errorf("in the storage: %q", keys)
	}
}

func TestInternalKeysStayTheSame(t *testing.T) {
	ctx := newContext(t)
	see := func(options string) map[string]string {
		t.Helper()
		h, err := parse("redact {\n" + options + "\n}")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		w, err := direct(t, h, answers(200, "application/json", `{"a":"`+secret+`","b":"`+secret+`"}`))
		if err != nil || leaked(w.Body.Bytes()) {
			t.Fatalf("got %q (%v)", w.Body, err)
		}
		var m map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, second := see("hash a b"), see("hash a b")
	if first["a"] != second["a"] || first["a"] != first["b"] || first["a"] == "" {
		t.Errorf("pseudonyms of one value: %v %v", first, second)
	}
	t.Setenv("MOAT_TEST_KEY", "0123456789abcdef")
	if other := see("hash a b\nhash_key {env.MOAT_TEST_KEY}"); other["a"] == first["a"] {
		t.Error("another key gives the same pseudonym")
	}
	sealed := see("encrypt a b")
	if !strings.HasPrefix(sealed["a"], "moat:v1:internal:") || sealed["a"] == sealed["b"] {
		t.Errorf("encrypted: %v", sealed)
	}
	for _, name := range []string{"hash_key", "encrypt_key"} {
		if key, err := ctx.Storage().Load(ctx, "moat/redact/"+name); err != nil || len(key) != keyLen {
			t.Errorf("%s: %d bytes (%v)", name, len(key), err)
		}
	}
	if err := ctx.Storage().Store(ctx, "moat/redact/hash_key", []byte("short")); err != nil {
		t.Fatal(err)
	}
	h, _ := parse("redact {\n hash a\n}")
	if err := h.Provision(ctx); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged key: %v", err)
	}
}
