package jsonpath

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxInt is the largest integer a path may hold, RFC 9535 section 2.1.
const maxInt = 1<<53 - 1

// ParseSelector reads what an administrator writes as a selector: a path that
// starts with "$", or the bare name of a member, which means that member
// wherever it stands ("password" is $..password).
//
// A bare name may hold letters, digits, "_", "-", and everything beyond ASCII.
// Anything else is refused, since "customer.phone" was almost certainly meant as
// a path, and would as a name quietly match nothing.
func ParseSelector(text string) (Path, error) {
	if strings.HasPrefix(text, "$") {
		if len(text) > 1 && isNameChar(rune(text[1])) {
			return nil, &Error{
				Text: text, Offset: 1,
				Reason: "after $ comes . or [; a member whose name begins with $ is written $..['$…']",
			}
		}
		return Parse(text)
	}
	if text == "" {
		return nil, &Error{Text: text, Reason: "it is empty"}
	}
	if !utf8.ValidString(text) {
		return nil, &Error{Text: text, Reason: "it is not UTF-8"}
	}
	for i, r := range text {
		if r < utf8.RuneSelf && !isNameChar(r) && r != '-' {
			return nil, &Error{
				Text: text, Offset: i,
				Reason: "a bare name holds only letters, digits, _ and -; write a path from $ instead, such as $.a.b or $..['a b']",
			}
		}
	}
	return Path{{Descendant: true, Selectors: []Selector{{Kind: Name, Name: text}}}}, nil
}

// Parse reads a path that starts with the root identifier "$".
func Parse(text string) (Path, error) {
	p := &parser{text: text}
	if !utf8.ValidString(text) {
		return nil, p.errorf("it is not UTF-8")
	}
	if !p.accept('$') {
		return nil, p.errorf("it does not start with $")
	}
	path := Path{}
	for p.pos < len(p.text) {
		p.space()
		seg, err := p.segment()
		if err != nil {
			return nil, err
		}
		path = append(path, seg)
	}
	return path, nil
}

type parser struct {
	text string
	pos  int
}

func (p *parser) errorf(reason string) error {
	return &Error{Text: p.text, Offset: p.pos, Reason: reason}
}

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) accept(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *parser) segment() (seg Segment, err error) {
	switch {
	case p.accept('['):
		seg.Selectors, err = p.bracketed()
	case p.accept('.'):
		seg.Descendant = p.accept('.')
		if seg.Descendant && p.accept('[') {
			seg.Selectors, err = p.bracketed()
			break
		}
		var sel Selector
		sel, err = p.shorthand()
		seg.Selectors = []Selector{sel}
	default:
		err = p.errorf("expected . or [")
	}
	return seg, err
}

// shorthand reads what may follow a dot: a wildcard or a name without quotes.
func (p *parser) shorthand() (Selector, error) {
	if p.accept('*') {
		return Selector{Kind: Wildcard}, nil
	}
	start := p.pos
	for p.pos < len(p.text) {
		r, size := utf8.DecodeRuneInString(p.text[p.pos:])
		if !isNameChar(r) || p.pos == start && isDigit(byte(min(r, utf8.RuneSelf))) {
			break
		}
		p.pos += size
	}
	if p.pos == start {
		return Selector{}, p.errorf("expected a name or * after the dot; names with other characters are written ['…']")
	}
	return Selector{Kind: Name, Name: p.text[start:p.pos]}, nil
}

func isNameChar(r rune) bool {
	return r == '_' || r >= utf8.RuneSelf || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// bracketed reads the selectors up to and with the closing bracket.
func (p *parser) bracketed() ([]Selector, error) {
	var list []Selector
	for {
		p.space()
		sel, err := p.selector()
		if err != nil {
			return nil, err
		}
		list = append(list, sel)
		p.space()
		if p.accept(']') {
			return list, nil
		}
		if !p.accept(',') {
			return nil, p.errorf("expected , or ]")
		}
	}
}

func (p *parser) selector() (Selector, error) {
	switch c := p.peek(); {
	case c == '\'' || c == '"':
		name, err := p.quoted()
		return Selector{Kind: Name, Name: name}, err
	case c == '*':
		p.pos++
		return Selector{Kind: Wildcard}, nil
	case c == '?':
		return Selector{}, p.errorf("filters (?…) are not supported, since they depend on the value; select by name or index")
	case c == '-' || c == ':' || isDigit(c):
		return p.indexOrSlice()
	}
	return Selector{}, p.errorf("expected a quoted name, an index, a slice or *")
}

func (p *parser) indexOrSlice() (sel Selector, err error) {
	sel = Selector{Kind: Index, Step: 1}
	if sel.Start, sel.HasStart, err = p.integer(); err != nil {
		return sel, err
	}
	mark := p.pos
	p.space()
	if !p.accept(':') {
		p.pos = mark
		return sel, nil
	}
	sel.Kind = Slice
	p.space()
	if sel.End, sel.HasEnd, err = p.integer(); err != nil {
		return sel, err
	}
	if sel.HasEnd {
		p.space()
	}
	if !p.accept(':') {
		return sel, nil
	}
	mark = p.pos
	p.space()
	step, written, err := p.integer()
	if written {
		sel.Step = step
	} else {
		p.pos = mark
	}
	return sel, err
}

// integer reads an integer if there is one.
func (p *parser) integer() (v int64, written bool, err error) {
	start := p.pos
	p.accept('-')
	digits := p.pos
	for isDigit(p.peek()) {
		p.pos++
	}
	text := p.text[start:p.pos]
	switch {
	case text == "":
		return 0, false, nil
	case p.pos == digits:
		return 0, false, p.errorf("expected a digit")
	case text == "-0" || p.text[digits] == '0' && p.pos-digits > 1:
		p.pos = start
		return 0, false, p.errorf("an integer has neither leading zeros nor a negative zero")
	}
	v, err = strconv.ParseInt(text, 10, 64)
	if err != nil || v > maxInt || v < -maxInt {
		p.pos = start
		return 0, false, p.errorf("the integer is beyond ±(2^53-1)")
	}
	return v, true, nil
}

// quoted reads a string literal, RFC 9535 section 2.3.1.1.
func (p *parser) quoted() (string, error) {
	quote := p.text[p.pos]
	p.pos++
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case c == quote:
			p.pos++
			return b.String(), nil
		case c < 0x20:
			return "", p.errorf("control characters are written as escapes")
		case c != '\\':
			b.WriteByte(c)
			p.pos++
		default:
			r, err := p.escape(quote)
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		}
	}
	return "", p.errorf("the quote is not closed")
}

func (p *parser) escape(quote byte) (rune, error) {
	p.pos++ // the backslash
	c := p.peek()
	if c == 'u' {
		return p.unicodeEscape()
	}
	if c == quote {
		p.pos++
		return rune(c), nil
	}
	if at := strings.IndexByte(`\/bfnrt`, c); at >= 0 && c != 0 {
		p.pos++
		return rune("\\/\b\f\n\r\t"[at]), nil
	}
	return 0, p.errorf("unknown escape")
}

// unicodeEscape reads \uXXXX, or the two of a surrogate pair.
func (p *parser) unicodeEscape() (rune, error) {
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if p.accept('\\') && p.peek() == 'u' {
		low, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, p.errorf("half of a surrogate pair")
}

func (p *parser) hex4() (rune, error) {
	p.pos++ // the u
	if p.pos+4 > len(p.text) {
		return 0, p.errorf("expected four hexadecimal digits")
	}
	v, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 16)
	if err != nil || strings.ContainsAny(p.text[p.pos:p.pos+4], "+-_") {
		return 0, p.errorf("expected four hexadecimal digits")
	}
	p.pos += 4
	return rune(v), nil
}
