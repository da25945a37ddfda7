package deliver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeLog is a log in memory whose first records may be removed.
type fakeLog struct {
	mu      sync.Mutex
	name    string
	removed int64
	lines   []string // of the records from removed on
}

func (l *fakeLog) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.lines = append(l.lines, fmt.Sprintf(`{"n":%d}`, l.removed+int64(len(l.lines))))
	}
}

func (l *fakeLog) remove(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = l.lines[n:]
	l.removed += n
}

func (l *fakeLog) Name() string { return l.name }

func (l *fakeLog) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.removed + int64(len(l.lines))
}

func (l *fakeLog) Read(_ context.Context, index int64, limit int, f func(Record) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index < l.removed {
		if err := f(Record{Index: index, Missing: l.removed - index}); err != nil {
			return err
		}
		index = l.removed
	}
	for i := index; i < l.removed+int64(len(l.lines)) && limit > 0; i++ {
		if err := f(Record{Index: i, Line: []byte(l.lines[i-l.removed])}); err != nil {
			return err
		}
		limit--
	}
	return nil
}

// fakeSink fails as often as it is told to and otherwise remembers.
type fakeSink struct {
	mu    sync.Mutex
	fail  int
	hang  bool
	got   []Record
	calls int
	news  chan struct{}
}

func (s *fakeSink) Send(ctx context.Context, _ string, batch []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.hang {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return ctx.Err()
	}
	if s.fail > 0 {
		s.fail--
		return errors.New("no")
	}
	s.got = append(s.got, batch...)
	select {
	case s.news <- struct{}{}:
	default:
	}
	return nil
}

func (s *fakeSink) Close() error { return nil }

// await waits until the sink has n records.
func (s *fakeSink) await(t *testing.T, n int) []Record {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		got := append([]Record(nil), s.got...)
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-s.news:
		case <-timeout:
			t.Fatalf("got %d records, want %d", len(got), n)
		}
	}
}

func quick(dir string) Options {
	return Options{
		Cursor: filepath.Join(dir, "cursor"), Batch: 7, Poll: time.Millisecond,
		Sleep: func(ctx context.Context, _ time.Duration) { sleep(ctx, time.Millisecond) },
	}
}

func TestRecordsArriveInOrderWhateverFails(t *testing.T) {
	log, sink := &fakeLog{name: "l"}, &fakeSink{fail: 5, news: make(chan struct{}, 1)}
	log.add(50)
	c, err := Start(log, sink, quick(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	sink.await(t, 50)
	log.add(3)
	for i, r := range sink.await(t, 53) {
		if r.Index != int64(i) || string(r.Line) != fmt.Sprintf(`{"n":%d}`, i) {
			t.Fatalf("record %d is %d %s", i, r.Index, r.Line)
		}
	}
}

func TestRestartGoesOnWhereTheSinkAcknowledged(t *testing.T) {
	dir := t.TempDir()
	log, sink := &fakeLog{name: "l"}, &fakeSink{news: make(chan struct{}, 1)}
	log.add(20)
	c, err := Start(log, sink, quick(dir))
	if err != nil {
		t.Fatal(err)
	}
	sink.await(t, 20)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	log.add(5)
	second := &fakeSink{news: make(chan struct{}, 1)}
	if c, err = Start(log, second, quick(dir)); err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	got := second.await(t, 5)
	// The last batch may come twice, but nothing may be missing.
	if got[0].Index > 20 || got[len(got)-1].Index != 24 {
		t.Fatalf("went on from %d to %d", got[0].Index, got[len(got)-1].Index)
	}
}

func TestHangingSinkCostsOnlyLag(t *testing.T) {
	log, sink := &fakeLog{name: "l"}, &fakeSink{hang: true, news: make(chan struct{}, 1)}
	log.add(10)
	c, err := Start(log, sink, quick(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	log.add(1000) // would block here if delivery held the log up
	if lag := c.Lag(); lag != 1010 {
		t.Errorf("lag is %d, want 1010", lag)
	}
	done := make(chan struct{})
	go func() { _ = c.Stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("a hanging sink keeps the worker from stopping")
	}
}

// deafSink goes on with an attempt whatever its context says.
type deafSink struct {
	fakeSink
	begun, release chan struct{}
}

func (s *deafSink) Send(ctx context.Context, log string, batch []Record) error {
	close(s.begun)
	<-s.release
	return s.fakeSink.Send(ctx, log, batch)
}

// TestSinkThatHeedsNothingIsLeftToItself: a file on a disk that hangs keeps no
// reload waiting, and what becomes of it does not disturb the next worker.
func TestSinkThatHeedsNothingIsLeftToItself(t *testing.T) {
	dir := t.TempDir()
	log := &fakeLog{name: "l"}
	log.add(5)
	deaf := &deafSink{begun: make(chan struct{}), release: make(chan struct{})}
	deaf.news = make(chan struct{}, 1)
	o := quick(dir)
	o.Grace = time.Millisecond
	old, err := Start(log, deaf, o)
	if err != nil {
		t.Fatal(err)
	}
	<-deaf.begun
	if err := old.Stop(); !errors.Is(err, ErrHangs) {
		t.Errorf("Stop: %v", err)
	}
	next := &fakeSink{news: make(chan struct{}, 1)}
	c, err := Start(log, next, quick(dir))
	if err != nil {
		t.Fatal(err)
	}
	log.add(5)
	if got := next.await(t, 10); got[0].Index != 0 {
		t.Errorf("the next worker begins at %d: what nobody acknowledged is lost", got[0].Index)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	close(deaf.release)
	<-old.done // it has sent its five records after all
	data, err := os.ReadFile(filepath.Join(dir, "cursor"))
	if err != nil || !strings.Contains(string(data), `"next":10`) {
		t.Errorf("the cursor is %s, %v", data, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestFailuresAreRepeatedLessAndLessOftenAndNotInStep looks at how long workers
// of a sink that is down wait.
func TestFailuresAreRepeatedLessAndLessOftenAndNotInStep(t *testing.T) {
	waits := func() (list []time.Duration) {
		log, sink := &fakeLog{name: "l"}, &fakeSink{fail: 12, news: make(chan struct{}, 1)}
		log.add(1)
		o := quick(t.TempDir())
		o.MinBackoff, o.MaxBackoff = time.Second, time.Minute
		var mu sync.Mutex
		o.Sleep = func(ctx context.Context, d time.Duration) {
			mu.Lock()
			list = append(list, d)
			mu.Unlock()
			sleep(ctx, time.Microsecond)
		}
		c, err := Start(log, sink, o)
		if err != nil {
			t.Fatal(err)
		}
		sink.await(t, 1)
		_ = c.Stop()
		return list[:12]
	}
	one, two := waits(), waits()
	for i, d := range one {
		full := min(time.Second<<i, time.Minute)
		if d < full/2 || d > full || two[i] < full/2 || two[i] > full {
			t.Errorf("after failure %d the workers wait %v and %v, want between %v and %v", i+1, d, two[i], full/2, full)
		}
	}
	if slices.Equal(one, two) {
		t.Error("two workers come back together")
	}
}

func TestGapIsReportedToTheSinkInItsPlace(t *testing.T) {
	dir := t.TempDir()
	log, sink := &fakeLog{name: "l"}, &fakeSink{news: make(chan struct{}, 1)}
	log.add(10)
	c, err := Start(log, sink, quick(dir))
	if err != nil {
		t.Fatal(err)
	}
	sink.await(t, 10)
	_ = c.Stop()
	log.add(20)
	log.remove(15) // 10…14 were never delivered
	var from, missing int64
	o := quick(dir)
	o.Observer.Gap = func(f, m int64) { from, missing = f, m }
	second := &fakeSink{news: make(chan struct{}, 1)}
	if c, err = Start(log, second, o); err != nil {
		t.Fatal(err)
	}
	got := second.await(t, 16)
	_ = c.Stop()
	if got[0].Missing != 5 || got[0].Index != 10 || !strings.Contains(string(got[0].Line), `"missing":5`) {
		t.Errorf("first delivered: %+v %s", got[0], got[0].Line)
	}
	if got[1].Index != 15 || from != 10 || missing != 5 {
		t.Errorf("then %d; observer saw a gap of %d at %d", got[1].Index, missing, from)
	}
}

func TestWhatWasRemovedBeforeTheFirstDeliveryIsNoGap(t *testing.T) {
	log, sink := &fakeLog{name: "l"}, &fakeSink{fail: 2, news: make(chan struct{}, 1)}
	log.add(10)
	log.remove(4)
	c, err := Start(log, sink, quick(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if got := sink.await(t, 6); got[0].Index != 4 || got[0].Missing != 0 {
		t.Errorf("first delivered: %+v", got[0])
	}
}

func TestReplacedLogIsDeliveredFromItsBeginning(t *testing.T) {
	dir := t.TempDir()
	log, sink := &fakeLog{name: "l"}, &fakeSink{news: make(chan struct{}, 1)}
	log.add(10)
	c, _ := Start(log, sink, quick(dir))
	sink.await(t, 10)
	_ = c.Stop()
	other, second := &fakeLog{name: "m"}, &fakeSink{news: make(chan struct{}, 1)}
	other.add(3)
	c, err := Start(other, second, quick(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if got := second.await(t, 3); got[0].Index != 0 {
		t.Errorf("began at %d", got[0].Index)
	}
}

func TestGarbledCursorIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cursor"), []byte("seven\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(&fakeLog{name: "l"}, &fakeSink{}, quick(dir)); err == nil {
		t.Fatal("accepted")
	}
}

func records(n int) (out []Record) {
	for i := range n {
		out = append(out, Record{Index: int64(i), Line: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	return out
}

func TestFileIsReopenedWhenRotatedAndATornLineEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "copy.jsonl")
	s := &File{Path: path}
	defer s.Close()
	ctx := context.Background()
	if err := s.Send(ctx, "l", records(2)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(ctx, "l", records(1)); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path + ".1")
	now, _ := os.ReadFile(path)
	if string(old) != "{\"n\":0}\n{\"n\":1}\n" || string(now) != "{\"torn\n{\"n\":0}\n" {
		t.Errorf("rotated %q, new %q", old, now)
	}
}

func TestOnlySuccessAcknowledgesAndRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("records went somewhere else")
	}))
	defer elsewhere.Close()
	status := 0
	var body, first, last string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, first, last = string(b), r.Header.Get("Moat-First"), r.Header.Get("Moat-Last")
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(status)
	}))
	defer srv.Close()
	s, err := NewHTTP(srv.URL+"/?key=hunter2", http.Header{"Authorization": {"Bearer x"}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for code, ok := range map[int]bool{200: true, 204: true, 302: false, 307: false, 400: false, 500: false, 503: false} {
		status = code
		if err := s.Send(context.Background(), "l", records(3)); (err == nil) != ok {
			t.Errorf("%d: %v", code, err)
		}
	}
	if body != "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n" || first != "0" || last != "2" {
		t.Errorf("body %q first %s last %s", body, first, last)
	}
	srv.Close()
	if err := s.Send(context.Background(), "l", records(1)); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error of a receiver that is gone: %v", err)
	}
}

func TestSyslogFramesByLength(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("tls=", secure), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := &Syslog{Address: ln.Addr().String(), Hostname: "h"}
			if secure {
				// httptest has a certificate at hand.
				h := httptest.NewUnstartedServer(nil)
				h.StartTLS()
				defer h.Close()
				ln = tls.NewListener(ln, &tls.Config{Certificates: h.TLS.Certificates})
				s.TLS = h.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				s.TLS.ServerName = "example.com"
			}
			defer ln.Close()
			got := make(chan string, 10)
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						r := bufio.NewReader(conn)
						for {
							n, err := r.ReadString(' ')
							if err != nil {
								return
							}
							size, err := strconv.Atoi(strings.TrimSpace(n))
							if err != nil {
								got <- "bad length " + n
								return
							}
							msg := make([]byte, size)
							if _, err := io.ReadFull(r, msg); err != nil {
								return
							}
							got <- string(msg)
							if bytes.Contains(msg, []byte(`{"n":1}`)) {
								conn.Close() // the next batch needs a new connection
								return
							}
						}
					}()
				}
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := s.Send(ctx, "a\"]b \x80", records(2)); err != nil {
				t.Fatal(err)
			}
			first, second := <-got, <-got
			if !strings.HasPrefix(first, "<110>1 ") || !strings.HasSuffix(first, ` h caddy-moat a"]b__ audit [origin software="caddy-moat"][meta sequenceId="1"] {"n":0}`) || !strings.HasSuffix(second, `[meta sequenceId="2"] {"n":1}`) {
				t.Errorf("messages %q %q", first, second)
			}
			// The receiver's end of the connection is seen sooner or
			// later; until then the worker would try again.
			for ctx.Err() == nil {
				if err := s.Send(ctx, "l", []Record{{Index: 7, Line: []byte(`{"n":7}`)}}); err != nil {
					continue
				}
				select {
				case m := <-got:
					if !strings.HasSuffix(m, `{"n":7}`) {
						t.Errorf("message %q", m)
					}
					_ = s.Close()
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
			t.Error("the connection was not renewed")
		})
	}
}
