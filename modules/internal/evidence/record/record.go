// Package record is the form of one audit record: one JSON object on one
// line.
//
// # Format, version 1
//
// Members whose value is empty, zero or false are left out. Unknown members
// are to be ignored by readers; a change of meaning raises "v".
//
//	v              1
//	kind           intent, outcome or change
//	time           when the request came, RFC 3339 in UTC
//
// Of a request, intent and outcome alike:
//
//	id             request id, the same in intent and outcome
//	trace          trace-id of a valid traceparent header (W3C)
//	site           the site as the administrator named it
//	host           what the client asked for
//	proto          HTTP/1.1, HTTP/2.0, HTTP/3.0
//	method, path   of the request as it came, the path percent-decoded
//	query          names of parameters, with values where they are recorded
//	client         address of the client, behind trusted proxies too
//	peer           address and port of the other end of the connection
//	tls            version, as in 1.3
//	early_data     true if it came in TLS early data (0-RTT)
//	headers        object of arrays, those that are recorded
//
// Of an outcome besides:
//
//	upstream       object: method and path as the inner handlers left them,
//	               where they differ
//	user           object: id, issuer, kind of credential, key (its id),
//	               token (its id)
//	app            object as user: the application that sent the request for
//	               the user, where both showed a credential
//	roles          names
//	decisions      array of objects: layer, result (allow, deny, skip,
//	               error), rule, code, policy (the digest of the one asked),
//	               detail (why a credential was rejected)
//	mcp            object: a call of the Model Context Protocol: method, name
//	               (of the tool or prompt, or the URI of the resource),
//	               arguments (their digest), error (the code of the JSON-RPC
//	               error that answered it), hidden (how much of lists was not
//	               shown)
//	status         of the response
//	code           stable error code of a rejection
//	end            how it ended, where not as usual: aborted, timeout,
//	               upgraded, panic, error
//	received       bytes of the request's body that were read
//	sent           bytes of the response's body, before compression if that
//	               is done outside
//	us             duration in microseconds
//	redacted       values changed by redaction
//	redacted_by    rules that changed them
//	request_body   the beginning of the bodies, where they are recorded,
//	response_body  cleaned of credentials
//
// Of a change:
//
//	layer          directive whose decisions change
//	what           policy loaded, key set, revocation, …
//	source, by     where it came from, and who asked for it
//	old, new       hashes or versions
//	detail         the difference in words
//
// Of all:
//
//	cut            names of members whose text was too long and ends early
//
// # Text
//
// Everything that a client can choose may be in these texts. A line holds no
// control character, no invalid UTF-8 and none of the characters that turn the
// direction of text or end a line anywhere (U+0080 to U+009F, U+200E, U+200F,
// U+2028 to U+202E, U+2066 to U+2069): they are written as \u escapes, and
// bytes that are not UTF-8 as U+FFFD. So a line is safe on a terminal.
package record

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
)

// Version is the version of the format.
const Version = 1

// Kinds of record.
const (
	Intent  = "intent"  // a request is about to be served
	Outcome = "outcome" // a request has been served, or refused
	Change  = "change"  // what decides about requests has changed
)

// Ways for a request to end.
const (
	EndAborted  = "aborted"  // the client, or the server on purpose, broke the connection
	EndTimeout  = "timeout"  // the request ran into a deadline
	EndUpgraded = "upgraded" // the connection was given away, as for a WebSocket
	EndPanic    = "panic"    // a handler panicked
	EndError    = "error"    // the response was begun and then failed
)

// Limits of texts, in bytes as they are written, and of lists.
const (
	maxShort  = 256
	maxText   = 1024
	maxPath   = 4096
	maxBody   = 256 << 10
	maxList   = 64
	maxDetail = 16 << 10
)

// maxRecord is the size from which texts are left out. It keeps a record
// below what a trail accepts, whatever the client sends: a record that is
// too long to be kept would be a way not to be recorded.
const maxRecord = 768 << 10

// Record is one record. See the package for what the members mean.
type Record struct {
	V    int       `json:"v"`
	Kind string    `json:"kind"`
	Time time.Time `json:"time"`

	ID      string              `json:"id"`
	Trace   string              `json:"trace"`
	Site    string              `json:"site"`
	Host    string              `json:"host"`
	Proto   string              `json:"proto"`
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Query   string              `json:"query"`
	Client  string              `json:"client"`
	Peer    string              `json:"peer"`
	TLS     string              `json:"tls"`
	Early   bool                `json:"early_data"`
	Headers map[string][]string `json:"headers"`

	Upstream  Upstream   `json:"upstream"`
	User      User       `json:"user"`
	App       User       `json:"app"`
	Roles     []string   `json:"roles"`
	Decisions []Decision `json:"decisions"`
	MCP       Call       `json:"mcp"`

	Status     int      `json:"status"`
	Code       string   `json:"code"`
	End        string   `json:"end"`
	Received   int64    `json:"received"`
	Sent       int64    `json:"sent"`
	Micros     int64    `json:"us"`
	Redacted   int      `json:"redacted"`
	RedactedBy []string `json:"redacted_by"`

	RequestBody  string `json:"request_body"`
	ResponseBody string `json:"response_body"`

	Layer  string `json:"layer"`
	What   string `json:"what"`
	Source string `json:"source"`
	By     string `json:"by"`
	Old    string `json:"old"`
	New    string `json:"new"`
	Detail string `json:"detail"`

	Cut []string `json:"cut"`

	// Decided is Decisions for who has them elsewhere: Append writes these
	// instead if there are any.
	Decided []*Decision `json:"-"`

	// HeaderOrder lists the names in Headers in the order in which Append
	// writes them; without it, Headers are not written.
	HeaderOrder []string `json:"-"`
}

// Upstream is the request line as the inner handlers left it.
type Upstream struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

// User is who made the request.
type User struct {
	ID     string `json:"id"`
	Issuer string `json:"issuer"`
	Kind   string `json:"kind"`
	Key    string `json:"key"`
	Token  string `json:"token"`
}

// Call is a call of the Model Context Protocol.
type Call = decision.Call

// Decision is what one layer decided.
type Decision = decision.Decision

// Duration returns how long the request took.
func (r *Record) Duration() time.Duration { return time.Duration(r.Micros) * time.Microsecond }

// Refused returns the decision that refused the request, and whether one did.
func (r *Record) Refused() (Decision, bool) {
	for i := len(r.Decisions) - 1; i >= 0; i-- {
		if d := r.Decisions[i]; d.Result == decision.Deny || d.Result == decision.Error {
			return d, true
		}
	}
	return Decision{}, false
}

// Append appends the record to dst as JSON, without newline. It allocates
// nothing but what dst needs to grow.
func (r *Record) Append(dst []byte) []byte {
	w := writer{buf: append(dst, `{"v":1,"kind":"`...), start: len(dst)}
	w.buf = append(append(w.buf, r.Kind...), `","time":"`...)
	w.buf = appendTime(w.buf, r.Time.UTC())
	w.buf = append(w.buf, '"')
	w.text(`,"id":`, r.ID, maxShort)
	w.text(`,"trace":`, r.Trace, maxShort)
	w.text(`,"site":`, r.Site, maxShort)
	w.text(`,"host":`, r.Host, maxShort)
	w.text(`,"proto":`, r.Proto, maxShort)
	w.text(`,"method":`, r.Method, maxShort)
	w.text(`,"path":`, r.Path, maxPath)
	w.text(`,"query":`, r.Query, maxPath)
	w.text(`,"client":`, r.Client, maxShort)
	w.text(`,"peer":`, r.Peer, maxShort)
	w.text(`,"tls":`, r.TLS, maxShort)
	if r.Early {
		w.key(`,"early_data":`)
		w.buf = append(w.buf, "true"...)
	}
	w.headers(r)
	if r.Upstream != (Upstream{}) {
		w.open(`,"upstream":`)
		w.text(`,"method":`, r.Upstream.Method, maxShort)
		w.text(`,"path":`, r.Upstream.Path, maxPath)
		w.close()
	}
	w.user(`,"user":`, &r.User)
	w.user(`,"app":`, &r.App)
	w.list(`,"roles":`, r.Roles, maxShort)
	if len(r.Decided) > 0 {
		w.decisions(len(r.Decided), func(i int) *Decision { return r.Decided[i] })
	} else {
		w.decisions(len(r.Decisions), func(i int) *Decision { return &r.Decisions[i] })
	}
	if r.MCP != (Call{}) {
		w.open(`,"mcp":`)
		w.text(`,"method":`, r.MCP.Method, maxShort)
		w.text(`,"name":`, r.MCP.Name, maxText)
		w.text(`,"arguments":`, r.MCP.Arguments, maxShort)
		w.number(`,"error":`, int64(r.MCP.Error))
		w.number(`,"hidden":`, int64(r.MCP.Hidden))
		w.close()
	}
	w.number(`,"status":`, int64(r.Status))
	w.text(`,"code":`, r.Code, maxShort)
	w.text(`,"end":`, r.End, maxShort)
	w.number(`,"received":`, r.Received)
	w.number(`,"sent":`, r.Sent)
	w.number(`,"us":`, r.Micros)
	w.number(`,"redacted":`, int64(r.Redacted))
	w.list(`,"redacted_by":`, r.RedactedBy, maxText)
	w.text(`,"request_body":`, r.RequestBody, maxBody)
	w.text(`,"response_body":`, r.ResponseBody, maxBody)
	w.text(`,"layer":`, r.Layer, maxShort)
	w.text(`,"what":`, r.What, maxShort)
	w.text(`,"source":`, r.Source, maxText)
	w.text(`,"by":`, r.By, maxText)
	w.text(`,"old":`, r.Old, maxShort)
	w.text(`,"new":`, r.New, maxShort)
	w.text(`,"detail":`, r.Detail, maxDetail)
	w.finish(r.Cut)
	return w.buf
}

// appendTime appends a time in UTC as RFC 3339 with microseconds. It does what
// AppendFormat does, without reading a layout for every record.
func appendTime(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000000Z07:00")
	}
	hour, minute, second := t.Clock()
	micro := t.Nanosecond() / 1000
	text := [...]byte{
		digit(year / 1000), digit(year / 100), digit(year / 10), digit(year), '-', digit(int(month) / 10), digit(int(month)), '-', digit(day / 10), digit(day), 'T',
		digit(hour / 10), digit(hour), ':', digit(minute / 10), digit(minute), ':', digit(second / 10), digit(second), '.',
		digit(micro / 100_000), digit(micro / 10_000), digit(micro / 1000), digit(micro / 100), digit(micro / 10), digit(micro), 'Z',
	}
	return append(dst, text[:]...)
}

// digit is the last decimal digit of n.
func digit(n int) byte { return '0' + byte(n%10) }

// writer appends members. It notes the names of those that it had to cut.
type writer struct {
	buf   []byte
	start int // of the record in buf
	cut   [8]string
	cuts  int
}

// key writes what stands before a value: `,"name":`, and without the comma
// for the first member of an object.
func (w *writer) key(key string) {
	if w.buf[len(w.buf)-1] == '{' {
		key = key[1:]
	}
	w.buf = append(w.buf, key...)
}

func (w *writer) open(key string) {
	w.key(key)
	w.buf = append(w.buf, '{')
}

func (w *writer) close() { w.buf = append(w.buf, '}') }

func (w *writer) user(key string, u *User) {
	if *u == (User{}) {
		return
	}
	w.open(key)
	w.text(`,"id":`, u.ID, maxShort)
	w.text(`,"issuer":`, u.Issuer, maxText)
	w.text(`,"kind":`, u.Kind, maxShort)
	w.text(`,"key":`, u.Key, maxShort)
	w.text(`,"token":`, u.Token, maxShort)
	w.close()
}

func (w *writer) text(key, s string, limit int) {
	if s != "" {
		w.key(key)
		w.value(key, s, limit)
	}
}

// value writes s, or as much of it as the limits allow.
func (w *writer) value(key, s string, limit int) {
	limit = max(0, min(limit, maxRecord-len(w.buf)+w.start))
	var whole bool
	if w.buf, whole = appendString(w.buf, s, limit); !whole {
		w.mark(key)
	}
}

// mark notes that the text of a member is not all there was. It takes the
// name or what key takes.
func (w *writer) mark(key string) {
	name := strings.Trim(key, `,":`)
	for _, c := range w.cut[:w.cuts] {
		if c == name {
			return
		}
	}
	if w.cuts < len(w.cut) {
		w.cut[w.cuts] = name
		w.cuts++
	}
}

func (w *writer) number(key string, n int64) {
	if n != 0 {
		w.key(key)
		w.buf = strconv.AppendInt(w.buf, n, 10)
	}
}

func (w *writer) list(key string, list []string, limit int) {
	if len(list) == 0 {
		return
	}
	w.key(key)
	w.elements(key, list, limit)
}

func (w *writer) elements(key string, list []string, limit int) {
	w.buf = append(w.buf, '[')
	for i, s := range list {
		if i == maxList {
			w.mark(key)
			break
		}
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.value(key, s, limit)
	}
	w.buf = append(w.buf, ']')
}

func (w *writer) headers(r *Record) {
	opened := false
	for _, name := range r.HeaderOrder {
		values := r.Headers[name]
		if len(values) == 0 {
			continue
		}
		if !opened {
			w.open(`,"headers":`)
			opened = true
		}
		if w.buf[len(w.buf)-1] != '{' {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(AppendString(w.buf, name), ':')
		w.elements("headers", values, maxText)
	}
	if opened {
		w.close()
	}
}

// decisions writes n decisions, which at returns.
func (w *writer) decisions(n int, at func(int) *Decision) {
	if n == 0 {
		return
	}
	w.key(`,"decisions":`)
	w.buf = append(w.buf, '[')
	for i := range n {
		if i == maxList {
			w.mark("decisions")
			break
		}
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		d := at(i)
		w.buf = append(w.buf, '{')
		w.text(`,"layer":`, d.Layer, maxShort)
		w.text(`,"result":`, d.Result, maxShort)
		w.text(`,"rule":`, d.Rule, maxText)
		w.text(`,"code":`, d.Code, maxShort)
		w.text(`,"policy":`, d.Policy, maxShort)
		w.text(`,"detail":`, d.Detail, maxShort)
		w.close()
	}
	w.buf = append(w.buf, ']')
}

// finish writes what was cut, here and by the caller, and ends the record.
func (w *writer) finish(before []string) {
	for _, name := range before {
		w.mark(name)
	}
	if w.cuts > 0 {
		names := w.cut[:w.cuts]
		w.key(`,"cut":`)
		w.buf = append(w.buf, '[')
		for i, name := range names {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = AppendString(w.buf, name)
		}
		w.buf = append(w.buf, ']')
	}
	w.buf = append(w.buf, '}')
}

const hex = "0123456789abcdef"

// plain[b] tells that b stands for itself in a string.
var plain = func() (t [256]bool) {
	for b := 0x20; b < 0x7f; b++ {
		t[b] = b != '"' && b != '\\'
	}
	return t
}()

// allPlain reports whether the first eight bytes of s are plain, looking at
// them all at once.
func allPlain(s string) bool {
	const low, high = 0x0101010101010101, 0x8080808080808080
	_ = s[7]
	x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, slash, del := x^low*'"', x^low*'\\', x^low*0x7f
	// Each term has the high bit of a byte set where that byte is above
	// 0x7f, below 0x20, or one of the three.
	return (x|(x-low*0x20)|(quote-low)|(slash-low)|(del-low))&high == 0
}

// isPlain reports whether all of s is plain, as nearly every text is. The last
// bytes are looked at together with some before them.
func isPlain(s string) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if !plain[s[i]] {
				return false
			}
		}
		return true
	}
	for i := 0; i < len(s)-8; i += 8 {
		if !allPlain(s[i:]) {
			return false
		}
	}
	return allPlain(s[len(s)-8:])
}

// AppendString appends s as a JSON string that is safe on one line and on a
// terminal; see the package.
func AppendString(dst []byte, s string) []byte {
	dst, _ = appendString(dst, s, math.MaxInt)
	return dst
}

// appendString is AppendString that writes at most limit bytes between the
// quotes, and tells whether that was enough.
func appendString(dst []byte, s string, limit int) ([]byte, bool) {
	if len(s) <= limit && isPlain(s) {
		return append(append(append(dst, '"'), s...), '"'), true
	}
	dst = append(dst, '"')
	if limit > math.MaxInt-len(dst) {
		limit = math.MaxInt - len(dst)
	}
	end, all := len(dst)+limit, len(s)
	if all > limit { // no text gets shorter
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	start, i := 0, 0
	for i < len(s) {
		if i+8 <= len(s) && allPlain(s[i:]) {
			i += 8
			continue
		}
		b := s[i]
		if plain[b] {
			i++
			continue
		}
		var escape []byte
		n := 1
		var space [6]byte
		if b < utf8.RuneSelf {
			escape = escapeASCII(&space, b)
		} else {
			var r rune
			if r, n = utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && n == 1 || unsafeRune(r) {
				space = [6]byte{'\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15]}
				escape = space[:]
			}
		}
		if escape == nil {
			i += n
			continue
		}
		if len(dst)+i-start+len(escape) > end {
			break
		}
		dst = append(append(dst, s[start:i]...), escape...)
		i += n
		start = i
	}
	rest := s[start:i]
	if over := len(dst) + len(rest) - end; over > 0 {
		cut := len(rest) - over
		for cut > 0 && !utf8.RuneStart(rest[cut]) {
			cut--
		}
		return append(append(dst, rest[:cut]...), '"'), false
	}
	return append(append(dst, rest...), '"'), i == all
}

// escapeASCII puts the escape of b into space.
func escapeASCII(space *[6]byte, b byte) []byte {
	short := b
	switch b {
	case '"', '\\':
	case '\n':
		short = 'n'
	case '\r':
		short = 'r'
	case '\t':
		short = 't'
	default:
		*space = [6]byte{'\\', 'u', '0', '0', hex[b>>4], hex[b&15]}
		return space[:]
	}
	space[0], space[1] = '\\', short
	return space[:2]
}

// unsafeRune reports whether r ends lines, turns the direction of text or
// controls a terminal somewhere.
func unsafeRune(r rune) bool {
	return r < 0xa0 || r == 0x200e || r == 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}
