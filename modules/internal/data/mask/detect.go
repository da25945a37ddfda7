package mask

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

// Detector finds things in text that are known by their form.
type Detector struct {
	kinds kindSet

	// begins tells for each byte what may begin there, so that most of a text
	// costs one look at each byte.
	begins [256]kindSet
}

type kindSet uint8

const (
	kindPAN kindSet = 1 << iota
	kindIDCard
	kindMobile
	kindEmail
	kindJWT
	kindAPIKey
)

// kindNames are what a Detector knows.
var kindNames = []string{"pan", "id_card", "mobile", "email", "jwt", "api_key"}

// Kinds returns the names of what a Detector can find:
//
//	pan      payment card numbers of 13 to 19 digits, in groups or not, whose
//	         last digit is right (ISO/IEC 7812-1 annex B, "Luhn")
//	id_card  Chinese resident identity numbers of 18 characters with a date
//	         that exists and the right last one (GB 11643)
//	mobile   Chinese mobile numbers, in groups or not, with or without +86, and
//	         numbers of other countries that begin with +
//	email    addresses whose local part is ASCII
//	jwt      JSON Web Tokens, signed or encrypted
//	api_key  keys of well-known issuers, by their prefix, keys of api_key_auth,
//	         whatever their prefix, by form and checksum, and PEM private keys
func Kinds() []string { return slices.Clone(kindNames) }

// NewDetector returns a Detector of these kinds.
func NewDetector(kinds []string) (*Detector, error) {
	d := &Detector{}
	for _, k := range kinds {
		i := slices.Index(kindNames, k)
		if i < 0 {
			return nil, fmt.Errorf("unknown kind %q: the kinds are %s", k, strings.Join(kindNames, ", "))
		}
		d.kinds |= 1 << i
	}
	if d.kinds == 0 {
		return nil, fmt.Errorf("no kind to detect: the kinds are %s", strings.Join(kindNames, ", "))
	}
	for c := range d.begins {
		d.begins[c] = d.kinds & beginning(byte(c))
	}
	return d, nil
}

const numbers = kindPAN | kindIDCard | kindMobile

// beginning returns the kinds that c may begin, or, for an address, be the @ of.
func beginning(c byte) kindSet {
	var k kindSet
	switch {
	case isDigit(c):
		k = numbers
	case c == '+':
		k = kindMobile
	case c == '@':
		k = kindEmail
	case c == 'e':
		k = kindJWT
	}
	if c == '-' || c == '_' || len(keyForms[c]) > 0 {
		k |= kindAPIKey
	}
	return k
}

// Find returns where the next thing is that begins at from or after it.
func (d *Detector) Find(text []byte, from int) (start, end int, ok bool) {
	noToken := 0 // none begins before that
	for i := from; i < len(text); i++ {
		k := d.begins[text[i]]
		if k == 0 {
			continue
		}
		switch {
		case k&numbers != 0:
			end = d.number(text, i)
		case k == kindEmail:
			if start, end = emailAt(text, i, from); end > 0 {
				return start, end, true
			}
		case k&kindJWT != 0:
			if i >= noToken {
				end, noToken = jwt(text, i)
			}
		case text[i] == '_': // in the middle of one of our own
			if start, end, ok = keyform.At(text, i); ok && start >= from {
				return start, end, true
			}
			end = 0
		case i == 0 || text[i] == '-' || !isBase64URL(text[i-1]):
			end = apiKey(text, i)
		}
		if end > 0 {
			return i, end, true
		}
	}
	return 0, 0, false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// digitBuf has room for one digit more than anything that is looked for has.
type digitBuf [20]byte

// grouped reads digits into buf as far as there is room, with at most one space or
// hyphen between two. It stops after the last digit.
func (buf *digitBuf) grouped(text []byte, i int) (digits []byte, end int) {
	n := 0
	for i < len(text) && n < len(buf) {
		c := text[i]
		switch {
		case isDigit(c):
			buf[n] = c
			n++
			i++
			end = i
		case (c == ' ' || c == '-') && n > 0 && i == end:
			i++
		default:
			return buf[:n], end
		}
	}
	return buf[:n], end
}

// number returns the end of what begins at i with a digit or a plus sign, 0 if
// it is nothing.
func (d *Detector) number(text []byte, i int) int {
	if i > 0 && isDigit(text[i-1]) {
		return 0
	}
	if text[i] == '+' {
		return mobile(text, i)
	}
	var buf digitBuf
	digits, end := buf.grouped(text, i)
	if len(digits) < 11 {
		return 0 // the shortest is a mobile number
	}
	if d.kinds&kindIDCard != 0 {
		if end := idCard(text, i); end > 0 {
			return end
		}
	}
	if d.kinds&kindPAN != 0 {
		if end := pan(text, digits, end); end > 0 {
			return end
		}
	}
	if d.kinds&kindMobile != 0 {
		return mobileChina(text, i)
	}
	return 0
}

// pan tries every length from the longest, since what follows a space may be
// another number.
func pan(text, digits []byte, end int) int {
	if len(digits) < 13 || bytes.IndexByte([]byte("2345689"), digits[0]) < 0 {
		return 0
	}
	for ; len(digits) >= 13; digits, end = digits[:len(digits)-1], lastDigit(text, end-1) {
		if len(digits) <= 19 && (end == len(text) || !isDigit(text[end])) && luhn(digits) {
			return end
		}
	}
	return 0
}

// lastDigit returns the index after the last digit before end.
func lastDigit(text []byte, end int) int {
	for !isDigit(text[end-1]) {
		end--
	}
	return end
}

// luhn is the check of ISO/IEC 7812-1, of a number that is not one digit
// repeated.
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		v := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0 && bytes.Count(digits, digits[:1]) < len(digits)
}

func idCard(text []byte, i int) int {
	if i+18 > len(text) || i+18 < len(text) && isAlnum(text[i+18]) {
		return 0
	}
	if IsIDCard(text[i : i+18]) {
		return i + 18
	}
	return 0
}

// IsIDCard reports whether text is a Chinese resident identity number of 18
// characters: GB 11643 with the check character of ISO 7064, MOD 11-2.
func IsIDCard(text []byte) bool {
	if len(text) != 18 {
		return false
	}
	for _, c := range text[:17] {
		if !isDigit(c) {
			return false
		}
	}
	last := text[17]
	if last == 'x' {
		last = 'X'
	}
	if idCardCheck(text) != last || text[0] == '0' {
		return false
	}
	_, err := time.Parse("20060102", string(text[6:14]))
	return err == nil
}

// idCardCheck returns the check character of the 17 digits before it.
func idCardCheck(digits []byte) byte {
	sum := 0
	for i, c := range digits[:17] {
		sum += int(c-'0') * (1 << (17 - i) % 11)
	}
	return "10X98765432"[sum%11]
}

// mobile is a number that begins with a plus sign.
func mobile(text []byte, i int) int {
	if end := mobileChina(text, i+1); end > 0 {
		return end
	}
	var buf digitBuf
	digits, end := buf.grouped(text, i+1)
	if n := len(digits); n >= 8 && n <= 15 && digits[0] != '0' {
		return end
	}
	return 0
}

// mobileChina is 1, 3 to 9, and 9 digits more, after 86 or 0086 or not.
func mobileChina(text []byte, i int) int {
	if i >= len(text) || !isDigit(text[i]) {
		return 0
	}
	var buf digitBuf
	digits, end := buf.grouped(text, i)
	rest := digits
	for _, code := range []string{"0086", "86"} {
		if after, ok := bytes.CutPrefix(digits, []byte(code)); ok && len(after) >= 11 {
			rest = after
			break
		}
	}
	if len(rest) < 11 || rest[0] != '1' || rest[1] < '3' {
		return 0
	}
	for len(rest) > 11 {
		rest = rest[:len(rest)-1]
		end = lastDigit(text, end-1)
	}
	if end < len(text) && isDigit(text[end]) {
		return 0
	}
	return end
}

// localMore is what may stand in a local part besides letters and digits.
const localMore = "._%+-'~^!#$*`"

// emailAt returns the address round the @ at i, not before from.
func emailAt(text []byte, at, from int) (start, end int) {
	start = at
	for start > from && isLocal(text[start-1]) {
		start--
	}
	for start < at && !isAlnum(text[start]) {
		start++
	}
	end = at + 1
	dot := 0
	for end < len(text) && (isAlnum(text[end]) || text[end] == '-' || text[end] == '.') {
		if text[end] == '.' {
			dot = end
		}
		end++
	}
	for end > at+1 && !isAlnum(text[end-1]) {
		end--
	}
	if dot >= end {
		dot = bytes.LastIndexByte(text[:end], '.')
	}
	if start == at || dot <= at+1 || end-dot < 3 {
		return 0, 0
	}
	return start, end
}

func isBase64URL(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

// jwt is a header, which is an object and so begins with {" or { and space, and
// two or four more parts, of which the last may be empty. Where it is none, it
// also returns the end of the first part: what begins within that is none
// either, so no text is read more than five times.
func jwt(text []byte, i int) (end, none int) {
	if i+2 >= len(text) || text[i+1] != 'y' && text[i+1] != 'w' {
		return 0, 0
	}
	if !bytes.HasPrefix(text[i:], []byte("eyJ")) && !bytes.HasPrefix(text[i:], []byte("ewo")) && !bytes.HasPrefix(text[i:], []byte("eyA")) {
		return 0, 0
	}
	parts := 1
	end = i
	for {
		from := end
		for end < len(text) && isBase64URL(text[end]) {
			end++
		}
		if parts == 1 {
			none = end
		}
		if parts <= 2 && end-from < 4 {
			return 0, none
		}
		if parts == 5 || end == len(text) || text[end] != '.' {
			break
		}
		parts++
		end++
	}
	if parts < 3 {
		return 0, none
	}
	return end, 0
}

// keyForm is the form of the keys of one issuer: a prefix and at least so many
// more characters.
type keyForm struct {
	prefix string
	least  int
}

// keyForms are the forms by their first byte.
var keyForms = func() (table [256][]keyForm) {
	for _, f := range []keyForm{
		{"AKIA", 16},
		{"ASIA", 16},
		{"LTAI", 12},
		{"AKID", 13},
		{"AIza", 30},
		{"sk-", 20},
		{"sk_live_", 10},
		{"sk_test_", 10},
		{"rk_live_", 10},
		{"rk_test_", 10},
		{"whsec_", 16},
		{"ghp_", 30},
		{"gho_", 30},
		{"ghu_", 30},
		{"ghs_", 30},
		{"ghr_", 30},
		{"github_pat_", 22},
		{"glpat-", 20},
		{"xoxa-", 10},
		{"xoxb-", 10},
		{"xoxp-", 10},
		{"xoxr-", 10},
		{"xoxs-", 10},
		{"xapp-", 10},
		{"npm_", 30},
		{"pypi-", 30},
		{"hf_", 30},
		{"dop_v1_", 40},
		{"SG.", 30},
		{"ya29.", 20},
	} {
		table[f.prefix[0]] = append(table[f.prefix[0]], f)
	}
	return table
}()

func apiKey(text []byte, i int) int {
	if text[i] == '-' {
		return privateKey(text, i)
	}
	for _, f := range keyForms[text[i]] {
		if !bytes.HasPrefix(text[i:], []byte(f.prefix)) {
			continue
		}
		end := i + len(f.prefix)
		for end < len(text) && (isBase64URL(text[end]) || text[end] == '.' && f.prefix[len(f.prefix)-1] == '.') {
			end++
		}
		if end-i-len(f.prefix) >= f.least {
			return end
		}
	}
	return 0
}

// privateKey is a PEM block, up to its end or, if that is missing, to the end
// of the text.
func privateKey(text []byte, i int) int {
	if !bytes.HasPrefix(text[i:], []byte("-----BEGIN ")) {
		return 0
	}
	label, _, ok := bytes.Cut(text[i+len("-----BEGIN "):], []byte("-----"))
	if !ok || !bytes.HasSuffix(label, []byte("PRIVATE KEY")) {
		return 0
	}
	last := "-----END " + string(label) + "-----"
	if at := bytes.Index(text[i:], []byte(last)); at >= 0 {
		return i + at + len(last)
	}
	return len(text)
}

// LastBoundary returns the last place in text, not its start, that nothing
// but a private key extends over, 0 if there is none. It is the same in text
// as it stands within quotes in JSON: none of the characters after which it
// may be is part of an escape, but for the last of one.
func LastBoundary(text []byte) int {
	for i := len(text) - 1; i > 0; i-- {
		switch c := text[i-1]; {
		case c >= 0x80:
			// After a character beyond ASCII, not within it.
			if text[i]&0xc0 != 0x80 {
				return i
			}
		case strings.IndexByte(",;:/()<>{}[]|?", c) >= 0:
			return i
		}
	}
	return 0
}

// OpenKey reports whether text ends within a private key.
func OpenKey(text []byte) bool {
	const begin = "-----BEGIN "
	i := bytes.LastIndex(text, []byte(begin))
	if i < 0 {
		return false
	}
	label, rest, ok := bytes.Cut(text[i+len(begin):], []byte("-----"))
	return ok && bytes.HasSuffix(label, []byte("PRIVATE KEY")) && !bytes.Contains(rest, []byte("-----END "))
}
