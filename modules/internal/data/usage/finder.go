package usage

import (
	"bytes"
	"encoding/json"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// finder looks for the numbers at some JSON Pointers (RFC 6901) in a JSON text
// that is written to it in pieces, in memory that does not grow with the text.
// Of members of one name the last counts. It does not validate: what is no
// JSON has no numbers, or some that stand where they would in JSON.
type finder struct {
	paths [][]string
	fold  bool   // names match whatever their case
	found uint64 // of the pointers
	value []int64
	most  int64 // that was found, anywhere
	doubt bool  // something else than a number stands where one should

	frames []frame // open objects and arrays, as deep as a pointer goes
	deep   int     // those within them
	want   uint64  // pointers of which a beginning leads to the value that comes next
	state  state
	key    bool // the string is the name of a member
	escape bool
	text   []byte // of a name or a number, or the beginning of another string
	over   bool   // it is longer than what is looked for
	length int64  // of a string that is not a name

	says bool  // the member is called as those with what a model says
	said int64 // bytes of what it has said
}

type frame struct {
	array bool
	name  bool // an object in which a name comes next
	index int
	lead  uint64 // pointers that lead here
}

type state uint8

const (
	between state = iota
	inString
	inScalar
)

// sayings are the names of members in which models stream what they say, as the
// services call them.
var sayings = map[string]bool{
	"content": true, "text": true, "delta": true, "response": true, "arguments": true, "partial_json": true, "transcript": true,
	"thinking": true, "reasoning": true, "reasoning_content": true, "refusal": true, "generated_text": true, "completion": true,
}

// maxSaying is as long as the longest of sayings.
const maxSaying = len("reasoning_content")

const (
	maxPointers = 64
	maxText     = 256
)

func newFinder(paths [][]string) *finder {
	f := &finder{paths: paths, value: make([]int64, len(paths))}
	f.reset()
	return f
}

// reset begins a new text. What was found stays.
func (f *finder) reset() {
	f.frames, f.deep, f.state = f.frames[:0], 0, between
	f.escape, f.over, f.says = false, false, false
	f.text = f.text[:0]
}

// write takes bytes of the text.
func (f *finder) write(p []byte) {
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch f.state {
		case inString:
			if !f.escape && !f.key {
				n := bytes.IndexByte(p[i:], '"')
				if n < 0 {
					n = len(p) - i
				}
				if e := bytes.IndexByte(p[i:i+n], '\\'); e >= 0 {
					n = e
				}
				f.length += int64(n)
				if room := maxSaying + 1 - len(f.text); room > 0 { // one more tells that it is longer
					f.text = append(f.text, p[i:i+min(n, room)]...)
				}
				if i += n; i == len(p) {
					return
				}
				c = p[i]
			}
			f.inString(c)
		case inScalar:
			if !delimits(c) {
				f.keep(c)
				continue
			}
			f.scalar()
			f.between(c)
		default:
			f.between(c)
		}
	}
}

// end ends the text.
func (f *finder) end() {
	if f.state == inScalar {
		f.scalar()
	}
}

func delimits(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ']', '}', ':', '{', '[', '"':
		return true
	}
	return false
}

func (f *finder) keep(c byte) {
	if len(f.text) == maxText {
		f.over = true
		return
	}
	f.text = append(f.text, c)
}

func (f *finder) inString(c byte) {
	switch {
	case f.escape:
		f.escape = false
		f.length++
	case c == '\\':
		f.escape = true
	case c == '"':
		switch {
		case f.key:
			f.state = between
			f.named()
		case f.says:
			f.said += f.length
		}
		if !f.key {
			f.scalar()
		}
		return
	}
	if f.key {
		f.keep(c)
	}
}

// between takes a byte that is in no string and in no number or literal.
func (f *finder) between(c byte) {
	switch c {
	case ' ', '\t', '\r', '\n':
	case '{', '[':
		f.open(c == '[')
		f.says = f.says && c == '['
	case '}', ']':
		if f.deep > 0 {
			f.deep--
		} else if n := len(f.frames); n > 0 {
			f.frames = f.frames[:n-1]
		}
	case ',':
		f.next()
		f.says = false
	case ':':
		f.says = sayings[string(f.text)]
	case '"':
		f.state, f.text, f.over, f.length = inString, f.text[:0], false, 0
		top := f.top()
		f.key = top != nil && top.name
		f.begin()
	default:
		f.state, f.text, f.over = inScalar, f.text[:0], false
		f.begin()
		f.keep(c)
	}
}

// top returns the innermost open object or array, nil within one that is too
// deep for every pointer.
func (f *finder) top() *frame {
	if f.deep > 0 || len(f.frames) == 0 {
		return nil
	}
	return &f.frames[len(f.frames)-1]
}

// begin notes that a value begins, at the root perhaps, to which every pointer
// leads.
func (f *finder) begin() {
	if f.deep == 0 && len(f.frames) == 0 {
		f.want = 1<<len(f.paths) - 1
	}
}

func (f *finder) open(array bool) {
	f.begin()
	top := f.top()
	lead := f.want
	switch {
	case f.deep > 0:
		lead = 0
	case top != nil && top.array:
		lead = f.element(top)
	}
	if lead = f.longer(lead); f.deep > 0 || lead == 0 {
		f.deep++
		return
	}
	f.frames = append(f.frames, frame{array: array, name: !array, lead: lead})
	f.want = 0
}

// longer returns those of the pointers that go on within the value they lead to.
func (f *finder) longer(lead uint64) uint64 {
	for rest := lead; rest != 0; rest &= rest - 1 {
		if i := bits.TrailingZeros64(rest); len(f.paths[i]) <= len(f.frames) {
			lead &^= 1 << i
		}
	}
	return lead
}

// step returns those of the pointers to the innermost frame that go on with token.
func (f *finder) step(lead uint64, token string) uint64 {
	at := len(f.frames) - 1
	for rest := lead; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		if name := f.paths[i][at]; name != token && (!f.fold || !strings.EqualFold(name, token)) {
			lead &^= 1 << i
		}
	}
	return lead
}

// element returns those of the pointers to an array that go on with its current
// element. The token - is any.
func (f *finder) element(array *frame) uint64 {
	return f.step(array.lead, strconv.Itoa(array.index)) | f.step(array.lead, "-")
}

// named takes the end of a name.
func (f *finder) named() {
	top := f.top()
	top.name, f.want = false, 0
	if f.over {
		return
	}
	name := string(f.text)
	if bytes.IndexByte(f.text, '\\') >= 0 && json.Unmarshal([]byte(`"`+name+`"`), &name) != nil {
		return
	}
	f.want = f.step(top.lead, name)
}

// next takes a comma.
func (f *finder) next() {
	top := f.top()
	if top == nil {
		return
	}
	if f.want = 0; top.array {
		top.index++
	} else {
		top.name = true
	}
}

// scalar takes the end of a number, a literal, or a string that is not a name.
func (f *finder) scalar() {
	quoted := f.state == inString
	f.state = between
	top := f.top()
	if f.deep > 0 || f.over || top == nil && len(f.frames) > 0 {
		return
	}
	want := f.want
	if top != nil && top.array {
		want = f.element(top)
	}
	for ; want != 0; want &= want - 1 {
		i := bits.TrailingZeros64(want)
		if len(f.paths[i]) != len(f.frames) {
			continue
		}
		if n, ok := count(f.text); ok && !quoted {
			f.value[i] = n
			f.found |= 1 << i
			f.most = max(f.most, n)
		} else if quoted || string(f.text) != "null" {
			f.doubt = true
		}
	}
}

// count reads a number of tokens: what is above zero, rounded up.
func count(text []byte) (int64, bool) {
	if !json.Valid(text) { // "+1", "0x10", "Inf", "1_000"
		return 0, false
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || v < 0 || v > 1<<53 {
		return 0, false
	}
	return int64(math.Ceil(v)), true
}
