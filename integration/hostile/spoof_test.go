package hostile

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestHeaderThatClientsCanSendRoundTheAuthenticatorIsWarnedOf: in a handle
// block, jwt_auth removes what clients send from the requests of that block
// alone.
func TestHeaderThatClientsCanSendRoundTheAuthenticatorIsWarnedOf(t *testing.T) {
	const warning = "this header carries the identity to an upstream"
	up := harness.HeaderUpstream(t)
	site := func(routes string) *harness.Server {
		return harness.Start(t, `http://localhost:{$PORT} {
	`+strings.NewReplacer("AUTH", `jwt_auth {
		key HS256 `+strings.Repeat("QUJD", 12)+`
		forward /sub X-User
	}`, "UP", "reverse_proxy "+up).Replace(routes)+`
}`)
	}
	s := site("handle /api/* {\nAUTH\nUP\n}\nhandle {\nUP\n}")
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), warning) {
			return errors.New("no warning")
		}
		return nil
	})
	if a := s.Get("PORT", "/x", "X-User: root"); !strings.Contains(a.Body, "X-User: root") {
		t.Errorf("there was nothing to warn of: %s", a.Body)
	}
	for _, routes := range []string{
		"AUTH\nhandle /api/* {\nUP\n}\nhandle {\nUP\n}",
		"handle /api/* {\nAUTH\nUP\n}\nhandle {\nrequest_header -X-User\nUP\n}",
		"handle /api/* {\nAUTH\nUP\n}\nhandle {\nrespond ok\n}",
	} {
		s := site(routes)
		if a := s.Get("PORT", "/x", "X-User: root"); strings.Contains(a.Body, "X-User: root") {
			t.Errorf("%s: the upstream saw %s", routes, a.Body)
		}
		s.Stop()
		if strings.Contains(s.Log.String(), warning) {
			t.Errorf("%s: a warning", routes)
		}
	}
}
