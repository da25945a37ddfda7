package redact

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const deferred = `Content-Type: multipart/mixed; boundary="-"; deferSpec=20220824`

func jsonPart(body string) string { return "Content-Type: application/json\r\n\r\n" + body }

func TestPartsOfMixedResponsesAreRedacted(t *testing.T) {
	h := provision(t, "remove ssn\nmask mobile $..phone\npass text/html multipart/mixed")
	for in, want := range map[string]string{
		"\r\n---\r\n" + jsonPart(body) + "\r\n---\r\n" + jsonPart(`{"incremental":[{"data":{"phone":"13812345678"}}],"hasNext":false}`) + "\r\n-----\r\n": "\r\n---\r\n" + jsonPart(masked) + "\r\n---\r\n" + jsonPart(`{"incremental":[{"data":{"phone":"138****5678"}}],"hasNext":false}`) + "\r\n-----\r\n",
		"---\r\n" + jsonPart(body) + "\r\n-----":                                                  "---\r\n" + jsonPart(masked) + "\r\n-----",
		"---\r\n\r\n" + body + "\r\n-----":                                                        "---\r\n\r\n" + masked + "\r\n-----",
		"---\r\nContent-Type: text/html\r\n\r\n<p>\r\n-----":                                      "---\r\nContent-Type: text/html\r\n\r\n<p>\r\n-----",
		"---\r\nContent-Type: text/html\r\n\r\n" + body + "\r\n-----":                             "---\r\nContent-Type: text/html\r\n\r\n" + masked + "\r\n-----",
		"---\r\nContent-Length: 99\r\nContent-Type: application/json\r\n\r\n{\"ssn\":1}\r\n-----": "---\r\nContent-Type: application/json\r\n\r\n{}\r\n-----",
		"---\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n\x89PNG\r\n--\x00\r\n-----":   "---\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n\x89PNG\r\n--\x00\r\n-----",
		"---\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"ssn\":1}\r\n---\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n-----": "---\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}\r\n---\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n-----",
		"---\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + jsonPart(body) + "\r\n--b--\r\n---\r\n" + jsonPart(body) + "\r\n-----":                                                                                                                             "---\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + jsonPart(masked) + "\r\n--b--\r\n---\r\n" + jsonPart(masked) + "\r\n-----",
	} {
		serve(t, h, raw(t, lengthed(deferred, in))).get().is(t, 200, want)
		serve(t, h, raw(t, chunked(deferred, strings.Split(in, "")...))).get().is(t, 200, want)
		s := serve(t, h, raw(t, chunked(deferred, in)))
		s.get().is(t, 200, want)
		if n, rules := s.noted().Redacted(); (in == want) != (n == 0) || (n == 0) != (len(rules) == 0) {
			t.Errorf("%q: noted %d %q", in, n, rules)
		}
	}
}

func TestMixedResponsesThatAreNotCertainAreRefused(t *testing.T) {
	h := provision(t, "remove ssn\npass multipart/mixed text/html\nunreadable pass")
	one := "---\r\n" + jsonPart(`{"ssn":"`+secret+`"}`) + "\r\n"
	for _, c := range [][2]string{
		{deferred, one},
		{deferred, one + "---x\r\n" + secret + "\r\n-----"},
		{deferred, one + "-----\r\n{\"ssn\":\"" + secret + "\"}"},
		{deferred, "{\"ssn\":\"" + secret + "\"}\r\n" + one + "-----"},
		{deferred, "hello\r\n" + one + "-----"},
		{deferred, strings.ReplaceAll(one, "\r\n", "\n") + "-----"},
		{deferred, "---\r\n" + jsonPart(`{"ssn":"`+secret) + "\r\n-----"},
		{deferred, "---\r\nContent-Encoding: gzip\r\n" + jsonPart(gz(secret)) + "\r\n-----"},
		{deferred, "---\r\nContent-Transfer-Encoding: base64\r\n" + jsonPart(secret) + "\r\n-----"},
		{deferred, "---\r\nContent-Type: application/http\r\n\r\n{\"ssn\":\"" + secret + "\"}\r\n\r\n-----"},
		{"Content-Type: multipart/mixed", one + "-----"},
		{"Content-Type: multipart/mixed; boundary=\"-\"; Xboundary=b", one + "-----"},
	} {
		serve(t, h, raw(t, lengthed(c[0], c[1]))).get().refused(t, 502, "unreadable_response")
	}
	h = provision(t, "remove ssn")
	serve(t, h, raw(t, lengthed(deferred, "---\r\nContent-Type: text/html\r\n\r\n"+secret+"\r\n-----"))).get().refused(t, 502, "unreadable_response")
}

// A client of @defer acts on a part once its delimiter is there.
func TestPartsLeaveAtOnce(t *testing.T) {
	more := make(chan bool)
	next := proxy(t, upstream(t, func(c net.Conn, _ *http.Request) {
		write := func(s string) { _, _ = io.WriteString(c, chunk(s)) }
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+strings.ReplaceAll(deferred, "\n", "\r\n")+"\r\nTransfer-Encoding: chunked\r\n\r\n")
		write("\r\n---\r\n" + jsonPart(`{"ssn":1,"a":2}`) + "\r\n---")
		<-more
		write("\r\n" + jsonPart(`{"ssn":1}`) + "\r\n-----\r\n")
		_, _ = io.WriteString(c, "0\r\n\r\n")
	}))
	s := serve(t, provision(t, "remove ssn"), next)
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	want := "\r\n---\r\n" + jsonPart(`{"a":2}`) + "\r\n---"
	got := make([]byte, len(want))
	timer := time.AfterFunc(time.Minute, func() { res.Body.Close() })
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
	timer.Stop()
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "\r\n"+jsonPart(`{}`)+"\r\n-----\r\n" {
		t.Errorf("got %q (%v)", rest, err)
	}
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

func envelope(flags byte, text string) string {
	b := binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text)))
	return string(b) + text
}

func TestEnvelopesOfConnectAreRedacted(t *testing.T) {
	h := provision(t, "remove ssn\nrequests {\n remove is_admin\n}")
	header := "Content-Type: application/connect+json\nConnect-Content-Encoding: gzip"
	in := envelope(0, body) + envelope(1, gz(body)) + envelope(0, "") + envelope(2, `{"error":{"ssn":1}}`)
	want := envelope(0, masked) + envelope(0, masked) + envelope(0, "") + envelope(2, `{"error":{}}`)
	serve(t, h, raw(t, lengthed(header, in))).get().is(t, 200, want)
	serve(t, h, raw(t, chunked(header, strings.Split(in, "")...))).get().is(t, 200, want)
	for _, bad := range []string{
		in[:len(in)-1], envelope(0, body+"}"), envelope(4, body), envelope(0, body+"\n"+body), envelope(1, body), "\x00\xff\xff\xff\xff" + body,
	} {
		if a := serve(t, h, raw(t, lengthed(header, bad))).get(); a.err == nil && a.status == 200 || leaked(a.body) {
			t.Errorf("%q: got %d %q", bad, a.status, a.body)
		}
	}
	next, got := echoes(t)
	s := serve(t, h, next)
	connect := post("application/connect+json", envelope(0, `{"Is_Admin":1}`)+envelope(1, zst(`{"a":1,"is_admin":1}`)), with("Connect-Content-Encoding", "zstd"), with("Connect-Accept-Encoding", "gzip"))
	s.get(connect).is(t, 200, "{}")
	if e := <-got; e.body != envelope(0, `{}`)+envelope(0, `{"a":1}`) || e.header.Get("Connect-Accept-Encoding") != "" {
		t.Errorf("the upstream got %q %v", e.body, e.header)
	}
	s.get(post("application/connect+json", envelope(0, "x"))).refused(t, 400, "invalid_request_body")
}
