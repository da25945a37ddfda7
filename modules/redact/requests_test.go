package redact

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// echo is an upstream that tells what it got.
type echo struct {
	header http.Header
	length int64
	body   string
	err    error
}

func echoes(t testing.TB) (caddyhttp.Handler, chan echo) {
	got := make(chan echo, 10)
	return proxy(t, upstream(t, func(c net.Conn, r *http.Request) {
		if r.Header.Get("Expect") != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		b, err := io.ReadAll(r.Body)
		got <- echo{r.Header, r.ContentLength, string(b), err}
		if err == nil {
			_, _ = io.WriteString(c, lengthed("Content-Type: application/json", "{}"))
		}
	})), got
}

func post(contentType, body string, change ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = http.MethodPost
		r.Body = io.NopCloser(strings.NewReader(body))
		r.ContentLength = int64(len(body))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		for _, f := range change {
			f(r)
		}
	}
}

func TestRequestBodiesAreRedacted(t *testing.T) {
	next, got := echoes(t)
	h := provision(t, "requests {\n remove ssn\n except role admin {\n remove admin\n }\n pass image/* text/plain\n}")
	s := serve(t, h, next)
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	long := "[" + strings.Repeat(`{"ssn":"`+secret+`","a":"123456789"},`, 10000) + "0]"
	for name, c := range map[string]struct {
		ask  func(*http.Request)
		want string
	}{
		"length":      {post("application/json", body), masked},
		"chunks":      {post("application/json", body, chunked), masked},
		"no label":    {post("", body), masked},
		"as text":     {post("text/plain", body), masked},
		"lines":       {post("application/x-ndjson", body+"\n"+body), masked + "\n" + masked},
		"gzip":        {post("application/json", gz(body), with("Content-Encoding", "gzip")), masked},
		"br":          {post("application/json", br(body), with("Content-Encoding", "br")), masked},
		"deflate":     {post("application/json", deflated(body), with("Content-Encoding", "deflate")), masked},
		"zlib":        {post("application/json", zlibbed(body), with("Content-Encoding", "DEFLATE, identity")), masked},
		"latin 1":     {post("application/json; charset=iso-8859-1", body), masked},
		"mark":        {post("application/json", "\ufeff"+body), "\ufeff" + masked},
		"two members": {post("application/json", gz(body[:20])+gz(body[20:]), with("Content-Encoding", "x-gzip")), masked},
		"zstd":        {post("application/json", zst(body), with("Content-Encoding", "zstd")), masked},
		"digests":     {post("application/json", body, with("Content-Digest", "x"), with("Content-MD5", "x")), masked},
		"long":        {post("application/json", long), strings.ReplaceAll(long, `"ssn":"`+secret+`",`, "")},
		"long chunks": {post("application/json", long, chunked), strings.ReplaceAll(long, `"ssn":"`+secret+`",`, "")},
		"passes":      {post("image/png", "\x89PNG"), "\x89PNG"},
		"passes, too": {post("text/plain", "hello"), "hello"},
		"empty":       {post("application/json", ""), ""},
		"empty chunk": {post("application/json", "", chunked), ""},
		"admin":       {post("application/json", `{"admin":true}`, as("a:admin")), `{"admin":true}`},
		"user":        {post("application/json", `{"admin":true}`, as("a:user")), `{}`},
		"expect":      {post("application/json", body, with("Expect", "100-continue")), masked},
	} {
		t.Run(name, func(t *testing.T) {
			s.get(c.ask).is(t, 200, "{}")
			e := <-got
			if e.err != nil || e.body != c.want {
				t.Fatalf("the upstream got %.200q (%v), want %.200q", e.body, e.err, c.want)
			}
			if e.length >= 0 && e.length != int64(len(c.want)) {
				t.Errorf("Content-Length %d, want %d", e.length, len(c.want))
			}
			for _, name := range []string{"Content-Encoding", "Content-Digest", "Content-Md5"} {
				if v := e.header.Get(name); v != "" {
					t.Errorf("%s: %q", name, v)
				}
			}
		})
	}
	if n, rules := s.noted().Redacted(); n == 0 && len(rules) > 0 {
		t.Errorf("noted %d %q", n, rules)
	}
}

func TestBadRequestBodiesDoNotReachTheUpstream(t *testing.T) {
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		t.Error("the upstream was asked")
		return nil
	})
	s := serve(t, provision(t, "requests {\n remove ssn\n}"), next)
	for name, c := range map[string]struct {
		ask    func(*http.Request)
		status int
		code   string
	}{
		"broken":          {post("application/json", body+"}"), 400, "invalid_request_body"},
		"truncated":       {post("application/json", body[:20]), 400, "invalid_request_body"},
		"not a gzip":      {post("application/json", body, with("Content-Encoding", "gzip")), 400, "invalid_request_body"},
		"UTF-16":          {post("text/plain", wide(body, 2)), 415, "unsupported_request_body"},
		"charset":         {post("application/json; charset=utf-16", body), 415, "unsupported_request_body"},
		"XML":             {post("application/xml", "<a/>"), 415, "unsupported_request_body"},
		"no label":        {post("", "hello"), 415, "unsupported_request_body"},
		"unknown coding":  {post("application/json", body, with("Content-Encoding", "rot13")), 415, "unsupported_request_body"},
		"stacked codings": {post("application/json", gz(gz(body)), with("Content-Encoding", "gzip, gzip")), 415, "unsupported_request_body"},
		"no coding":       {post("application/json", body, with("Content-Encoding", "utf-8")), 415, "unsupported_request_body"},
		"no coding, list": {post("application/json", gz(body), with("Content-Encoding", "gzip, none")), 415, "unsupported_request_body"},
		"coding of MIME":  {post("application/json", body, with("Content-Transfer-Encoding", "base64")), 415, "unsupported_request_body"},
		"gzip in gzip":    {post("application/json", gz(gz(body)), with("Content-Encoding", "gzip")), 400, "invalid_request_body"},
		"more members":    {post("application/json", gz(body)+gz(body), with("Content-Encoding", "gzip")), 400, "invalid_request_body"},
		"beyond ASCII":    {post("application/json; charset=latin1", "{\"n\":\"\xc3\xbc\"}"), 415, "unsupported_request_body"},
		"UTF-7":           {post("application/json; charset=utf-7", body), 415, "unsupported_request_body"},
		"events":          {post("text/event-stream", "data: {}\n\n"), 415, "unsupported_request_body"},
	} {
		t.Run(name, func(t *testing.T) { s.get(c.ask).refused(t, c.status, c.code) })
	}
}

// TestLateFaultInRequestIsRefused: the upstream sees a request that breaks
// off, and the client is told why.
func TestLateFaultInRequestIsRefused(t *testing.T) {
	long := "[" + strings.Repeat(`{"ssn":"`+secret+`","a":"123456789"},`, 20000) + "}"
	got := make(chan echo, 10)
	next := proxy(t, upstream(t, func(_ net.Conn, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		got <- echo{body: string(b), err: err}
	}))
	s := serve(t, provision(t, "requests {\n remove ssn\n}"), next)
	s.get(post("application/json", long)).refused(t, 400, "invalid_request_body")
	if e := <-got; e.err == nil || strings.Contains(e.body, secret) {
		t.Errorf("the upstream got %d bytes that look complete", len(e.body))
	}
}

// What passes by `unreadable pass` does so on no word of the client.
func TestCodingsOfRequestsNeverTurnRulesOff(t *testing.T) {
	s := serve(t, provision(t, "unreadable pass\nrequests {\n remove ssn\n pass text/plain\n}"), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		t.Error("the upstream was asked")
		return nil
	}))
	for _, coding := range []string{"utf-8", "none", "binary", "aws-chunked", "rot13", "gzip, gzip", "gzip;q=1", "compress", "utf-8, identity"} {
		for _, label := range []string{"application/json", "text/plain", "image/png"} {
			s.get(post(label, body, with("Content-Encoding", coding))).refused(t, 415, "unsupported_request_body")
		}
	}
}

func TestTooLargeRequestStaysTooLarge(t *testing.T) {
	h := provision(t, "requests {\n remove ssn\n}")
	_, err := direct(t, h, nil, func(r *http.Request) {
		r.Method, r.ContentLength = http.MethodPost, -1
		r.Body = io.NopCloser(failingReader{caddyhttp.Error(413, errors.New("too large"))})
	})
	var he caddyhttp.HandlerError
	if !errors.As(err, &he) || he.StatusCode != 413 {
		t.Errorf("got %v, want HTTP 413", err)
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestRequestsOfCallersThatNoRuleConcernsAreUntouched(t *testing.T) {
	next, got := echoes(t)
	s := serve(t, provision(t, "requests {\n except role admin {\n remove ssn\n }\n}"), next)
	s.get(post("application/json", body+"}", as("a:admin"))).is(t, 200, "{}")
	if e := <-got; e.body != body+"}" {
		t.Errorf("got %q", e.body)
	}
}
