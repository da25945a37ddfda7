package policy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const shopYAML = `roles:
  clerk:
    allow: ["GET /orders/*", "POST /orders"]
  manager:
    inherits: [clerk]
    allow: ["* /orders/*", "GET /teams/{team}/report when team in claims.teams"]
    deny:  ["DELETE /orders/*/invoice"]
scopes: {}
ignore_case: false
anyone: { allow: ["GET /health"] }
authenticated: {}
users: { alice: [clerk] }        # roles given here are added to those of the credential
`

func TestPolicyFiles(t *testing.T) {
	fromYAML, err := ReadFile("policy.yaml", []byte(shopYAML))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(fromYAML); err != nil {
		t.Fatal(err)
	}
	if got := fromYAML.Roles["manager"]; !reflect.DeepEqual(got, &Block{
		Inherits: []string{"clerk"},
		Allow:    []string{"* /orders/*", "GET /teams/{team}/report when team in claims.teams"},
		Deny:     []string{"DELETE /orders/*/invoice"},
	}) {
		t.Errorf("manager: got %+v", got)
	}
	text, err := json.MarshalIndent(fromYAML, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := ReadFile("policy.json", text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(fromJSON, "", "\t")
	if err != nil || string(again) != string(text) {
		t.Errorf("got %s, %v; want %s", again, err, text)
	}
}

func TestErrorsOfCompilingAFileSayTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"roles:\n  a:\n    allow:\n      - GET /a\n      - GET b\n":             "p.yaml:5: role a: allow: path 'b' must begin with '/'",
		"roles:\n  a:\n    inherits: [b]\n":                                     "p.yaml:2: role a: it inherits 'b'",
		"anyone:\n  deny:\n    - GET /a when x\n":                               "p.yaml:3: anyone: deny: when x: at character 1",
		"anyone:\n  deny: [GET /a]\nusers:\n  bob: [x]\n":                       "p.yaml:4: user bob: 'x' is not a role",
		"roles:\n  a:\n    allow: [GET /a]\n  b: {}\n":                          "p.yaml:4: role b: it has no rules",
		"roles:\n  a:\n    allow:\n    - GET /a\n    - GET /b\n    - GET  /a\n": "p.yaml:6: role a: allow: GET /a is repeated",
	} {
		doc, err := ReadFile("p.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err = Compile(doc); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", text, err, want)
		}
	}
}

func TestFaultyPolicyFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "p.yaml: the file is empty",
		"# nothing\n":                      "p.yaml: the file is empty",
		"roles:\n\tclerk:\n\t\tallow: x\n": "YAML is indented with spaces",
		"a: [":                             "p.yaml: not YAML",
		"- a":                              "p.yaml:1: the policy must be a mapping and is a list",
		"text":                             "p.yaml:1: the policy must be a mapping and is text",
		"role:\n  a: {}":                   "p.yaml:1: unknown member 'role'; a policy has roles",
		"roles:\n  a:\n    alow: []":       "p.yaml:3: role a: unknown member 'alow'",
		"roles:\n  a: {}\n  a: {}":         "p.yaml:3: roles: 'a' is already there in line 2",
		"roles: {}\nroles: {}":             "p.yaml:2: the policy: 'roles' is already there in line 1",
		"ignore_case: yes":                 "p.yaml:1: ignore_case is true or false",
		"ignore_case: \"true\"":            "p.yaml:1: ignore_case is true or false",
		"roles:":                           "p.yaml:1: roles must be a mapping and is nothing",
		"roles: []":                        "p.yaml:1: roles must be a mapping and is a list",
		"roles:\n  a:\n":                   "p.yaml:2: role a must be a mapping and is nothing",
		"anyone:\n  allow: GET /a":         "p.yaml:2: anyone: allow must be a list of rules",
		"anyone:\n  allow: [1]":            "p.yaml:2: anyone: allow must be a list of rules such as \"GET /orders/*\" and has an element that is not text: put it in quotes: 1",
		"anyone:\n  allow: [GET: /a]":      "has an element that is a mapping",
		"users: {1: [a]}":                  "p.yaml:1: users: a name is not text: put it in quotes: 1",
		"users: {a: b}":                    "p.yaml:1: user a must be a list of roles and is text",
		"anyone: &x {}\nauthenticated: *x": "anchors and aliases are not supported",
		"roles: {<<: {a: {}}}":             "roles: a name is not text",
		"anyone: !!set {a, b}":             "the tag !!set is not supported",
		"anyone: !x {}":                    "the tag !x is not supported",
		"anyone: {}\n---\nanyone: {}":      "more than one YAML document",
		strings.Repeat("#", MaxFile+1):     "larger than",
	} {
		if _, err := ReadFile("p.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v; want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		" ":                                      "p.json: the file is empty",
		"{":                                      "p.json:1: not JSON",
		"{\n\"anyone\": {},\n\"anyone\": {}}":    "p.json:3: the policy: 'anyone' is already there in line 2",
		"{\n\"anyone\": {\"allow\": [\n1]}}":     "p.json:3: anyone: allow must be a list",
		"{\"anyone\": null}":                     "p.json:1: anyone must be a mapping and is nothing",
		"{} {}":                                  "p.json:1: something follows",
		"{\"anyone\": {\"allow\": true}}":        "is not text: put it in quotes: true",
		strings.Repeat("[", 100):                 "p.json:1: nested too deeply",
		"{\n\t\"anyone\": {\n\t\t\"alow\": []}}": "p.json:3: anyone: unknown member 'alow'",
	} {
		if _, err := ReadFile("p.json", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v; want %q", text, err, want)
		}
	}
}

// FuzzReadFile: what is read from YAML and written as JSON is read the same.
func FuzzReadFile(f *testing.F) {
	f.Add([]byte(shopYAML))
	f.Add([]byte(`{"anyone": {"allow": ["GET /"]}}`))
	f.Add([]byte("ignore_case: true\nanyone: {allow: [GET /A]}"))
	f.Add([]byte("roles: {a: {inherits: [b], deny: ['* /*']}}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _ = ReadFile("p.json", content)
		doc, err := ReadFile("p.yaml", content)
		if err != nil {
			return
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ReadFile("p.json", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if back, err := json.Marshal(again); err != nil || string(back) != string(text) {
			t.Errorf("%s became %s, %v", text, back, err)
		}
		_, _ = Compile(doc)
	})
}
