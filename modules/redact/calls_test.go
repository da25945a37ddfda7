package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestJSONInTextBlocksIsRedacted(t *testing.T) {
	h := provision(t, "remove $..password\nmask mobile phone\nnull $.structuredContent.note $.note")
	v, err := h.responses.of(nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = v.ofCalls(); err != nil {
		t.Fatal(err)
	}
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for in, want := range map[string]string{
		`{"result":{"content":[{"type":"text","text":` + quote(`{"phone":"13800138000","password":"x","a":1.0,"note":"n"}`) + `}]}}`: `{"result":{"content":[{"type":"text","text":` + quote(`{"phone":"138****8000","a":1.0,"note":null}`) + `}]}}`,
		`{"result":{"contents":[{"uri":"x","text":` + quote(` [{"password":"x"},{"b":"订单"}] `) + `}]}}`:                              `{"result":{"contents":[{"uri":"x","text":` + quote(` [{},{"b":"订单"}] `) + `}]}}`,
		`{"result":{"messages":[{"role":"user","content":{"type":"text","text":` + quote(`{"password":"x"}`) + `}}]}}`:               `{"result":{"messages":[{"role":"user","content":{"type":"text","text":` + quote(`{}`) + `}}]}}`,
		// A schema has no values.
		`{"result":{"tools":[{"name":"a","password":1,"outputSchema":{"properties":{"phone":{"type":"string"},"password":{"type":"string"}}}}],"phone":"13800138000"}}`: `{"result":{"tools":[{"name":"a","outputSchema":{"properties":{"phone":{"type":"string"},"password":{"type":"string"}}}}],"phone":"138****8000"}}`,
		// A text for people stays as it is written, and so does JSON without such names.
		`{"result":{"content":[{"text":"the password: \u0061 {"},{"text":"{\"a\" : \u0031}"}]}}`: `{"result":{"content":[{"text":"the password: \u0061 {"},{"text":"{\"a\" : \u0031}"}]}}`,
		// JSON that something follows, or that is broken behind what a rule names.
		`{"result":{"content":[{"text":` + quote(`{"password":"x"}`+"\nDone.") + `},{"text":` + quote(`{"phone":"13800138000",}`) + `}]}}`: `{"result":{"content":[{"text":"****"},{"text":"****"}]}}`,
		`{"result":{"content":[{"text":"{user} has no password"},{"text":"[1] see phone"}]}}`:                                              `{"result":{"content":[{"text":"{user} has no password"},{"text":"[1] see phone"}]}}`,
		// What is too long to be looked into is hidden.
		`{"result":{"content":[{"text":"{\"a\":\"` + strings.Repeat("x", maxTextBlock) + `\"}"}]}}`: `{"result":{"content":[{"text":"****"}]}}`,
	} {
		var out strings.Builder
		w := v.program.NewRewriter(&out)
		if _, err := w.Write([]byte(in)); err != nil || w.Close() != nil || out.String() != want {
			t.Errorf("%.200s\ngot  %.200s, %v\nwant %.200s", in, out.String(), err, want)
		}
	}
}
