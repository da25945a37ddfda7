package audit

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// held serves one handler through an exchange that holds answers, and calls
// before once the handler has returned and before the end may leave.
func held(t *testing.T, handler http.HandlerFunc, before func(x *exchange)) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{hold: true, head: r.Method == http.MethodHead}
		x.ResponseWriter = w
		handler(x, r)
		before(x)
		if err := x.release(); err != nil {
			t.Errorf("release: %v", err)
		}
		x.recycle()
	}))
	srv.EnableHTTP2 = true
	t.Cleanup(srv.Close)
	return srv
}

// bodies are answers of every shape: what the handler does and what must
// arrive.
var bodies = []struct {
	name   string
	handle http.HandlerFunc
	want   string
	status int
}{
	{"nothing", func(http.ResponseWriter, *http.Request) {}, "", 200},
	{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "", 204},
	{"no content, flushed", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); w.(http.Flusher).Flush() }, "", 204},
	{"not modified, flushed", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304); w.(http.Flusher).Flush() }, "", 304},
	{"empty with length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
	}, "", 200},
	{"small", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, "hello", 200},
	{"small with length, flushed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
	}, "hello", 200},
	{"small with length, in pieces, each flushed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		for _, c := range "hello" {
			io.WriteString(w, string(c))
			w.(http.Flusher).Flush()
		}
	}, "hello", 200},
	{"exactly the hold", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, long(holdSize)) }, long(holdSize), 200},
	{"one more than the hold", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, long(holdSize))
		io.WriteString(w, "x")
	}, long(holdSize) + "x", 200},
	{"long with length, one write", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(5*holdSize+3))
		io.WriteString(w, long(5*holdSize+3))
	}, long(5*holdSize + 3), 200},
	{"long with length, small writes, each flushed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(3*holdSize))
		for i := 0; i < 3*holdSize; i += 1000 {
			io.WriteString(w, long(3 * holdSize)[i:min(i+1000, 3*holdSize)])
			w.(http.Flusher).Flush()
		}
	}, long(3 * holdSize), 200},
	{"error status", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 418) }, "no\n", 418},
}

func long(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%07d\n", i)
	}
	return b.String()[:n]
}

func TestHeldAnswersArriveUnchanged(t *testing.T) {
	for _, c := range bodies {
		for _, proto := range []string{"1.1", "2"} {
			t.Run(c.name+" HTTP/"+proto, func(t *testing.T) {
				srv := held(t, c.handle, func(*exchange) {})
				if proto == "2" {
					srv.StartTLS()
				} else {
					srv.Start()
				}
				resp, err := srv.Client().Get(srv.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || string(body) != c.want || resp.StatusCode != c.status || fmt.Sprint(resp.ProtoMajor) != proto[:1] {
					t.Errorf("%s %d, %d bytes, %v; want %d and %d bytes", resp.Proto, resp.StatusCode, len(body), err, c.status, len(c.want))
				}
			})
		}
	}
}

// The claim behind `sync always`: while the record is not on disk, the client
// cannot have a complete response, however the handler writes and flushes.
func TestNoAnswerIsCompleteBeforeItsRecord(t *testing.T) {
	for _, c := range bodies {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(method+" "+c.name, func(t *testing.T) {
				entered, recorded := make(chan struct{}), make(chan struct{})
				srv := held(t, c.handle, func(*exchange) { close(entered); <-recorded })
				srv.Start()
				conn, err := net.Dial("tcp", srv.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: x\r\n\r\n", method)
				complete := make(chan error, 1)
				go func() {
					req := &http.Request{Method: method}
					resp, err := http.ReadResponse(bufio.NewReader(conn), req)
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
					}
					complete <- err
				}()
				<-entered
				select {
				case err := <-complete:
					t.Errorf("the answer was complete before its record (%v)", err)
				case <-time.After(30 * time.Millisecond):
				}
				close(recorded)
				if err := <-complete; err != nil {
					t.Errorf("after the record: %v", err)
				}
			})
		}
	}
}

func TestFilesTakeTheShortCutButForTheirEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	content := long(300_000)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var waiting []byte
	srv := held(t, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }, func(x *exchange) {
		waiting = bytes.Clone(x.held)
	})
	srv.Start()
	for _, rang := range []string{"", "bytes=10-200009", "bytes=-1"} {
		req, _ := http.NewRequest("GET", srv.URL, nil)
		if rang != "" {
			req.Header.Set("Range", rang)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := map[string]string{"": content, "bytes=10-200009": content[10:200010], "bytes=-1": content[299999:]}[rang]
		if err != nil || string(body) != want {
			t.Errorf("%q: %d bytes, %v; want %d", rang, len(body), err, len(want))
		}
		if len(waiting) != 1 {
			t.Errorf("%q: %d bytes waited for the record, want the last one", rang, len(waiting))
		}
	}
}

func TestStreamsLeaveAsTheyAreFlushed(t *testing.T) {
	step := make(chan struct{})
	srv := held(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			<-step
			io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
		}
	}, func(*exchange) {})
	srv.Start()
	go func() { step <- struct{}{} }()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 9)
	for i := range 3 {
		if i > 0 {
			step <- struct{}{}
		}
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "data: 1\n\n" {
			t.Fatalf("event %d: %q, %v", i, buf, err)
		}
	}
}

func TestHeldAnswerCanBeReplaced(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{hold: true}
		x.ResponseWriter = w
		x.Header().Set("Set-Cookie", "session=1")
		x.Header().Set("Content-Length", "6")
		io.WriteString(x, "secret")
		if !x.discard() {
			t.Error("a small answer has left before its record")
		}
		http.Error(x.ResponseWriter, "no", 503)
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || string(body) != "no\n" || len(resp.Header["Set-Cookie"]) > 0 {
		t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
}

func TestUpgradedConnectionsAreCountedAndPassUnchanged(t *testing.T) {
	for _, hold := range []bool{false, true} {
		done := make(chan *exchange, 1)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := &exchange{hold: hold}
			x.ResponseWriter = w
			x.Header().Set("Connection", "Upgrade")
			x.Header().Set("Upgrade", "echo")
			x.WriteHeader(http.StatusSwitchingProtocols)
			conn, brw, err := http.NewResponseController(x).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = brw.Flush()
			line, _ := brw.ReadString('\n')
			fmt.Fprintf(conn, "echo %s", line)
			conn.Close()
			done <- x
		}))
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		// "early" comes in one packet with the request.
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly\n")
		all, _ := io.ReadAll(conn)
		conn.Close()
		x := <-done
		srv.Close()
		if !strings.HasPrefix(string(all), "HTTP/1.1 101 ") || !strings.HasSuffix(string(all), "\r\n\r\necho early\n") {
			t.Errorf("hold %t: got %q", hold, all)
		}
		if x.status != 101 || x.sent.Load() != 11 || x.received.Load() != 6 || !x.upgraded {
			t.Errorf("hold %t: status %d, %d sent, %d received", hold, x.status, x.sent.Load(), x.received.Load())
		}
	}
}
