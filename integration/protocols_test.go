package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// The protocols that a site can be asked over.
const (
	http1  = "HTTP/1.1" // without TLS
	http2s = "HTTP/2"
	http3s = "HTTP/3"
)

// overEachProtocol runs a test over HTTP/1.1, HTTP/2 and HTTP/3: what a request
// says must not depend on how it came.
func overEachProtocol(t *testing.T, f func(t *testing.T, protocol string)) {
	t.Helper()
	for _, protocol := range []string{http1, http2s, http3s} {
		t.Run(protocol, func(t *testing.T) { f(t, protocol) })
	}
}

// plainSite is the address of a site without TLS, as the tests write it.
var plainSite = regexp.MustCompile(`(?m)^(?:http://)?(?:localhost)?:\{\$(PORT\d?)\} \{$`)

// startOver is start for a protocol: sites that are written without TLS have it
// for the later ones, and do, get and their kin ask over them.
func startOver(t testing.TB, protocol, caddyfile string, env ...string) *server {
	t.Helper()
	if protocol == http1 {
		return start(t, caddyfile, env...)
	}
	options := "\tskip_install_trust\n\tauto_https disable_redirects\n"
	caddyfile = plainSite.ReplaceAllString(caddyfile, "https://localhost:{$$$1} {\n\ttls internal")
	if strings.HasPrefix(caddyfile, "{\n") {
		caddyfile = "{\n" + options + strings.TrimPrefix(caddyfile, "{\n")
	} else {
		caddyfile = "{\n" + options + "}\n" + caddyfile
	}
	s := start(t, caddyfile, env...)
	s.protocol = protocol
	config := s.tls()
	eventually(t, func() error { // the certificate is obtained after the start
		c, err := tls.Dial("tcp", s.addr("PORT"), config)
		if err == nil {
			c.Close()
		}
		return err
	})
	// Caddy's internal CA makes its first certificate while it starts.
	config = s.tls()
	s.over = s.transportOver(protocol, config)
	return s
}

// transportOver returns a transport of one protocol that takes every host for
// this server.
func (s *server) transportOver(protocol string, config *tls.Config) http.RoundTripper {
	local := func(addr string) string {
		_, port, _ := net.SplitHostPort(addr)
		return "127.0.0.1:" + port
	}
	if protocol == http2s {
		tr := &http.Transport{
			TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, local(addr))
			},
		}
		s.t.Cleanup(tr.CloseIdleConnections)
		return tr
	}
	tr := &http3.Transport{
		TLSClientConfig: config, DisableCompression: true,
		Dial: func(ctx context.Context, addr string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, local(addr), config, qc)
		},
	}
	s.t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// doOver sends a request with header lines over s.over.
func (s *server) doOver(port, method, target, body string, header []string) *answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://localhost:"+s.ports[port]+target, content)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header["User-Agent"] = nil
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "host") {
			r.Host = value
			continue
		}
		r.Header[name] = append(r.Header[name], value)
	}
	resp, err := s.over.RoundTrip(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{Response: resp, body: string(text), err: err}
}

// TestRequestsWithoutContentOverEachProtocol: quic-go gives a request without
// content the length -1.
func TestRequestsWithoutContentOverEachProtocol(t *testing.T) {
	overEachProtocol(t, func(t *testing.T, protocol string) {
		s := startOver(t, protocol, `:{$PORT} {
	jwt_auth {
		key HS256 {env.SECRET}
		preflight
	}
	respond "served"
}`, "SECRET="+strings.Repeat("s", 32))
		preflight := []string{"Origin: https://app.example", "Access-Control-Request-Method: PUT"}
		if a := s.do("PORT", "OPTIONS", "/", "", preflight...); a.StatusCode != http.StatusOK {
			t.Errorf("a preflight: got %d %s", a.StatusCode, a.body)
		}
		if a := s.do("PORT", "OPTIONS", "/", "content", preflight...); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("a preflight with content: got %d %s", a.StatusCode, a.body)
		}
		if a := s.get("PORT", "/"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	})
}

// early sends a request in TLS early data and returns the answer. It returns
// an error if the server did not accept the early data.
func early(ctx context.Context, s *server, config *tls.Config, r *http.Request) (*http.Response, error) {
	conn, err := quic.DialAddrEarly(ctx, s.addr("PORT"), config, &quic.Config{Allow0RTT: true})
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	stream, err := new(http3.Transport).NewClientConn(conn).OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	// The methods of Transport wait for the handshake where they are not safe.
	if err := stream.SendRequestHeader(r); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil {
		return nil, err
	}
	resp, err := stream.ReadResponse()
	if err == nil && !conn.ConnectionState().Used0RTT {
		err = errors.New("no early data was used")
	}
	return resp, err
}

// TestEarlyDataIsNotActedOn sends requests in 0-RTT, which the network can send
// once more and from any address.
func TestEarlyDataIsNotActedOn(t *testing.T) {
	const site = `
https://localhost:{$PORT} {
	tls internal
	audit trail
	LIMIT
	jwt_auth {
		key HS256 {env.SECRET}
		audience *
		optional
	}
	rbac {
		authenticated {
			allow GET,POST /pay
		}
		anyone {
			allow GET,POST /open
			allow GET /lan when ` + "`in_cidr(client_ip, \"127.0.0.0/8\")`" + `
		}
	}
	respond "served"
}`
	secret := strings.Repeat("s", 32)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "alice", "aud": "a", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	bearer := "Bearer " + token
	for name, test := range map[string]struct {
		limit string
		want  map[string]int
	}{
		"without a flood limit": {"", map[string]int{
			"GET /open": 200, "GET /open Authorization": 425, "GET /open Cookie": 425, "POST /open": 425, "POST /pay Authorization": 425,
			"GET /pay Authorization": 425, "GET /lan": 425, "GET /pay": 401,
		}},
		"behind one": {"flood_limit {\nzone a {\nkey {client_ip}\nevents 100\nwindow 1m\n}\n}", map[string]int{"GET /open": 425}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "{\nskip_install_trust\nauto_https disable_redirects\n}\n"+strings.Replace(site, "LIMIT", test.limit, 1), "SECRET="+secret)
			s.ready("PORT", "localhost")
			config := s.tls()
			config.NextProtos, config.ClientSessionCache = []string{"h3"}, tls.NewLRUClientSessionCache(100)
			// The first connection gets the session that the others resume.
			first := &http3.Transport{TLSClientConfig: config}
			t.Cleanup(func() { first.Close() })
			for request, want := range test.want {
				resp, err := (&http.Client{Transport: first, Timeout: patience}).Get("https://localhost:" + s.ports["PORT"] + "/open")
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("%v %v", resp, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				parts := strings.Fields(request)
				eventually(t, func() error {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, parts[0], "https://localhost:"+s.ports["PORT"]+parts[1], http.NoBody)
					if err != nil {
						t.Fatal(err)
					}
					switch {
					case len(parts) < 3:
					case parts[2] == "Cookie":
						r.Header.Set("Cookie", "a=b")
					default:
						r.Header.Set("Authorization", bearer)
					}
					resp, err := early(ctx, s, config, r)
					if err != nil {
						return err
					}
					body, _ := io.ReadAll(resp.Body)
					if resp.StatusCode != want || want == 425 && !strings.Contains(string(body), `"code":"too_early"`) {
						// On a fast network the handshake may be complete before the
						// server looks at the request: it then is no early data.
						return fmt.Errorf("%s: got %d %s, want %d", request, resp.StatusCode, body, want)
					}
					return nil
				})
			}
			eventually(t, func() error {
				out, err := s.caddy("moat", "audit", "search", "trail")
				if err != nil || !strings.Contains(out, `"early_data":true`) || !strings.Contains(out, `"code":"too_early"`) {
					return errors.New("the trail does not say early data: " + out)
				}
				return nil
			})
		})
	}
	t.Run("that a gateway tells of", func(t *testing.T) {
		s := start(t, strings.Replace(strings.Replace(site, "LIMIT", "", 1), "https://localhost:{$PORT} {\n\ttls internal", ":{$PORT} {", 1), "SECRET="+secret)
		for request, want := range map[string]int{"GET /open": 200, "POST /open": 425, "GET /pay": 425} {
			method, path, _ := strings.Cut(request, " ")
			header := []string{"Early-Data: 1"}
			if path == "/pay" {
				header = append(header, "Authorization: "+bearer)
			}
			if a := s.do("PORT", method, path, "", header...); a.StatusCode != want || want == 425 && a.code() != "too_early" {
				t.Errorf("%s: got %d %s", request, a.StatusCode, a.body)
			}
		}
	})
}
