package redact

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const urlencoded = "application/x-www-form-urlencoded"

// sent posts body as a handler with these options in requests gets it, and
// returns what the upstream gets.
func sent(t *testing.T, s *site, got chan echo, contentType, body string, change ...func(*http.Request)) string {
	t.Helper()
	s.get(post(contentType, body, change...)).is(t, 200, "{}")
	e := <-got
	if e.length >= 0 && e.length != int64(len(e.body)) {
		t.Errorf("Content-Length %d of %d bytes", e.length, len(e.body))
	}
	return e.body
}

func requestSite(t *testing.T, options string) (*site, chan echo) {
	next, got := echoes(t)
	return serve(t, provision(t, "requests {\n"+options+"\n}"), next), got
}

func TestRulesApplyToTheFieldsOfForms(t *testing.T) {
	s, got := requestSite(t, "remove is_admin $.user.role $.items[*].price\nmask mobile phone\nnull note\nreplace x color")
	for in, want := range map[string]string{
		"is_admin=1":                         "",
		"a=1&is_admin=1&b=%20+2":             "a=1&b=%20+2",
		"IS_ADMIN=1&a":                       "a",
		"is%5Fadmin=1&a=":                    "a=",
		"i%C5%BF_admin=1&a=1":                "a=1",
		"%69s_admin=1&a=1":                   "a=1",
		"user[is_admin]=1&a=1":               "a=1",
		"user%5Bis_admin%5D=1&a=1":           "a=1",
		"user.is_admin=1&a=1":                "a=1",
		"users[][Is_Admin]=1&a=1":            "a=1",
		"users[0].is_admin=1&a=1":            "a=1",
		"is.admin=1&is+admin=1&is[admin=1":   "",
		"+is_admin=1&is_admin+=1":            "",
		"is_admin[]=1&is_admin[x]=1":         "",
		"is_admin:int=1":                     "",
		"!is_admin=1":                        "",
		"user[role]=x&role=y":                "role=y",
		"items[3][price]=1&items[3][n]=2":    "items[3][n]=2",
		"%2569s_admin=1":                     "",
		"%u0069s_admin=1":                    "",
		"phone=13812345678&x=13812345678":    "phone=138****5678&x=13812345678",
		"note=hello&color=red+one":           "note=&color=x",
		"a=1&&b=2&":                          "a=1&&b=2&",
		"&":                                  "&",
		"a=%zz&b=%":                          "a=%zz&b=%",
		"a=1;b=2":                            "a=1;b=2",
		`payload={"is_admin":1,"a":2}`:       "payload=%7B%22a%22%3A2%7D",
		`user={"role":1,"x":2}&role=y`:       "user=%7B%22x%22%3A2%7D&role=y",
		`payload={"user":{"role":1}}`:        "payload=%7B%22user%22%3A%7B%7D%7D",
		"payload=%7B%22a%22:2%7D":            "payload=%7B%22a%22:2%7D",
		"isadmins=1&admin=2&is_admin_since=": "isadmins=1&admin=2&is_admin_since=",
		"file=" + strings.Repeat("x", 100_000) + "&is_admin=1&b=2": "file=" + strings.Repeat("x", 100_000) + "&b=2",
		"is_admin=" + strings.Repeat("x", 100_000) + "&b=2":        "b=2",
	} {
		if e := sent(t, s, got, urlencoded, in); e != want {
			t.Errorf("%.100s: the upstream got %.100q, want %.100q", in, e, want)
		}
		chunked := func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(iotest.OneByteReader(strings.NewReader(in)))
		}
		if e := sent(t, s, got, urlencoded+"; charset=utf-8", in, chunked); e != want {
			t.Errorf("%.100s byte by byte: the upstream got %.100q, want %.100q", in, e, want)
		}
	}
}

// What `curl -d` sends is labelled as a form, and is read as what it is.
func TestJSONLabelledAsFormIsRedactedAndCannotHideFields(t *testing.T) {
	s, got := requestSite(t, "remove is_admin")
	for in, want := range map[string]string{
		`{"is_admin":1,"a":"50% & more; = yes"}`:         `{"a":"50% & more; = yes"}`,
		"{\n \"t\": \"a;b\\n&c=d\"\n}":                   "{\n \"t\": \"a;b\\n&c=d\"\n}",
		`{"a":"` + strings.Repeat("x;y ", 50_000) + `"}`: `{"a":"` + strings.Repeat("x;y ", 50_000) + `"}`,
	} {
		if e := sent(t, s, got, urlencoded, in); e != want {
			t.Errorf("%.100s: the upstream got %.100s", in, e)
		}
	}
	for _, in := range []string{
		`{"a":"&is_admin=1&"}`, `{"a":"&Is%5FAdmin=1&"}`, `{"a":"&user[is_admin]=1"}`, `{"a":"x;is_admin=1;y"}`, `["&is_admin&"]`,
		`{"a":"` + strings.Repeat("x", 100_000) + `&is_admin=1&"}`,
	} {
		s.get(post(urlencoded, in)).refused(t, 400, "invalid_request_body")
	}
}

func TestFormsThatAreNotCertainAreRefused(t *testing.T) {
	s := serve(t, provision(t, "requests {\nremove is_admin\n}"), unasked(t))
	for _, in := range []string{"a=1;is_admin=1", "a%00b=1", "%FF%FE=1", "x=%7B%22a%22", strings.Repeat("n", 5000) + "=1"} {
		s.get(post(urlencoded, in)).refused(t, 400, "invalid_request_body")
	}
	for _, label := range []string{urlencoded + "; charset=utf-16", urlencoded + "; charset=utf-7"} {
		s.get(post(label, "a=1")).refused(t, 415, "unsupported_request_body")
	}
}

const formLabel = "multipart/form-data; boundary=XX"

func part(header, body string) string {
	return "--XX\r\nContent-Disposition: form-data; " + header + "\r\n\r\n" + body + "\r\n"
}

func TestRulesApplyToTheFieldsOfMultipartForms(t *testing.T) {
	s, got := requestSite(t, "remove is_admin $.user.role\nmask mobile phone")
	const end = "--XX--\r\n"
	a, file := part(`name="a"`, "1"), part(`name="f"; filename="C:\a.bin"`+"\r\nContent-Type: application/octet-stream", "\x00\xff--XX\r\nx\r\n-"+strings.Repeat("\x01y", 50_000))
	for in, want := range map[string]string{
		a + end:                                                                  a + end,
		a + file + end:                                                           a + file + end,
		part(`name="is_admin"`, "1") + end:                                       end,
		a + part(`name="is_admin"`, "1") + end:                                   a + end,
		part(`name="is_admin"`, "1") + a + end:                                   a + end,
		a + part(`name="Is_Admin"`, "1") + a + end:                               a + a + end,
		part(`NAME=is_admin`, "1") + a + end:                                     a + end,
		part(`name= "is_admin"`, "1") + a + end:                                  a + end,
		part("name\t=\t\"is_admin\"", "1") + end:                                 end,
		part(`name="user[role]"`, "1") + a + end:                                 a + end,
		part(`name="is%5Fadmin"`, "1") + a + end:                                 a + end,
		part(`name="is_admin"; filename="x"`, strings.Repeat("z", 90_000)) + end: end,
		part(`name="is_admin"`, strings.Repeat("z", 90_000)) + a + end:           a + end,
		part(`name="phone"`, "13812345678") + end:                                part(`name="phone"`, "138****5678") + end,
		part(`name="x"`, `{"is_admin":1,"b":2}`) + end:                           part(`name="x"`, `{"b":2}`) + end,
		part(`name="x"; filename="x.txt"`, ` [{"is_admin":1}]`) + end:            part(`name="x"; filename="x.txt"`, ` [{}]`) + end,
		part(`name="a"`, "") + part(`name="is_admin"`, "") + a + end:             part(`name="a"`, "") + a + end,
		"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--XX--":       "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--XX--",
		end: end,
	} {
		if strings.Contains(in, "\xff--XX") {
			in, want = strings.ReplaceAll(in, "\xff--XX\r\n", "\xff--YY\r\n"), strings.ReplaceAll(want, "\xff--XX\r\n", "\xff--YY\r\n")
		}
		if e := sent(t, s, got, formLabel, in); e != want {
			t.Errorf("%.300q: the upstream got\n%.300q, want\n%.300q", in, e, want)
		}
		if len(in) < 1000 {
			chunked := func(r *http.Request) {
				r.ContentLength, r.Body = -1, io.NopCloser(iotest.OneByteReader(strings.NewReader(in)))
			}
			if e := sent(t, s, got, formLabel, in, chunked); e != want {
				t.Errorf("%.300q byte by byte: the upstream got %.300q, want %.300q", in, e, want)
			}
		}
	}
}

func TestMultipartFormsWithTwoReadingsAreRefused(t *testing.T) {
	s := serve(t, provision(t, "requests {\nremove is_admin\n}"), unasked(t))
	ok := part(`name="a"`, "1")
	for i, in := range []string{
		"hello\r\n" + ok + "--XX--", ok + "--XX--\r\nmore", ok, ok + "--XXX\r\n", "--XX\n" + ok[6:] + "--XX--",
		strings.ReplaceAll(ok, "\r\n", "\n") + "--XX--",
		part(`name="a"; name="is_admin"`, "1") + "--XX--",
		part(`name*=utf-8''is_admin`, "1") + "--XX--",
		part(`name='is_admin'`, "1") + "--XX--",
		part(`name= 'a'`, "1") + "--XX--",
		part(`name="a"; name*=utf-8''is_admin`, "1") + "--XX--",
		part(`name="is\_admin"`, "1") + "--XX--",
		part(`name="a\"; filename="x"`, "1") + "--XX--",
		part(`name="=?utf-8?q?is_admin?="`, "1") + "--XX--",
		part(`filename="a"`, "1") + "--XX--",
		part(`name="a"`+"\r\nContent-Disposition: form-data; name=\"is_admin\"", "1") + "--XX--",
		part(`name="a";`+"\r\n name=\"is_admin\"", "1") + "--XX--",
		part(`name="a"; filename="x.json"`, `{"is_admin":1`) + "--XX--",
		"",
	} {
		if in == "" {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) { s.get(post(formLabel, in)).refused(t, 400, "invalid_request_body") })
	}
	for i, c := range [][2]string{
		{"multipart/form-data", ok},
		{"multipart/form-data; xboundary=A; boundary=XX", ok},
		{"multipart/form-data; boundary=XX; boundary=YY", ok},
		{"multipart/form-data; boundary=\"a\\\"b\"", ok},
		{"multipart/mixed; boundary=XX", ok},
		{formLabel, part(`name="a"`+"\r\nContent-Transfer-Encoding: quoted-printable", "1") + "--XX--"},
		{formLabel, part(`name="a"`+"\r\nContent-Type: multipart/mixed; boundary=Y", "1") + "--XX--"},
		{formLabel, part(`name="a"`+"\r\nContent-Type: text/plain; charset=utf-16", "1") + "--XX--"},
		{formLabel, part(`name="a"; filename="a"`, wide(body, 2)) + "--XX--"},
	} {
		t.Run(fmt.Sprint("415 ", i), func(t *testing.T) { s.get(post(c[0], c[1])).refused(t, 415, "unsupported_request_body") })
	}
}

// TestValuesOfAPatchThatMoveAreNotReplaced holds that a rule which replaces is
// not passed by a copy with a value that nobody reads.
func TestValuesOfAPatchThatMoveAreNotReplaced(t *testing.T) {
	s, got := requestSite(t, "replace user role")
	patch := func(r *http.Request) { r.Method = http.MethodPatch }
	in := `[{"op":"add","path":"/x","value":"admin"},{"op":"copy","from":"/x","path":"/role","value":"z"}]`
	if e := sent(t, s, got, "application/json-patch+json", in, patch); e != `[{"op":"add","path":"/x","value":"admin"}]` {
		t.Errorf("the upstream got %s", e)
	}
	for name, change := range map[string]func(*http.Request){
		"by a header":     func(r *http.Request) { r.Header.Set("X-HTTP-Method-Override", "PATCH") },
		"by the query":    func(r *http.Request) { r.URL.RawQuery = "_method=patch" },
		"by its own sort": func(r *http.Request) { r.Header.Set("Content-Type", "application/vnd.x-patch+json") },
	} {
		if e := sent(t, s, got, "application/json", `[{"op":"add","path":"/role","value":"admin"}]`, change); e != `[{"op":"add","path":"/role","value":"user"}]` {
			t.Errorf("%s: the upstream got %s", name, e)
		}
	}
	s, _ = requestSite(t, "remove $.user.level")
	s.get(post("application/json-patch+json", `[{"op":"add","path":"/t","value":{"level":9}},{"op":"move","from":"/t","path":"/user"}]`, patch)).refused(t, 400, "invalid_request_body")
}

func TestRulesApplyToThePlacesOfJSONPatch(t *testing.T) {
	s, got := requestSite(t, "remove is_admin $.user.role $.items[*].price\nmask mobile phone")
	patch := func(r *http.Request) { r.Method = http.MethodPatch }
	for in, want := range map[string]string{
		`[{"op":"replace","path":"/is_admin","value":true}]`:                                   `[]`,
		`[{"op":"add","path":"/Is_Admin","value":true}, {"op":"test","path":"/a","value":1}]`:  `[{"op":"test","path":"/a","value":1}]`,
		`[{"op":"add","path":"/is_admin/x","value":true}]`:                                     `[]`,
		`[{"op":"add","path":"/users/0/is_admin","value":true}]`:                               `[]`,
		`[{"op":"add","path":"/i\u0073_admin","value":true}]`:                                  `[]`,
		`[{"op":"add","path":"is_admin","value":true}]`:                                        `[]`,
		`[{"op":"add","path":"#/is%5Fadmin","value":true}]`:                                    `[]`,
		`[{"op":"add","PATH":"/is_admin","value":true}]`:                                       `[]`,
		`[{"op":"remove","path":"/is_admin"}]`:                                                 `[]`,
		`[{"op":"move","from":"/is_admin","path":"/a"}]`:                                       `[]`,
		`[{"op":"copy","from":"/a","path":"/is_admin"}]`:                                       `[]`,
		`[{"op":"add","path":"/user","value":{"role":"x","a":1}}]`:                             `[{"op":"add","path":"/user","value":{"a":1}}]`,
		`[{"op":"add","path":"","value":{"user":{"role":"x"}}}]`:                               `[{"op":"add","path":"","value":{"user":{}}}]`,
		`[{"op":"add","path":"/user/role","value":"x"},{"op":"add","path":"/role","value":1}]`: `[{"op":"add","path":"/role","value":1}]`,
		`[{"op":"add","path":"/items/7/price","value":1}]`:                                     `[]`,
		`[{"op":"add","path":"/items/-","value":{"price":1,"n":2}}]`:                           `[{"op":"add","path":"/items/-","value":{"n":2}}]`,
		`[{"op":"add","path":"/phone","value":"13812345678"}]`:                                 `[{"op":"add","path":"/phone","value":"138****5678"}]`,
		` [ { "op" : "add" , "path" : "/a~1is_admin" , "value" : 1.0 } ] `:                     ` [ { "op" : "add" , "path" : "/a~1is_admin" , "value" : 1.0 } ] `,
		`[]`: `[]`,
	} {
		if e := sent(t, s, got, "application/json-patch+json", in, patch); e != want {
			t.Errorf("%s: the upstream got %s, want %s", in, e, want)
		}
		if e := sent(t, s, got, "application/json", in, patch); e != want {
			t.Errorf("%s as JSON: the upstream got %s, want %s", in, e, want)
		}
	}
	for _, in := range []string{`{}`, `[1]`, `[{"op":"add","value":1}]`, `[{"op":"add","path":"/a","path":"/is_admin","value":1}]`, `[{"op":"add","path":7}]`, `[][]`} {
		s.get(post("application/json-patch+json", in, patch)).refused(t, 400, "invalid_request_body")
	}
	if e := sent(t, s, got, "application/merge-patch+json", `{"Is_admin":true,"user":{"role":null}}`, patch); e != `{"user":{}}` {
		t.Errorf("merge patch: the upstream got %s", e)
	}
	if e := sent(t, s, got, "application/json", `[{"is_admin":true},2]`, patch); e != `[{},2]` {
		t.Errorf("an array: the upstream got %s", e)
	}
}

func unasked(t *testing.T) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		t.Error("the upstream was asked")
		return nil
	})
}
