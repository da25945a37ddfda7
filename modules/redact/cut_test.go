package redact

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
)

// reverse_proxy sees only that its write is refused, and panics. The reason is
// known to redact alone, so it has to say it.
func TestReasonOfACutIsLoggedCountedAndRecorded(t *testing.T) {
	const json = "Content-Type: application/json"
	long := `{"rows":[` + strings.Repeat(`{"id":1,"ssn":"`+secret+`"},`, 10000)
	event := "data: " + body + "\n\n"
	for name, c := range map[string]struct {
		answer, reason, hint string
		offset               int64
	}{
		"syntax":    {lengthed(json, long+`1],"score":NaN}`), "syntax", "not JSON", int64(len(long) + len(`1],"score":`))},
		"truncated": {chunked(json, long), "truncated", "too early", int64(len(long))},
		"gzip":      {lengthed(json+"\nContent-Encoding: gzip", gz(long+`1],"score":NaN}`)), "syntax", "not JSON", int64(len(long) + len(`1],"score":`))},
		"event":     {chunked("Content-Type: text/event-stream", strings.Repeat(event, 2000), "data: {\"ssn\":,}\n\n"), "event", "", 7},
	} {
		t.Run(name, func(t *testing.T) {
			h, ctx := provisionIn(t, "remove ssn")
			core, logs := observer.New(zap.WarnLevel)
			h.logger = zap.New(core)
			s := serve(t, h, raw(t, c.answer))
			a := s.get()
			if a.err == nil || leaked(a.body) {
				t.Fatalf("got %d and %d bytes, which look complete", a.status, len(a.body))
			}
			found := logs.FilterMessage("aborted").All()
			if len(found) != 1 {
				t.Fatalf("logged %v", logs.All())
			}
			fields := found[0].ContextMap()
			if fields["reason"] != c.reason || fields["code"] != "unreadable_response" || fields["offset"] != c.offset ||
				!strings.Contains(fmt.Sprint(fields["hint"]), c.hint) || leaked([]byte(fmt.Sprint(fields))) {
				t.Errorf("logged %v, want reason %s at %d", fields, c.reason, c.offset)
			}
			for _, want := range []string{
				"caddy_moat_redact_refusals_total code=unreadable_response reason=" + c.reason + " 1",
				"caddy_moat_decisions_total code=unreadable_response layer=redact result=error 1",
			} {
				if got := counted(t, ctx); !slices.Contains(got, want) {
					t.Errorf("counted\n%s\nwant %s", strings.Join(got, "\n"), want)
				}
			}
			s.Close() // the handler is done
			log := s.noted()
			if list := log.Decisions(); log.Code() != "unreadable_response" || len(list) != 1 || list[0].Result != decision.Error {
				t.Errorf("noted %q %v", log.Code(), list)
			}
		})
	}
}

// An upstream that breaks off is not refused by redact, and reverse_proxy says
// so itself.
func TestUpstreamThatBreaksOffIsNoRefusal(t *testing.T) {
	h, ctx := provisionIn(t, "remove ssn")
	long := `{"rows":[` + strings.Repeat(`{"id":1,"ssn":"`+secret+`"},`, 10000)
	s := serve(t, h, raw(t, headed("200 OK", "Content-Type: application/json\nContent-Length: 9999999", long)))
	if a := s.get(); a.err == nil {
		t.Fatalf("got %d bytes, which look complete", len(a.body))
	}
	if got := strings.Join(counted(t, ctx), "\n"); strings.Contains(got, "refusals_total") {
		t.Errorf("counted\n%s", got)
	}
}

// A handler answers before it has read all of a request, of which the rest
// cannot be redacted.
func TestRequestThatIsCutAfterTheAnswerBeganIsNoted(t *testing.T) {
	for _, panics := range []bool{false, true} {
		h := provision(t, "remove ssn\nrequests {\n remove ssn\n}\nhold 1KiB")
		core, logs := observer.New(zap.WarnLevel)
		h.logger = zap.New(core)
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, body+"\n")
			w.(http.Flusher).Flush()
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				t.Error("the request looks complete")
			}
			if panics {
				panic(http.ErrAbortHandler)
			}
			return nil
		})
		s := serve(t, h, next)
		long := "[" + strings.Repeat(`{"a":"123456789"},`, 10000) + "}"
		s.get(post("application/json", long))
		s.Close()
		if found := logs.FilterMessage("aborted").All(); len(found) != 1 || found[0].ContextMap()["code"] != "invalid_request_body" {
			t.Errorf("panics %v: logged %v", panics, logs.All())
		}
		if got := s.noted().Code(); got != "invalid_request_body" {
			t.Errorf("panics %v: noted %q", panics, got)
		}
	}
}
