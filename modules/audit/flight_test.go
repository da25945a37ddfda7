package audit

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// stream begins a response and goes on with it until end is closed.
func stream(end <-chan struct{}) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path != "/stream" {
			return text("ok")(w, r)
		}
		_, _ = io.WriteString(w, "data: 1\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		<-end
		_, err := io.WriteString(w, "data: 2\n\n")
		return err
	}
}

// streaming requests /stream and returns when its first event is there. The
// returned function reads the rest.
func (e *env) streaming() (rest func() string) {
	e.t.Helper()
	resp, err := http.Get(e.url("/stream"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { resp.Body.Close() })
	if _, err := io.ReadFull(resp.Body, make([]byte, len("data: 1\n\n"))); err != nil {
		e.t.Fatal(err)
	}
	return func() string {
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
}

// eventually waits until the trail in dir has n records that suit.
func (e *env) eventually(dir string, n int, suits func(record.Record) bool) (found []record.Record) {
	e.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		found = nil
		_, err := trail.Scan(context.Background(), dir, trail.ScanOptions{}, func(r trail.Record) error {
			var rec record.Record
			if err := record.Decode(r.Line, &rec); err != nil {
				return err
			}
			if rec.Kind != record.Change && suits(rec) {
				found = append(found, rec)
			}
			return nil
		})
		if err == nil && len(found) == n {
			return found
		}
		if time.Now().After(end) {
			e.t.Fatalf("%d records, want %d: %+v (%v)", len(found), n, found, err)
		}
	}
}

func TestStreamHasAnIntentRecordWhileItRuns(t *testing.T) {
	e := newEnv(t)
	end := make(chan struct{})
	e.serve("", stream(end))
	e.get("/quick")
	rest := e.streaming()
	intent := one(t, e.eventually(e.dir, 1, func(r record.Record) bool { return r.Kind == record.Intent }))
	if intent.Path != "/stream" || intent.Client != "127.0.0.1" || intent.ID == "" || intent.Method != "GET" {
		t.Errorf("the intent: %+v", intent)
	}
	close(end)
	rest()
	list := e.stop()
	if len(list) != 3 { // the quick one has an outcome only
		t.Fatalf("%d records: %+v", len(list), list)
	}
	if last := list[2]; last.Kind != record.Outcome || last.ID != intent.ID || last.Sent != 18 || last.End != "" {
		t.Errorf("the outcome: %+v", last)
	}
}

func TestTrailThatAReloadMovesStaysOpenForItsRequests(t *testing.T) {
	e := newEnv(t)
	end := make(chan struct{})
	first, second := e.dir, filepath.Join(e.home, "second")
	load := func(dir string) {
		t.Helper()
		if err := e.load(stream(end), fmt.Sprintf(`,"path":%q`, dir)); err != nil {
			t.Fatal(err)
		}
	}
	load(first)
	rest := e.streaming()
	load(second)
	time.Sleep(closeWait + time.Second) // as long as the end of a process would wait
	e.get("/second")
	load(first) // a trail that still drains is the same trail again
	e.get("/third")
	load(second)
	close(end)
	rest()
	e.closed() // by the end of its last request
	var paths []string
	for _, r := range e.read(first) {
		if r.Kind == record.Outcome {
			paths = append(paths, r.Path)
		}
	}
	if got := fmt.Sprint(paths); got != "[/third /stream]" {
		t.Errorf("the first trail has %v", got)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsThatRunWhenTheProcessEndsAreRecorded(t *testing.T) {
	for _, mode := range []trail.Sync{trail.Batch, trail.Always} {
		h := handlerOn(t, mode)
		s := h.trail.store
		begun, end, served := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		inner := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			reqctx.Identify(r, alice)
			w.WriteHeader(202)
			_, _ = w.Write(make([]byte, 50_000))
			close(begun)
			<-end
			return nil
		})
		go func() {
			defer func() {
				if recover() != nil {
					served <- http.ErrAbortHandler
				}
			}()
			served <- h.ServeHTTP(nowhere{make(http.Header)}, request(), inner)
		}()
		<-begun
		if err := s.Destruct(); err != nil { // it waits for the request
			t.Fatal(err)
		}
		if s.trail.Load() == nil {
			t.Fatal("the trail was closed under a request")
		}
		closeDraining()
		close(end)
		<-served
		e := &env{t: t, dir: h.Path}
		list := e.read(h.Path)
		last := list[len(list)-1]
		if last.Kind != record.Outcome || last.Status != 202 || last.End != record.EndAborted || last.User.ID != "alice" || last.Path != "/orders/4711" {
			t.Errorf("mode %v: %+v", mode, last)
		}
		for _, r := range list[:len(list)-1] {
			if r.Kind == record.Outcome {
				t.Errorf("mode %v: two outcomes: %+v", mode, list)
			}
		}
		// Nothing can be recorded any more.
		w := httptest.NewRecorder()
		_ = h.ServeHTTP(w, request(), caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return text("late")(w, r) }))
		if want := map[trail.Sync]int{trail.Batch: 200, trail.Always: 503}[mode]; w.Code != want {
			t.Errorf("mode %v: a request after the end: %d, want %d", mode, w.Code, want)
		}
	}
}
