package policy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// sized makes a policy of n rules: ten roles, resources with a rule for one
// method each, one parameter and a role to ask for, as APIs have them.
func sized(n int) *Document {
	doc := &Document{Roles: map[string]*Block{}}
	methods := []string{"GET", "POST", "PUT", "DELETE"}
	for i := range n {
		role := fmt.Sprintf("role%d", i%10)
		b := doc.Roles[role]
		if b == nil {
			b = new(Block)
			doc.Roles[role] = b
		}
		b.Allow = append(b.Allow, fmt.Sprintf("%s /api/resource%d/{id}/items", methods[i%4], i))
	}
	return doc
}

// decisions returns the bodies that the benchmark times and a test runs.
func decisions(t testing.TB) map[string]func() {
	bodies := make(map[string]func())
	for _, n := range []int{100, 1_000, 10_000} {
		doc := sized(n)
		last := n - 10 // of role0, method GET or PUT
		plain := compile(t, doc)
		doc.Roles["role0"].Deny = []string{"DELETE /api/{kind}/{id}/items"}
		overlapping := compile(t, doc)
		path := fmt.Sprintf("/api/resource%d/4711/items", last)
		method := []string{"GET", "POST", "PUT", "DELETE"}[last%4]
		for name, q := range map[string]Request{
			"hit":        {Method: method, Path: path, Authenticated: true, User: "alice", Roles: []string{"role0"}},
			"hit5":       {Method: method, Path: path, Authenticated: true, User: "alice", Roles: []string{"role9", "role8", "role7", "role6", "role0"}},
			"miss":       {Method: method, Path: path, Authenticated: true, User: "alice", Roles: []string{"role3"}},
			"overlap":    {Method: method, Path: path, Authenticated: true, User: "alice", Roles: []string{"role0"}},
			"deny":       {Method: "DELETE", Path: path, Authenticated: true, User: "alice", Roles: []string{"role0"}},
			"elsewhere":  {Method: method, Path: "/other/4711/items", Authenticated: true, User: "alice", Roles: []string{"role0"}},
			"anonymous":  {Method: method, Path: path},
			"wrong_verb": {Method: "PURGE", Path: path, Authenticated: true, User: "alice", Roles: []string{"role0"}},
		} {
			want := name == "hit" || name == "hit5" || name == "overlap"
			p := plain
			if name == "overlap" || name == "deny" {
				p = overlapping
			}
			bodies[fmt.Sprintf("%s/%d", name, n)] = func() {
				if d := p.Decide(&q); d.Allow != want {
					t.Fatalf("%+v: got %+v", q, d)
				}
			}
		}
	}
	p := compile(t, shop())
	env := &condition.Env{
		Claims: principal.NewClaims([]byte(`{"teams":["red","blue"]}`)), User: "alice", Roles: []string{"manager"},
		Method: "GET", Path: "/teams/blue/report", Now: time.Unix(0, 0),
	}
	q := Request{Method: "GET", Path: env.Path, Authenticated: true, User: "alice", Roles: env.Roles, Env: env}
	bodies["when"] = func() {
		if d := p.Decide(&q); !d.Allow {
			t.Fatalf("%+v: got %+v", q, d)
		}
	}
	return bodies
}

func TestDecisionsOfTheBenchmark(t *testing.T) {
	for _, body := range decisions(t) {
		body()
	}
}

// BenchmarkDecide: GOMAXPROCS=1 go test -bench Decide -benchmem ./modules/internal/policy
func BenchmarkDecide(b *testing.B) {
	bodies := decisions(b)
	names := []string{"when"}
	for _, name := range []string{"hit", "hit5", "overlap", "miss", "deny", "elsewhere", "anonymous", "wrong_verb"} {
		for _, n := range []int{100, 1_000, 10_000} {
			names = append(names, fmt.Sprintf("%s/%d", name, n))
		}
	}
	for _, name := range names {
		body := bodies[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				body()
			}
		})
	}
}

// BenchmarkServeMux is a measure for the machine: the standard library's
// router finds the same path among as many patterns, and knows no roles.
// Its ratio to Decide is worth more than nanoseconds are.
//
//	GOMAXPROCS=1 go test -bench 'Decide/hit/|ServeMux' -benchmem ./modules/internal/policy
func BenchmarkServeMux(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			mux := http.NewServeMux()
			methods := []string{"GET", "POST", "PUT", "DELETE"}
			for i := range n {
				mux.HandleFunc(fmt.Sprintf("%s /api/resource%d/{id}/items", methods[i%4], i), func(http.ResponseWriter, *http.Request) {})
			}
			r := httptest.NewRequest(methods[(n-10)%4], fmt.Sprintf("/api/resource%d/4711/items", n-10), http.NoBody)
			b.ReportAllocs()
			for b.Loop() {
				if _, pattern := mux.Handler(r); pattern == "" {
					b.Fatal("not found")
				}
			}
		})
	}
}

// BenchmarkCompile: go test -bench Compile ./modules/internal/policy
func BenchmarkCompile(b *testing.B) {
	doc := sized(10_000)
	for b.Loop() {
		if _, err := Compile(doc); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadFile: the same policy from YAML and from JSON.
func BenchmarkReadFile(b *testing.B) {
	text, err := json.Marshal(sized(10_000))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"p.json", "p.yaml"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := ReadFile(name, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
