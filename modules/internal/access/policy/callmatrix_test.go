package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
)

// printCalls prints the rows for calls, one character for each subject.
func printCalls(m *Matrix) []string {
	var all []string
	for _, row := range m.Calls {
		s := fmt.Sprintf("%s %s ", row.Call, row.Name)
		for _, a := range row.Cells {
			s += map[Allowed]string{Never: "-", Sometimes: "?", Always: "y"}[a]
		}
		all = append(all, s)
	}
	return all
}

func TestMatrixHasARowForEveryNameOfACall(t *testing.T) {
	m := matrix(t, callPolicy(t))
	if want := []string{"anyone", "authenticated", "role clerk", "role manager", "scope mcp:all"}; !slices.Equal(m.Subjects, want) {
		t.Fatalf("subjects: got %q; want %q", m.Subjects, want)
	}
	want := []string{
		"tool * ----y",
		"tool *_report ---yy",
		"tool drop_* -----",
		"tool drop_*_report ---y-", // for which one rule denies, and another allows
		"tool order_* --yyy",
		"tool order_delete ----y", // clerks are denied it, and so are managers, who inherit
		"tool refund ---?y",
		"tool search_orders --yyy",
		"resource * ----y",
		"resource file:///docs/* --yyy",
		"prompt * ----y",
		"prompt summary --yyy",
	}
	if got := printCalls(m); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if m := matrix(t, compile(t, shop())); len(m.Calls) != 0 {
		t.Errorf("a policy without rules for calls: %+v", m.Calls)
	}
}

// TestMatrixOfCallsIsWhatIsDecided holds the rows against the decisions about
// names that a row is for.
func TestMatrixOfCallsIsWhatIsDecided(t *testing.T) {
	p := mustCompile(t, &Document{
		Anyone:        &Block{Allow: []string{"tool ping", "resource *.md", "resource urn:*", "resource http*://pub/*"}},
		Authenticated: &Block{Allow: []string{"tool z*", "tool *zz*y", "prompt *"}, Deny: []string{"tool *DELETE*", "resource file:*", "resource *secret*"}},
		Roles:         map[string]*Block{"a": {Allow: []string{"tool zDelete", "tool a*b*c", "resource file:///a/*"}, Deny: []string{"tool A*C"}}},
	})
	for _, s := range callSamples(p) {
		if CheckCallName(s.call, s.of) != nil {
			t.Errorf("the sample %q of %s %s cannot be decided on", s.of, s.call, s.path)
		}
		cells := p.cells(s, []string{string(s.call)})
		for i, q := range []*Request{
			{},
			{Authenticated: true},
			{Authenticated: true, Roles: []string{"a"}},
		} {
			q.Env = &condition.Env{}
			if got := p.DecideCall(s.call, s.of, q).Allow; got != (cells[i][0] == Always) {
				t.Errorf("%s %s, %s: the matrix has %d, and %q is decided as %t", s.call, s.path, p.subjects[i], cells[i][0], s.of, got)
			}
		}
	}
}

func TestCompareSaysWhoGainsAndLosesWhichCalls(t *testing.T) {
	doc := func(allow, deny []string) *Policy {
		return mustCompile(t, &Document{
			Authenticated: &Block{Allow: []string{"POST /mcp"}},
			Roles:         map[string]*Block{"clerk": {Allow: append([]string{"GET /x"}, allow...), Deny: deny}},
		})
	}
	for name, c := range map[string]struct {
		from, to *Policy
		want     []Gain
	}{
		"the same": {doc([]string{"tool a*", "tool b"}, nil), doc([]string{"tool b", "tool a*"}, nil), nil},
		"wider": {
			doc([]string{"tool search_a"}, nil), doc([]string{"tool search_*"}, nil),
			[]Gain{{"role clerk", "tool", "search_*", Never, Always}},
		},
		"under a condition": {
			doc([]string{"tool refund"}, nil), doc([]string{"tool refund when mcp.arguments.amount < 5"}, nil),
			[]Gain{{"role clerk", "tool", "refund", Always, Sometimes}},
		},
		"of another kind": {
			doc([]string{"prompt a"}, nil), doc([]string{"tool a"}, nil),
			[]Gain{{"role clerk", "tool", "a", Never, Always}, {"role clerk", "prompt", "a", Always, Never}},
		},
		// Who may send the request may call all names, where no rule is for any.
		"the first rule": {
			doc(nil, nil), doc([]string{"tool a"}, nil),
			[]Gain{
				{"anyone", "tool", "*", Always, Never},
				{"authenticated", "tool", "*", Always, Never},
				{"role clerk", "tool", "*", Always, Never},
				{"anyone", "tool", "a", Always, Never},
				{"authenticated", "tool", "a", Always, Never},
				{"anyone", "resource", "*", Always, Never},
				{"authenticated", "resource", "*", Always, Never},
				{"role clerk", "resource", "*", Always, Never},
				{"anyone", "prompt", "*", Always, Never},
				{"authenticated", "prompt", "*", Always, Never},
				{"role clerk", "prompt", "*", Always, Never},
			},
		},
		// Neither name is the more specific: what both are for is lost all the same.
		"denied in part": {
			doc([]string{"tool order_*"}, nil), doc([]string{"tool order_*"}, []string{"tool *_Delete"}),
			[]Gain{{"role clerk", "tool", "order_*_Delete", Always, Never}},
		},
	} {
		if got := compare(t, c.from, c.to); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v; want %+v", name, got, c.want)
		}
	}
	// The other way round everybody gains.
	if got := compare(t, doc([]string{"tool a"}, nil), doc(nil, nil)); len(got) != 11 || got[0] != (Gain{"anyone", "tool", "*", Never, Always}) {
		t.Errorf("the last rule goes: %+v", got)
	}
}

func TestCompareUsersKnowsCalls(t *testing.T) {
	doc := func(roles ...string) *Policy {
		d := &Document{Roles: map[string]*Block{"clerk": {Allow: []string{"POST /mcp", "tool search_*"}}, "other": {Allow: []string{"POST /mcp"}}}}
		d.Users = map[string]Grants{"eve": {{Roles: roles}}}
		return mustCompile(t, d)
	}
	roles, gains, err := CompareUsers(doc("other"), doc("other", "clerk"))
	if want := []Gain{{"user eve", "tool", "search_*", Never, Always}}; err != nil || len(roles) != 1 || !slices.Equal(gains, want) {
		t.Errorf("got %q, %+v, %v", roles, gains, err)
	}
}

func TestExplainCallNamesEveryRule(t *testing.T) {
	p := callPolicy(t)
	q := &Request{Authenticated: true, Roles: []string{"manager"}, Env: &condition.Env{}}
	var got []string
	for _, c := range p.ExplainCall(Tool, "refund", q) {
		got = append(got, fmt.Sprintf("%s %t %t", c.Rule, c.Applies, c.Holds && c.Err == nil))
	}
	want := []string{"role manager: allow tool refund when mcp.arguments.amount <= 100 true false", "scope mcp:all: allow tool * false true"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if got := p.ExplainCall(Tool, "ｒefund", q); got != nil {
		t.Errorf("a name with two forms: %v", got)
	}
}

func FuzzOverlapIsOfBoth(f *testing.F) {
	for _, s := range [][2]string{{"order_*", "*_delete"}, {"a*b*c", "*x*"}, {"*ſ", "S*"}, {"İ*", "i̇x*"}, {"K*", "K*y"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, allow, deny string) {
		if !strings.Contains(allow, "*") || !strings.Contains(deny, "*") || CheckCallName(Tool, allow) != nil || CheckCallName(Tool, deny) != nil {
			return
		}
		p, err := Compile(&Document{Anyone: &Block{Allow: []string{"tool " + allow}, Deny: []string{"tool " + deny}}})
		if err != nil {
			return // a name with spaces is not one in a rule's line
		}
		for _, s := range callSamples(p) {
			if len(s.parents) == 0 {
				continue
			}
			// What both are for: the rule that denies matches it.
			if rules := p.rulesForCall(Tool, s.of); !slices.ContainsFunc(rules, func(r *Rule) bool { return !r.Allow }) {
				t.Errorf("%q of %q and %q: %v", s.of, allow, deny, rules)
			}
		}
	})
}
