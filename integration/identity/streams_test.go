package identity

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// streaming is an upstream with server-sent events, a slow download of known
// length, and a WebSocket that says hello every now and then. It counts what
// reaches it.
func streaming(t *testing.T) (address string, reached *atomic.Int64) {
	reached = new(atomic.Int64)
	return harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		flush := http.NewResponseController(w).Flush
		switch r.URL.Path {
		case "/events", "/quiet":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := 0; r.Context().Err() == nil; i++ {
				if i == 0 || r.URL.Path == "/events" {
					fmt.Fprintf(w, "data: %d\n\n", i)
				}
				_ = flush()
				time.Sleep(50 * time.Millisecond)
			}
		case "/download":
			w.Header().Set("Content-Length", "60")
			for range 60 {
				_, _ = io.WriteString(w, "x")
				_ = flush()
				time.Sleep(100 * time.Millisecond)
			}
		case "/socket":
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
			for rw.Flush() == nil {
				_, _ = rw.Write([]byte{0x81, 5, 'h', 'e', 'l', 'l', 'o'})
				time.Sleep(50 * time.Millisecond)
			}
		}
	}), reached
}

const endingSite = `:{$PORT} {
	audit trail
	jwt_auth {
		key HS256 {env.SECRET}
		audience a
		leeway 0s
		KEEP
	}
	reverse_proxy UPSTREAM
}`

// shortToken is good for so long.
func shortToken(t *testing.T, secret, sub string, ttl time.Duration) string {
	t.Helper()
	now := time.Now()
	return "Authorization: Bearer " + harness.HS256(t, secret, map[string]any{
		"sub": sub, "aud": "a", "iat": now.Add(-2 * time.Hour).Unix(), "exp": float64(now.Add(ttl).UnixMilli()) / 1000,
	})
}

// withShortToken calls f with tokens that live longer and longer, until f says
// that its request came in time: a busy machine may let the first ones expire.
func withShortToken(t *testing.T, secret string, f func(token string, expires time.Time) (inTime bool)) {
	t.Helper()
	for _, ttl := range []time.Duration{2 * time.Second, 6 * time.Second, harness.Patience / 3} {
		expires := time.Now().Add(ttl)
		if f(shortToken(t, secret, "alice", ttl), expires) {
			return
		}
	}
	t.Error("no request came before its token expired")
}

func TestStreamsEndWithTheirRight(t *testing.T) {
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		secret := strings.Repeat("s", 32)
		up, reached := streaming(t)
		s := harness.StartOver(t, protocol, strings.NewReplacer("KEEP", "", "UPSTREAM", up).Replace(endingSite), "SECRET="+secret)
		for _, path := range []string{"/events", "/quiet"} {
			withShortToken(t, secret, func(token string, expires time.Time) bool {
				a := s.Get("PORT", path, token)
				if a.StatusCode == 401 {
					return false
				}
				// The clocks of both processes are one, but a token's time has milliseconds.
				if early := time.Until(expires); a.StatusCode != 200 || !strings.HasPrefix(a.Body, "data: 0\n\n") || a.Err != nil || early > time.Millisecond {
					t.Errorf("%s: got %d %.20q, %v, %v before the token expired; want an orderly end then", path, a.StatusCode, a.Body, a.Err, early)
				}
				// A client of a language model takes a mere end for a whole response.
				if !strings.HasSuffix(a.Body, "\nevent: error\ndata: {\"error\":{\"message\":\"The credential has expired or was revoked.\",\"type\":\"stream_ended\",\"code\":\"stream_ended\"}}\n\n") {
					t.Errorf("%s: the stream ends with %q", path, a.Body[max(0, len(a.Body)-200):])
				}
				return true
			})
		}
		withShortToken(t, secret, func(token string, _ time.Time) bool {
			a := s.Get("PORT", "/download", token)
			if a.StatusCode != 401 && (a.StatusCode != 200 || len(a.Body) != 60 || a.Err != nil) {
				t.Errorf("a download: got %d, %d bytes, %v", a.StatusCode, len(a.Body), a.Err)
			}
			return a.StatusCode != 401
		})
		// Somebody revokes the token while a stream goes on.
		done := make(chan *harness.Response, 1)
		before := reached.Load()
		go func() { done <- s.Get("PORT", "/events", shortToken(t, secret, "bob", time.Hour)) }()
		harness.Eventually(t, func() error {
			if reached.Load() == before {
				return errors.New("the stream does not begin")
			}
			return nil
		})
		resp, err := http.Post("http://"+s.Admin+"/moat/revocations", "application/json",
			strings.NewReader(`{"sub":"bob","issued_before":"`+time.Now().UTC().Format(time.RFC3339)+`"}`))
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("%v %v", resp, err)
		}
		resp.Body.Close()
		select {
		case a := <-done:
			if a.StatusCode != 200 || a.Err != nil {
				t.Errorf("revoked: got %d, %v", a.StatusCode, a.Err)
			}
		case <-time.After(harness.Patience):
			t.Error("a stream outlives the revocation of its token")
		}
		harness.Eventually(t, func() error {
			if out, err := s.Caddy("moat", "audit", "search", "trail"); err != nil || strings.Count(out, `"code":"stream_ended"`) < 3 {
				return errors.New("the trail does not say what ended: " + out)
			}
			return nil
		})
	})
}

func TestWebSocketsEndWithTheirRight(t *testing.T) {
	secret := strings.Repeat("s", 32)
	up, _ := streaming(t)
	s := harness.Start(t, strings.NewReplacer("KEEP", "", "UPSTREAM", up).Replace(endingSite), "SECRET="+secret)
	withShortToken(t, secret, func(token string, expires time.Time) bool {
		conn, err := net.Dial("tcp", s.Addr("PORT"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(harness.Patience))
		fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n\r\n", token)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err == nil && resp.StatusCode == http.StatusUnauthorized {
			return false
		}
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v %v", resp, err)
		}
		inTime := time.Until(expires) > time.Second // for some frames
		rest, err := io.ReadAll(r)
		if early := time.Until(expires); err != nil || early > time.Millisecond {
			t.Errorf("%v before the token expired: %v", early, err)
		}
		frames := strings.Split(string(rest), "\x81\x05hello")
		if last := frames[len(frames)-1]; !strings.HasPrefix(last, "\x88") || !strings.HasPrefix(last[2:], "\x03\xf0") {
			t.Errorf("%d frames, and then %q; want a close frame with 1008", len(frames)-1, last)
		}
		return inTime && len(frames) >= 5
	})
}

func TestStreamsGoOnWhereTheyAreKept(t *testing.T) {
	secret := strings.Repeat("s", 32)
	up, _ := streaming(t)
	s := harness.Start(t, strings.NewReplacer("KEEP", "stream_expiry keep", "UPSTREAM", up).Replace(endingSite), "SECRET="+secret)
	withShortToken(t, secret, func(token string, expires time.Time) bool {
		ctx, cancel := context.WithDeadline(t.Context(), expires.Add(3*time.Second))
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr("PORT")+"/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(token, ": ")
		req.Header.Set(name, value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			return false
		}
		// It ends by our own doing, long after the token has expired.
		if _, err = io.Copy(io.Discard, resp.Body); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the stream ended %v before the end: %v", time.Until(expires.Add(3*time.Second)), err)
		}
		return true
	})
}
