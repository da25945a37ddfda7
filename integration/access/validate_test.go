package access

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// ordersDocument is an OpenAPI document for tests.
const ordersDocument = `openapi: 3.1.0
info: { title: Orders, version: "1" }
paths:
  /orders:
    get:
      operationId: list
      parameters:
        - { name: page, in: query, schema: { type: integer, minimum: 1 } }
        - { name: filter, in: query, style: deepObject, schema: { type: object, properties: { min: { type: number } } } }
      responses: { "200": { description: ok } }
    post:
      operationId: create
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [amount]
              properties:
                amount: { type: integer, minimum: 1, maximum: 1000 }
                note: { type: string, maxLength: 20 }
      responses: { "201": { description: ok } }
  /orders/{id}:
    get:
      operationId: read
      parameters: [{ name: id, in: path, required: true, schema: { type: integer } }]
      responses: { "200": { description: ok } }
`

// validated is a site with the document, in front of an upstream that says what it got.
func validated(t *testing.T, options string) *harness.Server {
	t.Helper()
	back := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %s %s %q %v", r.Method, r.URL, body, err)
	})
	s := harness.Prepare(t, `http://:{$PORT} {
	audit trail {
		sync always
	}
	rbac {
		anyone {
			allow * /*
		}
	}
	validate openapi.yaml`+options+`
	reverse_proxy `+back+`
}`)
	s.WriteFile("openapi.yaml", ordersDocument)
	s.Run()
	s.Wait()
	return s
}

// TestHostileRequestsAreNotServed sends what gets past servers that read a request in
// another way than the one that checks it.
func TestHostileRequestsAreNotServed(t *testing.T) {
	s := validated(t, "")
	asJSON := "Content-Type: application/json"
	for _, c := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"GET", "/orders?page=1", "", nil, 200},
		{"HEAD", "/orders?page=1", "", nil, 200},
		{"POST", "/orders", `{ "amount" : 1e2 }`, []string{asJSON}, 200},

		// Names and numbers of two readings.
		{"POST", "/orders", `{"amount":5,"amount":5000}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":5,"\u0061mount":5000}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":5,"Amount":5000}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":5,"ａmount":5000}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":5,"аmount":5000}`, []string{asJSON}, 400}, // Cyrillic
		{"POST", "/orders", `{"amount":1e400}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":-0}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":1.0}`, []string{asJSON}, 200},
		{"POST", "/orders", `{"amount":1000.0000000000000000001}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":0x10}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":NaN}`, []string{asJSON}, 400},
		{"POST", "/orders", "\xef\xbb\xbf" + `{"amount":5}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":5}{"amount":5000}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":5,"note":"\ud800"}`, []string{asJSON}, 400},

		// Mass assignment.
		{"POST", "/orders", `{"amount":5,"role":"admin"}`, []string{asJSON}, 400},
		{"POST", "/orders", `{"amount":5,"__proto__":{"admin":true}}`, []string{asJSON}, 400},

		// Media types.
		{"POST", "/orders", `{"amount":5}`, nil, 415},
		{"POST", "/orders", `{"amount":5}`, []string{"Content-Type: text/json"}, 415},
		{"POST", "/orders", `{"amount":5}`, []string{"Content-Type: application/json+x"}, 415},
		{"POST", "/orders", `{"amount":5}`, []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"POST", "/orders", `{"amount":5}`, []string{"Content-Type: APPLICATION/JSON"}, 200},
		{"POST", "/orders", `{"amount":5}`, []string{"Content-Type: application/json; charset=utf-7"}, 415},
		{"POST", "/orders", `{"amount":5}`, []string{asJSON, "Content-Type: application/xml"}, 415},
		{"POST", "/orders", `{"amount":5}`, []string{asJSON, "Content-Encoding: gzip"}, 415},

		// Parameters.
		{"GET", "/orders?page=1&page=2", "", nil, 400},
		{"GET", "/orders?page=1&Page=2", "", nil, 400},
		{"GET", "/orders?page[]=2", "", nil, 400},
		{"GET", "/orders?page=1%00", "", nil, 400},
		{"GET", "/orders?page=1%20", "", nil, 400},
		{"GET", "/orders?filter[min]=1&filter[min]=2", "", nil, 400},
		{"GET", "/orders?filter[a][b][c]=1", "", nil, 400},
		{"GET", "/orders?" + strings.Repeat("a&", 2000), "", nil, 400},

		// Methods and paths.
		{"DELETE", "/orders", "", nil, 405},
		{"POST", "/orders", `{"amount":5}`, []string{asJSON, "X-HTTP-Method-Override: DELETE"}, 400},
		{"GET", "/orders?_method=DELETE", "", nil, 400},
		{"GET", "/orders", "", []string{"X-Original-URL: /admin"}, 400},
		{"GET", "/orders/", "", nil, 404},
		{"GET", "/ORDERS", "", nil, 404},
		{"GET", "/orders//1", "", nil, 400},
		{"GET", "/orders/1%2f..", "", nil, 400},
		{"GET", "/orders/1;admin", "", nil, 400},
		{"GET", "/orders/me", "", nil, 400},

		// Content where there is none.
		{"GET", "/orders", `{"amount":5}`, []string{asJSON}, 400},
		{"POST", "/orders", "", []string{asJSON}, 400},
		{"POST", "/orders", strings.Repeat("[", 100_000), []string{asJSON}, 400},
	} {
		got := s.Do("PORT", c.method, c.path, c.body, c.header...)
		if got.StatusCode != c.want {
			t.Errorf("%s %.80s %.80s %v: got %d, want %d: %s", c.method, c.path, c.body, c.header, got.StatusCode, c.want, got.Body)
		}
		if c.want == 405 && got.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("Allow: %s", got.Header.Get("Allow"))
		}
	}
	// With chunks, and twice.
	chunked := "POST /orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	harness.Raw(t, s.Addr("PORT"), chunked+"5\r\n{\"amo\r\n9\r\nunt\":5000\r\n1\r\n}\r\n0\r\n\r\n").Want(t, 400, `"pointer":"/amount"`)
	harness.Raw(t, s.Addr("PORT"), chunked+"5\r\n{\"amo\r\n8\r\nunt\":50}\r\n0\r\n\r\n").Want(t, 200, `{\"amount\":50}`)
	harness.Raw(t, s.Addr("PORT"), chunked+"0\r\n\r\n").Want(t, 400, `"keyword":"required"`)
	too := s.Do("PORT", "POST", "/orders", `{"amount":5,"note":"`+strings.Repeat("x", 2<<20)+`"}`, asJSON)
	if too.StatusCode != 413 || too.Code() != "request_too_large" {
		t.Errorf("too large: %d %s", too.StatusCode, too.Body)
	}
}

func TestBodyThatWasValidatedIsTheBodyServed(t *testing.T) {
	s := validated(t, "")
	body := "{ \"amount\" : 1e2,\r\n \"note\":\"\\u00e9\" }"
	s.Do("PORT", "POST", "/orders", body, "Content-Type: application/json").Want(t, 200, fmt.Sprintf("got POST /orders %q", body))
	found := s.RecordOf("trail", "/orders")
	for _, d := range found.Decisions {
		if d.Layer == "validate" && (d.Rule != "create" || d.Result != "allow") {
			t.Errorf("recorded as %+v", d)
		}
	}
}

func TestOpenWorldStillChecksWhatIsNamed(t *testing.T) {
	s := validated(t, " {\n\topen\n}")
	for path, want := range map[string]int{
		"/other": 200, "/orders?debug=1": 200, "/orders?page=0": 400, "/orders?PAGE=0": 400, "/orders?page[]=0": 400, "/orders/1": 200, "/orders/x": 400,
	} {
		if got := s.Get("PORT", path); got.StatusCode != want {
			t.Errorf("%s: got %d, want %d: %s", path, got.StatusCode, want, got.Body)
		}
	}
	s.Do("PORT", "POST", "/orders", `{"amount":1,"more":true}`, "Content-Type: application/json").Want(t, 200)
	s.Do("PORT", "POST", "/orders", `{"amount":1,"NOTE":1}`, "Content-Type: application/json").Want(t, 400, "member_case")
}

func TestDryRunRejectsNothing(t *testing.T) {
	s := validated(t, " {\n\tdry_run\n}")
	s.Get("PORT", "/orders?page=0").Want(t, 200)
	s.Get("PORT", "/other").Want(t, 200)
	found := s.RecordOf("trail", "/other")
	if len(found.Decisions) == 0 || found.Decisions[len(found.Decisions)-1].Rule != "dry_run: undocumented_path at undocumented" {
		t.Errorf("recorded as %+v", found)
	}
}

func TestChangedDocumentTakesEffectAndBadOneDoesNot(t *testing.T) {
	s := validated(t, "")
	s.Get("PORT", "/invoices").Want(t, 404)
	s.WriteFile("openapi.yaml", strings.Replace(ordersDocument, "  /orders/{id}:", "  /invoices:\n    get: { operationId: invoices, responses: { default: { description: ok } } }\n  /orders/{id}:", 1))
	harness.Eventually(t, func() error {
		if got := s.Get("PORT", "/invoices"); got.StatusCode != 200 {
			return fmt.Errorf("%d", got.StatusCode)
		}
		return nil
	})
	s.WriteFile("openapi.yaml", strings.Replace(ordersDocument, "type: integer", "type: integr", 1))
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), "cannot be used; what was read last stays in force") {
			return fmt.Errorf("not noticed")
		}
		return nil
	})
	s.Get("PORT", "/invoices").Want(t, 200)
	if err := s.Reload("http://:{$PORT} {\n\tvalidate openapi.yaml\n\trespond ok\n}"); err == nil || !strings.Contains(err.Error(), "openapi.yaml:") {
		t.Errorf("a reload with the bad document: %v", err)
	}
	s.Get("PORT", "/invoices").Want(t, 200)
}

func TestWhatCannotBeEnforcedIsAnErrorWithItsLine(t *testing.T) {
	for _, c := range []struct{ change, to, line, says string }{
		{"minimum: 1 } }", `pattern: "(?=x)" } }`, "openapi.yaml:8", "lookahead"},
		{"type: number", "type: number, format: money", "openapi.yaml:9", "format money"},
		{"maxLength: 20", "maxLenght: 20", "openapi.yaml:22", "did you mean 'maxLength'"},
		{"maxLength: 20", "nullable: true", "openapi.yaml:22", "nullable"},
		{"/orders/{id}:", "/orders/{id}/{x}-{y}:", "openapi.yaml:25", "is not described"},
		{"openapi: 3.1.0", "openapi: 4.0.0", "openapi.yaml:1", "3.1.x"},
		{"maxLength: 20", "$ref: https://example.com/x.json", "openapi.yaml:22", "only files in the folder"},
		{"maxLength: 20", "$ref: ../../etc/passwd", "openapi.yaml:22", "out of the folder"},
	} {
		s := harness.Prepare(t, "http://:{$PORT} {\n\tvalidate openapi.yaml\n\trespond ok\n}")
		s.WriteFile("openapi.yaml", strings.Replace(ordersDocument, c.change, c.to, 1))
		out, err := s.Caddy("validate", "--config", s.Path("Caddyfile"))
		if err == nil || !strings.Contains(out, c.line) || !strings.Contains(out, c.says) || !strings.Contains(out, "Caddyfile:2") {
			t.Errorf("%s: %v: %s", c.to, err, out)
		}
	}
}
