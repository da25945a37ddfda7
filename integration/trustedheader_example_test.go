package integration

import (
	"encoding/base64"
	"testing"
)

func TestExampleForwardAuth(t *testing.T) {
	s := startExample(t, "forward-auth")
	c := s.client()
	basic := func(user, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	alice, bob := basic("alice", "wonderland"), basic("bob", "builder")
	s.ask(c, "GET", "/wiki/home").want(t, 401)
	s.ask(c, "GET", "/wiki/home", "Remote-User: alice", "Remote-Groups: admins").want(t, 401)
	s.ask(c, "GET", "/wiki/home", basic("alice", "builder"), "Remote-User: alice").want(t, 401)
	s.ask(c, "GET", "/wiki/home", bob).want(t, 200, `"user":"bob","email":"bob@example.com"`)
	s.ask(c, "DELETE", "/wiki/home", alice).want(t, 200, `"user":"alice","email":"alice@example.com"`)
	for _, field := range []string{"Remote-User: alice", "Remote-Groups: admins", "remote_groups: admins"} {
		s.ask(c, "DELETE", "/wiki/home", bob, field).want(t, 403)
		s.ask(c, "GET", "/wiki/home", bob, field).want(t, 200, `"user":"bob"`)
	}
	s.stop()
	if n := countRecords(t, s.path("forward-auth.audit"), "alice"); n != 1 {
		t.Errorf("%d records of alice, want 1", n)
	}
}
