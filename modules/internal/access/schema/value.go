package schema

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/query"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// types is a set of the types of JSON Schema.
type types uint8

const (
	typeNull types = 1 << iota
	typeBoolean
	typeInteger
	typeNumber
	typeString
	typeArray
	typeObject
)

var typeNames = [...]string{"null", "boolean", "integer", "number", "string", "array", "object"}

func typeNamed(name string) types {
	return 1 << max(slices.Index(typeNames[:], name), 0)
}

// String says what a value needs to be.
func (t types) String() string {
	if t&typeNumber != 0 {
		t &^= typeInteger
	}
	var names []string
	for i, name := range typeNames {
		if t&(1<<i) == 0 {
			continue
		}
		article := "a "
		switch name {
		case "null":
			article = ""
		case "integer", "array", "object":
			article = "an "
		}
		names = append(names, article+name)
	}
	return strings.Join(names, " or ")
}

// has reports whether a value has one of the types.
func (t types) has(tape *strictjson.Tape, at int) bool {
	switch tape.Values[at].Kind {
	case strictjson.KindNull:
		return t&typeNull != 0
	case strictjson.KindFalse, strictjson.KindTrue:
		return t&typeBoolean != 0
	case strictjson.KindString:
		return t&typeString != 0
	case strictjson.KindArray:
		return t&typeArray != 0
	case strictjson.KindObject:
		return t&typeObject != 0
	}
	if t&typeNumber != 0 || t&typeInteger == 0 {
		return t&typeNumber != 0
	}
	var room [40]byte
	d := parseDecimal(tape.Text(at), room[:0])
	return d.integer()
}

// constant is a value of a schema.
type constant struct {
	text []byte
	tape *strictjson.Tape
}

func (k *constant) equals(v *Validator, at int) bool { return v.same(v.tape, at, k.tape, 0) }

func (e *enum) has(v *Validator, at int) bool {
	if e.strings != nil && v.tape.Values[at].Kind == strictjson.KindString {
		return e.strings[string(v.string(at))]
	}
	for _, k := range e.others {
		if k.equals(v, at) {
			return true
		}
	}
	return false
}

// same reports whether two values are the same: numbers by what they stand for,
// objects whatever the order of their members.
func (v *Validator) same(a *strictjson.Tape, i int, b *strictjson.Tape, j int) bool {
	v.steps--
	x, y := &a.Values[i], &b.Values[j]
	if x.Kind != y.Kind || x.Len != y.Len || v.steps < 0 {
		return false
	}
	switch x.Kind {
	case strictjson.KindNumber:
		var one, two [40]byte
		m, n := parseDecimal(a.Text(i), one[:0]), parseDecimal(b.Text(j), two[:0])
		return m.compare(&n) == 0
	case strictjson.KindString:
		if !a.Escaped(i) && !b.Escaped(j) {
			return bytes.Equal(a.Text(i), b.Text(j))
		}
		return bytes.Equal(a.String(i, nil), b.String(j, nil))
	case strictjson.KindArray:
		j++
		for m := i + 1; m < int(x.Next); m = int(a.Values[m].Next) {
			if !v.same(a, m, b, j) {
				return false
			}
			j = int(b.Values[j].Next)
		}
	case strictjson.KindObject:
		for m := i + 1; m < int(x.Next); m = int(a.Values[m].Next) {
			n := b.Find(j, string(a.Name(m)))
			if n < 0 || !v.same(a, m, b, n) {
				return false
			}
		}
	}
	return true
}

// fewItems is how many items are compared with each other; beyond it hashes find
// those that may be the same.
const fewItems = 8

// unique reports whether all items of an array are different.
func (v *Validator) unique(at int) bool {
	val := v.tape.Values[at]
	if val.Len <= fewItems {
		for i := at + 1; i < int(val.Next); i = int(v.tape.Values[i].Next) {
			for j := int(v.tape.Values[i].Next); j < int(val.Next); j = int(v.tape.Values[j].Next) {
				if v.same(v.tape, i, v.tape, j) {
					return false
				}
			}
		}
		return true
	}
	first := make(map[uint64]int, val.Len)
	for i := at + 1; i < int(val.Next); i = int(v.tape.Values[i].Next) {
		h := v.hash(i)
		if j, ok := first[h]; ok {
			if v.same(v.tape, i, v.tape, j) {
				return false
			}
			// Two values of one hash, which nobody can find on purpose: the hash
			// is different in each process.
			for k := at + 1; k < i; k = int(v.tape.Values[k].Next) {
				if v.same(v.tape, i, v.tape, k) {
					return false
				}
			}
			continue
		}
		first[h] = i
	}
	return v.steps >= 0
}

var seed = maphash.MakeSeed()

// hash is the same for values that are the same.
func (v *Validator) hash(at int) uint64 {
	v.steps--
	x := &v.tape.Values[at]
	salt := uint64(x.Kind)<<56 | uint64(uint32(x.Len)) //nolint:gosec // bits
	switch x.Kind {
	case strictjson.KindNumber:
		var one, two [40]byte
		d := parseDecimal(v.tape.Text(at), one[:0])
		d = d.spread(two[:])
		if d.negative {
			salt++
		}
		return maphash.Bytes(seed, d.digits) + mix(salt+uint64(d.exp)<<8) //nolint:gosec // bits
	case strictjson.KindString:
		return maphash.Bytes(seed, v.string(at)) + mix(salt)
	case strictjson.KindArray:
		for i := at + 1; i < int(x.Next); i = int(v.tape.Values[i].Next) {
			salt = mix(salt) + v.hash(i)
		}
	case strictjson.KindObject:
		sum := uint64(0)
		for i := at + 1; i < int(x.Next); i = int(v.tape.Values[i].Next) {
			sum += mix(maphash.Bytes(seed, v.tape.Name(i)) ^ bits.RotateLeft64(v.hash(i), 7))
		}
		salt += sum
	}
	return mix(salt)
}

func mix(n uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return maphash.Bytes(seed, b[:])
}

// fold is the form of a name in which those that differ in case are the same.
func fold(name []byte) string { return query.Fold(string(name)) }

func quote(text string) string { return `"` + text + `"` }

func quoteAll(texts []string) string {
	const shown = 12
	var b strings.Builder
	for i, text := range texts {
		if i == shown {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(text))
	}
	return b.String()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// appendQuoted appends a string of JSON.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// AppendString appends text as a string of JSON, and reports whether it is one:
// valid UTF-8.
func AppendString(dst, text []byte) ([]byte, bool) {
	return appendQuoted(dst, text), utf8.Valid(text)
}

func escapePointer(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// Pointer returns the JSON Pointer (RFC 6901) of a value. Names are those of the
// text; long ones are cut.
func Pointer(tape *strictjson.Tape, at int) string {
	if at <= 0 || at >= len(tape.Values) {
		return ""
	}
	var parts []string
	for at > 0 {
		parent := int(tape.Values[at].Parent)
		if tape.Values[parent].Kind == strictjson.KindObject {
			parts = append(parts, cut(escapePointer(string(tape.Name(at)))))
		} else {
			n := 0
			for i := parent + 1; i < at; i = int(tape.Values[i].Next) {
				n++
			}
			parts = append(parts, strconv.Itoa(n))
		}
		at = parent
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// maxName is how much of a name a pointer shows, in bytes.
const maxName = 100

func cut(name string) string {
	if len(name) <= maxName {
		return name
	}
	end := maxName
	for !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + "…"
}
