package conceal

import (
	"encoding/base64"
	"strings"
	"unsafe"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

// quotedEnd returns where the quoted text ends that begins at i, its quotes
// included, i if none does. Before the quotes backslashes may stand, as in JSON
// within JSON. One that does not end goes on to the end of s.
func quotedEnd(s string, i int) int {
	q := i
	for q < len(s) && s[q] == '\\' {
		q++
	}
	if q == len(s) || s[q] != '"' && s[q] != '\'' {
		return i
	}
	quote := s[i : q+1]
	for j := q + 1; j < len(s); {
		if s[j] != '\\' && s[j] != s[q] {
			j++
			continue
		}
		run := j
		for run < len(s) && s[run] == '\\' {
			run++
		}
		if run == len(s) || s[run] != s[q] {
			j = run + 1
			continue
		}
		// A backslash before the quote belongs to the text if it is not one
		// of those that the first quote has: then it escapes the quote, or
		// as many again escape it.
		if n, own := run-j, len(quote)-1; n <= own || (n-own)%(2*len(quote)) == 0 {
			return run + 1
		}
		j = run + 1
	}
	return len(s)
}

// quotedPairs hides what stands under the name of a credential in pieces of
// JSON and of what looks like it: "password":"x", 'password' => 'x',
// password: "x", \"password\":\"x\".
func quotedPairs(s string) string {
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		// An assignment after a name.
		c := s[i]
		if c != ':' && (c != '=' || i+1 == len(s) || s[i+1] != '>') {
			continue
		}
		from := i + 1
		if c == '=' {
			from++
		}
		for from < len(s) && (s[from] == ' ' || s[from] == '\t') {
			from++
		}
		name, quoted := nameBefore(s[done:i])
		if name == "" || !Member(name) || !quoted && !hasCredentialWord(lower(name)) {
			continue // an unquoted key or session is a word of a sentence
		}
		end := pairEnd(s, from, quoted)
		if end <= from || strings.HasPrefix(s[from:end], Redacted) {
			continue
		}
		quote := ""
		if q := quotedEnd(s, from); q > from {
			n := strings.IndexAny(s[from:q], "\"'") + 1
			quote = s[from : from+n]
			if inner := strings.TrimSuffix(s[from+n:q], quote); inner == Redacted || inner == "" || inner == Masked {
				i = q - 1
				continue
			}
		}
		out.WriteString(s[done:from])
		out.WriteString(quote)
		out.WriteString(Redacted)
		out.WriteString(quote)
		done = end
		i = end - 1
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// longestName is how long a name may be that is looked at in a text.
const longestName = 64

// nameBefore returns the name that s ends with, and whether it stands in
// quotes.
func nameBefore(s string) (name string, quoted bool) {
	s = strings.TrimRight(s, " \t")
	end := len(s)
	if end > 0 && (s[end-1] == '"' || s[end-1] == '\'') {
		quoted = true
		end--
		for end > 0 && s[end-1] == '\\' {
			end--
		}
	}
	from := end
	for from > 0 && end-from <= longestName && (nameByte(s[from-1]) || quoted && s[from-1] == ' ') {
		from--
	}
	if end-from > longestName {
		return "", false
	}
	return s[from:end], quoted
}

func nameByte(c byte) bool {
	return base64Byte(c) || c == '.' || c == '[' || c == ']' || c == '$' || c == '@' || c >= 0x80
}

// pairEnd returns where the value ends that begins at i: a quoted text, an
// object or array up to where it ends, and after a quoted name also anything
// else up to the next separator. It is i if there is nothing to hide.
func pairEnd(s string, i int, quoted bool) int {
	if end := quotedEnd(s, i); end > i {
		return end
	}
	if i == len(s) || !quoted {
		return i
	}
	if s[i] == '{' || s[i] == '[' {
		return bracketsEnd(s, i)
	}
	end := i + untilAny(s[i:], ",}])\r\n\t ")
	switch s[i:end] {
	case "true", "false", "null", "nil", "None":
		return i
	}
	return end
}

// bracketsEnd returns where the object or array ends that begins at i.
func bracketsEnd(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"', '\'', '\\':
			if end := quotedEnd(s, i); end > i {
				i = end
				continue
			}
		}
		i++
	}
	return len(s)
}

// headerLines hides the values of header fields that carry credentials where a
// message is shown: to the end of the line, or of the text.
func headerLines(s string) string {
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		if s[i] != ':' {
			continue
		}
		name, quoted := nameBefore(s[done:i])
		if quoted || name == "" || !headerInText(name) {
			continue
		}
		from := i + 1
		for from < len(s) && s[from] == ' ' {
			from++
		}
		end := from + untilAny(s[from:], "\r\n\"'<>\\")
		if end == from || strings.HasPrefix(s[from:end], Redacted) {
			continue
		}
		out.WriteString(s[done:from])
		out.WriteString(Redacted)
		done = end
		i = end - 1
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// Line is Clean for a text that is shown on its own and is not a log's: what
// follows the name of a credential and a colon is hidden too, to the end of the
// line or clause, be it part of a sentence or not.
func (m *Text) Line(s string) string {
	s = elements(m.Clean(s))
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		if s[i] != ':' {
			continue
		}
		name, _ := nameBefore(s[done:i])
		if name == "" || !Member(name) {
			continue
		}
		from := i + 1
		for from < len(s) && (s[from] == ' ' || s[from] == '\t') {
			from++
		}
		end := from + untilAny(s[from:], "\r\n,;&<>")
		if end == from || strings.Contains(s[from:end], Redacted) {
			continue
		}
		out.WriteString(s[done:from])
		out.WriteString(Redacted)
		done = end
		i = end - 1
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// elements hides the text of elements of XML that have the name of a credential.
func elements(s string) string {
	return hideAll(s, func(from int) (start, end int) {
		for {
			at := strings.IndexByte(s[from:], '<')
			if at < 0 {
				return 0, -1
			}
			from += at + 1
			name := s[from : from+untilAny(s[from:min(len(s), from+longestName)], "> \t\r\n/<")]
			if i := strings.IndexByte(name, ':'); i >= 0 {
				name = name[i+1:] // behind the prefix of a namespace
			}
			if name == "" || !Member(name) {
				continue
			}
			start = from + untilAny(s[from:], ">") + 1
			if start >= len(s) {
				return 0, -1
			}
			end = start + untilAny(s[start:], "<")
			if strings.HasPrefix(s[start:], "<![CDATA[") {
				end = start + len("<![CDATA[")
				end += untilAny(s[end:], "]")
			}
			if from = start; strings.TrimSpace(s[start:end]) != "" && s[start:end] != Redacted {
				return start, end
			}
		}
	})
}

// headerInText reports whether a word before a colon is the name of a header
// field that carries credentials, and not a word of a sentence.
func headerInText(name string) bool {
	switch low := lower(name); low {
	case "authorization", "cookie", "set-cookie", "proxy-authorization", "apikey", "dpop":
		return true
	case "authentication", "signature", "www-authenticate", "proxy-authenticate":
		return false
	default:
		return strings.IndexByte(name, '-') > 0 && Header(name)
	}
}

// hideAll puts Redacted in place of each piece of s that next finds at or
// after from. Without one it returns a negative end.
func hideAll(s string, next func(from int) (start, end int)) string {
	var out strings.Builder
	done := 0
	for {
		start, end := next(done)
		if end < 0 {
			break
		}
		out.WriteString(s[done:start])
		out.WriteString(Redacted)
		done = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// dataSource hides the passwords in data source names as the MySQL driver of Go
// writes them, user:password@tcp(host)/database, and that of Oracle,
// thin:user/password@host.
func dataSource(s string) string {
	s = oracle(s)
	return hideAll(s, func(from int) (start, end int) {
		for {
			at := strings.Index(s[from:], "@")
			if at < 0 {
				return 0, -1
			}
			begin := from
			from += at + 1
			name := 0
			for from+name < len(s) && name < 5 && base64Byte(s[from+name]) {
				name++
			}
			if from+name == len(s) || s[from+name] != '(' {
				continue
			}
			begin += strings.LastIndexAny(s[begin:from-1], " \t\r\n\"'=") + 1
			colon := strings.IndexByte(s[begin:from-1], ':')
			if start = begin + colon + 1; colon >= 0 && start < from-1 && s[start:from-1] != Redacted {
				return start, from - 1
			}
		}
	})
}

func oracle(s string) string {
	const mark = "oracle:thin:"
	return hideAll(s, func(from int) (start, end int) {
		for {
			at := indexFold(s[from:], mark)
			if at < 0 {
				return 0, -1
			}
			from += at + len(mark)
			end = from + untilAny(s[from:], "@ \t\r\n\"'")
			slash := strings.IndexByte(s[from:end], '/')
			if start = from + slash + 1; slash >= 0 && start < end && end < len(s) && s[end] == '@' && s[start:end] != Redacted {
				return start, end
			}
			from = end
		}
	})
}

// detector knows keys by their form: ours, those of well-known issuers, private
// keys in PEM.
var detector = func() *mask.Detector {
	d, err := mask.NewDetector([]string{"api_key"})
	if err != nil {
		panic(err) // the kind is there
	}
	return d
}()

// underscores undoes what an underscore may become in a URL.
var underscores = strings.NewReplacer("%5F", "_", "%5f", "_", "%255F", "_", "%255f", "_")

// keys hides what is known to be a key by its form.
func keys(s string) string {
	s = pemInBase64(s)
	if strings.Contains(s, "%5") || strings.Contains(s, "%255") {
		if plain := underscores.Replace(s); len(plain) != len(s) {
			if clean := found(plain); clean != plain {
				return clean
			}
		}
	}
	return found(s)
}

// shortestKey is a length that no key is below.
const shortestKey = 14

func found(s string) string {
	if len(s) < shortestKey {
		return s
	}
	text := unsafe.Slice(unsafe.StringData(s), len(s)) // nobody writes to it
	return hideAll(s, func(from int) (start, end int) {
		start, end, ok := detector.Find(text, from)
		if !ok {
			return 0, -1
		}
		return start, end
	})
}

// pemInBase64 hides private keys in PEM that are base64 in turn, as in the
// configuration and the secrets of Kubernetes.
func pemInBase64(s string) string {
	const mark = "LS0tLS1CRUdJTi" // -----BEGIN
	return hideAll(s, func(from int) (start, end int) {
		for {
			at := strings.Index(s[from:], mark)
			if at < 0 {
				return 0, -1
			}
			start = from + at
			end = start
			for end < len(s) && (base64Byte(s[end]) || strings.IndexByte("+/=", s[end]) >= 0) {
				end++
			}
			head := strings.TrimRight(s[start:min(end, start+64)], "=")
			label, _ := base64.RawStdEncoding.DecodeString(head[:len(head)&^3])
			if strings.Contains(string(label), "PRIVATE KEY") {
				return start, end
			}
			from = end
		}
	})
}
