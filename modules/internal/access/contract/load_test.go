package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// small is a document of a version with one operation whose body has the schema, in
// JSON, which may refer to components.
func small(version, schema, components string) string {
	return fmt.Sprintf(`{"openapi":%q,"info":{"title":"\ud83d\ude00","version":"1"},"paths":{"/a":{"post":{
"operationId":"a","requestBody":{"content":{"application/json":{"schema":
%s
}}},"responses":{"204":{"description":"done"}}}}},"components":{"schemas":{%s}}}`, version, schema, components)
}

// TestVersionsOfOpenAPIAreReadAsTheySay has schemas that mean different things in 3.0
// and later, with what is sent and what becomes of it.
func TestVersionsOfOpenAPIAreReadAsTheySay(t *testing.T) {
	pets := `"Pet":{"type":"object","required":["kind"],"properties":{"kind":{"type":"string"},"name":{"type":"string"}},"discriminator":{"propertyName":"kind"}},
"Cat":{"allOf":[{"$ref":"#/components/schemas/Pet"},{"type":"object","properties":{"lives":{"type":"integer"}}}]},
"Dog":{"allOf":[{"$ref":"#/components/schemas/Pet"},{"type":"object","required":["barks"],"properties":{"barks":{"type":"boolean"}}}]}`
	for _, c := range []struct{ version, schema, components, body, want string }{
		{"3.0.3", `{"type":"string","nullable":true}`, "", `null`, "a"},
		{"3.0.3", `{"type":"string","nullable":true,"enum":["x"]}`, "", `null`, "400 body::enum"},
		{"3.0.3", `{"type":"integer","minimum":1,"exclusiveMinimum":true}`, "", `1`, "400 body::exclusiveMinimum"},
		{"3.0.3", `{"type":"integer","minimum":1,"exclusiveMinimum":false}`, "", `1`, "a"},
		{"3.0.3", `{"type":"object","properties":{"a":{}},"additionalProperties":true}`, "", `{"b":1}`, "a"},
		{"3.0.3", `{"type":"object","additionalProperties":{"type":"integer"}}`, "", `{"b":"x"}`, "400 body:/b:type"},
		{"3.0.3", `{"type":"object"}`, "", `{"b":[{"c":1}]}`, "a"},
		{"3.0.3", `{"type":"object","properties":{"a":{"type":"object","properties":{"b":{}}}}}`, "", `{"a":{"b":{"any":1},"c":1}}`, "400 body:/a/c:unknown_member"},
		{"3.1.0", `{"type":["string","null"]}`, "", `null`, "a"},
		{"3.1.0", `{"const":1.0}`, "", `1`, "a"},
		{"3.1.0", `{"exclusiveMinimum":1}`, "", `1`, "400 body::exclusiveMinimum"},
		{"3.1.0", `{"$ref":"#/components/schemas/B","maxLength":1}`, `"B":{"type":"string"}`, `"ab"`, "400 body::maxLength"},
		{"3.1.0", `{"type":"object","properties":{"a":true},"patternProperties":{"^x-":{"type":"integer"}},"unevaluatedProperties":{"type":"boolean"}}`, "", `{"a":1,"x-b":1,"c":true,"d":1}`, "400 body:/d:type"},
		{"3.1.0", `{"if":{"properties":{"a":{"const":1}},"required":["a"]},"then":{"properties":{"b":{}}},"else":{"properties":{"a":{},"c":{}}}}`, "", `{"a":1,"c":1}`, "400 body:/c:unknown_member"},
		{"3.1.0", `{"contentEncoding":"base64","type":"string"}`, "", `"!"`, "400 body::format"},
		{"3.2.0", `{"$ref":"#/components/schemas/Tree"}`, `"Tree":{"type":"object","properties":{"in":{"type":"array","items":{"$ref":"#/components/schemas/Tree"}}}}`, `{"in":[{"in":[{"out":1}]}]}`, "400 body:/in/0/in/0/out:unknown_member"},

		// One that others inherit from: what is sent is one of them.
		{"3.0.3", `{"$ref":"#/components/schemas/Pet"}`, pets, `{"kind":"Cat","name":"a","lives":9}`, "a"},
		{"3.0.3", `{"$ref":"#/components/schemas/Pet"}`, pets, `{"kind":"Dog","name":"a"}`, "400 body::required"},
		{"3.0.3", `{"$ref":"#/components/schemas/Pet"}`, pets, `{"kind":"Cat","barks":true}`, "400 body:/barks:unknown_member"},
		{"3.0.3", `{"$ref":"#/components/schemas/Pet"}`, pets, `{"kind":"Cow"}`, "400 body:/kind:discriminator"},
		{"3.0.3", `{"$ref":"#/components/schemas/Pet"}`, pets, `{"kind":"Pet"}`, "a"},
	} {
		d, err := Load("openapi.json", []byte(small(c.version, c.schema, c.components)), LoadOptions{})
		if err != nil {
			t.Errorf("%s %s: %v", c.version, c.schema, err)
			continue
		}
		if got := outcome(d.Check(sent{line: "POST /a", body: c.body}.request(), &testLimits)); got != c.want {
			t.Errorf("%s %s of %s: got %s, want %s", c.body, c.version, c.schema, got, c.want)
		}
	}
}

// TestSchemasThatCannotBeEnforcedAreErrors has what a document must not say, and that
// with unenforced it loads, where that is possible.
func TestSchemasThatCannotBeEnforcedAreErrors(t *testing.T) {
	for _, c := range []struct{ version, schema, says string }{
		{"3.0.3", `{"type":["string","null"]}`, "type must be one text"},
		{"3.0.3", `{"const":1}`, "const is no keyword of schemas in OpenAPI 3.0"},
		{"3.0.3", `{"$ref":"#/components/schemas/B","maxLength":1}`, "maxLength beside $ref has no effect"},
		{"3.0.3", `{"nullable":true}`, "nullable has no effect"},
		{"3.0.3", `{"exclusiveMinimum":true,"type":"integer"}`, "no effect without minimum"},
		{"3.1.0", `{"nullable":true,"type":"string"}`, "nullable is not part of OpenAPI 3.1.0"},
		{"3.1.0", `{"requird":["a"]}`, "did you mean 'required'"},
		{"3.1.0", `{"format":"phone"}`, "the format phone"},
		{"3.1.0", `{"pattern":"^(?!a)"}`, "lookahead"},
		{"3.1.0", `{"pattern":"(a)\\1"}`, "back references"},
		{"3.1.0", `{"contentSchema":{}}`, "contentSchema"},
		{"3.1.0", `{"type":"object","properties":{"id":{},"ID":{}}}`, "differ in case alone"},
	} {
		text := []byte(small(c.version, c.schema, `"B":{"type":"string"}`))
		if _, err := Load("openapi.json", text, LoadOptions{}); err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "openapi.json:3: ") {
			t.Errorf("%s: %v", c.schema, err)
		}
		if d, err := Load("openapi.json", text, LoadOptions{Unenforced: true}); err != nil || len(d.Unenforced) != 1 {
			t.Errorf("%s with unenforced warn: %v", c.schema, err)
		}
	}
	for schema, says := range map[string]string{
		`{"type":"strin"}`: "not a valid schema", `{"minimum":"1"}`: "not a valid schema", `{"$ref":"#/components/schemas/Missing"}`: "there is no Missing",
		`{"$ref":"https://example.com/x"}`: "only files in the folder", `{"$ref":"/etc/passwd"}`: "only files", `{"$ref":"../x.yaml"}`: "leads out",
		`{"$ref":"#/components/schemas/C"}`: "without end", `{"maximum":1e999}`: "double precision", `{"$id":"x"}`: "$id is not supported",
		`{"$dynamicRef":"#x"}`: "$dynamicRef is not supported", `{"enum":[1e999]}`: "double precision", `[]`: "must be an object",
		`{"$ref":"#anchor"}`: "anchors are not read",
	} {
		_, err := Load("openapi.json", []byte(small("3.1.0", schema, `"C":{"allOf":[{"$ref":"#/components/schemas/C"}]}`)), LoadOptions{Unenforced: true})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "openapi.json:") {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

func TestPathsThatNobodyCanTellApartAreErrors(t *testing.T) {
	document := func(paths ...string) []byte {
		text := "openapi: 3.1.0\npaths:\n"
		for i, p := range paths {
			text += fmt.Sprintf("  %s:\n    get: { operationId: op%d, parameters: [", p, i)
			names, _ := templateNames(p)
			for _, n := range names {
				text += fmt.Sprintf("{ name: %s, in: path, required: true, schema: {} },", n)
			}
			text += "], responses: {} }\n"
		}
		return []byte(text)
	}
	for _, paths := range [][]string{{"/a/{x}", "/a/{y}"}, {"/{x}/b", "/a/{y}"}, {"/{x}/b/c", "/a/{y}/{z}"}, {"/a/x-{y}", "/a/{z}-y"}} {
		if _, err := Load("x.yaml", document(paths...), LoadOptions{}); err == nil {
			t.Errorf("%v is accepted", paths)
		}
	}
	for _, paths := range [][]string{{"/a/{x}", "/a/b"}, {"/a/{x}", "/a/{x}/b"}, {"/{x}/b", "/a/b"}, {"/a/x-{y}", "/a/{z}"}, {"/a/{x}.json", "/a/{x}.xml"}} {
		if _, err := Load("x.yaml", document(paths...), LoadOptions{}); err != nil {
			t.Errorf("%v: %v", paths, err)
		}
	}
}

func TestFilesOutsideOfTheFolderAreNotRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "api"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("secret.yaml", "type: string")
	write("api/models.yaml", "Order: { type: object, properties: { id: { $ref: '#/ID' } } }\nID: { type: integer }\n")
	name := filepath.Join(dir, "api", "openapi.json")
	d, err := Load(name, []byte(small("3.1.0", `{"$ref":"models.yaml#/Order"}`, "")), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(d.Check(sent{line: "POST /a", body: `{"id":"x"}`}.request(), &testLimits)); got != "400 body:/id:type" {
		t.Error(got)
	}
	if err := os.Symlink(filepath.Join(dir, "secret.yaml"), filepath.Join(dir, "api", "link.yaml")); err != nil {
		t.Skip(err)
	}
	if _, err := Load(name, []byte(small("3.1.0", `{"$ref":"link.yaml"}`, "")), LoadOptions{}); err == nil {
		t.Error("a symbolic link out of the folder is followed")
	}
}

// FuzzLoad holds that no document takes down who loads it, and that one that loads
// checks requests.
func FuzzLoad(f *testing.F) {
	text, err := os.ReadFile("testdata/orders.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(small("3.0.3", `{"type":"object"}`, "")))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("openapi: 3.1.0\npaths: { /a: { get: {} } }"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 20_000 {
			return
		}
		d, err := Load("openapi.yaml", text, LoadOptions{Unenforced: true})
		if err != nil {
			return
		}
		for _, op := range d.Operations {
			d.Check(sent{line: op.Method + " " + op.Template + "?a=1", body: "{}"}.request(), &testLimits)
		}
	})
}

// FuzzParameters holds that what is written in a style is read as it was meant: parse
// after print is the identity.
func FuzzParameters(f *testing.F) {
	f.Add("a b", "c,d|e%20f", "+&=;#", uint8(0))
	f.Add("", "é", "%", uint8(3))
	d := load(f, "testdata/orders.yaml")
	op := d.Operations[0]
	f.Fuzz(func(t *testing.T, one, two, three string, pick uint8) {
		name := []string{"status", "tags", "words"}[pick%3]
		separator := map[string]string{"status": "&status=", "tags": "|", "words": "%20"}[name]
		values := []string{one, two, three}
		raw := name + "="
		for i, v := range values {
			if i > 0 {
				raw += separator
			}
			for _, c := range []byte(v) {
				raw += fmt.Sprintf("%%%02X", c)
			}
			if name != "status" && strings.ContainsAny(v, "| +") {
				return // which those styles cannot write
			}
		}
		pairs, err := parsePairs(nil, raw)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		var w written
		for _, p := range op.parameters {
			if p.name != name {
				continue
			}
			if _, err := p.fromPairs(pairs, &w); err != nil || strings.Join(w.texts, "\x00") != strings.Join(values, "\x00") {
				t.Fatalf("%q: got %q, %v, want %q", raw, w.texts, err, values)
			}
		}
	})
}

const order = `{"customer":{"id":"6fa459ea-ee8a-3ca4-894e-db77e160355e"},"items":[{"sku":"ABC-1234","quantity":2,"price":19.99},{"sku":"XYZ-0001","quantity":1,"price":5}],"currency":"EUR","placed":"2026-11-30T10:00:00Z"}`

const orderDocument = `openapi: 3.1.0
paths:
  /orders/{id}:
    post:
      parameters:
        - { name: id, in: path, required: true, schema: { type: integer } }
        - { name: page, in: query, schema: { type: integer, minimum: 1 } }
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [customer, items, currency]
              properties:
                customer: { type: object, required: [id], properties: { id: { type: string, format: uuid } } }
                items: { type: array, minItems: 1, items: { type: object, required: [sku, quantity], properties: { sku: { type: string, pattern: "^[A-Z]{3}-[0-9]{4}$" }, quantity: { type: integer, minimum: 1 }, price: { type: number, minimum: 0 } } } }
                currency: { enum: [EUR, USD, CNY] }
                placed: { type: string, format: date-time }
      responses: { "200": { description: ok } }
`

// go test ./modules/internal/access/contract -run '^$' -bench . -benchmem
func BenchmarkCheck(b *testing.B) {
	d, err := Load("x.yaml", []byte(orderDocument), LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, r *Request, want string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := d.Check(r, &testLimits); (v.Problem == nil) != (want == "") {
					b.Fatal(outcome(v))
				}
			}
		})
	}
	run("order", sent{line: "POST /orders/7?page=2", body: order}.request(), "")
	run("refused", sent{line: "POST /orders/7?page=2", body: strings.Replace(order, "EUR", "XXX", 1)}.request(), "400")
	run("bomb", sent{line: "POST /orders/7", body: strings.Repeat("[", 100_000)}.request(), "400")
}
