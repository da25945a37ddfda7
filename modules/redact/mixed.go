package redact

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// maxMixed is how deep multipart bodies may stand in one another.
const maxMixed = 4

// mixed redacts a multipart response part by part: multipart/mixed of GraphQL's
// @defer and @stream, and of batches (OData), whose parts are HTTP responses. What
// of a part is redacted leaves at once, as does a delimiter.
type mixed struct {
	fields
	h     *Handler
	dst   io.Writer
	parts *parts
	depth int

	head  []byte // the header of the part, until it is known what it is
	inner []byte // of a part that is an HTTP response: its own header
	http  bool   // inner is not complete
	label label
	first []byte    // bytes that do not yet tell what the part is
	open  bool      // first is being collected
	json  *jsonBody // what redacts the part, nil if it passes
	below *mixed
}

// newMixed returns nil if the media type does not say how to read the body.
func newMixed(contentType string, h *Handler, f fields, dst io.Writer, depth int) *mixed {
	m := &mixed{fields: f, h: h, dst: dst, depth: depth}
	var ok bool
	if m.parts, ok = newParts(contentType, m); !ok || depth > maxMixed {
		return nil
	}
	return m
}

// newFramed returns what redacts a response of parts or envelopes.
func newFramed(k kind, header http.Header, h *Handler, v *view, caller redaction.Caller, dst io.Writer) (rewriter, fault) {
	common := fields{view: v, max: h.MaxValue, caller: caller}
	if k == envelopes {
		return newEnveloped(header, h, common, dst), fault{}
	}
	if m := newMixed(header.Get("Content-Type"), h, common, dst, 1); m != nil {
		return m, fault{}
	}
	return nil, fault{reason: "media_type", detail: "a multipart body whose boundary is not certain"}
}

// Write takes bytes of the body.
func (m *mixed) Write(p []byte) (int, error) {
	if err := m.parts.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the body.
func (m *mixed) Close() error { return m.parts.close() }

func (m *mixed) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := m.dst.Write(p)
	return err
}

func (m *mixed) space(p []byte) error            { return m.put(p) }
func (m *mixed) delimiter(p []byte) error        { return m.put(p) }
func (m *mixed) tail(p []byte, final bool) error { return m.put(p) }

func (m *mixed) header(p []byte) error {
	m.head, m.inner, m.first = append(m.head[:0], p...), m.inner[:0], m.first[:0]
	m.open, m.json, m.below = true, nil, nil
	h, err := m.read(p)
	if err != nil {
		return err
	}
	m.http = m.label.mediaType == "application/http"
	if m.label.kind != multi {
		return nil
	}
	m.below = newMixed(h.Get("Content-Type"), m.h, fields{view: m.view, max: m.max, caller: m.caller}, m.dst, m.depth+1)
	if m.below == nil {
		return partFormFault("a part whose boundary is not certain")
	}
	m.open = false
	return m.put(withoutLengths(m.head))
}

// read reads a header, into label.
func (m *mixed) read(p []byte) (http.Header, error) {
	h, ok := partHeader(p)
	if !ok {
		return nil, partFormFault("a malformed header")
	}
	if c := readCoding(h); c.name != "" || c.doubt != "" {
		return nil, &fault{reason: "encoding", detail: "a part that is encoded"}
	}
	m.label = readLabel(h, m.h.pass)
	if m.label.kind == listed && isMultipart(m.label.mediaType) {
		m.label.kind = multi
	}
	return h, nil
}

// isMultipart reports whether a media type is multipart, of the sort whose parts
// are looked into even if it is to pass.
func isMultipart(mediaType string) bool {
	k, _ := labelled(mediaType)
	return k == multi
}

func (m *mixed) body(p []byte) error {
	switch {
	case m.http:
		return m.innerHeader(p)
	case m.below != nil:
		return m.below.parts.write(p)
	case m.json != nil:
		_, err := m.json.Write(p)
		return err
	case !m.open:
		return m.put(p)
	}
	m.first = append(m.first, p...)
	if !decisive(m.label, m.first) {
		return nil
	}
	return m.decide()
}

// innerHeader collects the status line and the header of a part that is an
// HTTP response.
func (m *mixed) innerHeader(p []byte) error {
	m.inner = append(m.inner, p...)
	i := bytes.Index(m.inner, []byte("\r\n\r\n"))
	if i < 0 {
		if len(m.inner) > maxPartHeader {
			return partFormFault("a header of more than 16 KiB")
		}
		return nil
	}
	rest := bytes.Clone(m.inner[i+4:])
	m.inner = m.inner[:i+4]
	line, header, _ := bytes.Cut(m.inner, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/")) {
		return partFormFault("a part that is not an HTTP response")
	}
	if _, err := m.read(header); err != nil {
		return err
	}
	if m.label.kind == multi {
		return partFormFault("parts within an HTTP response within a part")
	}
	m.http = false
	if len(rest) == 0 {
		return nil
	}
	return m.body(rest)
}

// decide chooses what becomes of the part.
func (m *mixed) decide() error {
	m.open = false
	k, f := judge(m.label, m.first)
	switch {
	case f.is():
	case k == events, k == form, k == envelopes:
		f = fault{reason: "media_type", detail: "a part of type " + m.label.mediaType, passable: true}
	case k == document, k == sequence:
		m.json = &jsonBody{Rewriter: m.view.program.NewRewriter(m.dst), document: k == document, ascii: m.label.charset == superCharset}
		m.json.SetCaller(m.caller)
	}
	if f.is() && !m.h.passes(&f) {
		return &f
	}
	if err := m.putHead(); err != nil {
		return err
	}
	if m.json == nil {
		return m.put(m.first)
	}
	_, err := m.json.Write(m.first)
	return err
}

// putHead writes the header of the part, without what would not be true of it.
func (m *mixed) putHead() error {
	if m.json == nil {
		if err := m.put(m.head); err != nil {
			return err
		}
		return m.put(m.inner)
	}
	if err := m.put(withoutLengths(m.head)); err != nil || len(m.inner) == 0 {
		return err
	}
	line, header, _ := strings.Cut(string(m.inner), "\r\n")
	return m.put(append([]byte(line+"\r\n"), withoutLengths([]byte(header))...))
}

func (m *mixed) end() error {
	switch {
	case m.http && len(m.inner) > 0:
		return &fault{reason: "truncated", detail: "multipart: an HTTP response without the end of its header"}
	case m.below != nil:
		defer m.add(&m.below.fields)
		return m.below.Close()
	case m.open && len(m.first) > 0:
		if err := m.decide(); err != nil {
			return err
		}
	case m.open:
		return m.putHead()
	}
	if m.json == nil {
		return nil
	}
	err := m.json.Close()
	m.note(m.json.Rewriter)
	return err
}
