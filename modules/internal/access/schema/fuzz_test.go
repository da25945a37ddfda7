package schema

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// maker makes schemas and instances of the bytes that a fuzzer gives.
type maker struct {
	from  []byte
	depth int
}

func (m *maker) next(n int) int {
	if len(m.from) == 0 {
		return 0
	}
	c := int(m.from[0])
	m.from = m.from[1:]
	return c % n
}

func (m *maker) pick(list ...string) string { return list[m.next(len(list))] }

func (m *maker) number() string {
	return m.pick("0", "1", "-1", "2", "3", "1.0", "1.5", "-0", "0.1", "1e2", "100", "19.99", "9007199254740993", "9007199254740992", "1e-3", "123456789012345678901234567890", "1e300", "0.30000000000000004")
}

func (m *maker) name() string { return m.pick("a", "b", "c", "x-a", "longer name") }

func (m *maker) instance() string {
	if m.depth++; m.depth > 30 {
		return "null"
	}
	switch m.next(8) {
	case 0:
		return m.number()
	case 1:
		return m.pick("true", "false", "null")
	case 2:
		return m.pick(`""`, `"a"`, `"ab"`, `"abc"`, `"\u00e9"`, `"2026-11-30"`, `"2026-02-29"`, `"2026-11-30T10:00:00Z"`, `"2026-11-30T10:00:60Z"`, `"6fa459ea-ee8a-3ca4-894e-db77e160355e"`, `"😀"`)
	case 3, 4:
		var items []string
		for range m.next(4) {
			items = append(items, m.instance())
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	var members []string
	used := map[string]bool{}
	for range m.next(5) {
		if name := m.name(); !used[name] {
			used[name] = true
			members = append(members, fmt.Sprintf("%q:%s", name, m.instance()))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// schema makes a schema. Those that are made before the last can be referred to.
func (m *maker) schema() string {
	if m.depth++; m.depth > 40 {
		return "true"
	}
	var parts []string
	used := map[string]bool{}
	add := func(keyword, value string) {
		if !used[keyword] {
			used[keyword] = true
			parts = append(parts, fmt.Sprintf("%q:%s", keyword, value))
		}
	}
	list := func() string {
		all := []string{m.schema()}
		for range m.next(3) {
			all = append(all, m.schema())
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	named := func(names ...string) string {
		return fmt.Sprintf("{%q:%s,%q:%s}", names[0], m.schema(), names[1], m.schema())
	}
	for range 1 + m.next(4) {
		switch m.next(36) {
		case 0, 1:
			add("type", m.pick(`"object"`, `"array"`, `"string"`, `"integer"`, `"number"`, `["null","object"]`, `["boolean","integer"]`))
		case 2, 3, 4:
			add("properties", named("a", "b"))
		case 5:
			add("additionalProperties", m.pick("false", "true", m.schema()))
		case 6:
			add("patternProperties", named("^x-", "b|c"))
		case 7:
			add("required", m.pick(`["a"]`, `["a","c"]`, `[]`))
		case 8:
			add("propertyNames", m.schema())
		case 9:
			add("minProperties", m.pick("0", "1", "2"))
		case 10:
			add("maxProperties", m.pick("0", "1", "2"))
		case 11:
			add("dependentRequired", `{"a":["b"]}`)
		case 12:
			add("dependentSchemas", fmt.Sprintf(`{"a":%s}`, m.schema()))
		case 13:
			add("unevaluatedProperties", m.pick("false", m.schema()))
		case 14:
			add("unevaluatedItems", m.pick("false", m.schema()))
		case 15:
			add("items", m.schema())
		case 16:
			add("prefixItems", list())
		case 17:
			add("contains", m.schema())
			if m.next(2) == 1 {
				add("minContains", m.pick("0", "1", "2"))
			}
			if m.next(2) == 1 {
				add("maxContains", m.pick("0", "1", "2"))
			}
		case 18:
			add("minItems", m.pick("0", "1", "2"))
		case 19:
			add("maxItems", m.pick("0", "1", "2"))
		case 20:
			add("uniqueItems", "true")
		case 21:
			add("minLength", m.pick("0", "1", "2"))
		case 22:
			add("maxLength", m.pick("0", "1", "2"))
		case 23:
			add("pattern", m.pick(`"^a"`, `"b$"`, `"[a-c]+"`))
		case 24:
			add(m.pick("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), m.number())
		case 25:
			add("multipleOf", m.pick("1", "2", "0.01", "0.1", "1e-3", "3"))
		case 26:
			add("allOf", list())
		case 27:
			add("anyOf", list())
		case 28:
			add("oneOf", list())
		case 29:
			add("not", m.schema())
		case 30:
			add("if", m.schema())
			add("then", m.schema())
			add("else", m.schema())
		case 31:
			add("enum", "["+m.instance()+","+m.instance()+"]")
		case 32:
			add("const", m.instance())
		case 33:
			add("format", m.pick(`"date"`, `"date-time"`, `"uuid"`, `"int32"`, `"email"`))
		case 34, 35:
			add("$ref", m.pick(`"#/$defs/one"`, `"#/$defs/two"`))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// FuzzFastEqualsSlow holds that the verdict is that of jsonschema/v6.
func FuzzFastEqualsSlow(f *testing.F) {
	f.Add([]byte("seed"), []byte("seed"))
	for i := range 60 {
		text := []byte(strings.Repeat(fmt.Sprint(i*7919), 20))
		f.Add(text, text[i%7:])
	}
	f.Fuzz(func(t *testing.T, schemaFrom, instanceFrom []byte) {
		m := &maker{from: schemaFrom}
		top := func() string {
			m.depth = 32
			return m.schema()
		}
		text := fmt.Sprintf(`{"$defs":{"one":%s,"two":%s},%s`, top(), top(), top()[1:])
		s, slow, err := compile(t, []byte(text))
		if err != nil {
			if !strings.Contains(err.Error(), "without end") {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		m = &maker{from: instanceFrom}
		for range 4 {
			m.depth = 0
			instance := m.instance()
			want := slow.Validate(decode(t, []byte(instance)))
			if got := valid(t, s, []byte(instance)); got != (want == nil) {
				t.Fatalf("schema %s\ninstance %s\ngot %v, want %v", text, instance, got, want)
			}
		}
	})
}

// FuzzRegexp holds that what is compiled is bounded and does not panic, and that
// patterns that both know in the same way mean the same.
func FuzzRegexp(f *testing.F) {
	for _, p := range []string{`^[A-Z]{3}-\d{4}$`, `\s\S\w\W\b`, `[]`, `[^]`, `\u{1F600}`, `\ud83d\ude00`, `[\s\d-]`, `(?<a>b)`, `\p{Script=Greek}`, `a.b`, `[[:alpha:]]`} {
		f.Add(p, "AB-1 \u00a0")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := Regexp(pattern)
		if err != nil {
			return
		}
		if strings.ContainsAny(pattern, `\.[(`) {
			re.MatchString(text)
			return
		}
		same, err := regexp.Compile(pattern)
		if err != nil || same.MatchString(text) != re.MatchString(text) {
			t.Errorf("%q of %q: %v", pattern, text, err)
		}
	})
}

// FuzzDecimal holds that numbers compare as exact ones do.
func FuzzDecimal(f *testing.F) {
	f.Add("1.0", "1")
	f.Add("-0", "0e5")
	f.Add("9007199254740993", "9007199254740992.0")
	f.Add("0.001e3", "1e0")
	f.Add("19.99", "0.01")
	f.Fuzz(func(t *testing.T, one, two string) {
		var a, b strictjson.Tape
		limits := strictjson.Limits{Depth: 1}
		if a.Read([]byte(one), limits) != nil || b.Read([]byte(two), limits) != nil || a.Values[0].Kind != strictjson.KindNumber || b.Values[0].Kind != strictjson.KindNumber {
			return
		}
		x, y := parseDecimal(a.Text(0), nil), parseDecimal(b.Text(0), nil)
		m, n := rational(string(a.Text(0))), rational(string(b.Text(0)))
		if got, want := x.compare(&y), m.Cmp(n); got != want {
			t.Errorf("%s and %s: got %d, want %d", one, two, got, want)
		}
		if got := x.integer(); got != m.IsInt() {
			t.Errorf("%s: integer %v", one, got)
		}
		if n.Sign() > 0 {
			if got, want := x.multipleOf(&y), m.Quo(m, n).IsInt(); got != want {
				t.Errorf("%s multiple of %s: got %v, want %v", one, two, got, want)
			}
		}
	})
}
