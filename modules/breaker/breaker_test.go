package breaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/breaker"
)

// opened returns a breaker of its own, in a configuration of its own.
func opened(t testing.TB, options string) *Handler {
	t.Helper()
	h := new(Handler)
	name := strings.NewReplacer("/", "-").Replace(t.Name())
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("breaker " + name + " {\n" + options + "\n}")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := h.provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Cleanup() })
	return h
}

// send sends a request and returns its status and Retry-After.
func send(ctx context.Context, h *Handler, next caddyhttp.HandlerFunc) (status int, retryAfter string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := h.ServeHTTP(w, r, next)
	var he caddyhttp.HandlerError
	if errors.As(err, &he) {
		return he.StatusCode, ""
	}
	return w.Code, w.Header().Get("Retry-After")
}

func responds(status int) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(status)
		return nil
	}
}

func fails(status int) caddyhttp.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(status, errors.New("dial tcp: refused"))
	}
}

func TestFailuresOpenIt(t *testing.T) {
	for name, c := range map[string]struct {
		next caddyhttp.HandlerFunc
		open bool
	}{
		"500":         {responds(500), true},
		"503":         {responds(503), true},
		"502 of ours": {fails(502), true},
		"504 of ours": {fails(504), true},
		"501":         {responds(501), false},
		"404":         {responds(404), false},
		"429":         {responds(429), false},
		"413 of ours": {fails(413), false},
		"499":         {fails(499), false},
		"early hints": {func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusServiceUnavailable)
			return nil
		}, true},
		"upgrade": {responds(101), false},
	} {
		t.Run(name, func(t *testing.T) {
			h := opened(t, "volume 5")
			for range 5 {
				send(t.Context(), h, c.next)
			}
			status, retry := send(t.Context(), h, responds(200))
			if open := status == 503; open != c.open {
				t.Fatalf("%d", status)
			}
			if seconds, err := strconv.Atoi(retry); c.open && (err != nil || seconds < 4 || seconds > 6) {
				t.Errorf("Retry-After %q", retry)
			}
		})
	}
}

// TestBrokenContentOpensNothing holds that clients cannot take an upstream out of
// service by content that ends early or is garbled, which a proxy answers with 502.
func TestBrokenContentOpensNothing(t *testing.T) {
	h := opened(t, "volume 5")
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer upstream.Close()
	statuses := make(chan int, 1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		status := http.StatusOK
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			out, err := http.NewRequestWithContext(r.Context(), r.Method, upstream.URL, r.Body)
			if err != nil {
				return err
			}
			res, err := http.DefaultClient.Do(out)
			if err != nil {
				return caddyhttp.Error(http.StatusBadGateway, err)
			}
			return res.Body.Close()
		}))
		var he caddyhttp.HandlerError
		if errors.As(err, &he) {
			status = he.StatusCode
		}
		statuses <- status
	}))
	defer site.Close()
	for range 20 {
		conn, err := net.Dial("tcp", site.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		if status := <-statuses; status != http.StatusBadGateway {
			t.Fatalf("got %d", status)
		}
		_ = conn.Close()
	}
	if status, _ := send(t.Context(), h, responds(200)); status != 200 {
		t.Errorf("clients have opened it: %d", status)
	}
}

func TestClientsThatLeaveOpenNothing(t *testing.T) {
	h := opened(t, "volume 5")
	for range 20 {
		ctx, leave := context.WithCancel(t.Context())
		send(ctx, h, func(http.ResponseWriter, *http.Request) error {
			leave()
			return caddyhttp.Error(502, context.Canceled)
		})
	}
	if status, _ := send(t.Context(), h, responds(200)); status != 200 {
		t.Errorf("%d", status)
	}
}

func TestAPanicOfTheProxyIsAFailure(t *testing.T) {
	h := opened(t, "volume 1")
	func() {
		defer func() { _ = recover() }()
		send(t.Context(), h, func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
	}()
	if h.breaker.State() != breaker.Opened {
		t.Error("it is not open")
	}
}

// TestStreamsAreNotSlow holds that a response is judged when it begins.
func TestStreamsAreNotSlow(t *testing.T) {
	h := opened(t, "volume 1")
	send(t.Context(), h, func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = w.Write([]byte("data: 1\n\n"))
		call, wait, _ := h.breaker.Begin(time.Now())
		if wait > 0 {
			t.Error("it is open")
		}
		call.End(time.Now(), breaker.Failure, 0)
		return errors.New("the stream was cut, which is not counted once more")
	})
	if h.breaker.State() != breaker.Opened {
		t.Error("the failure beside the stream has not counted")
	}
}

func TestStateSurvivesAReload(t *testing.T) {
	h := opened(t, "volume 1")
	send(t.Context(), h, responds(500))
	again := opened(t, "volume 1\nopen 1s")
	if status, _ := send(t.Context(), again, responds(200)); status != 503 {
		t.Errorf("%d", status)
	}
}

func TestTwoOfOneNameAreRefused(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	first, second := &Handler{Name: "twice"}, &Handler{Name: "twice"}
	defer func() { _, _ = first.Cleanup(), second.Cleanup() }()
	if err := first.provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := second.provision(ctx); err == nil || !strings.Contains(err.Error(), "a second breaker is called twice") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []*Handler{{Name: "a b"}, {Volume: -1}, {Errors: 101}, {Window: 1}, {Open: caddy.Duration(time.Minute), MaxOpen: caddy.Duration(time.Second)}} {
		if err := bad.check(); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func BenchmarkBreaker(b *testing.B) {
	h := opened(b, "")
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	b.ReportAllocs()
	for b.Loop() {
		if err := h.ServeHTTP(w, r, responds(200)); err != nil {
			b.Fatal(fmt.Sprint(err))
		}
	}
}
