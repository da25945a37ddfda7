package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// eventStream redacts Server-Sent Events (HTML Living Standard, section 9.2),
// whose data is JSON. An event leaves whole, when the empty line after it has
// come, and byte for byte as it came if no rule fired in it.
//
// The data lines of an event together are JSON. Data that is empty, a single
// word such as [DONE], by which many services end a stream, or a URL passes:
// see isWord. Other data that is not JSON passes if plain text does. What passes
// so is looked into by `detect`, as a string of JSON is.
//
// Comments and the other fields pass if they do not look like JSON. If they
// do, they are redacted, or left out if they are broken: no client takes a
// document from there, so that is not a reason to end the stream.
type eventStream struct {
	dst    io.Writer
	rw     *redaction.Rewriter
	max    int
	text   bool // data may be plain text
	ascii  bool // a byte beyond ASCII may be anything
	caller redaction.Caller

	event  []byte // what has come of the current event
	line   int    // where its last line begins
	cr     bool   // the last byte was a CR: an LF that follows belongs to it
	number int    // of events so far

	data, out bytes.Buffer
	fields    []changedField // of the current event
	broken    [fieldKinds]bool
	joiner    joiner
	joins     bool // the current event has such parts
	sent      bool // the last event has not been kept
	count     int
	fired     []string
}

// fieldKind is which field a line is.
type fieldKind uint8

const (
	fieldData fieldKind = iota
	fieldComment
	fieldKnown   // event, id, retry
	fieldUnknown // the name means nothing to a client
	fieldKinds
)

// changedField is a line that is not data and does not leave as it came.
type changedField struct {
	line  int // its number in the event
	left  bool
	value []byte
}

func newEventStream(dst io.Writer, rw *redaction.Rewriter, h *Handler, caller redaction.Caller) *eventStream {
	text := h.Unreadable == "pass" || h.pass.contain("text/plain")
	return &eventStream{dst: dst, rw: rw, max: h.MaxEvent, text: text, caller: caller}
}

// bom is the byte order mark that a stream may begin with.
var bom = []byte("\ufeff")

// Write takes bytes of the stream.
func (s *eventStream) Write(p []byte) (int, error) {
	n := len(p)
	if s.ascii {
		n = ascii(p)
	}
	if err := s.write(p[:n]); err != nil {
		return 0, err
	}
	if n < len(p) {
		f := beyondASCII()
		return n, &f
	}
	return n, nil
}

// Close ends the stream.
func (s *eventStream) Close() error { return s.end() }

// Count returns how many values were changed.
func (s *eventStream) Count() int { return s.count }

// Fired returns the names of the rules that have changed something.
func (s *eventStream) Fired() []string { return s.fired }

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
	if len(s.event) == 0 { // the event has left with the CR, or is kept
		if n := len(s.joiner.queue); n > 0 && !s.sent {
			last := s.joiner.queue[n-1]
			last.raw = append(last.raw, '\n')
			s.joiner.bytes++
			return nil
		}
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
	if len(s.event) > 0 {
		if err := s.dispatch(); err != nil {
			return err
		}
	}
	s.decideAll()
	return s.release()
}

// dispatch redacts and sends the event.
func (s *eventStream) dispatch() error {
	event := s.event
	s.event, s.line = s.event[:0], 0
	text := event
	if s.number++; s.number == 1 {
		text = bytes.TrimPrefix(text, bom)
	}
	if !utf8.Valid(text) {
		return s.fault("not UTF-8", nil)
	}
	s.data.Reset()
	s.fields = s.fields[:0]
	lines := 0
	for rest, n := text, 0; len(rest) > 0; n++ {
		var l eventLine
		l, rest = cutLine(rest)
		if bytes.HasPrefix(l.raw, bom) {
			// No field to a client that goes by the book, and perhaps one to others.
			return s.fault("a byte order mark within the stream", nil)
		}
		if l.kind != fieldData {
			if err := s.field(l, n); err != nil {
				return err
			}
			continue
		}
		if lines++; lines > 1 {
			s.data.WriteByte('\n')
		}
		s.data.Write(l.value)
	}
	if lines == 0 { // nothing that a client could take for a part of a text
		s.sent = true
		return s.emit(&heldEvent{raw: event, fields: s.fields})
	}
	s.joins = false
	changed, err := s.redact()
	if err != nil {
		return err
	}
	held := &heldEvent{raw: event, data: s.out.Bytes(), changed: changed, fields: s.fields}
	if len(s.joiner.queue) > 0 || s.joins {
		held.raw, held.data, held.fields = bytes.Clone(event), bytes.Clone(held.data), slices.Clone(s.fields)
	}
	if s.joins {
		s.join(held, s.rw.Pieces())
	} else if string(bytes.TrimSpace(s.data.Bytes())) == "[DONE]" {
		s.decideAll()
	}
	err = s.send(held)
	s.sent = len(s.joiner.queue) == 0
	return err
}

func (s *eventStream) fault(detail string, cause error) *fault {
	return &fault{reason: "event", detail: fmt.Sprintf("event %d: %s", s.number, detail), cause: cause}
}

// field redacts a line of the event that is not data, the nth. One that begins
// like JSON and is broken is left out, and with it all those of its kind that
// follow in the stream, since they could be the rest of it.
func (s *eventStream) field(l eventLine, n int) error {
	if len(l.raw) == 0 { // the end of the event
		return nil
	}
	if l.kind == fieldUnknown && looksLikeJSON(l.raw) {
		// No stream of events, but lines of JSON.
		changed, err := s.run(l.raw)
		if err != nil {
			return s.fault("JSON that is in no field", err)
		}
		if changed {
			s.fields = append(s.fields, changedField{line: n, value: bytes.Clone(s.out.Bytes())})
		}
		return nil
	}
	if s.broken[l.kind] {
		s.leaveOut(n)
		return nil
	}
	if !looksLikeJSON(l.value) {
		return nil
	}
	changed, err := s.run(l.value)
	switch {
	case err != nil:
		s.broken[l.kind] = true
		s.leaveOut(n)
	case changed:
		value := append(bytes.Clone(l.raw[:len(l.raw)-len(l.value)]), s.out.Bytes()...)
		s.fields = append(s.fields, changedField{line: n, value: value})
	}
	return nil
}

func (s *eventStream) leaveOut(n int) {
	s.fields = append(s.fields, changedField{line: n, left: true})
	s.count++
}

// redact runs the rules over the data, into out.
func (s *eventStream) redact() (changed bool, err error) {
	data := s.data.Bytes()
	if len(bytes.TrimSpace(data)) == 0 {
		return false, nil
	}
	changed, err = s.runJoined(data)
	if err == nil || looksLikeJSON(data) && !isWord(bytes.TrimSpace(data)) {
		if err != nil {
			return false, s.fault("data", err)
		}
		return changed, nil
	}
	if !s.text && !isWord(bytes.TrimSpace(data)) {
		f := s.fault("data that is not JSON", err)
		f.hint = "to let plain text pass in the data of events, write: pass text/plain"
		return false, f
	}
	return s.plain(data)
}

// plain looks into data that is text as into a string of JSON.
func (s *eventStream) plain(data []byte) (changed bool, err error) {
	quoted, err := json.Marshal(string(data))
	if err == nil {
		changed, err = s.run(quoted)
	}
	if err != nil || !changed {
		return false, err
	}
	var text string
	if json.Unmarshal(s.out.Bytes(), &text) == nil {
		s.out.Reset()
		s.out.WriteString(text)
	}
	return true, nil
}

// runJoined is run for data, whose strings may be parts of longer texts.
func (s *eventStream) runJoined(data []byte) (changed bool, err error) {
	changed, err = s.runWith(data, isDelta)
	s.joins = err == nil && len(s.rw.Pieces()) > 0
	return changed, err
}

// run runs the rules over JSON, into out.
func (s *eventStream) run(text []byte) (changed bool, err error) { return s.runWith(text, nil) }

func (s *eventStream) runWith(text []byte, take func(pointer string) bool) (changed bool, err error) {
	s.out.Reset()
	s.rw.Reset(&s.out)
	s.rw.SetCaller(s.caller)
	s.rw.SetLines()
	s.rw.Join(take)
	if _, err = s.rw.Write(text); err == nil {
		err = s.rw.Close()
	}
	if err != nil || s.rw.Count() == 0 {
		return false, err
	}
	s.count += s.rw.Count()
	for _, name := range s.rw.Fired() {
		if !slices.Contains(s.fired, name) {
			s.fired = append(s.fired, name)
		}
	}
	return true, nil
}

// isWord reports whether data that is not JSON can carry no field: a URL, such
// as the endpoint event of the Model Context Protocol has, or a word, perhaps
// in brackets, such as those that keep a stream alive or end it, or a time. What
// has a name and a value, or several words, is plain text.
func isWord(data []byte) bool {
	if n := len(data); n > 2 && data[0] == '[' && data[n-1] == ']' {
		data = data[1 : n-1]
	}
	url := bytes.HasPrefix(data, []byte("/")) || bytes.HasPrefix(data, []byte("http://")) || bytes.HasPrefix(data, []byte("https://"))
	for i, c := range data {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', strings.IndexByte("-_.+", c) >= 0:
		case url && strings.IndexByte("/:?#@!$&'()*,;=%~", c) >= 0:
		case c == ':' && i > 0 && i+1 < len(data) && data[i-1]-'0' <= 9 && data[i+1]-'0' <= 9:
		default:
			return false
		}
	}
	return len(data) > 0 && len(data) <= 1024
}

// rebuild is the event with the redacted data, if that was changed, where its
// first data line was.
func (s *eventStream) rebuild(event []byte, data bool) []byte {
	made := make([]byte, 0, len(event)+s.out.Len())
	done := false
	fields := s.fields
	for rest, n := event, 0; len(rest) > 0; n++ {
		var l eventLine
		before := rest
		l, rest = cutLine(rest)
		whole := before[:len(before)-len(rest)]
		if l.kind != fieldData || !data {
			if len(fields) > 0 && fields[0].line == n {
				made = fields[0].append(made, l)
				fields = fields[1:]
			} else {
				made = append(made, whole...)
			}
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

// append appends what leaves of l. Of a comment that is left out its colon
// stays: it keeps the connection alive.
func (c *changedField) append(made []byte, l eventLine) []byte {
	if bytes.HasPrefix(l.raw, bom) {
		made = append(made, bom...)
	}
	switch {
	case !c.left:
		made = append(made, c.value...)
	case l.kind == fieldComment:
		made = append(made, ':')
	default:
		return made
	}
	return append(made, l.end...)
}

// eventLine is one line of an event.
type eventLine struct {
	raw   []byte // without its end
	value []byte // what stands behind the colon and one space
	end   []byte // CR, LF, CR LF or, at the end of the stream, nothing
	kind  fieldKind
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
	switch string(bytes.TrimPrefix(name, bom)) {
	case "data":
		l.kind = fieldData
	case "event", "id", "retry":
		l.kind = fieldKnown
	case "":
		l.kind = fieldComment
	default:
		l.kind = fieldUnknown
	}
	return l, rest
}
