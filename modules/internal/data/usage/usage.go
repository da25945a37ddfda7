// Package usage reads numbers of tokens from what language models are sent and
// send: from a JSON text, or from the last of the Server-Sent Events that has
// them, as it streams by.
package usage

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Sum is a number that is the sum of others, each at the first of some JSON
// Pointers that has one. A member that is missing counts as zero, unless all are.
type Sum [][]string

// ParseSum reads a sum from pointers, with | between those of one number.
func ParseSum(terms []string) (Sum, error) {
	if len(terms) == 0 {
		return nil, errors.New("a JSON Pointer is missing, such as /usage/total_tokens")
	}
	sum := make(Sum, 0, len(terms))
	for _, term := range terms {
		alternatives := strings.Split(term, "|")
		for _, a := range alternatives {
			if _, err := parsePointer(a); err != nil {
				return nil, err
			}
		}
		sum = append(sum, alternatives)
	}
	return sum, nil
}

// parsePointer reads a JSON Pointer, RFC 6901 section 3, that is not the whole text.
func parsePointer(text string) ([]string, error) {
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return nil, fmt.Errorf("'%s' is not a JSON Pointer: write one that begins with a slash, such as /usage/total_tokens", text)
	}
	tokens := strings.Split(rest, "/")
	for i, token := range tokens {
		bare := strings.NewReplacer("~0", "", "~1", "").Replace(token)
		if strings.Contains(bare, "~") {
			return nil, fmt.Errorf("'%s' is not a JSON Pointer: ~ is written ~0, and / in a name ~1", text)
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	return tokens, nil
}

// Reader is a set of sums. It never changes.
type Reader struct {
	sums  [][][]int // sum, number, alternatives: places in paths
	paths [][]string
	fold  bool
}

// FoldCase has names of members match whatever their case, as some programs
// read them.
func (r *Reader) FoldCase() { r.fold = true }

// NewReader makes a reader of sums, of which the first counts that has a number.
func NewReader(sums ...Sum) (*Reader, error) {
	r := new(Reader)
	known := make(map[string]int)
	for _, sum := range sums {
		numbers := make([][]int, 0, len(sum))
		for _, alternatives := range sum {
			places := make([]int, 0, len(alternatives))
			for _, pointer := range alternatives {
				i, ok := known[pointer]
				if !ok {
					path, err := parsePointer(pointer)
					if err != nil {
						return nil, err
					}
					i = len(r.paths)
					known[pointer] = i
					r.paths = append(r.paths, path)
				}
				places = append(places, i)
			}
			numbers = append(numbers, places)
		}
		r.sums = append(r.sums, numbers)
	}
	if len(r.paths) > maxPointers-1 {
		return nil, fmt.Errorf("%d JSON Pointers, more than %d", len(r.paths), maxPointers-1)
	}
	return r, nil
}

// Form is how a body is framed.
type Form uint8

// The forms.
const (
	JSON   Form = iota // texts of JSON, one or many
	Events             // Server-Sent Events whose data is JSON
)

// Meter reads one body. Its methods are for one goroutine.
type Meter struct {
	r    *Reader
	form Form
	f    *finder

	field  []byte // the beginning of the current line
	head   []byte // more of it
	last   bool   // the event is one that ends a response
	ended  bool
	line   lineState
	cr     bool
	data   bool // the event has data
	events int64
	bytes  int64
}

type lineState uint8

const (
	lineStart lineState = iota
	lineData
	lineOther
)

// Meter begins to read a body.
func (r *Reader) Meter(form Form) *Meter {
	m := &Meter{r: r, form: form, f: newFinder(r.paths)}
	m.f.fold = r.fold
	return m
}

// Write takes bytes of the body. It never fails.
func (m *Meter) Write(p []byte) (int, error) {
	m.bytes += int64(len(p))
	if m.form == JSON {
		m.f.write(p)
	} else {
		m.lines(p)
	}
	return len(p), nil
}

// Total returns the number that the first sum with one has, and whether there is one.
func (m *Meter) Total() (int64, bool) {
	m.f.end()
	for _, sum := range m.r.sums {
		var total int64
		found := false
		for _, alternatives := range sum {
			for _, i := range alternatives {
				if m.f.found&(1<<i) != 0 {
					total, found = total+m.f.value[i], true
					break
				}
			}
		}
		if found {
			return total, true
		}
	}
	return 0, false
}

// Most returns the largest number at any of the pointers, of members that are
// given twice and of further texts too, and whether that is certain: it is not if
// one has something else than a number, which other programs may read as one.
func (m *Meter) Most() (n int64, certain bool) {
	m.f.end()
	return m.f.most, !m.f.doubt
}

// Said returns how many bytes of text a model has streamed, as far as the names
// of members tell.
func (m *Meter) Said() int64 { return m.f.said }

// Events returns how many events with data there were.
func (m *Meter) Events() int64 { return m.events }

// Bytes returns how long the body is.
func (m *Meter) Bytes() int64 { return m.bytes }

// Ended reports whether an event has come behind which a response has no other
// that matters: clients take it for complete.
func (m *Meter) Ended() bool { return m.ended }

// endings are the lines of such events.
var endings = map[string]bool{
	"data: [DONE]": true, "data:[DONE]": true, // OpenAI's completions
	"event: message_stop":       true,                                                                     // Anthropic
	"event: response.completed": true, "event: response.incomplete": true, "event: response.failed": true, // OpenAI's responses
}

const maxHead = 32

// lines takes bytes of a stream of events (HTML Living Standard, section 9.2.6).
func (m *Meter) lines(p []byte) {
	for len(p) > 0 {
		if m.cr && p[0] == '\n' {
			m.cr = false
			p = p[1:]
			continue
		}
		m.cr = false
		n := bytes.IndexAny(p, "\r\n")
		if n < 0 {
			m.part(p)
			return
		}
		m.part(p[:n])
		m.endLine()
		m.cr = p[n] == '\r'
		p = p[n+1:]
	}
}

// part takes bytes of a line.
func (m *Meter) part(p []byte) {
	const field = "data:"
	m.head = append(m.head, p[:min(len(p), maxHead-len(m.head))]...)
	for m.line == lineStart && len(p) > 0 {
		m.field = append(m.field, p[0])
		p = p[1:]
		if m.events == 0 && !m.data && bytes.Equal(m.field, mark) {
			m.field = m.field[:0]
			continue
		}
		switch text := string(m.field); {
		case text == field:
			m.line, m.data = lineData, true
		case !strings.HasPrefix(field, text) && !bytes.HasPrefix(mark, m.field):
			m.line = lineOther
		}
	}
	if m.line == lineData {
		m.f.write(p) // a space in front means nothing to it either
	}
}

// mark is the byte order mark that a stream may begin with.
var mark = []byte("\ufeff")

func (m *Meter) endLine() {
	switch {
	case endings[string(m.head)]:
		m.last = true
	case m.line == lineData:
		m.f.write([]byte{'\n'})
	case m.line == lineStart && len(m.field) == 0: // the end of an event
		if m.data {
			m.events++
		}
		m.f.end()
		m.f.reset()
		m.ended = m.ended || m.last
		m.data, m.last = false, false
	}
	m.line, m.field, m.head = lineStart, m.field[:0], m.head[:0]
}
