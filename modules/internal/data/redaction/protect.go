package redaction

import (
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

// Tokenize puts a token of the same format in place of a scalar. A number stays
// a number. What is not of the format is hidden, null too. See [MemberName] for
// what is part of the tweak; a value whose path has a name of more than 4096
// bytes is hidden.
func Tokenize(t *mask.Tokenizer) Action { return tokens(t.Tokenize, nil) }

// Detokenize is the inverse of Tokenize, under the same selector. misfit is told
// the pointer of each value that is not of the format, which stays as it is.
func Detokenize(t *mask.Tokenizer, misfit func(pointer string)) Action {
	return tokens(t.Detokenize, misfit)
}

func tokens(f func(dst, text []byte, name string, number bool) ([]byte, bool), misfit func(string)) Action {
	return Action{kind: actTokenize, places: true, scalar: func(dst []byte, v *value) ([]byte, bool) {
		path, ok := v.pointer()
		if ok && v.kind != kindLiteral {
			v.scratch, ok = f(v.scratch[:0], v.text, MemberName(path), v.kind == kindNumber)
			if ok {
				return appendAs(dst, v, v.scratch), true
			}
		}
		if misfit != nil {
			if string(v.text) != mask.Fixed { // which was hidden
				misfit(path)
			}
			return dst, false
		}
		return appendFixed(dst), true
	}}
}

// MemberName returns the name, as RFC 6901 writes it, that the tokens of a value
// at pointer depend on: the last one that is not a number, which may be the
// index of an element. It is empty if there is none.
func MemberName(pointer string) string {
	for pointer != "" {
		i := strings.LastIndexByte(pointer, '/')
		if name := pointer[i+1:]; strings.Trim(name, "0123456789") != "" {
			return name
		}
		pointer = pointer[:max(i, 0)]
	}
	return ""
}

// Bucket puts the bucket of a number in its place, as a string such as [30,40),
// of numbers in strings too. Null stays, anything else is hidden.
func Bucket(b *mask.Buckets) Action {
	return Action{kind: actRound, scalar: func(dst []byte, v *value) ([]byte, bool) {
		d, ok := mask.ParseDecimal(v.text)
		if ok {
			v.scratch, ok = b.Append(v.scratch[:0], d)
		}
		if !ok {
			return orFixed(dst, v)
		}
		return appendQuoted(dst, v.scratch), true
	}}
}

// Generalize makes a value less exact. Null stays, what is not of the kind is
// hidden.
func Generalize(g mask.Generalizer) Action {
	return Action{kind: actRound, scalar: func(dst []byte, v *value) ([]byte, bool) {
		out, ok := g(v.scratch[:0], v.text, v.kind == kindNumber)
		if !ok {
			return orFixed(dst, v)
		}
		v.scratch = out
		return appendAs(dst, v, out), true
	}}
}

// Noise adds to a number what follows from it and from the caller. Numbers in
// strings are treated there. Null stays, anything else is hidden.
func Noise(n *mask.Noise) Action {
	return Action{kind: actRound, scalar: func(dst []byte, v *value) ([]byte, bool) {
		d, ok := mask.ParseDecimal(v.text)
		if ok {
			v.scratch, ok = n.Append(v.scratch[:0], d, v.caller().ID)
		}
		if !ok {
			return orFixed(dst, v)
		}
		return appendAs(dst, v, v.scratch), true
	}}
}

// Fake puts a made-up value in place of a scalar, the same for the same text. Null
// stays, true and false are hidden. A number stays one if what is made up is one.
func Fake(f *mask.Faker) Action {
	return Action{kind: actHash, scalar: func(dst []byte, v *value) ([]byte, bool) {
		if v.kind == kindLiteral {
			return orFixed(dst, v)
		}
		v.scratch = f.Append(v.scratch[:0], v.text)
		if _, ok := mask.ParseDecimal(v.scratch); v.kind == kindNumber && ok {
			return append(dst, v.scratch...), true
		}
		return appendQuoted(dst, v.scratch), true
	}}
}
