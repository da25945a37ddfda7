package redaction

// mode is what happens to the bytes that are walked over.
type mode uint8

const (
	modeCopy   mode = iota
	modeSkip        // they belong to a value that is not shown
	modeHold        // they belong to a scalar that an action is applied to
	modeWindow      // they belong to an array that is held; see window.go
)

// tooFar reports whether the space between the cut and i is more than may be
// held.
func (w *Rewriter) tooFar(i int) bool {
	n := i - w.cut
	if w.holding {
		n = len(w.held) + i
	}
	return n > w.program.options.MaxValue
}

// decide settles whether the member or element whose state is s stays. The
// walk is at the end of its name, or at its first byte.
func (w *Rewriter) decide(p []byte, top *frame, s *state) *state {
	if s.remove {
		if !w.holding {
			w.emit(p[w.start:w.cut])
		}
		w.release()
		w.fire(p, s.rule)
		top.gone++
		w.mode, w.modeDepth = modeSkip, len(w.stack)
		return dead
	}
	// The comma was that of a member before, if none of those is left it
	// goes too.
	drop := w.cutComma && !top.kept
	switch {
	case w.holding && drop:
		w.emit(w.held[1:])
		w.start = 0
	case w.holding:
		w.emit(w.held)
		w.start = 0
	case drop:
		w.emit(p[w.start:w.cut])
		w.start = w.cut + 1
	}
	w.release()
	top.kept = true
	return s
}

func (w *Rewriter) release() {
	w.holding = false
	w.held = w.held[:0]
}

// act begins what is to be done with the value at i.
func (w *Rewriter) act(p []byte, i int, s *state) {
	c := p[i]
	if s.rule != none {
		action := &w.program.rules[s.rule].Action
		if action.whole() {
			w.emit(p[w.start:i])
			w.emit(action.literal)
			w.fire(p, s.rule)
			w.mode, w.modeDepth = modeSkip, len(w.stack)
			return
		}
	} else if c != '"' && !w.program.any {
		return
	}
	switch c {
	case '{', '[':
		return
	case '"':
		w.kind = kindString
	case 't', 'f', 'n':
		w.kind = kindLiteral
	default:
		w.kind = kindNumber
	}
	w.mode, w.modeDepth = modeHold, len(w.stack)
	w.acting, w.valueAt, w.valueLen, w.spill = s, i, 0, spill{}
}

// endValue ends what act or decide began, at the end of the value.
func (w *Rewriter) endValue(p []byte, i int) Reason {
	switch w.mode {
	case modeSkip:
		w.start = i
	case modeHold:
		w.endHeld(p, i)
	case modeWindow:
		if w.tooWide(i) {
			return ReasonHeldWindow
		}
		w.endElement(p, i)
		return ""
	}
	w.mode = modeCopy
	return ""
}

// endHeld ends a scalar that is held.
func (w *Rewriter) endHeld(p []byte, i int) {
	whole := w.valueAt >= 0
	raw := w.value
	switch {
	case whole && i-w.valueAt > w.program.options.MaxValue && w.acting.spills:
		w.emit(p[w.start:w.valueAt])
		w.start = w.valueAt
		w.holdValue(p, p[w.valueAt:i])
	case whole:
		raw = p[w.valueAt:i]
		w.valueLen = len(raw)
	default:
		w.start = 0
		w.holdValue(p, p[:i])
		raw = w.value
	}
	if w.spill.begun {
		w.endSpill(p)
		w.start = i
		w.value = w.value[:0]
		return
	}
	if w.take != nil && w.joins(p, raw, whole) {
		w.start = i
		w.value = w.value[:0]
		return
	}
	switch out, changed := w.replacement(p, raw); {
	case changed:
		if whole {
			w.emit(p[w.start:w.valueAt])
		}
		w.emit(out)
		w.start = i
	case !whole:
		w.emit(raw)
		w.start = i
	}
	w.value = w.value[:0]
}

// holdValue adds to the value that is held.
func (w *Rewriter) holdValue(p, b []byte) {
	if w.acting.spills && w.kind == kindString {
		w.spillValue(p, b)
		return
	}
	w.valueLen += len(b)
	if w.valueLen <= w.program.options.MaxValue {
		w.value = append(w.value, b...)
	}
}

// replacement returns what stands in for the scalar raw, false if nothing.
func (w *Rewriter) replacement(p, raw []byte) ([]byte, bool) {
	s := w.acting
	rule := s.rule
	if w.valueLen > w.program.options.MaxValue {
		if rule == none {
			rule = s.detects[0]
		}
		w.fire(p, rule)
		w.repl = appendFixed(w.repl[:0])
		return w.repl, true
	}
	v := &w.actOn
	v.kind, v.raw, v.text, v.w, v.write, v.part = w.kind, raw, raw, w, p, false
	if w.kind == kindString {
		v.text = w.decoded(raw[1 : len(raw)-1])
	}
	return w.applyTo(v, s)
}

// applyTo applies the rules of s to v.
func (w *Rewriter) applyTo(v *value, s *state) ([]byte, bool) {
	rules := w.program.rules
	found := false
	if s.rule == none || rules[s.rule].Action.kind == actTruncate {
		// What is detected goes before anything is cut off, which
		// could make it unrecognizable.
		for _, d := range s.detects {
			if v.kind != kindString && (v.kind != kindNumber || !rules[d].Action.detect.any) {
				continue
			}
			out, hit, null := rules[d].Action.detect.redact(nil, v)
			if !hit {
				continue
			}
			w.fire(v.write, d)
			found = true
			if null {
				w.repl = append(w.repl[:0], "null"...)
				return w.repl, true
			}
			v.text = out
		}
	}
	if s.rule != none {
		out, changed := rules[s.rule].Action.scalar(w.repl[:0], v)
		w.repl = out
		if changed {
			w.fire(v.write, s.rule)
			return out, true
		}
	}
	if found {
		w.repl = appendQuoted(w.repl[:0], v.text)
	}
	return w.repl, found
}

// pause settles at the end of a Write what of it can leave, and keeps the
// rest.
func (w *Rewriter) pause(p []byte) (int, Reason) {
	if w.at == atKey {
		w.keepKey(p)
	}
	switch {
	case w.undecided():
		if w.holding {
			w.held = append(w.held, p...)
		} else {
			w.emitLast(p[w.start:w.cut])
			w.held = append(w.held[:0], p[w.cut:]...)
			w.holding = true
		}
		if w.at != atKey && len(w.held) > w.program.options.MaxValue {
			return len(p), ReasonHeldSpace
		}
	case w.mode == modeHold:
		if w.valueAt >= 0 {
			w.emit(p[w.start:w.valueAt])
			w.holdValue(p, p[w.valueAt:])
			w.valueAt = -1
		} else {
			w.holdValue(p, p)
		}
	case w.mode == modeWindow:
		if w.tooWide(len(p)) {
			return len(p), ReasonHeldWindow
		}
		w.window.take(p[w.window.from:])
	case w.mode == modeCopy:
		w.emitLast(p[w.start:])
	}
	w.keepNames(p)
	return 0, ""
}

// undecided reports whether the walk is between a cut and the decision about
// what follows it.
func (w *Rewriter) undecided() bool {
	if w.mode != modeCopy {
		return false
	}
	switch w.at {
	case atKey:
		return !w.keyDone && w.stack[len(w.stack)-1].state.drops
	case atMember:
		return w.stack[len(w.stack)-1].state.drops
	case atElement:
		return w.stack[len(w.stack)-1].state.thins
	}
	return false
}

// keepKey keeps the part of a name at the end of a Write. A name that is longer
// than those of all rules is decided at once, so that it need not be held.
func (w *Rewriter) keepKey(p []byte) {
	if w.keyStart >= 0 {
		w.key = append(w.key[:0], p[w.keyStart:]...)
		w.keyStart = -1
	} else if len(w.key) <= w.program.keyMax {
		w.key = append(w.key, p...)
	}
	if len(w.key) <= w.program.keyMax {
		return
	}
	w.key = w.key[:w.program.keyMax+1]
	if w.keyDone {
		return
	}
	w.keyDone = true
	top := &w.stack[len(w.stack)-1]
	w.child = dead
	if top.state.dead {
		return
	}
	w.child = w.program.auto.member(top.state, 0)
	if top.state.drops {
		w.child = w.decide(p, top, w.child)
	}
}

// endKey completes a name that began in an earlier Write.
func (w *Rewriter) endKey(rest []byte) {
	if len(w.key) <= w.program.keyMax {
		w.key = append(w.key, rest...)
	}
	if len(w.key) > w.program.keyMax {
		w.key = w.key[:w.program.keyMax+1]
	}
}

// findSlow returns the number of a name that has escapes, or began in an
// earlier Write.
func (w *Rewriter) findSlow(p []byte, from, to int) int {
	raw := w.key
	if from >= 0 {
		raw = p[from:to]
	}
	if len(raw) > w.program.auto.names.rawOf {
		return 0
	}
	w.scratch = appendDecoded(w.scratch[:0], raw)
	return w.program.auto.names.find(w.scratch)
}

// keepNames keeps the names of open members, of which the bytes are about to
// go.
func (w *Rewriter) keepNames(p []byte) {
	if w.keyStart >= 0 && w.keyEnd >= 0 {
		name := p[w.keyStart:w.keyEnd]
		w.key = append(w.key[:0], name[:min(len(name), w.program.nameMax+1)]...)
	}
	w.keyStart = -1
	first := len(w.stack) - 1
	for first > 0 && w.stack[first-1].fresh {
		first--
	}
	for i := first; i < len(w.stack)-1; i++ {
		f := &w.stack[i]
		var name []byte
		if !f.array {
			name = p[f.from:f.to]
		}
		w.saveName(i, name)
	}
}

// saveName keeps the name of the member of frame i that is open.
func (w *Rewriter) saveName(i int, name []byte) {
	f := &w.stack[i]
	f.from = 0
	if i > 0 {
		f.from = w.stack[i-1].to
	}
	w.names = append(w.names[:f.from], name[:min(len(name), w.program.nameMax+1)]...)
	f.to = len(w.names)
	f.fresh = false
}
