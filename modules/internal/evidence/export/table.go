package export

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

// entry is a record on its way into another form, with what several fields
// are made of.
type entry struct {
	*record.Record
	log   string
	index int64

	host, peer         string // without their ports
	hostPort, peerPort int64  // 0 where there is none
	failed             bool   // refused, or it went wrong
	refused            *decision.Decision
	rule               *decision.Decision // that decided, nil if none did
}

func newEntry(log string, index int64, r *record.Record) *entry {
	e := &entry{Record: r, log: log, index: index, failed: failed(r)}
	e.host, e.hostPort = hostPort(r.Host)
	e.peer, e.peerPort = hostPort(r.Peer)
	if d, ok := r.Refused(); ok {
		e.refused = &d
	}
	if d, ok := rule(r); ok {
		e.rule = &d
	}
	return e
}

// value is what a field is made of: a string, an int64, a list of strings or
// of objects. A field is left out where it is nil, empty or no object.
type value func(e *entry) any

// field is one line of a mapping: a member of the other form, the names that
// lead to it joined by dots, and where its value comes from.
type field struct {
	path  string
	value value
}

// objects are the elements of an array of objects, their members in order.
type objects [][]member

type member struct{ name, text string }

// What values are made with.

func text(f func(e *entry) string) value    { return func(e *entry) any { return f(e) } }
func number(f func(e *entry) int64) value   { return func(e *entry) any { return f(e) } }
func texts(f func(e *entry) []string) value { return func(e *entry) any { return f(e) } }
func constant(v any) value                  { return func(*entry) any { return v } }

// positive leaves a number out that is not above zero.
func positive(f func(e *entry) int64) value {
	return when(func(e *entry) bool { return f(e) > 0 }, number(f))
}

// when leaves a value out where a condition does not hold.
func when(holds func(e *entry) bool, v value) value {
	return func(e *entry) any {
		if !holds(e) {
			return nil
		}
		return v(e)
	}
}

// Conditions.

func isChange(e *entry) bool    { return e.Kind == record.Change }
func isRequest(e *entry) bool   { return e.Kind != record.Change }
func isOutcome(e *entry) bool   { return e.Kind == record.Outcome }
func hasStatus(e *entry) bool   { return e.Status != 0 }
func hasRule(e *entry) bool     { return e.rule != nil }
func hasResponse(e *entry) bool { return isOutcome(e) && hasStatus(e) }

// Values that more than one form has.

func timeMillis(e *entry) int64                 { return e.Time.UnixMilli() }
func sentence(e *entry) string                  { return message(e.Record) }
func operation(e *entry) string                 { return activity(e.Record) }
func indexNumber(e *entry) int64                { return e.index }
func indexText(e *entry) string                 { return strconv.FormatInt(e.index, 10) }
func logName(e *entry) string                   { return e.log }
func requestID(e *entry) string                 { return e.ID }
func traceID(e *entry) string                   { return e.Trace }
func site(e *entry) string                      { return e.Site }
func userID(e *entry) string                    { return e.User.ID }
func userIssuer(e *entry) string                { return e.User.Issuer }
func appID(e *entry) string                     { return e.App.ID }
func roles(e *entry) []string                   { return e.Roles }
func method(e *entry) string                    { return e.Method }
func path(e *entry) string                      { return e.Path }
func query(e *entry) string                     { return e.Query }
func host(e *entry) string                      { return e.host }
func portOfHost(e *entry) int64                 { return e.hostPort }
func portOfPeer(e *entry) int64                 { return e.peerPort }
func schemeOf(e *entry) string                  { return scheme(e.Record) }
func protocol(e *entry) string                  { return strings.TrimPrefix(e.Proto, "HTTP/") }
func received(e *entry) int64                   { return e.Received }
func sent(e *entry) int64                       { return e.Sent }
func status(e *entry) int64                     { return int64(e.Status) }
func code(e *entry) string                      { return e.Code }
func tlsVersion(e *entry) string                { return e.TLS }
func millis(e *entry) int64                     { return e.Micros / 1000 }
func hasDuration(e *entry) bool                 { return e.Micros > 0 }
func ruleName(e *entry) string                  { return e.rule.Rule }
func ruleLayer(e *entry) string                 { return e.rule.Layer }
func calledMethod(e *entry) string              { return e.MCP.Method }
func calledName(e *entry) string                { return e.MCP.Name }
func hasCallError(e *entry) bool                { return e.MCP.Error != 0 }
func callError(e *entry) int64                  { return int64(e.MCP.Error) }
func redactedFields(e *entry) int64             { return int64(e.Redacted) }
func requestText(v func(e *entry) string) value { return when(isRequest, text(v)) }

// further are the members for what a schema has no field for, below a member
// of the form's own.
func further(below string) []field {
	return []field{
		{below + ".kind", text(func(e *entry) string { return e.Kind })},
		{below + ".trace", text(traceID)},
		{below + ".end", text(func(e *entry) string { return e.End })},
		{below + ".tls", text(tlsVersion)},
		{below + ".credential", text(func(e *entry) string { return e.User.Kind })},
		{below + ".application", text(appID)},
		{below + ".application_issuer", text(func(e *entry) string { return e.App.Issuer })},
		{below + ".application_credential", text(func(e *entry) string { return e.App.Kind })},
		{below + ".redacted", positive(redactedFields)},
		{below + ".redacted_by", texts(func(e *entry) []string { return e.RedactedBy })},
		{below + ".source", text(func(e *entry) string { return e.Source })},
		{below + ".old", text(func(e *entry) string { return e.Old })},
		{below + ".new", text(func(e *entry) string { return e.New })},
		{below + ".detail", text(func(e *entry) string { return e.Detail })},
		{below + ".mcp.method", text(calledMethod)},
		{below + ".mcp.name", text(calledName)},
		{below + ".mcp.arguments", text(func(e *entry) string { return e.MCP.Arguments })},
		{below + ".mcp.error", when(hasCallError, number(callError))},
		{below + ".mcp.hidden", positive(func(e *entry) int64 { return int64(e.MCP.Hidden) })},
	}
}

// document writes the fields of a mapping as a JSON object. Fields of one
// object stand one behind the other in the mapping.
type document []line

type line struct {
	names []string
	value value
}

func newDocument(lists ...[]field) document {
	var d document
	for _, list := range lists {
		for _, f := range list {
			d = append(d, line{strings.Split(f.path, "."), f.value})
		}
	}
	return d
}

func (d document) append(dst []byte, e *entry) []byte {
	dst = append(dst, '{')
	var open []string // names of the objects that are begun
	fresh := true     // nothing stands in the innermost yet
	for _, l := range d {
		v := l.value(e)
		if empty(v) {
			continue
		}
		outer, name := l.names[:len(l.names)-1], l.names[len(l.names)-1]
		same := 0
		for same < len(open) && same < len(outer) && open[same] == outer[same] {
			same++
		}
		for range open[same:] {
			dst, fresh = append(dst, '}'), false
		}
		for _, n := range outer[same:] {
			dst, fresh = append(key(dst, n, fresh), '{'), true
		}
		open = outer
		dst, fresh = appendValue(key(dst, name, fresh), v), false
	}
	for range open {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func key(dst []byte, name string, fresh bool) []byte {
	if !fresh {
		dst = append(dst, ',')
	}
	return append(record.AppendString(dst, name), ':')
}

// empty reports whether a value is left out.
func empty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []string:
		return len(v) == 0
	case objects:
		return len(v) == 0
	}
	return v == nil
}

func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return record.AppendString(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case []string:
		dst = append(dst, '[')
		for i, s := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = record.AppendString(dst, s)
		}
		return append(dst, ']')
	case objects:
		dst = append(dst, '[')
		for i, o := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '{')
			o = slices.DeleteFunc(o, func(m member) bool { return m.text == "" })
			for j, m := range o {
				dst = record.AppendString(key(dst, m.name, j == 0), m.text)
			}
			dst = append(dst, '}')
		}
		return append(dst, ']')
	}
	return append(dst, "null"...) // no value is of another type
}
