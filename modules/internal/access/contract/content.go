package contract

import (
	"bytes"
	"errors"
	"io"
	mimemultipart "mime/multipart"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// content checks the content of a request.
func (c *check) content(op *Operation) *problem.Problem {
	if !c.r.Body.HasContent() {
		if op.body != nil && op.body.required {
			c.fault(problem.Fault{In: inBody, Keyword: "required", Expected: "content"})
		}
		return nil
	}
	if op.body == nil {
		if !c.limits.Open {
			c.fault(problem.Fault{In: inBody, Keyword: "unknown_content", Expected: "no content"})
		}
		return nil
	}
	refused := func(detail string) *problem.Problem {
		return &problem.Problem{Status: http.StatusUnsupportedMediaType, Code: CodeMedia, Detail: detail}
	}
	name, params, ok := contentType(c.r.Header)
	if !ok {
		return refused("the request needs one Content-Type that can be read")
	}
	m := choose(op.body.content, name)
	if m == nil {
		if c.limits.Open {
			return nil
		}
		return refused("the API does not take this media type here")
	}
	kind := m.kindOf(name)
	if kind == opaque {
		return nil
	}
	if coded(c.r.Header) {
		return refused("the content must be sent without a content coding")
	}
	if !utf8Charset(params) {
		return refused("the content must be sent in UTF-8")
	}
	text, err := c.r.Body.Content(c.limits.MaxBody)
	switch {
	case errors.Is(err, ErrTooLarge):
		return &problem.Problem{Status: http.StatusRequestEntityTooLarge, Code: CodeTooLarge, Detail: "the content is larger than the API takes"}
	case err != nil:
		c.fault(problem.Fault{In: inBody, Keyword: "syntax", Expected: "content that can be read to its end"})
		return nil
	}
	switch kind {
	case jsonText:
		c.read(m, text, schema.Request)
	case form:
		c.form(m, text)
	case multipart:
		c.multipart(m, text, params["boundary"])
	case plainText:
		if c.text, ok = schema.AppendString(c.text[:0], text); !ok {
			c.fault(problem.Fault{In: inBody, Keyword: "encoding", Expected: "UTF-8"})
			return nil
		}
		c.read(m, c.text, schema.Request)
	}
	return nil
}

// read checks JSON by the schema of a media type.
func (c *check) read(m *media, text []byte, direction schema.Direction) {
	at := problem.Fault{In: inBody}
	if err := c.tape.Read(text, c.limits.JSON); err != nil {
		c.unreadable(at, err, text)
		return
	}
	if m.schema == nil {
		return
	}
	v := schema.Get()
	defer v.Put()
	if !v.Validate(m.schema, &c.tape, 0, direction) || !v.Closed(0, c.limits.Open) {
		c.tell(v, at)
	}
}

// form checks a form that is written like a query.
func (c *check) form(m *media, text []byte) {
	var err error
	if c.pairs, err = parsePairs(c.pairs[:0], string(text)); err != nil {
		c.fault(problem.Fault{In: inBody, Keyword: "syntax", Expected: "a form of name=value pairs that are percent-encoded, without semicolons"})
		return
	}
	doc := []byte{'{'}
	before := len(c.faults)
	for _, f := range m.order {
		found, err := f.fromPairs(c.pairs, &c.w)
		switch {
		case err != nil:
			c.fault(problem.Fault{In: inBody, Pointer: pointerTo(f.name), Keyword: keywordOf(err), Expected: err.Error()})
		case found:
			doc = c.appendField(doc, f)
		}
	}
	for i := range c.pairs {
		pr := &c.pairs[i]
		if pr.used {
			continue
		}
		shape, _ := m.shape.Member(pr.name)
		value, err := decode(pr.raw)
		if err != nil {
			c.fault(problem.Fault{In: inBody, Pointer: pointerTo(pr.name), Keyword: "encoding", Expected: err.Error()})
			return
		}
		doc = c.appendMember(doc, pr.name, shape, value)
	}
	if len(c.faults) == before {
		c.read(m, append(doc, '}'), schema.Request)
	}
}

func pointerTo(name string) string {
	return "/" + cut(strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"))
}

// appendField appends a member of a form to an object.
func (c *check) appendField(doc []byte, f *field) []byte {
	if len(doc) > 1 {
		doc = append(doc, ',')
	}
	doc, _ = schema.AppendString(doc, []byte(f.name))
	doc = append(doc, ':')
	ok := true
	if f.json {
		doc = c.appendText(doc, f.name, c.w.texts[0])
	} else {
		doc, ok = f.appendJSON(doc, &c.w, false)
	}
	if !ok {
		c.fault(problem.Fault{In: inBody, Pointer: pointerTo(f.name), Keyword: "encoding", Expected: errEncoding.Error()})
	}
	return doc
}

// appendText appends JSON that is inside of a form. By itself it has to be one value,
// or it could add members to the form.
func (c *check) appendText(doc []byte, name, text string) []byte {
	if err := c.tape.Read([]byte(text), c.limits.JSON); err != nil {
		c.fault(problem.Fault{In: inBody, Pointer: pointerTo(name), Keyword: "syntax", Expected: "JSON (RFC 8259)"})
		return append(doc, "null"...)
	}
	return append(doc, text...)
}

// appendMember appends a member that nobody has described to an object.
func (c *check) appendMember(doc []byte, name string, shape *schema.Shape, value string) []byte {
	if len(doc) > 1 {
		doc = append(doc, ',')
	}
	doc, ok1 := schema.AppendString(doc, []byte(name))
	doc, ok2 := shape.AppendScalar(append(doc, ':'), value, false)
	if !ok1 || !ok2 {
		c.fault(problem.Fault{In: inBody, Pointer: pointerTo(name), Keyword: "encoding", Expected: errEncoding.Error()})
	}
	return doc
}

// maxParts is how many parts a multipart form can have.
const maxParts = 1000

// part is one of a multipart form.
type part struct {
	name, text string
	json       bool
	file       bool
}

var errParts = errors.New("a form of parts (RFC 7578), each with one name and no transfer encoding")

// multipart checks a form of parts.
func (c *check) multipart(m *media, text []byte, boundary string) {
	parts, fault := readParts(m, text, boundary)
	if fault != nil {
		c.fault(*fault)
		return
	}
	doc := []byte{'{'}
	before := len(c.faults)
	for i, p := range parts {
		if slices.ContainsFunc(parts[:i], func(o part) bool { return o.name == p.name }) {
			if f := m.fields[p.name]; f == nil || !f.shape.IsArray() {
				c.fault(problem.Fault{In: inBody, Pointer: pointerTo(p.name), Keyword: "repeated", Expected: errTwice.Error()})
			}
			continue
		}
		doc = c.appendPart(doc, m, parts, p)
	}
	if len(c.faults) == before {
		c.read(m, append(doc, '}'), schema.Request)
	}
}

// appendPart appends a part, with those of its name if it is an array, to an object.
func (c *check) appendPart(doc []byte, m *media, parts []part, p part) []byte {
	if len(doc) > 1 {
		doc = append(doc, ',')
	}
	doc, ok := schema.AppendString(doc, []byte(p.name))
	doc = append(doc, ':')
	shape, _ := m.shape.Member(p.name)
	one := func(p part, shape *schema.Shape) {
		switch {
		case p.json:
			doc = c.appendText(doc, p.name, p.text)
		case p.file:
			doc = append(doc, `""`...) // no schema has a say in what is in a file
		default:
			var good bool
			doc, good = shape.AppendScalar(doc, p.text, false)
			ok = ok && good
		}
	}
	if !shape.IsArray() || p.json && strings.HasPrefix(strings.TrimLeft(p.text, " \t\r\n"), "[") {
		one(p, shape)
	} else {
		doc = append(doc, '[')
		first := true
		for _, o := range parts {
			if o.name != p.name {
				continue
			}
			if !first {
				doc = append(doc, ',')
			}
			first = false
			one(o, shape.Items())
		}
		doc = append(doc, ']')
	}
	if !ok {
		c.fault(problem.Fault{In: inBody, Pointer: pointerTo(p.name), Keyword: "encoding", Expected: "UTF-8"})
	}
	return doc
}

// readParts takes a multipart form apart.
func readParts(m *media, text []byte, boundary string) ([]part, *problem.Fault) {
	broken := &problem.Fault{In: inBody, Keyword: "syntax", Expected: errParts.Error()}
	if boundary == "" || !bytes.HasPrefix(text, []byte("--"+boundary)) {
		return nil, broken // what is before the first part is read by some
	}
	reader := mimemultipart.NewReader(bytes.NewReader(text), boundary)
	var parts []part
	for {
		raw, err := reader.NextRawPart()
		if err == io.EOF { //nolint:errorlint // as documented
			return parts, nil
		}
		if err != nil || len(parts) >= maxParts {
			return nil, broken
		}
		content, err := io.ReadAll(raw)
		name, named := partName(raw)
		if err != nil || !named || raw.Header.Get("Content-Transfer-Encoding") != "" {
			return nil, broken
		}
		p := part{name: name, text: string(content)}
		if fault := p.describe(m.fields[name], raw); fault != nil {
			return nil, fault
		}
		parts = append(parts, p)
	}
}

// partName returns the name of a part that has one.
func partName(raw *mimemultipart.Part) (string, bool) {
	if len(raw.Header["Content-Disposition"]) != 1 || len(raw.Header["Content-Type"]) > 1 {
		return "", false
	}
	// Who does not know name* of RFC 8187 takes the other name (RFC 7578 section 4.2).
	if strings.Contains(strings.ReplaceAll(strings.ToLower(raw.Header.Get("Content-Disposition")), "filename*", ""), "name*") {
		return "", false
	}
	name := raw.FormName()
	return name, name != "" && utf8.ValidString(name)
}

// describe says how a part is read, and refuses one of another media type than the
// document has for it.
func (p *part) describe(f *field, raw *mimemultipart.Part) *problem.Fault {
	sent := ""
	if raw.Header.Get("Content-Type") != "" {
		name, params, ok := contentType(http.Header(raw.Header))
		if !ok || !utf8Charset(params) {
			return &problem.Fault{In: inBody, Pointer: pointerTo(p.name), Keyword: "contentType", Expected: "one media type, in UTF-8"}
		}
		sent = name
	}
	if f == nil {
		return nil
	}
	p.json, p.file = f.json, f.file
	switch {
	case sent == "" && (len(f.types) == 0 || f.json):
	case len(f.types) > 0:
		ok := slices.ContainsFunc(f.types, func(t string) bool { return choose([]*media{{pattern: t}}, sent) != nil })
		if !ok {
			return &problem.Fault{In: inBody, Pointer: pointerTo(p.name), Keyword: "contentType", Expected: "the media type " + strings.Join(f.types, " or ")}
		}
		p.json = isJSON(sent)
	case !f.file && sent != "text/plain":
		return &problem.Fault{In: inBody, Pointer: pointerTo(p.name), Keyword: "contentType", Expected: "the media type text/plain"}
	}
	return nil
}
