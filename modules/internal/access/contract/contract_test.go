package contract

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

var testLimits = Limits{MaxBody: 1 << 20, JSON: strictjson.Limits{Depth: 32, Values: 100_000}}

func load(t testing.TB, name string) *Document {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Load(name, text, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sent is a request for tests: "POST /path?query", header fields "Name: value", and
// content.
type sent struct {
	line   string
	header []string
	body   string
}

func (s sent) request() *Request {
	method, target, _ := strings.Cut(s.line, " ")
	path, query, _ := strings.Cut(target, "?")
	h := http.Header{}
	for _, line := range s.header {
		name, value, _ := strings.Cut(line, ": ")
		h[name] = append(h[name], value)
	}
	if s.body != "" && h["Content-Type"] == nil {
		h.Set("Content-Type", "application/json")
	}
	return &Request{
		Method: method, Path: path, RawQuery: query, Header: h, Body: content(s.body),
	}
}

type content []byte

func (c content) HasContent() bool { return len(c) > 0 }

func (c content) Content(max int64) ([]byte, error) {
	if int64(len(c)) > max {
		return nil, ErrTooLarge
	}
	return c, nil
}

// outcome is a verdict in short: the operation, or status, code and faults.
func outcome(v Verdict) string {
	if v.Problem == nil {
		if v.Operation == nil {
			return "passes"
		}
		return v.Operation.ID
	}
	text := fmt.Sprint(v.Problem.Status)
	if v.Problem.Code != CodeInvalid {
		text += " " + v.Problem.Code
	}
	for _, f := range v.Problem.Faults {
		text += " " + f.In + ":" + f.Name + f.Pointer + ":" + f.Keyword
	}
	return text
}

const item = `{"sku":"ABC-1234","quantity":1}`

var cases = []struct {
	sent
	want string
}{
	{sent{line: "GET /v1/orders"}, "listOrders"},
	{sent{line: "HEAD /v1/orders"}, "listOrders"},
	{sent{line: "GET /orders"}, "404 undocumented_path"},
	{sent{line: "GET /v1/orders/"}, "404 undocumented_path"},
	{sent{line: "GET /v1/Orders"}, "404 undocumented_path"},
	{sent{line: "PUT /v1/orders"}, "405 undocumented_method"},
	{sent{line: "get /v1/orders"}, "405 undocumented_method"},
	{sent{line: "OPTIONS /v1/orders"}, "405 undocumented_method"},

	// Parameters of the query.
	{sent{line: "GET /v1/orders?page=2&status=open&status=closed"}, "listOrders"},
	{sent{line: "GET /v1/orders?page=0"}, "400 query:page:minimum"},
	{sent{line: "GET /v1/orders?page=x"}, "400 query:page:type"},
	{sent{line: "GET /v1/orders?page=01"}, "400 query:page:type"},
	{sent{line: "GET /v1/orders?page=+1"}, "400 query:page:type"},
	{sent{line: "GET /v1/orders?page=1.0"}, "listOrders"},
	{sent{line: "GET /v1/orders?page=1e400"}, "400 query:page:number"},
	{sent{line: "GET /v1/orders?page="}, "400 query:page:type"},
	{sent{line: "GET /v1/orders?page=1&page=2"}, "400 query:page:repeated"},
	{sent{line: "GET /v1/orders?PAGE=1"}, "400 query:PAGE:unknown_parameter"},
	{sent{line: "GET /v1/orders?page[]=1"}, "400 query:page[]:unknown_parameter"},
	{sent{line: "GET /v1/orders?admin=true"}, "400 query:admin:unknown_parameter"},
	{sent{line: "GET /v1/orders?_method=DELETE"}, "400 query:_method:unknown_parameter"},
	{sent{line: "GET /v1/orders?page=1;admin=1"}, "400 query::syntax"},
	{sent{line: "GET /v1/orders?page=%zz"}, "400 query::syntax"},
	{sent{line: "GET /v1/orders?status=%ff"}, "400 query:status:encoding"},
	{sent{line: "GET /v1/orders?status=new"}, "400 query:status/0:enum"},
	{sent{line: "GET /v1/orders?ids=1,2,3"}, "listOrders"},
	{sent{line: "GET /v1/orders?ids=1,2,3,4"}, "400 query:ids:maxItems"},
	{sent{line: "GET /v1/orders?ids=1&ids=2"}, "400 query:ids:repeated"},
	{sent{line: "GET /v1/orders?ids=1%2C2"}, "400 query:ids/0:type"},
	{sent{line: "GET /v1/orders?tags=a|b%7Cc"}, "listOrders"},
	{sent{line: "GET /v1/orders?words=a%20b+c"}, "listOrders"},
	{sent{line: "GET /v1/orders?filter[min]=1.5&filter[names]=a&filter[names]=b"}, "listOrders"},
	{sent{line: "GET /v1/orders?filter[min]=x"}, "400 query:filter/min:type"},
	{sent{line: "GET /v1/orders?filter[min]=1&filter[min]=2"}, "400 query:filter:duplicate_member"},
	{sent{line: "GET /v1/orders?filter[admin]=1"}, "400 query:filter/admin:unknown_member"},
	{sent{line: "GET /v1/orders?filter[a][b]=1"}, "400 query:filter[a][b]:unknown_parameter"},
	{sent{line: "GET /v1/orders?filter[__proto__]=1"}, "400 query:filter/__proto__:unknown_member"},
	{sent{line: "GET /v1/orders?limit=all"}, "listOrders"},
	{sent{line: "GET /v1/orders?limit=50"}, "listOrders"},
	{sent{line: "GET /v1/orders?limit=500"}, "400 query:limit:enum"},
	{sent{line: `GET /v1/orders?where={"a":1}`}, "listOrders"},
	{sent{line: `GET /v1/orders?where={"a":1,"A":2}`}, "400 query:where:member_case"},
	{sent{line: `GET /v1/orders?where={"b":1}`}, "400 query:where/b:unknown_member"},
	{sent{line: `GET /v1/orders?where={"a":1`}, "400 query:where:syntax"},

	// Header fields and cookies.
	{sent{line: "GET /v1/orders", header: []string{"X-Request-Id: 6fa459ea-ee8a-3ca4-894e-db77e160355e", "X-Other: 1"}}, "listOrders"},
	{sent{line: "GET /v1/orders", header: []string{"X-Request-Id: 1"}}, "400 header:X-Request-Id:format"},
	{sent{line: "GET /v1/orders", header: []string{"X-Request-Id: 1", "X-Request-Id: 1"}}, "400 header:X-Request-Id:repeated"},
	{sent{line: "GET /v1/orders", header: []string{"X-HTTP-Method-Override: DELETE"}}, "400 header:X-Http-Method-Override:override"},
	{sent{line: "GET /v1/orders", header: []string{"X_http_method_override: DELETE"}}, "400 header:X-Http-Method-Override:override"},
	{sent{line: "GET /v1/orders", header: []string{"X-Original-Url: /admin"}}, "400 header:X-Original-Url:override"},
	{sent{line: "GET /v1/orders", header: []string{"Cookie: other=1; session=0123abcd"}}, "listOrders"},
	{sent{line: "GET /v1/orders", header: []string{"Cookie: session=x"}}, "400 cookie:session:pattern"},
	{sent{line: "GET /v1/orders", header: []string{"Cookie: session=0123abcd; session=0123abce"}}, "400 cookie:session:repeated"},

	// Paths.
	{sent{line: "GET /v1/orders/7"}, "getOrder"},
	{sent{line: "GET /v1/orders/0"}, "400 path:id:minimum"},
	{sent{line: "GET /v1/orders/me"}, "400 path:id:type"},
	{sent{line: "GET /v1/orders/export"}, "export"},
	{sent{line: "PUT /v1/orders/7/files/bill.pdf", header: []string{"Content-Type: application/pdf"}, body: "%PDF"}, "putFile"},
	{sent{line: "PUT /v1/orders/7/files/.pdf"}, "404 undocumented_path"},
	{sent{line: "PUT /v1/orders/7/files/B1.pdf"}, "400 path:name:pattern"},

	// Content.
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `]}`}, "createOrder"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `],"note":null,"secret":"x","extra":{"any":1}}`}, "createOrder"},
	{sent{line: "POST /v1/orders"}, "400 body::required"},
	{sent{line: "POST /v1/orders", body: `{"items":[]}`}, "400 body:/items:minItems"},
	{sent{line: "POST /v1/orders", body: `{}`}, "400 body::required"},
	{sent{line: "POST /v1/orders", body: `[]`}, "400 body::type"},
	{sent{line: "POST /v1/orders", body: `{"id":1,"items":[` + item + `]}`}, "400 body:/id:readOnly"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `],"role":"admin"}`}, "400 body:/role:unknown_member"},
	{sent{line: "POST /v1/orders", body: `{"items":[{"sku":"ABC-1234","quantity":1,"discount":99}]}`}, "400 body:/items/0/discount:unknown_member"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `],"Items":[]}`}, "400 body::member_case"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `],"items":[]}`}, "400 body::duplicate_member"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `],"ıtems":[]}`}, "400 body::member_case"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `],"item\u017f":[]}`}, "400 body::member_case"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `],"extra":{"a":1,"\u0061":2}}`}, "400 body:/extra:duplicate_member"},
	{sent{line: "POST /v1/orders", body: `{"items":[{"sku":"abc","quantity":0.5,"price":0.001}]}`}, "400 body:/items/0/sku:pattern body:/items/0/quantity:type body:/items/0/price:multipleOf"},
	{sent{line: "POST /v1/orders", body: `{"items":[{"sku":"ABC-1234","quantity":1.0,"price":19.99}]}`}, "createOrder"},
	{sent{line: "POST /v1/orders", body: `{"items":[{"sku":"ABC-1234","quantity":1e400}]}`}, "400 body:/items/0:number"},
	{sent{line: "POST /v1/orders", body: `{"items":[{"sku":"ABC-1234","quantity":-0}]}`}, "400 body:/items/0/quantity:minimum"},
	{sent{line: "POST /v1/orders", body: `{"items":[` + item + `]} x`}, "400 body::syntax"},
	{sent{line: "POST /v1/orders", body: strings.Repeat("[", 100_000)}, "400 body:" + strings.Repeat("/0", 32) + ":limit"},
	{sent{line: "POST /v1/orders", body: "{\"items\":[\"\xff\"]}"}, "400 body:/items:encoding"},
	{sent{line: "GET /v1/orders/7", body: `{}`}, "400 body::unknown_content"},

	// Media types.
	{sent{line: "POST /v1/orders", header: []string{"Content-Type: text/plain"}, body: "{}"}, "415 unsupported_media_type"},
	{sent{line: "POST /v1/orders", header: []string{"Content-Type: Application/JSON; Charset=UTF-8"}, body: `{"items":[` + item + `]}`}, "createOrder"},
	{sent{line: "POST /v1/orders", header: []string{"Content-Type: application/json; charset=utf-16"}, body: "{}"}, "415 unsupported_media_type"},
	{sent{line: "POST /v1/orders", header: []string{"Content-Type: application/json, text/plain"}, body: "{}"}, "415 unsupported_media_type"},
	{sent{line: "POST /v1/orders", header: []string{"Content-Type: application/json", "Content-Type: text/plain"}, body: "{}"}, "415 unsupported_media_type"},
	{sent{line: "POST /v1/orders", header: []string{"Content-Type: application/vnd.x+json"}, body: "{}"}, "415 unsupported_media_type"},
	{sent{line: "POST /v1/orders", header: []string{"Content-Type: "}, body: "{}"}, "415 unsupported_media_type"},
	{sent{line: "POST /v1/orders", header: []string{"Content-Encoding: gzip"}, body: "{}"}, "415 unsupported_media_type"},

	// The discriminator chooses.
	{sent{line: "POST /v1/pets", body: `{"kind":"cat","lives":7}`}, "addPet"},
	{sent{line: "POST /v1/pets", body: `{"kind":"Dog","barks":true}`}, "addPet"},
	{sent{line: "POST /v1/pets", body: `{"kind":"cat","barks":true}`}, "400 body:/barks:unknown_member"},
	{sent{line: "POST /v1/pets", body: `{"kind":"cat","lives":10}`}, "400 body:/lives:maximum"},
	{sent{line: "POST /v1/pets", body: `{"kind":"Cat"}`}, "400 body:/kind:discriminator"},
	{sent{line: "POST /v1/pets", body: `{"lives":1}`}, "400 body::required"},

	// Forms.
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: "name=a&age=3&tags=x&tags=y"}, "sendForm"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: "name=abcdef&age=x"}, "400 body:/age:type body:/name:maxLength"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: "name=a&name=b"}, "400 body:/name:repeated"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: application/x-www-form-urlencoded"}, body: "name=a&_method=DELETE"}, "400 body:/_method:unknown_member"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: multipart/form-data; boundary=b"}, body: parts("name", "", "a", "meta", "", `{"a":1}`, "file", "image/png", "\x89PNG")}, "sendForm"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: multipart/form-data; boundary=b"}, body: parts("name", "", "a", "meta", "", `{"a":1},"x":{}`)}, "400 body:/meta:syntax"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: multipart/form-data; boundary=b"}, body: parts("name", "", "a", "file", "text/html", `<script>`)}, "400 body:/file:contentType"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: multipart/form-data; boundary=b"}, body: parts("name", "", "a", "name", "", "b")}, "400 body:/name:repeated"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: multipart/form-data; boundary=b"}, body: parts("name", "", "a", "role", "", "admin")}, "400 body:/role:unknown_member"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: multipart/form-data"}, body: parts("name", "", "a")}, "400 body::syntax"},
	{sent{line: "POST /v1/forms", header: []string{"Content-Type: multipart/form-data; boundary=b"}, body: "preamble" + parts("name", "", "a")}, "400 body::syntax"},
}

// parts is a multipart form of names, media types and texts by turns.
func parts(list ...string) string {
	var b strings.Builder
	for i := 0; i < len(list); i += 3 {
		fmt.Fprintf(&b, "--b\r\nContent-Disposition: form-data; name=%q\r\n", list[i])
		if list[i+1] != "" {
			fmt.Fprintf(&b, "Content-Type: %s\r\n", list[i+1])
		}
		fmt.Fprintf(&b, "\r\n%s\r\n", list[i+2])
	}
	return b.String() + "--b--\r\n"
}

func TestRequestsAreWhatTheDocumentSays(t *testing.T) {
	d := load(t, "testdata/orders.yaml")
	for _, c := range cases {
		if got := outcome(d.Check(c.request(), &testLimits)); got != c.want {
			body := c.body
			if len(body) > 200 {
				body = body[:200]
			}
			t.Errorf("%s %v %s:\ngot  %s\nwant %s", c.line, c.header, body, got, c.want)
		}
	}
}

func TestNoFaultHoldsAValue(t *testing.T) {
	d := load(t, "testdata/orders.yaml")
	const secret = "s3cr3t"
	for _, s := range []sent{
		{line: "GET /v1/orders?page=" + secret + "&status=" + secret + "&ids=" + secret},
		{line: "GET /v1/orders/" + secret},
		{line: "GET /v1/orders", header: []string{"X-Request-Id: " + secret, "Cookie: session=" + secret}},
		{line: "POST /v1/orders", body: `{"items":[{"sku":"` + secret + `","quantity":"` + secret + `"}],"note":"` + secret + secret + `","role":"` + secret + `"}`},
		{line: "POST /v1/pets", body: `{"kind":"` + secret + `"}`},
	} {
		v := d.Check(s.request(), &testLimits)
		if v.Problem == nil || strings.Contains(string(v.Problem.Document()), secret) {
			t.Errorf("%+v: %s", s, v.Problem.Document())
		}
	}
}
