package harness

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// The protocols of OverEachProtocol, StartOver and Over.
const (
	HTTP1 = "HTTP/1.1" // without TLS
	HTTP2 = "HTTP/2"
	HTTP3 = "HTTP/3"
)

// Protocols are all of them.
var Protocols = []string{HTTP1, HTTP2, HTTP3}

// OverEachProtocol runs a test over HTTP/1.1, HTTP/2 and HTTP/3: what a request
// says must not depend on how it came.
func OverEachProtocol(t *testing.T, f func(t *testing.T, protocol string)) {
	t.Helper()
	for _, protocol := range Protocols {
		t.Run(protocol, func(t *testing.T) { f(t, protocol) })
	}
}

// plainSite is the address of a site without TLS, as the tests write it.
var plainSite = regexp.MustCompile(`(?m)^((?:http://)?(?:localhost)?:\{\$(PORT\d?)\}) \{$`)

// StartAll is Start for a server whose sites that are written without TLS are
// reached over HTTP/2 and HTTP/3 as well, at ports of their own: see Over. One
// server is cheaper than one for each protocol, where requests leave nothing
// behind that others meet.
func StartAll(t testing.TB, caddyfile string, env ...string) *Server {
	t.Helper()
	s := PrepareAll(t, caddyfile, env...)
	s.Run()
	s.Wait()
	return s
}

// PrepareAll is Prepare for such a server.
func PrepareAll(t testing.TB, caddyfile string, env ...string) *Server {
	t.Helper()
	s := Prepare(t, withTLS(caddyfile, "$1, https://localhost:{$$${2}_TLS} {"), env...)
	s.change = "$1, https://localhost:{$$${2}_TLS} {"
	if site := plainSite.FindStringSubmatch(caddyfile); site != nil {
		s.twin = site[2]
	}
	for i, port := range FreePorts(t, 5) {
		name := []string{"PORT", "PORT2", "PORT3", "PORT4", "PORT5"}[i]
		s.tlsPorts[name] = port
		s.Env = append(s.Env, name+"_TLS="+port)
	}
	return s
}

// withTLS replaces the addresses of plain sites.
func withTLS(caddyfile, address string) string {
	const options = "\tskip_install_trust\n\tauto_https disable_redirects\n"
	caddyfile = plainSite.ReplaceAllString(strings.TrimLeft(caddyfile, "\n"), address)
	if rest, ok := strings.CutPrefix(caddyfile, "{\n"); ok {
		return "{\n" + options + rest
	}
	return "{\n" + options + "}\n" + caddyfile
}

// Over returns the server of StartAll as requests of a protocol reach it. It
// is for requests alone, and until the next Run or Reload.
func (s *Server) Over(protocol string) *Server {
	s.T.Helper()
	if protocol == HTTP1 {
		return s
	}
	if s.views[protocol] == nil {
		v := *s
		v.Protocol, v.Ports = protocol, s.tlsPorts
		v.Ready(s.twin, "localhost") // the others have the same certificate
		v.over = v.transportOver(protocol, v.TLS())
		s.views[protocol] = &v
	}
	return s.views[protocol]
}

// Origin is where Do and Get send requests to, as the server sees it.
func (s *Server) Origin(port string) string {
	if s.over == nil {
		return "http://localhost"
	}
	return "https://localhost:" + s.Ports[port]
}

// StartOver is Start for a protocol: sites that are written without TLS have it
// for HTTP/2 and HTTP/3, and Do and Get send over it.
func StartOver(t testing.TB, protocol, caddyfile string, env ...string) *Server {
	t.Helper()
	if protocol == HTTP1 {
		return Start(t, caddyfile, env...)
	}
	const address = "https://localhost:{$$$2} {\n\ttls internal"
	s := Start(t, withTLS(caddyfile, address), env...)
	s.change = address
	s.Protocol = protocol
	s.Ready("PORT", "localhost")
	s.over = s.transportOver(protocol, s.TLS())
	return s
}

// reconnect forgets connections to what ran before.
func (s *Server) reconnect() {
	clear(s.views)
	if s.over != nil {
		s.over = s.transportOver(s.Protocol, s.TLS())
	}
}

// transportOver returns a transport of one protocol that takes every host for
// this server.
func (s *Server) transportOver(protocol string, config *tls.Config) http.RoundTripper {
	local := func(addr string) string {
		_, port, _ := net.SplitHostPort(addr)
		return "127.0.0.1:" + port
	}
	if protocol == HTTP2 {
		tr := &http.Transport{
			TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, local(addr))
			},
		}
		s.T.Cleanup(tr.CloseIdleConnections)
		return tr
	}
	tr := &http3.Transport{
		TLSClientConfig: config, DisableCompression: true,
		Dial: func(ctx context.Context, addr string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, local(addr), config, qc)
		},
	}
	s.T.Cleanup(func() { _ = tr.Close() })
	return tr
}

// ClientOver is ClientWith for each protocol.
func (s *Server) ClientOver(protocol string, cert *tls.Certificate, sni string) *http.Client {
	s.T.Helper()
	c := s.ClientWith(cert, protocol == HTTP2, sni)
	if protocol == HTTP3 {
		c.Transport = s.transportOver(HTTP3, c.Transport.(*http.Transport).TLSClientConfig)
	}
	return c
}

// Request makes a request with header lines for RoundTrip.
func (s *Server) Request(port, method, target string, body io.Reader, header ...string) *http.Request {
	s.T.Helper()
	r, err := http.NewRequestWithContext(s.T.Context(), method, "https://localhost:"+s.Ports[port]+target, body)
	if err != nil {
		s.T.Fatal(err)
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
	return r
}

// RoundTrip sends a request over HTTP/2 or HTTP/3, for a server of StartOver or
// Over.
func (s *Server) RoundTrip(r *http.Request) *Response {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), Patience)
	defer cancel()
	resp, err := s.over.RoundTrip(r.WithContext(ctx))
	if err != nil {
		s.T.Fatalf("%s %s over %s: %v", r.Method, r.URL.RequestURI(), s.Protocol, err)
	}
	return read(resp)
}

// doOver sends a request with header lines over s.over.
func (s *Server) doOver(port, method, target, body string, header []string) *Response {
	s.T.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	return s.RoundTrip(s.Request(port, method, target, content, header...))
}
