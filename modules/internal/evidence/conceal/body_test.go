package conceal

import (
	"encoding/json"
	"strings"
	"testing"
)

func bodyOf(t *testing.T) *Body {
	t.Helper()
	s := NewBody(NewText(nil, nil), []byte("k"))
	for _, r := range []struct {
		f Treatment
		s string
	}{{Hash, "$..customer_id"}, {Mask, "phone"}, {Mask, "$.a[0].b"}, {Remove, "salary"}, {Remove, "$.list[*].gone"}, {Remove, "$.drop[1]"}} {
		if err := s.Add(r.f, r.s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestRecordedBodiesAreCleaned(t *testing.T) {
	s := bodyOf(t)
	h1 := s.Pseudonym([]byte("17"))
	for _, c := range []struct{ kind, in, want string }{
		{"application/json", `{"a":1, "b": [true,null,"x"]}`, `{"a":1,"b":[true,null,"x"]}`},
		{"application/json", `{"phone":"123","x":{"phone":{"n":[1]}}}`, `{"phone":"****","x":{"phone":"****"}}`},
		{"application/json", `{"ph\u006fne":"123"}`, `{"ph\u006fne":"****"}`},
		{"application/json", `{"phone":1,"phone":2}`, `{"phone":"****","phone":"****"}`},
		{"application/json", `{"salary":9,"a":[{"b":7,"c":8},{"b":9}]}`, `{"a":[{"b":"****","c":8},{"b":9}]}`},
		{"application/json", `{"list":[{"gone":1,"k":2}],"drop":[1,2,3],"x":[]}`, `{"list":[{"k":2}],"drop":[1,3],"x":[]}`},
		{"application/json", `{"customer_id":"17","o":{"customer_id":17}}`, `{"customer_id":"` + h1 + `","o":{"customer_id":"` + h1 + `"}}`},
		{"application/json", `{"password":"x","clientSecret":["y"],"tokens":{"n":1,"access_token":"z"},"state":"CA","code":5}`, `{"password":"****","clientSecret":"****","tokens":"****","state":"CA","code":5}`},
		{"application/json", `{"note":"Bearer ` + jwt + `"}`, `{"note":"Bearer REDACTED"}`},
		{"application/problem+json; charset=utf-8", "\ufeff {\"phone\":1}", `{"phone":"****"}`},
		{"application/x-ndjson", "{\"phone\":1}\n{\"b\":2}\n", "{\"phone\":\"****\"}\n{\"b\":2}"},
		{"text/plain", `[{"phone":1}]`, `[{"phone":"****"}]`}, // JSON whatever it is called
		{"", `{"phone":1}`, `{"phone":"****"}`},
		{"application/x-www-form-urlencoded", "phone=1&ph%6fne=2&salary=3&a=b&password=c&customer_id=17", "phone=****&ph%6fne=****&a=b&password=REDACTED&customer_id=" + h1},
	} {
		got, cut := s.Clean([]byte(c.in), c.kind, "", false)
		if string(got) != c.want || cut {
			t.Errorf("%s %s\nbecame %s (cut %t)\nwant   %s", c.kind, c.in, got, cut, c.want)
		}
	}
}

func TestWhatCannotBeReadIsLeftOut(t *testing.T) {
	s := bodyOf(t)
	for _, c := range []struct{ kind, encoding, in, want string }{
		{"application/json", "gzip", "\x1f\x8b", ""},
		{"image/png", "", "\x89PNG", ""},
		{"multipart/form-data; boundary=x", "", "--x\r\n\r\nsecret", ""},
		{"text/plain", "", "rules are for JSON", ""},
		{"application/json", "", `{"a":1,}`, `{"a":1`},
		{"application/json", "", `{"a":tru`, `{"a":`},
		{"application/json", "", `{"a":{"phone":"12`, `{"a":{"phone":"****"`},
		{"application/json", "", `{"a" 1}`, `{`},
		{"application/json", "", "{\"a\":\"x\ny\"}", `{"a":`},
		{"application/json", "", strings.Repeat("[", 200), strings.Repeat("[", 100)},
		{"application/json", "", `'a'`, ""},
		{"application/x-www-form-urlencoded", "", "a=b&%zz=c", ""},
	} {
		got, cut := s.Clean([]byte(c.in), c.kind, c.encoding, false)
		if string(got) != c.want || !cut {
			t.Errorf("%s %q became %q (cut %t), want %q", c.kind, c.in, got, cut, c.want)
		}
	}
}

// The law: no text under a name to be masked is left, however the body is
// cut off, and what comes out of whole JSON is JSON.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"phone":"HIDE"}`, `[{"x":{"phone":["HIDE"]}}]`, `{"phone":"HIDE`, `{"phone" : {"a":"HIDE"}} {"password":"HIDE"}`} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		s := bodyOf(t)
		if cut < 0 || cut > len(b) {
			cut = len(b)
		}
		out, elided := s.json(b[:cut], cut < len(b))
		if json.Valid(b) && cut == len(b) && !elided && len(out) > 0 && !json.Valid(out) {
			t.Fatalf("%s became %s", b, out)
		}
		wrapped := append(append([]byte(`{"phone":`), b[:cut]...), []byte(`,"z":"HIDE"}`)...)
		if json.Valid(b[:cut]) && cut > 0 {
			if out, _ := s.json(wrapped, false); len(b) > 12 && strings.Contains(string(out), string(b[:cut])) {
				t.Fatalf("%s became %s", wrapped, out)
			}
		}
	})
}

func TestCredentialsInNestedJSONAreHidden(t *testing.T) {
	s := NewBody(NewText(nil, nil), nil)
	if err := s.Add(Remove, "ssn"); err != nil {
		t.Fatal(err)
	}
	deep := `{"password":"PW"}`
	for range maxStrings + 1 {
		b, _ := json.Marshal(deep)
		deep = `{"a":` + string(b) + `}`
	}
	for in, want := range map[string]string{
		`{"a":"{\"password\":\"PW\",\"b\":1}"}`:          `{"a":"{\"password\":\"****\",\"b\":1}"}`,
		`{"a":"[{\"pass\\u0077ord\":\"PW\"}]"}`:          `{"a":"[{\"pass\\u0077ord\":\"****\"}]"}`,
		`{"a":"{\"ssn\":\"PW\", \"b\":1}"}`:              `{"a":"{\"b\":1}"}`,
		`{"a":"{\"b\": 1}"}`:                             `{"a":"{\"b\": 1}"}`,
		`{"a":"{\"b\":\"{\\\"token\\\":\\\"PW\\\"}\"}"}`: `{"a":"{\"b\":\"{\\\"token\\\":\\\"****\\\"}\"}"}`,
		`{"a":"{\"password\":\"PW"}`:                     `{"a":"****"}`,
		`{"a":"[info] ready","b":"{id}"}`:                `{"a":"[info] ready","b":"{id}"}`,
		`{"a":"[\"/x?token=PW\"]"}`:                      `{"a":"[\"/x?token=REDACTED\"]"}`,
	} {
		out, cut := s.Clean([]byte(in), "application/json", "", false)
		if string(out) != want || cut {
			t.Errorf("%s became %s (%v), want %s", in, out, cut, want)
		}
	}
	if out, _ := s.Clean([]byte(deep), "application/json", "", false); strings.Contains(string(out), "PW") {
		t.Errorf("%s", out)
	}
}

func TestTextThatGivesCredentialsIsLeftOut(t *testing.T) {
	s := NewBody(NewText(nil, nil), nil)
	for _, in := range []string{
		`)]}',{"password":"PW"}`, "<password>PW</password>", "user: a\npassword: PW\n", `cb({"api_key" : "PW"})`, "{'clientSecret':'PW'}x",
		"X-Auth-Token: PW", `"{\"password\":\"PW\"}"`,
	} {
		if out, _ := s.Clean([]byte(in), "text/plain", "", false); strings.Contains(string(out), "PW") {
			t.Errorf("%s became %s", in, out)
		}
	}
	for _, in := range []string{"invalid password", "wrong token, try again", "hello", "<p>wrong password</p>"} {
		if out, cut := s.Clean([]byte(in), "text/plain", "", false); string(out) != in || cut {
			t.Errorf("%s became %s", in, out)
		}
	}
}

// Selectors mean in recorded bodies what they mean in redact: there is one
// engine.
func TestSelectorsOfRedactWorkInRecordedBodies(t *testing.T) {
	for _, c := range []struct {
		treatment      Treatment
		selector, want string
	}{
		{Remove, "$.list[-1]", `{"list":[1,2,3],"o":{"a":{"x":1},"b":{"x":2}},"s":"{\"x\":5}"}`},
		{Mask, "$.list[1:3]", `{"list":[1,"****","****",4],"o":{"a":{"x":1},"b":{"x":2}},"s":"{\"x\":5}"}`},
		{Remove, "$.list[::2]", `{"list":[2,4],"o":{"a":{"x":1},"b":{"x":2}},"s":"{\"x\":5}"}`},
		{Mask, "$.o['a','b'].x", `{"list":[1,2,3,4],"o":{"a":{"x":"****"},"b":{"x":"****"}},"s":"{\"x\":5}"}`},
		{Mask, "$..x", `{"list":[1,2,3,4],"o":{"a":{"x":"****"},"b":{"x":"****"}},"s":"{\"x\":\"****\"}"}`},
		{Remove, "x", `{"list":[1,2,3,4],"o":{"a":{},"b":{}},"s":"{}"}`},
		{Remove, "$.o.*", `{"list":[1,2,3,4],"o":{},"s":"{\"x\":5}"}`},
	} {
		s := NewBody(NewText(nil, nil), nil)
		if err := s.Add(c.treatment, c.selector); err != nil {
			t.Fatal(err)
		}
		got, cut := s.Clean([]byte(`{"list": [1,2,3,4], "o": {"a":{"x":1},"b":{"x":2}}, "s":"{\"x\":5}"}`), "application/json", "", false)
		if string(got) != c.want || cut {
			t.Errorf("%s became %s (cut %t), want %s", c.selector, got, cut, c.want)
		}
	}
	s := NewBody(NewText(nil, nil), nil)
	for _, selector := range []string{"$", "$.a[?@.b]", "$.["} {
		if err := s.Add(Mask, selector); err == nil {
			t.Errorf("%s was taken", selector)
		}
	}
}

// The first rule that selects a value decides, and a rule about every value of
// a name decides about one that is a credential, too.
func TestRulesDecideBeforeNames(t *testing.T) {
	s := NewBody(NewText(nil, nil), []byte("k"))
	for _, r := range []struct {
		f Treatment
		s string
	}{{Hash, "token"}, {Hash, "id"}, {Mask, "$..*"}} {
		if err := s.Add(r.f, r.s); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := s.Clean([]byte(`{"token":"a","id":7,"x":1}`), "application/json", "", false)
	want := `{"token":"` + s.Pseudonym([]byte("a")) + `","id":"` + s.Pseudonym([]byte("7")) + `","x":"****"}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, want := range map[string]Treatment{"token": Hash, "id": Hash, "x": Mask, `"`: Mask} {
		if got := s.ByName(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
