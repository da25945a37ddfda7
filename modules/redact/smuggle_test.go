package redact

import "testing"

// A client strips one byte order mark, at the beginning of the stream. To it, a
// later line with one is not a data line; if it were one to us, it could shift what
// the others mean.
func TestDataLineBehindByteOrderMarkIsRefused(t *testing.T) {
	h := provision(t, "remove $.ssn")
	for name, stream := range map[string]string{
		"in the middle":     "data: {\n\ufeffdata: \"x\":{\ndata: \"ssn\":\"" + secret + "\"\n\ufeffdata: }\ndata: }\n\n",
		"at the beginning":  "\ufeffdata: {\ndata: \"ssn\":1\n\ufeffdata: }\ndata: }\n\n",
		"two of them":       "\ufeff\ufeffdata: {\"x\":\ndata: {\"ssn\":\"" + secret + "\"}\n\ufeffdata: }\n\n",
		"in a later event":  "data: {}\n\n\ufeffdata: {\"x\":\ndata: {\"ssn\":\"" + secret + "\"}\n\ufeffdata: }\n\n",
		"before an unknown": "data: {}\n\ufeffx: 1\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, h, answers(200, "text/event-stream", stream)).get()
			a.refused(t, 502, "unreadable_response")
		})
	}
	in := "\ufeffdata: {\"ssn\":1,\"a\":2}\n\n"
	serve(t, h, answers(200, "text/event-stream", in)).get().is(t, 200, "\ufeffdata: {\"a\":2}\n\n")
}
