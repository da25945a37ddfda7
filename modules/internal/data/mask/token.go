package mask

import (
	"crypto/aes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/ff1"
)

// Tokenizer puts tokens in the place of values: other values of the same format,
// such as another card number whose last digit is right. Equal values have equal
// tokens, and whoever has the key gets the value back. It is FF1 with AES-256 (NIST SP
// 800-38G), which is not authenticated: every value of the format is the token
// of something. It is safe for use by several goroutines.
//
// The tweak, which makes tokens differ, is "moat tokenize 1", the format, what
// of the value is kept and the name of the member, with a zero byte between two.
type Tokenizer struct {
	format string
	fit    tokenFormat
	cipher *ff1.Cipher
	pool   sync.Pool // of *piece
}

// TokenKeySize is the size of a key in bytes.
const TokenKeySize = 32

// maxToken is how many characters a value may have. The time that FF1 takes
// grows with the square of it.
const maxToken = 128

// maxWalk bounds how often a value is encrypted until the result is of its
// format. The least likely of them is so once in four times.
const maxWalk = 10_000

// piece is a value taken apart.
type piece struct {
	core   []byte   // without what groups it
	groups []group  // what was between its characters
	x      []uint16 // what is encrypted
	radix  int
	kept   []byte // what is not, and is part of the tweak
	class  byte   // of letters: which ones there are
	number bool   // the token has to be a JSON number
	tweak  []byte
}

// group is what stands before character at of the core.
type group struct {
	at int
	c  byte
}

// tokenFormat is a kind of values.
type tokenFormat interface {
	// parse takes p.core apart. It reports false if it is not of the format.
	parse(p *piece) bool

	// valid reports whether p.x makes a value of the format that is taken apart
	// the same way.
	valid(p *piece) bool

	// write puts p.x back into p.core.
	write(p *piece)
}

var tokenFormats = map[string]tokenFormat{
	"digits":        digitsFormat{},
	"bank_card":     cardFormat{keep: 1},
	"bank_card_bin": cardFormat{keep: 6},
	"mobile":        mobileFormat{},
	"id_card":       idCardFormat{},
	"letters":       lettersFormat{},
	"alphanumeric":  lettersFormat{digits: true},
}

// customFormat begins a format that consists of the characters listed.
const customFormat = "alphabet="

// TokenFormats returns the names of the formats, sorted, but for that of an
// alphabet.
func TokenFormats() []string {
	return slices.Sorted(maps.Keys(tokenFormats))
}

// NewTokenizer returns the tokens of a format that belong to key:
//
//	digits         6 or more digits
//	bank_card      12 to 19 digits of which the last is right (ISO/IEC 7812-1,
//	               "Luhn"), as it is in the token; the first one is kept
//	bank_card_bin  the same; the first six are kept (the issuer)
//	mobile         Chinese mobile numbers, with or without 86, 0086 or +86; the
//	               first three digits are kept
//	id_card        Chinese resident identity numbers of 18 characters (GB 11643)
//	               born from 1900 to 2099; the token has the code of some
//	               province, a date that exists and the right last character.
//	               Nothing is kept, since place and date of birth identify people
//	letters        A to Z, a to z: 5 or more; of a text in one case, 4 in two
//	alphanumeric   letters and digits, 4 or more
//	alphabet=…     the characters listed, of any script, as many as make
//	               1000000 values
//
// Single spaces and hyphens between two characters stay where they are, except
// with an alphabet. At most 128 characters have a token. Digits and letters are
// those of ASCII.
func NewTokenizer(format string, key []byte) (*Tokenizer, error) {
	fit, ok := tokenFormats[format]
	if list, custom := strings.CutPrefix(format, customFormat); custom {
		a, err := newAlphabet(list)
		if err != nil {
			return nil, err
		}
		format, fit, ok = customFormat, a, true
	}
	if !ok {
		return nil, fmt.Errorf("unknown format %q: the formats are %s and alphabet=<characters>", format, strings.Join(TokenFormats(), ", "))
	}
	if len(key) != TokenKeySize {
		return nil, fmt.Errorf("the key has %d bytes, not %d", len(key), TokenKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{format: format, fit: fit, pool: sync.Pool{New: func() any { return new(piece) }}}
	t.cipher, err = ff1.New(block)
	return t, err
}

// Tokenize appends the token of text, which is the value of a member called name.
// Where number is set, text is a JSON number, and so is the token. It reports
// false, and appends nothing, if text is not of the format.
func (t *Tokenizer) Tokenize(dst, text []byte, name string, number bool) ([]byte, bool) {
	return t.walk(dst, text, name, number, t.cipher.Encrypt)
}

// Detokenize is the inverse of Tokenize. (Of an id_card, x has become X.)
func (t *Tokenizer) Detokenize(dst, text []byte, name string, number bool) ([]byte, bool) {
	return t.walk(dst, text, name, number, t.cipher.Decrypt)
}

// walk encrypts text until the result is of its format, which is a permutation
// of the values of the format as FF1 is one of all strings of numerals ("cycle
// walking").
func (t *Tokenizer) walk(dst, text []byte, name string, number bool, crypt func([]uint16, int, []byte) error) ([]byte, bool) {
	p := t.pool.Get().(*piece)
	defer func() {
		clear(p.core) // which nobody else is meant to see
		clear(p.x)
		t.pool.Put(p)
	}()
	p.number, p.class, p.x, p.kept = number, 0, p.x[:0], p.kept[:0]
	if _, custom := t.fit.(*alphabet); custom {
		p.core, p.groups = append(p.core[:0], text...), p.groups[:0]
	} else if !p.split(text) {
		return dst, false
	}
	if !t.fit.parse(p) {
		return dst, false
	}
	p.tweak = append(append(append(p.tweak[:0], "moat tokenize 1\x00"...), t.format...), 0)
	p.tweak = append(append(append(p.tweak, p.kept...), 0), name...)
	for range maxWalk {
		if crypt(p.x, p.radix, p.tweak) != nil {
			return dst, false
		}
		if t.fit.valid(p) {
			t.fit.write(p)
			return p.join(dst), true
		}
	}
	return dst, false
}

// split takes single spaces and hyphens out from between two characters.
func (p *piece) split(text []byte) bool {
	p.core, p.groups = p.core[:0], p.groups[:0]
	if len(text) > 2*maxToken {
		return false
	}
	for i, c := range text {
		if c != ' ' && c != '-' {
			p.core = append(p.core, c)
			continue
		}
		if i == 0 || i == len(text)-1 || text[i-1] == ' ' || text[i-1] == '-' {
			return false
		}
		p.groups = append(p.groups, group{len(p.core), c})
	}
	return len(p.core) <= maxToken
}

// join is the inverse of split.
func (p *piece) join(dst []byte) []byte {
	from := 0
	for _, g := range p.groups {
		dst = append(append(dst, p.core[from:g.at]...), g.c)
		from = g.at
	}
	return append(dst, p.core[from:]...)
}

// digits takes ASCII digits as numerals. It reports false if there is anything
// else.
func (p *piece) digits(text []byte) bool {
	p.radix = 10
	for _, c := range text {
		if !isDigit(c) {
			return false
		}
		p.x = append(p.x, uint16(c-'0'))
	}
	return len(text) > 0
}

// putDigits is the inverse of digits.
func (p *piece) putDigits(to []byte) {
	for i, n := range p.x {
		to[i] = byte('0' + n)
	}
}

type digitsFormat struct{}

func (digitsFormat) parse(p *piece) bool { return p.digits(p.core) }

// valid knows that a JSON number does not begin with 0.
func (digitsFormat) valid(p *piece) bool { return !p.number || p.x[0] != 0 }

func (digitsFormat) write(p *piece) { p.putDigits(p.core) }

// cardFormat keeps the first digit, so that the token is the number of some
// card, too, or the first six.
type cardFormat struct{ keep int }

func (f cardFormat) parse(p *piece) bool {
	n := len(p.core)
	if n < 12 || n > 19 || !p.digits(p.core) || luhnDigit(p.core[:n-1]) != p.core[n-1] {
		return false
	}
	p.kept = append(p.kept, p.core[:f.keep]...)
	p.x = p.x[f.keep : n-1]
	return true
}

func (cardFormat) valid(*piece) bool { return true }

func (f cardFormat) write(p *piece) {
	p.putDigits(p.core[f.keep:])
	last := len(p.core) - 1
	p.core[last] = luhnDigit(p.core[:last])
}

// luhnDigit returns the check digit of ISO/IEC 7812-1 annex B.
func luhnDigit(digits []byte) byte {
	sum := 0
	for i, c := range digits {
		v := int(c - '0')
		if (len(digits)-i)%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return byte('0' + (10-sum%10)%10)
}

// mobileFormat keeps the country code, which is not part of the tweak, and the
// segment, which is.
type mobileFormat struct{}

const mobileDigits = 11

func (mobileFormat) parse(p *piece) bool {
	n := len(p.core) - mobileDigits
	if n < 0 {
		return false
	}
	switch string(p.core[:n]) {
	case "", "86", "0086", "+86":
	default:
		return false
	}
	if !p.digits(p.core[n:]) || p.x[0] != 1 || p.x[1] < 3 {
		return false
	}
	p.kept = append(p.kept, p.core[n:n+3]...)
	p.x = p.x[3:]
	return true
}

func (mobileFormat) valid(*piece) bool { return true }

func (mobileFormat) write(p *piece) { p.putDigits(p.core[len(p.core)-len(p.x):]) }

// lettersFormat keeps which kinds of letters a text has: lower case, upper case
// or both.
type lettersFormat struct{ digits bool }

const (
	lowerCase = 'l'
	upperCase = 'u'
	bothCases = 'b'
)

func (f lettersFormat) parse(p *piece) bool {
	if p.number || len(p.core) == 0 {
		return false
	}
	lower, upper := false, false
	for _, c := range p.core {
		switch {
		case 'a' <= c && c <= 'z':
			lower = true
		case 'A' <= c && c <= 'Z':
			upper = true
		case !f.digits || !isDigit(c):
			return false
		}
	}
	p.radix, p.class = 26, lowerCase
	switch {
	case lower && upper:
		p.radix, p.class = 52, bothCases
	case upper:
		p.class = upperCase
	}
	if f.digits {
		p.radix += 10
	}
	p.kept = append(p.kept, p.class)
	for _, c := range p.core {
		p.x = append(p.x, p.numeral(c))
	}
	return true
}

// numeral is a letter's place in the alphabet, of both cases that of lower case
// first, with the digits behind.
func (p *piece) numeral(c byte) uint16 {
	switch {
	case isDigit(c):
		return uint16(c-'0') + uint16(p.radix/26*26)
	case c >= 'a':
		return uint16(c - 'a')
	case p.class == bothCases:
		return uint16(c-'A') + 26
	}
	return uint16(c - 'A')
}

func (p *piece) letter(n uint16) byte {
	switch letters := uint16(p.radix / 26 * 26); {
	case n >= letters:
		return byte('0' + n - letters)
	case n >= 26:
		return byte('A' + n - 26)
	case p.class == upperCase:
		return byte('A' + n)
	}
	return byte('a' + n)
}

// valid requires letters of the same kinds. Digits alone count as lower case.
func (lettersFormat) valid(p *piece) bool {
	lower, upper := false, false
	for _, n := range p.x {
		switch c := p.letter(n); {
		case c >= 'a':
			lower = true
		case c >= 'A':
			upper = true
		}
	}
	return p.class == lowerCase || p.class == upperCase && upper || lower && upper
}

func (lettersFormat) write(p *piece) {
	for i, n := range p.x {
		p.core[i] = p.letter(n)
	}
}

// alphabet is the format of texts of some characters.
type alphabet struct {
	runes    []rune
	numerals map[rune]uint16
}

func newAlphabet(list string) (*alphabet, error) {
	a := &alphabet{numerals: map[rune]uint16{}}
	if !utf8.ValidString(list) {
		return nil, errors.New("the alphabet is not UTF-8")
	}
	for _, r := range list {
		if _, twice := a.numerals[r]; twice {
			return nil, fmt.Errorf("the alphabet has %q twice", r)
		}
		a.numerals[r] = uint16(len(a.runes))
		a.runes = append(a.runes, r)
	}
	if len(a.runes) < 2 || len(a.runes) > ff1.MaxRadix {
		return nil, fmt.Errorf("the alphabet has %d characters: it must have 2 to %d, such as %s0123456789ABCDEF", len(a.runes), ff1.MaxRadix, customFormat)
	}
	return a, nil
}

func (a *alphabet) parse(p *piece) bool {
	if p.number || len(p.core) > maxToken*utf8.UTFMax || utf8.RuneCount(p.core) > maxToken {
		return false
	}
	p.radix = len(a.runes)
	for core := p.core; len(core) > 0; {
		r, size := utf8.DecodeRune(core)
		n, ok := a.numerals[r]
		if !ok || r == utf8.RuneError && size == 1 {
			return false
		}
		p.x = append(p.x, n)
		core = core[size:]
	}
	return true
}

func (*alphabet) valid(*piece) bool { return true }

func (a *alphabet) write(p *piece) {
	p.core = p.core[:0]
	for _, n := range p.x {
		p.core = utf8.AppendRune(p.core, a.runes[n])
	}
}
