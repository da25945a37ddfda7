package redact

import (
	"bytes"
	"mime"
	"net/http"
	"strings"
)

// A multipart body (RFC 2046 section 5.1) is taken apart as it comes. Readers
// of it differ in what they forgive, and what one of them takes for a part may
// be the inside of another to the next, so nothing is forgiven here: lines end
// with CR LF, nothing but space stands before the first delimiter and behind
// the last, and no line begins like a delimiter without being one.

// maxPartHeader is how long the header of a part may be, in bytes.
const maxPartHeader = 16 << 10

// partSink is told what a multipart body consists of. The pieces that it gets,
// in this order, are the body:
//
//	(space delimiter tail header body*)* delimiter tail space
type partSink interface {
	// space is what stands before the first delimiter and behind the last.
	space(p []byte) error
	// delimiter is the line between two parts, up to its end.
	delimiter(p []byte) error
	// tail is the end of a delimiter. It is the last one if final.
	tail(p []byte, final bool) error
	// header is the header of a part with the empty line behind it.
	header(p []byte) error
	// body is a piece of the part.
	body(p []byte) error
	// end is called at the end of a part, before its delimiter.
	end() error
}

type partPlace uint8

const (
	inPreamble partPlace = iota
	inTail
	inHeader
	inEmpty // before a delimiter, perhaps, right behind the header
	inBody
	inEpilogue
)

// parts takes a multipart body apart.
type parts struct {
	sink partSink
	mark []byte // CR LF, two hyphens and the boundary
	at   partPlace
	buf  []byte // what is not decided yet
	void bool   // nothing has come
}

// newParts returns parts for a media type. It reports false if the boundary
// is not valid, or if another could be read from the media type.
func newParts(contentType string, sink partSink) (*parts, bool) {
	_, params, err := mime.ParseMediaType(contentType)
	b := params["boundary"]
	if err != nil || b == "" || len(b) > 70 || strings.HasSuffix(b, " ") ||
		strings.Count(strings.ToLower(contentType), "boundary") != 1 {
		return nil, false
	}
	for i := range len(b) {
		c := b[i]
		letter := c-'0' <= 9 || c|0x20 >= 'a' && c|0x20 <= 'z'
		if c >= 0x80 || !letter && strings.IndexByte("'()+_,-./:=? ", c) < 0 {
			return nil, false
		}
	}
	return &parts{sink: sink, mark: []byte("\r\n--" + b), void: true}, true
}

func partFormFault(detail string) *fault {
	return &fault{reason: "syntax", detail: "multipart: " + detail}
}

// write takes bytes of the body.
func (s *parts) write(p []byte) error {
	s.void = s.void && len(p) == 0
	s.buf = append(s.buf, p...)
	for {
		before, at := len(s.buf), s.at
		if err := s.step(); err != nil {
			return err
		}
		if len(s.buf) == before && s.at == at || len(s.buf) == 0 {
			return nil
		}
	}
}

// take removes the first n bytes of what is not decided and gives them to f.
func (s *parts) take(n int, f func([]byte) error) error {
	if n == 0 {
		return nil
	}
	err := f(s.buf[:n])
	s.buf = append(s.buf[:0], s.buf[n:]...)
	return err
}

// step goes on as far as it is certain.
func (s *parts) step() error {
	switch s.at {
	case inPreamble:
		return s.preamble()
	case inTail:
		return s.tail()
	case inHeader:
		return s.header()
	case inEmpty:
		return s.empty()
	case inBody:
		return s.body()
	}
	if len(bytes.Trim(s.buf, " \t\r\n")) > 0 {
		return partFormFault("text behind the last part")
	}
	return s.take(len(s.buf), s.sink.space)
}

func (s *parts) preamble() error {
	n := len(s.buf) - len(bytes.TrimLeft(s.buf, " \t\r\n"))
	mark := s.mark[2:]
	if rest := s.buf[n:]; len(rest) < len(mark) {
		if !bytes.HasPrefix(mark, rest) || len(s.buf) > maxPartHeader {
			return partFormFault("no delimiter at the beginning")
		}
		return nil
	}
	if !bytes.HasPrefix(s.buf[n:], mark) || n > 0 && !bytes.HasSuffix(s.buf[:n], []byte("\r\n")) {
		return partFormFault("no delimiter at the beginning")
	}
	if err := s.take(n, s.sink.space); err != nil {
		return err
	}
	s.at = inTail
	return s.take(len(mark), s.sink.delimiter)
}

func (s *parts) tail() error {
	if bytes.HasPrefix(s.buf, []byte("--")) {
		s.at = inEpilogue
		return s.take(2, func(p []byte) error { return s.sink.tail(p, true) })
	}
	n := len(s.buf) - len(bytes.TrimLeft(s.buf, " \t"))
	switch rest := s.buf[n:]; {
	case len(rest) < 2 && n < maxPartHeader && (len(rest) == 0 || rest[0] == '\r' || n == 0 && rest[0] == '-'):
		return nil
	case bytes.HasPrefix(rest, []byte("\r\n")):
		s.at = inHeader
		return s.take(n+2, func(p []byte) error { return s.sink.tail(p, false) })
	}
	return partFormFault("a line that begins like a delimiter")
}

func (s *parts) header() error {
	n := 2
	if !bytes.HasPrefix(s.buf, []byte("\r\n")) {
		n = bytes.Index(s.buf, []byte("\r\n\r\n")) + 4
	}
	if n == 3 || n == 2 && len(s.buf) < 2 {
		if len(s.buf) > maxPartHeader {
			return partFormFault("a header of more than 16 KiB")
		}
		return nil
	}
	s.at = inEmpty
	return s.take(n, s.sink.header)
}

// empty looks for a delimiter that follows the header at once: the line break
// before it is that of the header.
func (s *parts) empty() error {
	mark := s.mark[2:]
	if len(s.buf) < len(mark) && bytes.HasPrefix(mark, s.buf) {
		return nil
	}
	if !bytes.HasPrefix(s.buf, mark) {
		s.at = inBody
		return nil
	}
	return s.endPart(len(mark))
}

func (s *parts) endPart(n int) error {
	s.at = inTail
	if err := s.sink.end(); err != nil {
		return err
	}
	return s.take(n, s.sink.delimiter)
}

func (s *parts) body() error {
	if i := bytes.Index(s.buf, s.mark); i >= 0 {
		if err := s.take(i, s.sink.body); err != nil {
			return err
		}
		return s.endPart(len(s.mark))
	}
	n := len(s.buf)
	for k := min(n, len(s.mark)-1); k > 0; k-- {
		if bytes.HasSuffix(s.buf, s.mark[:k]) {
			n -= k
			break
		}
	}
	return s.take(n, s.sink.body)
}

// close ends the body.
func (s *parts) close() error {
	if s.at != inEpilogue && !s.void {
		return &fault{reason: "truncated", detail: "multipart: no last delimiter"}
	}
	return nil
}

// partHeader reads the header of a part, of which every line is a field.
func partHeader(raw []byte) (http.Header, bool) {
	h := http.Header{}
	for line := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(string(raw), "\r\n"), "\r\n"), "\r\n") {
		if line == "" && len(raw) == 2 {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, false
		}
		h.Add(name, strings.Trim(value, " \t"))
	}
	return h, true
}

// withoutLengths is a part's header without the lines that speak of the
// original bytes.
func withoutLengths(raw []byte) []byte {
	var kept []byte
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if len(line) > 0 && !speaksOfOriginal(http.CanonicalHeaderKey(string(name))) {
			kept = append(append(kept, line...), "\r\n"...)
		}
	}
	return append(kept, "\r\n"...)
}
