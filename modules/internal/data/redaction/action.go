package redaction

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

// Action is what a rule does to the values that its selector names. The zero
// Action is Remove.
//
// Remove, Null and Replace apply to a value as a whole. All others apply to
// scalars; of an object or array, to every scalar inside it, at any depth.
// Numbers, true, false and null are scalars like strings: a mask turns them
// into strings, so that neither their value nor their type is seen.
type Action struct {
	kind actionKind

	// literal is what stands in for the value, as JSON.
	literal []byte

	// scalar appends to dst what stands in for v, as JSON. It returns
	// false if v is to stay as it is.
	scalar func(dst []byte, v *value) ([]byte, bool)

	// places tells that scalar asks for the pointer of a value.
	places bool

	detect *detector

	// chosen tells that Rewriter.Choose says which of the elements go.
	chosen bool

	// spare tells that no rule applies to the value, nor to anything in it.
	spare bool
}

// actionKind orders actions: the first wins where several apply to one value.
type actionKind uint8

const (
	actRemove actionKind = iota
	actNull
	actReplace
	actHash     // and encrypt
	actTokenize // which tells the form of a value
	actMask
	actRound // and shifted dates, buckets, generalization and noise
	actTruncate
	actDetect
)

// stricter reports whether action a of rule i wins over action b of rule j:
// remove, null, replace, hash and encrypt, tokenize, mask and keep, round and
// all else that makes a value less exact, truncate, in this order; among equals
// the rule that was written first.
func stricter(a *Action, i int32, b *Action, j int32) bool {
	if a.kind != b.kind {
		return a.kind < b.kind
	}
	return i < j
}

// whole reports whether a applies to objects and arrays as a whole.
func (a *Action) whole() bool { return a.kind <= actReplace }

// Remove takes the member or element away. Where the whole document is
// selected it leaves null, since nothing at all is not JSON.
func Remove() Action { return Action{kind: actRemove, literal: []byte("null")} }

// Null puts null in place of the value.
func Null() Action { return Action{kind: actNull, literal: []byte("null")} }

// Replace puts text in place of the value, as a string. Bytes of it that
// are not UTF-8 become U+FFFD.
func Replace(text string) Action {
	return Action{kind: actReplace, literal: appendQuoted(nil, []byte(strings.ToValidUTF8(text, "\uFFFD")))}
}

// Mask hides part of the text of a scalar; see [mask.Preset] for the presets.
// A number is masked as it is written. Of true, false and null nothing is left.
func Mask(preset string) (Action, error) {
	f, ok := mask.Preset(preset)
	if !ok {
		return Action{}, fmt.Errorf("unknown mask %q: the masks are %s, and keep", preset, strings.Join(mask.Presets(), ", "))
	}
	return masking(f), nil
}

// Keep is a mask that shows the first and last characters and puts char in the
// place of every other one, '*' if it is zero. Text of no more than first+last
// characters is masked entirely.
func Keep(first, last int, char rune) Action {
	if char == 0 || !utf8.ValidRune(char) {
		char = '*'
	}
	return masking(mask.Keep(max(first, 0), max(last, 0), char))
}

func masking(f mask.Func) Action {
	return Action{kind: actMask, scalar: func(dst []byte, v *value) ([]byte, bool) {
		if v.kind == kindLiteral {
			return appendFixed(dst), true
		}
		v.scratch = f(v.scratch[:0], v.text)
		return appendQuoted(dst, v.scratch), true
	}}
}

// Hash puts a pseudonym in place of a scalar: the same for equal values,
// another for the string "1" than for the number 1, and without the key of no
// use. Numbers are equal if their values are: 1.0 and 1e0.
func Hash(key []byte) Action { return pseudonyms(mask.NewPseudonym(key)) }

// HashSM3 is Hash with HMAC-SM3.
func HashSM3(key []byte) Action { return pseudonyms(mask.NewPseudonymSM3(key)) }

func pseudonyms(p *mask.Pseudonym) Action {
	return Action{kind: actHash, scalar: func(dst []byte, v *value) ([]byte, bool) {
		domain, text := "string", v.text
		switch v.kind {
		case kindLiteral:
			domain = "literal"
		case kindNumber:
			domain = "number"
			if d, ok := mask.ParseDecimal(text); ok {
				text = d.Append(nil)
			}
		}
		return append(p.Append(append(dst, '"'), domain, text), '"'), true
	}}
}

// Encrypt seals a scalar, as JSON, for the holder of the key: see
// [mask.Sealer.Open]. The path is the RFC 6901 pointer of the value in what
// leaves, the caller that of Rewriter.SetCaller. A value whose path has a name
// of more than 4096 bytes is replaced as one that is too large.
func Encrypt(s *mask.Sealer) Action {
	return Action{kind: actHash, places: true, scalar: func(dst []byte, v *value) ([]byte, bool) {
		path, ok := v.pointer()
		if !ok {
			return appendFixed(dst), true
		}
		return append(s.Seal(append(dst, '"'), v.raw, path, v.caller().ID), '"'), true
	}}
}

// Truncate leaves the first n characters. A number that is longer becomes a
// string.
func Truncate(n int) Action {
	return Action{kind: actTruncate, scalar: func(dst []byte, v *value) ([]byte, bool) {
		head, whole := mask.Truncate(v.text, max(n, 0))
		if whole {
			return dst, false
		}
		if v.kind == kindLiteral {
			return appendFixed(dst), true
		}
		return appendQuoted(dst, head), true
	}}
}

// Round leaves places digits after the decimal point, or, if places is
// negative, makes as many before it zero: 2 makes 12.345 to 12.35, -3 makes
// 12345 to 12000. Numbers in strings are rounded there. Null stays, anything
// else is hidden, since it is not what the rule was written for.
func Round(places int) Action {
	return Action{kind: actRound, scalar: func(dst []byte, v *value) ([]byte, bool) {
		d, ok := mask.ParseDecimal(v.text)
		if !ok {
			return orFixed(dst, v)
		}
		v.scratch = d.Round(places).Append(v.scratch[:0])
		return appendAs(dst, v, v.scratch), true
	}}
}

// ShiftDates moves dates by a number of days, at most so many to either side,
// that follows from key alone, so the time between two dates stays. Dates are
// strings as [mask.ShiftDate] knows them, and numbers of seconds or milliseconds
// since 1970. Null stays, anything else is hidden.
func ShiftDates(key []byte, most int) Action {
	days := mask.ShiftDays(key, most)
	return Action{kind: actRound, scalar: func(dst []byte, v *value) ([]byte, bool) {
		out, ok := mask.ShiftDate(v.scratch[:0], v.text, days)
		if v.kind == kindNumber || !ok {
			out, ok = mask.ShiftUnix(v.scratch[:0], v.text, days)
		}
		if !ok {
			return orFixed(dst, v)
		}
		v.scratch = out
		return appendAs(dst, v, out), true
	}}
}

// orFixed hides a value that is not of the kind a rule is for.
func orFixed(dst []byte, v *value) ([]byte, bool) {
	if string(v.raw) == "null" {
		return dst, false
	}
	return appendFixed(dst), true
}

// appendAs appends text as a value of the type of v.
func appendAs(dst []byte, v *value, text []byte) []byte {
	if v.kind == kindString {
		return appendQuoted(dst, text)
	}
	return append(dst, text...)
}

// appendFixed appends what stands in for values that show nothing.
func appendFixed(dst []byte) []byte { return append(dst, `"`+mask.Fixed+`"`...) }

// kind is the type of a scalar.
type kind uint8

const (
	kindString kind = iota
	kindNumber
	kindLiteral // true, false or null
)

// value is a scalar that an action is applied to.
type value struct {
	kind kind
	raw  []byte // as it is written
	text []byte // of a string what it stands for, otherwise raw

	part    bool      // of a string that is too long to be held
	w       *Rewriter // nil where there is no document round the value
	write   []byte    // the current one of w
	scratch []byte
}

// pointer returns the RFC 6901 pointer of the value in what leaves. It reports
// false if a name in it was too long to be kept.
func (v *value) pointer() (string, bool) {
	if v.w == nil {
		return "", true
	}
	return v.w.pointer(v.write, true)
}

// caller returns what Rewriter.SetCaller was given.
func (v *value) caller() Caller {
	if v.w == nil {
		return Caller{}
	}
	return v.w.caller
}
