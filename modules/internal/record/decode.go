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
		// Whether escapes and other than ASCII are right is a question
		// for encoding/json.
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

func (d *decoder) record(r *Record) {
	d.expect('{')
	var seen uint64
	for n := 0; d.more(n, '}'); n++ {
		bit := d.member(r, d.key())
		if seen&bit != 0 {
			d.fail() // twice
		}
		seen |= bit
	}
	if d.i != len(d.s) {
		d.fail()
	}
}

// member reads the value of one member of a record and returns a bit of its
// own. Names that are not known are left to encoding/json, which also takes
// them in other letter case.
func (d *decoder) member(r *Record, key string) uint64 {
	switch key {
	case "v":
		r.V = d.int()
		return 1 << 0
	case "kind":
		r.Kind = d.text()
		return 1 << 1
	case "time":
		r.Time = d.time()
		return 1 << 2
	case "id":
		r.ID = d.text()
		return 1 << 3
	case "trace":
		r.Trace = d.text()
		return 1 << 4
	case "site":
		r.Site = d.text()
		return 1 << 5
	case "host":
		r.Host = d.text()
		return 1 << 6
	case "proto":
		r.Proto = d.text()
		return 1 << 7
	case "method":
		r.Method = d.text()
		return 1 << 8
	case "path":
		r.Path = d.text()
		return 1 << 9
	case "query":
		r.Query = d.text()
		return 1 << 10
	case "client":
		r.Client = d.text()
		return 1 << 11
	case "peer":
		r.Peer = d.text()
		return 1 << 12
	case "tls":
		r.TLS = d.text()
		return 1 << 13
	case "headers":
		r.Headers = d.headers()
		return 1 << 14
	case "upstream":
		r.Upstream = d.upstream()
		return 1 << 15
	case "user":
		r.User = d.user()
		return 1 << 16
	case "roles":
		r.Roles = d.texts()
		return 1 << 17
	case "decisions":
		r.Decisions = d.decisions()
		return 1 << 18
	case "status":
		r.Status = d.int()
		return 1 << 19
	case "code":
		r.Code = d.text()
		return 1 << 20
	case "end":
		r.End = d.text()
		return 1 << 21
	case "received":
		r.Received = d.int64()
		return 1 << 22
	case "sent":
		r.Sent = d.int64()
		return 1 << 23
	case "us":
		r.Micros = d.int64()
		return 1 << 24
	case "redacted":
		r.Redacted = d.int()
		return 1 << 25
	case "redacted_by":
		r.RedactedBy = d.texts()
		return 1 << 26
	case "request_body":
		r.RequestBody = d.text()
		return 1 << 27
	case "response_body":
		r.ResponseBody = d.text()
		return 1 << 28
	case "layer":
		r.Layer = d.text()
		return 1 << 29
	case "what":
		r.What = d.text()
		return 1 << 30
	case "source":
		r.Source = d.text()
		return 1 << 31
	case "by":
		r.By = d.text()
		return 1 << 32
	case "old":
		r.Old = d.text()
		return 1 << 33
	case "new":
		r.New = d.text()
		return 1 << 34
	case "detail":
		r.Detail = d.text()
		return 1 << 35
	case "cut":
		r.Cut = d.texts()
		return 1 << 36
	case "early_data":
		r.Early = d.bool()
		return 1 << 37
	case "app":
		r.App = d.user()
		return 1 << 38
	}
	d.fail()
	return 0
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

func (d *decoder) upstream() (u Upstream) {
	d.expect('{')
	for n := 0; d.more(n, '}'); n++ {
		switch d.key() {
		case "method":
			u.Method = d.text()
		case "path":
			u.Path = d.text()
		default:
			d.fail()
		}
	}
	return u
}

func (d *decoder) user() (u User) {
	d.expect('{')
	for n := 0; d.more(n, '}'); n++ {
		switch d.key() {
		case "id":
			u.ID = d.text()
		case "issuer":
			u.Issuer = d.text()
		case "kind":
			u.Kind = d.text()
		case "key":
			u.Key = d.text()
		case "token":
			u.Token = d.text()
		default:
			d.fail()
		}
	}
	return u
}

func (d *decoder) decisions() []Decision {
	out := make([]Decision, 0, 4)
	d.expect('[')
	for n := 0; d.more(n, ']'); n++ {
		out = append(out, d.decision())
	}
	return out
}

func (d *decoder) decision() (v Decision) {
	d.expect('{')
	for n := 0; d.more(n, '}'); n++ {
		switch d.key() {
		case "layer":
			v.Layer = d.text()
		case "result":
			v.Result = d.text()
		case "rule":
			v.Rule = d.text()
		case "code":
			v.Code = d.text()
		case "policy":
			v.Policy = d.text()
		case "detail":
			v.Detail = d.text()
		default:
			d.fail()
		}
	}
	return v
}
