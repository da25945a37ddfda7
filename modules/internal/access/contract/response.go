package contract

import (
	"net/http"
	"strconv"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// In of the faults of responses, beside those of header fields and bodies.
const inStatus = "status"

// Expectation is what an operation may send with one status and media type.
type Expectation struct {
	Faults []problem.Fault // what is wrong with status and header
	Reads  bool            // the content is to be checked
	Empty  bool            // there must be no content

	doc   *Document
	media *media
}

// Response says what is expected of a response to a method. A status that is not
// described is a fault, but for 304, which says nothing of its own.
func (d *Document) Response(op *Operation, method string, status int, header http.Header, limits *Limits) *Expectation {
	e := &Expectation{doc: d}
	if status < 200 || status == http.StatusNotModified {
		return e
	}
	text := strconv.Itoa(status)
	r := op.responses[text]
	if r == nil {
		r = op.responses[text[:1]+"XX"]
	}
	if r == nil {
		r = op.responses["DEFAULT"]
	}
	if r == nil {
		if len(op.responses) > 0 && !limits.Open {
			e.Faults = append(e.Faults, problem.Fault{In: inStatus, Keyword: "undocumented_status", Expected: "a status that the API documents"})
		}
		return e
	}
	c := checks.Get().(*check)
	c.doc, c.limits, c.faults = d, limits, nil
	for _, p := range r.headers {
		c.header(p, header)
	}
	e.Faults = append(e.Faults, c.faults...)
	c.release()
	if method == http.MethodHead || status == http.StatusNoContent || status == http.StatusResetContent {
		return e
	}
	e.content(r, header, limits)
	return e
}

func (e *Expectation) content(r *response, header http.Header, limits *Limits) {
	if len(r.content) == 0 {
		e.Empty = !limits.Open
		return
	}
	name, params, ok := contentType(header)
	if ok {
		e.media = choose(r.content, name)
	}
	switch {
	case e.media == nil && len(header["Content-Type"]) == 0:
		e.Empty = !limits.Open // no content has no media type
	case e.media == nil:
		if !limits.Open {
			e.Faults = append(e.Faults, problem.Fault{In: inHeader, Name: "Content-Type", Keyword: "contentType", Expected: "a media type that the API documents"})
		}
	case e.media.kindOf(name) != jsonText:
	case coded(header) || !utf8Charset(params):
		e.Faults = append(e.Faults, problem.Fault{In: inBody, Keyword: "encoding", Expected: "UTF-8 without a content coding"})
	default:
		e.Reads = true
	}
}

// Check returns what is wrong with the content of a response.
func (e *Expectation) Check(text []byte, limits *Limits) []problem.Fault {
	c := checks.Get().(*check)
	defer c.release()
	c.doc, c.limits, c.faults = e.doc, limits, nil
	c.read(e.media, text, schema.Response)
	return c.faults
}
