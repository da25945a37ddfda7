package access

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// seenUpstream starts an upstream that answers with the method and target it
// was sent, as they stood in the request line.
func seenUpstream(t testing.TB) string {
	t.Helper()
	return harness.RawUpstream(t, func(conn net.Conn, r *http.Request) {
		body := r.Method + " " + r.RequestURI
		if r.Method == http.MethodHead {
			body = ""
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Seen: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", r.Method+" "+r.RequestURI, len(body), body)
	})
}

// ambiguous are paths with two readings, each of which would reach /secret
// in an upstream that decodes, cleans or splits otherwise.
var ambiguous = []string{
	"/public%2fsecret", "/public%2Fsecret", "/public/..%2fsecret", "/public/%2e%2e/secret", "/public/%2E./secret",
	"/public/../secret", "/public/./x", "/public/..", "/public/.", "/.", "/..", "//secret", "/public//secret", "/public//",
	`/public\..\secret`, "/public%5c..%5csecret", "/public%5Csecret", "/public;/../secret", "/public/..;/secret",
	"/public%3b/secret", "/public/x;jsessionid=1", "/public%00/secret", "/public%0d%0aX:1", "/public%09", "/public%7f",
	"/public/%252e%252e/secret", "/public%252fsecret", "/public/%25%32%65", "/public%25u002fsecret", "/public/%c0%ae%c0%ae/secret",
	"/public%c0%afsecret", "/public/%ff", "/public%ef%bc%8fsecret", "/public/%ef%bc%8e%ef%bc%8e/secret", "/secret%2e",
}

func TestPathsWithTwoReadingsNeverReachTheUpstream(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	rbac {
		anyone {
			allow * /*
			deny * /secret
			deny * /secret/*
		}
	}
	reverse_proxy `+seenUpstream(t)+`
}`)
	for _, p := range ambiguous {
		a := s.Do("PORT", "GET", p, "")
		if a.StatusCode != http.StatusBadRequest || a.Code() != "ambiguous_path" || a.Header.Get("X-Seen") != "" {
			t.Errorf("%s: got %d %s, seen upstream as %q; want 400 ambiguous_path", p, a.StatusCode, a.Code(), a.Header.Get("X-Seen"))
		}
	}
	// What net/http does not take for a request at all, and what is no path.
	for _, target := range []string{"/public%", "/public%2", "/public%zz", "/public%u002e", "mailto:x", "http:public", "*", "public"} {
		if a := s.Do("PORT", "GET", target, ""); a.StatusCode != http.StatusBadRequest || a.Header.Get("X-Seen") != "" {
			t.Errorf("%s: got %d, seen upstream as %q; want 400", target, a.StatusCode, a.Header.Get("X-Seen"))
		}
	}
	if a := s.Do("PORT", "CONNECT", "localhost:80", ""); a.StatusCode != http.StatusBadRequest || a.Header.Get("X-Seen") != "" {
		t.Errorf("CONNECT: got %d, seen upstream as %q; want 400", a.StatusCode, a.Header.Get("X-Seen"))
	}
	if a := s.Do("PORT", "OPTIONS", "*", ""); a.Header.Get("X-Seen") != "" {
		t.Errorf("OPTIONS *: seen upstream as %q", a.Header.Get("X-Seen"))
	}
	for _, target := range []string{"/secret", "/secret/", "/secret/x", "/%73ecret", "/secret?x", "http://localhost/secret", "/secret#x"} {
		a := s.Do("PORT", "GET", target, "")
		if target == "/secret#x" {
			// A fragment is not sent; what stands in its place belongs to
			// the name.
			if seen := a.Header.Get("X-Seen"); seen != "GET /secret%23x" {
				t.Errorf("%s: seen upstream as %q", target, seen)
			}
			continue
		}
		if a.StatusCode != http.StatusUnauthorized || a.Header.Get("X-Seen") != "" {
			t.Errorf("%s: got %d, seen upstream as %q; want 401", target, a.StatusCode, a.Header.Get("X-Seen"))
		}
	}
	for target, want := range map[string]string{
		"/": "GET /", "/public": "GET /public", "/public/a%20b": "GET /public/a%20b", "/caf%C3%A9?x=%2f..": "GET /caf%C3%A9?x=%2f..",
		"http://localhost/a": "GET /a", "http://localhost": "GET /", "/100%25": "GET /100%25", "/%61": "GET /%61", "/a.b/..c": "GET /a.b/..c",
	} {
		if seen := s.Do("PORT", "GET", target, "").Header.Get("X-Seen"); seen != want {
			t.Errorf("%s: seen upstream as %q; want %q", target, seen, want)
		}
	}
}

func TestPathsWithTwoReadingsNeverReachTheUpstreamOverHTTP2(t *testing.T) {
	s := harness.Start(t, `{
	servers {
		protocols h1 h2c
	}
}
http://localhost:{$PORT} {
	rbac {
		anyone {
			allow * /*
			deny * /secret
		}
	}
	reverse_proxy `+seenUpstream(t)+`
}`)
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: dialPlain}
	defer tr.CloseIdleConnections()
	answered := 0
	for _, p := range append(ambiguous, "/secret", "/secret/") {
		r, err := http.NewRequest(http.MethodGet, "http://"+s.Addr("PORT")+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		// Opaque is what is sent as :path, as it is.
		r.URL.Opaque = p
		r.Host = "localhost:" + s.Ports["PORT"]
		if strings.HasPrefix(p, "//") {
			continue // the client would take it for an authority
		}
		resp, err := tr.RoundTrip(r)
		if err != nil {
			// Some of it is no valid :path for the client or the server.
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		answered++
		want := http.StatusBadRequest
		if strings.HasPrefix(p, "/secret") && !strings.Contains(p, "%") {
			want = http.StatusUnauthorized
		}
		if resp.StatusCode != want || resp.Header.Get("X-Seen") != "" {
			t.Errorf("%s: got %d, seen upstream as %q; want %d", p, resp.StatusCode, resp.Header.Get("X-Seen"), want)
		}
	}
	if answered < 20 {
		t.Errorf("only %d of %d paths were answered", answered, len(ambiguous)+2)
	}
}

// dialPlain lets the HTTP/2 client speak without TLS.
func dialPlain(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// TestDecidedPathIsServedPath sends each path through the ways of Caddy to
// change one, and compares what was decided with what the upstream read.
func TestDecidedPathIsServedPath(t *testing.T) {
	const policy = `rbac {
		anyone {
			allow * /*
			deny * /secret
			deny * /secret/*
		}
	}`
	up := seenUpstream(t)
	s := harness.Start(t, `http://localhost:{$PORT} {
	handle_path /api/* {
		`+policy+`
		reverse_proxy `+up+`
	}
	handle /old/* {
		uri strip_prefix /old
		`+policy+`
		reverse_proxy `+up+`
	}
	handle /new/* {
		rewrite * /secret{uri}
		`+policy+`
		reverse_proxy `+up+`
	}
	handle /sub/* {
		uri replace /sub/ /
		`+policy+`
		reverse_proxy `+up+`
	}
	handle /re/* {
		uri path_regexp ^/re/x(.*)$ /secret$1
		`+policy+`
		reverse_proxy `+up+`
	}
}
http://localhost:{$PORT2} {
	rewrite /a /secret
	uri /b/* strip_prefix /b
	`+policy+`
	reverse_proxy `+up+`
}`)
	for _, tc := range []struct {
		port, path string
		status     int
		seen       string
	}{
		{"PORT", "/api/secret", 401, ""},
		{"PORT", "/api/secret/x", 401, ""},
		{"PORT", "/api/other", 200, "GET /other"},
		{"PORT", "/api/", 200, "GET /"},
		{"PORT", "/api/caf%C3%A9", 200, "GET /caf%C3%A9"},
		{"PORT", "/API/secret", 401, ""},
		{"PORT", "/old/secret", 401, ""},
		{"PORT", "/old/other", 200, "GET /other"},
		{"PORT", "/new/x", 401, ""},
		{"PORT", "/sub/secret", 401, ""},
		{"PORT", "/sub/other", 200, "GET /other"},
		{"PORT", "/re/x/1", 401, ""},
		{"PORT", "/re/y", 200, "GET /re/y"},
		{"PORT2", "/a", 401, ""},
		{"PORT2", "/b/secret", 401, ""},
		{"PORT2", "/b/other", 200, "GET /other"},
		{"PORT2", "/secret", 401, ""},
	} {
		a := s.Get(tc.port, tc.path)
		if a.StatusCode != tc.status || a.Header.Get("X-Seen") != tc.seen {
			t.Errorf("%s: got %d, seen upstream as %q; want %d, %q", tc.path, a.StatusCode, a.Header.Get("X-Seen"), tc.status, tc.seen)
		}
	}
	// Whatever is sent, the upstream never reads /secret.
	for _, prefix := range []string{"/api", "/old", "/sub", "/re", "/new", "", "/api/api", "/b", "/api//", "/old//", "/api/%2e%2e", "/b/.."} {
		for _, p := range append(ambiguous, "/secret", "/secret/", "/secret/x", "/%73ecret", "secret", "/x/%2e%2e/secret") {
			for _, port := range []string{"PORT", "PORT2"} {
				if prefix+p == "" || prefix+p == "secret" {
					continue
				}
				seen := s.Get(port, prefix+p).Header.Get("X-Seen")
				if strings.HasPrefix(lenient(strings.TrimPrefix(seen, "GET ")), "/secret") {
					t.Errorf("%s: the upstream was asked for %s", prefix+p, seen)
				}
			}
		}
	}
}

// lenient reads a path as a careless server could.
func lenient(p string) string {
	for range 3 {
		p = strings.NewReplacer("%2f", "/", "%2F", "/", "%2e", ".", "%2E", ".", "%5c", "/", "%5C", "/", `\`, "/", "%25", "%", "%73", "s").Replace(p)
	}
	if i := strings.IndexByte(p, ';'); i >= 0 {
		p = p[:i]
	}
	return path.Clean(p)
}

func TestMethodsAreDecidedAsTheUpstreamReadsThem(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	rbac {
		anyone {
			allow GET     /read
			allow *       /all
			deny  DELETE  /all
			allow OPTIONS /options
		}
	}
	reverse_proxy `+seenUpstream(t)+`
}`)
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/read", 200},
		{"HEAD", "/read", 200},
		{"OPTIONS", "/read", 401},
		{"POST", "/read", 401},
		{"get", "/read", 401},
		{"DELETE", "/all", 401},
		{"delete", "/all", 401},
		{"Delete", "/all", 401},
		{"PURGE", "/all", 200},
		{"OPTIONS", "/options", 200},
		{"HEAD", "/options", 401},
	} {
		a := s.Do("PORT", tc.method, tc.path, "")
		if a.StatusCode != tc.status {
			t.Errorf("%s %s: got %d; want %d", tc.method, tc.path, a.StatusCode, tc.status)
		}
		if tc.status == 401 && (a.Header.Get("WWW-Authenticate") != "Bearer" || a.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s %s: header %v", tc.method, tc.path, a.Header)
		}
		if tc.method == "HEAD" && a.Body != "" {
			t.Errorf("HEAD %s: a body: %q", tc.path, a.Body)
		}
	}
}

// TestPipelinedRequestsAreDecidedOneByOne: a refusal does not let what
// follows on the connection through, nor stop it.
func TestPipelinedRequestsAreDecidedOneByOne(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	rbac {
		anyone {
			allow GET /a
		}
	}
	reverse_proxy `+seenUpstream(t)+`
}`)
	conn, err := net.DialTimeout("tcp", s.Addr("PORT"), harness.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	for _, p := range []string{"/a", "/b", "/a//", "/a"} {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", p)
	}
	br := bufio.NewReader(conn)
	for i, want := range []int{200, 401, 400, 200} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("request %d: got %d; want %d", i, resp.StatusCode, want)
		}
	}
}
