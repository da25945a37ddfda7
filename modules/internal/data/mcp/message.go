// Package mcp reads the messages of the Model Context Protocol as they pass over
// HTTP: what a request calls, whether its header fields say the same as its body,
// and the lists in a response of which a caller sees a part.
//
// The revisions are 2026-07-28, where each request stands alone and the fields
// Mcp-Method and Mcp-Name repeat what the body says, and those before, up to
// 2025-11-25, with sessions and the streams of HTTP+SSE.
//
// A message is read strictly: what two programs may read in two ways (members
// that are there twice, or in another case, several messages in one body) is
// refused, since one of them decides and the other acts.
package mcp

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Kind is the kind of thing that is called.
type Kind string

// The kinds of what can be called.
const (
	Tool     Kind = "tool"
	Resource Kind = "resource"
	Prompt   Kind = "prompt"
)

// Stateless is the revision from which on header fields repeat the body.
const Stateless = "2026-07-28"

// Versions are the revisions of the protocol, for clients that ask for none of
// them.
var Versions = []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}

// Codes of JSON-RPC errors (JSON-RPC 2.0 section 5.1, and MCP 2026-07-28).
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeUnknownMethod  = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
	CodeHeaderMismatch = -32020
	CodeVersion        = -32022
)

// Error is the JSON-RPC error in the response to a request.
type Error struct {
	Status  int // of HTTP
	Code    int
	Message string // without anything from the request
	ID      []byte // of the request, as it is written; nil if it has none
	Data    []byte // JSON, or nil
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Ref is one thing that a message refers to.
type Ref struct {
	Kind Kind
	Name string // of a tool or prompt, or the URI of a resource
}

// Message is what a client has sent: a request, a notification or, in the older
// revisions, the response to a request of the server.
type Message struct {
	Method    string
	ID        []byte // as it is written; nil for a notification
	Refs      []Ref
	Arguments []byte // of a call, as they are written; nil for none

	Version string // of the protocol, as the body says it in _meta

	name string // what Mcp-Name has to say
	// Whether Mcp-Name must be there.
	named bool
}

// IsResponse reports whether the message responds to a request of the server.
func (m *Message) IsResponse() bool { return m.Method == "" }

// Tool returns the name of the tool that is called, or nothing.
func (m *Message) Tool() string {
	if m.Method == "tools/call" {
		return m.name
	}
	return ""
}

// Name returns the name of the tool or prompt, or the URI of the resource, that
// the message refers to.
func (m *Message) Name() string { return m.name }

// methods are those of the protocol that name something, with the member of the
// parameters that does and whether Mcp-Name is mandatory.
var methods = map[string]struct {
	text   string // the method
	kind   Kind
	member string
	must   bool
}{
	"tools/call":            {"tools/call", Tool, "name", true},
	"prompts/get":           {"prompts/get", Prompt, "name", true},
	"resources/read":        {"resources/read", Resource, "uri", true},
	"resources/subscribe":   {"resources/subscribe", Resource, "uri", false},
	"resources/unsubscribe": {"resources/unsubscribe", Resource, "uri", false},
}

// plain are the other methods of the families that rules are about. A server may
// know more of them; what they do is not known here.
var plain = []string{"tools/list", "prompts/list", "resources/list", "resources/templates/list"}

// families are the beginnings of methods that rules are about.
var families = []string{"tools/", "prompts/", "resources/", "completion/", "subscriptions/"}

func refused(code int, message string, id []byte) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message, ID: id}
}

// envelope are the members of a message.
type envelope struct {
	version, method, id, params []byte
	answers                     bool
}

// scanners keep what they need for the next message. What they return of one
// stands in its text.
var scanners = sync.Pool{New: func() any { return new(strictjson.Scanner) }}

var nothing = []byte("{}")

// isText reports whether a value is this text, however it is written.
func isText(value []byte, want string) bool {
	text, ok := textOf(value)
	return ok && text == want
}

// Parse reads the one message that a body must be.
func Parse(body []byte) (*Message, *Error) {
	if text := bytes.TrimLeft(body, " \t\r\n"); len(text) > 0 && text[0] == '[' {
		return nil, refused(CodeInvalidRequest, "batches are not accepted: send one message", nil)
	}
	s := scanners.Get().(*strictjson.Scanner)
	defer func() {
		_ = s.Object(nothing) // a text that was sent is not kept
		scanners.Put(s)
	}()
	if err := s.Object(body); err != nil {
		return nil, refused(CodeParse, "the body is not one JSON object with one reading: "+err.Error(), nil)
	}
	var e envelope
	if !e.read(s) {
		return nil, refused(CodeInvalidRequest, "a member of the message is spelled in another case", nil)
	}
	if e.id != nil && !validID(e.id) {
		return nil, refused(CodeInvalidRequest, "id must be a string or an integer", nil)
	}
	if string(e.version) != `"2.0"` && !isText(e.version, "2.0") {
		return nil, refused(CodeInvalidRequest, `jsonrpc must be "2.0"`, e.id)
	}
	if e.answers {
		if e.method != nil || e.params != nil || e.id == nil {
			return nil, refused(CodeInvalidRequest, "the message is neither a request nor a response", e.id)
		}
		return &Message{ID: e.id}, nil
	}
	m := &Message{ID: e.id}
	var ok bool
	if m.Method, ok = textOf(e.method); !ok || m.Method == "" {
		return nil, refused(CodeInvalidRequest, "method must be a string", e.id)
	}
	if err := m.checkMethod(); err != nil {
		return nil, err
	}
	return m, m.readParams(e.params)
}

// read sorts the members. It reports false for one that is meant and not there:
// some programs do not care about case.
func (e *envelope) read(s *strictjson.Scanner) bool {
	for i := range s.Len() {
		m := s.Member(i)
		switch string(m.Name) {
		case "jsonrpc":
			e.version = m.Value
		case "method":
			e.method = m.Value
		case "id":
			e.id = m.Value
		case "params":
			e.params = m.Value
		case "result", "error":
			e.answers = true
		default:
			if isOneOf(m.Name, "jsonrpc", "method", "id", "params", "result", "error") {
				return false
			}
		}
	}
	return true
}

// isOneOf reports whether a name is one of several without regard to case, by
// Unicode's simple folding, under which U+017F is an s and U+212A a k.
func isOneOf(name []byte, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return bytes.EqualFold(name, []byte(n)) })
}

// validID reports whether an id is a string or an integer (MCP, "Requests": never
// null). It is repeated in responses as it is written.
func validID(id []byte) bool {
	if len(id) > 1024 {
		return false
	}
	if strictjson.IsNumber(id) {
		return !bytes.ContainsAny(id, ".eE")
	}
	_, ok := strictjson.Text(id)
	return ok
}

func textOf(value []byte) (string, bool) {
	if value == nil {
		return "", false
	}
	text, ok := strictjson.Text(value)
	if how, ok := methods[string(text)]; ok {
		return how.text, true // which is there already
	}
	if string(text) == Stateless {
		return Stateless, true
	}
	return string(text), ok
}

// checkMethod refuses a method that some server may take for another, and those
// of the families that rules are about whose meaning is not known.
func (m *Message) checkMethod() *Error {
	for _, c := range m.Method {
		if c <= 0x20 || c >= 0x7f {
			return refused(CodeUnknownMethod, "the method is not one of the protocol", m.ID)
		}
	}
	if _, ok := methods[m.Method]; ok || slices.Contains(plain, m.Method) || m.Method == "completion/complete" || m.Method == "subscriptions/listen" {
		return nil
	}
	lower := strings.ToLower(m.Method)
	if slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(strings.TrimLeft(lower, "/"), f) }) {
		return &Error{Status: http.StatusNotFound, Code: CodeUnknownMethod, Message: "the method is not one of the protocol", ID: m.ID}
	}
	return nil
}

// readParams reads what the parameters say about the call.
func (m *Message) readParams(params []byte) *Error {
	if params == nil || params[0] != '{' {
		if _, ok := methods[m.Method]; ok || params != nil && !strictjson.IsNull(params) {
			return refused(CodeInvalidParams, "params must be an object", m.ID)
		}
		return nil
	}
	how, calls := methods[m.Method]
	members, _ := strictjson.Object(params)
	for name, value, ok := members.Next(); ok; name, value, ok = members.Next() {
		switch string(name) {
		case "_meta":
			if err := m.readMeta(value); err != nil {
				return err
			}
		case "arguments":
			m.Arguments = value
		case how.member, "taskId":
			text, isText := textOf(value)
			if calls && string(name) == how.member && !isText {
				return refused(CodeInvalidParams, how.member+" must be a string", m.ID)
			}
			if !calls || string(name) == how.member {
				m.name = text
			}
		case "ref":
			if err := m.readRef(value); err != nil {
				return err
			}
		case "notifications":
			m.readSubscriptions(value)
		default:
			if isOneOf(name, "_meta", "arguments", "name", "uri", "ref", "notifications") && string(name) != "name" && string(name) != "uri" {
				return refused(CodeInvalidParams, "a member of params is spelled in another case", m.ID)
			}
		}
	}
	if !calls {
		return nil
	}
	if m.name == "" {
		return refused(CodeInvalidParams, how.member+" must be a string", m.ID)
	}
	if len(m.name) > maxName {
		return refused(CodeInvalidParams, how.member+" is too long", m.ID)
	}
	m.named = how.must
	m.Refs = append(m.Refs, Ref{how.kind, m.name})
	return nil
}

// maxName is how long a name or URI can be. It ends up in records and in the keys
// of limits.
const maxName = 2048

// metaVersion is the member of _meta with the revision of the protocol.
const metaVersion = "io.modelcontextprotocol/protocolVersion"

func (m *Message) readMeta(value []byte) *Error {
	members, ok := strictjson.Object(value)
	if !ok {
		return refused(CodeInvalidParams, "_meta must be an object", m.ID)
	}
	for name, v, ok := members.Next(); ok; name, v, ok = members.Next() {
		if string(name) == metaVersion {
			if m.Version, ok = textOf(v); !ok || m.Version == "" {
				return refused(CodeInvalidParams, "the protocol version in _meta must be a string", m.ID)
			}
			continue
		}
		if isOneOf(name, metaVersion) {
			return refused(CodeInvalidParams, "a member of _meta is spelled in another case", m.ID)
		}
	}
	return nil
}

// readRef reads what a completion is for: the values that it offers tell of the
// prompt or the resource.
func (m *Message) readRef(value []byte) *Error {
	if m.Method != "completion/complete" {
		return nil
	}
	members, _ := strictjson.Object(value)
	var kind, name, uri string
	if value[0] == '{' {
		for n, v, ok := members.Next(); ok; n, v, ok = members.Next() {
			switch text, _ := textOf(v); string(n) {
			case "type":
				kind = text
			case "name":
				name = text
			case "uri":
				uri = text
			default:
				if isOneOf(n, "type", "name", "uri") {
					return refused(CodeInvalidParams, "a member of ref is spelled in another case", m.ID)
				}
			}
		}
	}
	switch kind {
	case "ref/prompt":
		m.Refs = append(m.Refs, Ref{Prompt, name})
	case "ref/resource":
		m.Refs = append(m.Refs, Ref{Resource, uri})
	default:
		return refused(CodeInvalidParams, "ref must be a reference to a prompt or a resource", m.ID)
	}
	return nil
}

// readSubscriptions reads the resources that a client wants to hear about.
func (m *Message) readSubscriptions(value []byte) {
	members, ok := strictjson.Object(value)
	if !ok || m.Method != "subscriptions/listen" {
		return
	}
	for name, v, ok := members.Next(); ok; name, v, ok = members.Next() {
		list, isList := strictjson.Array(v)
		if !isList || !isOneOf(name, "resourceSubscriptions") {
			continue
		}
		for e, ok := list.Next(); ok; e, ok = list.Next() {
			uri, _ := textOf(e)
			m.Refs = append(m.Refs, Ref{Resource, uri})
		}
	}
}

// isVersion reports whether text has the form of a revision: 2026-07-28.
func isVersion(text string) bool {
	for i := range len(text) {
		if dash := i == 4 || i == 7; dash != (text[i] == '-') || !dash && text[i]-'0' > 9 {
			return false
		}
	}
	return len(text) == len(Stateless)
}

// CheckVersion rejects a request whose MCP-Protocol-Version is not a version.
func CheckVersion(h http.Header) (string, *Error) {
	values := h["Mcp-Protocol-Version"]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", refused(CodeHeaderMismatch, "MCP-Protocol-Version is there more than once", nil)
	case !isVersion(values[0]):
		data := []byte(`{"supported":["` + strings.Join(Versions, `","`) + `"]}`)
		return "", &Error{Status: http.StatusBadRequest, Code: CodeVersion, Message: "MCP-Protocol-Version is no revision of the protocol", Data: data}
	}
	return values[0], nil
}

// Agree checks that the header fields say what the body says. From revision
// 2026-07-28 on they must be there; where they are, they must be right in any
// revision, since somebody before or behind may go by them.
func (m *Message) Agree(h http.Header) *Error {
	version, err := CheckVersion(h)
	if err != nil {
		err.ID = m.ID
		return err
	}
	mismatch := func(text string) *Error { return refused(CodeHeaderMismatch, text, m.ID) }
	// Over HTTP+SSE, which has no such field, clients ask in this way, too, whether
	// the server knows a newer revision. It decides nothing.
	asks := m.Method == "server/discover" && version == ""
	if m.Version != version && m.Version != "" && !asks {
		if version == "" {
			return mismatch("MCP-Protocol-Version is missing, and the body has a version")
		}
		return mismatch("MCP-Protocol-Version is not that of the body")
	}
	must := version >= Stateless && !m.IsResponse()
	if sent := h["Mcp-Method"]; len(sent) > 0 || must {
		if len(sent) != 1 || sent[0] != m.Method {
			return mismatch("Mcp-Method is not the method of the body")
		}
	}
	sent := h["Mcp-Name"]
	if len(sent) == 0 {
		if must && m.named {
			return mismatch("Mcp-Name is missing")
		}
		return nil
	}
	if len(sent) != 1 || m.name == "" || !m.isName(sent[0]) {
		return mismatch("Mcp-Name is not the name in the body")
	}
	return nil
}

// isName reports whether a value of Mcp-Name is the name in the body: as it is,
// or encoded.
func (m *Message) isName(value string) bool {
	if text, encoded := Decode(value); encoded {
		return text != "" && text == m.name
	}
	return value == m.name
}
