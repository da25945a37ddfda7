package redaction

import (
	"bytes"
	"encoding/json"
	"slices"
)

// A text can come in several strings, each in a document of its own, as the
// responses of language models do. What detect looks for may then stand in none
// of them. So whoever reads such a stream may take over the looking: the
// Rewriter hands out the strings, and a Tail for each text finds things in what
// they are together.

// Piece is a string that Rewriter.Join has handed out.
type Piece struct {
	From, To int    // where it stands in what was written, with its quotes
	Text     []byte // what it stands for
	Pointer  string // RFC 6901, in what was written

	rules []int32
}

// Join has take asked for each string that detect rules, and no other rule,
// would look into, by its pointer. If it returns true, the string leaves as it
// came and is among the Pieces. A string that is itself JSON, or longer than
// Options.MaxValue, is looked into as ever. It is forgotten with Reset.
func (w *Rewriter) Join(take func(pointer string) bool) { w.take = take }

// Pieces returns the strings that were handed out.
func (w *Rewriter) Pieces() []Piece { return w.pieces }

// joins hands out the string raw that ends at i of p, if it is wanted.
func (w *Rewriter) joins(p, raw []byte, whole bool) bool {
	if w.take == nil || w.kind != kindString || w.acting.rule != none || w.valueLen > w.program.options.MaxValue {
		return false
	}
	text := w.decoded(raw[1 : len(raw)-1])
	if looksLikeJSON(text) && json.Valid(text) {
		return false
	}
	pointer, exact := w.pointer(p, true)
	if !exact || !w.take(pointer) {
		return false
	}
	if whole {
		w.emit(p[w.start:w.valueAt])
	}
	from := w.written + len(w.out)
	w.emit(raw)
	w.pieces = append(w.pieces, Piece{
		From: from, To: from + len(raw), Text: slices.Clone(text), Pointer: pointer, rules: w.acting.detects,
	})
	return true
}

// AppendString appends text as a string of JSON.
func AppendString(dst, text []byte) []byte { return appendQuoted(dst, text) }

// Edit replaces a part of a text.
type Edit struct {
	From, To int
	Text     []byte
	Rule     string // the one that found it
}

// Tail is the end of a text that comes in pieces: what of it is not decided.
type Tail struct {
	program *Program
	rules   []int32
	v       value
	text    []byte
	context int // bytes at the beginning of text that are decided
}

// NewTail returns the Tail of the text that a piece of w is the first of.
func (w *Rewriter) NewTail(first *Piece) *Tail {
	t := &Tail{program: w.program, rules: first.rules}
	t.v = value{kind: kindString, w: &Rewriter{program: w.program, caller: w.caller, path: first.Pointer}}
	return t
}

// Add takes the next piece.
func (t *Tail) Add(text []byte) { t.text = append(t.text, text...) }

// Len returns how many bytes are not decided.
func (t *Tail) Len() int { return len(t.text) - t.context }

// Decide returns what is to be replaced in the first n bytes of those that
// were not decided, which now are. At the end of the text, all are.
func (t *Tail) Decide(end bool) (edits []Edit, n int) {
	open := len(t.text)
	for _, r := range t.rules {
		if !end {
			open = min(open, t.program.rules[r].Action.detect.kinds.Open(t.text))
		}
	}
	open = max(open, t.context)
	last := open
	for _, r := range t.rules {
		rule := &t.program.rules[r]
		for from := t.context; ; {
			start, stop, ok := rule.Action.detect.kinds.Find(t.text, from)
			if !ok || start >= open && !end {
				break
			}
			from = stop
			e := Edit{From: start - t.context, To: stop - t.context, Rule: rule.Name}
			if !slices.ContainsFunc(edits, func(o Edit) bool { return e.From < o.To && o.From < e.To }) {
				e.Text = rule.Action.detect.instead(&t.v, t.text[start:stop])
				if last = max(last, stop); !bytes.Equal(e.Text, t.text[start:stop]) {
					edits = append(edits, e)
				}
			}
		}
	}
	slices.SortFunc(edits, func(a, b Edit) int { return a.From - b.From })
	n = last - t.context
	// The byte before tells whether a number or a key begins here.
	keep := max(last-1, 0)
	rest := t.text[keep:]
	if t.text = t.text[:0]; cap(t.text) > firstOut && len(rest) < firstOut {
		t.text = nil // it may be kept for long
	}
	t.text = append(t.text, rest...)
	t.context = last - keep
	return edits, n
}

// instead returns what stands in for a thing that was found.
func (d *detector) instead(v *value, thing []byte) []byte {
	switch d.inner.kind {
	case actRemove, actNull: // of a text that is in part gone, all cannot become null
		return nil
	case actReplace:
		return appendDecoded(nil, d.inner.literal[1:len(d.inner.literal)-1])
	}
	out := d.apply(nil, v, slices.Clone(thing))
	if d.nested && holdsJSON(v.w.path) && !bytes.Equal(out, thing) {
		return escaped(out)
	}
	return out
}
