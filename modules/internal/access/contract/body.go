package contract

import (
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
)

// kind is how content is read.
type kind uint8

const (
	opaque    kind = iota // bytes that nobody looks into
	jsonText              // JSON
	form                  // application/x-www-form-urlencoded
	multipart             // multipart/form-data
	plainText             // text of which the schema is a string
)

// body is what a request can have as its content.
type body struct {
	required bool
	content  []*media // the most specific first
}

// response is what an operation can send.
type response struct {
	content []*media
	headers []*parameter
}

// media is content of one media type, or of a range of them.
type media struct {
	pattern string // in small letters: application/json, text/*
	kind    kind
	schema  *schema.Schema
	shape   *schema.Shape
	fields  map[string]*field // of a form
	order   []*field          // by name
}

// field is a member of a form.
type field struct {
	*parameter
	types []string // media types that a part can have
	json  bool
	file  bool // bytes that nobody looks into
}

// requestBody reads what an operation takes.
func (l *loader) requestBody(op *Operation, n *node) error {
	if n == nil {
		return nil
	}
	n, err := l.files.follow(n)
	if err != nil {
		return err
	}
	op.body = &body{required: n.flag("required")}
	op.body.content, err = l.mediaTypes(n.get("content"), true)
	if err == nil && len(op.body.content) == 0 {
		return n.errorf("the request body has no content: every body would be rejected")
	}
	return err
}

// responses reads what an operation sends.
func (l *loader) responses(op *Operation, n *node) error {
	if n == nil {
		return nil
	}
	for _, status := range n.names {
		if strings.HasPrefix(status, "x-") {
			continue
		}
		if !isStatus(status) {
			return n.named[status].errorf("%s is no status: write 200, 2XX or default", status)
		}
		r, err := l.files.follow(n.named[status])
		if err != nil {
			return err
		}
		made := new(response)
		if made.content, err = l.mediaTypes(r.get("content"), false); err != nil {
			return err
		}
		if made.headers, err = l.headers(r.get("headers")); err != nil {
			return err
		}
		op.responses[strings.ToUpper(status)] = made // 2XX, and DEFAULT
	}
	return nil
}

func isStatus(text string) bool {
	if text == "default" {
		return true
	}
	return len(text) == 3 && text[0] >= '1' && text[0] <= '5' && (strings.EqualFold(text[1:], "XX") || text[1]-'0' <= 9 && text[2]-'0' <= 9)
}

func (l *loader) headers(n *node) ([]*parameter, error) {
	if n == nil {
		return nil, nil
	}
	var list []*parameter
	for _, name := range n.names {
		h, err := l.files.follow(n.named[name])
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(name, "Content-Type") {
			continue
		}
		p := &parameter{node: h, name: http.CanonicalHeaderKey(name), in: inHeader, required: h.flag("required")}
		if err := l.describe(p, h); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// mediaTypes reads content. In responses, what is not looked into is no matter of the
// client.
func (l *loader) mediaTypes(n *node, request bool) ([]*media, error) {
	if n == nil {
		return nil, nil
	}
	var list []*media
	for _, name := range n.names {
		v, err := l.files.follow(n.named[name])
		if err != nil {
			return nil, err
		}
		m, err := l.media(name, v, request)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(o *media) bool { return o.pattern == m.pattern }) {
			return nil, v.errorf("the media type %s is there twice", m.pattern)
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b *media) int { return strings.Count(a.pattern, "*") - strings.Count(b.pattern, "*") })
	return list, nil
}

func (l *loader) media(name string, n *node, request bool) (*media, error) {
	pattern, _, err := mime.ParseMediaType(name)
	if err != nil || !strings.Contains(pattern, "/") {
		return nil, n.errorf("%s is no media type", name)
	}
	m := &media{pattern: pattern}
	switch {
	case isJSON(pattern):
		m.kind = jsonText
	case pattern == "application/x-www-form-urlencoded":
		m.kind = form
	case pattern == "multipart/form-data":
		m.kind = multipart
	}
	if !request && (m.kind == form || m.kind == multipart) {
		m.kind = opaque
	}
	if items := n.get("itemSchema"); items != nil && request {
		l.unenforced(items, "itemSchema: sequences of %s are not checked", pattern)
	}
	s := n.get("schema")
	if s == nil {
		if m.kind == form || m.kind == multipart {
			l.unenforced(n, "a form without a schema is not checked")
			m.kind = opaque
		}
		return m, nil
	}
	if err := l.schemaOf(s, &m.schema); err != nil {
		return nil, err
	}
	encoding := n.get("encoding")
	l.compile = append(l.compile, func(*schema.Compiler) error { return l.readable(m, n, encoding, request) })
	return m, nil
}

// readable finds out whether content of a media type can be checked by its schema.
// In responses only JSON is.
func (l *loader) readable(m *media, n, encoding *node, request bool) error {
	m.shape = m.schema.Shape()
	switch m.kind {
	case jsonText:
	case form, multipart:
		if !m.shape.IsObject() {
			l.unenforced(n, "a form must be of the type object to be checked")
			m.kind = opaque
			return nil
		}
		return l.formFields(m, n, encoding)
	default:
		switch {
		case m.schema.IsBinary():
			m.kind = opaque
		case strings.HasPrefix(m.pattern, "text/") && m.shape.OnlyString():
			m.kind = plainText
		case m.schema.Anything():
			m.kind = opaque
		case !request:
			m.kind = opaque
		default:
			l.unenforced(n, "content of the media type %s is not checked: leave out its schema, or write type: string with format: binary", m.pattern)
			m.kind = opaque
		}
	}
	return nil
}

// formFields describes the members of a form.
func (l *loader) formFields(m *media, n, encoding *node) error {
	m.fields = make(map[string]*field)
	for name, shape := range m.shape.Members() {
		e := encoding.get(name)
		f := &field{parameter: &parameter{node: n, name: name, in: inBody, style: styleForm, explode: true, shape: shape}}
		m.fields[name] = f
		if e != nil {
			f.node = e
			if style := e.str("style"); style != "" {
				f.style = style
				f.explode = style == styleForm
			}
			if explode := e.get("explode"); explode != nil {
				f.explode, _ = explode.value.(bool)
			}
			if headers := e.get("headers"); headers != nil {
				l.unenforced(headers, "header fields of parts are not checked")
			}
			for t := range strings.SplitSeq(e.str("contentType"), ",") {
				if t = strings.ToLower(strings.TrimSpace(t)); t != "" {
					f.types = append(f.types, t)
				}
			}
		}
		l.formField(m, f, shape)
	}
	for _, name := range slices.Sorted(maps.Keys(m.fields)) {
		m.order = append(m.order, m.fields[name])
	}
	return nil
}

func (l *loader) formField(m *media, f *field, shape *schema.Shape) {
	f.file = m.schema.MemberIsBinary(f.name)
	item := shape
	if shape.IsArray() {
		item = shape.Items()
	}
	switch {
	case len(f.types) > 0:
		f.json = !slices.ContainsFunc(f.types, func(t string) bool { return !isJSON(t) })
		text := !slices.ContainsFunc(f.types, func(t string) bool { return !strings.HasPrefix(t, "text/") })
		f.file = f.file || !f.json && !text
	case m.kind == multipart && item.IsComplex():
		f.json, f.types = true, []string{"application/json"}
	}
	switch {
	case f.json || f.file:
	case m.kind == multipart && f.style != styleForm:
		l.unenforced(f.node, "the style %s of the member %s of a multipart form is not read", f.style, f.name)
	case item.IsComplex() && (f.style != styleDeep || shape.IsArray()):
		l.unenforced(f.node, "the member %s of a form is an array or object for which there is no one way to write it: write contentType: application/json", f.name)
	case !slices.Contains(stylesOf[inQuery], f.style):
		l.unenforced(f.node, "the style %s is none of members of forms", f.style)
	case f.style == styleDeep && !shape.IsObject():
		l.unenforced(f.node, "the member %s has the style deepObject and is no object", f.name)
	}
}

// isJSON reports whether a media type is JSON.
func isJSON(media string) bool {
	media, _, _ = strings.Cut(media, ";")
	media = strings.TrimSpace(strings.ToLower(media))
	_, sub, _ := strings.Cut(media, "/")
	return sub == "json" && (media == "application/json" || media == "text/json") || strings.HasSuffix(sub, "+json")
}

// choose returns the content for a media type, or nil.
func choose(list []*media, name string) *media {
	for _, m := range list {
		switch prefix, wild := strings.CutSuffix(m.pattern, "*"); {
		case !wild:
			if m.pattern == name {
				return m
			}
		case m.pattern == "*/*", strings.HasPrefix(name, prefix):
			return m
		}
	}
	return nil
}

// kindOf returns how content of a media type is read, which a range does not say.
func (m *media) kindOf(name string) kind {
	if m.kind == opaque && strings.Contains(m.pattern, "*") && m.schema != nil && isJSON(name) {
		return jsonText
	}
	return m.kind
}

// contentType takes Content-Type apart. It is false where that has not one reading.
func contentType(h http.Header) (name string, params map[string]string, ok bool) {
	values := h["Content-Type"]
	if len(values) != 1 {
		return "", nil, false
	}
	if values[0] == "application/json" {
		return values[0], nil, true
	}
	name, params, err := mime.ParseMediaType(values[0])
	return name, params, err == nil && strings.Contains(name, "/")
}

// utf8Charset reports whether the charset is UTF-8, or a part of it.
func utf8Charset(params map[string]string) bool {
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
		return true
	}
	return false
}

// coded reports whether content has a coding other than none.
func coded(h http.Header) bool {
	for _, v := range h["Content-Encoding"] {
		if v != "" && !strings.EqualFold(v, "identity") {
			return true
		}
	}
	return false
}
