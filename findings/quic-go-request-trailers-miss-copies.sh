#!/usr/bin/env bash
# quic-go: the trailers of a request arrive in the request that the HTTP/3 server
# made, and not in the copies that middleware makes of it.
#
# Versions: github.com/quic-go/quic-go v0.63.0, Go 1.25 or newer.
#
# Guess: a copy by Request.WithContext, which nearly all middleware makes, has the
#   trailers after Body has returned EOF, as over HTTP/1.1 and HTTP/2: net/http puts
#   the values into the map that it announced the keys in, and copies share it.
# Behaviour: http3.Server gives the request a new map at EOF. The copy keeps that
#   of the announcement: its keys are there and their values are nil for ever.
# Matters: behind any middleware, a proxy among them, an upload whose checksum or
#   status comes in a trailer works until Alt-Svc brings a client to HTTP/3; and
#   whoever cleans the trailers of a copy cleans another map than the server fills.
#
# Output seen:
#   HTTP/1.1 request: map[X-Sum:[1]], copy: map[X-Sum:[1]]
#   HTTP/2.0 request: map[X-Sum:[1]], copy: map[X-Sum:[1]]
#   HTTP/3.0 request: map[X-Sum:[1]], copy: map[X-Sum:[]]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/quic-go/quic-go v0.63.0
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/quic-go/quic-go/http3"
)

func main() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.WithContext(context.WithValue(r.Context(), "a", "b"))
		if _, err := io.Copy(io.Discard, c.Body); err != nil {
			panic(err)
		}
		fmt.Fprintf(w, "%s request: %v, copy: %v\n", r.Proto, r.Trailer, c.Trailer)
	})
	over1 := httptest.NewServer(handler)
	defer over1.Close()
	over2 := httptest.NewUnstartedServer(handler)
	over2.EnableHTTP2 = true
	over2.StartTLS()
	defer over2.Close()
	trust := over2.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs

	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	over3 := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: over2.TLS.Certificates})}
	go over3.Serve(conn)
	defer over3.Close()
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}
	defer transport.Close()

	for _, to := range []struct {
		client *http.Client
		url    string
	}{
		{over1.Client(), over1.URL},
		{over2.Client(), over2.URL},
		{&http.Client{Transport: transport}, "https://" + conn.LocalAddr().String()},
	} {
		// A reader of which net/http does not know the length.
		r, err := http.NewRequest("POST", to.url, io.MultiReader(strings.NewReader("content")))
		if err != nil {
			panic(err)
		}
		r.Trailer = http.Header{"X-Sum": {"1"}}
		resp, err := to.client.Do(r)
		if err != nil {
			panic(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Print(string(text))
	}
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
HTTP/1.1 request: map[X-Sum:[1]], copy: map[X-Sum:[1]]
HTTP/2.0 request: map[X-Sum:[1]], copy: map[X-Sum:[1]]
HTTP/3.0 request: map[X-Sum:[1]], copy: map[X-Sum:[]]
TXT
diff want seen || { echo changed; exit 1; }
