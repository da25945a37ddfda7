package jwtauth

import (
	"encoding/base64"
	"slices"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

func basic(text string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

// TestTokensAsPasswords has what git and curl send, and what is not meant for us.
func TestTokensAsPasswords(t *testing.T) {
	p := provider(t, shared+"from header Authorization Bearer\nfrom basic password\nstrip")
	good, bad := sign(t, nil), sign(t, nil)+"A"
	for name, c := range map[string]struct {
		value string
		kind  credential.Kind
		code  string
	}{
		"git":                 {basic("oauth2:" + good), 0, ""},
		"no user":             {basic(":" + good), 0, ""},
		"Bearer":              {"Bearer " + good, 0, ""},
		"bad":                 {basic("oauth2:" + bad), credential.Bad, credential.CodeInvalidToken},
		"a password":          {basic("alice:secret"), credential.Missing, credential.CodeMissing},
		"the user":            {basic(good + ":"), credential.Missing, credential.CodeMissing},
		"both":                {basic(good + ":" + good), credential.Malformed, credential.CodeInvalidRequest},
		"not to be decoded":   {"Basic " + good, credential.Malformed, credential.CodeInvalidRequest},
		"behind a line break": {basic("oauth2:" + good + "\n"), credential.Malformed, credential.CodeInvalidRequest},
	} {
		r := get("Authorization", c.value)
		t.Run(name, func(t *testing.T) { want(t, p, r, c.kind, c.code) })
		p.Clean(r)
		if kept := len(r.Header["Authorization"]) > 0; kept != (c.code == credential.CodeMissing) {
			t.Errorf("%s: kept for the upstream: %v", name, kept)
		}
	}
	r := get("Authorization", basic("oauth2:"+good), "Authorization", "Bearer "+good)
	want(t, p, r, credential.Malformed, credential.CodeInvalidRequest)
	if got := p.Challenges(nil); !slices.Equal(got, []string{`Bearer realm="restricted"`, `Basic realm="restricted", charset="UTF-8"`}) {
		t.Errorf("got %q", got)
	}
	if got := provider(t, shared+"from basic user").Challenges(&credential.Error{Kind: credential.Bad}); !slices.Equal(got, []string{`Basic realm="restricted", charset="UTF-8"`}) {
		t.Errorf("got %q", got)
	}
}
