package redact

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Many services send texts one after the other and call them one document.
func TestSeveralTextsUnderADocumentLabelAreEachRedacted(t *testing.T) {
	h := provision(t, "remove $.ssn\nremove $..ssn")
	labels := []string{
		"application/json", "application/json; charset=utf-8", "application/json;stream=watch", "application/vnd.api+json",
		"text/plain", "application/octet-stream", "X",
	}
	for _, label := range labels {
		header := "Content-Type: " + label
		if label == "X" {
			header = "X: y" // none
		}
		for in, want := range map[string]string{
			body + "\n" + body + "\n":             masked + "\n" + masked + "\n",
			body + "\r\n\r\n\r\n" + body:          masked + "\r\n\r\n\r\n" + masked,
			"\n\n" + body + "\n\n\n" + body + " ": "\n\n" + masked + "\n\n\n" + masked + " ",
			"[1]\n2\nnull\n" + body:               "[1]\n2\nnull\n" + masked,
		} {
			serve(t, h, raw(t, lengthed(header, in))).get().is(t, 200, want)
			serve(t, h, raw(t, chunked(header, in))).get().is(t, 200, want)
			serve(t, h, raw(t, chunked(header, strings.Split(in, "")...))).get().is(t, 200, want)
		}
		// Without a line break between they are a stream, and no document of
		// known length.
		serve(t, h, raw(t, chunked(header, body+body))).get().is(t, 200, masked+masked)
		serve(t, h, raw(t, lengthed(header, body+body))).get().refused(t, 502, "unreadable_response")
		serve(t, h, raw(t, lengthed(header, body+" "+body))).get().refused(t, 502, "unreadable_response")
		// What follows a text is never passed unread.
		for _, tail := range []string{"}", "x", "\n{\"ssn\":\"" + secret, "\n<ssn>" + secret, "\n" + secret, "\x00", ",\n{}"} {
			serve(t, h, raw(t, chunked(header, body+tail))).get().refused(t, 502, "unreadable_response")
			serve(t, h, raw(t, lengthed(header, body+tail))).get().refused(t, 502, "unreadable_response")
		}
	}
	for _, space := range []string{" ", "\n\n"} {
		serve(t, h, raw(t, lengthed("Content-Type: application/json", space))).get().refused(t, 502, "unreadable_response")
	}
}

func TestTextsLeaveAtOnceUnderADocumentLabel(t *testing.T) {
	for name, heartbeat := range map[string]string{"": "", " after heartbeats": "\r\n"} {
		t.Run("texts"+name, func(t *testing.T) {
			gate := make(chan bool)
			s := serve(t, provision(t, "remove ssn"), proxy(t, upstream(t, func(c net.Conn, _ *http.Request) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
				if heartbeat != "" {
					_, _ = io.WriteString(chunks{c}, heartbeat)
				}
				for range gate {
					_, _ = io.WriteString(chunks{c}, body+"\n")
				}
				_, _ = io.WriteString(c, "0\r\n\r\n")
			})))
			if heartbeat == "" {
				go func() { gate <- true }()
			}
			res, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			buf := make([]byte, len(heartbeat))
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != heartbeat {
				t.Fatalf("heartbeat %q (%v)", buf, err)
			}
			for i := range 4 {
				if i > 0 || heartbeat != "" {
					gate <- true
				}
				// The next text does not come before this one has been read.
				held := time.AfterFunc(time.Minute, func() { res.Body.Close() })
				buf := make([]byte, len(masked)+1)
				if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != masked+"\n" {
					t.Fatalf("text %d: %q (%v)", i, buf, err)
				}
				held.Stop()
			}
			close(gate)
			if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
				t.Errorf("then %q (%v)", rest, err)
			}
		})
	}
}

func TestNamesOfLineFormats(t *testing.T) {
	for _, name := range []string{
		"application/x-ndjson", "application/ndjson", "text/x-ndjson", "application/jsonl", "application/x-jsonl", "text/jsonl",
		"application/jsonlines", "application/x-jsonlines", "application/json-lines", "application/x-ldjson", "application/ldjson",
		"application/json-seq", "application/geo+json-seq", "application/stream+json", "application/x-json-stream",
		"application/fhir+ndjson", "application/vnd.elasticsearch+x-ndjson", "application/vnd.x+jsonl", "application/vnd.x+x-jsonl",
		"application/vnd.x+jsonlines", "application/vnd.x+x-ldjson",
	} {
		for _, params := range []string{"", "; compatible-with=8", "; charset=utf-8"} {
			if l := readLabel(http.Header{"Content-Type": {strings.ToUpper(name) + params}}, nil); l.kind != sequence {
				t.Errorf("%s%s is read as %d", name, params, l.kind)
			}
		}
	}
	for _, name := range []string{"application/jsonlines+json", "application/ld+json", "application/vnd.docker.raw-stream+json"} {
		if l := readLabel(http.Header{"Content-Type": {name}}, nil); l.kind != document {
			t.Errorf("%s is read as %d", name, l.kind)
		}
	}
	for _, name := range []string{"application/jsonpath", "text/ndjson-ish", "application/x-json5"} {
		if l := readLabel(http.Header{"Content-Type": {name}}, nil); l.kind != opaque {
			t.Errorf("%s is read as %d", name, l.kind)
		}
	}
}

func TestRequestsOfSeveralTexts(t *testing.T) {
	next, got := echoes(t)
	s := serve(t, provision(t, "requests {\n remove ssn\n}"), next)
	bulk := "{\"index\":{\"_index\":\"a\"}}\n" + body + "\n"
	want := "{\"index\":{\"_index\":\"a\"}}\n" + masked + "\n"
	streamed := func(r *http.Request) { r.ContentLength = -1 }
	for _, label := range []string{
		"application/vnd.elasticsearch+x-ndjson; compatible-with=8", "application/json", "application/x-ndjson", "application/octet-stream",
	} {
		for _, ask := range []func(*http.Request){post(label, bulk), post(label, bulk, streamed)} {
			if a := s.get(ask); a.status != 200 {
				t.Fatalf("%s: %d %q", label, a.status, a.body)
			}
			if e := <-got; e.body != want {
				t.Errorf("%s: the upstream got %q", label, e.body)
			}
		}
	}
	s.get(post("application/json", body+body)).refused(t, 400, "invalid_request_body")
	s.get(post("application/json", " \n")).refused(t, 400, "invalid_request_body")
	s.get(post("application/json", body+"\n{\"ssn\":")).refused(t, 400, "invalid_request_body")
}
