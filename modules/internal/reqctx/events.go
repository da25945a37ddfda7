package reqctx

import (
	"encoding/json"
	"mime"
	"net/http"
)

// EndEvents ends a stream of Server-Sent Events before its end, with an event of
// the type error that says why: clients of language models take a stream that
// merely stops for one that is complete. Whatever was sent last becomes a part
// of that event and is taken for nothing else. Other responses are left as they
// are.
//
// The event's data is {"error":{"message","type","code"}}, as OpenAI sends it,
// where type and code are both the code.
func EndEvents(w http.ResponseWriter, code, message string) {
	h := w.Header()
	if media, _, _ := mime.ParseMediaType(h.Get("Content-Type")); media != "text/event-stream" || h.Get("Content-Encoding") != "" {
		return
	}
	type reason struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Code    string `json:"code"`
	}
	data, err := json.Marshal(map[string]reason{"error": {message, code, code}})
	if err != nil {
		return // strings: cannot happen
	}
	if _, err := w.Write([]byte("\nevent: error\ndata: " + string(data) + "\n\n")); err == nil {
		_ = http.NewResponseController(w).Flush() //nolint:bodyclose // of the controller's
	}
}
