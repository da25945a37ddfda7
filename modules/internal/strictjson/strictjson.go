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
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
	"math/bits"
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
// beyond it a table finds duplicates, so that the cost stays linear.
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
//
// What it keeps of a text are places and not slices, since storing pointers
// costs more than the reading while a garbage collection runs.
type Scanner struct {
	doc     []byte
	pos     int
	err     error
	names   []name   // of the objects that are open, innermost last
	members []member // of the text's own object
	decoded []byte   // names that are written with escapes
}

// name is where a decoded name is: in doc, or in decoded if escaped is set.
type name struct {
	start, end int32
	mark       uint32 // differs for most names that differ
	escaped    bool
}

type member struct {
	name       name
	start, end int32 // of the value
}

// Object checks that doc is one JSON object, and keeps its members for Len and
// Member until the next call.
func (s *Scanner) Object(doc []byte) error {
	s.doc, s.pos, s.err = doc, 0, nil
	s.members, s.names, s.decoded = s.members[:0], s.names[:0], s.decoded[:0]
	if len(doc) > math.MaxInt32 {
		return ErrSyntax
	}
	s.space()
	if s.peek() != '{' {
		return ErrSyntax
	}
	if !s.object(1) {
		s.members = s.members[:0]
		return s.err
	}
	if s.space(); s.pos != len(doc) {
		s.members = s.members[:0]
		return ErrSyntax
	}
	return nil
}

// Len returns the number of members.
func (s *Scanner) Len() int { return len(s.members) }

// Member returns member i in the order of the text. It stands in the memory of
// doc, or of the Scanner where its name is written with escapes.
func (s *Scanner) Member(i int) Member {
	m := &s.members[i]
	return Member{s.text(m.name), s.doc[m.start:m.end:m.end]}
}

// Find returns the value of the member called name.
func (s *Scanner) Find(name string) ([]byte, bool) {
	for i := range s.members {
		if m := &s.members[i]; string(s.text(m.name)) == name {
			return s.doc[m.start:m.end:m.end], true
		}
	}
	return nil, false
}

func (s *Scanner) text(n name) []byte {
	if n.escaped {
		return s.decoded[n.start:n.end]
	}
	return s.doc[n.start:n.end]
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
	var seen table
	for {
		n, ok := s.name()
		if !ok {
			return false
		}
		if !s.unique(&seen, base, n) {
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
			s.members = append(s.members, member{n, int32(start), int32(s.pos)})
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

// unique notes n as one more name of the object whose names start at base, and
// reports whether it is new there.
func (s *Scanner) unique(seen *table, base int, n name) bool {
	s.names = append(s.names, n)
	own := s.names[base:]
	if len(own) > manyNames {
		return s.uniqueOfMany(seen, own)
	}
	for _, o := range own[:len(own)-1] {
		if o.mark == n.mark && bytes.Equal(s.text(o), s.text(n)) {
			return false
		}
	}
	return true
}

// table finds names by their hash: open addressing, at most half full. An
// entry is a place among the names of the object, plus one.
type table []int32

var seed = maphash.MakeSeed()

func (s *Scanner) uniqueOfMany(seen *table, own []name) bool {
	if 2*len(own) > len(*seen) {
		*seen = make(table, 4*len(own))
		for i := range own[:len(own)-1] {
			s.enter(*seen, own, i)
		}
	}
	return s.enter(*seen, own, len(own)-1)
}

// enter puts own[i] into t unless it is there.
func (s *Scanner) enter(t table, own []name, i int) bool {
	text := s.text(own[i])
	for at := maphash.Bytes(seed, text) % uint64(len(t)); ; at = (at + 1) % uint64(len(t)) {
		if t[at] == 0 {
			t[at] = int32(i + 1)
			return true
		}
		if bytes.Equal(s.text(own[t[at]-1]), text) {
			return false
		}
	}
}

// name reads the name of a member.
func (s *Scanner) name() (name, bool) {
	if s.peek() != '"' {
		return name{}, s.fail(ErrSyntax)
	}
	start := s.pos
	plain, ok := s.str()
	if !ok {
		return name{}, false
	}
	n := name{start: int32(start + 1), end: int32(s.pos - 1)}
	if !plain {
		text := s.doc[n.start:n.end]
		n = name{start: int32(len(s.decoded)), escaped: true}
		s.decoded = unescape(s.decoded, text)
		n.end = int32(len(s.decoded))
	}
	n.mark = mark(s.text(n))
	return n, true
}

// mark is a hash for a handful of names: their length and three of their letters.
func mark(text []byte) uint32 {
	n := len(text)
	if n == 0 {
		return 0
	}
	return uint32(n)<<24 | uint32(text[0])<<16 | uint32(text[n/2])<<8 | uint32(text[n-1])
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

// plainPrefix returns how many of the eight bytes in w, lowest first, stand for
// themselves before the first that does not. A subtraction borrows from the
// byte above only where the byte itself has been found, so the first is right.
func plainPrefix(w uint64) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	found := w | (w - 0x20*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones)
	return bits.TrailingZeros64(found&highs) / 8
}

// str reads a string whose quote is next and reports whether it is plain,
// that is free of escapes.
func (s *Scanner) str() (plain, ok bool) {
	plain = true
	doc, pos := s.doc, s.pos+1
	for {
		for len(doc)-pos >= 8 {
			if n := plainPrefix(binary.LittleEndian.Uint64(doc[pos:])); n < 8 {
				pos += n
				break
			}
			pos += 8
		}
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
