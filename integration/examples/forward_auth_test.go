package examples

import (
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestExampleForwardAuth(t *testing.T) {
	s := startExample(t, "forward-auth")
	c := s.Client()
	alice, bob := harness.Basic("alice", "wonderland"), harness.Basic("bob", "builder")
	s.Send(c, "GET", "/wiki/home").Want(t, 401)
	s.Send(c, "GET", "/wiki/home", "Remote-User: alice", "Remote-Groups: admins").Want(t, 401)
	s.Send(c, "GET", "/wiki/home", harness.Basic("alice", "builder"), "Remote-User: alice").Want(t, 401)
	s.Send(c, "GET", "/wiki/home", bob).Want(t, 200, `"user":"bob","email":"bob@example.com"`)
	s.Send(c, "DELETE", "/wiki/home", alice).Want(t, 200, `"user":"alice","email":"alice@example.com"`)
	for _, field := range []string{"Remote-User: alice", "Remote-Groups: admins", "remote_groups: admins"} {
		s.Send(c, "DELETE", "/wiki/home", bob, field).Want(t, 403)
		s.Send(c, "GET", "/wiki/home", bob, field).Want(t, 200, `"user":"bob"`)
	}
	s.Stop()
	if n := harness.CountRecords(t, s.Path("forward-auth.audit"), "alice"); n != 1 {
		t.Errorf("%d records of alice, want 1", n)
	}
}
