package redact

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// file answers every request with the whole of a body, whatever is asked, and
// fails the test if the upstream is asked for a part or under a condition.
func file(t *testing.T, mediaType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the upstream gets %s: %s", name, r.Header.Get(name))
			}
		}
		h := w.Header()
		h.Set("Content-Type", mediaType)
		h.Set("ETag", `"v1"`)
		h.Set("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
		h.Set("Accept-Ranges", "bytes")
		h.Set("Content-Length", fmt.Sprint(len(body)))
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, body)
		}
	}
}

func head(r *http.Request) { r.Method = http.MethodHead }

func TestWhatPassesKeepsRangesAndConditions(t *testing.T) {
	video := "\x00\x00\x00\x18ftypmp42" + strings.Repeat("\x01\x02\x03\x04", 100_000)
	n := len(video)
	for label, options := range map[string]string{
		"video/mp4": "remove ssn", "font/woff2": "remove ssn\nhide_errors", "application/octet-stream": "remove ssn\npass application/octet-stream",
		"application/zip": "remove ssn\nunreadable pass",
	} {
		upstream := newUpstream(t, file(t, label, video))
		s := serve(t, provision(t, options), proxy(t, upstream))
		for _, c := range []struct {
			name   string
			ask    []func(*http.Request)
			status int
			body   string
			part   string // Content-Range
		}{
			{"whole", nil, 200, video, ""},
			{"range", []func(*http.Request){with("Range", "bytes=5-9")}, 206, video[5:10], fmt.Sprintf("bytes 5-9/%d", n)},
			{"first byte", []func(*http.Request){with("Range", "bytes=0-0")}, 206, video[:1], fmt.Sprintf("bytes 0-0/%d", n)},
			{"all as a range", []func(*http.Request){with("Range", "bytes=0-")}, 206, video, fmt.Sprintf("bytes 0-%d/%d", n-1, n)},
			{"resumed", []func(*http.Request){with("Range", "bytes=300000-")}, 206, video[300000:], fmt.Sprintf("bytes 300000-%d/%d", n-1, n)},
			{"suffix", []func(*http.Request){with("Range", "bytes=-7")}, 206, video[n-7:], fmt.Sprintf("bytes %d-%d/%d", n-7, n-1, n)},
			{"beyond", []func(*http.Request){with("Range", "bytes=9999999-")}, 416, "", fmt.Sprintf("bytes */%d", n)},
			{"several", []func(*http.Request){with("Range", "bytes=0-1,5-6")}, 200, video, ""},
			{"if range", []func(*http.Request){with("Range", "bytes=1-2"), with("If-Range", `"v1"`)}, 206, video[1:3], fmt.Sprintf("bytes 1-2/%d", n)},
			{"if range of another", []func(*http.Request){with("Range", "bytes=1-2"), with("If-Range", `"v0"`)}, 200, video, ""},
			{"not modified", []func(*http.Request){with("If-None-Match", `"v0", W/"v1"`)}, 304, "", ""},
			{"modified", []func(*http.Request){with("If-None-Match", `"v0"`)}, 200, video, ""},
			{"not since", []func(*http.Request){with("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")}, 304, "", ""},
			{"since", []func(*http.Request){with("If-Modified-Since", "Sat, 05 Nov 1994 08:49:37 GMT")}, 200, video, ""},
			{"match fails", []func(*http.Request){with("If-Match", `"v0"`)}, 412, "", ""},
			{"head", []func(*http.Request){head}, 200, "", ""},
			{"head not modified", []func(*http.Request){head, with("If-None-Match", `"v1"`)}, 304, "", ""},
		} {
			if label == "application/zip" && strings.HasPrefix(c.name, "head") {
				continue // what passes by its bytes alone is not known without them
			}
			t.Run(label+" "+c.name, func(t *testing.T) {
				a := s.get(c.ask...)
				a.is(t, c.status, c.body)
				if got := a.header.Get("Content-Range"); got != c.part {
					t.Errorf("Content-Range %q, want %q", got, c.part)
				}
				switch c.status {
				case 200:
					if a.header.Get("Content-Length") != fmt.Sprint(n) || a.header.Get("ETag") != `"v1"` || a.header.Get("Accept-Ranges") != "bytes" {
						t.Errorf("header %v", a.header)
					}
				case 206:
					if a.header.Get("Content-Length") != fmt.Sprint(len(c.body)) || a.header.Get("ETag") != `"v1"` || a.header.Get("Content-Type") != label {
						t.Errorf("header %v", a.header)
					}
				case 304:
					if a.header.Get("ETag") != `"v1"` {
						t.Errorf("header %v", a.header)
					}
				}
			})
		}
	}
}

// newUpstream serves f and returns its address.
func newUpstream(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// Whether a condition about the original bytes holds, how long they are, or
// what stands in a part of them, is told of nothing that a rule could be about.
func TestRedactedAnswersTellNothingOfTheOriginal(t *testing.T) {
	for _, label := range []string{"application/json", "video/mp4", "text/html", "application/octet-stream", "text/event-stream", "application/x-ndjson"} {
		in, want := body, masked
		if label == "text/event-stream" {
			in, want = "data: "+body+"\n\n", "data: "+masked+"\n\n"
		}
		s := serve(t, provision(t, "remove ssn\npass text/html application/octet-stream"), proxy(t, newUpstream(t, file(t, label, in))))
		for _, ask := range [][]func(*http.Request){
			{with("Range", "bytes=0-3")},
			{with("Range", "bytes=99999-")},
			{with("Range", "bytes=0-3"), with("If-Range", `"v1"`)},
			{with("If-None-Match", `"v1"`)},
			{with("If-None-Match", "*")},
			{with("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")},
			{with("If-Match", `"v0"`)},
			{with("If-Unmodified-Since", "Sat, 05 Nov 1994 08:49:37 GMT")},
		} {
			a := s.get(ask...)
			a.is(t, 200, want)
			for _, name := range []string{"ETag", "Last-Modified", "Accept-Ranges", "Content-Range"} {
				if a.header.Get(name) != "" {
					t.Errorf("%s: %s %q", label, name, a.header.Get(name))
				}
			}
		}
	}
}

// The upstream is not made to send gigabytes of which nobody wants a byte.
func TestUpstreamIsStoppedWhenAllIsSentThatWasAsked(t *testing.T) {
	const size = 1 << 30
	ended := make(chan int64, 1)
	s := serve(t, provision(t, "remove ssn"), proxy(t, newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		piece := make([]byte, 64<<10)
		var n int64
		for n < size {
			m, err := w.Write(piece)
			n += int64(m)
			if err != nil {
				break
			}
		}
		ended <- n
	})))
	s.get(with("Range", "bytes=1-2")).is(t, 206, "\x00\x00")
	if n := <-ended; n > 64<<20 {
		t.Errorf("the upstream has sent %d bytes", n)
	}
	s.get(with("If-None-Match", `"v1"`)).is(t, 304, "")
	if n := <-ended; n > 64<<20 {
		t.Errorf("the upstream has sent %d bytes", n)
	}
}

func TestUpstreamThatBreaksOffInAPartIsNeverComplete(t *testing.T) {
	s := serve(t, provision(t, "remove ssn"), raw(t, headed("200 OK", "Content-Type: video/mp4\nContent-Length: 9000", strings.Repeat("\x00", 5000))))
	if a := s.get(with("Range", "bytes=100-8000")); a.err == nil {
		t.Errorf("got %d and %d bytes, which look complete", a.status, len(a.body))
	}
	s.get(with("Range", "bytes=100-2000")).is(t, 206, strings.Repeat("\x00", 1901))
}
