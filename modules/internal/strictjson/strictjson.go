// Package strictjson reads small JSON objects from strangers: the headers and
// claims of tokens, and key sets.
//
// It is strict where encoding/json is lenient, since whatever two readers of
// one text may read differently is a way past one of them (RFC 8725 section
// 2.4, RFC 7515 section 4): it refuses duplicate member names at every level,
// invalid UTF-8, lone surrogates, a byte order mark, and anything after the
// object (RFC 8259, RFC 7493 section 2). Depth is bounded. It reads a text in
// one pass, builds no tree, and allocates only for what is unusual.
package strictjson

import (
	"errors"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may be nested in one text.
const MaxDepth = 32

// Errors of Scanner.Object. They carry no position and no text: what a
// stranger sent is not repeated to anybody.
var (
	ErrSyntax    = errors.New("not a JSON object")
	ErrDuplicate = errors.New("duplicate member name")
	ErrDepth     = errors.New("nested too deeply")
)

// manyNames is how many names of one object are compared with each other;
// beyond it a map finds duplicates, so that the cost stays linear.
const manyNames = 24

// Member is one member of an object.
type Member struct {
	// Name is decoded.
	Name []byte
	// Value is the text of the value, without space round it. It is valid
	// JSON: the functions of this package that take such a text rely on it.
	Value []byte
}

// Scanner reads JSON objects. The zero value is ready. It may be used again,
// but not by two goroutines at once.
type Scanner struct {
	doc     []byte
	pos     int
	err     error
	names   [][]byte // decoded names of the objects that are open, innermost last
	members []Member
}

// Object checks that doc is one JSON object and returns its members in the
// order of the text. They stand in the memory of doc (names that are written
// with escapes apart) and are valid until the next call.
func (s *Scanner) Object(doc []byte) ([]Member, error) {
	s.doc, s.pos, s.err = doc, 0, nil
	s.members, s.names = s.members[:0], s.names[:0]
	s.space()
	if s.peek() != '{' {
		return nil, ErrSyntax
	}
	if !s.object(1) {
		return nil, s.err
	}
	if s.space(); s.pos != len(doc) {
		return nil, ErrSyntax
	}
	return s.members, nil
}

func (s *Scanner) fail(err error) bool {
	if s.err == nil {
		s.err = err
	}
	return false
}

// peek returns the next byte, or 0 at the end. A zero byte in the text is
// not valid anywhere outside a string, so the two need not be told apart.
func (s *Scanner) peek() byte {
	if s.pos < len(s.doc) {
		return s.doc[s.pos]
	}
	return 0
}

func (s *Scanner) space() {
	for s.pos < len(s.doc) {
		switch s.doc[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// object reads an object whose brace is next. Depth 1 is the text's own
// object, the members of which are kept.
func (s *Scanner) object(depth int) bool {
	if depth > MaxDepth {
		return s.fail(ErrDepth)
	}
	s.pos++
	if s.space(); s.peek() == '}' {
		s.pos++
		return true
	}
	base := len(s.names)
	var seen map[string]struct{}
	for {
		name, ok := s.name()
		if !ok {
			return false
		}
		if seen, ok = s.unique(seen, base, name); !ok {
			return s.fail(ErrDuplicate)
		}
		if s.space(); s.peek() != ':' {
			return s.fail(ErrSyntax)
		}
		s.pos++
		s.space()
		start := s.pos
		if !s.value(depth) {
			return false
		}
		if depth == 1 {
			s.members = append(s.members, Member{name, s.doc[start:s.pos:s.pos]})
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case '}':
			s.pos++
			s.names = s.names[:base]
			return true
		default:
			return s.fail(ErrSyntax)
		}
	}
}

// unique notes name as one more name of the object whose names start at
// base, and reports whether it is new there.
func (s *Scanner) unique(seen map[string]struct{}, base int, name []byte) (map[string]struct{}, bool) {
	if seen == nil {
		for _, n := range s.names[base:] {
			if string(n) == string(name) {
				return nil, false
			}
		}
		s.names = append(s.names, name)
		if len(s.names)-base < manyNames {
			return nil, true
		}
		seen = make(map[string]struct{}, 4*manyNames)
		for _, n := range s.names[base:] {
			seen[string(n)] = struct{}{}
		}
		return seen, true
	}
	if _, dup := seen[string(name)]; dup {
		return seen, false
	}
	seen[string(name)] = struct{}{}
	return seen, true
}

// name reads the name of a member and decodes it.
func (s *Scanner) name() ([]byte, bool) {
	if s.peek() != '"' {
		return nil, s.fail(ErrSyntax)
	}
	start := s.pos
	plain, ok := s.str()
	if !ok {
		return nil, false
	}
	text := s.doc[start+1 : s.pos-1]
	if plain {
		return text, true
	}
	return unescape(make([]byte, 0, len(text)), text), true
}

func (s *Scanner) value(depth int) bool {
	switch c := s.peek(); c {
	case '"':
		_, ok := s.str()
		return ok
	case '{':
		return s.object(depth + 1)
	case '[':
		return s.array(depth + 1)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || c-'0' <= 9 {
			return s.number()
		}
		return s.fail(ErrSyntax)
	}
}

func (s *Scanner) array(depth int) bool {
	if depth > MaxDepth {
		return s.fail(ErrDepth)
	}
	s.pos++
	if s.space(); s.peek() == ']' {
		s.pos++
		return true
	}
	for {
		if !s.value(depth) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case ']':
			s.pos++
			return true
		default:
			return s.fail(ErrSyntax)
		}
	}
}

func (s *Scanner) literal(word string) bool {
	if len(s.doc)-s.pos < len(word) || string(s.doc[s.pos:s.pos+len(word)]) != word {
		return s.fail(ErrSyntax)
	}
	s.pos += len(word)
	return true
}

// number reads a number, RFC 8259 section 6.
func (s *Scanner) number() bool {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return s.fail(ErrSyntax)
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.fail(ErrSyntax)
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.fail(ErrSyntax)
		}
	}
	return true
}

// digits reads one or more digits.
func (s *Scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.doc) && s.doc[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

// plainByte tells the bytes that stand for themselves in a string: ASCII
// without controls, quote and backslash.
var plainByte = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str reads a string whose quote is next and reports whether it is plain,
// that is free of escapes.
func (s *Scanner) str() (plain, ok bool) {
	plain = true
	doc, pos := s.doc, s.pos+1
	for {
		for pos < len(doc) && plainByte[doc[pos]] {
			pos++
		}
		if pos >= len(doc) {
			return false, s.fail(ErrSyntax)
		}
		switch c := doc[pos]; {
		case c == '"':
			s.pos = pos + 1
			return plain, true
		case c == '\\':
			n := escapeLen(doc[pos:])
			if n == 0 {
				return false, s.fail(ErrSyntax)
			}
			plain = false
			pos += n
		case c < 0x20:
			return false, s.fail(ErrSyntax)
		default:
			r, n := utf8.DecodeRune(doc[pos:])
			if r == utf8.RuneError && n == 1 {
				return false, s.fail(ErrSyntax)
			}
			pos += n
		}
	}
}
