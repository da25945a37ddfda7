package redaction

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

// Caller is whom a text is rewritten for, and in which exchange.
type Caller struct {
	// ID is what encrypted values are bound to.
	ID string

	// Vault takes what Placeholder hides and gives it to Restore. Without one,
	// the first hides for good and the second does nothing.
	Vault *Vault
}

// Vault knows what the placeholders of one exchange stand for. Its methods may
// be called from several goroutines: a response may begin while the request is
// still read.
type Vault struct {
	mu    sync.Mutex
	nonce string
	names map[string]string // placeholders by what they stand for
	texts map[string]string // the other way round
	count map[string]int    // of placeholders, by label
	room  int
}

const (
	vaultRoom  = 1 << 20 // bytes of texts
	vaultEntry = 256     // what an entry costs besides, about
)

// NewVault returns an empty vault. Its placeholders have letters in them that
// nobody can guess, so that they stand in no other text.
func NewVault() *Vault {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return &Vault{nonce: base32.StdEncoding.EncodeToString(b[:])[:nonceLen], room: vaultRoom}
}

// Len returns how many placeholders there are.
func (v *Vault) Len() int {
	if v == nil {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.texts)
}

// put returns the placeholder of a text. It reports false if there is no room
// for another one.
func (v *Vault) put(label string, text []byte) (name string, ok bool) {
	if v == nil {
		return "", false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if name, ok = v.names[string(text)]; ok {
		return name, true
	}
	if v.room -= len(text) + vaultEntry; v.room < 0 {
		v.room = 0
		return "", false
	}
	if v.names == nil {
		v.names, v.texts, v.count = map[string]string{}, map[string]string{}, map[string]int{}
	}
	v.count[label]++
	name = "<" + label + "_" + strconv.Itoa(v.count[label]) + "_" + v.nonce + ">"
	v.names[string(text)], v.texts[name] = name, string(text)
	return name, true
}

// get returns what a placeholder stands for.
func (v *Vault) get(name []byte) (text string, ok bool) {
	if v == nil {
		return "", false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	text, ok = v.texts[string(name)]
	return text, ok
}

// Placeholder puts a name such as <EMAIL_1_K7Q2ZD> in place of a scalar, the
// same one for the same text, which Restore turns back into it in the same
// exchange. Where the vault is full, or there is none, the value is hidden for
// good.
func Placeholder() Action {
	return Action{kind: actHash, scalar: func(dst []byte, v *value) ([]byte, bool) {
		name, ok := v.caller().Vault.put(labelOf(v.text), v.text)
		if !ok {
			return appendFixed(dst), true
		}
		return append(append(append(dst, '"'), name...), '"'), true
	}}
}

// labels are detectors of one kind each, by what their placeholders are called.
var labels = func() (list []struct {
	name string
	d    *mask.Detector
},
) {
	for _, kind := range mask.Kinds() {
		d, err := mask.NewDetector([]string{kind})
		if err != nil {
			panic(err)
		}
		list = append(list, struct {
			name string
			d    *mask.Detector
		}{strings.ToUpper(strings.ReplaceAll(kind, "_", "")), d})
	}
	return list
}()

// labelOf returns what a model is told about a text: of which kind it is.
func labelOf(text []byte) string {
	for _, l := range labels {
		if from, to, ok := l.d.Find(text, 0); ok && from == 0 && to == len(text) {
			return l.name
		}
	}
	return "VALUE"
}

// Restore puts back what placeholders stand for, in every string that the
// selector names or that is inside of what it names, and in JSON within them.
func Restore() Action {
	inner := Action{kind: actMask, scalar: func(dst []byte, v *value) ([]byte, bool) {
		text, ok := v.caller().Vault.get(v.text)
		if !ok {
			return dst, false
		}
		return appendQuoted(dst, []byte(text)), true
	}}
	var below *Program
	for range detectDepth {
		d := &detector{kinds: placeholders{}, inner: inner, below: below}
		program, err := Compile([]Rule{{Selector: "$", Action: Action{kind: actDetect, detect: d}}}, Options{})
		if err != nil {
			panic(err) // no option of anybody's
		}
		below = program
	}
	return Action{kind: actDetect, detect: &detector{kinds: placeholders{}, inner: inner, below: below, nested: true}}
}

// finder finds things in text: see mask.Detector.
type finder interface {
	Find(text []byte, from int) (start, end int, ok bool)
	Open(text []byte) int
}

// placeholders finds placeholders, of whatever exchange.
type placeholders struct{}

const (
	nonceLen       = 6
	maxLabel       = 16
	maxPlaceholder = 2 + maxLabel + 1 + 6 + 1 + nonceLen
)

// Find returns where the next placeholder is.
func (placeholders) Find(text []byte, from int) (start, end int, ok bool) {
	for from < len(text) {
		i := bytes.IndexByte(text[from:], '<')
		if i < 0 {
			break
		}
		if n, whole := placeholder(text[from+i:]); whole {
			return from + i, from + i + n, true
		}
		from += i + 1
	}
	return 0, 0, false
}

// Open returns where the beginning of a placeholder stands at the end of text.
func (placeholders) Open(text []byte) int {
	tail := max(0, len(text)-maxPlaceholder)
	if i := bytes.LastIndexByte(text[tail:], '<'); i >= 0 {
		if n, whole := placeholder(text[tail+i:]); !whole && n == len(text)-tail-i {
			return tail + i
		}
	}
	return len(text)
}

// placeholder returns how many bytes of text, which begins with <, can begin a
// placeholder, and whether they are a whole one.
func placeholder(text []byte) (n int, whole bool) {
	for part := range 3 {
		begin := n + 1
		for n++; n < len(text) && n-begin < [...]int{maxLabel, 6, nonceLen}[part] && partOf(part, text[n]); n++ {
		}
		end := byte('_')
		if part == 2 {
			end = '>'
		}
		switch {
		case n == len(text):
			return n, false
		case text[n] != end || n == begin || part == 2 && n-begin != nonceLen:
			return n, false
		}
	}
	return n + 1, true
}

// partOf reports whether c may stand in a part of a placeholder: letters, then
// digits, then the letters and digits of base32.
func partOf(part int, c byte) bool {
	letter := 'A' <= c && c <= 'Z'
	switch part {
	case 0:
		return letter
	case 1:
		return isDigit(c)
	}
	return letter || '2' <= c && c <= '7'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// holdsJSON reports whether the text at a pointer of an event is JSON that comes
// in pieces, as the arguments of tools do.
func holdsJSON(pointer string) bool {
	switch pointer[strings.LastIndexByte(pointer, '/')+1:] {
	case "arguments", "partial_json", "input":
		return true
	}
	return false
}

// escaped returns text as it stands in a string of JSON.
func escaped(text []byte) []byte {
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return nil
	}
	return quoted[1 : len(quoted)-1]
}
