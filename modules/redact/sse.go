package redact

import (
	"bytes"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/redaction"
)

// eventStream redacts Server-Sent Events (HTML Living Standard, section 9.2),
// whose data is JSON. An event leaves whole, when the empty line after it has
// come, and byte for byte as it came if no rule fired in it.
//
// The data lines of an event together are one JSON document. Data that is
// empty or is the word [DONE], by which many services end a stream, passes. Other
// data that is no JSON passes if plain text does. Comments and the other
// fields pass, unless they look like JSON.
type eventStream struct {
	dst    io.Writer
	rw     *redaction.Rewriter
	max    int
	text   bool // data may be plain text
	caller string

	event []byte // what has come of the current event
	line  int    // where its last line begins
	cr    bool   // the last byte was a CR: an LF that follows belongs to it
	begun bool   // the first event is over

	data, out bytes.Buffer
	count     int
	fired     []string
}

func newEventStream(dst io.Writer, rw *redaction.Rewriter, h *Handler, caller string) *eventStream {
	text := h.Unreadable == "pass" || h.pass.contain("text/plain")
	return &eventStream{dst: dst, rw: rw, max: h.MaxEvent, text: text, caller: caller}
}

// bom is the byte order mark that a stream may begin with.
var bom = []byte("\ufeff")

// write takes bytes of the stream.
func (s *eventStream) write(p []byte) error {
	for len(p) > 0 {
		if s.cr {
			s.cr = false
			if p[0] == '\n' {
				if err := s.lineFeed(); err != nil {
					return err
				}
				p = p[1:]
				continue
			}
		}
		i := bytes.IndexAny(p, "\r\n")
		n := i + 1
		if i < 0 {
			n = len(p)
		}
		if len(s.event)+n > s.max {
			return &fault{reason: "event", detail: "an event longer than max_event"}
		}
		s.event = append(s.event, p[:n]...)
		p = p[n:]
		if i < 0 {
			return nil
		}
		s.cr = s.event[len(s.event)-1] == '\r'
		if len(s.event) == s.line+1 {
			if err := s.dispatch(); err != nil {
				return err
			}
			continue
		}
		s.line = len(s.event)
	}
	return nil
}

// lineFeed takes the second half of a CR LF.
func (s *eventStream) lineFeed() error {
	if len(s.event) == 0 { // the event has left with the CR
		_, err := s.dst.Write([]byte("\n"))
		return err
	}
	s.event = append(s.event, '\n')
	s.line = len(s.event)
	return nil
}

// end takes the end of the stream. A client drops an event that no empty line
// follows; its bytes are looked at all the same.
func (s *eventStream) end() error {
	if len(s.event) == 0 {
		return nil
	}
	return s.dispatch()
}

// dispatch redacts and sends the event.
func (s *eventStream) dispatch() error {
	event := s.event
	s.event, s.line = s.event[:0], 0
	text := event
	if !s.begun {
		s.begun = true
		text = bytes.TrimPrefix(text, bom)
	}
	if !utf8.Valid(text) {
		return &fault{reason: "event", detail: "an event that is not UTF-8"}
	}
	s.data.Reset()
	lines := 0
	for rest := text; len(rest) > 0; {
		var l eventLine
		l, rest = cutLine(rest)
		if bytes.HasPrefix(l.raw, bom) {
			// No field to a client that goes by the book, and perhaps one to others.
			return &fault{reason: "event", detail: "a byte order mark within the stream"}
		}
		if !l.data {
			if looksLikeJSON(l.value) || looksLikeJSON(l.raw) {
				return &fault{reason: "event", detail: "JSON in a field other than data"}
			}
			continue
		}
		if lines++; lines > 1 {
			s.data.WriteByte('\n')
		}
		s.data.Write(l.value)
	}
	changed, err := s.redact()
	if err != nil {
		return err
	}
	if changed {
		event = s.rebuild(event)
	}
	_, err = s.dst.Write(event)
	return err
}

// redact runs the rules over the data, into out.
func (s *eventStream) redact() (changed bool, err error) {
	data := s.data.Bytes()
	if len(bytes.TrimSpace(data)) == 0 || string(data) == "[DONE]" {
		return false, nil
	}
	s.out.Reset()
	s.rw.Reset(&s.out)
	s.rw.SetCaller(s.caller)
	_, err = s.rw.Write(data)
	if err == nil {
		err = s.rw.Close()
	}
	if err != nil {
		if s.text && !looksLikeJSON(data) {
			return false, nil
		}
		return false, &fault{reason: "event", detail: "data of an event", cause: err}
	}
	if s.rw.Count() == 0 {
		return false, nil
	}
	s.count += s.rw.Count()
	for _, name := range s.rw.Fired() {
		if !slices.Contains(s.fired, name) {
			s.fired = append(s.fired, name)
		}
	}
	return true, nil
}

// rebuild is the event with the redacted data where its first data line was.
func (s *eventStream) rebuild(event []byte) []byte {
	made := make([]byte, 0, len(event)+s.out.Len())
	done := false
	for rest := event; len(rest) > 0; {
		var l eventLine
		before := rest
		l, rest = cutLine(rest)
		whole := before[:len(before)-len(rest)]
		if !l.data {
			made = append(made, whole...)
			continue
		}
		if done {
			continue
		}
		done = true
		// The name with its colon and space, and the line's end, as they are.
		name, end := whole[:len(whole)-len(l.end)-len(l.value)], l.end
		if len(end) == 0 {
			end = []byte("\n")
		}
		if bytes.IndexByte(name, ':') < 0 { // a bare "data" is an empty line of it
			name = append(name[:len(name):len(name)], ": "...)
		}
		for i, part := range bytes.Split(s.out.Bytes(), []byte("\n")) {
			if i > 0 {
				made, name = append(made, end...), bytes.TrimPrefix(name, bom)
			}
			made = append(append(made, name...), part...)
		}
		made = append(made, l.end...)
	}
	return made
}

// eventLine is one line of an event.
type eventLine struct {
	raw   []byte // without its end
	value []byte // what stands behind the colon and one space
	end   []byte // CR, LF, CR LF or, at the end of the stream, nothing
	data  bool   // it is a data field
}

// cutLine takes the first line off b.
func cutLine(b []byte) (l eventLine, rest []byte) {
	i := bytes.IndexAny(b, "\r\n")
	if i < 0 {
		l.raw = b
	} else {
		n := 1
		if b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' {
			n = 2
		}
		l.raw, l.end, rest = b[:i], b[i:i+n], b[i+n:]
	}
	name, value, ok := bytes.Cut(l.raw, []byte(":"))
	if ok && len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	l.value = value
	l.data = string(bytes.TrimPrefix(name, bom)) == "data"
	return l, rest
}
