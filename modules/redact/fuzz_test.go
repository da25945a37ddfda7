package redact

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// FuzzEventStream has two laws: how a stream is cut into pieces does not
// matter, and one in which no rule fires is not changed.
func FuzzEventStream(f *testing.F) {
	for _, s := range []string{
		"data: " + body + "\n\n",
		"data: {\"a\":1,\r\ndata: \"ssn\":2}\r\n\r\nid: 1\r\n\r\n",
		"\ufeffevent: x\rdata:[1,\rdata:2]\r\r: comment\r\r",
		"data\ndata\ndata: [DONE]\n\n\n\n", "data: {}", "\r\n\r\n\n\r", "data: {\"ssn\":1}",
		"data\ndata: {\"ssn\":1}\n\n", "id: {\"ssn\":1}\n: {\"a\"\nevent: [1\ndata: ping\n\n: x\n\n", "{\"ssn\":1}\nid: {\"a\":1}\n\n",
		"\ufeff: {\"ssn\":1}\r\ndata: /x?y=z\r\n\r\n",
	} {
		f.Add([]byte(s), uint16(3))
	}
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"138\"}}]}\r\n\r\n: x\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\r\rdata: [DONE]\n\n"), uint16(70))
	h := provision(f, "remove ssn\ndetect mobile email replace [x]\nmax_event 4KiB")
	run := func(in []byte, at int) (string, error, int) {
		var out bytes.Buffer
		s := newEventStream(&out, h.responses.strict.program.NewRewriter(nil), h, redaction.Caller{})
		err := s.write(in[:at])
		if err == nil {
			err = s.write(in[at:])
		}
		if err == nil {
			err = s.end()
		}
		return out.String(), err, s.count
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		whole, wholeErr, n := run(in, 0)
		if n == 0 && wholeErr == nil && whole != string(in) {
			t.Fatalf("%q became %q, though no rule fired", in, whole)
		}
		at := int(cut) % (len(in) + 1)
		split, splitErr, _ := run(in, at)
		if (wholeErr == nil) != (splitErr == nil) || wholeErr == nil && whole != split {
			t.Fatalf("%q: %q (%v), but split at %d: %q (%v)", in, whole, wholeErr, at, split, splitErr)
		}
		if wholeErr == nil {
			if again, err, n := run([]byte(whole), 0); err != nil || n > 0 || again != whole {
				t.Fatalf("%q became %q and then %q (%v)", in, whole, again, err)
			}
		}
	})
}

// FuzzAnswer sends anything under any label. Its laws: the handler neither
// hangs nor panics with anything but http.ErrAbortHandler; a response that is
// complete and is JSON has nothing in it that a rule removes; and how it was
// written does not matter.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(body), "application/json", "", uint16(5))
	f.Add([]byte(body+"}"), "text/html", "", uint16(5))
	f.Add([]byte(gz(body)), "", "gzip", uint16(9))
	f.Add([]byte("\x89PNG"), "image/png", "", uint16(1))
	f.Add([]byte("data: "+body+"\n\n"), "text/event-stream", "", uint16(8))
	f.Add([]byte(wide(body, 2)), "text/html; charset=utf-8", "identity", uint16(8))
	h := provision(f, "remove ssn\npass text/html")
	f.Fuzz(func(t *testing.T, in []byte, contentType, encoding string, cut uint16) {
		at := int(cut) % (len(in) + 1)
		run := func(pieces ...[]byte) (status int, out string) {
			defer func() {
				if p := recover(); p == http.ErrAbortHandler {
					status, out = -1, ""
				} else if p != nil {
					panic(p)
				}
			}()
			w, err := direct(t, h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Content-Type", contentType)
				if encoding != "" {
					w.Header().Set("Content-Encoding", encoding)
				}
				for _, p := range pieces {
					if _, err := w.Write(p); err != nil {
						return err
					}
				}
				return nil
			}))
			if err != nil {
				t.Fatalf("error %v", err)
			}
			return w.Code, w.Body.String()
		}
		status, whole := run(in)
		var doc any
		if status == 200 && json.Unmarshal([]byte(whole), &doc) == nil && names(doc, "ssn") {
			t.Fatalf("%q under %q and %q: %q", in, contentType, encoding, whole)
		}
		if s, split := run(in[:at], in[at:]); s != status || split != whole {
			t.Fatalf("%q under %q and %q: %d %q, but split at %d: %d %q", in, contentType, encoding, status, whole, at, s, split)
		}
	})
}

// names reports whether any object in v has a member with this name.
func names(v any, name string) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if k == name || names(e, name) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return names(e, name) })
	}
	return false
}

// fuzzForm holds the laws of the formats of requests: where the text is cut
// makes no difference, what no rule names is not touched, and no reader finds
// a field that was removed.
func fuzzForm(t *testing.T, open func(dst io.Writer) rewriter, text []byte, found func(text []byte) bool) {
	write := func(size int) (string, int, error) {
		var out bytes.Buffer
		w := open(&out)
		for p := text; len(p) > 0; {
			n := min(size, len(p))
			if _, err := w.Write(p[:n]); err != nil {
				return "", 0, err
			}
			p = p[n:]
		}
		err := w.Close()
		return out.String(), w.Count(), err
	}
	whole, n, err := write(len(text) + 1)
	if pieces, m, perr := write(1); (err == nil) != (perr == nil) || err == nil && (pieces != whole || n != m) {
		t.Fatalf("%q is %q (%v), byte by byte %q (%v)", text, whole, err, pieces, perr)
	}
	switch {
	case err != nil:
	case n == 0 && whole != string(text):
		t.Fatalf("%q became %q, though no rule applies", text, whole)
	case found([]byte(whole)):
		t.Fatalf("%q became %q, in which the field is", text, whole)
	}
}

func fuzzFields(t testing.TB) fields {
	v, err := provision(t, "requests {\n remove is_admin\n}").requests.of(nil)
	if err != nil {
		t.Fatal(err)
	}
	return fields{view: v, max: 100}
}

func FuzzForm(f *testing.F) {
	common := fuzzFields(f)
	for _, seed := range []string{"a=1&is_admin=2", "user[is_admin]=1&&b", "a=1;Is_Admin=1", "%69s+admin", `x={"is_admin":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzForm(t, func(dst io.Writer) rewriter { return &formRewriter{fields: common, dst: dst} }, text, func(text []byte) bool {
			values, _ := url.ParseQuery(string(text))
			for name := range values {
				if strings.EqualFold(name, "is_admin") {
					return true
				}
			}
			return false
		})
	})
}

func FuzzFormData(f *testing.F) {
	common := fuzzFields(f)
	for _, seed := range []string{
		part(`name="a"`, "1") + part(`name="is_admin"`, "1") + "--XX--\r\n", part(`name="f"; filename="is_admin"`, `{"is_admin":1}`) + "--XX--",
		"--XX \r\nContent-Disposition: form-data; name=x\r\n\r\n--XX--",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzForm(t, func(dst io.Writer) rewriter { return newFormData(formLabel, common, dst) }, text, func(text []byte) bool {
			r := multipart.NewReader(bytes.NewReader(text), "XX")
			for {
				p, err := r.NextPart()
				if err != nil {
					return false
				}
				if strings.EqualFold(p.FormName(), "is_admin") {
					return true
				}
			}
		})
	})
}

// FuzzPatch: no operation is left on a member that a rule removes.
func FuzzPatch(f *testing.F) {
	common := fuzzFields(f)
	for _, seed := range []string{
		`[{"op":"add","path":"/is_admin","value":1},{"op":"copy","from":"/a/0/-","path":"/~0~1"}]`,
		`[{"Op":"test","path":"#/Is%5fadmin","value":{"is_admin":[]}}]`, `[[],{}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzForm(t, func(dst io.Writer) rewriter { return &patchRewriter{fields: common, dst: dst, most: 1 << 20} }, text, func(text []byte) bool {
			var ops []struct{ Op, Path, From string }
			if json.Unmarshal(text, &ops) != nil {
				return false
			}
			for _, o := range ops {
				if strings.Contains(strings.ToLower(o.Path), "/is_admin") && o.Op != "" {
					return true
				}
			}
			return false
		})
	})
}
