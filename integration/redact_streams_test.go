package integration

import (
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
