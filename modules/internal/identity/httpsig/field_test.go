package httpsig

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
)

// ours reads lines as Signature-Input and returns them as they were understood.
func ours(lines []string) (string, bool) {
	all, err := parseInputs(lines)
	if err != nil {
		return "", false
	}
	members := make([]string, len(all))
	for i, in := range all {
		members[i] = in.label + "=" + string(appendInput(nil, in.items, in.params))
		if want := in.label + "=" + in.text; members[i] != want {
			panic("printed " + members[i] + ", received " + want)
		}
	}
	return strings.Join(members, ", "), true
}

// theirs reads lines with httpsfv and returns their strict serialization, and
// whether a signature could be written so.
func theirs(lines []string) (text string, fit, ok bool) {
	d, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return "", false, false
	}
	text, err = httpsfv.Marshal(d)
	if err != nil {
		return "", false, false
	}
	fit = len(d.Names()) > 0 && len(d.Names()) <= maxSignatures
	for _, name := range d.Names() {
		m, _ := d.Get(name)
		l, isList := m.(httpsfv.InnerList)
		if !isList || len(l.Items) > maxComponents || !fitParams(l.Params) {
			return text, false, true
		}
		for _, i := range l.Items {
			if _, isString := i.Value.(string); !isString || !fitParams(i.Params) {
				return text, false, true
			}
		}
	}
	return text, fit, true
}

func fitParams(p *httpsfv.Params) bool { return len(p.Names()) <= maxParams }

// longNumber is what httpsfv v1.1.1 refuses, an integer of fifteen digits with
// something after it, and what it writes as -0.0 (RFC 9651 section 4.1.5: 0.0)
// or, as it keeps decimals in float64, perhaps otherwise than they were.
var longNumber = regexp.MustCompile(`[0-9]{15}(?s:.)|-0+\.0|[0-9]{8}\.`)

// checkInput holds parseInputs to its law: what it accepts is what httpsfv
// writes, but for the space round commas, and what httpsfv writes and has the
// form of a signature it accepts.
func checkInput(t *testing.T, lines []string) (accepted bool) {
	t.Helper()
	got, accepted := ours(lines)
	if longNumber.MatchString(strings.Join(lines, ",")) {
		return accepted
	}
	// The white space round a field is not part of it.
	want, fit, ok := theirs([]string{strings.Trim(strings.Join(lines, ", "), " \t")})
	switch {
	case accepted && !ok:
		t.Errorf("%q: accepted, httpsfv refuses it", lines)
	case accepted && got != want:
		t.Errorf("%q: read as %s, by httpsfv as %s", lines, got, want)
	case !accepted && ok && fit && len(lines) == 1 && lines[0] == want && len(want) < maxField-2:
		t.Errorf("%q: refused, and it is canonical", lines)
	}
	return accepted
}

func checkBytes(t *testing.T, line string) (accepted bool) {
	t.Helper()
	got, accepted := parseByteDictionary(line, maxSignatures)
	if !accepted {
		return false
	}
	members := make([]string, len(got))
	for i, m := range got {
		members[i] = m.label + "=:" + base64Std(m.bytes) + ":"
	}
	if want, _, ok := theirs([]string{line}); !ok || want != strings.Join(members, ", ") {
		t.Errorf("%q: read as %q, by httpsfv as %q", line, members, want)
	}
	return true
}

// The cases of httpwg/structured-field-tests, as they are and as parts of a
// signature.
func TestStructuredFieldSuite(t *testing.T) {
	files, _ := filepath.Glob("../../../../../shared/vectors/structured-fields/*.json")
	if len(files) == 0 {
		t.Skip("the files of structured-field-tests are not beside the repository")
	}
	inputs, digests := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []struct {
			Name     string   `json:"name"`
			Raw      []string `json:"raw"`
			Type     string   `json:"header_type"`
			MustFail bool     `json:"must_fail"`
		}
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range cases {
			if len(c.Raw) == 0 {
				continue
			}
			whole := strings.Join(c.Raw, ", ")
			if c.Type == "dictionary" {
				in, b := checkInput(t, c.Raw), checkBytes(t, whole)
				if c.MustFail && (in || b) {
					t.Errorf("%s: %q must fail", c.Name, c.Raw)
				}
				inputs, digests = inputs+count(in), digests+count(b)
			}
			for _, line := range []string{
				"a=(" + whole + ")", "a=()" + whole, "a=();p=" + whole, `a=("x";p=` + whole + ")",
				`a=("x"` + whole + ")", whole + "=()", "a=(),b=()" + whole, `a=("` + whole + `")`,
			} {
				inputs += count(checkInput(t, []string{line}))
			}
			for _, line := range []string{"a=" + whole, whole + "=:YQ==:", "a=:" + whole + ":", "a=:YQ==:" + whole} {
				digests += count(checkBytes(t, line))
			}
		}
	}
	t.Logf("%d were accepted as Signature-Input, %d as Signature", inputs, digests)
	if inputs < 500 || digests < 20 {
		t.Errorf("accepted %d and %d only: the test has no force", inputs, digests)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// What has more than one reading, or is written in more than one way.
func TestFieldsThatAreNotCanonicalAreRefused(t *testing.T) {
	for _, line := range []string{
		``, ` `, `,`, `a`, `a=1`, `a="x"`, `a=:YQ==:`, `a=`, `=()`, `A=()`, `-a=()`, `1=()`, `a =()`, `a= ()`,
		`a=()b=()`, `a=(),`, `,a=()`, `a=(),,b=()`, `a=() b=()`, `a=();`, `a=(); x`, `a=() ;x`, `a=();X`, `a=();x;x`, `a=();x=1;x=1`,
		`a=(), a=()`, `a=(`, `a=)`, `a=("x"`, `a=("x)`, `a=( "x")`, `a=("x" )`, `a=("x"  "y")`, "a=(\"x\"\t\"y\")", `a=("x""y")`, `a=("x","y")`,
		`a=(x)`, `a=(1)`, `a=(:YQ==:)`, `a=("x"; sf)`, `a=("x" ;sf)`, `a=("x";sf=?1)`, `a=("\x")`, `a=("\")`, "a=(\"\xc3\xa9\")", "a=(\"x\ny\")", "a=(\"x\x7f\")",
		`a=();x=`, `a=();x=?1`, `a=();x=?`, `a=();x=?2`, `a=();x=1.`, `a=();x=1.00`, `a=();x=1.10`, `a=();x=1.0001`, `a=();x=-0.0`, `a=();x=01.5`, `a=();x=1.-5`, `a=();x=1.5.5`, `a=();x=1234567890123.5`, `a=();x=01`, `a=();x=-0`, `a=();x=+1`, `a=();x=-`, `a=();x=00`, `a=();x=1e3`, `a=();x=@`, `a=();x=@1.5`, `a=();x=@01`, `a=();x=%"a`, `a=();x=%a`, `a=();x=%"%41"`, `a=();x=%"%C3%A9"`, `a=();x=%"%c3"`, `a=();x=%"%"`, "a=();x=%\"\xc3\xa9\"",
		`a=();x=1000000000000000`, `a=();x=:YQ:`, `a=();x=:YR==:`, `a=();x=:YQ==`, `a=();x=(1)`, `a=();x="`, `a=();x=_`,
		strings.Repeat(`a=() `, 4000), `a=(` + strings.Repeat(`"x" `, maxComponents) + `"x")`, `a=()` + strings.Repeat(`;x`, 2),
		`a=();a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q`, `a=(),b=(),c=(),d=(),e=(),f=(),g=(),h=(),i=()`,
	} {
		if got, ok := ours([]string{line}); ok {
			t.Errorf("%.80q was read as %.80s", line, got)
		}
		checkInput(t, []string{line})
	}
	for _, line := range []string{
		``, `a`, `a=()`, `a=:YQ==`, `a=YQ==:`, `a=:YQ:`, `a=:YQ=:`, `a=:YR==:`, `a=:YQ== :`, `a=: YQ==:`, "a=:YQ\n==:", `a=:YQ==:;x`, `a=:YQ==: ;x`, `a=:Y-_=:`,
		`a=:YQ==:, a=:YQ==:`, `a=:YQ==:,`, `A=:YQ==:`, `a=:===:`, `a=:YQ==YQ==:`, `a=1`, `a="YQ=="`,
	} {
		if got, ok := parseByteDictionary(line, maxSignatures); ok {
			t.Errorf("%q was read as %q", line, got)
		}
	}
}

func TestFieldsThatAreAccepted(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{`a=()`}, `a=()`},
		{[]string{" \ta=()\t "}, `a=()`},
		{[]string{`a=(),b=()`}, `a=(), b=()`},
		{[]string{"a=() \t,\t b=()"}, `a=(), b=()`},
		{[]string{`a=()`, `b=("x")`}, `a=(), b=("x")`},
		{[]string{`*a.b-c_9=("x";sf "x";key="\"\\");created=-1;keyid="";t=a/b:*;n=0`}, `*a.b-c_9=("x";sf "x";key="\"\\");created=-1;keyid="";t=a/b:*;n=0`},
		{[]string{`a=();x=999999999999999`}, `a=();x=999999999999999`},
		// Unregistered parameters may have values of every type.
		{[]string{`a=();d=-1.5;z=0.0;b=:YQ==:;e=::;f=?0;t=@1659578233;u=@-1;s=%"f%c3%bc %25%22"`}, `a=();d=-1.5;z=0.0;b=:YQ==:;e=::;f=?0;t=@1659578233;u=@-1;s=%"f%c3%bc %25%22"`},
	} {
		if got, ok := ours(c.lines); !ok || got != c.want {
			t.Errorf("%q: %s, %v", c.lines, got, ok)
		}
	}
	got, ok := parseByteDictionary(`a=::, b=:AA==:`, 2)
	if !ok || len(got) != 2 || len(got[0].bytes) != 0 || !slices.Equal(got[1].bytes, []byte{0}) {
		t.Errorf("%q, %v", got, ok)
	}
}

func FuzzSignatureInput(f *testing.F) {
	for _, c := range published {
		f.Add(c.label + "=" + c.input)
	}
	f.Add("a=(\"x\";sf \"y\";key=\"\\\"\")\nb=();created=1;alg=\"a\";t=tok;n=-7")
	f.Add("sha-256=:YQ==:, sha-512=:YWE=:")
	f.Fuzz(func(t *testing.T, s string) {
		checkInput(t, strings.Split(s, "\n"))
		checkBytes(t, s)
		if it, err := parseComponent(s); err == nil {
			if got := string(appendParams(appendString(nil, it.name), it.params)); got != it.text {
				t.Errorf("component %q printed as %s, kept as %s", s, got, it.text)
			}
		}
	})
}
