package redact

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestMetrics(t *testing.T) {
	h, err := parse("redact {\n except role manager {\n remove ssn\n }\n}")
	if err != nil {
		t.Fatal(err)
	}
	ctx := newContext(t)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	again, _ := parse("redact {\n remove a\n}")
	if err := again.Provision(ctx); err != nil {
		t.Fatalf("a second handler: %v", err)
	}
	for _, a := range []struct{ contentType, body, caller string }{
		{"application/json", `[{"ssn":1},{"ssn":2}]`, ""},
		{"application/json", `{"ssn":1}`, "m:manager"},
		{"application/json", `{`, ""},
		{"text/csv", `a`, ""},
	} {
		serve(t, h, answers(200, a.contentType, a.body)).get(as(a.caller))
	}
	got := counted(t, ctx)
	want := []string{
		"caddy_moat_decisions_total code= layer=redact result=allow 1",
		"caddy_moat_decisions_total code= layer=redact result=skip 1",
		"caddy_moat_decisions_total code=unreadable_response layer=redact result=error 2",
		"caddy_moat_redact_fields_total 2",
		"caddy_moat_redact_refusals_total code=unreadable_response reason=media_type 1",
		"caddy_moat_redact_refusals_total code=unreadable_response reason=truncated 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// counted returns what our metrics say, a line for each.
func counted(t testing.TB, ctx caddy.Context) []string {
	t.Helper()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "caddy_moat_") {
			continue
		}
		for _, m := range f.GetMetric() {
			line := f.GetName()
			for _, l := range m.GetLabel() {
				line += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			got = append(got, fmt.Sprintf("%s %v", line, m.GetCounter().GetValue()))
		}
	}
	slices.Sort(got)
	return got
}

func TestConnectIsRefusedUnlessAllowed(t *testing.T) {
	connect := func(r *http.Request) { r.Method = http.MethodConnect }
	next := answers(200, "", secret)
	w, err := direct(t, provision(t, "remove ssn"), next, connect)
	if err != nil || w.Code != 502 || !strings.Contains(w.Body.String(), "upgrade_refused") {
		t.Errorf("got %d %q (%v)", w.Code, w.Body, err)
	}
	w, err = direct(t, provision(t, "remove ssn\nwebsocket allow"), next, connect)
	if err != nil || w.Code != 200 || w.Body.String() != secret {
		t.Errorf("allowed: %d %q (%v)", w.Code, w.Body, err)
	}
}
