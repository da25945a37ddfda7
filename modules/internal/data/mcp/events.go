package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Events filters the messages in a stream of Server-Sent Events (HTML Living
// Standard, section 9.2). An event leaves when the empty line after it has come,
// and byte for byte as it came if nothing in it is hidden.
//
// The data lines of an event together are one message. Data that is not JSON, such
// as the address in the first event of HTTP+SSE, can be no message and passes.
type Events struct {
	dst io.Writer
	s   *Stream
	max int

	// Endpoint, where it is not nil, is called with the address in the first
	// event of HTTP+SSE (revision 2024-11-05).
	Endpoint func(reference string)

	event []byte // what has come of the current event
	line  int    // where its last line begins
	cr    bool   // the last byte was a CR: an LF that follows belongs to it
	any   bool   // an event has left

	data, out bytes.Buffer
}

// NewEvents returns a filter for a stream whose events have at most so many bytes.
func NewEvents(dst io.Writer, s *Stream, maxEvent int) *Events {
	return &Events{dst: dst, s: s, max: maxEvent}
}

// ErrEventSize is the fault of an event that is too long to be filtered.
var ErrEventSize = errors.New("an event is longer than max_event")

// Write takes bytes of the stream. An event that no empty line follows at its end
// never leaves: clients would drop it. After an error of its own nothing of the event
// that is at fault has left.
func (e *Events) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		if e.cr {
			e.cr = false
			if p[0] == '\n' {
				if err := e.lineFeed(); err != nil {
					return 0, err
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
		if len(e.event)+n > e.max {
			return 0, ErrEventSize
		}
		e.event = append(e.event, p[:n]...)
		p = p[n:]
		if i < 0 {
			break
		}
		e.cr = e.event[len(e.event)-1] == '\r'
		if len(e.event) > e.line+1 {
			e.line = len(e.event)
			continue
		}
		if err := e.dispatch(); err != nil {
			return 0, err
		}
	}
	return all, nil
}

// lineFeed takes the second half of a CR LF.
func (e *Events) lineFeed() error {
	if len(e.event) == 0 { // the event has left with the CR
		_, err := e.dst.Write([]byte("\n"))
		return err
	}
	e.event = append(e.event, '\n')
	e.line = len(e.event)
	return nil
}

// dispatch filters the event and lets it go.
func (e *Events) dispatch() error {
	event := e.event
	e.event, e.line = e.event[:0], 0
	text := event
	if !e.any {
		text = bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	first := !e.any
	e.any = true
	e.data.Reset()
	lines, endpoint := 0, false
	for rest := text; len(rest) > 0; {
		var value []byte
		var isData bool
		var name []byte
		name, value, _, isData, rest = cutLine(rest)
		endpoint = endpoint || string(name) == "event" && string(value) == "endpoint"
		if !isData {
			continue
		}
		if lines++; lines > 1 {
			e.data.WriteByte('\n')
		}
		e.data.Write(value)
	}
	trimmed := bytes.TrimLeft(e.data.Bytes(), " \t\r\n")
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[' || trimmed[0] == 0xef) {
		e.out.Reset()
		changed, err := e.s.Message(&e.out, e.data.Bytes())
		if err != nil {
			return fmt.Errorf("the data of an event: %w", err)
		}
		if changed {
			event = rebuild(event, e.out.Bytes())
		}
	}
	if first && endpoint && e.Endpoint != nil {
		e.Endpoint(e.data.String())
	}
	_, err := e.dst.Write(event)
	return err
}

// rebuild is the event with other data, where its first data line was.
func rebuild(event, data []byte) []byte {
	made := make([]byte, 0, len(event))
	done := false
	for rest := event; len(rest) > 0; {
		raw := rest
		name, value, end, isData, after := cutLine(bytes.TrimPrefix(rest, []byte("\ufeff")))
		raw, rest = raw[:len(raw)-len(after)], after
		if !isData {
			made = append(made, raw...)
			continue
		}
		if done {
			continue
		}
		done = true
		head := raw[:len(raw)-len(end)-len(value)]
		if name == nil { // a bare "data" has no colon
			head = append(bytes.Clone(head), ": "...)
		}
		if len(end) == 0 {
			end = []byte("\n")
		}
		for i, part := range bytes.Split(data, []byte("\n")) {
			if i > 0 {
				head = bytes.TrimPrefix(head, []byte("\ufeff"))
			}
			made = append(append(append(made, head...), part...), end...)
		}
	}
	return made
}

// cutLine takes the first line off b: the name of its field, nil without a colon,
// its value, how it ends, whether it is data, and what follows it.
func cutLine(b []byte) (name, value, end []byte, isData bool, rest []byte) {
	line := b
	if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
		n := 1
		if b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' {
			n = 2
		}
		line, end, rest = b[:i], b[i:i+n], b[i+n:]
	}
	field, value, ok := bytes.Cut(line, []byte(":"))
	if ok {
		name = field
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:]
		}
	}
	return name, value, end, string(field) == "data", rest
}
