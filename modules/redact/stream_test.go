package redact

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// pieces answers with the pieces, flushing after each.
func pieces(contentType string, list ...string) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", contentType)
		for _, p := range list {
			if _, err := io.WriteString(w, p); err != nil {
				panic(http.ErrAbortHandler) // as reverse_proxy does
			}
		}
		return nil
	})
}

func TestEverySplitGivesTheSameAnswer(t *testing.T) {
	h := provision(t, "remove ssn")
	for _, c := range []struct{ header, body, want string }{
		{"Content-Type: application/json", body, masked},
		{"Content-Type: text/plain", " \n" + body, " \n" + masked},
		{"Content-Type: application/x-ndjson", body + "\n" + body, masked + "\n" + masked},
		{"Content-Type: application/json\nContent-Encoding: gzip", gz(body), masked},
		{
			"Content-Type: text/event-stream", "event: x\r\ndata: {\"ssn\":1,\r\ndata: \"a\":2}\r\n\r\ndata:{}\n\n",
			"event: x\r\ndata: {\r\ndata: \"a\":2}\r\n\r\ndata:{}\n\n",
		},
	} {
		for at := 1; at < len(c.body); at++ {
			contentType, _ := strings.CutPrefix(c.header, "Content-Type: ")
			contentType, encoding, _ := strings.Cut(contentType, "\nContent-Encoding: ")
			next := pieces(contentType, c.body[:at], c.body[at:])
			if encoding != "" {
				inner := next
				next = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					w.Header().Set("Content-Encoding", encoding)
					return inner.ServeHTTP(w, r)
				})
			}
			got, _ := direct(t, h, next)
			if got.Body.String() != c.want {
				t.Fatalf("%s, split at %d: got %q, want %q", c.header, at, got.Body, c.want)
			}
		}
	}
}

// TestEventsLeaveAtOnce: the upstream waits with each event until the client
// has the one before.
func TestEventsLeaveAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		header      string
		event, want string
		encode      bool
	}{
		"events":               {"text/event-stream", "data: " + body + "\n\n", "data: " + masked + "\n\n", false},
		"lines":                {"application/x-ndjson", body + "\n", masked + "\n", false},
		"RFC 7464":             {"application/json-seq", "\x1e" + body + "\n", "\x1e" + masked + "\n", false},
		"events that gzip hid": {"text/event-stream", "data: " + body + "\n\n", "data: " + masked + "\n\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			next := make(chan bool)
			address := upstream(t, func(conn net.Conn, _ *http.Request) {
				header := "HTTP/1.1 200 OK\r\nContent-Type: " + c.header + "\r\nTransfer-Encoding: chunked\r\n"
				var w io.Writer = chunks{conn}
				flush := func() {}
				if c.encode {
					header += "Content-Encoding: gzip\r\n"
					z := gzip.NewWriter(w)
					w, flush = z, func() { _ = z.Flush() }
				}
				_, _ = io.WriteString(conn, header+"\r\n")
				for range next {
					_, _ = io.WriteString(w, c.event)
					flush()
				}
			})
			s := serve(t, provision(t, "remove ssn"), proxy(t, address))
			r, _ := http.NewRequest(http.MethodGet, s.URL, nil)
			got := make(chan *http.Response, 1)
			go func() {
				res, err := s.Client().Do(r)
				if err != nil {
					t.Error(err)
				}
				got <- res
			}()
			next <- true
			res := <-got
			defer res.Body.Close()
			for i := range 5 {
				if i > 0 {
					next <- true
				}
				buf := make([]byte, len(c.want))
				if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != c.want {
					t.Fatalf("event %d: %q (%v), want %q", i, buf, err, c.want)
				}
			}
			close(next)
		})
	}
}

// chunks writes each piece as a chunk.
type chunks struct{ w io.Writer }

func (c chunks) Write(p []byte) (int, error) {
	_, err := fmt.Fprintf(c.w, "%x\r\n%s\r\n", len(p), p)
	return len(p), err
}

func TestFlushedDocumentLeavesBeforeItsEnd(t *testing.T) {
	more := make(chan bool)
	address := upstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\":1, \r\n")
		<-more
		_, _ = io.WriteString(c, "f\r\n\"ssn\":2, \"b\":3}\r\n0\r\n\r\n")
	})
	s := serve(t, provision(t, "remove ssn"), proxy(t, address))
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != `{"a":1` {
		t.Fatalf("got %q (%v)", buf, err)
	}
	close(more)
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != `, "b":3}` {
		t.Errorf("then %q (%v)", rest, err)
	}
}

// TestLateFaultAborts: nothing past the fault leaves, and the client sees
// that the body is not complete, whatever the version of HTTP.
func TestLateFaultAborts(t *testing.T) {
	long := `{"list":[` + strings.Repeat(`{"ssn":"`+secret+`","a":1},`, 20000)
	for name, tail := range map[string]string{
		"broken":    `{"ssn":"` + secret + `" "a":1}]}`,
		"truncated": ``,
		"utf8":      "\"\xff\"]}",
	} {
		for _, version := range []string{"1.1", "2"} {
			for how, next := range map[string]caddyhttp.Handler{
				"length": raw(t, lengthed("Content-Type: application/json", long+tail)),
				"chunks": raw(t, chunked("Content-Type: application/json", long, tail+"  ")),
				"direct": pieces("application/json", long, tail),
			} {
				t.Run(name+" "+version+" "+how, func(t *testing.T) {
					s := serve(t, provision(t, "remove ssn"), next)
					if version == "1.1" {
						s.Client().Transport.(*http.Transport).TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
						s.Client().Transport.(*http.Transport).TLSClientConfig.NextProtos = nil
						s.Client().Transport.(*http.Transport).ForceAttemptHTTP2 = false
					}
					a := s.get()
					if a.err == nil || leaked(a.body) {
						t.Fatalf("got %d and %d bytes without an error, leaked %v", a.status, len(a.body), leaked(a.body))
					}
					if a.status != 0 && !strings.HasPrefix(strings.ReplaceAll(long, `"ssn":"`+secret+`",`, ""), strings.TrimRight(string(a.body), " ")) {
						t.Errorf("what came is not the beginning of the redacted body: %.100q", a.body)
					}
				})
			}
		}
	}
}

func TestLateFaultIsSeenByClientsOfHTTP10(t *testing.T) {
	next := pieces("application/json", `[`+strings.Repeat(`{"a":1},`, 20000), `}`)
	s := serve(t, provision(t, "remove ssn"), next)
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\nHost: x\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err == nil {
		t.Errorf("%d bytes, and then an end like that of a whole body", len(got))
	}
}

func TestUpstreamThatBreaksOffIsNeverComplete(t *testing.T) {
	for name, answer := range map[string]string{
		"within the hold":  headed("200 OK", "Content-Type: application/json\nContent-Length: 9999\nSet-Cookie: a=b", body[:30]),
		"whole but short":  headed("200 OK", "Content-Type: application/json\nContent-Length: 9999\nSet-Cookie: a=b", body),
		"chunk":            headed("200 OK", "Content-Type: application/json\nTransfer-Encoding: chunked\nSet-Cookie: a=b", "ff\r\n"+body),
		"gzip":             headed("200 OK", "Content-Type: application/json\nContent-Encoding: gzip\nContent-Length: 9999\nSet-Cookie: a=b", gz(body)[:30]),
		"before the first": headed("200 OK", "Content-Type: application/json\nContent-Length: 9999\nSet-Cookie: a=b", ""),
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, provision(t, "remove ssn"), raw(t, answer)).get().refused(t, 502, "unreadable_response")
		})
	}
}

func TestHoldIsAsLongAsConfigured(t *testing.T) {
	broken := `{"a":"` + strings.Repeat("x", 3000) + `",,`
	next := answers(200, "application/json", broken)
	serve(t, provision(t, "remove ssn\nhold 4KiB"), next).get().refused(t, 502, "unreadable_response")
	for _, hold := range []string{"2KiB", "off"} {
		if a := serve(t, provision(t, "remove ssn\nhold "+hold), pieces("application/json", broken[:2900], broken[2900:])).get(); a.err == nil {
			t.Errorf("hold %s: got %d", hold, a.status)
		}
	}
}

func TestErrorsOfHandlersArePassedOnWithoutWhatIsHeld(t *testing.T) {
	h := provision(t, "remove ssn")
	failing := func(write string) caddyhttp.Handler {
		return caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-Early", "1")
			if write != "" {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("ETag", `"1"`)
				_, _ = io.WriteString(w, write)
			}
			return caddyhttp.Error(http.StatusTeapot, errors.New("no"))
		})
	}
	a := serve(t, h, failing("")).get()
	if a.status != http.StatusTeapot || a.header.Get("X-Early") != "1" {
		t.Errorf("nothing written: %d %v", a.status, a.header)
	}
	a = serve(t, h, failing(body)).get()
	if a.status != http.StatusTeapot || strings.Contains(string(a.body), "id") || a.header.Get("ETag") != "" {
		t.Errorf("held: %d %q %v", a.status, a.body, a.header)
	}
	a = serve(t, h, failing("["+strings.Repeat("{},", 50000))).get()
	if a.err == nil {
		t.Errorf("sent: %d, and the body looks complete", a.status)
	}
}

func TestOtherPanicsGoOn(t *testing.T) {
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, body)
		panic("bug")
	})
	defer func() {
		if got := recover(); got != "bug" {
			t.Errorf("recovered %v", got)
		}
	}()
	direct(t, provision(t, "remove ssn"), next)
}

func TestThereIsNoWayRoundTheWriter(t *testing.T) {
	h := provision(t, "remove ssn")
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if _, ok := w.(io.ReaderFrom); ok {
			t.Error("ReadFrom is there")
		}
		if _, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
			t.Error("Unwrap is there")
		}
		if _, ok := w.(http.Pusher); ok {
			t.Error("Push is there")
		}
		if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Hijack: %v", err)
		}
		if _, _, err := w.(http.Hijacker).Hijack(); err == nil {
			t.Error("Hijack works")
		}
		w.Header().Set("Content-Type", "application/json")
		rec := caddyhttp.NewResponseRecorder(w, nil, nil)
		_, err := rec.(io.ReaderFrom).ReadFrom(strings.NewReader(body))
		return err
	})
	serve(t, h, next).get().is(t, 200, masked)
}

func TestInformationalAnswersPass(t *testing.T) {
	address := upstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+lengthed("Content-Type: application/json", body))
	})
	s := serve(t, provision(t, "remove ssn"), proxy(t, address))
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 103 Early Hints\r\n") || !strings.Contains(string(got), "Link: </a>") ||
		!strings.HasSuffix(string(got), masked) {
		t.Errorf("got %q (%v)", got, err)
	}
}

func TestTrailersAreDropped(t *testing.T) {
	long := strings.Repeat(" ", 200000)
	for name, answer := range map[string]string{
		"long":               headed("200 OK", "Content-Type: application/json\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Sum: %s\r\n\r\n", len(long+body), long+body, secret)),
		"long and announced": headed("200 OK", "Content-Type: application/json\nTrailer: X-Sum\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Sum: %s\r\n\r\n", len(long+body), long+body, secret)),
		"announced":          headed("200 OK", "Content-Type: application/json\nTrailer: X-Sum\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Sum: %s\r\n\r\n", len(body), body, secret)),
		"unannounced":        headed("200 OK", "Content-Type: application/json\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Sum: %s\r\n\r\n", len(body), body, secret)),
	} {
		s := serve(t, provision(t, "remove ssn"), raw(t, answer))
		res, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || strings.TrimSpace(string(got)) != masked {
			t.Errorf("%s: %.100q (%v)", name, got, err)
		}
		if len(res.Trailer) > 0 || res.Header.Get("X-Sum") != "" || res.Header.Get("Trailer") != "" {
			t.Errorf("%s: trailer %v, header %v", name, res.Trailer, res.Header)
		}
	}
}

func TestUpgrade(t *testing.T) {
	address := upstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"+secret)
	})
	for _, allow := range []bool{false, true} {
		options := "remove ssn"
		if allow {
			options += "\nwebsocket allow"
		}
		s := serve(t, provision(t, options), proxy(t, address))
		conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if allow {
			if res.StatusCode != 101 {
				t.Errorf("allowed: %d", res.StatusCode)
			}
		} else {
			got, err := io.ReadAll(res.Body)
			if res.StatusCode != 502 || err != nil || leaked(got) || !strings.Contains(string(got), "upgrade_refused") || res.Header.Get("Upgrade") != "" {
				t.Errorf("got %d %q (%v) %v", res.StatusCode, got, err, res.Header)
			}
		}
		conn.Close()
	}
}

func TestSlowClientGetsAllOfIt(t *testing.T) {
	in := "[" + strings.Repeat(`{"ssn":"`+secret+`","a":1},`, 100000) + "0]"
	want := strings.ReplaceAll(in, `"ssn":"`+secret+`",`, "")
	s := serve(t, provision(t, "remove ssn"), raw(t, chunked("Content-Type: application/json", in)))
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got bytes.Buffer
	buf := make([]byte, 1000)
	for {
		n, err := res.Body.Read(buf)
		got.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if got.String() != want {
		t.Errorf("got %d bytes, want %d", got.Len(), len(want))
	}
}

// TestEndlessBodyNeedsLittleMemory streams more than could be held.
func TestEndlessBodyNeedsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("streams 256 MiB")
	}
	piece := []byte(strings.Repeat(`{"ssn":"`+secret+`","a":"`+strings.Repeat("x", 100)+`"},`, 500))
	const total = 256 << 20
	var peak uint64
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[")
		for n := 0; n < total; n += len(piece) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
			if n/len(piece)%256 == 0 {
				runtime.GC() // what is held counts, not how late the collector is
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
		_, err := io.WriteString(w, "0]")
		return err
	})
	s := serve(t, provision(t, "remove ssn"), next)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || n < total/2 {
		t.Fatalf("%d bytes (%v)", n, err)
	}
	if grown := int64(peak) - int64(before.HeapInuse); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func TestBodyThatGrowsBeyondAllProportionIsRefused(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.WriteString(z, `["`)
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	for range 64 {
		_, _ = z.Write(spaces)
	}
	_, _ = io.WriteString(z, `"]`)
	_ = z.Close()
	a := serve(t, provision(t, "remove ssn"), raw(t, lengthed("Content-Type: application/json\nContent-Encoding: gzip", bomb.String()))).get()
	if a.err == nil && a.status == 200 {
		t.Errorf("%d bytes became %d", bomb.Len(), len(a.body))
	}
}

func TestClientThatLeavesEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	gone := make(chan struct{})
	for _, encoding := range []string{"", "gzip"} {
		started := make(chan bool)
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "application/x-ndjson")
			var out io.Writer = w
			if encoding != "" {
				w.Header().Set("Content-Encoding", encoding)
				out = gzip.NewWriter(w)
			}
			started <- true
			for {
				if _, err := io.WriteString(out, body+"\n"); err != nil {
					gone <- struct{}{}
					panic(http.ErrAbortHandler)
				}
			}
		})
		s := serve(t, provision(t, "remove ssn"), next)
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		go func() { <-started; cancel() }()
		if res, err := s.Client().Do(r); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		<-gone
		s.Close()
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
