package data

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestRedactRefusalsGoThroughHandleErrors: the site's own page is shown,
// with the code, and nothing of what was held.
func TestRedactRefusalsGoThroughHandleErrors(t *testing.T) {
	up := harness.RawUpstream(t, sends(whole(order+"}", asJSON, "Set-Cookie: session="+hidden, "ETag: \"x\"")))
	s := harness.Start(t, `
http://localhost:{$PORT} {
	redact {
		remove ssn
	}
	reverse_proxy {env.UPSTREAM}
	handle_errors {
		respond "sorry: {http.error.status_code} {http.moat.code}"
	}
}
`, "UPSTREAM="+up)
	a := s.Get("PORT", "/")
	if a.StatusCode != 502 || a.Body != "sorry: 502 unreadable_response" || a.Err != nil {
		t.Errorf("got %d %q (%v)", a.StatusCode, a.Body, a.Err)
	}
	for _, name := range []string{"Set-Cookie", "ETag"} {
		if v := a.Header.Get(name); v != "" {
			t.Errorf("%s: %s", name, v)
		}
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
}

func TestRedactCountIsInTheAccessLog(t *testing.T) {
	s := harness.Start(t, `
http://localhost:{$PORT} {
	log
	log_append redacted {http.redact.count}
	redact {
		remove ssn
		mask mobile phone
	}
	header /typed Content-Type application/json
	respond `+"`"+order+"`"+`
}
`)
	a := s.Get("PORT", "/typed")
	if a.StatusCode != 200 || a.Body != redacted {
		t.Fatalf("got %d %q", a.StatusCode, a.Body)
	}
	harness.Eventually(t, func() error {
		// ssn, ssn in items, phone
		if log := s.Log.String(); !strings.Contains(log, `"redacted":3`) && !strings.Contains(log, `"redacted":"3"`) {
			return fmt.Errorf("no count in the log:\n%s", log)
		}
		return nil
	})
}

// TestRedactedFilesAndErrors has Caddy's own handlers inside redact.
func TestRedactedFilesAndErrors(t *testing.T) {
	s := harness.Prepare(t, `
http://localhost:{$PORT} {
	redact {
		remove ssn
		hide_errors
	}
	root files
	handle /up/* {
		reverse_proxy {env.UPSTREAM}
	}
	handle {
		file_server
	}
}
`, "UPSTREAM="+harness.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "panic: "+hidden, http.StatusInternalServerError)
	}))
	s.WriteFile("files/a.json", order)
	s.WriteFile("files/a.csv", "ssn\n"+hidden+"\n")
	s.WriteFile("files/broken.json", order[:30])
	s.Run()
	s.Wait()
	want := strings.ReplaceAll(redacted, "180****1999", "18049531999")
	for _, header := range [][]string{nil, {"Range: bytes=0-9"}, {"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"}, {"Accept-Encoding: gzip, br"}} {
		if a := s.Get("PORT", "/a.json", header...); a.StatusCode != 200 || a.Body != want || a.Header.Get("ETag") != "" || a.Header.Get("Accept-Ranges") != "" {
			t.Errorf("%q: %d %q %v", header, a.StatusCode, a.Body, a.Header)
		}
	}
	for _, path := range []string{"/a.csv", "/broken.json"} {
		if a := s.Get("PORT", path); a.StatusCode != 502 || a.Code() != "unreadable_response" || strings.Contains(a.Body, hidden) {
			t.Errorf("%s: %d %q", path, a.StatusCode, a.Body)
		}
	}
	if a := s.Get("PORT", "/none.json"); a.StatusCode != 404 {
		t.Errorf("no file: %d %q", a.StatusCode, a.Body)
	}
	a := s.Get("PORT", "/up/x")
	if a.StatusCode != 500 || a.Code() != "upstream_error" || strings.Contains(a.Body, hidden) {
		t.Errorf("error: %d %q", a.StatusCode, a.Body)
	}
}

func TestRedactConfigurationMistakesAreRefusedAtLoad(t *testing.T) {
	for options, want := range map[string][]string{
		"hash a\nhash_key {env.NO_SUCH_KEY}":           {"redact", "hash_key", "{env.NO_SUCH_KEY}"},
		"encrypt a\nencrypt_key {file./no/such/file}":  {"redact", "encrypt_key", "/no/such/file"},
		"remove a\nhold 1KiB\nhold 2KiB":               {"hold already specified", "Caddyfile:"},
		"remove $.a[?@.b]":                             {"Caddyfile:", "$.a[?@.b]"},
		"encrypt a\nencrypt_key not-a-key-of-32-bytes": {"redact", "encrypt_key", "32 bytes"},
	} {
		log := harness.FailsToLoad(t, "http://localhost:{$PORT} {\n\tredact {\n"+options+"\n\t}\n}\n")
		for _, w := range want {
			if !strings.Contains(log, w) {
				t.Errorf("%q: the message does not name %q:\n%s", options, w, log)
			}
		}
		if strings.Contains(log, "not-a-key-of-32-bytes") {
			t.Errorf("%q: the key is in the message", options)
		}
	}
}
