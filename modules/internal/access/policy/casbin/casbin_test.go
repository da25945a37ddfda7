// Package casbin asks Casbin for a second opinion on the decisions of rbac. It
// is a module of its own, so that nobody who builds the plugin has to download
// Casbin:
//
//	cd modules/internal/policy/casbin && go test ./...
//	GOMAXPROCS=1 go test -run NONE -bench . -benchmem -count 5
package casbin

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	casbin "github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	stringadapter "github.com/casbin/casbin/v2/persist/string-adapter"

	importer "github.com/caddy-moat/caddy-moat/modules/internal/access/casbin"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
)

const conf = `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, eft
[role_definition]
g = _, _
[policy_effect]
e = %s
[matchers]
m = g(r.sub, p.sub) && %s(r.obj, p.obj) && %s
`

const (
	allowed   = "some(where (p.eft == allow))"
	undenied  = "some(where (p.eft == allow)) && !some(where (p.eft == deny))"
	sameOrAny = `(r.act == p.act || p.act == "*")`
	pattern   = "regexMatch(r.act, p.act)"
)

func enforcer(t testing.TB, conf, rules string) *casbin.Enforcer {
	t.Helper()
	m, err := model.NewModelFromString(conf)
	if err != nil {
		t.Fatal(err)
	}
	e, err := casbin.NewEnforcer(m, stringadapter.NewAdapter(rules))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func ours(t testing.TB, conf, rules string) *policy.Policy {
	t.Helper()
	doc, _, err := importer.Import([]byte(conf), []byte(rules), importer.Users)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, conf, rules)
	}
	p, err := policy.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var (
	users    = []string{"alice", "bob", "carol"}
	roles    = []string{"clerk", "manager", "admin"}
	methods  = []string{"GET", "POST", "DELETE"}
	words    = []string{"a", "orders", "7"}
	patterns = []string{"%s", "^(%s)$", "(%s)", "^%s$"}
)

func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

// object makes a path of a rule in the language of a matching function.
func object(r *rand.Rand, match string) string {
	var b strings.Builder
	n := 1 + r.IntN(3)
	for i := range n {
		b.WriteByte('/')
		switch {
		case r.IntN(3) == 0 && match == "keyMatch2":
			fmt.Fprintf(&b, ":v%d", i)
		case r.IntN(3) == 0 && match == "keyMatch3":
			fmt.Fprintf(&b, "{v%d}", i)
		case i == n-1 && r.IntN(3) == 0:
			b.WriteByte('*')
		default:
			b.WriteString(pick(r, words))
		}
	}
	return b.String()
}

// random makes a policy on the common subset: no line that is there twice,
// and no role without rules.
func random(r *rand.Rand, match, act string, denies bool) string {
	seen := make(map[string]bool)
	var b strings.Builder
	line := func(fields ...string) {
		if s := strings.Join(fields, ", "); !seen[s] {
			seen[s] = true
			b.WriteString(s + "\n")
		}
	}
	permission := func(sub string) {
		method := pick(r, methods)
		switch {
		case act == pattern && r.IntN(6) == 0:
			method = ".*"
		case act == pattern:
			method = fmt.Sprintf(pick(r, patterns), method)
		case r.IntN(6) == 0:
			method = "*"
		}
		eft := "allow"
		if denies && r.IntN(4) == 0 {
			eft = "deny"
		}
		line("p", sub, object(r, match), method, eft)
	}
	for _, role := range roles {
		permission(role)
	}
	for range 4 + r.IntN(10) {
		permission(pick(r, append(users, roles...)))
	}
	for range 2 + r.IntN(4) {
		line("g", pick(r, users), pick(r, roles))
	}
	// A role inherits from those before it: there are no cycles.
	for i := 1; i < len(roles); i++ {
		if r.IntN(2) == 0 {
			line("g", roles[i], roles[r.IntN(i)])
		}
	}
	return b.String()
}

// TestDecisionsAreThoseOfCasbin compares both for every short path. HEAD and,
// where a rule denies, a slash at the end are left out: they mean more here,
// as the importer says. So are callers that are called like a role.
func TestDecisionsAreThoseOfCasbin(t *testing.T) {
	var paths []string
	level := []string{""}
	for range 3 {
		var next []string
		for _, p := range level {
			for _, w := range append(words, "other") {
				next = append(next, p+"/"+w)
			}
		}
		paths = append(paths, next...)
		level = next
	}
	r := rand.New(rand.NewPCG(1, 2))
	var asked, yes int
	for _, match := range []string{"keyMatch", "keyMatch2", "keyMatch3"} {
		for _, act := range []string{sameOrAny, pattern} {
			for _, effect := range []string{allowed, undenied} {
				conf := fmt.Sprintf(conf, effect, match, act)
				for range 12 {
					rules := random(r, match, act, effect == undenied)
					e, p := enforcer(t, conf, rules), ours(t, conf, rules)
					for range 150 {
						user, method, path := pick(r, append(users, "nobody")), pick(r, append(methods, "PATCH")), pick(r, paths)
						if effect == allowed && r.IntN(4) == 0 {
							path += "/"
						}
						want, err := e.Enforce(user, path, method)
						if err != nil {
							t.Fatal(err)
						}
						got := p.Decide(&policy.Request{Method: method, Path: path, Authenticated: true, User: user})
						if got.Allow != want {
							t.Fatalf("%s %s %s: got %v by %s, Casbin says %v\n%s%s", user, method, path, got.Allow, got.RuleText(), want, conf, rules)
						}
						asked++
						if want {
							yes++
						}
					}
				}
			}
		}
	}
	t.Logf("%d decisions, %d of them allow", asked, yes)
	if yes < asked/20 || yes > asked*19/20 {
		t.Error("the policies are too strict or too wide to tell anything")
	}
}

// sized is the policy of the benchmark of package policy, for both.
func sized(n int) (conf2, rules string) {
	var b strings.Builder
	verbs := []string{"GET", "POST", "PUT", "DELETE"}
	for i := range n {
		fmt.Fprintf(&b, "p, role%d, /api/resource%d/:id/items, %s, allow\n", i%10, i, verbs[i%4])
	}
	fmt.Fprint(&b, "g, alice, role0\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "g, user%d, role%d\n", i, i)
	}
	return fmt.Sprintf(conf, allowed, "keyMatch2", sameOrAny), b.String()
}

func BenchmarkDecision(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		conf, rules := sized(n)
		e, p := enforcer(b, conf, rules), ours(b, conf, rules)
		last := n - 10
		path := fmt.Sprintf("/api/resource%d/4711/items", last)
		method := []string{"GET", "POST", "PUT", "DELETE"}[last%4]
		for _, q := range []struct {
			name, user string
			allow      bool
		}{{"hit", "alice", true}, {"deny", "user3", false}} {
			b.Run(fmt.Sprintf("moat/%s/%d", q.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if d := p.Decide(&policy.Request{Method: method, Path: path, Authenticated: true, User: q.user}); d.Allow != q.allow {
						b.Fatal("wrong answer")
					}
				}
			})
			b.Run(fmt.Sprintf("casbin/%s/%d", q.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if yes, err := e.Enforce(q.user, path, method); err != nil || yes != q.allow {
						b.Fatal("wrong answer", err)
					}
				}
			})
		}
	}
}
