package redact

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// trickle has an upstream send pieces as chunks, each when the client has got
// what want says after the one before.
func trickle(t *testing.T, options, label string, pieces, want []string) {
	t.Helper()
	gate := make(chan string)
	s := serve(t, provision(t, options), proxy(t, upstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: "+label+"\r\nTransfer-Encoding: chunked\r\n\r\n")
		for p := range gate {
			_, _ = io.WriteString(chunks{c}, p)
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
	})))
	first := slices.IndexFunc(want, func(s string) bool { return s != "" })
	go func() { // the header comes with the first bytes
		for _, p := range pieces[:first+1] {
			gate <- p
		}
	}()
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for i := first; i < len(pieces); i++ {
		if i > first {
			gate <- pieces[i]
		}
		got := make([]byte, len(want[i]))
		done := make(chan error, 1)
		go func() { _, err := io.ReadFull(res.Body, got); done <- err }()
		select {
		case err := <-done:
			if err != nil || string(got) != want[i] {
				t.Fatalf("piece %d: %q (%v), want %q", i, got, err, want[i])
			}
		case <-time.After(time.Minute):
			t.Fatalf("piece %d is held: %q", i, pieces[i])
		}
	}
	close(gate)
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("then %q (%v)", rest, err)
	}
}

// TestWhatPassesLeavesAsItComes: no byte waits for more that would tell what
// the body is.
func TestWhatPassesLeavesAsItComes(t *testing.T) {
	for name, c := range map[string]struct{ label, options, pieces string }{
		"text":       {"text/plain", "pass text/plain", "a|b|cde"},
		"HTML":       {"text/html", "pass text/html", "\n<!doctype html>|<p>1</p>|\n"},
		"words":      {"text/plain", "pass text/*", "[info] x|\n|[1] y"},
		"heartbeats": {"text/plain", "pass text/plain", "\n|\n|\r\n|hello"},
		"events":     {"text/plain", "pass text/plain", "data: tick\n\n|data: tock\n\n"},
		"image":      {"image/png", "", "\x89PNG|\r\n|\x1a\n"},
		"MJPEG":      {"multipart/x-mixed-replace; boundary=f", "pass multipart/x-mixed-replace", "--f\r\n|Content-Type: image/jpeg\r\n\r\n|\xff\xd8"},
		"anything":   {"application/x-protobuf", "unreadable pass", "\x0a|\x01|\x02"},
		"video":      {"video/mp4", "", "\x00\x00\x00\x18f|typ"},
	} {
		t.Run(name, func(t *testing.T) {
			list := strings.Split(c.pieces, "|")
			trickle(t, "remove ssn\n"+c.options, c.label, list, list)
		})
	}
}

// slowly answers with text in two pieces that come longer after each other
// than any byte waits.
func slowly(first, rest string, flush bool) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, first)
		if flush {
			w.(http.Flusher).Flush()
		}
		time.Sleep(3 * sniffDelay)
		_, err := io.WriteString(w, rest)
		return err
	})
}

// JSON is found however slowly it begins, and a beginning that may become JSON
// is kept.
func TestJSONThatBeginsSlowlyIsRedacted(t *testing.T) {
	trickle(t, "remove ssn\npass text/plain", "text/plain",
		[]string{"\n", " ", "{", "\"ssn\":1,", "\"a\":2}", "\n"}, []string{"\n", " ", "", "{", "\"a\":2}", "\n"})
	trickle(t, "remove ssn\npass text/plain", "text/plain",
		[]string{"event: x\n", "data: ", "{\"ssn\":1}\n\n"}, []string{"", "", "event: x\ndata: {}\n\n"})
	for name, first := range map[string]string{"UTF-16": "\xff\xfe", "UTF-16, big": "\xfe\xff", "UTF-32": "\xff\xfe\x00\x00", "half": "\x00", "bracket": "{\x00"} {
		rest := wide("{\"ssn\":\""+secret+"\"}", 2)
		if name == "half" {
			rest = rest[:len(rest)-1]
		} else if name == "bracket" {
			rest = rest[2:]
		}
		for _, flush := range []bool{false, true} {
			h := provision(t, "remove ssn\npass text/plain")
			a := serve(t, h, slowly(first, rest, flush)).get()
			if leaked([]byte(strings.ReplaceAll(string(a.body), "\x00", ""))) || a.status == 200 && a.err == nil {
				t.Errorf("%s, flushed %v: %d %q (%v)", name, flush, a.status, a.body, a.err)
			}
		}
	}
}
