package strictjson

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// Errors of Tape.Read beside those of Scanner.
var (
	ErrTwin    = errors.New("two member names that differ in case alone")
	ErrValues  = errors.New("too many values")
	ErrMembers = errors.New("too many members in one object")
	ErrItems   = errors.New("too many items in one array")
	ErrString  = errors.New("a string that is too long")
	ErrNumber  = errors.New("a number that is outside of double precision")
)

// Limits bound what a Tape reads. 0 stands for no bound, but for Depth.
type Limits struct {
	Depth   int // of objects and arrays in each other
	Values  int // in all
	Members int // of one object
	Items   int // of one array
	String  int // of one string as it is written, in bytes

	// Twins lets pass names that differ in case alone, in texts of an administrator.
	Twins bool
}

// Kind is the type of a value.
type Kind uint8

// The kinds of values.
const (
	KindNull Kind = iota
	KindFalse
	KindTrue
	KindNumber
	KindString
	KindArray
	KindObject
)

// Value is a value of a Tape. The values of a text stand in the order in which
// they begin, so the first inside an array or object follows it.
type Value struct {
	Kind    Kind
	escaped bool  // a string that is written with escapes
	name    name  // of a member
	start   int32 // in the text
	end     int32
	Next    int32 // the value after this one and all that is in it
	Parent  int32 // -1 for the first
	Len     int32 // members of an object, items of an array
}

// Tape holds the values of a JSON text: what a Scanner checks, and the places of
// all values besides, so that a text is read once and asked often. The zero Tape is
// ready. It can be used again, which costs no allocation, but not by two goroutines
// at once.
//
// Where a Scanner refuses a member name that is there twice, a Tape refuses also
// names that differ in case alone, since programs behind may read one for the other.
// It refuses numbers that double precision has no finite value for, or nothing but
// zero.
type Tape struct {
	s      Scanner
	limits Limits
	Values []Value
	fault  int32
}

// Read reads a JSON text, of any type. The text must not change while the Tape is
// asked.
func (t *Tape) Read(doc []byte, limits Limits) error {
	s := &t.s
	s.doc, s.pos, s.err = doc, 0, nil
	s.names, s.decoded = s.names[:0], s.decoded[:0]
	t.Values, t.limits, t.fault = t.Values[:0], limits, -1
	if len(doc) > math.MaxInt32 {
		return ErrSyntax
	}
	s.space()
	if !t.value(-1, name{}, 0) {
		return s.err
	}
	if s.space(); s.pos != len(doc) {
		t.fault = -1
		return ErrSyntax
	}
	return nil
}

// Fault returns the object or array in which Read has found what it refuses, or -1
// for the text as a whole.
func (t *Tape) Fault() int { return int(t.fault) }

// value reads the value that is next.
func (t *Tape) value(parent int32, n name, depth int) bool {
	s := &t.s
	at := len(t.Values)
	if t.limits.Values > 0 && at >= t.limits.Values {
		return t.fail(parent, ErrValues)
	}
	start := s.pos
	t.Values = append(t.Values, Value{name: n, start: int32(start), Parent: parent}) //nolint:gosec // bounded by Read
	var kind Kind
	switch c := s.peek(); c {
	case '"':
		kind = KindString
		plain, ok := s.str()
		if !ok {
			return t.fail(parent, s.err)
		}
		if t.limits.String > 0 && s.pos-start-2 > t.limits.String {
			return t.fail(parent, ErrString)
		}
		t.Values[at].escaped = !plain
	case '{':
		kind = KindObject
		t.Values[at].Kind = kind
		if !t.object(int32(at), depth+1) { //nolint:gosec // bounded by Read
			return false
		}
	case '[':
		kind = KindArray
		t.Values[at].Kind = kind
		if !t.array(int32(at), depth+1) { //nolint:gosec // bounded by Read
			return false
		}
	case 't':
		kind = KindTrue
		if !s.literal("true") {
			return t.fail(parent, s.err)
		}
	case 'f':
		kind = KindFalse
		if !s.literal("false") {
			return t.fail(parent, s.err)
		}
	case 'n':
		kind = KindNull
		if !s.literal("null") {
			return t.fail(parent, s.err)
		}
	default:
		kind = KindNumber
		if c != '-' && c-'0' > 9 {
			return t.fail(parent, ErrSyntax)
		}
		if !s.number() {
			return t.fail(parent, s.err)
		}
		if !finite(s.doc[start:s.pos]) {
			return t.fail(parent, ErrNumber)
		}
	}
	v := &t.Values[at]
	v.Kind, v.end, v.Next = kind, int32(s.pos), int32(len(t.Values)) //nolint:gosec // bounded by Read
	return true
}

func (t *Tape) fail(at int32, err error) bool {
	if t.fault < 0 {
		t.fault = at
	}
	t.s.err = err
	return false
}

func (t *Tape) object(at int32, depth int) bool {
	s := &t.s
	if depth > t.limits.Depth {
		return t.fail(at, ErrDepth)
	}
	s.pos++
	if s.space(); s.peek() == '}' {
		s.pos++
		return true
	}
	base := len(s.names)
	var seen twins
	for count := int32(1); ; count++ {
		if t.limits.Members > 0 && int(count) > t.limits.Members {
			return t.fail(at, ErrMembers)
		}
		n, ok := s.name()
		if !ok {
			return t.fail(at, s.err)
		}
		if t.limits.String > 0 && int(n.end-n.start) > t.limits.String {
			return t.fail(at, ErrString)
		}
		if err := seen.add(s, base, n); err != nil && (!t.limits.Twins || errors.Is(err, ErrDuplicate)) {
			return t.fail(at, err)
		}
		if s.space(); s.peek() != ':' {
			return t.fail(at, ErrSyntax)
		}
		s.pos++
		s.space()
		if !t.value(at, n, depth) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case '}':
			s.pos++
			s.names = s.names[:base]
			t.Values[at].Len = count
			return true
		default:
			return t.fail(at, ErrSyntax)
		}
	}
}

func (t *Tape) array(at int32, depth int) bool {
	s := &t.s
	if depth > t.limits.Depth {
		return t.fail(at, ErrDepth)
	}
	s.pos++
	if s.space(); s.peek() == ']' {
		s.pos++
		return true
	}
	for count := int32(1); ; count++ {
		if t.limits.Items > 0 && int(count) > t.limits.Items {
			return t.fail(at, ErrItems)
		}
		if !t.value(at, name{}, depth) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			s.space()
		case ']':
			s.pos++
			t.Values[at].Len = count
			return true
		default:
			return t.fail(at, ErrSyntax)
		}
	}
}

// twins finds names of one object that are the same, or differ in case alone.
type twins struct {
	folded map[string]string // names by their folded form, once there are many or unusual ones
}

// add notes n as one more name of the object whose names start at base.
func (w *twins) add(s *Scanner, base int, n name) error {
	s.names = append(s.names, n)
	own := s.names[base:]
	text := s.text(n)
	if w.folded == nil && len(own) <= manyNames && ascii(text) {
		for _, o := range own[:len(own)-1] {
			if other := s.text(o); len(other) == len(text) && (other[0]|0x20) == (text[0]|0x20) && equalASCII(other, text) {
				return twinError(other, text)
			}
		}
		return nil
	}
	if w.folded == nil {
		w.folded = make(map[string]string, 2*len(own))
		for _, o := range own[:len(own)-1] {
			other := string(s.text(o))
			w.folded[fold(other)] = other
		}
	}
	name := string(text)
	folded := fold(name)
	if other, ok := w.folded[folded]; ok {
		return twinError([]byte(other), text)
	}
	w.folded[folded] = name
	return nil
}

func twinError(a, b []byte) error {
	if bytes.Equal(a, b) {
		return ErrDuplicate
	}
	return ErrTwin
}

// fold returns a name in the form in which names that differ in case are the same,
// whether a program compares small letters or capitals.
func fold(name string) string {
	return string(bytes.ToLower(bytes.ToUpper([]byte(name))))
}

func ascii(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return len(text) > 0
}

// equalASCII reports whether two texts of one length differ at most in the case of
// letters.
func equalASCII(a, b []byte) bool {
	for i, c := range a {
		if d := b[i]; c != d && (c^d != 0x20 || (c|0x20)-'a' > 'z'-'a') {
			return false
		}
	}
	return true
}

// maxNumber is how long a number can be.
const maxNumber = 1100

// finite reports whether a number has a finite value in double precision, which is
// zero only for zero. What programs behind make of others is different everywhere.
func finite(text []byte) bool {
	if len(text) > maxNumber {
		return false
	}
	exponent := false
	for _, c := range text {
		exponent = exponent || c == 'e' || c == 'E'
	}
	if len(text) < 300 && !exponent {
		return true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return false
	}
	if f != 0 {
		return true
	}
	for _, c := range text {
		if c == 'e' || c == 'E' {
			break
		}
		if c >= '1' && c <= '9' {
			return false
		}
	}
	return true
}

// Text returns a value as it is written.
func (t *Tape) Text(at int) []byte {
	v := &t.Values[at]
	return t.s.doc[v.start:v.end:v.end]
}

// Offset returns where in the text a value begins.
func (t *Tape) Offset(at int) int { return int(t.Values[at].start) }

// Name returns the name of a member, decoded. It is empty for what is no member.
func (t *Tape) Name(at int) []byte { return t.s.text(t.Values[at].name) }

// String returns what a string stands for. It stands in the text unless it is
// written with escapes; room is used for it then.
func (t *Tape) String(at int, room []byte) []byte {
	v := &t.Values[at]
	text := t.s.doc[v.start+1 : v.end-1]
	if !v.escaped {
		return text
	}
	return unescape(room[:0], text)
}

// Find returns the member of an object, or -1.
func (t *Tape) Find(object int, name string) int {
	end := int(t.Values[object].Next)
	for at := object + 1; at < end; at = int(t.Values[at].Next) {
		if n := t.Values[at].name; int(n.end-n.start) == len(name) && string(t.s.text(n)) == name {
			return at
		}
	}
	return -1
}

// Release has the Tape forget the text, and memory that an unusual text has taken.
func (t *Tape) Release() {
	t.s.doc = nil
	if cap(t.Values) > 4096 {
		t.Values = nil
	}
	if cap(t.s.decoded) > 4096 {
		t.s.decoded = nil
	}
}

// Escaped reports whether a string is written with escapes.
func (t *Tape) Escaped(at int) bool { return t.Values[at].escaped }
