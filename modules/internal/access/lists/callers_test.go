package lists

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

const pin = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func TestFindCaller(t *testing.T) {
	s, err := ParseCallers([]byte("# callers\r\ncaller https://id.example.com alice # why\r\ncaller basic \"bob \\\"b\\\" #1\"\napi_key k1\ncertificate " + pin + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	key := &principal.Principal{ID: "partner", Kind: principal.KindAPIKey, KeyID: "k1"}
	for _, c := range []struct {
		p    *principal.Principal
		want string
	}{
		{nil, ""},
		{&principal.Principal{ID: "alice", Issuer: "https://id.example.com", Kind: principal.KindJWT}, "caller https://id.example.com alice"},
		{&principal.Principal{ID: "alice", Issuer: "https://id.example.com/", Kind: principal.KindJWT}, ""},
		{&principal.Principal{ID: "alice", Kind: principal.KindBasic}, ""},
		{&principal.Principal{ID: "Alice", Issuer: "https://id.example.com"}, ""},
		{&principal.Principal{ID: `bob "b" #1`, Kind: principal.KindBasic}, `caller basic "bob \"b\" #1"`},
		{key, "api_key k1"},
		{&principal.Principal{ID: "k1", Kind: principal.KindAPIKey, KeyID: "k2"}, ""},
		{&principal.Principal{ID: "x", Kind: principal.KindJWT, KeyID: "k1"}, ""},
		{&principal.Principal{ID: "svc", Kind: principal.KindCertificate, KeyID: pin}, "certificate " + pin},
		{&principal.Principal{ID: "alice", Kind: principal.KindJWT, App: key}, "api_key k1"},
	} {
		e, ok := s.Find(c.p)
		if ok != (c.want != "") || ok && e.String() != c.want {
			t.Errorf("%+v: got %v %v", c.p, e, ok)
		}
	}
}

func TestFilesThatListNoCallersAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "the file is empty",
		"alice":                        "line 1: write caller <issuer> <id>",
		"# x\ncaller alice":            "line 2: caller takes an issuer",
		"caller a b c":                 "line 1: caller takes an issuer",
		"api_key a b":                  "line 1: api_key takes the ID",
		"certificate a":                "line 1: 'a' is not the base64",
		"certificate":                  "line 1: certificate takes the hash",
		`caller a "b`:                  "line 1: a quote is not closed",
		`caller a "b"c`:                "line 1: white space is missing",
		`caller a "\b"`:                "line 1: a backslash",
		`caller a b#c`:                 "line 1: a word with",
		`caller a ""`:                  "line 1: write caller",
		`caller "" b`:                  "line 1: write caller",
		"caller a \x1bb":               "line 1: write caller",
		"{\"caller\": [\"a\", \"b\"]}": "line 1: a word with",
	} {
		if s, err := ParseCallers([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v %v, want %q", text, s, err, want)
		}
	}
}

// FuzzParseCallers holds that what is printed and read again is the same list, and
// that the look-up finds what a search of all entries finds.
func FuzzParseCallers(f *testing.F) {
	f.Add([]byte("caller https://id.example.com alice\napi_key k1\n"), "alice", "https://id.example.com", "jwt")
	f.Add([]byte("caller basic \"a \\\" # b\"\ncaller jwt alice\n"), "alice", "", "basic")
	f.Fuzz(func(t *testing.T, text []byte, id, issuer, kind string) {
		s, err := ParseCallers(text)
		if err != nil {
			return
		}
		again, err := ParseCallers(s.Text())
		if err != nil || !slices.Equal(again.entries, s.entries) {
			t.Fatalf("%q became %q: %v", text, s.Text(), err)
		}
		p := &principal.Principal{ID: id, Issuer: issuer, Kind: kind, KeyID: id}
		want := slices.ContainsFunc(s.entries, func(e Caller) bool {
			switch e.Kind {
			case KindCaller:
				return e.ID == id && p.Source().Is(e.From)
			case KindAPIKey:
				return kind == principal.KindAPIKey && e.ID == id
			}
			return kind == principal.KindCertificate && e.ID == id
		})
		if _, ok := s.Find(p); ok != want {
			t.Fatalf("%q: %+v %v", text, p, ok)
		}
	})
}

// Text prints the set as a file.
func (s *Callers) Text() []byte {
	var b bytes.Buffer
	b.WriteString("# callers\n")
	for _, e := range s.entries {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}
