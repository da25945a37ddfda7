package data

import (
	"compress/flate"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// namesSite has rules on both sides, and lets pass what may pass.
const namesSite = `
http://localhost:{$PORT} {
	redact {
		remove password
		mask mobile phone
		unreadable pass
		graphql_names block
		xssi_prefix
		requests {
			remove is_admin
		}
	}
	reverse_proxy {env.UPSTREAM}
}
`

func deflated(s string) string {
	var b strings.Builder
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// TestNoSpellingOrLabelGetsARequestByTheRules: the upstream gets no is_admin,
// however the client writes it and whatever it says of the body.
func TestNoSpellingOrLabelGetsARequestByTheRules(t *testing.T) {
	got := make(chan string, 1)
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})
	s := harness.Start(t, namesSite, "UPSTREAM="+up)
	const form, parts = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	for name, c := range map[string]struct {
		label, coding, body, want string
		status                    int
	}{
		"case":        {"application/json", "", `{"IS_ADMIN":1,"a":2}`, `{"a":2}`, 200},
		"long s":      {"application/json", "", "{\"i\u017f_Admin\":1}", `{}`, 200},
		"escaped":     {"application/json", "", `{"i\u017f_\u0041dmin":1}`, `{}`, 200},
		"deflate":     {"application/json", "deflate", deflated(`{"Is_Admin":1}`), `{}`, 200},
		"utf-8":       {"application/json", "utf-8", `{"is_admin":1}`, "unsupported_request_body", 415},
		"unknown":     {"text/plain", "x-unknown", `{"is_admin":1}`, "unsupported_request_body", 415},
		"stacked":     {"application/json", "gzip, gzip", `{"is_admin":1}`, "unsupported_request_body", 415},
		"utf-7":       {"application/json; charset=utf-7", "", `{"is_admin":1}`, "unsupported_request_body", 415},
		"form":        {form, "", "user[Is_Admin]=1&a=2", "a=2", 200},
		"curl -d":     {form, "", `{"is_admin":1,"a":2}`, `{"a":2}`, 200},
		"both":        {form, "", `{"a":"&is_admin=1&"}`, "invalid_request_body", 400},
		"multipart":   {parts, "", "--b\r\nContent-Disposition: form-data; name=\"is_admin\"\r\n\r\n1\r\n--b--\r\n", "unsupported_request_body", 415},
		"patch":       {"application/json-patch+json", "", `[{"op":"add","path":"/Is_Admin","value":true}]`, `[]`, 200},
		"merge patch": {"application/merge-patch+json", "", `{"Is_Admin":true}`, `{}`, 200},
		"alias":       {"application/json", "", `{"query":"{user{p:phone}}"}`, "graphql_name", 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.Addr("PORT"), strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "localhost"
		r.Header.Set("Content-Type", c.label)
		if c.coding != "" {
			r.Header.Set("Content-Encoding", c.coding)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", name, res.StatusCode, body, c.status)
		}
		if res.StatusCode != 200 {
			if !strings.Contains(string(body), c.want) {
				t.Errorf("%s: %s, want code %s", name, body, c.want)
			}
			continue
		}
		if b := <-got; b != c.want {
			t.Errorf("%s: the upstream got %q, want %q", name, b, c.want)
		}
	}
}

// TestNoLabelGetsAResponseByTheRules: with `unreadable pass` too.
func TestNoLabelGetsAResponseByTheRules(t *testing.T) {
	const plain, shown = `{"password":"` + hidden + `","phone":"13812345678"}`, `{"phone":"138****5678"}`
	type response struct {
		fields []string
		body   string
		want   string // empty: 502
	}
	const mixed, envelope = `Content-Type: multipart/mixed; boundary="-"; deferSpec=20220824`, "\x00\x00\x00\x00"
	part := func(body string) string {
		return "\r\n---\r\nContent-Type: application/json\r\n\r\n" + body + "\r\n-----\r\n"
	}
	responses := map[string]response{
		"utf-8":       {[]string{asJSON, "Content-Encoding: UTF-8"}, plain, shown},
		"unknown":     {[]string{"Content-Type: text/plain", "Content-Encoding: x-unknown"}, plain, shown},
		"not-plain":   {[]string{"Content-Type: text/plain", "Content-Encoding: x-unknown"}, hidden, ""},
		"two-lines":   {[]string{asJSON, "Content-Encoding: gzip", "Content-Encoding: br"}, plain, shown},
		"deflate":     {[]string{asJSON, "Content-Encoding: deflate"}, deflated(plain), shown},
		"latin-1":     {[]string{"Content-Type: application/json; charset=ISO-8859-1"}, plain, shown},
		"beyond":      {[]string{"Content-Type: application/json; charset=ISO-8859-1"}, plain[:len(plain)-1] + ",\"a\":\"\xfc\"}", ""},
		"mark":        {[]string{asJSON}, "\ufeff" + plain, "\ufeff" + shown},
		"surrogate":   {[]string{asJSON}, `{"t":"\ud83d","password":"` + hidden + `"}`, `{"t":"\ud83d"}`},
		"prefix":      {[]string{asJSON}, ")]}'\n" + plain, ")]}'\n" + shown},
		"mixed":       {[]string{mixed}, part(plain), part(shown)},
		"mixed-other": {[]string{mixed}, part(plain) + plain, ""},
		"connect":     {[]string{"Content-Type: application/connect+json"}, envelope + string(rune(len(plain))) + plain, envelope + string(rune(len(shown))) + shown},
	}
	up := harness.RawUpstream(t, func(c net.Conn, r *http.Request) {
		answer := responses[strings.TrimPrefix(r.URL.Path, "/")]
		sends(whole(answer.body, answer.fields...))(c, r)
	})
	s := harness.Start(t, namesSite, "UPSTREAM="+up)
	for name, c := range responses {
		got := fetch(t, http.DefaultTransport, "GET", "http://localhost:"+s.Ports["PORT"]+"/"+name, false)
		if got.err != nil || strings.Contains(string(got.body), hidden) {
			t.Errorf("%s: %q (%v)", name, got.body, got.err)
			continue
		}
		if c.want == "" && got.StatusCode != 502 || c.want != "" && (got.StatusCode != 200 || string(got.body) != c.want) {
			t.Errorf("%s: %d %q, want %q", name, got.StatusCode, got.body, c.want)
		}
	}
}
