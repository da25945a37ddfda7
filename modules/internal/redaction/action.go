package redaction

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/mask"
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
	scalar func(dst []byte, v *Value) ([]byte, bool)

	detect detector
}

// actionKind orders actions: the first wins where several apply to one value.
type actionKind uint8

const (
	actRemove actionKind = iota
	actNull
	actReplace
	actHash // and encrypt
	actMask
	actRound // and shifted dates
	actTruncate
	actDetect
)

// stricter reports whether action a of rule i wins over action b of rule j:
// remove, null, replace, hash and encrypt, mask and keep, round and shift,
// truncate, in this order; among equals the rule that was written first.
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

// Null puts null in the place of the value.
func Null() Action { return Action{kind: actNull, literal: []byte("null")} }

// Replace puts text in the place of the value, as a string. Bytes of it that
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
	return Action{kind: actMask, scalar: func(dst []byte, v *Value) ([]byte, bool) {
		if v.Kind == Literal {
			return appendFixed(dst), true
		}
		v.scratch = f(v.scratch[:0], v.Text)
		return appendQuoted(dst, v.scratch), true
	}}
}

// appendFixed appends what stands in for values that show nothing.
func appendFixed(dst []byte) []byte { return append(dst, `"`+mask.Fixed+`"`...) }

// Kind is the type of a scalar.
type Kind uint8

const (
	String Kind = iota
	Number
	Literal // true, false or null
)

// Value is a scalar that an action is applied to.
type Value struct {
	Kind Kind
	Text []byte // of a string what it stands for, otherwise as it is written

	// Pointer returns the RFC 6901 pointer of the value, Caller is what
	// Rewriter.SetCaller was given.
	// It reports false if a name in it was too long to be kept.
	Pointer func() (string, bool)
	Caller  string

	scratch []byte
}

// detector finds things in strings.
type detector interface {
	// redact appends the redacted form of text, and reports whether there
	// was anything to redact. If null is true, the value is to become null.
	redact(dst, text []byte) (out []byte, found, null bool)
}
