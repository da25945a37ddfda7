package oauth

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a form.
const (
	MaxForm       = 64 << 10 // bytes
	maxParameters = 64
)

// repeatable are the parameters that a request may have more than once.
var repeatable = []string{"resource", "audience"} // RFC 8707 section 2, RFC 8693 section 2.1

// Form is a form that was read strictly: no parameter has two values, so that
// nobody can read another one than was checked (RFC 6749 section 3.2).
type Form struct{ values map[string][]string }

// ParseForm reads the content of a request.
func ParseForm(contentTypes []string, body []byte) (*Form, error) {
	media := ""
	if len(contentTypes) == 1 {
		media, _, _ = mime.ParseMediaType(contentTypes[0])
	}
	if media != "application/x-www-form-urlencoded" {
		return nil, refuse(CodeInvalidRequest, "the content must be application/x-www-form-urlencoded")
	}
	return ParseQuery(string(body))
}

// ParseQuery reads a query, which is written like a form.
func ParseQuery(text string) (*Form, error) {
	f := &Form{make(map[string][]string)}
	if len(text) > MaxForm {
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: CodeInvalidRequest, Description: "the request is too large"}
	}
	n := 0
	for part := range strings.SplitSeq(text, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		switch {
		case err1 != nil || err2 != nil || strings.Contains(part, ";") || !utf8.ValidString(name) || !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return nil, refuse(CodeInvalidRequest, "the parameters are malformed")
		case n == maxParameters:
			return nil, refuse(CodeInvalidRequest, "too many parameters")
		case f.values[name] != nil && !slices.Contains(repeatable, name):
			return nil, refuse(CodeInvalidRequest, "a parameter is given twice")
		}
		n++
		f.values[name] = append(f.values[name], value)
	}
	// A parameter without a value counts as left out (RFC 6749 section 3.1),
	// though it may not be given again.
	for name, values := range f.values {
		f.values[name] = slices.DeleteFunc(values, func(v string) bool { return v == "" })
	}
	return f, nil
}

// Get returns the value of a parameter, empty where there is none.
func (f *Form) Get(name string) string {
	if v := f.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// All returns the values of a parameter that may have several.
func (f *Form) All(name string) []string { return f.values[name] }

// Required returns the value of a parameter that a request must have.
func (f *Form) Required(name string) (string, error) {
	if v := f.Get(name); v != "" {
		return v, nil
	}
	return "", refuse(CodeInvalidRequest, name+" is missing")
}

// words reads a list of words between single spaces (RFC 6749 section 3.3).
func words(text string) ([]string, bool) {
	if text == "" {
		return nil, true
	}
	var list []string
	for word := range strings.SplitSeq(text, " ") {
		if CheckScope(word) != nil || slices.Contains(list, word) {
			return nil, false
		}
		list = append(list, word)
	}
	return list, true
}
