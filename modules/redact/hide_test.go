package redact

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logged makes h log into a buffer.
func logged(h *Handler) *bytes.Buffer {
	var b bytes.Buffer
	h.logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&b), zap.DebugLevel))
	return &b
}

func TestErrorsOfTheUpstreamAreHidden(t *testing.T) {
	const trace = "Traceback (most recent call last):\n  File \"/srv/app.py\", line 3, in f\nKeyError: '" + secret + "'"
	for name, c := range map[string]struct {
		status string
		header string
		body   string
		hidden bool // from a caller whom a rule concerns
	}{
		"500 JSON":            {"500 Internal Server Error", "Content-Type: application/json", `{"ssn":"` + secret + `"}`, true},
		"500 HTML":            {"500 Internal Server Error", "Content-Type: text/html", "<h1>" + secret, true},
		"500 trace":           {"500 Internal Server Error", "Content-Type: text/plain", trace, true},
		"503 empty":           {"503 Service Unavailable", "Retry-After: 7", "", true},
		"500 gzip":            {"500 Internal Server Error", "Content-Type: application/json\nContent-Encoding: gzip", gz(body), true},
		"500 rot13":           {"500 Internal Server Error", "Content-Type: application/json\nContent-Encoding: rot13", secret, true},
		"500 long":            {"500 Internal Server Error", "Content-Type: text/html", strings.Repeat(secret, 100000), true},
		"404 JSON":            {"404 Not Found", "Content-Type: application/json", `{"error":"no such order"}`, false},
		"404 empty":           {"404 Not Found", "X: y", "", false},
		"404 text":            {"404 Not Found", "Content-Type: text/plain", secret, true},
		"404 broken JSON":     {"404 Not Found", "Content-Type: application/json", `{"a":"` + secret + `"`, true},
		"404 long":            {"404 Not Found", "Content-Type: application/json", `{"a":"` + strings.Repeat(secret, 100000) + `"}`, true},
		"400 with a trace":    {"400 Bad Request", "Content-Type: application/json", `{"error":"x","stack":"Error: ` + secret + `\n    at f (/app/a.js:1:2)"}`, true},
		"400 with SQL":        {"400 Bad Request", "Content-Type: application/json", `{"error":"You have an error in your SQL syntax near '` + secret + `'"}`, true},
		"409 with SQLSTATE":   {"409 Conflict", "Content-Type: application/json", `{"error":"SQLSTATE[23000]: ` + secret + `"}`, true},
		"422 of validation":   {"422 Unprocessable Entity", "Content-Type: application/problem+json", `{"title":"at least one (of 3) is wrong","errors":["/name is missing"]}`, false},
		"401 with challenge":  {"401 Unauthorized", "Content-Type: text/html\nWWW-Authenticate: Basic", secret, true},
		"404 gzip":            {"404 Not Found", "Content-Type: application/json\nContent-Encoding: gzip", gz(`{"error":"no such order"}`), false},
		"404 truncated":       {"404 Not Found", "Content-Type: application/json\nContent-Length: 999", `{"error":"` + secret, true},
		"500 truncated":       {"500 Internal Server Error", "Content-Type: application/json\nContent-Length: 999", `{"error":"` + secret, true},
		"416 of JSON":         {"416 Range Not Satisfiable", "Content-Type: application/json", `{}`, false},
		"404 that looks JSON": {"404 Not Found", "Content-Type: text/plain", `{"error":"no such order"}`, false},
	} {
		for _, caller := range []string{"", "m:manager"} {
			t.Run(name+" for "+caller, func(t *testing.T) {
				h := provision(t, "except role manager {\n remove ssn\n}\nhide_errors")
				log := logged(h)
				s := serve(t, h, raw(t, headed(c.status, c.header+"\nSet-Cookie: a="+secret, c.body)))
				a := s.get(as(caller))
				if a.err != nil || a.status != atoi(c.status[:3]) {
					t.Fatalf("got %d (%v), want %s", a.status, a.err, c.status)
				}
				spared := caller != "" && (name == "404 text" || name == "404 broken JSON" || name == "401 with challenge")
				if spared && a.code == "" && string(a.body) == c.body {
					return
				}
				if !c.hidden {
					if want := strings.TrimSpace(c.body); a.code != "" || a.header.Get("Content-Encoding") == "" && !strings.Contains(c.header, "gzip") && string(a.body) != want {
						t.Errorf("got %q, want %q", a.body, want)
					}
					return
				}
				if a.code != "upstream_error" || leaked(a.body) || a.header.Get("Set-Cookie") != "" {
					t.Fatalf("got %q %v", a.body, a.header)
				}
				_, reference, _ := strings.Cut(string(a.body), "Reference: ")
				reference, _, _ = strings.Cut(reference, `"`)
				if len(reference) < 8 || !strings.Contains(log.String(), reference) {
					t.Errorf("reference %q is not in the log", reference)
				}
				if got, want := a.header.Get("Retry-After"), ""; strings.Contains(c.header, "Retry-After") && got == want {
					t.Error("Retry-After is lost")
				}
				if strings.Contains(c.header, "WWW-Auth") && a.header.Get("WWW-Authenticate") != "Basic" {
					t.Error("WWW-Authenticate is lost")
				}
				if name == "500 JSON" && leaked(log.Bytes()) {
					t.Errorf("what a rule removes is in the log: %s", log)
				}
				if s.noted().Code() != "upstream_error" {
					t.Errorf("noted %q", s.noted().Code())
				}
			})
		}
	}
}

func atoi(s string) int {
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

func TestHideErrorsAloneLeavesAnswersAsTheyAre(t *testing.T) {
	h := provision(t, "hide_errors")
	serve(t, h, raw(t, lengthed("Content-Type: text/csv\nETag: \"1\"", "a,b"))).get().is(t, 200, "a,b")
	serve(t, h, raw(t, headed("404 Not Found", "Content-Type: application/json", `{"ssn":1}`))).get().is(t, 404, `{"ssn":1}`)
	if a := serve(t, h, raw(t, headed("500 X", "Content-Type: application/json", `{"ssn":1}`))).get(); a.code != "upstream_error" {
		t.Errorf("got %d %q", a.status, a.body)
	}
	head := serve(t, h, answers(500, "text/plain", secret)).get(func(r *http.Request) { r.Method = http.MethodHead })
	if head.status != 500 || len(head.body) > 0 {
		t.Errorf("HEAD: got %d %q", head.status, head.body)
	}
}

func TestErrorsAreHiddenEvenWhereTheUnreadablePasses(t *testing.T) {
	h := provision(t, "remove ssn\nhide_errors\nunreadable pass\npass text/html")
	for _, header := range []string{"Content-Type: text/csv\nContent-Encoding: rot13", "Content-Type: text/html", "Content-Type: image/png"} {
		a := serve(t, h, raw(t, headed("500 X", header, secret))).get()
		if a.status != 500 || a.code != "upstream_error" || leaked(a.body) {
			t.Errorf("%s: got %d %q", header, a.status, a.body)
		}
	}
}

func TestHiddenErrorsAreLoggedWithoutCredentials(t *testing.T) {
	const marker = "HUNTER7x9Q"
	for _, c := range []struct{ kind, body string }{
		{"text/plain", "login failed: user=bob password=HUNTER7x9Q token=HUNTER7x9Q dsn=postgres://u:HUNTER7x9Q@db/x"},
		{"text/plain", "password: HUNTER7x9Q"},
		{"text/plain", "dial app:HUNTER7x9Q@tcp(db:3306)/x"},
		{"text/html", "<p>Authorization: Basic HUNTER7x9Q=</p><p>Cookie: sid=HUNTER7x9Q</p>"},
		{"text/html", "<dt>password<dd>HUNTER7x9Q"},
		{"application/json", `{"error":"boom","env":{"DB_PASSWORD":"HUNTER7x9Q","API_TOKEN":"HUNTER7x9Q"},"request":{"headers":{"Authorization":"Bearer HUNTER7x9Q",` +
			`"Cookie":"sid=HUNTER7x9Q"}},"dsn":"postgres://u:HUNTER7x9Q@db/x","password":"HUNTER7x9Q"}`},
		{"application/json", `{"error":"x","secrets":{"a":["HUNTER7x9Q"]},"config":[{"name":"password","value":"HUNTER7x9Q"}]}`},
		{"application/json", `{"error":"broken","password":"HUNTER7x9Q`},
		{"text/plain", `{"error":"x","token":"HUNTER7x9Q"}`},
		{"application/json", `{"error":"` + strings.Repeat("x", 20<<10) + `","password":"HUNTER7x9Q"}`},
	} {
		for _, rules := range []string{"hide_errors", "remove ssn\nhide_errors"} {
			h := provision(t, rules)
			log := logged(h)
			a := serve(t, h, raw(t, headed("500 X", "Content-Type: "+c.kind, c.body))).get(func(r *http.Request) { r.URL.Path = "/reset-password/" + marker })
			if a.code != "upstream_error" || !strings.Contains(log.String(), "hidden error") {
				t.Fatalf("got %d %q, log %s", a.status, a.body, log)
			}
			if strings.Contains(log.String(), marker) {
				t.Errorf("%s: %s\nlogged as %s", c.kind, c.body, log)
			}
		}
	}
}

// What a single-page application needs to see an error at all, and a caller to
// report it or to try again later, is not the inside of the upstream.
func TestRefusalsKeepWhatClientsRead(t *testing.T) {
	const kept = "Access-Control-Allow-Origin: https://app.example\nAccess-Control-Allow-Credentials: true\nAccess-Control-Expose-Headers: X-Request-Id\nVary: Origin\n" +
		"X-Request-Id: r-1\nRateLimit: limit=10\nRateLimit-Policy: 10;w=1\nX-RateLimit-Reset: 7\nTraceparent: 00-a-b-01"
	for name, c := range map[string]struct{ config, answer, code string }{
		"hidden":     {"remove ssn\nhide_errors", headed("500 X", "Content-Type: text/html\nSet-Cookie: a=b\nX-Powered-By: x\nRetry-After: 9\n"+kept, secret), "upstream_error"},
		"unreadable": {"remove ssn", headed("200 OK", "Content-Type: application/json\nSet-Cookie: a=b\nX-Powered-By: x\n"+kept, `{"a":`), "unreadable_response"},
		"truncated":  {"remove ssn", headed("200 OK", "Content-Type: application/json\nContent-Length: 99\nSet-Cookie: a=b\nX-Powered-By: x\n"+kept, `{"a":1`), "unreadable_response"},
	} {
		a := serve(t, provision(t, c.config), raw(t, c.answer)).get()
		if a.code != c.code {
			t.Fatalf("%s: got %d %q %q", name, a.status, a.code, a.body)
		}
		for _, line := range strings.Split(kept, "\n") {
			field, value, _ := strings.Cut(line, ": ")
			if got := strings.Join(a.header.Values(field), ", "); !strings.Contains(got, value) {
				t.Errorf("%s: %s is %q, want %q", name, field, got, value)
			}
		}
		for _, field := range []string{"Set-Cookie", "X-Powered-By"} {
			if a.header.Get(field) != "" {
				t.Errorf("%s: %s has left", name, field)
			}
		}
		if name == "hidden" && a.header.Get("Retry-After") != "9" {
			t.Errorf("%s: Retry-After is lost", name)
		}
	}
}

func TestWhatGivesAnApplicationAway(t *testing.T) {
	for _, body := range []string{
		`{"error":"x","stackTrace":[{"declaringClass":"A","methodName":"b","fileName":"A.java","lineNumber":10}]}`,
		`{"error":"x","stack":["TypeError: x","at f (/app/a.js:1:2)"]}`,
		`{"StackTraceString":"   at Shop.Orders.Get(Int32 id)\r\n   at Shop.A.B()"}`,
		"Error: x\n    at async /srv/app/index.js:10:15",
		`{"error":"main.f(0x1)\n\t/src/main.go:5 +0x1d"}`,
		"#0 /var/www/html/index.php(12): f()",
		"Exception in thread \"main\" java.lang.NullPointerException\n\tat com.example.A.b(A.java:10)",
		`{"trace":"x\n\tat com.example.A.b(A.java:10)\n"}`,
		`{"message":"TypeError: x\n    at Object.<anonymous> (/srv/app/index.js:10:15)"}`,
		"   at Shop.Orders.Get(Int32 id) in C:\\src\\Orders.cs:line 12\r\n   at Shop.A.B(String s) in C:\\a.cs:line 1",
		"File \"/srv/app.py\", line 3, in f",
		`{"detail":"File \"/srv/app.py\", line 3, in f"}`,
		"<b>Fatal error</b>: Uncaught Error in /var/www/html/index.php:12",
		"Warning: x in /var/www/html/index.php on line 12",
		"goroutine 1 [running]:\nmain.main()\n\t/src/main.go:5 +0x1d",
		"/srv/app/models/user.rb:12:in `find'",
		"ORA-00942: table or view does not exist",
		`ERROR: syntax error at or near "x" at character 12`,
		`duplicate key value violates unique constraint "users_pkey"`,
		"E11000 duplicate key error collection: shop.users",
		"thread 'main' panicked at src/main.rs:2:5",
	} {
		if !revealing([]byte(body)) {
			t.Errorf("not found: %q", body)
		}
	}
	for _, body := range []string{
		`{"code":409,"message":"another update is in progress","stack":"prod-eu"}`,
		`{"errors":[{"file":"/src/main.go:12","message":"unused variable"},{"file":"/src/util.go:3","message":"x"}]}`,
		`{"error":"no such stack","stack_trace":null,"stackTrace":[],"stack":{"name":"prod"}}`,
		`{"detail":"app/models/user.rb:12 is too long\n"}`,
		`{"where":"see main.py:12 or /docs/a.js:3"}`,
		"", `{"error":"not found"}`, `{"error":"The amount must be at most 10 (see /docs/limits:3)"}`,
		`{"message":"Meet me\nat noon (or later)"}`, `{"title":"Bad Request","detail":"an exception to the rule applies"}`,
		`{"errors":[{"path":"/orders/1","line":3}]}`, `{"file":"/uploads/a.txt"}`,
	} {
		if revealing([]byte(body)) {
			t.Errorf("found in %q", body)
		}
	}
}
