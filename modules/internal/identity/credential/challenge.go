package credential

import "strings"

// Session is the scheme of challenges for the sessions of browsers. There is no
// registered one for cookies; clients that do not know it ignore it.
const Session = "Session"

// Challenge prints one value of WWW-Authenticate (RFC 9110 section 11.6.1)
// from a scheme and pairs of parameter name and value. Parameters whose value
// is empty are left out.
func Challenge(scheme string, params ...string) string {
	var b strings.Builder
	b.WriteString(scheme)
	sep := " "
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "" {
			continue
		}
		b.WriteString(sep)
		b.WriteString(params[i])
		b.WriteByte('=')
		quote(&b, params[i+1])
		sep = ", "
	}
	return b.String()
}

// quote writes s as a quoted-string (RFC 9110 section 5.6.4). What a
// quoted-string cannot hold is left out, so that no value can end the field
// line or begin another parameter.
func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= 0x20 && c < 0x7f:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}
