package redact

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// secret stands in every body that has to be redacted; leaked looks for it.
const secret = "S3CR3T"

func leaked(b []byte) bool { return strings.Contains(string(b), secret) }

// parse reads a handler from a Caddyfile block.
func parse(block string) (*Handler, error) {
	h := new(Handler)
	err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(block))
	return h, err
}

// newContext is that of a configuration with nothing in it but a storage.
func newContext(t testing.TB) caddy.Context {
	t.Helper()
	dir, err := json.Marshal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		StorageRaw: json.RawMessage(`{"module":"file_system","root":` + string(dir) + `}`),
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// provision makes a working handler of a block without its braces.
func provision(t testing.TB, options string) *Handler {
	t.Helper()
	h, _ := provisionIn(t, options)
	return h
}

// provisionIn is provision that tells the context.
func provisionIn(t testing.TB, options string) (*Handler, caddy.Context) {
	t.Helper()
	h, err := parse("redact {\n" + options + "\n}")
	if err != nil {
		t.Fatal(err)
	}
	ctx := newContext(t)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return h, ctx
}

// site is a server with redact in front of something.
type site struct {
	*httptest.Server
	t    testing.TB
	mu   sync.Mutex
	log  *decision.Log
	repl *caddy.Replacer
	err  error
}

// noted returns what the last request left in the decision log.
func (s *site) noted() *decision.Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log
}

// serve starts a server. The header field Test-Caller, such as "alice:clerk,manager",
// makes the caller.
func serve(t testing.TB, h *Handler, next caddyhttp.Handler, wrap ...func(caddyhttp.MiddlewareHandler) caddyhttp.Handler) *site {
	t.Helper()
	s := &site{t: t}
	server := &caddyhttp.Server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repl := caddy.NewReplacer()
		r = caddyhttp.PrepareRequest(r, repl, w, server)
		log := reqctx.Decisions(r)
		if c := r.Header.Get("Test-Caller"); c != "" {
			id, roles, _ := strings.Cut(c, ":")
			p := &principal.Principal{ID: id, Kind: principal.KindJWT}
			if roles != "" {
				p.Roles = strings.Split(roles, ",")
			}
			reqctx.Identify(r, p)
		}
		defer func() {
			s.mu.Lock()
			s.log, s.repl = log, repl
			s.mu.Unlock()
		}()
		err := h.ServeHTTP(w, r, next)
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		var he caddyhttp.HandlerError
		if errors.As(err, &he) {
			http.Error(w, http.StatusText(he.StatusCode), he.StatusCode)
		} else if err != nil {
			http.Error(w, "error", http.StatusInternalServerError)
		}
	}))
	s.Server.Config.ErrorLog = nil
	s.Server.EnableHTTP2 = true
	s.Server.StartTLS()
	s.Server.Client().Transport.(*http.Transport).DisableCompression = true
	t.Cleanup(s.Server.Close)
	return s
}

// proxy is a reverse_proxy to an address.
func proxy(t testing.TB, address string) caddyhttp.Handler {
	t.Helper()
	ctx := newContext(t)
	rp := new(reverseproxy.Handler)
	if err := json.Unmarshal([]byte(fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, address)), rp); err != nil {
		t.Fatal(err)
	}
	if err := rp.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rp.Cleanup() })
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return rp.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	})
}

// upstream is a server of raw bytes: f gets every request and the connection.
func upstream(t testing.TB, f func(c net.Conn, r *http.Request)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				br := bufio.NewReader(c)
				r, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				f(c, r)
			})
		}
	})
	return l.Addr().String()
}

// raw is an upstream that answers every request with the same bytes.
func raw(t testing.TB, answer string) caddyhttp.Handler {
	t.Helper()
	return proxy(t, upstream(t, func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, answer) }))
}

// answers is a handler that responds without any network.
func answers(status int, contentType, body string) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, err := io.WriteString(w, body)
		return err
	})
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body: it is not complete
	code   string
}

// get asks the site.
func (s *site) get(change ...func(*http.Request)) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.URL+"/x", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	a.body, a.err = io.ReadAll(res.Body)
	var doc struct {
		Code string `json:"code"`
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(a.body, &doc) == nil {
		a.code = doc.Code
	}
	return a
}

func as(caller string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Test-Caller", caller) }
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// refused fails the test unless a is a clean rejection.
func (a answer) refused(t testing.TB, status int, code string) {
	t.Helper()
	if a.err != nil || a.status != status || a.code != code || leaked(a.body) {
		t.Fatalf("got %d %q %q (%v), want %d %q", a.status, a.code, a.body, a.err, status, code)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	for _, name := range []string{"Etag", "Set-Cookie", "Content-Encoding", "Last-Modified", "Digest"} {
		if a.header.Get(name) != "" {
			t.Errorf("%s of the upstream is in the refusal: %q", name, a.header.Get(name))
		}
	}
}

// is fails the test unless a is complete and has this body.
func (a answer) is(t testing.TB, status int, body string) {
	t.Helper()
	if a.err != nil || a.status != status || string(a.body) != body {
		t.Fatalf("got %d %q (%v), want %d %q", a.status, a.body, a.err, status, body)
	}
}

// headed makes a raw response.
func headed(status string, header string, body string) string {
	return "HTTP/1.1 " + status + "\r\n" + strings.ReplaceAll(header, "\n", "\r\n") + "\r\nConnection: close\r\n\r\n" + body
}

func lengthed(header, body string) string {
	return headed("200 OK", fmt.Sprintf("%s\nContent-Length: %d", header, len(body)), body)
}

func chunked(header string, chunks ...string) string {
	var b strings.Builder
	for _, c := range chunks {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
	}
	return headed("200 OK", header+"\nTransfer-Encoding: chunked", b.String()+"0\r\n\r\n")
}

// direct calls the handler without a network.
func direct(t testing.TB, h *Handler, next caddyhttp.Handler, change ...func(*http.Request)) (*httptest.ResponseRecorder, error) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	for _, f := range change {
		f(r)
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := h.ServeHTTP(w, r, next)
	return w, err
}
