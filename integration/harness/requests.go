package harness

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Response is a response with its body read.
type Response struct {
	*http.Response
	Body string
	Err  error // what ended the body, if not its proper end
}

// Code returns the code member of a problem document.
func (a *Response) Code() string {
	var doc struct{ Code string }
	_ = json.Unmarshal([]byte(a.Body), &doc)
	return doc.Code
}

// Want fails the test unless the response has the status and the body all of the texts.
func (a *Response) Want(t testing.TB, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("got %d, want %d: %s", a.StatusCode, status, a.Body)
	}
	for _, text := range texts {
		if !strings.Contains(a.Body, text) {
			t.Errorf("%s lacks %s", a.Body, text)
		}
	}
}

// read reads the body of a response.
func read(resp *http.Response) *Response {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &Response{Response: resp, Body: string(body), Err: err}
}

// Raw sends bytes to an address as they are and reads one HTTP response.
func Raw(t testing.TB, addr, request string) *Response {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return Exchange(t, conn, request)
}

// Exchange sends bytes on a connection and reads one HTTP response.
func Exchange(t testing.TB, conn net.Conn, request string) *Response {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(Patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response to %.200q: %v", request, err)
	}
	return read(resp)
}

// Get sends a GET request with header lines ("Name: value") over plain HTTP.
func (s *Server) Get(port, path string, header ...string) *Response {
	s.T.Helper()
	return s.Do(port, "GET", path, "", header...)
}

// Do sends a request with header lines as they are over plain HTTP, or over the
// protocol of StartOver.
func (s *Server) Do(port, method, path, body string, header ...string) *Response {
	s.T.Helper()
	if s.over != nil {
		return s.doOver(port, method, path, body, header)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return Raw(s.T, s.Addr(port), b.String())
}

// Send sends a request with header lines ("Name: value") over HTTPS, to PORT.
func (s *Server) Send(c *http.Client, method, path string, header ...string) *Response {
	s.T.Helper()
	return s.SendBody(c, "PORT", method, path, nil, header...)
}

// SendBody sends a request with a body over HTTPS. The body has a length if it
// is of one of the types for which net/http knows it.
func (s *Server) SendBody(c *http.Client, port, method, path string, body io.Reader, header ...string) *Response {
	s.T.Helper()
	req, err := http.NewRequest(method, "https://localhost:"+s.Ports[port]+path, body)
	if err != nil {
		s.T.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		s.T.Fatal(err)
	}
	return read(resp)
}

// Fetch sends a GET request and returns the status with the body or the code,
// or that there was no connection.
func Fetch(t testing.TB, c *http.Client, url string, header ...string) string {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "no connection"
	}
	a := read(resp)
	if code := a.Code(); code != "" {
		return fmt.Sprint(a.StatusCode, " ", code)
	}
	return fmt.Sprint(a.StatusCode, " ", a.Body)
}

// Client returns an HTTP client that trusts Caddy's internal CA and takes
// every host name for 127.0.0.1. It follows no redirects.
func (s *Server) Client() *http.Client {
	s.T.Helper()
	tr := &http.Transport{
		TLSClientConfig:   s.TLS(),
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}
	s.T.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		Timeout:       Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// TLS returns a configuration that trusts Caddy's internal CA, if it has one.
func (s *Server) TLS() *tls.Config {
	s.T.Helper()
	pool := x509.NewCertPool()
	resp, err := http.Get("http://" + s.Admin + "/pki/ca/local/certificates")
	if err == nil {
		pem, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		pool.AppendCertsFromPEM(pem)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}
