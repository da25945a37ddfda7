package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// hidden stands in what redact has to take out.
const hidden = "hidden-9b1d"

const (
	order    = `{"id":7, "ssn":"` + hidden + `", "items":[{"n":1.50,"ssn":null}],"phone":"18049531999"}`
	redacted = `{"id":7, "items":[{"n":1.50}],"phone":"180****1999"}`
)

// redactSite has two sites with the same rules, the second with encode and an
// access log, over every version of HTTP.
const redactSite = `
{
	http_port {$HTTP_PORT}
	skip_install_trust
}
(rules) {
	redact {
		remove ssn
		mask mobile phone
		except role manager {
			remove salary
		}
		pass text/html
	}
	reverse_proxy {env.UPSTREAM}
}
https://localhost:{$PORT} {
	tls internal
	import rules
}
https://localhost:{$PORT2} {
	tls internal
	log
	encode gzip zstd {
		minimum_length 1
	}
	import rules
}
http://localhost:{$PORT3} {
	import rules
}
`

// script is what a raw upstream does with one request.
type script func(c net.Conn, r *http.Request)

// sends answers with bytes, in one piece.
func sends(answer string) script {
	return func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, answer) }
}

func head(status string, lines ...string) string {
	return "HTTP/1.1 " + status + "\r\n" + strings.Join(append(lines, "Connection: close"), "\r\n") + "\r\n\r\n"
}

func whole(body string, lines ...string) string {
	return head("200 OK", append(lines, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
}

// inChunks frames pieces of a body.
func inChunks(pieces ...string) string {
	var b strings.Builder
	for _, p := range pieces {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
	}
	return b.String()
}

func single(body string) []string { return strings.Split(body, "") }

func squeeze(body string, w func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	z := w(&b)
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	return b.String()
}

func gzipped(body string) string {
	return squeeze(body, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

const (
	asJSON = "Content-Type: application/json"
	framed = "Transfer-Encoding: chunked"
)

// outcome is what has to come of an answer.
type outcome struct {
	script script
	method string // GET if empty
	status int    // 0: the body must not look complete, whatever the status
	body   string
	code   string
	check  func(t *testing.T, h http.Header)
}

func redactOutcomes() map[string]outcome {
	long := "[" + strings.Repeat(order+",\n", 4000) + "0]"
	longRedacted := "[" + strings.Repeat(redacted+",\n", 4000) + "0]"
	brotlied := squeeze(order, func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) })
	zstded := squeeze(order, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z })
	refused := func(answer string) outcome {
		return outcome{script: sends(answer), status: 502, code: "unreadable_response"}
	}
	broken := func(answer string) outcome { return outcome{script: sends(answer)} }
	shown := func(answer string) outcome { return outcome{script: sends(answer), status: 200, body: redacted} }
	return map[string]outcome{
		"plain":                 shown(whole(order, asJSON)),
		"chunks":                shown(head("200 OK", asJSON, framed) + inChunks(order) + inChunks("")),
		"chunk-for-every-byte":  shown(head("200 OK", asJSON, framed) + inChunks(single(order)...) + inChunks("")),
		"until-the-end":         shown(head("200 OK", asJSON) + order),
		"gzip-unasked":          shown(whole(gzipped(order), asJSON, "Content-Encoding: gzip")),
		"gzip-in-single-bytes":  shown(head("200 OK", asJSON, framed, "Content-Encoding: gzip") + inChunks(single(gzipped(order))...) + inChunks("")),
		"brotli-unasked":        shown(whole(brotlied, asJSON, "Content-Encoding: br")),
		"zstd-unasked":          shown(whole(zstded, asJSON, "Content-Encoding: zstd")),
		"escaped-name":          {script: sends(whole(`{"s\u0073\u006e":"`+hidden+`","a":1}`, asJSON)), status: 200, body: `{"a":1}`},
		"duplicate-names":       {script: sends(whole(`{"ssn":1,"a":1,"ssn":"`+hidden+`"}`, asJSON)), status: 200, body: `{"a":1}`},
		"labelled-as-html":      shown(whole(order, "Content-Type: text/html")),
		"labelled-as-image":     shown(whole(order, "Content-Type: image/png")),
		"no-label":              shown(whole(order)),
		"problem-json":          shown(whole(order, "Content-Type: application/problem+json")),
		"html-passes":           {script: sends(whole("<p>hello", "Content-Type: text/html")), status: 200, body: "<p>hello"},
		"broken-early":          refused(whole(`{"a":,"ssn":"`+hidden+`"}`, asJSON, "Set-Cookie: a=b", "ETag: \"x\"")),
		"broken-at-the-end":     refused(whole(order+"]", asJSON)),
		"truncated":             refused(whole(order[:40], asJSON)),
		"shorter-than-said":     refused(head("200 OK", asJSON, "Content-Length: 9999") + order),
		"chunks-without-end":    refused(head("200 OK", asJSON, framed) + inChunks(order)),
		"byte-order-mark":       {script: sends(whole("\ufeff"+order, asJSON)), status: 200, body: "\ufeff" + redacted},
		"two-marks":             refused(whole("\ufeff\ufeff"+order, asJSON)),
		"utf-16":                refused(whole(strings.Join(single(order), "\x00")+"\x00", asJSON)),
		"utf-16-unlabelled":     refused(whole(strings.Join(single(order), "\x00") + "\x00")),
		"utf-16-by-label":       refused(whole(order, asJSON+"; charset=utf-16")),
		"not-utf-8":             refused(whole("{\"ssn\":\""+hidden+"\",\"a\":\"\xff\"}", asJSON)),
		"nan":                   refused(whole(`{"ssn":"`+hidden+`","a":NaN}`, asJSON)),
		"trailing-data":         refused(whole(order+order, asJSON)),
		"depth-bomb":            refused(whole(strings.Repeat("[", 100000), asJSON)),
		"xml":                   refused(whole("<ssn>"+hidden+"</ssn>", "Content-Type: application/xml")),
		"csv":                   refused(whole("ssn\n"+hidden, "Content-Type: text/csv")),
		"form":                  refused(whole("ssn="+hidden, "Content-Type: application/x-www-form-urlencoded")),
		"unknown-coding":        shown(whole(order, asJSON, "Content-Encoding: rot13")),
		"unknown-coding-used":   refused(whole(hidden, asJSON, "Content-Encoding: rot13")),
		"stacked-codings":       refused(whole(gzipped(gzipped(order)), asJSON, "Content-Encoding: gzip, gzip")),
		"coding-that-is-a-lie":  refused(whole(order, asJSON, "Content-Encoding: gzip")),
		"part":                  refused(head("206 Partial Content", asJSON, "Content-Range: bytes 0-9/20", "Content-Length: 10") + order[:10]),
		"parts":                 refused(head("206 Partial Content", "Content-Type: multipart/byteranges; boundary=b") + "--b\r\n\r\n" + order),
		"broken-late":           broken(whole(long[:len(long)-1]+",", asJSON)),
		"broken-late-in-chunks": broken(head("200 OK", asJSON, framed) + inChunks(long, "}") + inChunks("")),
		"truncated-late":        broken(head("200 OK", asJSON, framed) + inChunks(long)),
		"long":                  {script: sends(whole(long, asJSON)), status: 200, body: longRedacted},
		"long-in-chunks":        {script: sends(head("200 OK", asJSON, framed) + inChunks(long[:99999], long[99999:]) + inChunks("")), status: 200, body: longRedacted},
		"long-gzip":             {script: sends(whole(gzipped(long), asJSON, "Content-Encoding: gzip")), status: 200, body: longRedacted},
		"204":                   {script: sends(head("204 No Content", asJSON)), status: 204},
		"304":                   {script: sends(head("304 Not Modified", asJSON, "ETag: \"x\"")), status: 304},
		"empty":                 {script: sends(whole("", asJSON)), status: 200},
		"head": {
			script: sends(head("200 OK", asJSON, "Content-Length: 77", "ETag: \"x\"")), method: "HEAD", status: 200,
			check: func(t *testing.T, h http.Header) {
				if h.Get("Content-Length") == "77" {
					t.Error("HEAD tells the length of the original")
				}
			},
		},
		"lines":    {script: sends(head("200 OK", "Content-Type: application/x-ndjson", framed) + inChunks(order+"\n", order+"\n") + inChunks("")), status: 200, body: redacted + "\n" + redacted + "\n"},
		"events":   {script: sends(head("200 OK", "Content-Type: text/event-stream", framed) + inChunks(single("id: 1\r\ndata: "+order+"\r\n\r\n")...) + inChunks("")), status: 200, body: "id: 1\r\ndata: " + redacted + "\r\n\r\n"},
		"trailers": shown(head("200 OK", asJSON, framed, "Trailer: X-Sum") + inChunks(order) + "0\r\nX-Sum: " + hidden + "\r\n\r\n"),
		"early-hints": shown("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" +
			whole(order, asJSON)),
		"described": {
			script: sends(whole(order, asJSON, "ETag: \"x\"", "Digest: sha-256=x", "Content-Digest: sha-256=:eA==:", "Content-MD5: x",
				"Accept-Ranges: bytes", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Cache-Control: public, max-age=60", "X-Kept: yes")),
			status: 200, body: redacted,
			check: func(t *testing.T, h http.Header) {
				for _, name := range []string{"ETag", "Digest", "Content-Digest", "Content-MD5", "Accept-Ranges", "Last-Modified"} {
					if v := h.Get(name); v != "" {
						t.Errorf("%s: %s", name, v)
					}
				}
				if got := h.Get("Cache-Control"); got != "private, max-age=60" {
					t.Errorf("Cache-Control: %s", got)
				}
				if !strings.Contains(strings.Join(h.Values("Vary"), ","), "Authorization") || h.Get("X-Kept") != "yes" {
					t.Errorf("Vary: %q, X-Kept: %q", h.Values("Vary"), h.Get("X-Kept"))
				}
			},
		},
	}
}

// transports are the ways to ask the server, by name.
func transports(s *harness.Server) map[string]struct {
	http.RoundTripper
	url string
} {
	s.T.Helper()
	s.Ready("PORT", "localhost")
	config := s.TLS()
	h1 := &http.Transport{TLSClientConfig: config.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, DisableCompression: true, DisableKeepAlives: true}
	h2 := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true, DisableCompression: true}
	h3 := &http3.Transport{TLSClientConfig: config.Clone(), DisableCompression: true}
	s.T.Cleanup(func() { h1.CloseIdleConnections(); h2.CloseIdleConnections(); _ = h3.Close() })
	type way = struct {
		http.RoundTripper
		url string
	}
	return map[string]way{
		"HTTP/1.1":             {h1, "http://localhost:" + s.Ports["PORT3"]},
		"HTTP/1.1 over TLS":    {h1, "https://localhost:" + s.Ports["PORT"]},
		"HTTP/2":               {h2, "https://localhost:" + s.Ports["PORT"]},
		"HTTP/3":               {h3, "https://localhost:" + s.Ports["PORT"]},
		"HTTP/1.1 with encode": {h1, "https://localhost:" + s.Ports["PORT2"]},
		"HTTP/2 with encode":   {h2, "https://localhost:" + s.Ports["PORT2"]},
		"HTTP/3 with encode":   {h3, "https://localhost:" + s.Ports["PORT2"]},
	}
}

// fetched is an answer with its body decoded.
type fetched struct {
	*http.Response
	body []byte
	err  error
}

func fetch(t *testing.T, rt http.RoundTripper, method, url string, encoded bool) fetched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if encoded {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	res, err := rt.RoundTrip(r)
	if err != nil {
		return fetched{err: err}
	}
	defer res.Body.Close()
	f := fetched{Response: res}
	var body io.Reader = res.Body
	if res.Header.Get("Content-Encoding") == "gzip" && method != "HEAD" {
		z, err := gzip.NewReader(res.Body)
		if err != nil {
			f.err = err
			return f
		}
		body = z
	}
	if f.body, f.err = io.ReadAll(body); f.err == nil {
		_, f.err = io.Copy(io.Discard, res.Body) // that the framing ends in order, too
	}
	return f
}

// TestRedactWhateverTheUpstreamSends has one request for each thing that an
// upstream can do, each way that a client can ask.
func TestRedactWhateverTheUpstreamSends(t *testing.T) {
	outcomes := redactOutcomes()
	up := harness.RawUpstream(t, func(c net.Conn, r *http.Request) {
		outcomes[strings.TrimPrefix(r.URL.Path, "/")].script(c, r)
	})
	s := harness.Start(t, redactSite, "UPSTREAM="+up)
	for way, rt := range transports(s) {
		t.Run(way, func(t *testing.T) {
			for name, want := range outcomes {
				t.Run(name, func(t *testing.T) {
					method := want.method
					if method == "" {
						method = "GET"
					}
					got := fetch(t, rt, method, rt.url+"/"+name, strings.Contains(way, "encode"))
					if bytes.Contains(got.body, []byte(hidden)) {
						t.Fatalf("leaked: %.300q", got.body)
					}
					if want.status == 0 {
						if got.err == nil {
							t.Fatalf("the body looks complete: %d, %d bytes", got.StatusCode, len(got.body))
						}
						return
					}
					if got.err != nil || got.StatusCode != want.status {
						t.Fatalf("got %v (%v) %.300q, want %d", got.Response, got.err, got.body, want.status)
					}
					if len(got.Trailer) > 0 {
						t.Errorf("trailers %v", got.Trailer)
					}
					switch {
					case want.code != "":
						if !bytes.Contains(got.body, []byte(`"code":"`+want.code+`"`)) || got.Header.Get("Set-Cookie") != "" || got.Header.Get("ETag") != "" {
							t.Errorf("got %v %q, want code %s", got.Header, got.body, want.code)
						}
					case string(got.body) != want.body:
						t.Errorf("got %.300q, want %.300q", got.body, want.body)
					}
					if want.check != nil {
						want.check(t, got.Header)
					}
				})
			}
		})
	}
	if strings.Contains(s.Log.String(), hidden) {
		t.Error("what was redacted stands in the log")
	}
}

// TestRedactedEventsLeaveAtOnce: the upstream sends an event only when the
// client has the one before.
func TestRedactedEventsLeaveAtOnce(t *testing.T) {
	var gates sync.Map // of the path to a chan bool: a value for each event
	up := harness.RawUpstream(t, func(c net.Conn, r *http.Request) {
		mediaType, event := "application/x-ndjson", order+"\n"
		if strings.HasPrefix(r.URL.Path, "/events") {
			mediaType, event = "text/event-stream", "data: "+order+"\n\n"
		}
		gate, ok := gates.Load(r.URL.Path)
		if !ok {
			return
		}
		_, _ = io.WriteString(c, head("200 OK", "Content-Type: "+mediaType, framed))
		for range gate.(chan bool) {
			_, _ = io.WriteString(c, inChunks(event))
		}
		_, _ = io.WriteString(c, inChunks(""))
	})
	s := harness.Start(t, redactSite, "UPSTREAM="+up)
	n := 0
	for way, rt := range transports(s) {
		for kind, want := range map[string]string{"/events": "data: " + redacted + "\n\n", "/lines": redacted + "\n"} {
			n++
			path := fmt.Sprint(kind, n)
			t.Run(way+kind, func(t *testing.T) {
				gate := make(chan bool, 1)
				defer close(gate)
				gates.Store(path, gate)
				ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, "GET", rt.url+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(way, "encode") {
					r.Header.Set("Accept-Encoding", "gzip")
				}
				gate <- true
				res, err := rt.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				var body io.Reader = res.Body
				if res.Header.Get("Content-Encoding") == "gzip" {
					if body, err = gzip.NewReader(res.Body); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 3 {
					if i > 0 {
						gate <- true
					}
					got := make([]byte, len(want))
					if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
						t.Fatalf("event %d: %q (%v)", i, got, err)
					}
				}
			})
		}
	}
}

func TestRedactRefusesUpgrades(t *testing.T) {
	up := harness.RawUpstream(t, sends("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n\x81\x0b"+hidden))
	s := harness.Start(t, strings.ReplaceAll(redactSite, "pass text/html", "pass text/html\n{$WEBSOCKET}"), "UPSTREAM="+up, "WEBSOCKET=websocket block")
	ask := []string{"Upgrade: websocket", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13"}
	request := "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n" + strings.Join(ask, "\r\n") + "\r\n\r\n"
	a := harness.Raw(t, s.Addr("PORT3"), request)
	if a.StatusCode != 502 || a.Code() != "upgrade_refused" || strings.Contains(a.Body, hidden) || a.Header.Get("Upgrade") != "" {
		t.Errorf("got %d %q %v", a.StatusCode, a.Body, a.Header)
	}
	s = harness.Start(t, strings.ReplaceAll(redactSite, "pass text/html", "pass text/html\n\t\twebsocket allow"), "UPSTREAM="+up)
	conn, err := net.DialTimeout("tcp", s.Addr("PORT3"), harness.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, request)
	got, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(got), "HTTP/1.1 101") || !strings.Contains(string(got), hidden) {
		t.Errorf("allowed: %q", got)
	}
}

func TestRedactedRequestsReachTheUpstream(t *testing.T) {
	got := make(chan string, 1)
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		got <- fmt.Sprintf("%s %v", b, err)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})
	s := harness.Start(t, strings.ReplaceAll(redactSite, "remove ssn\n", "remove ssn\n\t\trequests {\n\t\t\tremove ssn\n\t\t}\n"), "UPSTREAM="+up)
	for way, rt := range transports(s) {
		t.Run(way, func(t *testing.T) {
			for name, c := range map[string]struct {
				body string
				want string
				code int
			}{
				"short":  {order, `{"id":7, "items":[{"n":1.50}],"phone":"18049531999"} <nil>`, 200},
				"long":   {"[" + strings.Repeat(order+",", 3000) + "0]", "[" + strings.Repeat(`{"id":7, "items":[{"n":1.50}],"phone":"18049531999"},`, 3000) + "0] <nil>", 200},
				"broken": {order + "}", "", 400},
			} {
				r, err := http.NewRequestWithContext(t.Context(), "POST", rt.url, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				res, err := rt.RoundTrip(r)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != c.code {
					t.Fatalf("%s: %d %q (%v)", name, res.StatusCode, body, err)
				}
				if c.code != 200 {
					if !bytes.Contains(body, []byte("invalid_request_body")) {
						t.Errorf("%s: %q", name, body)
					}
					continue
				}
				if g := <-got; g != c.want {
					t.Errorf("%s: the upstream got %.200q, want %.200q", name, g, c.want)
				}
			}
		})
	}
}
