package redaction

import (
	"bytes"
	"io"
)

// Whether $[-2] selects an element is known once two more have begun, or the
// array has ended. Where a rule counts from the end, elements are held until
// then, and go through a Rewriter of their own when it is known what applies
// to them. Only as many elements are held as the rules need.

// window is what is held of an array.
type window struct {
	buf   []byte // the elements, with what separates them
	gone  int    // bytes of buf that have left
	elems []span
	out   int   // of elems, have left
	first int64 // index of the first element held
	ended int   // of the last element that is complete, in buf
	from  int   // in the current Write, what is not in buf yet
	begin int64 // in the text, where what is held begins
	inner *Rewriter
	level int
}

// span is an element in buf, and where the comma and space before it begin.
type span struct{ gap, from, to int }

// maxWindows bounds how deep arrays may nest that are all held for a rule
// such as $..[-1].
const maxWindows = 16

// beginElement notes that another element of top, which counts from the end,
// begins at i.
func (w *Rewriter) beginElement(p []byte, i int, top *frame) Reason {
	v := &w.window
	if w.mode != modeWindow {
		w.emit(p[w.start:i])
		w.mode, w.modeDepth = modeWindow, len(w.stack)
		v.buf, v.gone, v.elems, v.out = v.buf[:0], 0, v.elems[:0], 0
		v.first, v.ended, v.from, v.begin = 0, 0, i, w.base+int64(i)
	}
	v.take(p[v.from:i])
	v.from = i
	for v.out < len(v.elems) && v.first+top.state.late <= top.index {
		if !w.releaseElement(p, top, top.index+1) {
			return ReasonHeldWindow
		}
	}
	v.elems = append(v.elems, span{gap: v.ended, from: len(v.buf)})
	return ""
}

func (v *window) take(b []byte) { v.buf = append(v.buf, b...) }

// endElement notes that the last element ends at i.
func (w *Rewriter) endElement(p []byte, i int) {
	v := &w.window
	v.take(p[v.from:i])
	v.from, v.ended = i, len(v.buf)
	v.elems[len(v.elems)-1].to = v.ended
}

// endWindow lets everything go at the end of the array.
func (w *Rewriter) endWindow(p []byte, i int, top *frame) Reason {
	v := &w.window
	v.take(p[v.from:i])
	for v.out < len(v.elems) {
		if !w.releaseElement(p, top, top.index+1) {
			return ReasonHeldWindow
		}
	}
	w.emit(v.buf[v.ended:])
	w.mode, w.start = modeCopy, i
	return ""
}

// tooWide reports whether more is held than may be, with what of p is not in
// the buffer yet.
func (w *Rewriter) tooWide(i int) bool {
	v := &w.window
	return len(v.buf)-v.gone+i-v.from > w.program.options.MaxValue
}

// releaseElement lets the first element held go, where the array is known to
// have n elements or more. It reports false if the element cannot be redacted
// within the limits.
func (w *Rewriter) releaseElement(p []byte, top *frame, n int64) bool {
	v := &w.window
	e, index := v.elems[v.out], v.first
	s := w.program.auto.element(top.state, edge{index: index, length: n}, &w.memo)
	ok := true
	stays := s.remove && w.chosen(s, v.buf[e.from:e.to])
	if s.remove && !stays {
		last := top.index
		top.index = index
		w.fire(p, s.rule)
		top.index = last
		top.gone++
	} else {
		gap := v.buf[e.gap:e.from]
		if comma := bytes.IndexByte(gap, ','); comma >= 0 && !top.kept {
			w.emit(gap[:comma])
			gap = gap[comma+1:]
		}
		w.emit(gap)
		if stays {
			w.emit(v.buf[e.from:e.to])
		} else {
			ok = w.redactElement(p, v.buf[e.from:e.to], index, s)
		}
		top.kept = true
	}
	v.first++
	v.drop(e.to)
	return ok
}

// chosen reports whether an element stays that a rule of RemoveChosen names.
func (w *Rewriter) chosen(s *state, text []byte) bool {
	rule := &w.program.rules[s.rule]
	return rule.Action.chosen && w.choose != nil && !w.choose(rule.Name, text)
}

// drop forgets the first element held, and the bytes up to its end. They are
// moved away once they are the larger part.
func (v *window) drop(to int) {
	v.begin += int64(to - v.gone)
	v.gone = to
	v.out++
	if v.gone > len(v.buf)-v.gone && v.out > len(v.elems)-v.out {
		v.buf = append(v.buf[:0], v.buf[v.gone:]...)
		v.elems = append(v.elems[:0], v.elems[v.out:]...)
		for i := range v.elems {
			e := &v.elems[i]
			e.gap, e.from, e.to = e.gap-v.gone, e.from-v.gone, e.to-v.gone
		}
		v.ended -= v.gone
		v.gone, v.out = 0, 0
	}
}

// redactElement writes one element, of state s.
func (w *Rewriter) redactElement(p, text []byte, index int64, s *state) bool {
	if s.dead && !s.acts {
		w.emit(text)
		return true
	}
	if w.window.level >= maxWindows {
		return false
	}
	in := w.window.inner
	if in == nil {
		in = &Rewriter{program: w.program}
		in.window.level = w.window.level + 1
		w.window.inner = in
	}
	in.Reset(outlet{w})
	in.origin, in.sequence, in.caller = s, false, w.caller
	in.choose, in.watch = w.choose, w.watch
	if w.trace != nil {
		in.trace = w.trace
		in.source, _ = w.elementPointer(p, index, false)
	}
	if w.program.nameMax == longName {
		// Where the values are bound to their position.
		in.path, in.vague = w.elementPointer(p, index, true)
	}
	if _, err := in.Write(text); err != nil {
		return false
	}
	if in.Close() != nil {
		return false
	}
	w.count += in.count
	for i, bits := range in.fired {
		w.fired[i] |= bits
	}
	return true
}

// outlet writes what leaves an inner Rewriter.
type outlet struct{ w *Rewriter }

var _ io.Writer = outlet{}

func (o outlet) Write(b []byte) (int, error) {
	o.w.emit(b)
	return len(b), nil
}

// elementPointer returns the pointer of an element of the innermost array, in
// the text or in what leaves, and whether a name in it was too long to be kept.
func (w *Rewriter) elementPointer(p []byte, index int64, leaves bool) (pointer string, vague bool) {
	top := &w.stack[len(w.stack)-1]
	was := top.index
	top.index = index
	pointer, exact := w.pointer(p, leaves)
	top.index = was
	return pointer, !exact
}
