package examples

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestExampleAbuse(t *testing.T) {
	s := startExample(t, "abuse")
	c := s.Client()
	token := func(user, role string) string {
		return harness.Bearer(s.Token("--config", s.Config, "--sub", user, "--role", role))
	}
	mallory, exporter, alice := token("mallory", "clerk"), token("robot", "exporter"), token("alice", "clerk")
	from := func(address, path string, header ...string) *harness.Response {
		return s.Send(c, "GET", path, append(header, "X-Forwarded-For: "+address)...)
	}

	// A trap.
	from("203.0.113.7", "/orders/1", alice).Want(t, 200)
	from("203.0.113.7", "/.env").Want(t, 403, "banned")
	a := from("203.0.113.7", "/orders/1", alice)
	if a.Want(t, 403, "banned"); a.Header.Get("Retry-After") == "" || a.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("the ban does not say when it ends: %v", a.Header)
	}
	from("203.0.113.6", "/orders/1", alice).Want(t, 200)
	from("198.51.100.5", "/.env").Want(t, 401)
	from("198.51.100.5", "/orders/1", alice).Want(t, 200)

	// The same bad token, and different ones.
	for range 30 {
		from("203.0.113.9", "/orders/1", "Authorization: Bearer a.b.c").Want(t, 401)
	}
	for i := range 11 {
		want := 401
		if i == 10 { // and the one before
			want = 403
		}
		from("203.0.113.10", "/orders/1", fmt.Sprintf("Authorization: Bearer a.%d.c", i)).Want(t, want)
	}
	from("203.0.113.10", "/orders/1", alice).Want(t, 403, "banned")

	// A walk of IDs, from different addresses, and an export.
	found := 0
	for i := range 30 {
		if a := from(fmt.Sprintf("203.0.113.%d", 100+i), fmt.Sprintf("/orders/%d", 1000+i), mallory); a.StatusCode == 403 && found == 0 {
			a.Want(t, 403, "banned")
			found = i + 1
		}
	}
	if found != 16 {
		t.Errorf("the walk was found with request %d", found)
	}
	for i := range 60 {
		from("203.0.113.50", fmt.Sprintf("/orders/%d", i), exporter).Want(t, 200)
	}

	// The commands.
	list := s.Output("moat", "ban", "list")
	for _, want := range []string{"203.0.113.7 ", "203.0.113.10 ", "caller:", "|mallory ", "16 distinct {id} of /orders/{id} in 10m, more than 15"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list has no %q:\n%s", want, list)
		}
	}
	text := s.Output("moat", "ban", "explain", "203.0.113.10")
	ids := regexp.MustCompile(`evidence +([0-9a-f-]{36})`).FindAllStringSubmatch(text, -1)
	if len(ids) != 4 {
		t.Fatalf("the evidence is not there:\n%s", text)
	}
	trail := s.Path("abuse.audit")
	harness.Eventually(t, func() error { // the checkpoint that the proof needs
		_, err := s.Caddy("moat", "audit", "prove", "-o", s.Path("proof"), trail, ids[3][1])
		return err
	})
	s.Output("moat", "ban", "remove", "203.0.113.7")
	from("203.0.113.7", "/orders/1", alice).Want(t, 200)
	s.Output("moat", "ban", "add", "2001:db8:7::1", "--for", "30m", "--reason", "ticket 4711")
	from("2001:db8:7::ffff", "/orders/1", alice).Want(t, 403, "banned")
	from("2001:db8:7:1::1", "/orders/1", alice).Want(t, 200)

	// A restart forgets nothing.
	s.Stop()
	s.Run()
	s.Wait()
	s.Ready("PORT", "localhost")
	c = s.Client()
	from("2001:db8:7::1", "/orders/1", alice).Want(t, 403, "banned")
	from("203.0.113.10", "/orders/1", alice).Want(t, 403, "banned")
	from("203.0.113.99", "/orders/1", mallory).Want(t, 403, "banned")
	from("203.0.113.7", "/orders/1", alice).Want(t, 200)
	s.Stop()
	if n := harness.CountRecords(t, trail, `"layer":"guard","result":"deny","rule":"trap /.env"`, `"code":"banned"`); n != 1 {
		t.Errorf("%d records of the trap", n)
	}
	if n := harness.CountRecords(t, trail, `"what":"unban"`, "203.0.113.7"); n != 1 {
		t.Errorf("%d records of the end of a ban", n)
	}
}
