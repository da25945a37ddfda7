package principal

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckID says why a text cannot be who somebody is, nil if it can. What HTTP
// or a log would change on its way is nobody's name: a field's value loses the
// white space at its ends (RFC 9110 section 5.5), and " alice" would arrive as
// alice.
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("it is empty")
	case !Printable(id):
		return errors.New("it has control characters, line separators or bytes that are not UTF-8")
	case Padded(id):
		return errors.New("it begins or ends with white space")
	}
	return nil
}

// Printable reports whether s is UTF-8 without control characters and line
// separators.
func Printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, Unprintable)
}

// Unprintable reports whether c is a control character or line separator.
func Unprintable(c rune) bool {
	return unicode.IsControl(c) || c == '\u2028' || c == '\u2029'
}

// Padded reports whether s begins or ends with white space.
func Padded(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return unicode.IsSpace(first) || unicode.IsSpace(last)
}

// CheckName says why a text cannot be the name of a role or scope in a
// configuration, nil if it can. It may have spaces: directories call groups
// "Domain Users".
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case strings.Contains(name, ","):
		return errors.New("a name has no comma; several names are separated by spaces, and a name with spaces stands in quotes")
	case !Printable(name):
		return errors.New("a name has no control characters")
	case Padded(name):
		return errors.New("a name does not begin or end with a space")
	}
	return nil
}

// Quote prints a name as it is written in a Caddyfile: in quotes where it would
// otherwise be several words.
func Quote(name string) string {
	if name != "" && !strings.ContainsAny(name, " \t\"`") {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `\"`) + `"`
}

// QuoteAll prints names as they are written in a Caddyfile.
func QuoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = Quote(name)
	}
	return strings.Join(quoted, " ")
}

// JoinNames prints a list of names with commas between them, as {http.auth.user.roles}
// has it. No name can become two on the way to who splits the list: a comma, a
// percent sign, a control character and white space at the ends of a name are
// percent-encoded (RFC 3986 section 2.1).
func JoinNames(names []string) string {
	for _, name := range names {
		if !plain(name) {
			return joinEncoded(names)
		}
	}
	return strings.Join(names, ",")
}

// plain reports whether a name stands in a list as it is.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == ',' || c == '%' || c == 0x7f || c >= utf8.RuneSelf {
			return c >= utf8.RuneSelf && !strings.ContainsAny(name, ",%") && Printable(name) && !Padded(name)
		}
	}
	return !Padded(name)
}

func joinEncoded(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		inner := strings.TrimSpace(name)
		start := strings.Index(name, inner)
		for at, c := range name {
			_, size := utf8.DecodeRuneInString(name[at:])
			if c == ',' || c == '%' || c == utf8.RuneError && size == 1 || Unprintable(c) || at < start || at >= start+len(inner) {
				encode(&b, name[at:at+size])
				continue
			}
			b.WriteString(name[at : at+size])
		}
	}
	return b.String()
}

func encode(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		b.WriteByte('%')
		b.WriteByte(hex[s[i]>>4])
		b.WriteByte(hex[s[i]&15])
	}
}

// SplitNames reads a list of names that an authenticator other than ours has
// written as text, each once. Where there are commas they separate the names;
// else spaces do. Nobody can say which of the two was meant, and a name with a
// space in a list without commas is several names.
func SplitNames(list string) []string {
	separator := " "
	if strings.Contains(list, ",") {
		separator = ","
	}
	var out []string
	seen := make(map[string]bool)
	for name := range strings.SplitSeq(list, separator) {
		if name = strings.TrimSpace(name); name != "" && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
