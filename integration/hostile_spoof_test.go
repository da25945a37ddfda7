package integration

import (
	"errors"
	"strings"
	"testing"
)

// TestHeaderThatClientsCanSendRoundTheAuthenticatorIsWarnedOf: in a handle
// block, jwt_auth removes what clients send from the requests of that block
// alone.
func TestHeaderThatClientsCanSendRoundTheAuthenticatorIsWarnedOf(t *testing.T) {
	const warning = "this header carries the identity to an upstream"
	up := headUpstream(t)
	site := func(routes string) *server {
		return start(t, `http://localhost:{$PORT} {
	`+strings.NewReplacer("AUTH", `jwt_auth {
		key HS256 `+strings.Repeat("QUJD", 12)+`
		forward /sub X-User
	}`, "UP", "reverse_proxy "+up).Replace(routes)+`
}`)
	}
	s := site("handle /api/* {\nAUTH\nUP\n}\nhandle {\nUP\n}")
	eventually(t, func() error {
		if !strings.Contains(s.log.String(), warning) {
			return errors.New("no warning")
		}
		return nil
	})
	if a := s.get("PORT", "/x", "X-User: root"); !strings.Contains(a.body, "X-User: root") {
		t.Errorf("there was nothing to warn of: %s", a.body)
	}
	for _, routes := range []string{
		"AUTH\nhandle /api/* {\nUP\n}\nhandle {\nUP\n}",
		"handle /api/* {\nAUTH\nUP\n}\nhandle {\nrequest_header -X-User\nUP\n}",
		"handle /api/* {\nAUTH\nUP\n}\nhandle {\nrespond ok\n}",
	} {
		s := site(routes)
		if a := s.get("PORT", "/x", "X-User: root"); strings.Contains(a.body, "X-User: root") {
			t.Errorf("%s: the upstream saw %s", routes, a.body)
		}
		s.stop()
		if strings.Contains(s.log.String(), warning) {
			t.Errorf("%s: a warning", routes)
		}
	}
}
