package auth

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestEndsOfFramesAreFound(t *testing.T) {
	long := append([]byte{0x82, 126, 0x01, 0x00}, make([]byte, 256)...)
	huge := append([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, make([]byte, 1<<16)...)
	masked := []byte{0x81, 0x82, 1, 2, 3, 4, 'a', 'b'}
	all := bytes.Join([][]byte{{0x81, 2, 'h', 'i'}, {0x89, 0}, long, huge, masked, {0x88, 2, 3, 0xe8}}, nil)
	ends := map[int]bool{0: true, 4: true, 6: true, 266: true, 266 + 65546: true, 266 + 65546 + 8: true, len(all): true}
	for _, step := range []int{1, 3, 1000, len(all)} {
		var f frames
		for at := 0; at < len(all); {
			n := min(step, len(all)-at)
			f.feed(all[at : at+n])
			at += n
			if f.between() != ends[at] {
				t.Errorf("in steps of %d: at %d got %t", step, at, f.between())
			}
		}
	}
}

func TestResponsesWithAnEndAreNotEndless(t *testing.T) {
	for _, tc := range []struct {
		method string
		status int
		header http.Header
		want   bool
	}{
		{"GET", 200, http.Header{}, true},
		{"GET", 200, http.Header{"Content-Type": {"text/event-stream"}}, true},
		{"GET", 200, http.Header{"Content-Length": {"7"}}, false},
		{"GET", 200, http.Header{"Content-Disposition": {`Attachment; filename="a"`}}, false},
		{"GET", 200, http.Header{"Content-Disposition": {"inline"}}, true},
		{"HEAD", 200, http.Header{}, false},
		{"GET", 204, http.Header{}, false},
		{"GET", 304, http.Header{}, false},
	} {
		if got := endless(tc.method, tc.status, tc.header); got != tc.want {
			t.Errorf("%+v: got %t", tc, got)
		}
	}
}

// guarded is a writer of Caddy's kind, whose own SetWriteDeadline is for the
// handler's goroutine alone, round one of net/http's kind.
type guarded struct {
	http.ResponseWriter
	t *testing.T
}

func (g guarded) Unwrap() http.ResponseWriter { return g.ResponseWriter }

func (g guarded) SetWriteDeadline(time.Time) error {
	g.t.Error("a wrapper was told of a deadline by another goroutine")
	return nil
}

// deadlines counts those that are set.
type deadlines struct {
	http.ResponseWriter
	n atomic.Int64
}

func (d *deadlines) SetWriteDeadline(time.Time) error {
	d.n.Add(1)
	return nil
}

// TestDeadlineIsSetInTheInnermostWriter: wrappers are not made for two
// goroutines, and nobody is told once the handlers have returned.
func TestDeadlineIsSetInTheInnermostWriter(t *testing.T) {
	in := &deadlines{ResponseWriter: httptest.NewRecorder()}
	s := new(stream)
	s.ResponseWriter = guarded{guarded{in, t}, t}
	if !s.hurry(time.Now()) || in.n.Load() != 1 {
		t.Errorf("%d deadlines were set", in.n.Load())
	}
	if s.finish() {
		t.Error("it ended with its right")
	}
	if s.hurry(time.Now()) || in.n.Load() != 1 {
		t.Errorf("%d deadlines were set after the end", in.n.Load())
	}
}
