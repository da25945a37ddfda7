package contract

import (
	"errors"
	"net/url"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
)

// written is the value of a parameter as it was sent: a text, a list, or members.
type written struct {
	texts []string // decoded
	names []string // of members, one for each text
}

func (w *written) reset() { w.texts, w.names = w.texts[:0], w.names[:0] }

// pair is a parameter of a query or a form.
type pair struct {
	name string // decoded
	raw  string // the value, still encoded
	used bool
}

// Errors of values. Their text is what a fault says is expected.
var (
	errTwice    = errors.New("to be sent once")
	errEncoding = errors.New("a text in UTF-8 that is percent-encoded")
	errPairs    = errors.New("names and values by turns")
	errQuery    = errors.New("a query of name=value pairs that are percent-encoded, without semicolons")
	errMany     = errors.New("fewer parameters")
)

// maxPairs is how many parameters a query or form can have: what comes behind 1000
// is ignored by some programs.
const maxPairs = 1000

// parsePairs takes a query or form apart.
func parsePairs(dst []pair, raw string) ([]pair, error) {
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		if part == "" {
			continue
		}
		if len(dst) >= maxPairs {
			return dst, errMany
		}
		name, value, _ := strings.Cut(part, "=")
		if strings.IndexByte(part, ';') >= 0 {
			return dst, errQuery
		}
		name, err := decode(name)
		if err != nil || !encoded(value) {
			return dst, errQuery
		}
		dst = append(dst, pair{name: name, raw: value})
	}
	return dst, nil
}

// decode decodes a name or value of a query.
func decode(raw string) (string, error) {
	if strings.IndexByte(raw, '%') < 0 && strings.IndexByte(raw, '+') < 0 {
		return raw, nil
	}
	text, err := url.QueryUnescape(raw)
	if err != nil {
		return "", errEncoding
	}
	return text, nil
}

// encoded reports whether every percent sign begins an escape.
func encoded(raw string) bool {
	for {
		i := strings.IndexByte(raw, '%')
		if i < 0 {
			return true
		}
		if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
			return false
		}
		raw = raw[i+3:]
	}
}

func isHex(c byte) bool { return c-'0' <= 9 || (c|0x20)-'a' <= 5 }

// fromPairs finds the value of a parameter in a query or form.
func (p *parameter) fromPairs(pairs []pair, w *written) (found bool, err error) {
	w.reset()
	object := p.shape != nil && p.shape.IsObject() && !p.json
	switch {
	case object && p.style == styleDeep:
		return p.deep(pairs, w)
	case object && p.explode:
		return p.spread(pairs, w)
	}
	array := p.shape != nil && p.shape.IsArray() && !p.json
	for i := range pairs {
		pr := &pairs[i]
		if pr.name != p.name {
			continue
		}
		pr.used = true
		if found && (!array || !p.explode) {
			return true, errTwice
		}
		found = true
		switch {
		case array && p.explode, !array && !object:
			text, err := decode(pr.raw)
			if err != nil {
				return true, err
			}
			w.texts = append(w.texts, text)
		default:
			if err := w.split(pr.raw, p.style, decode); err != nil {
				return true, err
			}
		}
	}
	if found && object {
		return true, w.alternate()
	}
	return found, nil
}

// deep reads name[member]=value.
func (p *parameter) deep(pairs []pair, w *written) (found bool, err error) {
	for i := range pairs {
		pr := &pairs[i]
		rest, ok := strings.CutPrefix(pr.name, p.name+"[")
		if !ok {
			continue
		}
		member, ok := strings.CutSuffix(rest, "]")
		if !ok || member == "" || strings.ContainsAny(member, "[]") {
			continue // nested, or broken: nobody knows it
		}
		pr.used, found = true, true
		if err := w.member(member, pr.raw); err != nil {
			return true, err
		}
	}
	return found, nil
}

// spread reads the members of an object as parameters of their own.
func (p *parameter) spread(pairs []pair, w *written) (found bool, err error) {
	for i := range pairs {
		pr := &pairs[i]
		_, known := p.shape.Member(pr.name)
		if pr.used || !known && !p.takesAny {
			continue
		}
		pr.used, found = true, true
		if err := w.member(pr.name, pr.raw); err != nil {
			return true, err
		}
	}
	return found, nil
}

func (w *written) member(name, raw string) error {
	text, err := decode(raw)
	if err != nil {
		return err
	}
	w.names, w.texts = append(w.names, name), append(w.texts, text)
	return nil
}

// split takes a list apart at its delimiters, and decodes the parts.
func (w *written) split(raw, style string, decode func(string) (string, error)) error {
	delimiters := []string{","}
	switch style {
	case styleSpace:
		delimiters = []string{"%20", "+"}
	case stylePipe:
		delimiters = []string{"|", "%7C", "%7c"}
	}
	for {
		at, length := -1, 0
		for _, d := range delimiters {
			if i := strings.Index(raw, d); i >= 0 && (at < 0 || i < at) {
				at, length = i, len(d)
			}
		}
		part, rest := raw, ""
		if at >= 0 {
			part, rest = raw[:at], raw[at+length:]
		}
		text, err := decode(part)
		if err != nil {
			return err
		}
		w.texts = append(w.texts, text)
		if at < 0 {
			return nil
		}
		raw = rest
	}
}

// alternate makes members of names and values by turns.
func (w *written) alternate() error {
	if len(w.texts)%2 != 0 {
		return errPairs
	}
	n := len(w.texts) / 2
	for i := range n {
		w.names = append(w.names, w.texts[2*i])
	}
	for i := range n {
		w.texts[i] = w.texts[2*i+1]
	}
	w.texts = w.texts[:n]
	return nil
}

// fromText reads the value of a parameter that is one text: of a path, a header, a
// cookie. What is in it is not encoded any more.
func (p *parameter) fromText(text string, w *written) error {
	w.reset()
	plain := func(text string) (string, error) {
		if p.in == inHeader {
			text = strings.Trim(text, " \t")
		}
		return text, nil
	}
	if p.style == styleLabel {
		rest, ok := strings.CutPrefix(text, ".")
		if !ok {
			return errors.New("a text that begins with a dot")
		}
		text = rest
	}
	switch {
	case p.json || p.shape == nil || !p.shape.IsArray() && !p.shape.IsObject():
		w.texts = append(w.texts, text)
		return nil
	case p.style == styleLabel && p.explode:
		w.texts = append(w.texts, strings.Split(text, ".")...)
		return nil
	}
	if err := w.split(text, styleSimple, plain); err != nil || p.shape.IsArray() {
		return err
	}
	if !p.explode {
		return w.alternate()
	}
	for i, text := range w.texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("name=value pairs")
		}
		w.names = append(w.names, name)
		w.texts[i] = value
	}
	return nil
}

// appendJSON appends what was written as JSON. It is false for what is not UTF-8.
// Members that are there twice are arrays where there can be one, and else are left
// to be found by who reads it.
func (p *parameter) appendJSON(dst []byte, w *written, otherwise bool) ([]byte, bool) {
	shape := p.shape
	switch {
	case p.json:
		return append(dst, w.texts[0]...), true
	case shape.IsObject():
		return appendMembers(dst, shape, w)
	case shape.IsArray():
		dst = append(dst, '[')
		for i, text := range w.texts {
			if i > 0 {
				dst = append(dst, ',')
			}
			var ok bool
			if dst, ok = shape.Items().AppendScalar(dst, text, otherwise); !ok {
				return dst, false
			}
		}
		return append(dst, ']'), true
	}
	return shape.AppendScalar(dst, w.texts[0], otherwise)
}

func appendMembers(dst []byte, shape *schema.Shape, w *written) ([]byte, bool) {
	var ok bool
	dst = append(dst, '{')
	first := true
	for i, name := range w.names {
		member, _ := shape.Member(name)
		if member.IsArray() && indexOf(w.names, name) < i {
			continue // its first has them all
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if dst, ok = schema.AppendString(dst, []byte(name)); !ok {
			return dst, false
		}
		dst = append(dst, ':')
		if !member.IsArray() {
			if dst, ok = member.AppendScalar(dst, w.texts[i], false); !ok {
				return dst, false
			}
			continue
		}
		dst = append(dst, '[')
		for j := i; j < len(w.names); j++ {
			if w.names[j] != name {
				continue
			}
			if j > i {
				dst = append(dst, ',')
			}
			if dst, ok = member.Items().AppendScalar(dst, w.texts[j], false); !ok {
				return dst, false
			}
		}
		dst = append(dst, ']')
	}
	return append(dst, '}'), true
}

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}
