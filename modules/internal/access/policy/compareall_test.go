package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

const (
	whenX = `query.x == "1"`
	whenY = `query.y == "1"`
)

// randomDocument makes a small policy.
func randomDocument(r *rand.Rand) *Document {
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	line := func() string {
		return pick("*", "GET", "POST", "GET,PUT") + " " +
			pick("/", "/*", "/a", "/a/", "/A", "/a/*", "/a/b", "/a/{id}", "/{id}/b", "/{id}/*", "/a/{id}/b", "/a%2Fb encoded_slashes", "/{id} encoded_slashes", "/* encoded_slashes") +
			pick("", "", " when "+whenX, " when "+whenY)
	}
	block := func() *Block {
		b := new(Block)
		for range 1 + r.IntN(3) {
			if l := line(); r.IntN(3) > 0 && !slices.Contains(b.Allow, l) {
				b.Allow = append(b.Allow, l)
			} else if !slices.Contains(b.Deny, l) {
				b.Deny = append(b.Deny, l)
			}
		}
		return b
	}
	d := &Document{IgnoreCase: r.IntN(5) == 0, Roles: map[string]*Block{}, Scopes: map[string]*Block{}, Users: map[string]Grants{}}
	if r.IntN(2) == 0 {
		d.Anyone = block()
	}
	if r.IntN(2) == 0 {
		d.Authenticated = block()
	}
	d.Roles["r"] = block()
	if r.IntN(2) == 0 {
		d.Roles["q"] = block()
		if r.IntN(2) == 0 {
			d.Roles["q"].Inherits = []string{"r"}
		}
	}
	if r.IntN(2) == 0 {
		d.Scopes["s"] = block()
	}
	if r.IntN(2) == 0 {
		d.Users["alice"] = Grants{{Roles: []string{"r"}, From: pick("", "jwt", "https://id.example.com")}}
	}
	return d
}

// changed makes another policy of one, which may decide alike.
func changed(r *rand.Rand, d *Document) *Document {
	other := randomDocument(r)
	n := *d
	switch r.IntN(8) {
	case 0:
		return other
	case 1:
		n.Anyone = other.Anyone
	case 2:
		n.Authenticated = other.Authenticated
	case 3:
		n.Roles = map[string]*Block{"r": d.Roles["r"]}
		if q := other.Roles["q"]; q != nil {
			n.Roles["q"] = q
		}
	case 4:
		n.Scopes = other.Scopes
	case 5:
		n.Users = other.Users
	case 6:
		n.IgnoreCase = !d.IgnoreCase
	case 7: // a rule more, that may be in another already
		b := *d.Roles["r"]
		for _, l := range other.Roles["r"].Allow {
			if !slices.Contains(b.Allow, l) {
				b.Allow = append(slices.Clip(b.Allow), l)
			}
		}
		n.Roles = map[string]*Block{"r": &b}
		if q := d.Roles["q"]; q != nil {
			n.Roles["q"] = q
		}
	}
	return &n
}

// bruteForce calls f for requests of every kind that the rules of
// randomDocument tell apart, until it returns false.
func bruteForce(f func(*Request) bool) bool {
	segments := []string{"a", "b", "A", "B", "zz", "a%2Fb", "z%2Fz"}
	paths := []string{"/"}
	level := []string{""}
	for depth := range 3 {
		var next []string
		for _, p := range level {
			for _, s := range segments {
				if depth == 2 && (strings.Contains(s, "%") || s == "B") {
					continue
				}
				next = append(next, p+"/"+s)
				paths = append(paths, p+"/"+s, p+"/"+s+"/")
			}
		}
		level = next
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "get", "put", "OTHER"} {
			for who := range 25 {
				q := Request{Method: method, Path: path, Authenticated: who > 0}
				if n := who - 1; n >= 0 {
					if n&1 > 0 {
						q.Roles = append(q.Roles, "r")
					}
					if n&2 > 0 {
						q.Roles = append(q.Roles, "q")
					}
					if n&4 > 0 {
						q.Scopes = []string{"s"}
					}
					if n >= 8 {
						q.User, q.Source = "alice", principal.Source{Issuer: "https://id.example.com", Kind: principal.KindOpaque}
					}
					if n >= 16 {
						q.Source = principal.Source{Issuer: "https://other.example.com", Kind: principal.KindJWT}
					}
				}
				for _, query := range []string{"", "x=1", "x=0&y=0", "x=1&y=0", "x=0&y=1", "x=1&y=1"} {
					q.Env = &condition.Env{Method: method, Path: path, RawQuery: query, User: q.User}
					if !f(&q) {
						return false
					}
				}
			}
		}
	}
	return true
}

// compareBoth checks the law for two documents: no change means that every
// request is decided alike, and each request that is shown is not.
func compareBoth(t *testing.T, a, b *Document) {
	t.Helper()
	from, err := Compile(a)
	if err != nil {
		return // both rules of a line, say
	}
	to, err := Compile(b)
	if err != nil {
		return
	}
	changes, err := CompareAll(Side{Policy: from}, Side{Policy: to})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		q := c.request()
		x, y := "0", "0" // without the parameter, the condition fails
		if slices.Contains(c.Holds, whenX) {
			x = "1"
		}
		if slices.Contains(c.Holds, whenY) {
			y = "1"
		}
		q.Env = &condition.Env{Method: q.Method, Path: q.Path, RawQuery: "x=" + x + "&y=" + y, User: q.User}
		if old, now := from.Decide(q).Allow, to.Decide(q).Allow; old == now || now != c.Gains {
			t.Fatalf("%+v: decided %t and %t\n%s\n%s", c, old, now, strings.Join(Diff(nil, a), "\n"), strings.Join(Diff(nil, b), "\n"))
		}
	}
	differs := ""
	bruteForce(func(q *Request) bool {
		if old, now := from.Decide(q).Allow, to.Decide(q).Allow; old != now {
			differs = fmt.Sprintf("%s %s %v %v %q %v %s: %t and %t", q.Method, q.Path, q.Roles, q.Scopes, q.User, q.Source, q.Env.RawQuery, old, now)
		}
		return differs == ""
	})
	if (differs != "") != (len(changes) > 0) {
		t.Fatalf("%d changes, by brute force %q\n%s\n\n%s\n%+v", len(changes), differs, strings.Join(Diff(nil, a), "\n"), strings.Join(Diff(nil, b), "\n"), changes)
	}
}

func TestCompareAllAgreesWithBruteForce(t *testing.T) {
	n := 24
	if testing.Short() {
		n = 6
	}
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 7)) //nolint:gosec // to have the same ones each time
		d := randomDocument(r)
		compareBoth(t, d, changed(r, d))
	}
}

func FuzzCompareAllAgreesWithBruteForce(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b)) //nolint:gosec // to have the same ones each time
		d := randomDocument(r)
		compareBoth(t, d, changed(r, d))
	})
}

func rules(lines ...string) *Block {
	b := new(Block)
	for _, l := range lines {
		if deny, ok := strings.CutPrefix(l, "-"); ok {
			b.Deny = append(b.Deny, deny)
		} else {
			b.Allow = append(b.Allow, l)
		}
	}
	return b
}

// TestCompareAllShowsOneRequest pins what is said of single changes.
func TestCompareAllShowsOneRequest(t *testing.T) {
	clerk := func(lines ...string) *Document {
		return &Document{Roles: map[string]*Block{"clerk": rules(lines...), "guest": rules("-DELETE /orders/*", "GET /menu")}}
	}
	base := clerk("GET /orders/*")
	for name, c := range map[string]struct {
		from, to *Document
		want     []string
	}{
		"nothing":             {base, base, nil},
		"another order":       {clerk("GET /a", "GET /b"), clerk("GET /b", "GET /a"), nil},
		"a rule in another":   {base, clerk("GET /orders/*", "GET /orders/7"), nil},
		"methods split":       {clerk("GET,POST /a"), clerk("GET /a", "POST /a"), nil},
		"a variable renamed":  {clerk("GET /a/{x}"), clerk("GET /a/{y}"), nil},
		"a method more":       {base, clerk("GET,PUT /orders/*"), []string{"+ role clerk PUT /orders/", "+ role clerk PUT /orders/*"}},
		"a deny":              {base, clerk("GET /orders/*", "-GET /orders/7"), []string{"- role clerk GET /orders/7", "- role clerk GET /orders/7/", "- role clerk HEAD /orders/7", "- role clerk HEAD /orders/7/"}},
		"a condition":         {clerk("POST /a"), clerk("POST /a when " + whenX), []string{"- role clerk POST /a unless " + whenX}},
		"a condition dropped": {clerk("POST /a when " + whenX), clerk("POST /a"), []string{"+ role clerk POST /a unless " + whenX}},
		"a deny of another role that gives way": {
			&Document{Roles: map[string]*Block{"clerk": rules("POST /a"), "guest": rules("-POST /a", "GET /b")}},
			&Document{Roles: map[string]*Block{"clerk": rules("POST /a"), "guest": rules("GET /b")}},
			[]string{"+ role clerk & role guest POST /a"},
		},
		"for everybody": {
			base, &Document{Anyone: rules("GET /orders/*"), Roles: base.Roles},
			[]string{"+  GET /orders/", "+  GET /orders/*", "+  HEAD /orders/", "+  HEAD /orders/*"},
		},
	} {
		from, to := compile(t, c.from), compile(t, c.to)
		changes, err := CompareAll(Side{Policy: from}, Side{Policy: to})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range changes {
			s := "- "
			if c.Gains {
				s = "+ "
			}
			s += strings.Join(c.Who, " & ") + " " + c.Method + " " + c.Shown
			if len(c.Holds) > 0 {
				s += " when " + strings.Join(c.Holds, ", ")
			}
			if len(c.Fails) > 0 {
				s += " unless " + strings.Join(c.Fails, ", ")
			}
			got = append(got, s)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestPoliciesWithTooManyKindsAreNotCompared(t *testing.T) {
	var lines []string
	for i := range 12 {
		lines = append(lines, "GET "+strings.Repeat("/{v}", 0)+strings.Repeat("/*", i)+fmt.Sprintf("/x%d", i)+strings.Repeat("/*", 13-i)+"/end")
	}
	for i := range 60 {
		lines = append(lines, fmt.Sprintf("GET /p%d/*/q%d/*/r%d/end", i, i, i))
	}
	p := compile(t, &Document{Anyone: rules(lines...)})
	changes, err := CompareAll(Side{Policy: p}, Side{Policy: p})
	if err == nil && len(changes) > 0 || err != nil && err != ErrTooMany { //nolint:errorlint // it is this very one
		t.Errorf("%d changes, %v", len(changes), err)
	}
}
