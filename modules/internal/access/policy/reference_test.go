package policy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// reference decides slowly: it walks the rules one by one, as the package
// comment says them.
func reference(p *Policy, doc *Document, q *Request) Decision {
	who := map[string]bool{"anyone": true}
	if q.Authenticated {
		who["authenticated"] = true
		var given []string
		for _, g := range doc.Users[q.User] {
			given = append(given, g.Roles...)
		}
		for _, r := range slices.Concat(q.Roles, given) {
			inheritAll(who, "role ", r, doc.Roles)
		}
		for _, s := range q.Scopes {
			inheritAll(who, "scope ", s, doc.Scopes)
		}
	}
	var d Decision
	for _, allow := range []bool{false, true} {
		for _, conditional := range []bool{false, true} {
			for _, r := range p.Rules() {
				if r.Allow != allow || (r.Line.When != "") != conditional || !who[r.Who] || !refMatch(r, q, doc.IgnoreCase) {
					continue
				}
				holds, err := true, error(nil)
				if conditional {
					holds, err = r.when.Eval(q.Env)
				}
				switch {
				case err != nil && !allow:
					return Decision{Rule: r, Reason: ConditionFails, Err: err, Failed: r}
				case err != nil && d.Err == nil:
					d.Err, d.Failed = err, r
				case err == nil && holds && allow:
					return Decision{Allow: true, Rule: r, Reason: RuleAllows}
				case err == nil && holds:
					return Decision{Rule: r, Reason: RuleDenies}
				}
			}
		}
	}
	d.Reason = NoRule
	return d
}

func inheritAll(who map[string]bool, kind, name string, blocks map[string]*Block) {
	if b := blocks[name]; b != nil && !who[kind+name] {
		who[kind+name] = true
		for _, parent := range b.Inherits {
			inheritAll(who, kind, parent, blocks)
		}
	}
}

var refPatterns = map[string]*regexp.Regexp{}

func refMatch(r *Rule, q *Request, fold bool) bool {
	if m := r.Line.Methods; m != nil {
		is := func(want string) bool {
			return q.Method == want || !r.Allow && strings.EqualFold(q.Method, want)
		}
		if !slices.ContainsFunc(m, is) && (!slices.Contains(m, http.MethodGet) || !is(http.MethodHead)) {
			return false
		}
	}
	key := fmt.Sprint(fold, r.Allow, r.Line.Path)
	re := refPatterns[key]
	if re == nil {
		re = regexp.MustCompile(map[bool]string{true: "(?i)"}[fold] + refRegexp(r))
		refPatterns[key] = re
	}
	return re.MatchString(q.Path)
}

func refRegexp(r *Rule) string {
	path := r.Line.Path
	if rest, ok := strings.CutSuffix(path, "/*"); ok {
		return "^" + refSegments(rest) + "/(?s:.*)$"
	}
	if r.Allow || path == "/" {
		return "^" + refSegments(path) + "$"
	}
	return "^" + refSegments(strings.TrimSuffix(path, "/")) + "/?$"
}

func refSegments(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if s == "*" || strings.HasPrefix(s, "{") {
			segments[i] = "[^/]+"
			continue
		}
		segments[i] = regexp.QuoteMeta(s)
	}
	return strings.Join(segments, "/")
}

// choice picks from a list with bytes, or at random.
type choice func(n int) int

func (c choice) of(list ...string) string { return list[c(len(list))] }

func (c choice) path(wild bool) string {
	var b strings.Builder
	for i := range c(4) {
		b.WriteByte('/')
		s := []string{"a", "b", "C"}
		if wild {
			s = append(s, "*", fmt.Sprintf("{v%d}", i))
		} else {
			s = append(s, "B", "c")
		}
		b.WriteString(c.of(s...))
	}
	if wild {
		b.WriteString(c.of("", "", "/", "/*"))
	} else {
		b.WriteString(c.of("", "", "/"))
	}
	if b.Len() == 0 {
		return "/"
	}
	p := b.String()
	if wild && strings.HasSuffix(p, "/*") && !strings.HasSuffix(p, "/*/*") || !wild {
		return p
	}
	return strings.Replace(p, "/*/*", "/{w}/*", 1)
}

func (c choice) rules() []string {
	var rules []string
	for range c(4) {
		r := c.of("*", "GET", "POST", "GET,POST", "HEAD", "PURGE") + " " + c.path(true)
		r += c.of("", "", "", " when user == 'u1'", " when claims.x == 1", " when claims.missing == 1", " when 'r1' in roles", " when method == 'GET'")
		if !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	return rules
}

func (c choice) document() *Document {
	doc := &Document{Roles: map[string]*Block{}, Scopes: map[string]*Block{}, Users: map[string]Grants{}}
	for i := range 4 {
		b := &Block{Allow: c.rules(), Deny: c.rules()}
		for j := range i {
			if c(4) == 0 {
				b.Inherits = append(b.Inherits, fmt.Sprintf("r%d", j))
			}
		}
		if len(b.Allow)+len(b.Deny)+len(b.Inherits) > 0 {
			doc.Roles[fmt.Sprintf("r%d", i)] = b
			continue
		}
		doc.Roles[fmt.Sprintf("r%d", i)] = &Block{Allow: []string{"GET /"}}
	}
	if b := (&Block{Allow: c.rules(), Deny: c.rules()}); len(b.Allow)+len(b.Deny) > 0 {
		doc.Scopes["s0"] = b
	}
	doc.Anyone, doc.Authenticated = &Block{Allow: c.rules(), Deny: c.rules()}, &Block{Allow: c.rules(), Deny: c.rules()}
	doc.IgnoreCase = c(3) == 0
	if c(2) == 0 {
		doc.Users["u1"] = Grants{{Roles: []string{"r2"}}}
	}
	return doc
}

func (c choice) request() *Request {
	q := &Request{Method: c.of("GET", "HEAD", "POST", "PURGE", "OPTIONS", "get", "Post"), Path: c.path(false)}
	q.Env = &condition.Env{Method: q.Method, Path: q.Path, Now: time.Unix(0, 0)}
	if c(4) > 0 {
		q.Authenticated, q.User = true, c.of("u0", "u1")
		for i := range 5 {
			if c(2) == 0 {
				q.Roles = append(q.Roles, fmt.Sprintf("r%d", i))
			}
		}
		if c(2) == 0 {
			q.Scopes = []string{"s0", "s1"}
		}
		q.Env.Claims = principal.NewClaims([]byte(`{"x":1}`))
		q.Env.User, q.Env.Roles, q.Env.Scopes = q.User, q.Roles, q.Scopes
	}
	return q
}

// checkEqual holds the law: fast equals slow.
func checkEqual(t *testing.T, p *Policy, doc *Document, q *Request) {
	t.Helper()
	got, want := p.Decide(q), reference(p, doc, q)
	checkExplain(t, p, q, got)
	bare := *q
	bare.Env = nil
	if d := p.Decide(&bare); d.Err == nil && d != got {
		t.Errorf("%s %s: %+v without anything to look at, and %+v with it", q.Method, q.Path, d, got)
	}
	if got != want {
		t.Errorf("%s %s user %q roles %v scopes %v\ngot  %v by %s, %s, %v\nwant %v by %s, %s, %v\n%s", q.Method, q.Path, q.User, q.Roles, q.Scopes,
			got.Allow, got.RuleText(), got.Reason, got.Err, want.Allow, want.RuleText(), want.Reason, want.Err, printRules(p))
	}
}

// checkExplain holds that the rules Explain shows lead to the decision.
func checkExplain(t *testing.T, p *Policy, q *Request, d Decision) {
	t.Helper()
	var denies, allows, named bool
	for _, c := range p.Explain(q) {
		if !c.Applies {
			continue
		}
		named = named || c.Rule == d.Rule
		denies = denies || !c.Rule.Allow && (c.Holds || c.Err != nil)
		allows = allows || c.Rule.Allow && c.Holds && c.Err == nil
	}
	if d.Allow != (allows && !denies) || named != (d.Rule != nil) {
		t.Errorf("%s %s: explained as denied %v, allowed %v, named %v, and is %+v by %s\n%s", q.Method, q.Path, denies, allows, named, d, d.RuleText(), printRules(p))
	}
}

func printRules(p *Policy) string {
	var b strings.Builder
	for _, r := range p.Rules() {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

func TestFastEqualsSlowForRandomPolicies(t *testing.T) {
	policies, requests := 200, 150
	if testing.Short() {
		policies = 60
	}
	r := rand.New(rand.NewPCG(1, 2))
	c := choice(r.IntN)
	allowed, denied, failed := 0, 0, 0
	for range policies {
		doc := c.document()
		p, err := Compile(doc)
		if err != nil {
			t.Fatalf("%+v: %v", doc, err)
		}
		for range requests {
			q := c.request()
			checkEqual(t, p, doc, q)
			switch d := p.Decide(q); {
			case d.Allow:
				allowed++
			case d.Reason == ConditionFails:
				failed++
			case d.Reason == RuleDenies:
				denied++
			}
		}
		if t.Failed() {
			return
		}
	}
	if min(allowed, denied, failed) == 0 {
		t.Errorf("%d allowed, %d denied, %d failed: the policies are not varied enough", allowed, denied, failed)
	}
}

// TestFastEqualsSlowForSmallPaths: every pair of two short patterns, one
// allowing and one denying, against every short path.
func TestFastEqualsSlowForSmallPaths(t *testing.T) {
	patterns, paths := allPaths([]string{"a", "b", "*", "{x}"}, true), allPaths([]string{"a", "b", "c"}, false)
	var nobody condition.Env
	for _, allow := range patterns {
		for _, deny := range patterns {
			doc := &Document{Anyone: &Block{Allow: []string{"* " + allow}, Deny: []string{"* " + deny}}}
			p := compile(t, doc)
			for _, path := range paths {
				checkEqual(t, p, doc, &Request{Method: "GET", Path: path, Env: &nobody})
			}
			if t.Failed() {
				return
			}
		}
	}
}

// allPaths returns every path of up to three segments.
func allPaths(segments []string, wild bool) []string {
	paths := []string{"/"}
	level := []string{""}
	for range 3 {
		var next []string
		for _, prefix := range level {
			for _, s := range segments {
				if s != "{x}" || !strings.Contains(prefix, "{x}") {
					next = append(next, prefix+"/"+s)
				}
			}
		}
		level = next
		for _, p := range level {
			if !wild || !strings.HasSuffix(p, "*") || len(p) == 2 {
				paths = append(paths, p+"/")
			}
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// FuzzDecide: fast equals slow.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, "GET", "/a/b")
	f.Add([]byte("a policy of some length, that has rules"), "HEAD", "/a/b/c/")
	f.Fuzz(func(t *testing.T, data []byte, method, path string) {
		i := 0
		c := choice(func(n int) int {
			if len(data) == 0 {
				return 0
			}
			i++
			return (int(data[i%len(data)]) + i/len(data)) % n
		})
		doc := c.document()
		p, err := Compile(doc)
		if err != nil {
			t.Fatalf("%+v: %v", doc, err)
		}
		q := c.request()
		checkEqual(t, p, doc, q)
		if strings.HasPrefix(path, "/") {
			q.Method, q.Path = method, path
			q.Env.Method, q.Env.Path = method, path
			checkEqual(t, p, doc, q)
		}
	})
}
