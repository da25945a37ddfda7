package policy

import (
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
)

func TestRuleLines(t *testing.T) {
	for text, want := range map[string]Line{
		"GET /orders/*":     {Methods: []string{"GET"}, Path: "/orders/*"},
		"GET,POST /orders":  {Methods: []string{"GET", "POST"}, Path: "/orders"},
		"* /":               {Path: "/"},
		"* /*":              {Path: "/*"},
		"  PURGE\t/a/*/b  ": {Methods: []string{"PURGE"}, Path: "/a/*/b"},
		"GET /teams/{team}/report when team in claims.teams": {Methods: []string{"GET"}, Path: "/teams/{team}/report", When: "team in claims.teams"},
		"GET /a when  user == 'a  b' ":                       {Methods: []string{"GET"}, Path: "/a", When: "user == 'a  b'"},
		"GET /a when user ==\n  'a'":                         {Methods: []string{"GET"}, Path: "/a", When: "user ==\n  'a'"},
		"GET /a%20b/%2A":                                     {Methods: []string{"GET"}, Path: "/a%20b/%2A"},
		"GET /订单/*":                                          {Methods: []string{"GET"}, Path: "/订单/*"},
		"tool search_*":                                      {Call: Tool, Name: "search_*"},
		"prompt a when mcp.arguments.n < 3":                  {Call: Prompt, Name: "a", When: "mcp.arguments.n < 3"},
		"resource file:///docs/*":                            {Call: Resource, Name: "file:///docs/*"},
		"GET /p/{id}/* encoded_slashes":                      {Methods: []string{"GET"}, Path: "/p/{id}/*", Slashes: true},
		"* /q/%2F/{q} encoded_slashes when q != 'x'":         {Path: "/q/%2F/{q}", When: "q != 'x'", Slashes: true},
	} {
		got, err := ParseLine(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
			continue
		}
		if again, err := ParseLine(got.String()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%q: printed as %q and read as %+v, %v", text, got, again, err)
		}
	}
}

func TestFaultyRuleLinesSayWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "the rule is empty; a rule is written as: GET,POST /orders/* when",
		"GET":              "'GET': the rule needs a method and a path",
		"GET orders":       "path 'orders' must begin with '/'",
		"/orders GET":      "'/orders' where a method is expected",
		"GET *":            "path '*': write '/*' for every path",
		"get /a":           "method 'get': methods are case-sensitive; write 'GET'",
		"GET POST /a":      "'GET POST': methods are joined by commas, without spaces: GET,POST",
		"GET, POST /a":     "methods 'GET,': a method is missing beside a comma; write them without spaces: GET,POST",
		"GET,* /a":         "'*' is every method and stands alone",
		"GET,GET /a":       "'GET' is repeated",
		"G(T /a":           "method 'G(T' is not a method",
		"GET /a /b":        "'/b': one path a rule",
		"GET /a if true":   "'if' where only 'when' and a condition may follow the path",
		"GET /a when":      "'when' needs a condition",
		"GET /a*":          "'*' is a whole segment: '/a/*' for everything below /a",
		"GET /*.json":      "'*' is a whole segment",
		"GET /a/{id}.json": "a variable is a whole segment: '/orders/{id}'",
		"GET /a/{}":        "a variable needs a name: {id}",
		"GET /a/{a-b}":     "a variable's name is made of letters, digits and _",
		"GET /a/{user}":    "user already means something in conditions",
		"GET /a/{in}":      "in is a reserved word of CEL",
		"GET /{a}/{a}":     "two variables have the name a",
		"GET /a?b=c":       "a path has no query",
		"GET /a//b":        "would never be matched: the path has an empty segment",
		"GET /a/../b":      "would never be matched: the path has a dot segment",
		"GET /a%2fb":       "would never be matched: the path has an encoded separator",
		"GET /a%2":         "a percent sign needs two hexadecimal digits",
		"GET /a;b":         "would never be matched: the path has a semicolon",
		`GET /a\b`:         "would never be matched: the path has a backslash",
	} {
		if l, err := ParseLine(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v; want %q", text, l, err, want)
		}
	}
}

func TestFaultyConditionsAreFoundByCheck(t *testing.T) {
	var c condition.Compiler
	for text, want := range map[string]string{
		"GET /t/{team} when tem in claims.teams": "when tem in claims.teams: at character 1: undeclared reference to 'tem'",
		"GET /a when user":                       "gives string, where true or false is needed",
	} {
		l, err := ParseLine(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Check(&c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v; want %q", text, err, want)
		}
	}
}

// FuzzParseLine: printing a rule and parsing it again is the identity.
func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"GET /orders/*", "GET,POST /a/{id}/%20 when id == user", "* /* when true", "GET /a\u00a0/b", "X- /~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLine(text)
		if err != nil {
			return
		}
		again, err := ParseLine(l.String())
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%q: %+v, printed as %q, read as %+v, %v", text, l, l, again, err)
		}
		if again.String() != l.String() {
			t.Errorf("%q: printed as %q and then as %q", text, l, again)
		}
	})
}
