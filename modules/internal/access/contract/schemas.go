package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// base is where the compiler of schemas finds all of a document's: under one key
// each, whatever file they are in.
const base = "moat:document"

// schemas collects the schemas of a document in the form of draft 2020-12.
type schemas struct {
	l              *loader
	keys           map[*node]string
	nodes          map[string]*node // by key
	defs           map[string]any
	queue          []*node
	discriminators map[string]schema.Discriminator
}

func newSchemas(l *loader) *schemas {
	return &schemas{
		l: l, keys: make(map[*node]string), nodes: make(map[string]*node), defs: make(map[string]any),
		discriminators: make(map[string]schema.Discriminator),
	}
}

// add has a schema be compiled, and returns where it will be.
func (s *schemas) add(n *node) (location string, err error) {
	key, ok := s.keys[n]
	if !ok {
		key = "s" + strconv.Itoa(len(s.keys))
		s.keys[n], s.nodes[key] = key, n
		s.queue = append(s.queue, n)
	}
	return base + "#/$defs/" + key, nil
}

// convertAll converts what was added, and what that refers to.
func (s *schemas) convertAll() error {
	for len(s.queue) > 0 {
		n := s.queue[0]
		s.queue = s.queue[1:]
		v, err := s.convert(n, true)
		if err != nil {
			return err
		}
		s.defs[s.keys[n]] = v
	}
	return nil
}

// Keywords of a schema by what they hold.
var (
	oneSchema    = []string{"not", "if", "then", "else", "items", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "propertyNames"}
	listOf       = []string{"allOf", "anyOf", "oneOf", "prefixItems"}
	mapOf        = []string{"properties", "patternProperties", "dependentSchemas"}
	plainValues  = []string{"type", "enum", "const", "required", "dependentRequired", "uniqueItems", "format", "pattern", "readOnly", "writeOnly"}
	plainNumbers = []string{
		"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties", "maxContains", "minContains",
	}
	annotations = []string{"title", "description", "default", "deprecated", "examples", "example", "externalDocs", "xml", "$comment", "$defs", "definitions"}
	identities  = []string{"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"}
	special     = []string{"$ref", "nullable", "discriminator", "contentEncoding", "contentMediaType", "contentSchema", "$schema"}
)

// only30 are the keywords of OpenAPI 3.0.
var only30 = []string{
	"title", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems",
	"maxProperties", "minProperties", "required", "enum", "type", "allOf", "oneOf", "anyOf", "not", "items", "properties", "additionalProperties", "description",
	"format", "default", "nullable", "discriminator", "readOnly", "writeOnly", "xml", "externalDocs", "example", "deprecated", "$ref",
}

var allKeywords = slices.Concat(oneSchema, listOf, mapOf, plainValues, plainNumbers, annotations, special)

// convert returns a schema as draft 2020-12 has it. top is for one under its own key.
func (s *schemas) convert(n *node, top bool) (any, error) {
	if b, ok := n.value.(bool); ok && !s.l.is30() {
		return b, nil
	}
	if n.kind != mapNode {
		return nil, n.errorf("a schema must be an object")
	}
	if !top && n.get("discriminator") != nil {
		return s.reference(n)
	}
	if ref := n.get("$ref"); ref != nil && s.l.is30() {
		for _, name := range n.names {
			if name != "$ref" && !slices.Contains(annotations, name) && !strings.HasPrefix(name, "x-") {
				s.l.unenforced(n.named[name], "%s beside $ref has no effect in OpenAPI 3.0: write allOf with the reference and a schema that has it", name)
			}
		}
		return s.target(ref)
	}
	out := make(map[string]any, len(n.names))
	for _, name := range n.names {
		if err := s.keyword(out, n, name); err != nil {
			return nil, err
		}
	}
	if s.l.is30() {
		s.from30(out, n)
	}
	return out, nil
}

// reference returns a schema that refers to n under its own key.
func (s *schemas) reference(n *node) (any, error) {
	location, err := s.add(n)
	return map[string]any{"$ref": strings.TrimPrefix(location, base)}, err
}

func (s *schemas) target(ref *node) (any, error) {
	text, ok := ref.value.(string)
	if !ok {
		return nil, ref.errorf("$ref must be a text")
	}
	target, err := s.l.files.resolve(ref, text)
	if err != nil {
		return nil, err
	}
	return s.reference(target)
}

// keyword takes over one keyword of n.
func (s *schemas) keyword(out map[string]any, n *node, name string) error {
	v := n.named[name]
	if s.l.is30() && !slices.Contains(only30, name) && !strings.HasPrefix(name, "x-") {
		s.l.unenforced(v, "%s is no keyword of schemas in OpenAPI 3.0%s", name, suggest.DidYouMean(name, only30))
		return nil
	}
	var err error
	switch b, isBool := v.value.(bool); {
	case name == "additionalProperties" && isBool:
		out[name] = b
	case slices.Contains(oneSchema, name):
		out[name], err = s.convert(v, false)
	case slices.Contains(listOf, name):
		out[name], err = s.list(v, name)
	case slices.Contains(mapOf, name):
		out[name], err = s.members(v, name)
	case slices.Contains(plainValues, name):
		err = s.plain(out, v, name)
	case slices.Contains(plainNumbers, name):
		out[name] = v.plain()
		if x, ok := out[name].(json.Number); ok && !schema.Comparable(string(x)) {
			return v.errorf("%s: %s cannot be compared exactly with what is sent", name, x)
		}
	case slices.Contains(identities, name):
		return v.errorf("%s is not supported: schemas are referred to by $ref with a JSON Pointer", name)
	case slices.Contains(annotations, name), strings.HasPrefix(name, "x-"):
	default:
		return s.special(out, n, v, name)
	}
	return err
}

func (s *schemas) list(v *node, name string) (any, error) {
	if v.kind != listNode || len(v.items) == 0 {
		return nil, v.errorf("%s must be a list of schemas", name)
	}
	list := make([]any, len(v.items))
	for i, item := range v.items {
		sub, err := s.convert(item, false)
		if err != nil {
			return nil, err
		}
		list[i] = sub
	}
	return list, nil
}

func (s *schemas) members(v *node, name string) (any, error) {
	if v.kind != mapNode {
		return nil, v.errorf("%s must be an object of schemas", name)
	}
	m := make(map[string]any, len(v.names))
	folded := make(map[string]string, len(v.names))
	for _, member := range v.names {
		sub, err := s.convert(v.named[member], false)
		if err != nil {
			return nil, err
		}
		m[member] = sub
		if f := strings.ToLower(strings.ToUpper(member)); name == "properties" {
			if other, ok := folded[f]; ok {
				s.l.unenforced(v.named[member], "the members %s and %s differ in case alone: a request with both is rejected", other, member)
			}
			folded[f] = member
		}
	}
	return m, nil
}

func (s *schemas) plain(out map[string]any, v *node, name string) error {
	out[name] = v.plain()
	text, isText := v.value.(string)
	switch {
	case name == "format" && !isText:
		return v.errorf("format must be a text")
	case name == "format" && !schema.IsFormat(text):
		delete(out, name)
		s.l.unenforced(v, "the format %s is not one that is checked: remove it, or say by pattern what it is", text)
	case name == "pattern" && isText:
		if _, err := schema.Regexp(text); err != nil {
			delete(out, name)
			s.l.unenforced(v, "%w", err)
		}
	}
	return nil
}

func (s *schemas) special(out map[string]any, n, v *node, name string) error {
	var err error
	switch name {
	case "$ref":
		var target any
		if target, err = s.target(v); err == nil {
			maps.Copy(out, target.(map[string]any))
		}
	case "discriminator":
		return s.discriminator(n, v)
	case "nullable":
		if !s.l.is30() {
			s.l.unenforced(v, `nullable is not part of OpenAPI %s: write type: [<type>, "null"]`, s.l.version)
		}
	case "contentEncoding":
		switch text, _ := v.value.(string); text {
		case "base64":
			out["format"] = "byte"
		case "base64url":
			out["format"] = "base64url"
		default:
			s.l.unenforced(v, "contentEncoding %s is not checked; base64 and base64url are", text)
		}
	case "contentMediaType":
		if text, _ := v.value.(string); text != "application/octet-stream" {
			s.l.unenforced(v, "contentMediaType is not checked")
		}
	case "contentSchema":
		s.l.unenforced(v, "contentSchema is not checked")
	case "$schema":
		if text, _ := v.value.(string); !knownDialect(text) {
			return v.errorf("$schema %s is not supported: schemas are of draft 2020-12", text)
		}
	default:
		s.l.unenforced(v, "%s is no keyword of schemas%s", name, suggest.DidYouMean(name, allKeywords))
	}
	return err
}

func knownDialect(url string) bool {
	return strings.TrimSuffix(url, "#") == "https://json-schema.org/draft/2020-12/schema" || strings.HasPrefix(url, "https://spec.openapis.org/oas/3.")
}

// from30 rewrites what OpenAPI 3.0 says in another way.
func (s *schemas) from30(out map[string]any, n *node) {
	for _, pair := range [...][2]string{{"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}} {
		exclusive, ok := out[pair[1]].(bool)
		if !ok {
			continue
		}
		delete(out, pair[1])
		if bound, has := out[pair[0]]; exclusive && has {
			out[pair[1]] = bound
			delete(out, pair[0])
		} else if exclusive {
			s.l.unenforced(n.get(pair[1]), "%s has no effect without %s", pair[1], pair[0])
		}
	}
	if t := n.get("type"); t != nil && t.kind == listNode {
		s.l.unenforced(t, "type must be one text in OpenAPI 3.0: write nullable: true for null, or anyOf")
	}
	if !n.flag("nullable") {
		return
	}
	if t, ok := out["type"].(string); ok {
		out["type"] = []any{t, "null"}
		return
	}
	s.l.unenforced(n.get("nullable"), "nullable has no effect without type in the same schema")
}

// discriminator notes which schemas the values of a member stand for.
func (s *schemas) discriminator(n, v *node) error {
	property := v.str("propertyName")
	if property == "" {
		return v.errorf("discriminator needs propertyName")
	}
	d := schema.Discriminator{Property: property, Targets: make(map[string]string)}
	add := func(value string, target *node) error {
		location, err := s.add(target)
		d.Targets[value] = location
		return err
	}
	targets, err := s.candidates(n)
	if err != nil {
		return err
	}
	mapped := make(map[*node]bool)
	if m := v.get("mapping"); m != nil {
		for _, value := range m.names {
			target, err := s.mapped(m.named[value])
			if err != nil {
				return err
			}
			mapped[target] = true
			if err := add(value, target); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		// What is mapped under another name is no longer known by its own.
		if _, ok := d.Targets[name]; !ok && !mapped[targets[name]] {
			if err := add(name, targets[name]); err != nil {
				return err
			}
		}
	}
	if len(d.Targets) == 0 {
		return v.errorf("discriminator: there is no schema that it could choose: refer to them by $ref in oneOf or anyOf, or have them refer to this one in allOf")
	}
	s.discriminators[base+"#/$defs/"+s.keys[n]] = d
	return nil
}

// mapped returns the schema that an entry of a mapping names, as a reference or by
// its name in the components.
func (s *schemas) mapped(v *node) (*node, error) {
	text, ok := v.value.(string)
	if !ok {
		return nil, v.errorf("mapping: values are names of schemas")
	}
	if !strings.ContainsAny(text, "#/") {
		if target := s.l.root.get("components").get("schemas").get(text); target != nil {
			return target, nil
		}
	}
	target, err := s.l.files.resolve(v, text)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	return target, nil
}

// candidates returns the schemas that a discriminator in n can choose, by name.
func (s *schemas) candidates(n *node) (map[string]*node, error) {
	targets := make(map[string]*node)
	for _, keyword := range [...]string{"oneOf", "anyOf"} {
		list := n.get(keyword)
		if list == nil {
			continue
		}
		for _, item := range list.items {
			ref := item.get("$ref")
			if ref == nil {
				return nil, item.errorf("schemas beside a discriminator must be references, since their name is what it chooses by")
			}
			target, err := s.l.files.resolve(ref, ref.text)
			if err != nil {
				return nil, err
			}
			targets[ref.text[strings.LastIndexByte(ref.text, '/')+1:]] = target
		}
	}
	if n.get("oneOf") != nil || n.get("anyOf") != nil {
		return targets, nil
	}
	// Those that are made of this one.
	all := s.l.root.get("components").get("schemas")
	if all == nil {
		return targets, nil
	}
	for _, name := range all.names {
		candidate := all.named[name]
		if candidate == n {
			targets[name] = n
			continue
		}
		list := candidate.get("allOf")
		if list == nil {
			continue
		}
		for _, item := range list.items {
			if ref := item.get("$ref"); ref != nil {
				if target, err := s.l.files.resolve(ref, ref.text); err == nil && target == n {
					targets[name] = candidate
				}
			}
		}
	}
	return targets, nil
}

// locate finds the line that an error of the compiler is about.
func (s *schemas) locate(location string) *node {
	rest, ok := strings.CutPrefix(location, base+"#/$defs/")
	if !ok {
		return s.l.root
	}
	fragment, err := unescape(rest)
	if err != nil {
		return s.l.root
	}
	tokens := strings.Split(fragment, "/")
	at := s.nodes[tokens[0]]
	if at == nil {
		return s.l.root
	}
	for _, token := range tokens[1:] {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		next := at.named[token]
		if i, err := strconv.Atoi(token); err == nil && at.kind == listNode && i < len(at.items) {
			next = at.items[i]
		}
		if next == nil {
			break
		}
		at = next
	}
	return at
}
