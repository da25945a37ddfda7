package jwtauth

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

const offered = "Sec-Websocket-Protocol"

// TestTokensAmongSubprotocols has what browsers and clients of Kubernetes send.
func TestTokensAmongSubprotocols(t *testing.T) {
	p := provider(t, shared+"from header Authorization Bearer\nfrom websocket")
	good := sign(t, nil)
	kubernetes := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(good))
	for name, c := range map[string]struct {
		value, left, selected string
		kind                  credential.Kind
		code                  string
	}{
		"browser":             {"bearer, " + good, "", "bearer", 0, ""},
		"with another":        {"chat.v1, bearer, " + good, "chat.v1", "bearer", 0, ""},
		"Kubernetes":          {kubernetes + ", v4.channel.k8s.io", "v4.channel.k8s.io", "", 0, ""},
		"no token":            {"chat.v1", "chat.v1", "", credential.Missing, credential.CodeMissing},
		"a bad token":         {"bearer, " + good + "A, chat.v1", "chat.v1", "", credential.Bad, credential.CodeInvalidToken},
		"nothing behind":      {"bearer", "", "", credential.Malformed, credential.CodeInvalidRequest},
		"two":                 {"bearer, " + good + ", bearer, " + good, "", "", credential.Malformed, credential.CodeInvalidRequest},
		"Kubernetes, alone":   {kubernetes, "", "", credential.Malformed, credential.CodeInvalidRequest},
		"as header of a name": {"bearer " + good, "", "", credential.Malformed, credential.CodeInvalidRequest},
	} {
		r := get(offered, c.value, "Upgrade", "websocket")
		t.Run(name, func(t *testing.T) { want(t, p, r, c.kind, c.code) })
		grant, _ := p.Identify(r)
		p.Clean(r)
		if left := r.Header.Get(offered); left != c.left {
			t.Errorf("%s: the upstream sees %q, want %q", name, left, c.left)
		}
		if c.code != "" {
			continue
		}
		rec := httptest.NewRecorder()
		upgrade := func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusSwitchingProtocols)
			return nil
		}
		if grant.Wrap == nil {
			_ = upgrade(rec, r)
		} else if err := grant.Wrap(rec, r, upgrade); err != nil {
			t.Error(err)
		}
		if got := rec.Header()["Sec-WebSocket-Protocol"]; len(got) != len(c.selected)/6 || len(got) > 0 && got[0] != c.selected { //nolint:canonicalheader // RFC 6455
			t.Errorf("%s: %q is selected, want %q", name, got, c.selected)
		}
	}
	r := get(offered, "bearer, "+good, "Authorization", "Bearer "+good)
	want(t, p, r, credential.Malformed, credential.CodeInvalidRequest)
}
