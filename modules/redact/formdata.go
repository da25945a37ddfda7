package redact

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// formData redacts multipart/form-data (RFC 7578): the rules apply to fields by
// their names, and to what is JSON inside a part. The content of a file that is
// no JSON passes as it is.
type formData struct {
	fields
	dst   io.Writer
	parts *parts

	wrote  bool   // a delimiter has left
	kept   bool   // so has the current part
	before bool   // and the one before
	mark   []byte // the delimiter that has not left yet, with its tail
	head   []byte // the header of the part that is being decided on
	name   string
	file   bool
	label  label
	value  []byte
	state  partState
	json   *redaction.Rewriter
	jsonTo outBuffer
}

// partState is what becomes of the bytes of a part.
type partState uint8

const (
	partHeld    partState = iota // they are collected
	partPasses                   // they leave as they come
	partDropped                  // they do not leave
	partJSON                     // through the rewriter
)

// outBuffer writes to what it is told.
type outBuffer struct{ w io.Writer }

func (o outBuffer) Write(p []byte) (int, error) { return o.w.Write(p) }

// newFormData returns nil if the media type does not say how to read the body.
func newFormData(contentType string, f fields, dst io.Writer) *formData {
	d := &formData{fields: f, dst: dst}
	var ok bool
	if d.parts, ok = newParts(contentType, d); !ok {
		return nil
	}
	return d
}

// Write takes bytes of the body.
func (d *formData) Write(p []byte) (int, error) {
	if err := d.parts.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the body.
func (d *formData) Close() error { return d.parts.close() }

func (d *formData) put(p []byte) error {
	_, err := d.dst.Write(p)
	return err
}

func (d *formData) space(p []byte) error { return d.put(p) }

func (d *formData) delimiter(p []byte) error {
	d.mark = append(d.mark[:0], p...)
	d.before, d.kept = d.kept, false
	return nil
}

func (d *formData) tail(p []byte, final bool) error {
	d.mark = append(d.mark, p...)
	if final {
		return d.putMark()
	}
	return nil
}

// putMark writes the delimiter, without the line break before it if no part
// has left.
func (d *formData) putMark() error {
	mark := d.mark
	if !d.wrote {
		mark = bytes.TrimPrefix(mark, []byte("\r\n"))
	} else if !d.before && !bytes.HasPrefix(mark, []byte("\r\n")) {
		mark = append([]byte("\r\n"), mark...) // the line break went with the part
	}
	d.wrote = true
	return d.put(mark)
}

func (d *formData) header(p []byte) error {
	h, ok := partHeader(p)
	if !ok {
		return partFormFault("a malformed header")
	}
	name, file, f := disposition(h)
	if f != nil {
		return f
	}
	d.label = readLabel(h, nil)
	c := readCoding(h)
	switch {
	case c.name != "" || c.doubt != "" || c.label:
		return unsupported("encoding", "a part of a form that is encoded")
	case strings.HasPrefix(d.label.mediaType, "multipart/"):
		return unsupported("media_type", "a part of a form that has parts itself")
	case d.label.charset == wideCharset, d.label.charset == otherCharset:
		return unsupported("charset", "a part of a form in a charset that is not read")
	}
	d.head, d.name, d.file = append(d.head[:0], p...), name, file
	d.value, d.state = d.value[:0], partHeld
	return nil
}

// unsupported is a fault that is a 415, not a 400.
func unsupported(reason, detail string) *fault {
	return &fault{reason: reason, detail: detail}
}

// disposition reads the one Content-Disposition of a field. Names that readers
// could take for different ones are refused.
func disposition(h http.Header) (name string, file bool, f *fault) {
	values := h["Content-Disposition"]
	if len(values) != 1 || len(h["Content-Type"]) > 1 {
		return "", false, partFormFault("a part without one Content-Disposition")
	}
	kind, rest, _ := strings.Cut(values[0], ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") {
		return "", false, partFormFault("a part whose Content-Disposition is not form-data")
	}
	seen := map[string]bool{}
	for rest = strings.TrimSpace(rest); rest != ""; {
		key, value, after, ok := parameter(rest)
		if !ok || seen[key] {
			return "", false, partFormFault("a malformed Content-Disposition")
		}
		seen[key], rest = true, after
		switch key {
		case "name":
			name = value
		case "filename", "filename*":
			file = true
		default: // name*, name*0, and what else some take for a name
			return "", false, partFormFault("a parameter of Content-Disposition that is not known")
		}
	}
	if !seen["name"] || strings.Contains(name, "=?") || strings.ContainsRune(name, '\\') {
		return "", false, partFormFault("the name of a part")
	}
	return name, file, nil
}

// parameter reads the first parameter of s. A quote in a quoted value has to
// be written as %22, as browsers do (HTML Living Standard, section 4.10.21.8):
// to some readers a backslash escapes it, to others it does not.
func parameter(s string) (key, value, rest string, ok bool) {
	key, rest, ok = strings.Cut(s, "=")
	key = strings.ToLower(strings.TrimSpace(key))
	if !ok || !isToken(key) {
		return "", "", "", false
	}
	// Readers differ in what they make of space before the value: some take
	// the quotes for a part of it. Single quotes are quotes to PHP alone.
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "'") {
		return "", "", "", false
	}
	if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
		value, rest, ok = strings.Cut(quoted, `"`)
		ok = ok && !strings.HasSuffix(value, `\`)
	} else if i := strings.IndexByte(rest, ';'); i >= 0 {
		value, rest = strings.TrimSpace(rest[:i]), rest[i:]
	} else {
		value, rest = strings.TrimSpace(rest), ""
	}
	rest = strings.TrimSpace(rest)
	if after, more := strings.CutPrefix(rest, ";"); more {
		return key, value, strings.TrimSpace(after), ok
	}
	return key, value, rest, ok && rest == ""
}

func (d *formData) body(p []byte) error {
	switch d.state {
	case partPasses:
		return d.put(p)
	case partJSON:
		_, err := d.json.Write(p)
		return err
	case partDropped:
		return nil
	}
	d.value = append(d.value, p...)
	if look(d.value) == isJSON || d.isJSON() {
		return d.beginJSON()
	}
	if most := d.max; len(d.value) > most || d.file && len(d.value) >= maxSpace {
		return d.beginLong()
	}
	return nil
}

func (d *formData) isJSON() bool {
	switch d.label.kind {
	case document, sequence:
		return true
	}
	return false
}

// beginJSON has a part rewritten as it comes, if it stays at all.
func (d *formData) beginJSON() error {
	if kept, err := d.begin(); err != nil || !kept {
		return err
	}
	d.state = partJSON
	d.jsonTo.w = d.dst
	d.json = d.view.program.Get(d.jsonTo)
	d.json.SetCaller(d.caller)
	_, err := d.json.Write(d.value)
	return err
}

// beginLong decides on a part that is not held to its end: a file, or a field
// that is too long.
func (d *formData) beginLong() error {
	if n := narrowed(d.value); n != nil && look(n) != isNot {
		return unsupported("charset", "a part of a form in UTF-16 or UTF-32")
	}
	if !d.file {
		kept, err := d.longField(d.name, string(d.value))
		if err != nil {
			return err
		}
		if !kept {
			d.state = partDropped
			return nil
		}
		return d.release()
	}
	kept, err := d.begin()
	if err != nil || !kept {
		return err
	}
	d.state = partPasses
	return d.put(d.value)
}

// begin writes the delimiter and the header of a part whose value is not
// looked at as that of a field, unless a rule for the field takes it away.
func (d *formData) begin() (kept bool, err error) {
	_, kept, changed, err := d.apply(d.name, "")
	if err != nil {
		return false, err
	}
	if !kept || changed {
		d.state = partDropped
		return false, nil
	}
	return true, d.putHead()
}

func (d *formData) putHead() error {
	if err := d.putMark(); err != nil {
		return err
	}
	d.kept = true
	return d.put(withoutLengths(d.head))
}

func (d *formData) release() error {
	d.state = partPasses
	if err := d.putHead(); err != nil {
		return err
	}
	return d.put(d.value)
}

func (d *formData) end() error {
	switch d.state {
	case partJSON:
		err := d.json.Close()
		d.note(d.json)
		d.view.program.Put(d.json)
		d.json = nil
		return err
	case partPasses, partDropped:
		return nil
	}
	if d.file {
		return d.beginLong()
	}
	out, kept, changed, err := d.apply(d.name, string(d.value))
	if err != nil || !kept {
		return err
	}
	if changed {
		d.value = append(d.value[:0], out...)
	}
	return d.release()
}
