package redaction

import (
	"bytes"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

// A string that is too long to be held, but only looked into, is looked into
// piece by piece. Pieces end where nothing that is looked for can extend over,
// and where they end depends on the string alone.

// spill is how far such a string has left.
type spill struct {
	begun  bool
	hidden bool   // the rest is not shown
	fired  uint64 // bits of the detects that found something
}

// spillValue takes the next bytes of the string.
func (w *Rewriter) spillValue(p, b []byte) {
	most := w.program.options.MaxValue
	for len(b) > 0 {
		n := min(len(b), most+1-len(w.value))
		w.value = append(w.value, b[:n]...)
		b = b[n:]
		if len(w.value) > most {
			w.spillPiece(p, most)
		}
	}
}

// spillPiece lets go of a piece of at most n bytes, of those that are held.
func (w *Rewriter) spillPiece(p []byte, n int) {
	s := &w.spill
	if !s.begun {
		s.begun = true
		w.emit(w.value[:1])
		w.value = append(w.value[:0], w.value[1:]...)
		n--
		// As JSON it would have to be looked into as a whole.
		s.hidden = looksLikeJSON(w.decoded(w.value[:mask.LastBoundary(w.value[:n])]))
		if s.hidden {
			w.hideRest(p)
		}
	}
	if s.hidden {
		w.value = w.value[:0]
		return
	}
	cut := mask.LastBoundary(w.value[:n])
	if cut == 0 || mask.OpenKey(w.decoded(w.value[:cut])) {
		s.hidden = true
		w.hideRest(p)
		w.value = w.value[:0]
		return
	}
	w.emitPiece(p, w.value[:cut])
	w.value = append(w.value[:0], w.value[cut:]...)
}

func (w *Rewriter) hideRest(p []byte) {
	w.emit([]byte(mask.Fixed))
	w.fire(p, w.acting.detects[0])
}

// endSpill lets go of the last piece and the closing quote.
func (w *Rewriter) endSpill(p []byte) {
	if !w.spill.hidden {
		w.emitPiece(p, w.value[:len(w.value)-1])
	}
	w.emit([]byte{'"'})
}

// emitPiece emits a piece of the string, redacted.
func (w *Rewriter) emitPiece(p, raw []byte) {
	v := &w.actOn
	v.kind, v.raw, v.text, v.w, v.write, v.part = kindString, raw, w.decoded(raw), w, p, true
	found := false
	for i, d := range w.acting.detects {
		out, hit, _ := w.program.rules[d].Action.detect.redact(nil, v)
		if !hit {
			continue
		}
		v.text, found = out, true
		if w.spill.fired&(1<<(i%64)) == 0 {
			w.spill.fired |= 1 << (i % 64)
			w.fire(p, d)
		}
	}
	if !found {
		w.emit(raw)
		return
	}
	w.repl = appendQuoted(w.repl[:0], v.text)
	w.emit(w.repl[1 : len(w.repl)-1])
}

// decoded returns what stands for raw, a string or piece of one without quotes.
func (w *Rewriter) decoded(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	w.text = appendDecoded(w.text[:0], raw)
	return w.text
}
