package layers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestBothRateLimitsInOneSite has a limit by address before authentication and
// one by user after it.
func TestBothRateLimitsInOneSite(t *testing.T) {
	signer := harness.NewSigner(t)
	s := harness.Prepare(t, `
:{$PORT} {
	respond "hello {http.auth.user.id}"
	rate_limit {
		zone z {
			key {http.auth.user.id}
			events 3
			window 1h
		}
	}
	jwt_auth {
		issuer https://id.test {
			key RS256 rsa.pem
			audience api
		}
	}
	flood_limit {
		zone z {
			key {http.request.header.X-Address}
			events 10
			window 1h
		}
	}
}
`)
	s.WriteFile("rsa.pem", signer.Public)
	s.Run()
	s.Wait()
	ask := func(address, token string) int {
		return s.Get("PORT", "/", "X-Address: "+address, "Authorization: Bearer "+token).StatusCode
	}
	alice := signer.Good()
	bob := signer.Sign(nil, harness.Claims(map[string]any{"sub": "bob"}))

	for i := range 3 {
		if got := ask("a", alice); got != 200 {
			t.Fatalf("request %d of alice: %d", i+1, got)
		}
	}
	if got := ask("a", alice); got != 429 {
		t.Errorf("the fourth request of alice: %d, want 429", got)
	}
	if got := ask("a", bob); got != 200 {
		t.Errorf("bob shares the bucket of alice: %d", got)
	}
	// Five of ten are used at this address. A flood of bad tokens is told
	// that they are bad until the limit is reached, and then no more.
	for i := range 5 {
		if got := ask("a", "x.y.z"); got != 401 {
			t.Fatalf("bad token %d: %d, want 401", i+1, got)
		}
	}
	for range 3 {
		if got := ask("a", "x.y.z"); got != 429 {
			t.Errorf("a flood of bad tokens: %d, want 429", got)
		}
	}
	if got := ask("b", bob); got != 200 {
		t.Errorf("another address is limited too: %d", got)
	}
}

// TestReloadUnderLoadLosesNothing keeps 50 connections busy while 20
// configurations are loaded, every fourth of them broken.
func TestReloadUnderLoadLosesNothing(t *testing.T) {
	harness.Heavy(t)
	signer := harness.NewSigner(t)
	up := harness.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":1,"secret":"x"}`)
	})
	config := func(note string) string {
		return `
{
	grace_period 30s
}
:{$PORT} {
	header X-Note ` + note + `
	audit trail
	flood_limit {
		zone all {
			key all
			events 100000000
			window 1h
		}
	}
	jwt_auth {
		issuer https://id.test {
			key RS256 rsa.pem
			audience api
		}
	}
	rate_limit {
		zone user {
			key {http.auth.user.id}
			events 100000000
			window 1h
		}
	}
	rbac {
		role clerk {
			allow GET /orders/*
		}
	}
	redact {
		remove secret
	}
	reverse_proxy {env.UPSTREAM} {
		transport http {
			keepalive 1s
		}
	}
}
`
	}
	s := harness.Prepare(t, config("first"), "UPSTREAM="+up)
	s.WriteFile("rsa.pem", signer.Public)
	s.Run()
	s.Wait()
	request := "GET /orders/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + signer.Good() + "\r\n\r\n"

	var (
		wg       sync.WaitGroup
		quit     = make(chan struct{})
		sent     atomic.Int64
		problems = make(chan string, 100)
	)
	problem := func(format string, args ...any) {
		select {
		case problems <- fmt.Sprintf(format, args...):
		default:
		}
	}
	// Whether the old server has closed a connection before its first request
	// reached a handler: Linux resets what its listener had not accepted yet,
	// and net/http closes without a word what it had accepted and not yet
	// read when the shutdown began (conn.serve). The count of records below
	// would tell if a handler had read one of them.
	closed := func(err error) bool {
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	}
	for range 50 {
		wg.Go(func() {
			var conn net.Conn
			var br *bufio.Reader
			defer func() {
				if conn != nil {
					conn.Close()
				}
			}()
			for {
				select {
				case <-quit:
					return
				default:
				}
				fresh := conn == nil
				if fresh {
					c, err := net.DialTimeout("tcp", s.Addr("PORT"), harness.Patience)
					if errors.Is(err, syscall.ECONNRESET) {
						continue // see closed
					}
					if err != nil {
						problem("dial: %v", err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(2 * harness.Patience))
					conn, br = c, bufio.NewReader(c)
				}
				if _, err := conn.Write([]byte(request)); err != nil {
					// An idle connection may be closed by the old
					// server; a request on a new one must be served.
					if fresh && !closed(err) {
						problem("write: %v", err)
					}
					conn.Close()
					conn = nil
					continue
				}
				if _, err := br.Peek(1); err != nil {
					if fresh && !closed(err) {
						problem("read: %v", err)
					}
					conn.Close()
					conn = nil
					continue
				}
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					problem("response: %v", err)
					return
				}
				body := make([]byte, 100)
				n, _ := resp.Body.Read(body)
				resp.Body.Close()
				sent.Add(1)
				if resp.StatusCode != 200 || string(body[:n]) != `{"id":1}` {
					problem("got %d %s", resp.StatusCode, body[:n])
				}
				if resp.Close {
					conn.Close()
					conn = nil
				}
			}
		})
	}
	before := 0
	for i := range 20 {
		if i%4 == 3 {
			if err := s.Reload(strings.Replace(config("bad"), "remove secret", "remvoe secret", 1)); err == nil {
				t.Error("a broken configuration was loaded")
			}
		} else if err := s.Reload(config("n" + strconv.Itoa(i))); err != nil {
			t.Error(err)
		}
		if i == 4 {
			before = s.Goroutines()
		}
	}
	close(quit)
	wg.Wait()
	close(problems)
	for p := range problems {
		t.Error(p)
	}
	if sent.Load() < 100 {
		t.Fatalf("only %d requests were made", sent.Load())
	}

	// Old servers end once their connections have.
	harness.Eventually(t, func() error {
		if n := s.Goroutines(); n > before {
			return fmt.Errorf("%d goroutines, %d after the first reloads and under load", n, before)
		}
		return nil
	})
	s.Stop()
	out, err := s.Caddy("moat", "audit", "verify", "trail")
	if err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// Requests that a reload met under way have an intent besides.
	if n := int64(harness.CountRecords(t, s.Path("trail"), `"kind":"outcome"`, `"path":"/orders/1"`)); n != sent.Load() {
		t.Errorf("%d requests were answered, the trail has %d records", sent.Load(), n)
	}
}

// TestRateLimitByUserWithoutAuthenticationWarns has each way of being behind,
// or not behind, an authenticator.
func TestRateLimitByUserWithoutAuthenticationWarns(t *testing.T) {
	limit := "\trate_limit {\n\t\tzone by_user {\n\t\t\tkey {http.auth.user.id}\n\t\t\tevents 5\n\t\t\twindow 1m\n\t\t}\n\t}\n"
	basic := "{\n\t\tbob $2a$04$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n\t}\n"
	const warning = "nothing before it authenticates"
	for name, tc := range map[string]struct {
		site  string
		warns bool
	}{
		"nothing":            {limit, true},
		"caddy's basic_auth": {limit + "\tbasic_auth " + basic, true},
		"jwt_auth":           {limit + "\tjwt_auth {\n\t\tissuer internal\n\t}\n", false},
		"auth with basic":    {limit + "\tauth {\n\t\tbasic " + basic + "\t}\n", false},
		"another key":        {strings.Replace(limit, "http.auth.user.id", "client_ip", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, ":{$PORT} {\n"+tc.site+"\trespond ok\n}\n")
			s.Stop() // the log is whole now
			if got := strings.Contains(s.Log.String(), warning); got != tc.warns {
				t.Errorf("warned: %t, want %t", got, tc.warns)
			}
		})
	}
}

func TestOptionalAuthenticationWithoutRBACWarns(t *testing.T) {
	const warning = "no rbac follows"
	jwtAuth := "\tjwt_auth {\n\t\tissuer internal\n\t\toptional\n\t}\n"
	for name, tc := range map[string]struct {
		site  string
		warns bool
	}{
		"optional alone":    {jwtAuth, true},
		"optional and rbac": {jwtAuth + "\trbac {\n\t\tanyone {\n\t\t\tallow GET /\n\t\t}\n\t}\n", false},
		"not optional":      {strings.Replace(jwtAuth, "\t\toptional\n", "", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, ":{$PORT} {\n"+tc.site+"\trespond ok\n}\n")
			s.Stop()
			if got := strings.Contains(s.Log.String(), warning); got != tc.warns {
				t.Errorf("warned: %t, want %t", got, tc.warns)
			}
		})
	}
}
