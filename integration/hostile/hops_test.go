package hostile

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestClientCannotTakeIdentityAway: fields that Connection names are removed
// by whoever passes a request on (RFC 9110 section 7.6.1), and must not be
// those that the server has set itself.
func TestClientCannotTakeIdentityAway(t *testing.T) {
	key := harness.NewSigner(t)
	s := harness.Prepare(t, `http://localhost:{$PORT} {
	jwt_auth {
		issuer https://id.test {
			key RS256 rsa.pem
			audience api
		}
		forward /sub X-User
	}
	request_header X-Also {http.auth.user.id}
	reverse_proxy `+harness.HeaderUpstream(t)+`
}
http://localhost:{$PORT2} {
	basic_auth {
		`+harness.BasicUser(t, "alice", "a")+`
	}
	rbac {
		authenticated {
			allow * /* when headers["x-tenant"] == "t1"
		}
	}
	request_header X-User {http.auth.user.id}
	reverse_proxy `+harness.HeaderUpstream(t)+`
}`)
	s.WriteFile("rsa.pem", key.Public)
	s.Run()
	s.Wait()
	for _, connection := range []string{"X-User", "close, x-user", "X-User,X-Also", "keep-alive , X-USER , X-Also", "X-User\r\nConnection: X-Also"} {
		request := func(port, more string) *harness.Response {
			return harness.Raw(t, s.Addr(port), "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: "+connection+"\r\n"+more+"\r\n\r\n")
		}
		a := request("PORT", "Authorization: Bearer "+key.Good())
		if a.StatusCode != 200 || !strings.Contains(a.Body, "X-User: alice\r\n") || !strings.Contains(a.Body, "X-Also: alice\r\n") {
			t.Errorf("Connection: %s: got %d, the upstream saw\n%s", connection, a.StatusCode, a.Body)
		}
		a = request("PORT2", harness.Basic("alice", "a")+"\r\nX-Tenant: t1")
		if a.StatusCode != 200 || !strings.Contains(a.Body, "X-User: alice\r\n") {
			t.Errorf("basic_auth, Connection: %s: got %d, the upstream saw\n%s", connection, a.StatusCode, a.Body)
		}
	}
	// A condition does not read what the upstream will not get.
	a := harness.Raw(t, s.Addr("PORT2"), "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Tenant\r\nX-Tenant: t1\r\n"+harness.Basic("alice", "a")+"\r\n\r\n")
	if a.StatusCode != 403 {
		t.Errorf("a field for one hop: got %d, want 403; the upstream saw\n%s", a.StatusCode, a.Body)
	}
}

// TestNoTunnelOfRequestsPastTheLayers: a connection that changes to another
// protocol of requests would carry requests that nobody decides on.
func TestNoTunnelOfRequestsPastTheLayers(t *testing.T) {
	up := harness.RawUpstream(t, func(conn net.Conn, r *http.Request) {
		if u := r.Header.Get("Upgrade"); u != "" {
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", u)
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	})
	key := harness.NewSigner(t)
	s := harness.Prepare(t, `http://localhost:{$PORT} {
	rbac {
		anyone {
			allow GET /health
		}
	}
	reverse_proxy `+up+`
}
http://localhost:{$PORT2} {
	jwt_auth {
		issuer https://id.test {
			key RS256 rsa.pem
			audience api
		}
	}
	reverse_proxy `+up+`
}`)
	s.WriteFile("rsa.pem", key.Public)
	s.Run()
	s.Wait()
	status := func(port, upgrade string) int {
		conn, err := net.DialTimeout("tcp", s.Addr(port), harness.Patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(harness.Patience))
		fmt.Fprintf(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n%s\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nAuthorization: Bearer %s\r\n\r\n", upgrade, key.Good())
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, port := range []string{"PORT", "PORT2"} {
		for _, upgrade := range []string{
			"Upgrade: h2c", "Upgrade: H2C", "Upgrade: websocket, h2c", "Upgrade: websocket\r\nUpgrade: h2c", "Upgrade: HTTP/2.0", "Upgrade: TLS/1.2, HTTP/1.1", "Upgrade: h2c;q=1",
		} {
			// RFC 9110 section 7.8: a server may ignore it.
			if got := status(port, upgrade); got != 200 {
				t.Errorf("%s: %q: got %d, want 200 as if it had not been asked", port, upgrade, got)
			}
		}
		if got := status(port, "Upgrade: websocket"); got != 101 {
			t.Errorf("%s: websocket: got %d, want 101", port, got)
		}
	}
}
