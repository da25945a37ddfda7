package identity

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// socketUpstream answers handshakes of WebSockets. It selects the subprotocol
// that the path names, and says in X-Seen which it was offered.
func socketUpstream(t *testing.T) string {
	return harness.RawUpstream(t, func(conn net.Conn, r *http.Request) {
		head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"
		if name := strings.TrimPrefix(r.URL.Path, "/"); name == "denied" {
			head = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n"
		} else if name != "" {
			head += "Sec-WebSocket-Protocol: " + name + "\r\n"
		}
		fmt.Fprintf(conn, "%sX-Seen: %s\r\nX-User: %s\r\n\r\n", head, strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), "|"), r.Header.Get("X-User"))
	})
}

const socketSite = `{
	debug
	log {
		format moat
	}
	servers {
		protocols h1 h2 h2c
	}
}
http://:{$PORT} {
	audit trail {
		sync always
		record query
	}
	jwt_auth {
		key HS256 {env.SECRET}
		from header Authorization Bearer
		from websocket
		forward /sub X-User
	}
	rbac {
		authenticated {
			allow GET /*
		}
	}
	reverse_proxy UPSTREAM
}
`

// offers are what clients offer, with what the upstream sees and what is
// selected.
func offers(tok string) map[string]struct{ path, offer, want string } {
	kubernetes := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(tok))
	return map[string]struct{ path, offer, want string }{
		"browser":                  {"/", "bearer, " + tok, "open, selected bearer, seen "},
		"browser, two lines":       {"/", "bearer\x00" + tok, "open, selected bearer, seen "},
		"with another":             {"/chat.v2", "chat.v1, bearer, " + tok + ", chat.v2", "open, selected chat.v2, seen chat.v1, chat.v2"},
		"with another, not chosen": {"/", "bearer, " + tok + ", chat.v1", "open, selected bearer, seen chat.v1"},
		"Kubernetes":               {"/v4.channel.k8s.io", kubernetes + ", v4.channel.k8s.io", "open, selected v4.channel.k8s.io, seen v4.channel.k8s.io"},
		"rejected behind":          {"/denied", "bearer, " + tok, "403"},
		"Kubernetes, alone":        {"/", kubernetes, "400"},
		"no token":                 {"/chat.v1", "chat.v1", "401"},
		"nothing behind":           {"/", "bearer", "400"},
		"a bad one":                {"/", "bearer, " + tok + "A", "401"},
		"two":                      {"/", "bearer, " + tok + ", " + kubernetes, "400"},
		"a space":                  {"/", "bearer " + tok, "400"},
	}
}

func shown(status int, h http.Header) string {
	if status != http.StatusSwitchingProtocols && status != http.StatusOK {
		return fmt.Sprint(status)
	}
	if h.Get("X-User") != "" {
		return "an open connection for " + h.Get("X-User")
	}
	return "open, selected " + strings.Join(h.Values("Sec-WebSocket-Protocol"), "|") + ", seen " + h.Get("X-Seen")
}

func TestTokensAmongSubprotocolsOfWebSockets(t *testing.T) {
	secret := strings.Repeat("s", 32)
	tok := harness.HS256(t, secret, map[string]any{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
	s := harness.Start(t, strings.ReplaceAll(socketSite, "UPSTREAM", socketUpstream(t)), "SECRET="+secret, "GODEBUG=http2xconnect=1")
	for name, o := range offers(tok) {
		head := ""
		for line := range strings.SplitSeq(o.offer, "\x00") {
			head += "Sec-WebSocket-Protocol: " + line + "\r\n"
		}
		a := harness.Raw(t, s.Addr("PORT"), "GET "+o.path+" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+head+"\r\n")
		if a.StatusCode == http.StatusSwitchingProtocols {
			if user := a.Header.Get("X-User"); user != "alice" {
				t.Errorf("%s: the upstream is told of %q", name, user)
			}
			a.Header.Del("X-User")
		}
		if got := shown(a.StatusCode, a.Header); got != o.want {
			t.Errorf("%s: got %s, want %s", name, got, o.want)
		}
		status, h := connectSocket(t, s.Addr("PORT"), o.path, strings.Split(o.offer, "\x00"))
		if status == http.StatusOK && h.Get("X-User") != "alice" {
			t.Errorf("%s, HTTP/2: the upstream is told of %q", name, h.Get("X-User"))
		}
		h.Del("X-User")
		if got := shown(status, h); got != o.want {
			t.Errorf("%s, HTTP/2: got %s, want %s", name, got, o.want)
		}
	}
	a := harness.Raw(t, s.Addr("PORT"), "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: bearer, "+tok+"\r\nAuthorization: Bearer "+tok+"\r\n\r\n")
	a.Want(t, 400)
	s.Stop()
	sig := tok[strings.LastIndex(tok, ".")+1:]
	encoded := base64.RawURLEncoding.EncodeToString([]byte(tok))
	for _, secret := range []string{sig, encoded[:40], encoded[len(encoded)-20:]} {
		if strings.Contains(s.Log.String(), secret) {
			t.Errorf("the log shows a token: %s", secret)
		}
	}
	harness.GrepTree(t, s.Path("trail"), sig, encoded[:40])
}

// connectSocket sends the handshake of a WebSocket over HTTP/2 (RFC 8441), without
// TLS, and returns what it is answered with.
func connectSocket(t *testing.T, addr, path string, offer []string) (int, http.Header) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, bufio.NewReader(conn))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "localhost"}, {":path", path}, {"sec-websocket-version", "13"},
	}
	for _, line := range offer {
		fields = append(fields, [2]string{"sec-websocket-protocol", line})
	}
	for _, field := range fields {
		_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	sent := false
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if frame.IsAck() {
				continue
			}
			if v, ok := frame.Value(http2.SettingEnableConnectProtocol); !ok || v != 1 {
				t.Fatal("the server does not offer extended CONNECT")
			}
			_ = f.WriteSettingsAck()
			if sent {
				continue
			}
			sent = true
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
		case *http2.MetaHeadersFrame:
			h := make(http.Header)
			for _, field := range frame.RegularFields() {
				h.Add(field.Name, field.Value)
			}
			status := 0
			_, _ = fmt.Sscan(frame.PseudoValue("status"), &status)
			return status, h
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			t.Fatalf("got %v", frame)
		}
	}
}
