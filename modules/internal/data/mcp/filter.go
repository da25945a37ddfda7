package mcp

import (
	"bytes"
	"io"
	"strconv"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Names of the rules: what a list has, and what names it.
var lists = []struct {
	list, name string
	kind       Kind
}{
	{"tools", "name", Tool},
	{"prompts", "name", Prompt},
	{"resources", "uri", Resource},
	{"resourceTemplates", "uriTemplate", Resource},
}

const watchRule = "code"

// newProgram compiles the rules by which lists are filtered. They are about what
// is in a message and not which request it responds to, so that a server that
// confuses its responses shows nobody what he may not see. Names have no case here:
// some clients do not care about it.
func newProgram(maxElement int) (*redaction.Program, error) {
	rules := make([]redaction.Rule, 0, 2*len(lists)+2)
	for _, l := range lists {
		for _, in := range []string{"$", "$[*]"} { // a message, and a batch of them
			rules = append(rules, redaction.Rule{Name: l.list, Selector: in + ".result." + l.list + "[*]", Action: redaction.RemoveChosen()})
		}
	}
	// What depends on the caller is for no cache that callers share (SEP-2549).
	rules = append(rules, redaction.Rule{Name: "scope", Selector: "$.result.cacheScope", Action: redaction.Replace("private")})
	rules = append(rules, redaction.Rule{Name: watchRule, Selector: "$.error.code", Action: redaction.Watch()})
	return redaction.Compile(rules, redaction.Options{MaxDepth: 1000, MaxValue: maxElement, FoldCase: true})
}

// Viewer is the caller who gets a response.
type Viewer interface {
	// Shows reports whether a list shows a name to the caller.
	Shows(kind Kind, name string) bool
}

// Filter takes out of messages what a caller may not see in lists.
type Filter struct {
	program *redaction.Program
	streams sync.Pool
}

// NewFilter returns a filter. maxElement is the longest description of a tool,
// prompt or resource, in bytes.
func NewFilter(maxElement int) (*Filter, error) {
	p, err := newProgram(maxElement)
	return &Filter{program: p}, err
}

// Stream filters the messages of one response.
type Stream struct {
	f      *Filter
	rw     *redaction.Rewriter
	viewer Viewer

	// What the rewriter calls, which costs an allocation each to make.
	choose  func(rule string, element []byte) bool
	observe func(rule string, text []byte)

	// Hidden counts what was taken out.
	Hidden int
	// ErrorCode is that of the last JSON-RPC error, 0 for none.
	ErrorCode int
}

// Open begins a response.
func (f *Filter) Open(viewer Viewer) *Stream {
	s, _ := f.streams.Get().(*Stream)
	if s == nil {
		s = &Stream{f: f}
		s.choose = s.hides
		s.observe = func(_ string, text []byte) {
			if code, err := strconv.Atoi(string(text)); err == nil {
				s.ErrorCode = code
			}
		}
	}
	s.rw, s.viewer, s.Hidden, s.ErrorCode = f.program.Get(nil), viewer, 0, 0
	return s
}

// Close gives the stream back, which must not be used any more.
func (s *Stream) Close() {
	s.f.program.Put(s.rw)
	s.rw, s.viewer = nil, nil
	s.f.streams.Put(s)
}

// Begin begins a message that is written to the stream in pieces.
func (s *Stream) Begin(dst io.Writer) {
	s.rw.Reset(dst)
	s.rw.Choose(s.choose)
	s.rw.Observe(s.observe)
}

// Write takes a piece of the message.
func (s *Stream) Write(p []byte) (int, error) { return s.rw.Write(p) }

// End ends the message. Its error says that the message is not complete.
func (s *Stream) End() error { return s.rw.Close() }

// Message filters a whole message, and reports whether anything has changed.
func (s *Stream) Message(dst *bytes.Buffer, text []byte) (changed bool, err error) {
	s.Begin(dst)
	if _, err := s.rw.Write(text); err != nil {
		return false, err
	}
	if err := s.rw.Close(); err != nil {
		return false, err
	}
	return s.rw.Count() > 0, nil
}

// hides reports whether the caller may not see an element of a list: one whose
// name is not allowed, or has no one reading.
func (s *Stream) hides(rule string, element []byte) bool {
	for _, l := range lists {
		if l.list != rule {
			continue
		}
		name, ok := nameOf(element, l.name)
		if ok && s.viewer.Shows(l.kind, name) {
			return false
		}
		s.Hidden++
		return true
	}
	return true
}

// nameOf returns the one member that names an element. It reports false if the
// member is there twice, or in another case.
func nameOf(element []byte, member string) (string, bool) {
	members, ok := strictjson.Object(element)
	if !ok {
		return "", false
	}
	var found []byte
	for name, value, ok := members.Next(); ok; name, value, ok = members.Next() {
		if !isOneOf(name, member) {
			continue
		}
		if found != nil || string(name) != member {
			return "", false
		}
		found = value
	}
	if found == nil {
		return "", false
	}
	return textOf(found)
}
