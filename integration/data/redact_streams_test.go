package data

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// streamSite redacts, records and logs whatever one upstream sends.
const streamSite = `
{
	skip_install_trust
	metrics
}
http://localhost:{$PORT} {
	audit trail
	redact {
		remove ssn
		mask mobile $..phone
	}
	reverse_proxy {env.UPSTREAM}
}
`

// TestReasonOfACutIsFound: reverse_proxy says of a body that redact refuses
// in its middle only that its write failed.
func TestReasonOfACutIsFound(t *testing.T) {
	long := `{"rows":[` + strings.Repeat(order+",", 2000) + `1],"score":NaN}`
	up := harness.RawUpstream(t, sends(whole(long, asJSON)))
	s := harness.Start(t, streamSite, "UPSTREAM="+up)
	a := s.Get("PORT", "/cut")
	if a.Err == nil || len(a.Body) == 0 || len(a.Body) >= len(long) || strings.Contains(a.Body, hidden) {
		t.Errorf("got %d bytes of %d", len(a.Body), len(long))
	}
	r := s.RecordOf("trail", "/cut")
	if r.End != "aborted" || r.Code != "unreadable_response" {
		t.Errorf("recorded %+v", r)
	}
	if n := len(r.Decisions); n == 0 || r.Decisions[n-1].Layer != "redact" || r.Decisions[n-1].Result != "error" {
		t.Errorf("decisions %+v", r.Decisions)
	}
	for _, want := range []string{`"msg":"aborted"`, `"reason":"syntax"`, `"offset":`, `"hint":`} {
		if !strings.Contains(s.Log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
	metrics := harness.Fetch(t, http.DefaultClient, "http://"+s.Admin+"/metrics")
	for _, want := range []string{
		`caddy_moat_redact_refusals_total{code="unreadable_response",reason="syntax"} 1`,
		`caddy_moat_decisions_total{code="unreadable_response",layer="redact",result="error"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

// TestStreamsOfTextsAreReadTextByText: what Kubernetes, gRPC-gateway, CouchDB,
// Docker and others send as application/json.
func TestStreamsOfTextsAreReadTextByText(t *testing.T) {
	bulk := "{\"index\":{}}\n" + order + "\n"
	answers := map[string]struct{ answer, want string }{
		"/watch":  {head("200 OK", asJSON+";stream=watch", framed) + inChunks(order+"\n", order+"\n", ""), redacted + "\n" + redacted + "\n"},
		"/docker": {head("200 OK", asJSON, framed) + inChunks(order+"\r\n", "\r\n", order+order, ""), redacted + "\r\n\r\n" + redacted + redacted},
		"/couch":  {head("200 OK", asJSON, framed) + inChunks("\n", order+"\n", "\n", "\n", ""), "\n" + redacted + "\n\n\n"},
		"/fhir":   {whole(order+"\n"+order, "Content-Type: application/fhir+ndjson"), redacted + "\n" + redacted},
		"/octets": {whole(order+"\n"+order, "Content-Type: application/octet-stream"), redacted + "\n" + redacted},
		"/text":   {whole(order+"\n"+order, "Content-Type: text/plain"), redacted + "\n" + redacted},
		"/lines":  {whole(order+"\n"+order, "Content-Type: application/jsonlines+json"), redacted + "\n" + redacted},
	}
	got := make(chan string, 1)
	up := harness.RawUpstream(t, func(c net.Conn, r *http.Request) {
		if a, ok := answers[r.URL.Path]; ok {
			_, _ = io.WriteString(c, a.answer)
			return
		}
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
		_, _ = io.WriteString(c, whole("{}", asJSON))
	})
	s := harness.Start(t, `
http://localhost:{$PORT} {
	redact {
		remove ssn
		mask mobile $.phone
		requests {
			remove ssn
			mask mobile $.phone
		}
	}
	reverse_proxy {env.UPSTREAM}
}
`, "UPSTREAM="+up)
	for path, c := range answers {
		if a := s.Get("PORT", path); a.Err != nil || a.Body != c.want {
			t.Errorf("%s: %d %q (%v), want %q", path, a.StatusCode, a.Body, a.Err, c.want)
		}
	}
	for _, label := range []string{"application/vnd.elasticsearch+x-ndjson; compatible-with=8", "application/json"} {
		s.Do("PORT", "POST", "/_bulk", bulk, "Content-Type: "+label)
		if want := strings.ReplaceAll(bulk, order, redacted); <-got != want {
			t.Errorf("%s: the upstream got another body than %q", label, want)
		}
	}
}

// TestEventsOfModelsAndMCP: a number that comes in three deltas is found, and
// what is no JSON does not end a stream.
func TestEventsOfModelsAndMCP(t *testing.T) {
	delta := func(text string) string {
		return `data: {"choices":[{"index":0,"delta":{"content":"` + text + `"}}]}` + "\n\n"
	}
	const asEvents = "Content-Type: text/event-stream"
	answers := map[string]struct{ answer, want string }{
		"/model": {
			head("200 OK", asEvents, framed) + inChunks(delta("call 138"), delta("1234"), delta("5678 now"), "data:  [DONE]\n\n", ""),
			delta("call [x]") + delta("") + delta(" now") + "data:  [DONE]\n\n",
		},
		"/mcp": {
			head("200 OK", asEvents, framed) + inChunks("event: endpoint\ndata: /messages?sessionId=abc\n\n", "event: ping\ndata: keepalive\n\n", "data: "+order+"\n\n", ""),
			"event: endpoint\ndata: /messages?sessionId=abc\n\nevent: ping\ndata: keepalive\n\ndata: " + strings.ReplaceAll(redacted, "180****1999", "[x]") + "\n\n",
		},
		"/changes": {
			head("200 OK", asEvents, framed) + inChunks("event: message\nid: [{\"topic\":\"a\",\"offset\":1}]\ndata: {\"ssn\":1}\n\n: {\"ping\":1}\n\n", ""),
			"event: message\nid: [{\"topic\":\"a\",\"offset\":1}]\ndata: {}\n\n: {\"ping\":1}\n\n",
		},
	}
	up := harness.RawUpstream(t, func(c net.Conn, r *http.Request) { _, _ = io.WriteString(c, answers[r.URL.Path].answer) })
	s := harness.Start(t, `
http://localhost:{$PORT} {
	redact {
		remove ssn
		detect mobile replace [x]
	}
	reverse_proxy {env.UPSTREAM}
}
`, "UPSTREAM="+up)
	for path, c := range answers {
		if a := s.Get("PORT", path); a.Err != nil || a.Body != c.want {
			t.Errorf("%s: %d %q (%v), want %q", path, a.StatusCode, a.Body, a.Err, c.want)
		}
	}
}

// TestMediaKeepHTTP: players and caches ask for parts, and whether anything
// has changed.
func TestMediaKeepHTTP(t *testing.T) {
	dir := t.TempDir()
	video := "\x00\x00\x00\x18ftypmp42" + strings.Repeat("\x00\x01\x02\x03", 50_000)
	for name, content := range map[string]string{"v.mp4": video, "o.json": order} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := harness.Start(t, `
http://localhost:{$PORT} {
	redact {
		remove ssn
		mask mobile $.phone
	}
	root {env.ROOT}
	file_server
}
http://localhost:{$PORT2} {
	redact {
		remove ssn
	}
	reverse_proxy localhost:{$PORT3}
}
http://localhost:{$PORT3} {
	root {env.ROOT}
	file_server
}
`, "ROOT="+dir)
	for _, port := range []string{"PORT", "PORT2"} {
		tag := s.Get(port, "/v.mp4").Header.Get("ETag")
		a := s.Get(port, "/v.mp4", "Range: bytes=5-9")
		if a.StatusCode != 206 || a.Body != video[5:10] || a.Header.Get("Content-Range") != fmt.Sprintf("bytes 5-9/%d", len(video)) {
			t.Errorf("range: %d %q %v", a.StatusCode, a.Body, a.Header)
		}
		if a := s.Get(port, "/v.mp4", "If-None-Match: "+tag); tag == "" || a.StatusCode != 304 || a.Body != "" {
			t.Errorf("condition %s: %d %q", tag, a.StatusCode, a.Body)
		}
		if a := s.Do(port, "HEAD", "/v.mp4", ""); a.StatusCode != 200 || a.ContentLength != int64(len(video)) || a.Header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("HEAD: %d %v", a.StatusCode, a.Header)
		}
		if a := s.Get(port, "/o.json", "Range: bytes=0-9", "If-None-Match: *"); a.StatusCode != 200 || strings.Contains(a.Body, hidden) || a.Header.Get("ETag") != "" {
			t.Errorf("JSON: %d %q %v", a.StatusCode, a.Body, a.Header)
		}
	}
}

// TestTextsOfAStreamLeaveAtOnce: the upstream sends the next when the client
// has the one before.
func TestTextsOfAStreamLeaveAtOnce(t *testing.T) {
	gate := make(chan bool, 1)
	up := harness.RawUpstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, head("200 OK", asJSON, framed))
		for range gate {
			_, _ = io.WriteString(c, inChunks(order+"\n"))
		}
	})
	s := harness.Start(t, streamSite, "UPSTREAM="+up)
	gate <- true
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.Addr("PORT"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "localhost"
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for i := range 4 {
		if i > 0 {
			gate <- true
		}
		got := make([]byte, len(redacted)+1)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != redacted+"\n" {
			t.Fatalf("text %d: %q (%v)", i, got, err)
		}
	}
	close(gate)
}
