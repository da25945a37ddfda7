package redact

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// versioned answers like an application that knows conditions: its document
// has the tag "v1".
func versioned(saw *http.Header) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		*saw = r.Header.Clone()
		w.Header().Set("ETag", `"v1"`)
		switch r.Method {
		case http.MethodPut:
			if m := r.Header.Get("If-Match"); m != "" && m != `"v1"` && m != "*" {
				w.WriteHeader(http.StatusPreconditionFailed)
				return nil
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		default:
			if strings.Contains(r.Header.Get("If-None-Match"), `"v1"`) {
				w.WriteHeader(http.StatusNotModified)
				return nil
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_, err := io.WriteString(w, body)
		return err
	})
}

func TestSealedEntityTagsWorkAndTellNothing(t *testing.T) {
	var saw http.Header
	h := provision(t, "etag seal\nremove ssn\nexcept role manager {\n remove salary\n}\nonly role x {\n encrypt id\n}")
	s := serve(t, h, versioned(&saw))
	first := s.get(as("a:clerk"))
	first.is(t, 200, masked)
	tag := first.header.Get("ETag")
	if len(tag) < 20 || strings.Contains(tag, "v1") || strings.HasPrefix(tag, "W/") {
		t.Fatalf("ETag %q", tag)
	}
	if again := s.get(as("b:clerk")).header.Get("ETag"); again != tag {
		t.Errorf("another tag for the same view: %q, %q", tag, again)
	}
	other := s.get(as("m:manager")).header.Get("ETag")
	if other == tag {
		t.Error("the same tag for another view")
	}
	if weak := s.get(as("m:x")).header.Get("ETag"); !strings.HasPrefix(weak, "W/") {
		t.Errorf("a strong tag of what is encrypted each time anew: %q", weak)
	}
	for _, c := range []struct {
		condition string
		status    int
	}{
		{tag, 304}, {"W/" + tag, 304}, {`"x", ` + tag, 304}, {other, 200}, {`"v1"`, 200}, {"*", 200}, {`""`, 200}, {tag[:len(tag)-2] + `x"`, 200},
	} {
		a := s.get(as("a:clerk"), with("If-None-Match", c.condition))
		if a.status != c.status || a.header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %d with %q, want %d; the upstream saw %q", c.condition, a.status, a.header.Get("ETag"), c.status, saw["If-None-Match"])
		}
	}
	put := func(r *http.Request) { r.Method = http.MethodPut }
	for condition, status := range map[string]int{tag: 204, "*": 204, `"v1"`: 412, other: 412, "": 204} {
		a := s.get(as("a:clerk"), put, func(r *http.Request) {
			if condition != "" {
				r.Header.Set("If-Match", condition)
			}
		})
		if a.status != status {
			t.Errorf("If-Match %s: %d, want %d; the upstream saw %q", condition, a.status, status, saw["If-Match"])
		}
	}
}

func TestDroppedEntityTags(t *testing.T) {
	var saw http.Header
	s := serve(t, provision(t, "remove ssn"), versioned(&saw))
	a := s.get(with("If-None-Match", `"v1"`), with("If-Match", `"v1"`))
	a.is(t, 200, masked)
	if a.header.Get("ETag") != "" || saw.Get("If-None-Match") != "" || saw.Get("If-Match") != "" {
		t.Errorf("ETag %q; the upstream saw %v", a.header.Get("ETag"), saw)
	}
	// A write with the tag of another channel is the upstream's to judge.
	if a := s.get(func(r *http.Request) { r.Method = http.MethodPut }, with("If-Match", `"v0"`)); a.status != 412 {
		t.Errorf("If-Match of another version: %d", a.status)
	}
}

func TestTagCipherOpensOnlyWhatItSealed(t *testing.T) {
	c, err := newTagCipher(make([]byte, keyLen), []byte("view"), false)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := newTagCipher(make([]byte, keyLen), []byte("other"), false)
	for _, tag := range []string{`"a"`, `W/"a"`, `"` + strings.Repeat("x", 500) + `"`, "no-quotes"} {
		shown := c.seal(tag)
		if got, ok := c.open(shown); !ok || got != tag {
			t.Errorf("%s: sealed %s, opened %q %v", tag, shown, got, ok)
		}
		if _, ok := other.open(shown); ok {
			t.Errorf("%s opens for another view", tag)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(strings.Trim(strings.TrimPrefix(shown, "W/"), `"`))
		for i := range raw {
			raw[i] ^= 1
			if got, ok := c.open(fmt.Sprintf("%q", base64.RawURLEncoding.EncodeToString(raw))); ok {
				t.Fatalf("%s opens as %q with byte %d changed", tag, got, i)
			}
			raw[i] ^= 1
		}
	}
	if got := c.seal(`"` + strings.Repeat("x", 600) + `"`); got != "" {
		t.Errorf("a long tag: %q", got)
	}
}
