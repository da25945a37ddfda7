package casbin

import (
	"strings"
	"testing"
)

// model returns a model with other definitions than the usual.
func modelWith(changes ...string) string {
	m := `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && keyMatch(r.obj, p.obj) && (r.act == p.act || p.act == "*")
`
	return strings.NewReplacer(changes...).Replace(m)
}

func TestWhatCannotBeCarriedOverIsAnError(t *testing.T) {
	const p = "p, a, /x, GET\n"
	for _, tc := range []struct{ model, policy, want string }{
		{modelWith("r = sub, obj, act", "r = sub, dom, obj, act"), p, "a request of subject, object and action is supported"},
		{modelWith("p = sub, obj, act", "p = sub, obj"), p, "it has no act"},
		{modelWith("p = sub, obj, act", "p = sub, obj, act, prio"), p, "only subject, object, action and eft"},
		{modelWith("p = sub, obj, act", "p = sub, obj, act\np2 = sub, obj"), p, "p2 is not supported"},
		{modelWith("some(where (p.eft == allow))", "!some(where (p.eft == deny))"), p, "what no rule allows is rejected here"},
		{modelWith("some(where (p.eft == allow))", "priority(p.eft) || deny"), p, "only allow"},
		{modelWith("r.sub == p.sub", `(r.sub == p.sub || r.sub == "root")`), p, "is not supported; write it as a condition"},
		{modelWith("r.sub == p.sub", "r.sub.Age > 18"), p, "is not supported"},
		{modelWith("r.sub == p.sub", "g(r.sub, p.sub)"), p, "is not supported"},
		{modelWith("r.sub == p.sub && ", ""), p, "does not look at the subject"},
		{modelWith("r.sub == p.sub", "r.sub == p.sub && r.sub == p.sub"), p, "at the subject twice"},
		{modelWith("keyMatch(", "keyMatch4("), p, "is not supported"},
		{modelWith("&&", "||"), p, "is not supported"},
		{modelWith("[matchers]", "[matchers]\n[matchers]"), p, "repeated"},
		{modelWith("[matchers]", "[extra]\n[matchers]"), p, "section extra is not supported"},
		{"r = sub", p, "line 1 is not a section"},
		{"", p, "a request of subject"},
		{modelWith("\nm = ", "\nm = r.sub == p.sub && \\"), p, ""},
		{modelWith(), "p, a, data, GET\n", "line 1: the object 'data' is not a path"},
		{modelWith(), "p, a, /x, read\n", "line 1: the action 'read'"},
		{modelWith(), "p, a, /x, get\n", "in capitals"},
		{modelWith(), "p, a, /x*, GET\n", "asterisk"},
		{modelWith(), "p, a, /x/*/y, GET\n", "asterisk"},
		{modelWith(), "p, a, /x/../y, GET\n", "would never be matched"},
		{modelWith(), "p, a, /x\n", "line 1: it has 2 fields"},
		{modelWith(), "p, a, /x, GET, deny\n", "line 1: it has 4 fields"},
		{modelWith(), "p, , /x, GET\n", "the subject is empty"},
		{modelWith(), "p2, a, /x, GET\n", "is not supported"},
		{modelWith(), "g, a, b\n", "does not use g"},
		{modelWith(), "", "no roles"},
		{modelWith("keyMatch(", "keyMatch2("), "p, a, /x/y:z, GET\n", "not a whole segment"},
		{modelWith("keyMatch(", "keyMatch2("), "p, a, /x(y)?, GET\n", "a regular expression"},
		{modelWith(`(r.act == p.act || p.act == "*")`, "regexMatch(r.act, p.act)"), "p, a, /x, G.*\n", "the action 'G.*'"},
		{modelWith(`(r.act == p.act || p.act == "*")`, "r.act == p.act"), "p, a, /x, *\n", "the action '*'"},
	} {
		_, _, err := Import([]byte(tc.model), []byte(tc.policy), Roles)
		if tc.want == "no roles" {
			if err == nil {
				t.Error("an empty policy was taken")
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s%s: got %v, want %q", tc.model, tc.policy, err, tc.want)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add(modelWith(), "p, a, /x/*, GET\n")
	f.Add(modelWith("keyMatch(", "keyMatch2(", "r.sub == p.sub", "g(r.sub, p.sub)", "[policy_effect]", "[role_definition]\ng=_,_\n[policy_effect]"), "p, a, /x/:id, *\ng, b, a\n")
	f.Fuzz(func(t *testing.T, model, rules string) {
		doc, _, err := Import([]byte(model), []byte(rules), Users)
		if (doc == nil) != (err != nil) {
			t.Errorf("got %v, %v", doc, err)
		}
	})
}
