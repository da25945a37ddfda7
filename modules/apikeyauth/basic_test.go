package apikeyauth

import (
	"encoding/base64"
	"slices"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// TestKeysAsUserNames has keys as `curl -u <key>:` sends them.
func TestKeysAsUserNames(t *testing.T) {
	b, key := newBench(t, "from basic user\nfrom header X-API-Key\nstrip")
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for name, c := range map[string]struct{ value, code string }{
		"user":              {basic(key + ":"), ""},
		"with a password":   {basic(key + ":x"), ""},
		"mistyped":          {basic(key + "x:"), CodeInvalid},
		"password":          {basic("x:" + key), credential.CodeMissing},
		"somebody":          {basic("alice:secret"), credential.CodeMissing},
		"both":              {basic(key + ":" + key), credential.CodeInvalidRequest},
		"without a colon":   {basic(key), credential.CodeInvalidRequest},
		"not to be decoded": {"Basic " + key, credential.CodeInvalidRequest},
	} {
		r := get("", "Authorization", c.value)
		if got := code(t, b.p, r); got != c.code {
			t.Errorf("%s: got %s, want %s", name, got, c.code)
		}
		b.p.Clean(r)
		if kept := len(r.Header["Authorization"]) > 0; kept != (c.code == credential.CodeMissing) {
			t.Errorf("%s: kept for the upstream: %v", name, kept)
		}
	}
	if got := code(t, b.p, get("", "Authorization", basic(key+":"), "X-Api-Key", key)); got != credential.CodeInvalidRequest {
		t.Errorf("two keys: got %s", got)
	}
	want := []string{`ApiKey realm="restricted"`, `Basic realm="restricted", charset="UTF-8"`}
	if got := b.p.Challenges(credential.ErrMissing); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
