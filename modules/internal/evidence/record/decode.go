package record

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Decode reads one record. Members that are not known are ignored.
//
// Lines as Append writes them are read in one pass; whatever else is JSON is
// left to encoding/json, which is several times slower and gives the same.
func Decode(line []byte, r *Record) error {
	*r = Record{}
	d := decoder{s: string(line)}
	if d.record(r); d.bad {
		*r = Record{}
		if err := json.Unmarshal(line, r); err != nil {
			return fmt.Errorf("not an audit record: %w", err)
		}
	}
	if r.V != Version {
		return fmt.Errorf("not an audit record of version %d", Version)
	}
	return nil
}

// decoder reads one line without space between tokens. What it does not
// understand makes it bad, and nothing is made of the rest.
type decoder struct {
	s   string // texts without escapes are parts of it
	i   int
	bad bool
}

func (d *decoder) fail() { d.bad, d.i = true, len(d.s) }

// take passes c over, if it is next.
func (d *decoder) take(c byte) bool {
	if d.i < len(d.s) && d.s[d.i] == c {
		d.i++
		return true
	}
	return false
}

// expect passes c over.
func (d *decoder) expect(c byte) {
	if !d.take(c) {
		d.fail()
	}
}

// more reports whether another member or element follows, the n-th, before
// the end of what it is in.
func (d *decoder) more(n int, end byte) bool {
	if d.bad || d.take(end) {
		return false
	}
	if n > 0 {
		d.expect(',')
	}
	return !d.bad
}

// key reads a name and its colon.
func (d *decoder) key() string {
	k := d.text()
	d.expect(':')
	return k
}

// text reads a string.
func (d *decoder) text() string {
	if !d.take('"') {
		d.fail()
		return ""
	}
	start := d.i
	for i := start; i < len(d.s); i++ {
		if c := d.s[i]; plain[c] || c == 0x7f {
			continue
		} else if c == '"' {
			d.i = i + 1
			return d.s[start:i]
		}
		// encoding/json checks escapes and text other than ASCII.
		return d.escaped(start, i)
	}
	d.fail()
	return ""
}

// escaped reads a string to its end, the first unusual byte of which is at i.
func (d *decoder) escaped(start, i int) string {
	for ; i < len(d.s); i++ {
		switch d.s[i] {
		case '\\':
			i++
		case '"':
			d.i = i + 1
			var s string
			if json.Unmarshal([]byte(d.s[start-1:d.i]), &s) != nil {
				d.fail()
			}
			return s
		}
	}
	d.fail()
	return ""
}

func (d *decoder) int64() int64 {
	start := d.i
	d.take('-')
	digits := d.i
	for d.i < len(d.s) && d.s[d.i] >= '0' && d.s[d.i] <= '9' {
		d.i++
	}
	n, err := strconv.ParseInt(d.s[start:d.i], 10, 64)
	if err != nil || d.s[digits] == '0' && d.i-digits > 1 {
		d.fail()
	}
	return n
}

func (d *decoder) int() int {
	n := d.int64()
	if int64(int(n)) != n {
		d.fail()
	}
	return int(n)
}

// bool reads true, the only value that is written.
func (d *decoder) bool() bool {
	if !strings.HasPrefix(d.s[d.i:], "true") {
		d.fail()
		return false
	}
	d.i += len("true")
	return true
}

func (d *decoder) texts() []string {
	out := make([]string, 0, 2)
	d.expect('[')
	for n := 0; d.more(n, ']'); n++ {
		out = append(out, d.text())
	}
	return out
}

func (d *decoder) time() time.Time {
	s := d.text()
	// A comma is not RFC 3339, but time.Parse takes it.
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || strings.IndexByte(s, ',') >= 0 {
		d.fail()
	}
	return t
}

// member reads one member of an object into a T.
type member[T any] struct {
	name string
	read func(d *decoder, to *T)
}

// recordMembers are the members of a record, in the order in which they are
// written, which is where each is looked for first.
var recordMembers = []member[Record]{
	{"v", func(d *decoder, r *Record) { r.V = d.int() }},
	{"kind", func(d *decoder, r *Record) { r.Kind = d.text() }},
	{"time", func(d *decoder, r *Record) { r.Time = d.time() }},
	{"id", func(d *decoder, r *Record) { r.ID = d.text() }},
	{"trace", func(d *decoder, r *Record) { r.Trace = d.text() }},
	{"site", func(d *decoder, r *Record) { r.Site = d.text() }},
	{"host", func(d *decoder, r *Record) { r.Host = d.text() }},
	{"proto", func(d *decoder, r *Record) { r.Proto = d.text() }},
	{"method", func(d *decoder, r *Record) { r.Method = d.text() }},
	{"path", func(d *decoder, r *Record) { r.Path = d.text() }},
	{"query", func(d *decoder, r *Record) { r.Query = d.text() }},
	{"client", func(d *decoder, r *Record) { r.Client = d.text() }},
	{"peer", func(d *decoder, r *Record) { r.Peer = d.text() }},
	{"tls", func(d *decoder, r *Record) { r.TLS = d.text() }},
	{"early_data", func(d *decoder, r *Record) { r.Early = d.bool() }},
	{"headers", func(d *decoder, r *Record) { r.Headers = d.headers() }},
	{"upstream", func(d *decoder, r *Record) { object(d, &r.Upstream, upstreamMembers) }},
	{"user", func(d *decoder, r *Record) { object(d, &r.User, userMembers) }},
	{"app", func(d *decoder, r *Record) { object(d, &r.App, userMembers) }},
	{"roles", func(d *decoder, r *Record) { r.Roles = d.texts() }},
	{"decisions", func(d *decoder, r *Record) { r.Decisions = d.decisions() }},
	{"mcp", func(d *decoder, r *Record) { object(d, &r.MCP, callMembers) }},
	{"status", func(d *decoder, r *Record) { r.Status = d.int() }},
	{"code", func(d *decoder, r *Record) { r.Code = d.text() }},
	{"end", func(d *decoder, r *Record) { r.End = d.text() }},
	{"received", func(d *decoder, r *Record) { r.Received = d.int64() }},
	{"sent", func(d *decoder, r *Record) { r.Sent = d.int64() }},
	{"us", func(d *decoder, r *Record) { r.Micros = d.int64() }},
	{"redacted", func(d *decoder, r *Record) { r.Redacted = d.int() }},
	{"redacted_by", func(d *decoder, r *Record) { r.RedactedBy = d.texts() }},
	{"request_body", func(d *decoder, r *Record) { r.RequestBody = d.text() }},
	{"response_body", func(d *decoder, r *Record) { r.ResponseBody = d.text() }},
	{"layer", func(d *decoder, r *Record) { r.Layer = d.text() }},
	{"what", func(d *decoder, r *Record) { r.What = d.text() }},
	{"source", func(d *decoder, r *Record) { r.Source = d.text() }},
	{"by", func(d *decoder, r *Record) { r.By = d.text() }},
	{"old", func(d *decoder, r *Record) { r.Old = d.text() }},
	{"new", func(d *decoder, r *Record) { r.New = d.text() }},
	{"detail", func(d *decoder, r *Record) { r.Detail = d.text() }},
	{"cut", func(d *decoder, r *Record) { r.Cut = d.texts() }},
}

var upstreamMembers = []member[Upstream]{
	{"method", func(d *decoder, u *Upstream) { u.Method = d.text() }},
	{"path", func(d *decoder, u *Upstream) { u.Path = d.text() }},
}

var callMembers = []member[Call]{
	{"method", func(d *decoder, c *Call) { c.Method = d.text() }},
	{"name", func(d *decoder, c *Call) { c.Name = d.text() }},
	{"arguments", func(d *decoder, c *Call) { c.Arguments = d.text() }},
	{"error", func(d *decoder, c *Call) { c.Error = d.int() }},
	{"hidden", func(d *decoder, c *Call) { c.Hidden = d.int() }},
}

var userMembers = []member[User]{
	{"id", func(d *decoder, u *User) { u.ID = d.text() }},
	{"issuer", func(d *decoder, u *User) { u.Issuer = d.text() }},
	{"kind", func(d *decoder, u *User) { u.Kind = d.text() }},
	{"key", func(d *decoder, u *User) { u.Key = d.text() }},
	{"token", func(d *decoder, u *User) { u.Token = d.text() }},
}

var decisionMembers = []member[Decision]{
	{"layer", func(d *decoder, v *Decision) { v.Layer = d.text() }},
	{"result", func(d *decoder, v *Decision) { v.Result = d.text() }},
	{"rule", func(d *decoder, v *Decision) { v.Rule = d.text() }},
	{"code", func(d *decoder, v *Decision) { v.Code = d.text() }},
	{"policy", func(d *decoder, v *Decision) { v.Policy = d.text() }},
	{"detail", func(d *decoder, v *Decision) { v.Detail = d.text() }},
}

// object reads an object. Names that are not known, or come twice, are left to
// encoding/json, which also takes them in other letter case.
func object[T any](d *decoder, to *T, members []member[T]) {
	d.expect('{')
	var seen uint64
	next := 0
	for n := 0; d.more(n, '}'); n++ {
		key := d.key()
		i := next
		for i < len(members) && members[i].name != key {
			i++
		}
		if i == len(members) {
			for i = 0; i < next && members[i].name != key; {
				i++
			}
		}
		if i == len(members) || members[i].name != key || seen>>i&1 != 0 {
			d.fail()
			return
		}
		seen |= 1 << i
		next = i + 1
		members[i].read(d, to)
	}
}

func (d *decoder) record(r *Record) {
	object(d, r, recordMembers)
	if d.i != len(d.s) {
		d.fail()
	}
}

func (d *decoder) headers() map[string][]string {
	m := make(map[string][]string)
	d.expect('{')
	for n := 0; d.more(n, '}'); n++ {
		key := d.key()
		if _, twice := m[key]; twice {
			d.fail()
		}
		m[key] = d.texts()
	}
	return m
}

func (d *decoder) decisions() []Decision {
	out := make([]Decision, 0, 4)
	d.expect('[')
	for n := 0; d.more(n, ']'); n++ {
		out = append(out, Decision{})
		object(d, &out[len(out)-1], decisionMembers)
	}
	return out
}
