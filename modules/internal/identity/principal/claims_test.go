package principal

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

const sample = `{"sub":"alice","n":9007199254740993,"big":123456789012345678901234567890,"f":1.5,"neg":-0,
	"realm_access":{"roles":["clerk","manager"]},"https://example.com/roles":["x"],"a/b":{"m~n":{"":1}},"list":[[1],{"k":null}],"none":null}`

func TestPointersFindWhatTheyPointAt(t *testing.T) {
	for _, c := range []*Claims{NewClaims([]byte(sample)), NewEncodedClaims(base64.RawURLEncoding.EncodeToString([]byte(sample)))} {
		for text, want := range map[string]any{
			"sub":                           "alice",
			"/sub":                          "alice",
			"/n":                            int64(9007199254740993),
			"/big":                          json.Number("123456789012345678901234567890"),
			"/f":                            1.5,
			"/realm_access/roles/1":         "manager",
			"https://example.com/roles":     []any{"x"},
			"/https:~1~1example.com~1roles": []any{"x"},
			"/a~1b/m~0n/":                   int64(1),
			"/list/0/0":                     int64(1),
			"/list/1/k":                     nil,
			"none":                          nil,
		} {
			p, err := ParsePointer(text)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if got, ok := c.Lookup(p); !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, %v, want %v", text, got, ok, want)
			}
		}
		for _, text := range []string{"x", "/x", "/", "/sub/0", "/list/00", "/list/-", "/list/2", "/list/-1", "/list/+1", "realm_access/roles", "/realm_access/roles/x", "/SUB"} {
			p, err := ParsePointer(text)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if got, ok := c.Lookup(p); ok {
				t.Errorf("%s: got %v", text, got)
			}
		}
		if string(c.Raw()) != sample {
			t.Errorf("raw claims are %s", c.Raw())
		}
	}
}

func TestPointerThatIsNoneIsRefused(t *testing.T) {
	for _, text := range []string{"", "/~", "/a~", "/a~2b", "/~~", "/x/~"} {
		if p, err := ParsePointer(text); err == nil {
			t.Errorf("%q: parsed as %q", text, p)
		}
	}
}

func TestClaimsThatAreNotThereAreEmpty(t *testing.T) {
	for _, c := range []*Claims{nil, NewClaims(nil), NewEncodedClaims(""), NewEncodedClaims("!"), NewEncodedClaims("e30")} {
		if len(c.Map()) != 0 {
			t.Errorf("%v", c.Map())
		}
		if v, ok := c.Lookup(Pointer{"x"}); ok {
			t.Errorf("found %v", v)
		}
	}
}

// FuzzParsePointer holds that a pointer that was parsed prints as one that is
// parsed to the same, and finds the member it names.
func FuzzParsePointer(f *testing.F) {
	for _, seed := range []string{"sub", "/", "//", "/a/b", "/~0~1", "~", "https://example.com/roles", "/0/-1", "/é\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePointer(text)
		if err != nil {
			return
		}
		if len(p) == 0 {
			t.Fatalf("%q: points at everything", text)
		}
		again, err := ParsePointer(p.String())
		if err != nil || !slices.Equal(p, again) {
			t.Fatalf("%q: %q prints as %q, which is %q, %v", text, p, p.String(), again, err)
		}
		if text[0] == '/' && p.String() != text {
			t.Fatalf("%q: prints as %q", text, p.String())
		}
		var v any = "found"
		for _, name := range slices.Backward(p) {
			v = map[string]any{name: v}
		}
		c := new(Claims)
		m := c.ask()
		m.mapOnce.Do(func() { m.decoded = v.(map[string]any) })
		if got, ok := c.Lookup(p); !ok || got != "found" {
			t.Fatalf("%q: got %v, %v", text, got, ok)
		}
	})
}

func TestNameWithSeparatorsIsProbablyAPointer(t *testing.T) {
	for text, want := range map[string]string{
		"realm_access.roles": "/realm_access/roles", "resource_access.my-app.roles": "/resource_access/my-app/roles",
		"$.realm_access.roles": "/realm_access/roles", "realm_access/roles": "/realm_access/roles", "$.roles": "/roles",
		"": "", "/": "", "roles": "", "/realm_access.roles": "", "/realm_access/roles": "", "cognito:groups": "", "urn:a.b": "",
		"https://example.com/roles": "", "example.com/roles": "", ".a": "", "a.": "", "a..b": "",
	} {
		if got := Meant(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
