package rbac

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

const ownOrders = `rbac {
	role clerk {
		allow * /orders/{order_id} when ` + "`owner(\"/sub\", order_id)`" + `
		allow GET /days/{date} when ` + "`date != \"never\"`" + `
		allow * /free/{order_id}
		allow GET /blank/{_} when ` + "`_ != \"9\"`" + `
	}
	role manager {
		allow * /orders/*
		deny DELETE /orders/{order_id} when ` + "`order_id == \"1\"`" + `
	}
}`

func clerk(role string) *principal.Principal {
	return &principal.Principal{
		ID: "7", Issuer: "https://id.test", Kind: principal.KindJWT, Roles: []string{role},
		Claims: principal.NewClaims([]byte(`{"sub":"7"}`)),
	}
}

// utf16 is a text in UTF-16, the larger byte first.
func utf16(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteByte(0)
		b.WriteByte(text[i])
	}
	return b.String()
}

// TestObjectsThatAreNamedTwice holds that a condition about the object in the path
// is not evaded by naming another one where the upstream may look.
func TestObjectsThatAreNamedTwice(t *testing.T) {
	h := provision(t, ownOrders)
	for _, c := range []struct {
		role, target, kind, body string
		fields                   []string
		want                     int
	}{
		{target: "/orders/7", want: 200},
		{target: "/orders/7?order_id=7", want: 200},
		{target: "/orders/7?id=8&order=desc", want: 200},
		{target: "/orders/8", want: 403},
		{target: "/orders/7?order_id=8", want: 400},
		{target: "/orders/7?order_id=7&order_id=8", want: 400},
		{target: "/orders/7?ORDER_ID=8", want: 400},
		{target: "/orders/7?orderId=8", want: 400},
		{target: "/orders/7?order_id[]=8", want: 400},
		{target: "/orders/7?order%5Fid=8", want: 400},
		{target: "/orders/7?order.id=8", want: 400},
		{target: "/orders/7?%20order_id=8", want: 400},
		{target: "/orders/7?a=b;order_id=8", want: 400},
		{target: "/orders/7?order_id=7;8", want: 400},
		{target: "/orders/7?order_id=%38&%zz", want: 400},
		{target: "/orders/7?order_id", want: 400},
		{target: "/orders/7?" + strings.Repeat("a&", 1000), want: 400},
		{target: "/orders/7", fields: []string{"Order-Id", "8"}, want: 400},
		{target: "/orders/7", fields: []string{"X-Order-Id", "8"}, want: 400},
		{target: "/orders/7", fields: []string{"X-Orderid", "8"}, want: 400},
		{target: "/orders/7", fields: []string{"X-Order-Id", "7", "Xorder-Id", "9", "Order", "9"}, want: 200},
		{target: "/days/1?date=2", want: 400},
		{target: "/days/1", fields: []string{"Date", "Mon, 30 Nov 2026 00:00:00 GMT", "Host", "a"}, want: 200},
		{target: "/free/7?order_id=8", want: 200},
		{target: "/blank/7", fields: []string{"X", "8"}, want: 200},
		{role: "manager", target: "/orders/7?order_id=8", want: 200},

		{target: "/orders/7", kind: "application/json", body: `{"order_id":"7","x":{"order_id":8}}`, want: 200},
		{target: "/orders/7", kind: "application/json", body: `{"order_id":7}`, want: 200},
		{target: "/orders/7", kind: "application/json", body: `{"order_id":null,"order":{"id":8}}`, want: 200},
		{target: "/orders/7", kind: "application/json", body: `[{"order_id":8}]`, want: 200},
		{target: "/orders/7", kind: "image/png", body: `{"order_id":8}`, want: 200},
		{target: "/orders/7", kind: "application/json", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", kind: "application/json", body: `{"order_id":7.0}`, want: 400},
		{target: "/orders/7", kind: "application/json", body: `{"orderId":"8"}`, want: 400},
		{target: "/orders/7", kind: "application/json", body: "{\"order\\u005fid\":\"8\"}", want: 400},
		{target: "/orders/7", kind: "application/json", body: `{"order_id":["7","8"]}`, want: 400},
		{target: "/orders/7", kind: "application/json", body: `{"order_id":"7","order_id":"8"}`, want: 400},
		{target: "/orders/7", kind: "application/json", body: `{"order_id":"7"`, want: 400},
		{target: "/orders/7", kind: "application/json", body: "\xef\xbb\xbf {\"order_id\":8}", want: 400},
		{target: "/orders/7", kind: "application/vnd.api+json", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", kind: "application/json; charset=utf-16", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", kind: "text/plain", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", kind: ";", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", kind: "application/json", fields: []string{"Content-Encoding", "gzip"}, body: "x", want: 400},
		{target: "/orders/7", kind: "application/json", body: `{"a":"` + strings.Repeat("a", minObjects) + `"}`, want: 400},
		{target: "/orders/7", kind: "application/x-www-form-urlencoded", body: "a=b&order_id=7", want: 200},
		{target: "/orders/7", kind: "application/x-www-form-urlencoded", body: "a=b&order_id=8", want: 400},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=order_id\r\n\r\n7\r\n--x--\r\n", want: 200},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=order_id\r\n\r\n8\r\n--x--\r\n", want: 400},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disp", want: 400},
		{target: "/orders/7", kind: "multipart/form-data", body: "--x", want: 400},

		// A type of content with more than one reading, or none.
		{target: "/orders/7", kind: "image/png; a=b, application/json", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", kind: "image/png; a", body: `{"order_id":8}`, want: 400},
		{target: "/orders/7", kind: "application/json; a=b, application/x-www-form-urlencoded", body: "order_id=8", want: 400},
		{target: "/orders/7", kind: "application/x-www-form-urlencoded, a", body: "order_id=8", want: 400},
		{target: "/orders/7", kind: "application/x-www-form-urlencoded; a; a", body: "order_id=8", want: 400},
		{target: "/orders/7", body: "order_id=8", want: 400}, // a form for Rack
		{target: "/orders/7", body: "order_id=7", want: 200},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x; boundary=y", body: "--x\r\nContent-Disposition: form-data; name=order_id\r\n\r\n8\r\n--x--\r\n", want: 400},
		{target: "/orders/7", kind: "multipart/mixed; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=order_id\r\n\r\n8\r\n--x--\r\n", want: 400},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=a; name=order_id\r\n\r\n8\r\n--x--\r\n", want: 400},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: attachment; name=order_id\r\n\r\n8\r\n--x--\r\n", want: 400},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=order_id; name*=utf-8''a\r\n\r\n8\r\n--x--\r\n", want: 400},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=f; filename*=utf-8''order_id\r\n\r\n8\r\n--x--\r\n", want: 200},
		{target: "/orders/7", kind: "multipart/form-data; boundary=x", body: "--x\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=order_id\r\n\r\n8\r\n--x--\r\n", want: 400},

		// JSON for readers that find out the encoding, or skip comments.
		{target: "/orders/7", kind: "application/json", body: utf16("{\"order_id\":8}"), want: 400},
		{target: "/orders/7", kind: "application/json", body: "\xfe\xff" + utf16("{\"order_id\":8}"), want: 400},
		{target: "/orders/7", kind: "application/json", body: "/**/{\"order_id\":8}", want: 400},
		{target: "/orders/7", kind: "application/json", body: "\f{\"order_id\":8}", want: 400},
		{target: "/orders/7", kind: "application/json", body: " [1]", want: 200},
		{target: "/orders/7", kind: "application/x-ndjson", body: "{\"order_id\":8}\n{}", want: 200},
		{role: "manager", target: "/orders/7", kind: "application/json", body: `{"order_id":8}`, want: 200},
		{target: "/free/7", kind: "application/json", body: `{"order_id":8}`, want: 200},
	} {
		role := c.role
		if role == "" {
			role = "clerk"
		}
		method := http.MethodGet
		if c.body != "" {
			method = http.MethodPut
		}
		r := request(method, c.target, clerk(role))
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		for i := 0; i+1 < len(c.fields); i += 2 {
			r.Header.Set(c.fields[i], c.fields[i+1])
		}
		got, body, err := post(t, h, r, int64(len(c.body)), strings.NewReader(c.body))
		if got != c.want || err != nil || got == 200 && body != c.body {
			t.Errorf("%s %s %q %.100q: got %d %v, want %d", role, c.target, c.kind, c.body, got, err, c.want)
		}
	}
	// A rule that denies by a variable counts for whoever is allowed by another.
	r := request(http.MethodDelete, "/orders/2?order_id=1", clerk("manager"))
	if got, _, _ := post(t, h, r, 0, strings.NewReader("")); got != 400 {
		t.Errorf("a deny was evaded: %d", got)
	}
	h = provision(t, strings.Replace(ownOrders, "rbac {", "rbac {\nrepeated_variables", 1))
	r = request(http.MethodGet, "/orders/7?order_id=8", clerk("clerk"))
	if got, _, _ := post(t, h, r, 0, strings.NewReader("")); got != 200 {
		t.Errorf("repeated_variables: %d", got)
	}
}
