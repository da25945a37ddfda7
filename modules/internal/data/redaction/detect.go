package redaction

import (
	"bytes"
	"io"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

// detector applies an action to what is found in strings.
type detector struct {
	kinds finder
	inner Action
	below *Program // for JSON in strings, nil at the innermost level
	any   bool     // looks into numbers too

	nested bool // texts that come in pieces may be JSON

	rewrite func(text []byte) ([]byte, bool) // in place of all that
}

// detectDepth is how many times JSON may stand in strings of JSON and still be
// looked into as such. Deeper it is searched as plain text.
const detectDepth = 4

// Detect looks in every string that the selector names, and in every string
// inside the objects and arrays that it names ($ is: everywhere), for things of these
// kinds, see [mask.Kinds], and applies inner to each: a mask, hash or encrypt to the
// piece of text that was found, Remove takes it out, Null makes the whole
// string null. A string that is itself JSON is also looked into as
// such, so that escapes inside hide nothing.
//
// A string of more than Options.MaxValue bytes is looked into piece by piece. If
// it is JSON, or so many bytes of it have no character that separates words,
// its rest is hidden; with Null it is hidden entirely.
//
// Detect comes after every other action: a string that another rule replaces
// is not looked into, except that it is before Truncate cuts it.
func Detect(kinds []string, inner Action) (Action, error) {
	k, err := mask.NewDetector(kinds)
	if err != nil {
		return Action{}, err
	}
	var below *Program
	for range detectDepth {
		d := &detector{kinds: k, inner: inner, below: below, any: true}
		below, err = Compile([]Rule{{Selector: "$", Action: Action{kind: actDetect, detect: d}}}, Options{})
		if err != nil {
			return Action{}, err
		}
	}
	return Action{
		kind: actDetect, places: inner.places,
		detect: &detector{kinds: k, inner: inner, below: below},
	}, nil
}

// redact appends to dst the text of v redacted, and reports whether there was
// anything to redact, and whether the whole of it is to become null.
func (d *detector) redact(dst []byte, v *value) (out []byte, found, null bool) {
	if d.rewrite != nil {
		out, found = d.rewrite(v.text)
		return out, found, false
	}
	text := v.text
	if inner, hit := d.embedded(v); hit {
		text, found = inner, true
	}
	from := 0
	for {
		start, end, ok := d.kinds.Find(text, from)
		if !ok {
			break
		}
		dst = append(dst, text[from:start]...)
		from = end
		switch d.inner.kind {
		case actRemove:
			found = true
		case actNull:
			return nil, true, true
		case actReplace:
			found = true
			dst = appendDecoded(dst, d.inner.literal[1:len(d.inner.literal)-1])
		default:
			before := len(dst)
			dst = d.apply(dst, v, text[start:end])
			found = found || !bytes.Equal(dst[before:], text[start:end])
		}
	}
	if !found {
		return nil, false, false
	}
	return append(dst, text[from:]...), true, false
}

// apply appends what the action makes of one thing found in v.
func (d *detector) apply(dst []byte, v *value, thing []byte) []byte {
	piece := value{kind: kindString, raw: appendQuoted(nil, thing), text: thing, w: v.w, write: v.write}
	out, changed := d.inner.scalar(nil, &piece)
	switch {
	case !changed:
		return append(dst, thing...)
	case out[0] == '"':
		return appendDecoded(dst, out[1:len(out)-1])
	}
	return append(dst, out...)
}

// embedded redacts a text that is itself an object or array.
func (d *detector) embedded(v *value) ([]byte, bool) {
	if d.below == nil || v.part || !looksLikeJSON(v.text) {
		return nil, false
	}
	var b sliceWriter
	w := d.below.Get(&b)
	defer d.below.Put(w)
	if v.w != nil {
		w.caller = v.w.caller
		path, exact := v.pointer()
		w.path, w.vague = path, !exact
	}
	if _, err := w.Write(v.text); err != nil {
		return nil, false
	}
	if w.Close() != nil || w.Count() == 0 {
		return nil, false
	}
	return b, true
}

func looksLikeJSON(text []byte) bool {
	for _, c := range text {
		if !isSpace(c) {
			return c == '{' || c == '['
		}
	}
	return false
}

type sliceWriter []byte

var _ io.Writer = (*sliceWriter)(nil)

func (b *sliceWriter) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
