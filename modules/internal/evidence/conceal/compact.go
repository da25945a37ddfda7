package conceal

import "bytes"

// compact returns JSON texts without insignificant space, one a line. Of what
// is cut off it drops the last piece where that is not whole: a string, a name
// without its colon, a comma with nothing behind it.
func compact(in []byte) []byte {
	c := compacter{in: in, out: make([]byte, 0, len(in))}
	for c.next() {
	}
	return c.out
}

type compacter struct {
	in, out []byte
	pos     int
	open    []byte // the brackets that are open
	waiting []byte // a comma, a name: written with what follows
	named   bool   // in an object, a colon has come
	begun   bool   // a text is over
}

// next takes one piece, and reports whether there may be another.
func (c *compacter) next() bool {
	for c.pos < len(c.in) && bytes.IndexByte([]byte(" \t\r\n"), c.in[c.pos]) >= 0 {
		c.pos++
	}
	if c.pos == len(c.in) {
		return false
	}
	if len(c.open) == 0 && c.begun {
		c.out, c.begun = append(c.out, '\n'), false
	}
	switch b := c.in[c.pos]; b {
	case '{', '[':
		c.flush(b)
		c.open = append(c.open, b)
		c.named = false
	case '}', ']':
		c.waiting = c.waiting[:0]
		c.flush(b)
		if n := len(c.open); n > 0 {
			c.open = c.open[:n-1]
		}
		c.end()
	case ',':
		c.waiting = append(c.waiting[:0], b)
		c.pos++
		c.named = false
	case ':':
		c.flush(b)
		c.named = true
	case '"':
		return c.text()
	default:
		return c.bare()
	}
	return true
}

// flush writes what waits, and b.
func (c *compacter) flush(b byte) {
	c.out = append(append(c.out, c.waiting...), b)
	c.waiting = c.waiting[:0]
	c.pos++
}

// end notes the end of a value.
func (c *compacter) end() { c.begun = len(c.open) == 0 }

func (c *compacter) text() bool {
	end := c.pos + 1
	for end < len(c.in) && c.in[end] != '"' {
		if c.in[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(c.in) {
		return false
	}
	piece := c.in[c.pos : end+1]
	c.pos = end + 1
	if n := len(c.open); n > 0 && c.open[n-1] == '{' && !c.named {
		c.waiting = append(c.waiting, piece...)
		return true
	}
	c.out = append(append(c.out, c.waiting...), piece...)
	c.waiting = c.waiting[:0]
	c.end()
	return true
}

// bare takes a number, true, false or null.
func (c *compacter) bare() bool {
	end := c.pos
	for end < len(c.in) && bytes.IndexByte([]byte(" \t\r\n,:]}[{\""), c.in[end]) < 0 {
		end++
	}
	c.out = append(append(c.out, c.waiting...), c.in[c.pos:end]...)
	c.waiting = c.waiting[:0]
	c.pos = end
	c.end()
	return true
}
