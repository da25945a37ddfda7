package evidence

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestAuditEveryKindOfRequestIsRecordedWithItsDecidingRule(t *testing.T) {
	app := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
}
http://localhost:{$PORT} {
	audit trail
	jwt_auth {
		issuer internal
		optional
	}
	rate_limit {
		zone per_user {
			key {http.auth.user.id}
			events 3
			window 1h
		}
	}
	rbac {
		role clerk {
			allow GET /orders/*
		}
		anyone {
			allow GET /health
		}
	}
	reverse_proxy `+app+`
}`)
	bearer := "Authorization: Bearer " + s.Token("--sub", "alice", "--role", "clerk")
	for _, c := range []struct {
		path   string
		header []string
		status int
		layer  string
		user   string
	}{
		{"/health", nil, 200, "", ""},
		{"/orders/1", nil, 401, "rbac", ""},
		{"/orders/2", []string{"Authorization: Bearer nonsense"}, 401, "jwt_auth", ""},
		{"/orders/3", []string{bearer}, 200, "", "alice"},
		{"/forbidden", []string{bearer}, 403, "rbac", "alice"},
		{"/orders/4", []string{bearer}, 200, "", "alice"},
		{"/orders/5", []string{bearer}, 429, "rate_limit", "alice"},
	} {
		if a := s.Get("PORT", c.path, c.header...); a.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", c.path, a.StatusCode, a.Body, c.status)
		}
		r := s.RecordOf("trail", c.path)
		if r.Status != c.status || r.User.ID != c.user || r.Site != "localhost" {
			t.Errorf("%s: record %+v", c.path, r)
		}
		last := ""
		for _, d := range r.Decisions {
			if d.Result == "deny" || d.Result == "error" {
				last = d.Layer
			}
		}
		if last != c.layer || (c.layer == "") != (r.Code == "") {
			t.Errorf("%s: refused by %q with code %q, want %q: %+v", c.path, last, r.Code, c.layer, r)
		}
	}
}

func TestAuditNoCredentialInTrailAccessLogOrErrorLog(t *testing.T) {
	secret := func(i int) string { return fmt.Sprintf("Sekret%02dxyzzy", i) }
	app := harness.RawUpstream(t, func(conn net.Conn, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/broken") {
			return // reverse_proxy logs an error with the request
		}
		body := `{"access_token":"` + secret(20) + `","name":"x"}`
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: sid=%s\r\nX-Auth-Token: %s\r\nLocation: /cb?code=%s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", secret(21), secret(22), secret(23), len(body), body)
	})
	s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
	debug
	log default {
		output file default.log
		format moat
	}
	servers {
		log_credentials
	}
}
http://localhost:{$PORT} {
	log {
		output file access.log
		format moat {
			header X-Own-Secret
		}
	}
	audit trail {
		record headers X-Note Referer
		record query
		record request_body 8KiB
		record response_body 8KiB
	}
	jwt_auth {
		issuer internal
		optional
	}
	basic_auth /basic* {
		bob $2a$04$q4I7fHcqSmAz.Oy7/54dxuL8WSMO1VYw2YAhR1tIXZp3bC4sWtZ2O
	}
	rbac {
		anyone {
			allow * /*
		}
	}
	reverse_proxy `+app+`
}`)
	token := s.Token("--sub", "alice")
	texts := []string{token}
	for i := range 24 {
		texts = append(texts, secret(i))
	}
	headers := []string{
		"Cookie: session=" + secret(1), "X-Api-Key: " + secret(2), "DPoP: " + secret(3), "Proxy-Authorization: Basic " + secret(4),
		"X-Own-Secret: " + secret(5), "X-Note: Bearer " + token, "Referer: https://bob:" + secret(0) + "@x/?access_token=" + secret(6), "X-Acme-Token: " + secret(7),
		"X-Amz-Security-Token: " + secret(8), "Signature: sig1=:" + secret(9) + ":",
	}
	body := `{"user":"alice","password":"` + secret(10) + `","client_secret":"` + secret(11) + `"}`
	for _, path := range []string{"/json", "/broken", "/basic"} {
		query := "?access_token=" + secret(12) + "&api_key=" + secret(13) + "&page=2&code=" + secret(14)
		s.Do("PORT", "POST", path+query, body, append([]string{"Authorization: Bearer " + token, "Content-Type: application/json"}, headers...)...)
		s.Do("PORT", "POST", path+query, "user=alice&password="+secret(15)+"&otp="+secret(16), append([]string{"Authorization: Basic " + "Ym9iOlNla3JldDE3eHl6enk=", "Content-Type: application/x-www-form-urlencoded"}, headers...)...)
		s.Do("PORT", "GET", path+query, "", append([]string{"Authorization: Bearer a." + secret(18) + ".c"}, headers...)...)
	}
	for _, target := range []string{
		"http://bob:" + secret(19) + "@localhost/json", "/cart;jsessionid=" + secret(17), "/cb#access_token=" + secret(17),
		"/reset/" + strings.ReplaceAll(token, ".", "%2e"), "/reset/" + token,
	} {
		s.Do("PORT", "GET", target, "")
	}
	texts = append(texts, token[strings.LastIndexByte(token, '.')+1:])
	harness.Eventually(t, func() error {
		if n := len(s.Records("trail", "--kind", "outcome")); n != 14 {
			return fmt.Errorf("%d records, want 14", n)
		}
		return nil
	})
	s.Stop()
	texts = append(texts, "Ym9iOlNla3JldDE3eHl6enk=")
	logs := t.TempDir()
	for _, name := range []string{"access.log", "default.log"} {
		data, err := os.ReadFile(s.Path(name))
		if err != nil || !bytes.Contains(data, []byte("REDACTED")) {
			t.Fatalf("%s: %d bytes, %v", name, len(data), err)
		}
		_ = os.WriteFile(filepath.Join(logs, name), data, 0o600)
	}
	_ = os.WriteFile(filepath.Join(logs, "stderr"), []byte(s.Log.String()), 0o600)
	harness.GrepTree(t, logs, texts...)
	harness.GrepTree(t, s.Path("trail"), texts...)
	found := false
	_ = filepath.WalkDir(s.Path("trail"), func(path string, d fs.DirEntry, _ error) error {
		data, _ := os.ReadFile(path)
		found = found || bytes.Contains(data, []byte(`\"user\":\"alice\"`)) && bytes.Contains(data, []byte("page=2"))
		return nil
	})
	if !found {
		t.Error("bodies and queries are not recorded at all, so the test shows nothing")
	}
}

func TestAuditUpgradedConnectionIsRecorded(t *testing.T) {
	app := harness.RawUpstream(t, func(conn net.Conn, _ *http.Request) {
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		buf := make([]byte, 5)
		_, _ = io.ReadFull(conn, buf)
		_, _ = conn.Write(buf)
	})
	for _, mode := range []string{"batch", "always"} {
		s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
}
http://localhost:{$PORT} {
	audit trail {
		sync `+mode+`
	}
	reverse_proxy `+app+`
}`)
		conn, err := net.Dial("tcp", s.Addr("PORT"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(harness.Patience))
		fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 101 ") {
			t.Fatalf("%q %v", buf[:n], err)
		}
		// A connection that stays open for days is recorded now.
		harness.Eventually(t, func() error {
			if list := s.Records("trail", "--kind", "intent"); len(list) != 1 || list[0].Path != "/ws" {
				return fmt.Errorf("%s: intents while the connection is open: %+v", mode, list)
			}
			return nil
		})
		fmt.Fprint(conn, "hello")
		rest, _ := io.ReadAll(conn)
		conn.Close()
		if string(rest) != "hello" {
			t.Errorf("%s: echo %q", mode, rest)
		}
		if r := s.RecordOf("trail", "/ws"); r.Status != 101 || r.End != "upgraded" || r.Sent != 5 {
			t.Errorf("%s: %+v", mode, r)
		}
	}
}

func TestAuditConnectionThatIsOpenAtShutdownIsRecorded(t *testing.T) {
	app := harness.RawUpstream(t, func(conn net.Conn, _ *http.Request) {
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
	grace_period 1s
}
http://localhost:{$PORT} {
	audit trail
	reverse_proxy `+app+`
}`)
	conn, err := net.Dial("tcp", s.Addr("PORT"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	list := s.Records("trail", "--path", "/ws", "--kind", "outcome")
	if len(list) != 1 || list[0].End != "upgraded" {
		t.Errorf("%+v", list)
	}
}

// A stream that runs when the process ends has a record of what is known: all
// of it after an orderly stop, its beginning after a crash.
func TestAuditStreamThatRunsWhenTheProcessEndsIsRecorded(t *testing.T) {
	app := harness.RawUpstream(t, func(conn net.Conn, _ *http.Request) {
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	for _, end := range []string{"stop", "kill"} {
		s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
	grace_period 1s
}
http://localhost:{$PORT} {
	audit trail
	reverse_proxy `+app+`
}`)
		resp, err := http.Get("http://localhost:" + s.Ports["PORT"] + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 9)); err != nil {
			t.Fatal(err)
		}
		if end == "stop" {
			s.Stop()
			list := s.Records("trail", "--path", "/events", "--kind", "outcome")
			if len(list) != 1 || list[0].End != "aborted" || list[0].Status != 200 || list[0].Sent != 9 {
				t.Errorf("after an orderly stop: %+v", list)
			}
			continue
		}
		harness.Eventually(t, func() error {
			if list := s.Records("trail", "--path", "/events", "--kind", "intent"); len(list) != 1 {
				return fmt.Errorf("%d intents while the stream runs", len(list))
			}
			return nil
		})
		s.Kill()
		if list := s.Records("trail", "--path", "/events", "--kind", "intent"); len(list) != 1 {
			t.Errorf("after a crash: %+v", list)
		}
	}
}

func TestAuditErrorPagesKeepTheirStatusInTheRecord(t *testing.T) {
	s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
}
http://localhost:{$PORT} {
	audit trail {
		sync always
	}
	rbac {
		anyone {
			allow GET /ok
		}
	}
	respond ok
	handle_errors {
		respond "page {err.status_code} {http.moat.code}"
	}
}`)
	a := s.Get("PORT", "/no")
	if a.StatusCode != 401 || !strings.HasPrefix(a.Body, "page 401 ") {
		t.Errorf("%d %s", a.StatusCode, a.Body)
	}
	if r := s.RecordOf("trail", "/no"); r.Status != 401 || r.Code == "" || r.Kind != "outcome" {
		t.Errorf("%+v", r)
	}
}

// TestAuditTimedOutRequestsAreRecorded has a time run out on each side: that of
// the upstream, that for the request's body, and that for the answer.
func TestAuditTimedOutRequestsAreRecorded(t *testing.T) {
	release := make(chan struct{})
	app := harness.RawUpstream(t, func(conn net.Conn, req *http.Request) {
		switch req.URL.Path {
		case "/body":
			_, _ = io.Copy(io.Discard, req.Body)
		case "/slow": // begins, and does not end
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}
		<-release
	})
	defer close(release)
	for _, mode := range []string{"batch", "always"} {
		s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
	servers {
		timeouts {
			read_body 500ms
			write 20s
		}
	}
}
http://localhost:{$PORT} {
	audit trail {
		sync `+mode+`
	}
	reverse_proxy `+app+` {
		transport http {
			response_header_timeout 500ms
			read_timeout 1s
		}
	}
}`)
		if a := s.Get("PORT", "/upstream"); a.StatusCode != 504 {
			t.Errorf("%s: an upstream that does not answer: %d %s", mode, a.StatusCode, a.Body)
		}
		if r := s.RecordOf("trail", "/upstream"); r.Status != 504 || r.Kind != "outcome" {
			t.Errorf("%s: an upstream that does not answer: %+v", mode, r)
		}
		for path, request := range map[string]string{
			"/body": "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 100\r\n\r\nhalf",
			"/slow": "GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		} {
			conn, err := net.Dial("tcp", s.Addr("PORT"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(harness.Patience))
			fmt.Fprint(conn, request)
			got, _ := io.ReadAll(conn)
			harness.Eventually(t, func() error {
				for _, r := range s.Records("trail", "--kind", "outcome") {
					if r.Path == path {
						if r.Status < 400 && r.End == "" {
							t.Errorf("%s: %s looks as if all went well: %+v, %q", mode, path, r, got)
						}
						return nil
					}
				}
				return fmt.Errorf("%s: %s was not recorded", mode, path)
			})
		}
		s.Stop()
	}
}

func TestAuditWarnsOfRecordsThatAreKeptForLessThan180Days(t *testing.T) {
	const warning = "records are kept for less than 180 days"
	for options, want := range map[string]bool{"": false, "keep 180d": false, "keep 179d": true, "keep 24h": true} {
		s := harness.Start(t, auditSite(options))
		s.Stop()
		if got := strings.Contains(s.Log.String(), warning); got != want {
			t.Errorf("%q: warned is %v, want %v", options, got, want)
		}
	}
}
