package harness

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Upstream starts an HTTP server on loopback and returns its host:port.
func Upstream(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// RawUpstream starts a TCP server that reads one request head per connection
// and then lets serve write whatever bytes it likes.
func RawUpstream(t testing.TB, serve func(conn net.Conn, req *http.Request)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			go func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil {
					serve(conn, req)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// HeaderUpstream starts an upstream that answers with the head of the request
// that it got, line by line.
func HeaderUpstream(t testing.TB) string {
	t.Helper()
	return Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.Header.Write(w)
	})
}
