package redact

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/klauspost/compress/zstd"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
)

const (
	body   = `{"id": 1,  "ssn":"` + secret + `", "list":[ {"ssn":"` + secret + `","n":1.50} ]}`
	masked = `{"id": 1, "list":[ {"n":1.50} ]}`
)

func TestFieldsOfEveryCaller(t *testing.T) {
	h := provision(t, `
		remove ssn
		mask last4 card
		except role manager auditor {
			remove salary
		}
		only role partner {
			null margin
		}
	`)
	s := serve(t, h, raw(t, lengthed("Content-Type: application/json", `{"ssn":1,"card":"12345678","salary":10,"margin":5}`)))
	for _, c := range []struct{ caller, want string }{
		{"", `{"card":"****5678","margin":null}`},
		{"eve", `{"card":"****5678","margin":5}`},
		{"eve:clerk", `{"card":"****5678","margin":5}`},
		{"eve:manager", `{"card":"****5678","salary":10,"margin":5}`},
		{"eve:clerk,auditor", `{"card":"****5678","salary":10,"margin":5}`},
		{"eve:partner", `{"card":"****5678","margin":null}`},
		{"eve:partner,manager", `{"card":"****5678","salary":10,"margin":null}`},
	} {
		a := s.get(as(c.caller))
		a.is(t, 200, c.want)
		if got := a.header.Get("Cache-Control"); got != "private" {
			t.Errorf("%s: Cache-Control %q, want private", c.caller, got)
		}
		if got := a.header.Get("Vary"); got != "Authorization" {
			t.Errorf("%s: Vary %q, want Authorization", c.caller, got)
		}
		if got, want := a.header.Get("Content-Length"), fmt.Sprint(len(c.want)); got != want {
			t.Errorf("%s: Content-Length %s, want %s", c.caller, got, want)
		}
	}
}

func TestWhatWasRedactedIsNoted(t *testing.T) {
	h := provision(t, "remove ssn\nmask last4 card $..pan\nexcept role x {\n remove salary\n}")
	s := serve(t, h, answers(200, "application/json", `[{"ssn":1,"card":"12345678","salary":1},{"ssn":2}]`))
	s.get().is(t, 200, `[{"card":"****5678"},{}]`)
	n, rules := s.noted().Redacted()
	if got, want := fmt.Sprint(n, rules), "4 [remove ssn mask last4 card except role x: remove salary]"; got != want {
		t.Errorf("noted %s, want %s", got, want)
	}
	if d := s.noted().Decisions(); len(d) != 1 || d[0] != (decision.Decision{Layer: "redact", Result: decision.Allow}) {
		t.Errorf("decisions %v", d)
	}
	if count, _ := s.repl.Get("http.redact.count"); count != 4 {
		t.Errorf("{http.redact.count} = %v, want 4", count)
	}
}

func TestOneRedactInsideAnother(t *testing.T) {
	inner := provision(t, "remove ssn")
	next := answers(200, "application/json", `[{"ssn":1,"card":"12345678"},{"ssn":2}]`)
	s := serve(t, provision(t, "mask last4 card"), caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return inner.ServeHTTP(w, r, next)
	}))
	s.get().is(t, 200, `[{"card":"****5678"},{}]`)
	if count, _ := s.repl.Get("http.redact.count"); count != 3 {
		t.Errorf("{http.redact.count} = %v, want 3", count)
	}
}

func TestBytesThatNoRuleNamesAreNotTouched(t *testing.T) {
	const odd = " { \"a\" : 1e400 , \"b\":[ ],\"z\":12345678901234567890,\"\\u0061\":\"\\/é\\u00e9\" ,\"a\":-0.0}\n"
	s := serve(t, provision(t, "remove ssn"), answers(200, "application/json", odd))
	s.get().is(t, 200, odd)
}

func TestSpellingsThatHideAMember(t *testing.T) {
	for in, want := range map[string]string{
		`{"s\u0073n":"` + secret + `"}`:                   `{}`,
		`{"\u0073\u0073\u006E" : "` + secret + `","a":1}`: `{"a":1}`,
		`{"ssn":1,"a":2,"ssn":"` + secret + `"}`:          `{"a":2}`,
		"{\"ssn\"\n\t:\r\n\"" + secret + "\"}":            `{}`,
		`{"ssn":{"deep":["` + secret + `"]}}`:             `{}`,
	} {
		s := serve(t, provision(t, "remove ssn"), answers(200, "application/json", in))
		s.get().is(t, 200, want)
	}
}

// TestUnreadableBodiesAreRefused has what an upstream could send to slip
// something past the rules.
func TestUnreadableBodiesAreRefused(t *testing.T) {
	for name, header := range map[string][2]string{
		"broken early":            {"Content-Type: application/json", `{"a":,"ssn":"` + secret + `"}`},
		"broken late":             {"Content-Type: application/json", body + "}"},
		"truncated":               {"Content-Type: application/json", body[:len(body)-1]},
		"two byte order marks":    {"Content-Type: application/json", "\ufeff\ufeff" + body},
		"UTF-16":                  {"Content-Type: application/json", wide(body, 2)},
		"UTF-16 without label":    {"X: y", wide(body, 2)},
		"UTF-32 without label":    {"X: y", wide(body, 4)},
		"invalid UTF-8":           {"Content-Type: application/json", "{\"a\":\"\xff\",\"ssn\":\"" + secret + "\"}"},
		"lone surrogate in name":  {"Content-Type: application/json", `{"a\ud800":"","ssn":"` + secret + `"}`},
		"NaN":                     {"Content-Type: application/json", `{"a":NaN,"ssn":"` + secret + `"}`},
		"comments":                {"Content-Type: application/json", `{/* */"ssn":"` + secret + `"}`},
		"single quotes":           {"Content-Type: application/json", `{'ssn':'` + secret + `'}`},
		"prefix against scripts":  {"Content-Type: application/json", ")]}',\n" + body},
		"too deep":                {"Content-Type: application/json", strings.Repeat("[", 600) + strings.Repeat("]", 600)},
		"charset UTF-16":          {"Content-Type: application/json; charset=utf-16", body},
		"charset latin 1":         {"Content-Type: application/json; charset=iso-8859-1", "{\"ssn\":\"" + secret + "\",\"n\":\"\xfc\"}"},
		"charset UTF-7":           {"Content-Type: application/json; charset=utf-7", body},
		"charset EBCDIC":          {"Content-Type: application/json; charset=cp037", body},
		"charset with shifts":     {"Content-Type: application/json; charset=iso-2022-jp", body},
		"XML":                     {"Content-Type: application/xml", "<a><ssn>" + secret + "</ssn></a>"},
		"SOAP":                    {"Content-Type: application/soap+xml", "<a><ssn>" + secret + "</ssn></a>"},
		"SVG":                     {"Content-Type: image/svg+xml", "<svg>" + secret + "</svg>"},
		"CSV":                     {"Content-Type: text/csv", "ssn\n" + secret + "\n"},
		"HTML":                    {"Content-Type: text/html", "<p>" + secret},
		"form":                    {"Content-Type: application/x-www-form-urlencoded", "ssn=" + secret},
		"multipart":               {"Content-Type: multipart/form-data; boundary=b", "--b\r\n\r\n" + secret + "\r\n--b--"},
		"YAML":                    {"Content-Type: application/yaml", "ssn: " + secret},
		"JSONP":                   {"Content-Type: text/javascript", "cb(" + body + ")"},
		"plain text":              {"Content-Type: text/plain", "ssn " + secret},
		"MessagePack":             {"Content-Type: application/msgpack", "\x81\xa3ssn\xa6" + secret},
		"octets":                  {"Content-Type: application/octet-stream", "\x81\xa3ssn\xa6" + secret},
		"no label":                {"X: y", "ssn=" + secret},
		"two labels":              {"Content-Type: image/png\nContent-Type: text/csv", "ssn=" + secret},
		"malformed label":         {"Content-Type: ;;;", "ssn=" + secret},
		"text labelled as image":  {"Content-Type: image/png", "ssn=" + secret},
		"unknown coding":          {"Content-Type: application/json\nContent-Encoding: rot13", `"ssn` + secret},
		"unknown coding, text":    {"Content-Type: text/csv\nContent-Encoding: rot13", secret},
		"unknown coding, image":   {"Content-Type: image/png\nContent-Encoding: rot13", secret},
		"gzip within gzip":        {"Content-Type: application/json\nContent-Encoding: gzip", gz(gz(body))},
		"base64 of MIME":          {"Content-Type: application/json\nContent-Transfer-Encoding: base64", secret},
		"stacked codings":         {"Content-Type: application/json\nContent-Encoding: gzip, gzip", gz(gz(body))},
		"stacked codings, lines":  {"Content-Type: application/json\nContent-Encoding: gzip\nContent-Encoding: br", gz(body)},
		"deflate":                 {"Content-Type: application/json\nContent-Encoding: deflate", body},
		"coding that is a lie":    {"Content-Type: application/json\nContent-Encoding: gzip", body},
		"truncated gzip":          {"Content-Type: application/json\nContent-Encoding: gzip", gz(body)[:40]},
		"data behind gzip":        {"Content-Type: application/json\nContent-Encoding: gzip", gz(body) + body},
		"data behind brotli":      {"Content-Type: application/json\nContent-Encoding: br", br(body) + body},
		"broken JSON within gzip": {"Content-Type: application/json\nContent-Encoding: gzip", gz(body + "]")},
		"broken JSON in a line":   {"Content-Type: application/x-ndjson", body + "\n{\"ssn\":\"" + secret + "\n"},
		"JSON labelled as text":   {"Content-Type: text/plain", body + "}"},
		"broken event":            {"Content-Type: text/event-stream", "data: {\"ssn\":\"" + secret + "\"\n\n"},
		"JSON in no event field":  {"Content-Type: text/event-stream", "{\n\"ssn\": \"" + secret + "\"\n}\n\n"},
		"text in an event":        {"Content-Type: text/event-stream", "data: ssn " + secret + "\n\n"},
	} {
		for _, framing := range []func(string, string) string{lengthed, func(h, b string) string { return chunked(h, b) }} {
			t.Run(name, func(t *testing.T) {
				fields := header[0] + "\nETag: \"1\"\nSet-Cookie: a=b\nDigest: x\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT"
				h := provision(t, "remove ssn")
				h.flushDelay = time.Minute // whatever else the machine does meanwhile
				s := serve(t, h, raw(t, framing(fields, header[1])))
				a := s.get()
				if strings.Contains(name, "event") || strings.Contains(name, "line") || strings.Contains(name, "comment") {
					// Events and lines leave at once: nothing is held of a
					// stream that the upstream flushes.
					if leaked(a.body) || a.err == nil && a.status == 200 {
						t.Fatalf("got %d %q (%v)", a.status, a.body, a.err)
					}
					return
				}
				a.refused(t, 502, "unreadable_response")
				if code := s.noted().Code(); code != "unreadable_response" {
					t.Errorf("noted %q", code)
				}
			})
		}
	}
}

// wide is UTF-16 or UTF-32, little endian, of ASCII.
func wide(s string, n int) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(s[i])
		b.WriteString("\x00\x00\x00"[:n-1])
	}
	return b.String()
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func zlibbed(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func deflated(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func br(s string) string {
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func zst(s string) string {
	var b bytes.Buffer
	w, _ := zstd.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func TestReadableBodiesAreRedactedWhateverTheirLabel(t *testing.T) {
	for name, c := range map[string]struct{ header, body, want string }{
		"JSON":                {"Content-Type: application/json", body, masked},
		"with charset":        {"Content-Type: application/json;  Charset=\"UTF-8\"", body, masked},
		"upper case":          {"Content-Type: APPLICATION/JSON", body, masked},
		"text/json":           {"Content-Type: text/json", body, masked},
		"+json":               {"Content-Type: application/vnd.api+json; v=1", body, masked},
		"problem":             {"Content-Type: application/problem+json", body, masked},
		"no label":            {"X: y", body, masked},
		"empty label":         {"Content-Type: ", body, masked},
		"as text":             {"Content-Type: text/plain; charset=utf-8", body, masked},
		"as HTML":             {"Content-Type: text/html", "\n\t " + body, "\n\t " + masked},
		"as image":            {"Content-Type: image/png", body, masked},
		"as octets":           {"Content-Type: application/octet-stream", body, masked},
		"two labels":          {"Content-Type: text/html\nContent-Type: image/png", body, masked},
		"malformed label":     {"Content-Type: ;;;", body, masked},
		"lines":               {"Content-Type: application/x-ndjson", body + "\n" + body + "\n", masked + "\n" + masked + "\n"},
		"JSON Lines":          {"Content-Type: application/jsonl", body + "\n" + body, masked + "\n" + masked},
		"RFC 7464":            {"Content-Type: application/json-seq", "\x1e" + body + "\n\x1e" + body + "\n", "\x1e" + masked + "\n\x1e" + masked + "\n"},
		"gzip":                {"Content-Type: application/json\nContent-Encoding: gzip", gz(body), masked},
		"x-gzip":              {"Content-Type: application/json\nContent-Encoding: X-GZIP", gz(body), masked},
		"deflate":             {"Content-Type: application/json\nContent-Encoding: Deflate", zlibbed(body), masked},
		"deflate, bare":       {"Content-Type: application/json\nContent-Encoding: deflate", deflated(body), masked},
		"byte order mark":     {"Content-Type: application/json", "\ufeff" + body, "\ufeff" + masked},
		"mark, as text":       {"Content-Type: text/plain", "\ufeff" + body, "\ufeff" + masked},
		"lone surrogate":      {"Content-Type: application/json", `{"a":"\ud800","ssn":1}`, `{"a":"\ud800"}`},
		"coding UTF-8":        {"Content-Type: application/json\nContent-Encoding: UTF-8", body, masked},
		"unknown coding":      {"Content-Type: application/json\nContent-Encoding: rot13", body, masked},
		"known and unknown":   {"Content-Type: application/json\nContent-Encoding: gzip\nContent-Encoding: x", body, masked},
		"stacked, yet plain":  {"Content-Type: text/plain\nContent-Encoding: gzip, gzip", body, masked},
		"lines, unknown":      {"Content-Type: application/x-ndjson\nContent-Encoding: x", body + "\n" + body, masked + "\n" + masked},
		"events, none":        {"Content-Type: text/event-stream\nContent-Encoding: none", "data: {\"ssn\":1}\n\n", "data: {}\n\n"},
		"events, unknown":     {"Content-Type: text/event-stream\nContent-Encoding: x", ": hi\n\ndata: {\"ssn\":1}\n\n", ": hi\n\ndata: {}\n\n"},
		"base64 of MIME":      {"Content-Type: application/json\nContent-Transfer-Encoding: base64", body, masked},
		"latin 1":             {"Content-Type: application/json; charset=ISO-8859-1", body, masked},
		"GBK, as text":        {"Content-Type: text/plain; charset=gbk", body, masked},
		"brotli":              {"Content-Type: application/json\nContent-Encoding: br", br(body), masked},
		"zstd":                {"Content-Type: application/json\nContent-Encoding: zstd", zst(body), masked},
		"identity":            {"Content-Type: application/json\nContent-Encoding: identity", body, masked},
		"two members of gzip": {"Content-Type: application/json\nContent-Encoding: gzip", gz(body[:9]) + gz(body[9:]), masked},
		"gzip as image":       {"Content-Type: image/png\nContent-Encoding: gzip", gz(body), masked},
		"scalar":              {"Content-Type: application/json", "12", "12"},
		"empty array":         {"Content-Type: application/json", "[]", "[]"},
	} {
		for framing, f := range map[string]func(string, string) string{"length": lengthed, "chunks": func(h, b string) string { return chunked(h, b) }} {
			t.Run(name+" by "+framing, func(t *testing.T) {
				fields := "\nETag: \"1\"\nDigest: x\nContent-Digest: x\nRepr-Digest: x\nContent-MD5: x\nAccept-Ranges: bytes\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT"
				s := serve(t, provision(t, "remove ssn"), raw(t, f(c.header+fields, c.body)))
				a := s.get()
				a.is(t, 200, c.want)
				for _, name := range []string{"ETag", "Digest", "Content-Digest", "Repr-Digest", "Content-MD5", "Accept-Ranges", "Last-Modified", "Vary", "Cache-Control"} {
					if v := a.header.Get(name); v != "" {
						t.Errorf("%s: %q", name, v)
					}
				}
				if v := a.header.Get("Content-Encoding"); v != "" && v != "identity" && v != "UTF-8" && v != "none" {
					t.Errorf("Content-Encoding: %q", v)
				}
			})
		}
	}
}

// TestDetectionLooksIntoEveryDataLine: what is recognised by its form is found
// in documents, lines and events alike, also in JSON within strings and where an
// event's data goes over several lines.
func TestDetectionLooksIntoEveryDataLine(t *testing.T) {
	h := provision(t, "detect pan id_card mobile email jwt api_key replace [x]")
	const doc = `{"a":"card 4111 1111 1111 1111, id 51343620000320711X","b":["{\"t\":\"13812345678\"}"],"c":"to a.b@example.com","n":4111111111111112,"k":"AKIAIOSFODNN7EXAMPLE"}`
	const want = `{"a":"card [x], id [x]","b":["{\"t\":\"[x]\"}"],"c":"to [x]","n":4111111111111112,"k":"[x]"}`
	for _, c := range []struct{ label, body, want string }{
		{"application/json", doc, want},
		{"application/x-ndjson", doc + "\n" + doc + "\n", want + "\n" + want + "\n"},
		{"text/event-stream", "id: 1\ndata: " + doc + "\n\ndata: " + doc + "\n\n", "id: 1\ndata: " + want + "\n\ndata: " + want + "\n\n"},
		{"text/event-stream", "data: {\"a\":\ndata: \"13812345678\"}\n\n", "data: {\"a\":\ndata: \"[x]\"}\n\n"},
	} {
		serve(t, h, raw(t, chunked("Content-Type: "+c.label, c.body))).get().is(t, 200, c.want)
	}
}

func TestMediaAndListedTypesPass(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	h := provision(t, "remove ssn\npass text/html font/* application/pdf\nexcept role a {\n remove b\n}")
	for _, c := range []struct{ header, body string }{
		{"Content-Type: image/png", png},
		{"Content-Type: image/png\nContent-Encoding: gzip", gz(png)},
		{"Content-Type: application/wasm", "\x00asm\x01"},
		{"Content-Type: text/html; charset=utf-8", "<p>hello"},
		{"Content-Type: Text/HTML; charset=latin1", "<p>hello \xff"},
		{"Content-Type: text/html", strings.Repeat("<p>long</p>", 10000)},
		{"Content-Type: application/pdf", "%PDF" + strings.Repeat("\x00 ", 50000)},
		{"Content-Type: font/woff", "text"},
	} {
		a := serve(t, h, raw(t, lengthed(c.header+"\nETag: \"1\"\nCache-Control: public", c.body))).get()
		want := c.body
		if strings.Contains(c.header, "gzip") {
			want = png
		} else if a.header.Get("ETag") != `"1"` || a.header.Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("%s: the header is not what it was: %v", c.header, a.header)
		}
		a.is(t, 200, want)
		if a.header.Get("Cache-Control") != "public" {
			t.Errorf("%s: Cache-Control %q, though it is the same for everyone", c.header, a.header.Get("Cache-Control"))
		}
	}
}

func TestUnreadablePassLetsOnlyPassWhatIsNoJSON(t *testing.T) {
	h := provision(t, "remove ssn\nunreadable pass")
	for _, c := range []struct {
		header, body string
		want         string
	}{
		{"Content-Type: text/csv", "a,b\n", "a,b\n"},
		{"X: y", "hello", "hello"},
		{"Content-Type: text/csv\nContent-Encoding: rot13", "abc", ""},
		{"Content-Type: text/csv\nContent-Encoding: none", "abc", "abc"},
		{"Content-Type: text/csv\nContent-Encoding: utf-8, binary", "abc", "abc"},
		{"Content-Type: text/csv\nContent-Encoding: gzip, utf-8", gz("abc"), ""},
		{"Content-Type: text/csv\nContent-Transfer-Encoding: base64", "YWJj", ""},
		{"Content-Type: text/csv\nContent-Transfer-Encoding: Binary", "abc", "abc"},
		{"Content-Type: application/json\nContent-Encoding: UTF-8", body, masked},
		{"Content-Type: application/json\nContent-Encoding: compress", "\x1f\x9d" + body, ""},
		{"Content-Type: text/event-stream\nContent-Encoding: rot13", "qngn: hello\n\n", ""},
		{"Content-Type: text/plain; charset=utf-7", "+AHsAIg-ssn+ACI-:1+AH0-", ""},
		{"Content-Type: text/plain; charset=x-of-our-own", "abc", ""},
		{"Content-Type: text/plain; charset=windows-1252", "abc \xe9", "abc \xe9"},
		{"Content-Type: text/plain", "event: x\ndata: " + strings.ReplaceAll(body, "\n", "") + "\n\n", "event: x\ndata: " + masked + "\n\n"},
		{"Content-Type: text/event-stream", "data: hello\n\n", "data: hello\n\n"},
		{"Content-Type: text/csv", body, masked},
		{"Content-Type: application/json", body + "}", ""},
		{"Content-Type: text/csv", body + "}", ""},
		{"Content-Type: text/plain", wide(body, 2), ""},
		{"Content-Type: application/json; charset=utf-16", body, ""},
	} {
		a := serve(t, h, raw(t, lengthed(c.header, c.body))).get()
		if c.want != "" {
			a.is(t, 200, c.want)
		} else {
			a.refused(t, 502, "unreadable_response")
		}
	}
}

func TestRequestsAskForTheWholePlainAnswer(t *testing.T) {
	got := make(chan *http.Request, 1)
	next := proxy(t, upstream(t, func(c net.Conn, r *http.Request) {
		got <- r
		_, _ = io.WriteString(c, lengthed("Content-Type: application/json", "{}"))
	}))
	s := serve(t, provision(t, "except role manager {\n remove ssn\n}"), next)
	ask := func(r *http.Request) {
		for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "A-IM"} {
			r.Header.Set(name, "x")
		}
		r.Header.Set("Accept-Encoding", "zstd, br, gzip")
	}
	s.get(ask).is(t, 200, "{}")
	r := <-got
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "A-Im"} {
		if v := r.Header.Get(name); v != "" {
			t.Errorf("%s reached the upstream: %q", name, v)
		}
	}
	if v := r.Header["Accept-Encoding"]; len(v) != 1 || v[0] != "identity" {
		t.Errorf("Accept-Encoding %q, want identity", v)
	}
	// A caller who may see everything may ask for anything.
	s.get(ask, as("m:manager")).is(t, 200, "{}")
	if r := <-got; r.Header.Get("Range") != "x" || r.Header.Get("Accept-Encoding") != "zstd, br, gzip" {
		t.Errorf("the request of a caller that no rule concerns was changed: %v", r.Header)
	}
}

func TestParts(t *testing.T) {
	part := func(header, body string) string {
		return headed("206 Partial Content", fmt.Sprintf("%s\nContent-Range: bytes 0-%d/99999\nContent-Length: %d", header, len(body)-1, len(body)), body)
	}
	h := provision(t, "remove ssn")
	for _, header := range []string{
		"Content-Type: application/json", "Content-Type: text/plain", "X: y",
		"Content-Type: multipart/byteranges; boundary=b", "Content-Type: text/event-stream",
	} {
		serve(t, h, raw(t, part(header, body))).get().refused(t, 502, "unreadable_response")
		if strings.Contains(header, "text/plain") {
			continue
		}
		serve(t, provision(t, "remove ssn\nunreadable pass"), raw(t, part(header, body))).get().refused(t, 502, "unreadable_response")
	}
	serve(t, h, raw(t, part("Content-Type: video/mp4", "\x00\x00"))).get().is(t, 206, "\x00\x00")
}

func TestAnswersWithoutBody(t *testing.T) {
	h := provision(t, "remove ssn\nexcept role x {\n remove b\n}")
	for _, status := range []string{"204 No Content", "304 Not Modified", "205 Reset Content"} {
		s := serve(t, h, raw(t, headed(status, "Content-Type: application/json\nETag: \"1\"\nX-Kept: 1", "")))
		a := s.get()
		a.is(t, a.status, "")
		if fmt.Sprint(a.status) != status[:3] || a.header.Get("ETag") != "" || a.header.Get("X-Kept") != "1" {
			t.Errorf("%s: got %d %v", status, a.status, a.header)
		}
	}
	head := func(r *http.Request) { r.Method = http.MethodHead }
	a := serve(t, h, raw(t, headed("200 OK", "Content-Type: application/json\nETag: \"1\"\nContent-Length: 123", ""))).get(head)
	if a.status != 200 || a.header.Get("Content-Length") != "" || a.header.Get("ETag") != "" || a.header.Get("Cache-Control") != "private" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	// Handlers that write a body to a HEAD request, as `respond` does.
	serve(t, h, answers(200, "application/json", body)).get(head).is(t, 200, "")
	serve(t, h, raw(t, lengthed("Content-Type: application/json", ""))).get().is(t, 200, "")
	serve(t, h, raw(t, chunked("Content-Type: text/csv"))).get().is(t, 200, "")
	serve(t, h, raw(t, lengthed("Content-Type: application/json\nContent-Encoding: gzip", ""))).get().is(t, 200, "")
}
