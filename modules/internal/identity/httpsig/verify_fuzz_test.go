package httpsig

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// fuzzCover has the target covered whole, and fields in all ways.
var fuzzCover = []string{
	"@method", "@target-uri", "content-digest", "content-type", "x-list", "x-dict;sf", `x-dict;key="b"`, "x-lines;bs", `@query-param;name="Pet"`, "x-empty",
}

func fuzzScene(tb testing.TB) *scene {
	s := newScene(tb, "ed25519", Options{RequireNonce: true, Tag: "app"}, Template{Nonce: "n", Tag: "app"})
	s.m.Header["X-Dict"] = []string{"a=1,  b=2;x", "c=(1  2)"}
	s.m.Header["X-Lines"] = []string{"a, b", "c"}
	s.m.Header["X-Empty"] = []string{""}
	in, sig, err := s.signer.Sign(s.m, Template{Components: fuzzCover, Created: testNow, Nonce: "n", Tag: "app", Expires: testNow.Add(60e9)})
	if err != nil {
		tb.Fatal(err)
	}
	s.m.Header["Signature-Input"], s.m.Header["Signature"] = []string{in}, []string{sig}
	return s
}

// spots are the texts of a message that an attacker can change.
var spots = []string{
	"method", "scheme", "authority", "path", "query",
	"Signature-Input", "Signature", "Content-Digest", "Content-Type", "X-List", "X-Dict", "X-Lines", "X-Empty", "Date",
}

func spot(m *Message, where uint8) *string {
	switch name := spots[int(where)%len(spots)]; name {
	case "method":
		return &m.Method
	case "scheme":
		return &m.Scheme
	case "authority":
		return &m.Authority
	case "path":
		return &m.Path
	case "query":
		return &m.Query
	default:
		lines := m.Header[name]
		return &lines[int(where)/len(spots)%len(lines)]
	}
}

// change does one thing to a text.
func change(s string, how uint8, at uint16, with string) string {
	i := 0
	if len(s) > 0 {
		i = int(at) % len(s)
	}
	switch how % 6 {
	case 0: // put in
		return s[:i] + with + s[i:]
	case 1: // put in place of as much
		return s[:i] + with + s[min(i+len(with), len(s)):]
	case 2: // leave out
		return s[:i] + s[min(i+max(len(with), 1), len(s)):]
	case 3: // exchange neighbours
		if i+1 < len(s) {
			return s[:i] + s[i+1:i+2] + s[i:i+1] + s[i+2:]
		}
		return s
	case 4: // flip a bit
		if s == "" {
			return s
		}
		return s[:i] + string([]byte{s[i] ^ 1<<(at%8)}) + s[i+1:]
	}
	return with // the whole
}

func (m *Message) clone() *Message {
	c := *m
	c.Header = m.Header.Clone()
	return &c
}

// meaning is what was signed, put together by other means than the signature
// base: two messages that mean the same may have the same signature.
func meaning(m *Message) []string {
	host := strings.ToLower(m.Authority)
	if port := map[string]string{"https": ":443", "http": ":80"}[m.Scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	path := m.Path
	if path == "" {
		path = "/"
	}
	out := []string{m.Method, m.Scheme, host, path, m.Query}
	if m.HasQuery || m.Query != "" {
		out = append(out, "?")
	}
	for _, name := range []string{"Content-Digest", "Content-Type", "X-List", "X-Empty", "Signature-Input", "Signature"} {
		lines := slices.Clone(m.Header[name])
		for i := range lines {
			lines[i] = strings.Trim(lines[i], " \t")
		}
		out = append(out, strings.Join(lines, ", "))
	}
	for _, l := range m.Header["X-Lines"] {
		out = append(out, strings.Trim(l, " \t"))
	}
	// Dictionaries are the same if they are but for white space, and
	// for what stands twice in them.
	d, ok := structured(m.Header["X-Dict"], "", false)
	if !ok {
		d = "none"
	}
	return append(out, d)
}

// FuzzVerify does one thing or two to a signed message. It must be refused
// unless it means the same as before.
func FuzzVerify(f *testing.F) {
	s := fuzzScene(f)
	if _, err := s.verify(); err != nil {
		f.Fatal(err.(*Error).Reason)
	}
	want := meaning(s.m)
	for where := range spots {
		for how := range 6 {
			f.Add(uint8(where), uint8(how), uint16(7*where+how), " ", uint8(0), uint8(3), uint16(0), "", false)
		}
	}
	f.Add(uint8(2), uint8(0), uint16(0), ":443", uint8(3), uint8(0), uint16(0), "%2F", true)
	f.Add(uint8(5), uint8(0), uint16(20), ` "";key="a"`, uint8(6), uint8(0), uint16(0), ", a=:AA==:", false)
	f.Fuzz(func(t *testing.T, where1, how1 uint8, at1 uint16, with1 string, where2, how2 uint8, at2 uint16, with2 string, double bool) {
		m := s.m.clone()
		p := spot(m, where1)
		*p = change(*p, how1, at1, with1)
		if double {
			p = spot(m, where2)
			*p = change(*p, how2, at2, with2)
		}
		r, err := Verify(m, s.policy, s.keys, s.now)
		if err != nil {
			if r != nil || err.(*Error).Reason == "" || err.(*Error).Class == nil {
				t.Errorf("%+v, %+v", r, err)
			}
			return
		}
		if got := meaning(m); !slices.Equal(got, want) {
			t.Errorf("accepted:\n%q\nwas\n%q", got, want)
		}
		if r.Nonce != "n" || r.Tag != "app" || r.Key != s.keys["k"] {
			t.Errorf("%+v", r)
		}
	})
}

// Each byte of the texts of a message, changed in each way, does what FuzzVerify
// asks for.
func TestEverySingleChangeIsRefused(t *testing.T) {
	s := fuzzScene(t)
	want := meaning(s.m)
	refusals, accepted := 0, 0
	for where := range uint8(3 * len(spots)) {
		for at := range uint16(len(*spot(s.m, where)) + 1) {
			for how := range uint8(5) {
				for _, with := range []string{" ", ",", "a", `"`, ";", "\n", ":443", "%2F"} {
					m := s.m.clone()
					p := spot(m, where)
					*p = change(*p, how, at, with)
					if _, err := Verify(m, s.policy, s.keys, s.now); err != nil {
						refusals++
						continue
					}
					accepted++
					if got := meaning(m); !slices.Equal(got, want) {
						t.Errorf("accepted:\n%q\nwas\n%q", got, want)
					}
				}
			}
		}
	}
	t.Logf("%d refused, %d accepted", refusals, accepted)
	if refusals < 10000 || accepted == 0 {
		t.Error("the test has no force")
	}
}

// A field with control characters must never read as two components.
func TestBaseHasALineForEachComponent(t *testing.T) {
	s := fuzzScene(t)
	all, fault := parseInputs(s.m.Header["Signature-Input"])
	if fault != nil {
		t.Fatal(fault)
	}
	base, fault := appendBase(nil, s.m, all[0].items, all[0].text)
	if fault != nil {
		t.Fatal(fault)
	}
	if lines := bytes.Split(base, []byte("\n")); len(lines) != len(fuzzCover)+1 {
		t.Errorf("%q", lines)
	}
	for where := range spots {
		for _, with := range []string{"\n", "\r", "\r\n \"x\": y", "\x00", "\x7f"} {
			m := s.m.clone()
			*spot(m, uint8(where)) += with
			base, fault := appendBase(nil, m, all[0].items, all[0].text)
			if fault == nil && bytes.Count(base, []byte("\n")) != len(fuzzCover) {
				t.Errorf("%s: %q", spots[where], base)
			}
		}
	}
}
