package schema

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Regexp compiles a regular expression of ECMA-262, which JSON Schema and OpenAPI
// use, for Go's engine, which needs time in proportion to the text. What the two
// read differently is translated; what only ECMA-262 has is an error, and so is what
// only Go has.
func Regexp(text string) (*regexp.Regexp, error) {
	t := translator{rest: text}
	if err := t.translate(); err != nil {
		return nil, fmt.Errorf("the regular expression %s: %w", text, err)
	}
	re, err := regexp.Compile(t.out.String())
	if err != nil {
		return nil, fmt.Errorf("the regular expression %s cannot be checked in linear time: %w", text, err)
	}
	return re, nil
}

// White space and line ends of ECMA-262, for use inside of a class.
const (
	ecmaSpace    = `\t\n\x0b\f\r \x{a0}\x{feff}\x{2028}\x{2029}\p{Zs}`
	ecmaNotSpace = `\x00-\x08\x0e-\x1f!-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff}`
)

type translator struct {
	rest  string
	out   strings.Builder
	class bool
}

var (
	errLook      = errors.New("lookahead and lookbehind cannot be checked in linear time: write a pattern without them, or several patterns in allOf")
	errReference = errors.New("back references cannot be checked in linear time")
	errEnd       = errors.New("it ends in the middle")
)

func (t *translator) translate() error {
	for t.rest != "" {
		c := t.rest[0]
		switch {
		case c == '\\':
			if err := t.escape(); err != nil {
				return err
			}
			continue
		case t.class && c == ']':
			t.class = false
		case t.class && c == '[':
			t.out.WriteString(`\[`) // else [: begins a class of POSIX
			t.rest = t.rest[1:]
			continue
		case t.class:
		case c == '[':
			if t.open() {
				continue
			}
		case c == '.':
			t.out.WriteString(`[^\n\r\x{2028}\x{2029}]`)
			t.rest = t.rest[1:]
			continue
		case c == '(' && strings.HasPrefix(t.rest, "(?"):
			if err := t.group(); err != nil {
				return err
			}
			continue
		}
		t.out.WriteByte(c)
		t.rest = t.rest[1:]
	}
	if t.class {
		return errEnd
	}
	return nil
}

// open begins a class. [] is what nothing matches, and [^] what everything does.
func (t *translator) open() (done bool) {
	for _, whole := range [...][2]string{{"[]", `[^\x00-\x{10ffff}]`}, {"[^]", `[\x00-\x{10ffff}]`}} {
		if strings.HasPrefix(t.rest, whole[0]) {
			t.out.WriteString(whole[1])
			t.rest = t.rest[len(whole[0]):]
			return true
		}
	}
	t.class = true
	if strings.HasPrefix(t.rest, "[^") {
		t.out.WriteString("[^")
		t.rest = t.rest[2:]
		return true
	}
	return false
}

func (t *translator) group() error {
	switch {
	case strings.HasPrefix(t.rest, "(?="), strings.HasPrefix(t.rest, "(?!"), strings.HasPrefix(t.rest, "(?<="), strings.HasPrefix(t.rest, "(?<!"):
		return errLook
	case strings.HasPrefix(t.rest, "(?:"), strings.HasPrefix(t.rest, "(?<"):
		t.out.WriteString(t.rest[:3])
		t.rest = t.rest[3:]
		return nil
	}
	return errors.New("a group that begins with (? is not one of ECMA-262")
}

// escape translates what begins with a backslash.
func (t *translator) escape() error {
	if len(t.rest) < 2 {
		return errEnd
	}
	c := t.rest[1]
	take := func(n int, as string) error {
		t.out.WriteString(as)
		t.rest = t.rest[n:]
		return nil
	}
	inClass := func(class string) string {
		if t.class {
			return class
		}
		return "[" + class + "]"
	}
	switch c {
	case 's':
		return take(2, inClass(ecmaSpace))
	case 'S':
		return take(2, inClass(ecmaNotSpace))
	case 'd', 'D', 'w', 'W', 't', 'n', 'r', 'f':
		return take(2, t.rest[:2])
	case 'v':
		return take(2, `\x0b`)
	case 'b', 'B':
		if t.class {
			if c == 'B' {
				return errors.New(`\B in a class`)
			}
			return take(2, `\x08`)
		}
		return take(2, t.rest[:2])
	case '0':
		if len(t.rest) > 2 && t.rest[2]-'0' <= 9 {
			return errors.New("octal escapes are not part of ECMA-262")
		}
		return take(2, `\x00`)
	case 'c':
		if len(t.rest) < 3 || (t.rest[2]|0x20)-'a' > 25 {
			return errors.New(`\c needs a letter`)
		}
		return take(3, fmt.Sprintf(`\x%02x`, t.rest[2]&0x1f))
	case 'x':
		if n, ok := hex(t.rest[2:], 2); ok {
			return take(4, fmt.Sprintf(`\x{%x}`, n))
		}
		return errors.New(`\x needs two hexadecimal digits`)
	case 'u':
		return t.unicode()
	case 'p', 'P':
		return t.property()
	case 'k':
		return errReference
	}
	switch {
	case c >= '1' && c <= '9':
		return errReference
	case c|0x20 >= 'a' && c|0x20 <= 'z':
		return fmt.Errorf(`\%c is not part of ECMA-262`, c)
	case c >= 0x80:
		return take(1, "") // the character stands for itself
	}
	return take(2, t.rest[:2])
}

func (t *translator) unicode() error {
	rest := t.rest[2:]
	if strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 2 || end > 7 {
			return errors.New(`\u{ needs hexadecimal digits and }`)
		}
		n, ok := hex(rest[1:], end-1)
		if !ok || n > 0x10ffff {
			return errors.New(`\u{ needs hexadecimal digits and }`)
		}
		fmt.Fprintf(&t.out, `\x{%x}`, n)
		t.rest = rest[end+1:]
		return nil
	}
	n, ok := hex(rest, 4)
	if !ok {
		return errors.New(`\u needs four hexadecimal digits`)
	}
	rest = rest[4:]
	if n >= 0xd800 && n < 0xdc00 && strings.HasPrefix(rest, `\u`) {
		if low, ok := hex(rest[2:], 4); ok && low >= 0xdc00 && low < 0xe000 {
			n, rest = 0x10000+(n-0xd800)<<10+(low-0xdc00), rest[6:]
		}
	}
	if n >= 0xd800 && n < 0xe000 {
		return errors.New("half a character, which no text can have")
	}
	fmt.Fprintf(&t.out, `\x{%x}`, n)
	t.rest = rest
	return nil
}

// property translates \p{…}: Go knows the same names without what they are of.
func (t *translator) property() error {
	end := strings.IndexByte(t.rest, '}')
	if !strings.HasPrefix(t.rest[2:], "{") || end < 0 {
		return errors.New(`\p needs a property in braces`)
	}
	name := t.rest[3:end]
	for _, of := range [...]string{"General_Category=", "gc=", "Script=", "sc="} {
		name = strings.TrimPrefix(name, of)
	}
	if strings.ContainsAny(name, "=^") {
		return fmt.Errorf(`\p{%s} cannot be checked`, name)
	}
	t.out.WriteString(t.rest[:2] + "{" + name + "}")
	t.rest = t.rest[end+1:]
	return nil
}

func hex(text string, digits int) (int, bool) {
	if len(text) < digits {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:digits], 16, 32)
	return int(n), err == nil //nolint:gosec // of 32 bits
}
