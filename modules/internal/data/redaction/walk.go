package redaction

import "encoding/binary"

// place is where in the grammar a piece of the text ended.
type place uint8

const (
	atBegin        place = iota // before a value that is not inside another
	atMark                      // in a byte order mark
	atValue                     // before the value of a member
	atFirstMember               // after {
	atMember                    // after a comma in an object
	atKey                       // in a name
	atColon                     // after a name
	atFirstElement              // after [
	atElement                   // after a comma in an array
	atString
	atNumber
	atLiteral
	atAfter // after a value in an object or array
	atEnd   // after the one value there may be
)

// walk goes through p[from:to], which is classified, as far as it can. It
// returns where the text is wrong and why, and otherwise keeps in w what it
// takes to go on.
//
// It is one function, with a label for each place in the grammar: what is
// walked over most, members with plain names that no rule mentions, then
// runs through with everything in registers. All that is rare is elsewhere.
func (w *Rewriter) walk(p []byte, from, to int) (int, Reason) {
	p = p[:to]
	var (
		i      = from
		e      int
		c      byte
		id     int // of a name
		n      int // of digits
		ks, ke = w.keyStart, w.keyEnd
		child  = w.child // of the value that comes next, or is being read
		auto   = w.program.auto
		names  = auto.names
		filter = &names.filter
		top    *frame // the innermost object or array
		cur    *state // of top
		reason Reason
	)
	if n := len(w.stack); n > 0 {
		top = &w.stack[n-1]
		cur = top.state
	}
	switch w.at {
	case atBegin:
		goto begin
	case atMark:
		goto mark
	case atValue:
		goto value
	case atFirstMember:
		goto firstMember
	case atMember:
		goto member
	case atKey:
		goto restOfName
	case atColon:
		goto colon
	case atFirstElement:
		goto firstElement
	case atElement:
		goto element
	case atString:
		goto restOfString
	case atNumber:
		goto number
	case atLiteral:
		goto literal
	case atAfter:
		goto comma
	default:
		goto end
	}

begin:
	for {
		if uint(i) >= uint(len(p)) {
			w.at = atBegin
			goto pause
		}
		if c = p[i]; !isSpace(c) && (c != recordSeparator || !w.sequence) {
			break
		}
		if !w.lines || c == '\n' || c == '\r' || c == recordSeparator {
			w.apart = false
		}
		i++
	}
	if w.apart {
		reason = ReasonSyntax
		if w.lines {
			reason = ReasonTrailing
		}
		goto fault
	}
	if c == 0xef && w.base+int64(i) == 0 {
		w.literal = byteOrderMark
		goto mark
	}
	w.texts++
	if child = w.origin; child == nil {
		child = auto.root.Load()
	}
	goto start

mark: // RFC 8259 section 8.1: a parser may ignore it
	for len(w.literal) > 0 {
		if uint(i) >= uint(len(p)) {
			w.at = atMark
			goto pause
		}
		if p[i] != w.literal[0] {
			reason = ReasonSyntax
			goto fault
		}
		w.literal = w.literal[1:]
		i++
	}
	goto begin

firstMember:
	if uint(i) >= uint(len(p)) {
		w.at = atFirstMember
		goto pause
	}
	if c = p[i]; c <= ' ' {
		if i = w.ink.next(i); uint(i) >= uint(len(p)) {
			w.at = atFirstMember
			goto pause
		}
		c = p[i]
	}
	if c == '}' {
		goto close
	}
	if c != '"' {
		reason = ReasonSyntax
		goto fault
	}
	w.cut, w.cutComma = i, false
	goto name

member:
	if uint(i) >= uint(len(p)) {
		w.at = atMember
		goto pause
	}
	if c = p[i]; c <= ' ' {
		if i = w.ink.next(i); uint(i) >= uint(len(p)) {
			w.at = atMember
			goto pause
		}
		c = p[i]
	}
	if c != '"' {
		reason = ReasonSyntax
		goto fault
	}
	if cur.drops && w.tooFar(i) {
		reason = ReasonHeldSpace
		goto fault
	}

name:
	i++
	ks, ke = i, -1
	w.escaped, w.keyDone = false, false
	e = w.stop.next(i)
	if uint(e) < uint(len(p)) && p[e] == '"' {
		goto named
	}
	i = e

restOfName:
	if e, reason = w.scanString(p, i, true); reason != "" {
		i = e
		goto fault
	}
	if e >= len(p) {
		w.at = atKey
		goto pause
	}

named:
	i = e + 1
	ke = e
	if ks < 0 {
		w.endKey(p[:e])
	}
	if cur.dead {
		child = dead
		goto colon
	}
	id = 0
	if ks >= 0 && !w.escaped {
		if filter[p[ks]]>>(uint(ke-ks)%64)&1 != 0 {
			id = names.findIn(p, ks, ke)
		}
	} else if w.keyDone {
		goto colon // with the child that was decided on
	} else {
		id = w.findSlow(p, ks, ke)
	}
	if child = cur.byName[id].Load(); child == nil {
		child = auto.member(cur, id)
	}
	if cur.drops {
		if child.remove || w.holding || w.cutComma && !top.kept {
			w.keyStart, w.keyEnd = ks, ke
			child = w.decide(p, top, child)
		} else {
			top.kept = true
		}
	}

colon:
	if uint(i) >= uint(len(p)) {
		w.at = atColon
		goto pause
	}
	if c = p[i]; c <= ' ' {
		if i = w.ink.next(i); uint(i) >= uint(len(p)) {
			w.at = atColon
			goto pause
		}
		c = p[i]
	}
	if c != ':' {
		reason = ReasonSyntax
		goto fault
	}
	i++

value:
	if uint(i) >= uint(len(p)) {
		w.at = atValue
		goto pause
	}
	if c = p[i]; c <= ' ' {
		if i = w.ink.next(i); uint(i) >= uint(len(p)) {
			w.at = atValue
			goto pause
		}
		c = p[i]
	}

start:
	if child.acts {
		w.keyStart, w.keyEnd = ks, ke
		w.act(p, i, child)
	}
	if c == '"' {
		i++
		goto str
	}
	if c-'0' <= 9 || c == '-' {
		// Most numbers are short, without an exponent, and do not end the
		// block.
		if e = i; c == '-' {
			e++
		}
		if e+numberRoom <= len(p) {
			n = countDigits(binary.LittleEndian.Uint64(p[e:]))
			if n == 0 || n == 8 || n > 1 && p[e] == '0' {
				goto anyNumber
			}
			e += n
			if c = p[e]; c == '.' {
				e++
				if n = countDigits(binary.LittleEndian.Uint64(p[e:])); n == 0 {
					goto anyNumber
				}
				if n == 8 {
					// Not e += n: the processor goes on before it
					// knows n.
					e += 8
					if n = countDigits(binary.LittleEndian.Uint64(p[e:])); n == 8 {
						e, n = skipDigits(p, e+8), 0
					}
				}
				if e += n; e >= len(p) {
					goto anyNumber
				}
				c = p[e]
			}
			if c|0x20 != 'e' {
				i = e
				goto after
			}
		}
		goto anyNumber
	}
	if c == '{' || c == '[' {
		goto open
	}
	if i+5 <= len(p) {
		if v := binary.LittleEndian.Uint32(p[i:]); v == litTrue || v == litNull {
			i += 4
			goto after
		}
		if c == 'f' && binary.LittleEndian.Uint32(p[i+1:]) == litAlse {
			i += 5
			goto after
		}
	}
	switch c {
	case 't':
		w.literal = "true"
	case 'f':
		w.literal = "false"
	case 'n':
		w.literal = "null"
	default:
		reason = ReasonSyntax
		goto fault
	}

literal:
	for len(w.literal) > 0 {
		if uint(i) >= uint(len(p)) {
			w.at = atLiteral
			goto pause
		}
		if p[i] != w.literal[0] {
			reason = ReasonSyntax
			goto fault
		}
		w.literal = w.literal[1:]
		i++
	}
	goto after

anyNumber:
	if e = scanNumber(p, i); e > 0 {
		i = e
		goto after
	}
	w.number = numberStart

number:
	for i < len(p) {
		n := numberStep(w.number, p[i])
		if n == 0 {
			break
		}
		w.number = n
		i++
	}
	if uint(i) >= uint(len(p)) {
		w.at = atNumber
		goto pause
	}
	if !numberEnds(w.number) {
		reason = ReasonNumber
		goto fault
	}
	goto after

str:
	e = w.stop.next(i)
	if uint(e) < uint(len(p)) && p[e] == '"' {
		i = e + 1
		goto after
	}
	i = e

restOfString:
	if i, reason = w.scanString(p, i, false); reason != "" {
		goto fault
	}
	if uint(i) >= uint(len(p)) {
		w.at = atString
		goto pause
	}
	i++
	goto after

open:
	if len(w.stack) >= w.program.options.MaxDepth {
		reason = ReasonDepth
		goto fault
	}
	if top != nil {
		if top.fresh = ks >= 0 || top.array; top.fresh {
			top.from, top.to = ks, ke
		} else {
			w.saveName(len(w.stack)-1, w.key)
		}
	}
	top = w.push(child)
	cur = child
	ke = -1
	i++
	if c == '[' {
		top.array = true
		goto firstElement
	}
	goto firstMember

firstElement:
	if uint(i) >= uint(len(p)) {
		w.at = atFirstElement
		goto pause
	}
	if c = p[i]; c <= ' ' {
		if i = w.ink.next(i); uint(i) >= uint(len(p)) {
			w.at = atFirstElement
			goto pause
		}
		c = p[i]
	}
	if c == ']' {
		goto close
	}
	w.cut, w.cutComma = i, false
	goto elem

element:
	if uint(i) >= uint(len(p)) {
		w.at = atElement
		goto pause
	}
	if c = p[i]; c <= ' ' {
		if i = w.ink.next(i); uint(i) >= uint(len(p)) {
			w.at = atElement
			goto pause
		}
		c = p[i]
	}
	if cur.thins && w.mode == modeCopy && w.tooFar(i) {
		reason = ReasonHeldSpace
		goto fault
	}

elem:
	top.index++
	if cur.dead {
		child = dead
		goto start
	}
	if cur.late > 0 {
		if reason = w.beginElement(p, i, top); reason != "" {
			goto fault
		}
		child = dead
		goto start
	}
	if !cur.indexed {
		child = cur.element.Load()
	} else {
		child = nil
	}
	if child == nil {
		child = auto.elementAt(cur, top.index, &w.memo)
	}
	if cur.thins {
		if child.remove || w.holding || w.cutComma && !top.kept {
			child = w.decide(p, top, child)
		} else {
			top.kept = true
		}
	}
	goto start

close:
	if cur.late > 0 && w.mode == modeWindow && len(w.stack) == w.modeDepth {
		w.keyStart, w.keyEnd = ks, ke
		if reason = w.endWindow(p, i, top); reason != "" {
			goto fault
		}
	}
	w.stack = w.stack[:len(w.stack)-1]
	i++
	ke = -1
	if n := len(w.stack); n > 0 {
		top = &w.stack[n-1]
		cur = top.state
	} else {
		top = nil
	}

after:
	if w.mode != modeCopy && len(w.stack) == w.modeDepth {
		w.keyStart, w.keyEnd = ks, ke
		if reason = w.endValue(p, i); reason != "" {
			goto fault
		}
	}
	if top == nil {
		if w.sequence {
			w.apart = w.lines || i == 0 || p[i-1] != '"' && p[i-1] != '}' && p[i-1] != ']'
			goto begin
		}
		goto end
	}

comma:
	if uint(i) >= uint(len(p)) {
		w.at = atAfter
		goto pause
	}
	c = p[i]
	if c == ',' {
		w.cut, w.cutComma = i, true
		i++
		if top.array {
			goto element
		}
		goto member
	}
	if c <= ' ' {
		if i = w.ink.next(i); uint(i) >= uint(len(p)) {
			w.at = atAfter
			goto pause
		}
		if p[i] > ' ' {
			goto comma
		}
	}
	if c == '}' && !top.array || c == ']' && top.array {
		goto close
	}
	reason = ReasonSyntax
	goto fault

end:
	if i = w.ink.next(i); i < len(p) {
		reason = ReasonTrailing
		goto fault
	}
	w.at = atEnd

pause:
	w.keyStart, w.keyEnd, w.child = ks, ke, child
	return i, ""

fault:
	w.keyStart, w.keyEnd = ks, ke
	return i, reason
}

const (
	recordSeparator = 0x1e // RFC 7464
	byteOrderMark   = "\ufeff"

	// numberRoom is how many bytes are looked at without a check: up to 7
	// digits, the point, and two times 8 digits.
	numberRoom = 7 + 1 + 16 + 8

	litTrue = 't' | 'r'<<8 | 'u'<<16 | 'e'<<24
	litNull = 'n' | 'u'<<8 | 'l'<<16 | 'l'<<24
	litAlse = 'a' | 'l'<<8 | 's'<<16 | 'e'<<24
)

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// push opens an object or array.
func (w *Rewriter) push(s *state) *frame {
	n := len(w.stack)
	if n == cap(w.stack) {
		w.stack = append(w.stack, frame{})
	} else {
		w.stack = w.stack[:n+1]
	}
	f := &w.stack[n]
	*f = frame{state: s, index: -1}
	return f
}
