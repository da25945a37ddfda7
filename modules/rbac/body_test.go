package rbac

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const transfers = `rbac {
	role clerk {
		allow POST /transfers when ` + "`body.amount <= 1000 && body.from.owner == user`" + `
		allow POST /files
	}
	anyone {
		deny POST /files when ` + "`body.secret`" + `
	}
	max_body 1KiB
}`

// post sends a body and returns the status and what the application read.
func post(t *testing.T, h *Handler, r *http.Request, size int64, body io.Reader) (int, string, error) {
	t.Helper()
	r.Body, r.ContentLength = io.NopCloser(body), size
	w := httptest.NewRecorder()
	var got []byte
	var failed error
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, new(caddyhttp.Server)))
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		got, failed = io.ReadAll(r.Body)
		if r.ContentLength != size {
			t.Errorf("Content-Length: got %d, want %d", r.ContentLength, size)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusOK {
		return w.Code, "", nil
	}
	return w.Code, string(got), failed
}

func TestConditionsReadTheBody(t *testing.T) {
	h := provision(t, transfers)
	small := `{"amount":1000, "from":{"owner":"bob"} }` + "\n"
	for _, tc := range []struct {
		kind, body string
		want       int
	}{
		{"application/json", small, 200},
		{"application/json; charset=UTF-8", small, 200},
		{"application/vnd.api+json", small, 200},
		{"application/json", strings.Replace(small, "1000", "1000.5", 1), 403},
		{"application/json", strings.Replace(small, "bob", "eve", 1), 403},
		{"application/json", `{"amount":1,"amount":5000,"from":{"owner":"bob"}}`, 403},
		{"application/json", `{"amount":1,"Amount":5000,"from":{"owner":"bob"}}`, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"},"from":{"owner":"eve"}}`, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"},"\u017fum":1,"sum":1}`, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"}} {}`, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"}},"x":{"amount":1}`, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"}`, 403},
		{"application/json", "\xef\xbb\xbf" + small, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"},"x":"` + "\xff" + `"}`, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"},"x":NaN}`, 403},
		{"application/json", `{"amount":"1","from":{"owner":"bob"}}`, 403},
		{"application/json", `{"amount":1,"from":{"owner":"bob"},"x":"` + strings.Repeat("x", 1024) + `"}`, 403},
		{"application/json", "", 403},
		{"application/json", "null", 403},
		{"application/json; charset=utf-16", small, 403},
		{"application/x-www-form-urlencoded", small, 403},
		{"text/plain", small, 403},
		{"", small, 403},
	} {
		for _, size := range []int64{int64(len(tc.body)), -1} {
			r := request("POST", "/transfers", user("clerk"))
			if tc.kind != "" {
				r.Header.Set("Content-Type", tc.kind)
			}
			// A byte at a time, as slow clients send it.
			got, body, err := post(t, h, r, size, iotest.OneByteReader(strings.NewReader(tc.body)))
			if got != tc.want || err != nil {
				t.Errorf("%s %s: got %d, %v, want %d", tc.kind, tc.body, got, err, tc.want)
			}
			if got == 200 && body != tc.body {
				t.Errorf("the application read %q of %q", body, tc.body)
			}
		}
	}
	r := request("POST", "/transfers", user("clerk"))
	r.Header["Content-Type"] = []string{"application/json", "text/plain"}
	if got, _, _ := post(t, h, r, -1, strings.NewReader(small)); got != 403 {
		t.Errorf("two types: got %d", got)
	}
	r = request("POST", "/transfers", user("clerk"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", "gzip")
	if got, _, _ := post(t, h, r, -1, strings.NewReader(small)); got != 403 {
		t.Errorf("compressed: got %d", got)
	}
}

func TestBodyThatCannotBeReadIsDeniedWhereARuleDeniesByIt(t *testing.T) {
	h := provision(t, transfers)
	for body, want := range map[string]int{
		`{"secret":false}`:               200,
		`{"secret":true}`:                403,
		`{"secret":false,"secret":true}`: 403,
		`{}`:                             403,
		`{"secret":false` + strings.Repeat(" ", 1024) + "}": 403,
	} {
		r := request("POST", "/files", user("clerk"))
		r.Header.Set("Content-Type", "application/json")
		if got, _, _ := post(t, h, r, -1, strings.NewReader(body)); got != want {
			t.Errorf("%s: got %d, want %d", body, got, want)
		}
	}
}

func TestLargeBodyOfAnnouncedSizeIsNotRead(t *testing.T) {
	h := provision(t, transfers)
	r := request("POST", "/transfers", user("clerk"))
	r.Header.Set("Content-Type", "application/json")
	if got, _, _ := post(t, h, r, 1025, iotest.ErrReader(errors.New("was read"))); got != 403 {
		t.Errorf("got %d", got)
	}
}

func TestBodyIsNotReadForWhomNoRuleReadsIt(t *testing.T) {
	h := provision(t, transfers)
	r := request("POST", "/transfers", nil)
	r.Header.Set("Content-Type", "application/json")
	unread := strings.NewReader(`{"amount":1,"from":{"owner":""}}`)
	if got, _, _ := post(t, h, r, -1, unread); got != 401 || unread.Len() != 32 {
		t.Errorf("got %d, and %d bytes are left", got, unread.Len())
	}
}

func TestBodyReachesTheUpstreamUnderDryRun(t *testing.T) {
	h := provision(t, strings.Replace(transfers, "max_body", "dry_run\nmax_body", 1))
	large := `{"x":"` + strings.Repeat("x", 5000) + `"}`
	r := request("POST", "/transfers", user("clerk"))
	r.Header.Set("Content-Type", "application/json")
	if got, body, err := post(t, h, r, -1, strings.NewReader(large)); got != 200 || body != large || err != nil {
		t.Errorf("got %d, %d bytes, %v", got, len(body), err)
	}
	// And so does the error in the middle of it.
	broken := errors.New("broken")
	r = request("POST", "/transfers", user("clerk"))
	r.Header.Set("Content-Type", "application/json")
	if _, body, err := post(t, h, r, -1, io.MultiReader(strings.NewReader(large[:10]), iotest.ErrReader(broken))); body != large[:10] || !errors.Is(err, broken) {
		t.Errorf("got %q, %v", body, err)
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, `1`, `[]`, `"x"`, `{"a":1,"A":2}`, `1,"a":2`, `{}}`, " {} "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		_, err := parseBody(text)
		if !bytes.Equal(before, text) {
			t.Error("the text was changed")
		}
		if err == nil && !validJSON(text) {
			t.Errorf("%q was taken for JSON", text)
		}
	})
}

func TestRecordsNameThePolicy(t *testing.T) {
	h := provision(t, shop)
	want := h.active.Load().digest
	for _, target := range []string{"/health", "/orders/1", "/a//b"} {
		r := request("GET", target, nil)
		serve(t, h, r)
		all := reqctx.Decisions(r).Decisions()
		if len(all) != 1 || all[0].Policy != want || !strings.HasPrefix(want, "sha256:") {
			t.Errorf("%s: got %+v, want policy %s", target, all, want)
		}
	}
}

func validJSON(text []byte) bool { return json.Valid(text) }
