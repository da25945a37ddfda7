package integration

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
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
	up := rawUpstream(t, sends(whole(long, asJSON)))
	s := start(t, streamSite, "UPSTREAM="+up)
	a := s.get("PORT", "/cut")
	if a.err == nil || len(a.body) == 0 || len(a.body) >= len(long) || strings.Contains(a.body, hidden) {
		t.Errorf("got %d bytes of %d", len(a.body), len(long))
	}
	r := s.recordOf("trail", "/cut")
	if r.End != "aborted" || r.Code != "unreadable_response" {
		t.Errorf("recorded %+v", r)
	}
	if n := len(r.Decisions); n == 0 || r.Decisions[n-1].Layer != "redact" || r.Decisions[n-1].Result != "error" {
		t.Errorf("decisions %+v", r.Decisions)
	}
	for _, want := range []string{`"msg":"aborted"`, `"reason":"syntax"`, `"offset":`, `"hint":`} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
	metrics := fetchWith(t, http.DefaultClient, "http://"+s.admin+"/metrics")
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
	up := rawUpstream(t, func(c net.Conn, r *http.Request) {
		if a, ok := answers[r.URL.Path]; ok {
			_, _ = io.WriteString(c, a.answer)
			return
		}
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
		_, _ = io.WriteString(c, whole("{}", asJSON))
	})
	s := start(t, `
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
		if a := s.get("PORT", path); a.err != nil || a.body != c.want {
			t.Errorf("%s: %d %q (%v), want %q", path, a.StatusCode, a.body, a.err, c.want)
		}
	}
	for _, label := range []string{"application/vnd.elasticsearch+x-ndjson; compatible-with=8", "application/json"} {
		s.do("PORT", "POST", "/_bulk", bulk, "Content-Type: "+label)
		if want := strings.ReplaceAll(bulk, order, redacted); <-got != want {
			t.Errorf("%s: the upstream got another body than %q", label, want)
		}
	}
}

// TestTextsOfAStreamLeaveAtOnce: the upstream sends the next when the client
// has the one before.
func TestTextsOfAStreamLeaveAtOnce(t *testing.T) {
	gate := make(chan bool, 1)
	up := rawUpstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, head("200 OK", asJSON, framed))
		for range gate {
			_, _ = io.WriteString(c, inChunks(order+"\n"))
		}
	})
	s := start(t, streamSite, "UPSTREAM="+up)
	gate <- true
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.addr("PORT"), nil)
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
