package identity

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestBrowsersWithCookies: an expired session leads to the login page, and other
// sites cannot act with the cookie.
func TestBrowsersWithCookies(t *testing.T) {
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		secret := strings.Repeat("s", 32)
		s := harness.StartOver(t, protocol, `:{$PORT} {
	jwt_auth {
		key HS256 {env.SECRET}
		audience a
		leeway 0s
		from cookie session
		from header Authorization Bearer
		origin https://partner.example
		optional
	}
	rbac {
		anyone {
			allow GET,POST /login
		}
		authenticated {
			allow GET,POST /app/*
		}
	}
	respond "cookie {http.request.header.Cookie}"
	handle_errors 400 401 {
		respond "sorry {http.moat.code}" {http.error.status_code}
	}
}`, "SECRET="+secret)
		cookie := func(key string, ttl time.Duration) string {
			_, token, _ := strings.Cut(shortToken(t, key, "alice", ttl), "Bearer ")
			return "Cookie: session=" + token
		}
		good, expired, forged := cookie(secret, time.Hour), cookie(secret, -time.Hour), cookie(strings.Repeat("x", 32), -time.Hour)
		host := "localhost:" + s.Ports["PORT"]
		if protocol == harness.HTTP1 {
			host = "localhost"
		}
		for _, tc := range []struct {
			method, path string
			header       []string
			status       int
		}{
			{"GET", "/app/x", []string{good}, 200},
			{"GET", "/login", []string{expired}, 200},
			{"GET", "/app/x", []string{expired}, 401},
			{"GET", "/login", []string{forged}, 401},
			{"GET", "/login", []string{good + "; session=2"}, 400},
			{"POST", "/app/x", []string{good}, 200},
			{"POST", "/app/x", []string{good, "Origin: https://" + host}, 200},
			{"POST", "/app/x", []string{good, "Origin: https://evil.example"}, 403},
			{"POST", "/app/x", []string{good, "Origin: null"}, 403},
			{"POST", "/app/x", []string{good, "Origin: https://" + host, "Sec-Fetch-Site: same-origin"}, 200},
			{"POST", "/app/x", []string{good, "Origin: https://" + host, "Sec-Fetch-Site: cross-site"}, 403},
			{"POST", "/app/x", []string{good, "Sec-Fetch-Site: same-site"}, 403},
			{"POST", "/app/x", []string{good, "Origin: https://partner.example", "Sec-Fetch-Site: cross-site"}, 200},
			{"GET", "/app/x", []string{good, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 200},
			{"POST", "/app/x", []string{shortToken(t, secret, "alice", time.Hour), "Origin: https://evil.example"}, 200},
			{"POST", "/login", []string{"Origin: https://evil.example"}, 200},
		} {
			a := s.Do("PORT", tc.method, tc.path, "", tc.header...)
			if a.StatusCode != tc.status || tc.status == 400 && a.Body != "sorry invalid_request" {
				t.Errorf("%s %s with %.60q: got %d %.80s; want %d", tc.method, tc.path, tc.header, a.StatusCode, a.Body, tc.status)
			}
			if removed := strings.HasPrefix(a.Header.Get("Set-Cookie"), "session=; Path=/; Max-Age=0"); removed != (tc.header[0] == expired) {
				t.Errorf("%s %s with %.60q: Set-Cookie %q", tc.method, tc.path, tc.header, a.Header["Set-Cookie"])
			}
			if tc.header[0] == expired && tc.status == http.StatusOK && a.Body != "cookie " {
				t.Errorf("the application sees %s", a.Body)
			}
		}
		if protocol != harness.HTTP1 {
			return
		}
		upgrade := []string{"Upgrade: websocket", "Sec-WebSocket-Key: x", good, "Origin: https://evil.example"}
		if a := s.Do("PORT", "GET", "/app/x", "", upgrade...); a.StatusCode != http.StatusForbidden {
			t.Errorf("a WebSocket of another site: got %d %s", a.StatusCode, a.Body)
		}
	})
}
