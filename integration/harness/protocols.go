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

// The protocols of OverEachProtocol and StartOver.
const (
	HTTP1 = "HTTP/1.1" // without TLS
	HTTP2 = "HTTP/2"
	HTTP3 = "HTTP/3"
)

// OverEachProtocol runs a test over HTTP/1.1, HTTP/2 and HTTP/3: what a request
// says must not depend on how it came.
func OverEachProtocol(t *testing.T, f func(t *testing.T, protocol string)) {
	t.Helper()
	for _, protocol := range []string{HTTP1, HTTP2, HTTP3} {
		t.Run(protocol, func(t *testing.T) { f(t, protocol) })
	}
}

// plainSite is the address of a site without TLS, as the tests write it.
var plainSite = regexp.MustCompile(`(?m)^(?:http://)?(?:localhost)?:\{\$(PORT\d?)\} \{$`)

// StartOver is Start for a protocol: sites that are written without TLS have it
// for HTTP/2 and HTTP/3, and Do and Get send over it.
func StartOver(t testing.TB, protocol, caddyfile string, env ...string) *Server {
	t.Helper()
	if protocol == HTTP1 {
		return Start(t, caddyfile, env...)
	}
	options := "\tskip_install_trust\n\tauto_https disable_redirects\n"
	caddyfile = plainSite.ReplaceAllString(caddyfile, "https://localhost:{$$$1} {\n\ttls internal")
	if strings.HasPrefix(caddyfile, "{\n") {
		caddyfile = "{\n" + options + strings.TrimPrefix(caddyfile, "{\n")
	} else {
		caddyfile = "{\n" + options + "}\n" + caddyfile
	}
	s := Start(t, caddyfile, env...)
	s.Protocol = protocol
	s.Ready("PORT", "localhost")
	s.over = s.transportOver(protocol, s.TLS())
	return s
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

// doOver sends a request with header lines over s.over.
func (s *Server) doOver(port, method, target, body string, header []string) *Response {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), Patience)
	defer cancel()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://localhost:"+s.Ports[port]+target, content)
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
	resp, err := s.over.RoundTrip(r)
	if err != nil {
		s.T.Fatalf("%s %s: %v", method, target, err)
	}
	return read(resp)
}
