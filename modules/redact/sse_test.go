package redact

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const asEvents = "Content-Type: text/event-stream"

// JSON in other fields than data is not a reason to end a stream: Wikimedia's
// EventStreams have an array in every id.
func TestOtherFieldsOfEventsAreRedacted(t *testing.T) {
	h := provision(t, "remove ssn\nmask mobile $..phone")
	data := "data: " + body + "\n\n"
	shown := "data: " + masked + "\n\n"
	for name, c := range map[string]struct{ in, want string }{
		"id, no rule":           {"event: message\nid: [{\"topic\":\"a\",\"offset\":1}]\n" + data, "event: message\nid: [{\"topic\":\"a\",\"offset\":1}]\n" + shown},
		"id":                    {"id: {\"ssn\":\"" + secret + "\",\"n\":1}\n" + data, "id: {\"n\":1}\n" + shown},
		"id without data":       {"id: {\"ssn\":1,\"n\":1}\n\n", "id: {\"n\":1}\n\n"},
		"event":                 {"event:{\"phone\":\"13812345678\"}\r\n\r\n", "event:{\"phone\":\"138****5678\"}\r\n\r\n"},
		"comment":               {": {\"ping\":1}\n\n:{\"ssn\":1}\n\n" + data, ": {\"ping\":1}\n\n:{}\n\n" + shown},
		"comment behind a mark": {"\ufeff: {\"ssn\":1}\n" + data, "\ufeff: {}\n" + shown},
		"unknown field":         {"x: {\"ssn\":1}\n" + data, "x: {}\n" + shown},
		"JSON lines":            {body + "\n\n" + body + "\n\n", masked + "\n\n" + masked + "\n\n"},
		// What is broken is left out, as is all that could be the rest of it.
		"broken comment": {": ok\n: {\"a\":\n: \"ssn\":\"" + secret + "\"}\n" + data + ": ping\n\n", ": ok\n:\n:\n" + shown + ":\n\n"},
		"broken id":      {"id: {\"ssn\":\"" + secret + "\n" + data + "id: 7\nretry: 3\n\n", shown + "\n"},
		"text":           {"event: [info]\nid: {x}\n: [x] y\n" + data, "event: [info]\nid: {x}\n: [x] y\n" + shown},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, h, raw(t, chunked(asEvents, c.in))).get().is(t, 200, c.want)
			serve(t, h, raw(t, chunked(asEvents, strings.Split(c.in, "")...))).get().is(t, 200, c.want)
		})
	}
	// A field of a name that means nothing, with the rest of a document behind it.
	a := serve(t, h, raw(t, chunked(asEvents, data+"{\"a\":\n \"ssn\":\""+secret+"\"\n}\n\n"))).get()
	if a.err == nil || leaked(a.body) {
		t.Errorf("JSON in no field: %q", a.body)
	}
}

func TestWordsInEventsPass(t *testing.T) {
	h := provision(t, "remove ssn")
	for _, word := range []string{
		"[DONE]", "[DONE] ", " [DONE]", "\t[DONE]\t", "[END]", "ping", "keepalive", "keep-alive", "heartbeat", "OK", "done.", "1.2.3",
		"2026-11-30T10:00:00Z", "2026-11-30T10:00:00+08:00", "true-ish", "nothing", "/messages?sessionId=abc-1", "/messages/?session_id=0f&x=%20y",
		"https://api.example.com:8443/messages?sessionId=abc", "/",
	} {
		in := "data: {\"ssn\":1}\n\ndata: " + word + "\n\n"
		serve(t, h, raw(t, chunked(asEvents, in))).get().is(t, 200, "data: {}\n\ndata: "+word+"\n\n")
	}
	for _, text := range []string{
		"ssn " + secret, "ssn=" + secret, "ssn:" + secret, "error: " + secret, "/x " + secret, "/x\"" + secret, "'ssn':'" + secret + "'",
		"<ssn>" + secret, "{ssn:" + secret + "}", "[ssn:" + secret + "]", "{" + secret + "}", "a,b," + secret, secret + "\ndata: b",
		strings.Repeat("x", 2000) + secret, "http:" + secret + ":1 2",
	} {
		core, logs := observer.New(zap.WarnLevel)
		h := provision(t, "remove ssn")
		h.logger = zap.New(core)
		a := serve(t, h, raw(t, chunked(asEvents, "data: {\"ssn\":1}\n\ndata: "+text+"\n\n"))).get()
		if leaked(a.body) || a.err == nil && a.status == 200 {
			t.Errorf("%q: got %d %q", text, a.status, a.body)
		}
		list := logs.All()
		if len(list) != 1 {
			t.Fatalf("%q: logged %v", text, list)
		}
		hint, _ := list[0].ContextMap()["hint"].(string)
		if !strings.HasSuffix(hint, "write: pass text/plain") {
			t.Errorf("%q: hint %q", text, hint)
		}
		if says, _ := list[0].ContextMap()["error"].(string); !strings.Contains(says, "event 2: ") {
			t.Errorf("%q: error %q", text, says)
		}
		open := provision(t, "remove ssn\npass text/plain")
		in := "data: " + text + "\n\n"
		serve(t, open, raw(t, chunked(asEvents, in))).get().is(t, 200, in)
	}
}

// What passes as text is a string: detect looks into it.
func TestTextInEventsIsLookedInto(t *testing.T) {
	h := provision(t, "detect mobile email mask last4\npass text/plain")
	for in, want := range map[string]string{
		"data: call 13812345678 now\n\n":                        "data: call *******5678 now\n\n",
		"data: say \"hi\" <b>\ndata: to a@example.com\n\n":      "data: say \"hi\" <b>\ndata: to *********.com\n\n",
		"data: /messages?to=a@example.com\n\n":                  "data: /messages?to=*********.com\n\n",
		"data: nothing \\ \"here\"\ndata: \ndata:é\u2028 x\n\n": "data: nothing \\ \"here\"\ndata: \ndata:é\u2028 x\n\n",
	} {
		serve(t, h, raw(t, chunked(asEvents, in))).get().is(t, 200, want)
	}
}

// TestCutEventsSayThatTheyAreCut: a client of a language model takes a stream
// that merely ends for a whole one.
func TestCutEventsSayThatTheyAreCut(t *testing.T) {
	s := serve(t, provision(t, "remove ssn"), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"a\":1}\n\n")
		_ = http.NewResponseController(w).Flush()
		_, err := io.WriteString(w, "data: {\"a\":2,\"ssn\"\n\n")
		return err
	}))
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	want := "data: {\"a\":1}\n\n\nevent: error\ndata: {\"error\":{\"message\":\"The response of the service cannot be shown.\",\"type\":\"unreadable_response\",\"code\":\"unreadable_response\"}}\n\n"
	if err == nil || string(body) != want {
		t.Errorf("%q, %v", body, err)
	}
}
