package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
)

// printPaths prints the rows for paths, one character for each subject, for one
// method.
func printPaths(t *testing.T, p *Policy, method string) []string {
	t.Helper()
	m := matrix(t, p)
	var all []string
	for _, row := range m.Rows {
		s := row.Path + " "
		for _, cell := range row.Cells {
			s += map[Allowed]string{Never: "-", Sometimes: "?", Always: "y"}[cell[slices.Index(m.Methods, method)]]
		}
		all = append(all, s)
	}
	return all
}

func TestMatrixHasARowForOverlapsOfPaths(t *testing.T) {
	for name, c := range map[string]struct {
		rules []string
		want  []string
	}{
		"variables":                   {[]string{"GET /a/{x}", "-GET /{y}/b"}, []string{"/a/b -", "/a/{x} y", "/{y}/b -"}},
		"more segments":               {[]string{"GET /a/{x}/{z}", "-GET /{x}/b/{z}"}, []string{"/a/b/{z} -", "/a/{x}/{z} y", "/{x}/b/{z} -"}},
		"a tail":                      {[]string{"GET /a/*", "-GET /{y}/b"}, []string{"/a/* y", "/a/b -", "/{y}/b -"}},
		"two tails":                   {[]string{"GET /a/*", "-GET /{y}/b/*"}, []string{"/a/* y", "/a/b/* -", "/{y}/b/* -"}},
		"a slash at an end":           {[]string{"GET /a/{x}/", "-GET /{y}/b"}, []string{"/a/b/ -", "/a/{x}/ y", "/{y}/b -"}},
		"the directory":               {[]string{"GET /a/*", "-GET /a"}, []string{"/a -", "/a/ -", "/a/* y"}},
		"a wide denial":               {[]string{"GET /a/*", "-GET /a/{x}/*"}, []string{"/a/* y", "/a/{x}/* -"}},
		"a name for the last segment": {[]string{"GET /a/*", "-GET /{y}/b/*/"}, []string{"/a/* y", "/a/b/{any} -", "/{y}/b/*/ -"}},
		"no name twice":               {[]string{"GET /{x}/a/*", "-GET /{y}/*/{x}"}, []string{"/{x}/a/* y", "/{x}/a/{any} -", "/{y}/*/{x} -"}},
		"a name of a variable once":   {[]string{"GET /{x}/*", "-GET /*/{x}/c"}, []string{"/*/{x}/c -", "/{x}/* y"}},
		"a condition":                 {[]string{"GET /a/{x}", "-GET /{y}/b when " + whenX}, []string{"/a/b ?", "/a/{x} y", "/{y}/b -"}},
		// Nothing that the other rows would not say.
		"other methods":     {[]string{"GET /a/{x}", "-POST /{y}/b"}, []string{"/a/{x} y", "/{y}/b -"}},
		"the more specific": {[]string{"GET /a/{x}", "-GET /a/b"}, []string{"/a/b -", "/a/{x} y"}},
		"both allow":        {[]string{"GET /a/{x}", "GET /{y}/b"}, []string{"/a/{x} y", "/{y}/b y"}},
		"apart":             {[]string{"GET /a/{x}", "-GET /{y}/b/{z}"}, []string{"/a/{x} y", "/{y}/b/{z} -"}},
	} {
		p := compile(t, &Document{Anyone: rules(c.rules...)})
		got := printPaths(t, p, "GET")
		for i := range got { // anyone and authenticated
			got[i] = got[i][:len(got[i])-1]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q; want %q", name, got, c.want)
		}
	}
}

func TestCompareSaysWhatAnOverlapTakes(t *testing.T) {
	for name, c := range map[string]struct {
		from, to []string
		want     []string
	}{
		"a new denial":         {[]string{"PUT /a/{x}"}, []string{"PUT /a/{x}", "-PUT /{y}/b"}, []string{"/a/b 2 0"}},
		"a denial goes":        {[]string{"PUT /a/{x}", "-PUT /{y}/b"}, []string{"PUT /a/{x}"}, []string{"/a/b 0 2"}},
		"a tail":               {[]string{"PUT /a/*"}, []string{"PUT /a/*", "-PUT /{y}/b"}, []string{"/a/b 2 0"}},
		"the directory":        {[]string{"PUT /a/*"}, []string{"PUT /a/*", "-PUT /a"}, []string{"/a/ 2 0"}},
		"with a condition":     {[]string{"PUT /a/{x}"}, []string{"PUT /a/{x}", "-PUT /{y}/b when " + whenX}, []string{"/a/b 2 1"}},
		"below what is denied": {[]string{"PUT /a/*", "-PUT /a/{x}/*"}, []string{"-PUT /a/{x}/*"}, []string{"/a/* 2 0"}},
		"said by a row":        {[]string{"PUT /a/{x}", "-POST /{y}/b"}, []string{"-POST /{y}/b"}, []string{"/a/{x} 2 0"}},
		"nothing":              {[]string{"PUT /a/{x}", "-PUT /{y}/b"}, []string{"PUT /a/{z}", "-PUT /*/b"}, nil},
	} {
		from := compile(t, &Document{Roles: map[string]*Block{"r": rules(append(c.from, "PATCH /p")...)}})
		to := compile(t, &Document{Roles: map[string]*Block{"r": rules(append(c.to, "PATCH /p")...)}})
		var got []string
		for _, g := range compare(t, from, to) {
			if g.Method != "PUT" || g.Who != "role r" {
				t.Errorf("%s: %+v", name, g)
			}
			got = append(got, fmt.Sprintf("%s %d %d", g.Path, g.From, g.To))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q; want %q", name, got, c.want)
		}
	}
}

func TestCompareUsersKnowsOverlapsOfPaths(t *testing.T) {
	doc := func(given ...string) *Policy {
		return compile(t, &Document{
			Roles: map[string]*Block{"reader": rules("GET /a/{x}"), "barred": rules("-GET /{y}/b")},
			Users: map[string]Grants{"eve": {{Roles: given}}},
		})
	}
	_, gains, err := CompareUsers(doc("reader"), doc("reader", "barred"))
	if want := []Gain{{"user eve", "GET", "/a/b", Always, Never}, {"user eve", "HEAD", "/a/b", Always, Never}}; err != nil || !slices.Equal(gains, want) {
		t.Errorf("got %+v, %v; want %+v", gains, err, want)
	}
}

// TestTooManyOverlapsAreSaid: never a silent "no difference".
func TestTooManyOverlapsAreSaid(t *testing.T) {
	var lines []string
	for i := range 102 {
		lines = append(lines, fmt.Sprintf("GET /a%d/{x}", i), fmt.Sprintf("-GET /{y}/b%d", i))
	}
	p := compile(t, &Document{Anyone: rules(lines...)})
	if _, err := p.Matrix(); !errors.Is(err, ErrTooManyOverlaps) {
		t.Errorf("the matrix: %v", err)
	}
	if _, err := Compare(p, p); !errors.Is(err, ErrTooManyOverlaps) {
		t.Errorf("compared: %v", err)
	}
	if _, _, err := CompareUsers(p, p); !errors.Is(err, ErrTooManyOverlaps) {
		t.Errorf("users: %v", err)
	}
}

// overlapping makes rules for one role, whose paths overlap in many ways.
func overlapping(r *rand.Rand) *Document {
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	var lines []string
	for range 1 + r.IntN(6) {
		path := ""
		for i := range r.IntN(4) {
			path += "/" + pick("a", "b", fmt.Sprintf("{v%d}", i), fmt.Sprintf("{w%d}", i))
		}
		if path += pick("", "", "/", "/*"); path == "" {
			path = "/"
		}
		if l := pick("", "-") + pick("*", "PUT", "GET", "POST,PUT") + " " + path; !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	return &Document{Roles: map[string]*Block{"r": rules(append(lines, "PATCH /p")...)}}
}

// compareWithAll holds Compare against CompareAll, for rules without conditions
// and one role: there both must find a difference, or neither.
func compareWithAll(t *testing.T, a, b uint64) (differs bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(a, b)) //nolint:gosec // to have the same ones each time
	old := overlapping(r)
	now := overlapping(r)
	if r.IntN(4) > 0 { // one rule more or less
		block := *old.Roles["r"]
		if n := len(block.Deny); n > 0 && r.IntN(3) == 0 {
			block.Deny = block.Deny[:n-1]
		} else {
			for _, l := range now.Roles["r"].Deny {
				if !slices.Contains(block.Deny, l) {
					block.Deny = append(slices.Clone(block.Deny), l)
					break
				}
			}
		}
		now = &Document{Roles: map[string]*Block{"r": &block}}
	}
	from, to := compile(t, old), compile(t, now)
	all, err := CompareAll(Side{Policy: from}, Side{Policy: to})
	if err != nil {
		t.Fatal(err)
	}
	gains := compare(t, from, to)
	if (len(gains) > 0) != (len(all) > 0) {
		t.Fatalf("Compare: %+v\nCompareAll: %+v\n%s\n\n%s", gains, all, strings.Join(Diff(nil, old), "\n"), strings.Join(Diff(nil, now), "\n"))
	}
	checkRows(t, from)
	return len(all) > 0
}

// checkRows holds that samples of rows are decided as their rows say.
func checkRows(t *testing.T, p *Policy) {
	t.Helper()
	all, err := samples(p)
	if err != nil {
		t.Fatal(err)
	}
	methods := append(slices.Clone(p.methods), "*")
	for _, s := range all {
		for i, cell := range p.cells(s, methods)[slices.Index(p.subjects, "role r")] {
			q := &Request{Method: wildcardMethod(methods[i]), Path: s.of, Authenticated: true, Roles: []string{"r"}, Env: &condition.Env{}}
			if got := p.Decide(q).Allow; got != (cell == Always) {
				t.Errorf("%s %s: the row has %d, and %s is decided as %t", methods[i], s.path, cell, s.of, got)
			}
		}
	}
}

func TestCompareAgreesWithCompareAll(t *testing.T) {
	same, other := 0, 0
	for seed := range uint64(500) {
		if compareWithAll(t, seed, 11) {
			other++
		} else {
			same++
		}
	}
	if same < 100 || other < 100 {
		t.Errorf("%d policies alike and %d not: they are not varied enough", same, other)
	}
}

func FuzzCompareAgreesWithCompareAll(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { compareWithAll(t, a, b) })
}
