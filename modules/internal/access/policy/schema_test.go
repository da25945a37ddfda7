package policy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
)

// check tells why a value does not fit a schema. It knows the keywords that
// Schema uses, and fails the test for any other.
func check(t *testing.T, root, schema map[string]any, v any, at string) error {
	t.Helper()
	for keyword := range schema {
		if !slices.Contains([]string{"$schema", "$id", "$defs", "$ref", "title", "description", "type", "properties", "additionalProperties", "items", "pattern", "anyOf", "required", "minLength", "minItems"}, keyword) {
			t.Fatalf("the test does not know the keyword %s", keyword)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		name := ref[len("#/$defs/"):]
		if err := check(t, root, root["$defs"].(map[string]any)[name].(map[string]any), v, at); err != nil {
			return err
		}
	}
	if options, ok := schema["anyOf"].([]any); ok {
		var err error
		for _, one := range options {
			if err = check(t, root, one.(map[string]any), v, at); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	kind := map[string]bool{}
	switch v.(type) {
	case map[string]any:
		kind["object"] = true
	case []any:
		kind["array"] = true
	case string:
		kind["string"] = true
	case bool:
		kind["boolean"] = true
	}
	if want, ok := schema["type"].(string); ok && !kind[want] {
		return fmt.Errorf("%s: not of type %s", at, want)
	}
	switch v := v.(type) {
	case map[string]any:
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				return fmt.Errorf("%s: no member %s", at, name)
			}
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, member := range v {
			sub, ok := properties[name].(map[string]any)
			if !ok {
				sub, ok = schema["additionalProperties"].(map[string]any)
			}
			if !ok && schema["additionalProperties"] == false {
				return fmt.Errorf("%s/%s: unknown member", at, name)
			}
			if ok {
				if err := check(t, root, sub, member, at+"/"+name); err != nil {
					return err
				}
			}
		}
	case []any:
		if least, ok := schema["minItems"].(float64); ok && len(v) < int(least) {
			return fmt.Errorf("%s: too few elements", at)
		}
		if sub, ok := schema["items"].(map[string]any); ok {
			for i, e := range v {
				if err := check(t, root, sub, e, fmt.Sprintf("%s/%d", at, i)); err != nil {
					return err
				}
			}
		}
	case string:
		if least, ok := schema["minLength"].(float64); ok && len(v) < int(least) {
			return fmt.Errorf("%s: too short", at)
		}
		if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Errorf("%s: does not match %s", at, p)
		}
	}
	return nil
}

// variants returns copies of v in each of which one value is another, or is
// gone, or has something more beside it.
func variants(v any) []any {
	all := []any{
		nil, true, false, 7.0, 1.5, "", "text", "GET /a", "get /a", "*", "* /*", "/a", "GET /a when", "GET /a when user == 'x'",
		"GET /a b", "GET,POST /a", ",GET /a", "GET  /a", " GET /a ", "GET /a/{id} when id == user", "** /a",
		[]any{},
		[]any{"x"},
		[]any{"GET /a"},
		[]any{7.0},
		[]any{[]any{}},
		map[string]any{},
		map[string]any{"x": "y"},
		map[string]any{"allow": []any{"GET /a"}},
		map[string]any{"x": map[string]any{"allow": []any{"GET /a"}}},
	}
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			for _, other := range variants(member) {
				c := map[string]any{}
				for k, m := range v {
					c[k] = m
				}
				c[name] = other
				all = append(all, c)
			}
			c := map[string]any{}
			for k, m := range v {
				if k != name {
					c[k] = m
				}
			}
			all = append(all, c)
		}
		c := map[string]any{"unknown": "x"}
		for k, m := range v {
			c[k] = m
		}
		all = append(all, c)
	case []any:
		for i := range v {
			for _, other := range variants(v[i]) {
				c := slices.Clone(v)
				c[i] = other
				all = append(all, c)
			}
		}
	}
	return all
}

// TestSchemaAgreesWithTheReader tries everything that is one step from a good
// policy. What the reader refuses the schema refuses, and what the schema
// refuses is refused.
func TestSchemaAgreesWithTheReader(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var base any
	err := json.Unmarshal([]byte(`{"roles":{"a":{"allow":["GET /a"],"deny":["* /b/{id} when id == user"]},"b":{"inherits":["a"]}},
		"scopes":{"s":{"allow":["GET,POST /s/*"]}},"anyone":{"allow":["GET /health"]},"authenticated":{"deny":["PUT /x"]},
		"users":{"u":["a","b"],"v":{"roles":["a"],"from":"jwt"},"w":[{"roles":["a"],"from":"api_key"},{"roles":["b"]}]},"ignore_case":true}`), &base)
	if err != nil {
		t.Fatal(err)
	}
	var good, structure, rules int
	for _, v := range append(variants(base), base) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fits := check(t, schema, schema, v, "")
		doc, read := ReadFile("p.json", text)
		compiled := read
		if read == nil {
			_, compiled = Compile(doc)
		}
		switch {
		case read != nil && fits == nil:
			t.Errorf("%s: fits the schema, and the reader says %v", text, read)
		case compiled == nil && fits != nil:
			t.Errorf("%s: is a policy, and the schema says %v", text, fits)
		}
		if compiled == nil {
			good++
		}
		if read != nil {
			structure++
		} else if fits != nil {
			rules++
		}
	}
	if good < 50 || structure < 200 || rules < 50 {
		t.Errorf("the test tries too little: %d good, %d with a wrong structure, %d with a wrong rule", good, structure, rules)
	}
}
