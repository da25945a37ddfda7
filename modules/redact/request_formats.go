package redact

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// rewriter redacts a body that is written to it: the engine for JSON, and
// those of other formats, which use it.
type rewriter interface {
	io.Writer
	Close() error
	Count() int
	Fired() []string
}

// requestText is what is known of a request body before it is read.
type requestText struct {
	method string
	query  string
	header http.Header
	label  label
	kind   kind // what judge has made of it
	sized  bool // its length is known
	first  []byte
}

// reads reports whether bodies of a kind are read.
func reads(k kind) bool {
	switch k {
	case document, sequence, form, multi, envelopes:
		return true
	}
	return false
}

// read chooses what redacts the body.
func (b *requestBody) read(t *requestText, h *Handler, v *view, caller redaction.Caller) (f fault) {
	b.rewriter, f = newRequestRewriter(t, h, v, caller, &b.out)
	return f
}

func newRequestRewriter(t *requestText, h *Handler, v *view, caller redaction.Caller, dst io.Writer) (rewriter, fault) {
	common := fields{view: v, max: h.MaxValue, caller: caller}
	switch {
	case t.kind == form:
		return &formRewriter{fields: common, dst: dst}, fault{}
	case t.kind == multi:
		if t.label.mediaType != "multipart/form-data" {
			return nil, fault{reason: "media_type", detail: t.label.mediaType + " in a request", passable: true}
		}
		if d := newFormData(t.header.Get("Content-Type"), common, dst); d != nil {
			return d, fault{}
		}
		return nil, fault{reason: "media_type", detail: "multipart/form-data whose boundary is not certain"}
	case t.kind == envelopes:
		return newEnveloped(t.header, h, common, dst), fault{}
	case t.isPatch():
		return &patchRewriter{fields: common, dst: dst, most: h.MaxEvent, sure: t.isLabelledPatch(), path: h.Requests.namesPaths()}, fault{}
	}
	text := &jsonBody{Rewriter: v.program.NewRewriter(dst), document: t.kind == document, ascii: t.label.charset == superCharset}
	text.SetCaller(caller)
	if text.document && t.sized {
		text.SetLines()
	}
	if t.label.kind == form {
		return &eitherWay{text, formRewriter{fields: common, dst: io.Discard, dry: true}}, fault{}
	}
	return text, fault{}
}

// isPatch reports whether the body may be a JSON Patch, whatever its label.
func (t *requestText) isPatch() bool {
	if t.kind != document {
		return false
	}
	text := trimSpace(bytes.TrimPrefix(t.first, bom))
	return t.isLabelledPatch() || t.mayPatch() && len(text) > 0 && text[0] == '['
}

// mayPatch reports whether somebody may take the request for one that patches:
// by its method, by another label, or by one of the ways to say another method.
func (t *requestText) mayPatch() bool {
	if t.method == http.MethodPatch || strings.Contains(t.label.mediaType, "patch") || strings.Contains(strings.ToLower(t.query), "patch") {
		return true
	}
	for name, values := range t.header {
		if strings.Contains(name, "Method") && slices.ContainsFunc(values, func(v string) bool { return strings.Contains(strings.ToLower(v), "patch") }) {
			return true
		}
	}
	return false
}

func (t *requestText) isLabelledPatch() bool {
	return strings.HasPrefix(t.label.mediaType, "application/json-patch")
}

// jsonBody redacts JSON.
type jsonBody struct {
	*redaction.Rewriter
	document bool // not a sequence, which may be empty
	ascii    bool // a byte beyond ASCII may be anything
}

// Write takes bytes of the body.
func (b *jsonBody) Write(p []byte) (int, error) {
	if b.ascii {
		if n := ascii(p); n < len(p) {
			if _, err := b.Rewriter.Write(p[:n]); err != nil {
				return 0, err
			}
			f := beyondASCII()
			return 0, &f
		}
	}
	return b.Rewriter.Write(p)
}

// Close ends the body.
func (b *jsonBody) Close() error {
	if b.document && b.Texts() == 0 {
		f := noText()
		return &f
	}
	return b.Rewriter.Close()
}
