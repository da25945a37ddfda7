package redaction

import (
	"io"
	"math/bits"
	"strconv"
)

// Rewriter redacts one text. What is written to it leaves for dst redacted, as
// soon as it is decided, and at the latest with the Write that decides it.
// It is not safe for use by several goroutines.
type Rewriter struct {
	program *Program
	dst     io.Writer
	err     error
	base    int64 // bytes of the text before the current Write
	count   int
	fired   []uint64
	caller  Caller
	trace   func(rule, pointer string)
	choose  func(rule string, element []byte) bool
	watch   func(rule string, text []byte)
	source  string // pointer of the text, where it is part of another
	path    string // the same in what leaves
	vague   bool   // path is not exact
	origin  *state // of the text, nil for that of the program

	sequence bool
	lines    bool                      // the values of a sequence begin on lines of their own
	texts    int64                     // values that were begun, not inside others
	take     func(pointer string) bool // see join.go
	pieces   []Piece
	written  int // bytes that dst has
	actOn    value

	// Where the walk stands; see walk.go.
	at       place
	stack    []frame
	memo     memo
	child    *state // of the member whose name was read
	sub      sub    // within a string
	codeUnit uint32 // of the escape being read
	escaped  bool   // the name being read has an escape
	number   uint8  // state of the number being read
	literal  string // what is still to come of true, false, null
	apart    bool   // in a sequence, the next value must be set apart
	keyStart int    // of the name being read or last read, negative if in key
	keyEnd   int    // negative if there is none, or it is not yet read
	key      []byte // the name, if it began in an earlier Write
	keyDone  bool   // the name is too long for any rule: decided already

	// Output that is not decided yet; see hold.go.
	start     int // of what is to be copied from the current Write
	mode      mode
	modeDepth int // of the value that mode applies to
	cut       int // where a removal of the next member or element begins
	cutComma  bool
	held      []byte // from the cut on, if that was in an earlier Write
	holding   bool   // the cut was in an earlier Write
	valueAt   int    // of the value held, negative if it began in an earlier Write
	value     []byte
	valueLen  int
	kind      kind
	acting    *state
	window    window
	spill     spill

	text, repl, scratch []byte
	names               []byte // of the open members, where their Write is over
	out                 []byte

	stop, ink bitmap
}

// frame is an open object or array.
type frame struct {
	state *state
	index int64 // of the current element
	array bool
	kept  bool  // a member or element of it was kept
	gone  int64 // elements that were removed
	fresh bool  // the name is in the current Write, not in names

	// The name of the member, inside this object, in which the
	// next frame stands: where in the current Write or in names.
	from, to int
}

// outSize is how much output is gathered before it is written, where a Write
// is cut into pieces by its redactions.
// That is once for each Write of reverse_proxy, which takes 32 KiB at a time.
const outSize = 36 << 10

// firstOut is how much space there is for it until a text needs more.
const firstOut = 4 << 10

// Reset makes w ready for another text. Everything about the last one is
// forgotten.
func (w *Rewriter) Reset(dst io.Writer) {
	w.dst, w.err, w.base, w.count = dst, nil, 0, 0
	w.caller, w.source, w.path, w.trace = Caller{}, "", "", nil
	w.choose, w.watch = nil, nil
	if n := (len(w.program.rules) + 63) / 64; len(w.fired) < n {
		w.fired = make([]uint64, n)
	}
	clear(w.fired)
	w.vague, w.origin, w.sequence = false, nil, w.program.options.Sequence
	w.lines, w.texts = false, 0
	w.take, w.pieces, w.written = nil, nil, 0
	w.memo = memo{}
	w.at, w.child, w.sub, w.number, w.literal = atBegin, nil, subNone, 0, ""
	w.escaped, w.apart, w.keyDone = false, false, false
	w.keyStart, w.keyEnd = -1, -1
	w.mode, w.holding, w.cutComma, w.acting = modeCopy, false, false, nil
	w.stack, w.key, w.held, w.value, w.names, w.out = w.stack[:0], w.key[:0], w.held[:0], w.value[:0], w.names[:0], w.out[:0]
	// What was held was not meant to be seen.
	clear(w.held[:cap(w.held)])
	clear(w.value[:cap(w.value)])
	clear(w.window.buf[:cap(w.window.buf)])
	clear(w.text[:cap(w.text)])
	clear(w.scratch[:cap(w.scratch)])
	clear(w.actOn.scratch[:cap(w.actOn.scratch)])
	w.actOn.raw, w.actOn.text, w.actOn.write = nil, nil, nil
}

// SetCaller says for whom the text is redacted. Encrypt binds its values to
// it. It is forgotten with Reset.
func (w *Rewriter) SetCaller(caller Caller) { w.caller = caller }

// Choose has f say which of the elements go that rules of RemoveChosen name. It
// is given the name of the rule and the text of the element, which is valid JSON
// but for what RFC 8259 leaves to readers, and must not keep the text. Without
// it all go. It is forgotten with Reset.
func (w *Rewriter) Choose(f func(rule string, element []byte) (remove bool)) { w.choose = f }

// Observe has f called with the name of the rule and the text of each scalar
// that rules of Watch name; that of a string is decoded. It must not keep the text.
// It is forgotten with Reset.
func (w *Rewriter) Observe(f func(rule string, text []byte)) { w.watch = f }

// SetTrace has f called for every value that is redacted, with the name of the
// rule and the RFC 6901 pointer of the value in the text, in which names of more
// than 256 bytes are cut out. It is forgotten with Reset. It is for explaining
// what a program does, and costs an allocation each time.
func (w *Rewriter) SetTrace(f func(rule, pointer string)) { w.trace = f }

// SetLines has the values of a sequence begin on lines of their own, as those
// of JSON Lines do: a value that follows another on its line is a fault. It is
// forgotten with Reset.
func (w *Rewriter) SetLines() { w.lines = true }

// Texts returns how many values were begun that are not inside others.
func (w *Rewriter) Texts() int64 { return w.texts }

// Count returns how many values were redacted so far.
func (w *Rewriter) Count() int { return w.count }

// Fired returns the names of the rules that redacted something, in the order
// of the program.
func (w *Rewriter) Fired() []string {
	n := 0
	for _, set := range w.fired {
		n += bits.OnesCount64(set)
	}
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for i := range w.program.rules {
		if w.fired[i/64]&(1<<(i%64)) != 0 {
			list = append(list, w.program.rules[i].Name)
		}
	}
	return list
}

// Offset returns how many bytes of the text were found to be good.
func (w *Rewriter) Offset() int64 { return w.base }

// Write takes the next piece of the text. An *Error says what is wrong with the
// text; other errors are those of dst. After an error nothing is written to
// dst any more, and every call returns the error again.
func (w *Rewriter) Write(p []byte) (int, error) {
	if w.err != nil || len(p) == 0 {
		return 0, w.err
	}
	w.start, w.window.from = 0, 0
	for from := 0; from < len(p); from += blockSize {
		to := min(from+blockSize, len(p))
		classify(&w.stop, &w.ink, p, from, to)
		if at, reason := w.walk(p, from, to); reason != "" {
			return w.fault(p, at, reason)
		}
	}
	if at, reason := w.pause(p); reason != "" {
		return w.fault(p, at, reason)
	}
	if w.flush(); w.err != nil {
		return 0, w.err
	}
	w.base += int64(len(p))
	return len(p), nil
}

// Close ends the text. It returns an *Error if the text is not complete.
func (w *Rewriter) Close() error {
	if w.err != nil {
		return w.err
	}
	w.start = 0
	switch {
	case w.at == atNumber && len(w.stack) == 0 && numberEnds(w.number):
		if w.mode != modeCopy {
			_ = w.endValue(nil, 0) // of a scalar, which fits
		}
	case w.at == atEnd, w.at == atBegin && w.sequence:
	default:
		_, err := w.fault(nil, 0, ReasonTruncated)
		return err
	}
	w.at = atEnd
	w.flush()
	return w.err
}

// fault ends the work. What is gathered is dropped.
func (w *Rewriter) fault(p []byte, at int, reason Reason) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	pointer, _ := w.pointer(p, false)
	if reason == ReasonHeldWindow {
		// The same wherever the Writes are cut.
		at = int(w.window.begin - w.base)
	}
	e := &Error{Offset: w.base + int64(at), Pointer: pointer, Reason: reason}
	w.base = e.Offset
	w.err = e
	w.out = w.out[:0]
	return max(at, 0), e
}

// emit gathers output, and writes what does not fit.
func (w *Rewriter) emit(b []byte) {
	if len(w.out)+len(b) > outSize {
		w.flush()
		if len(b) >= outSize/2 {
			w.put(b)
			return
		}
	}
	if n := len(w.out) + len(b); n > cap(w.out) {
		size := firstOut
		if n > size {
			size = outSize
		}
		w.out = append(make([]byte, 0, size), w.out...)
	}
	w.out = append(w.out, b...)
}

// emitLast is emit for what is followed by a flush.
func (w *Rewriter) emitLast(b []byte) {
	if len(w.out) == 0 && len(b) > 0 {
		w.put(b)
		return
	}
	w.emit(b)
}

func (w *Rewriter) flush() {
	if len(w.out) > 0 {
		w.put(w.out)
		w.out = w.out[:0]
	}
}

func (w *Rewriter) put(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.dst.Write(b)
	w.written += n
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	w.err = err
}

// fire notes that a rule was applied to the value that the walk is at. p is the
// current Write.
func (w *Rewriter) fire(p []byte, rule int32) {
	w.count++
	w.fired[rule/64] |= 1 << (rule % 64)
	if w.trace != nil {
		pointer, _ := w.pointer(p, false)
		w.trace(w.program.rules[rule].Name, pointer)
	}
}

// pointer returns the RFC 6901 pointer of the innermost value that was begun,
// and whether it is exact: names longer than nameMax are left out of it. p is
// the current Write. Indices are those in the text, or in what leaves.
func (w *Rewriter) pointer(p []byte, leaves bool) (string, bool) {
	b := []byte(w.source)
	exact := true
	if leaves {
		b, exact = []byte(w.path), !w.vague
	}
	for i := range w.stack {
		f := &w.stack[i]
		inner := i == len(w.stack)-1
		var raw []byte
		switch {
		case f.array && f.index >= 0:
			index := f.index
			if leaves {
				index -= f.gone
			}
			b = strconv.AppendInt(append(b, '/'), index, 10)
			continue
		case f.array || inner && w.keyEnd < 0:
			continue
		case inner && w.keyStart < 0:
			raw = w.key
		case inner:
			raw = p[w.keyStart:w.keyEnd]
		case f.fresh:
			raw = p[f.from:f.to]
		default:
			raw = w.names[f.from:f.to]
		}
		if len(raw) > w.program.nameMax {
			raw, exact = []byte(elided), false
		}
		b = appendToken(b, raw)
	}
	return string(b), exact
}

// elided stands for a name that is too long to be kept. It is not a possible
// spelling of a name, being longer than nameMax.
const elided = "…"

// appendToken appends a name to a pointer.
func appendToken(b, raw []byte) []byte {
	b = append(b, '/')
	for _, c := range appendDecoded(nil, raw) {
		switch c {
		case '~':
			b = append(b, "~0"...)
		case '/':
			b = append(b, "~1"...)
		default:
			b = append(b, c)
		}
	}
	return b
}
