package condition

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

var testClaims = principal.NewClaims([]byte(`{"sub":"alice","teams":["red","blue"],"level":3,"ratio":0.5,"admin":true,"big":18446744073709551615,"huge":99999999999999999999,"org":{"id":"7","units":[{"n":1}]},"none":null}`))

func testEnv() *Env {
	return &Env{
		Claims:   testClaims,
		User:     "alice",
		Roles:    []string{"clerk", "manager"},
		Scopes:   []string{"orders:read"},
		Method:   "GET",
		Path:     "/teams/red/report/7",
		RawQuery: "page=2&tag=a&tag=b&empty=",
		Header: http.Header{
			"X-Tenant": {"acme"}, "X-Twice": {"a", "b"}, "Authorization": {"Bearer secret"}, "Cookie": {"a=b"},
		},
		Host:     "api.example.com",
		ClientIP: "10.1.2.3",
		Now:      time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC),
	}
}

func eval(t *testing.T, env *Env, text string) (bool, error) {
	t.Helper()
	var c Compiler
	p, err := c.Compile(text, []Var{{"team", 1}, {"id", 3}})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p.Eval(env)
}

func TestConditionsSeeTheRequest(t *testing.T) {
	for text, want := range map[string]bool{
		`team in claims.teams`:                                             true,
		`id in claims.teams`:                                               false,
		`team == "red" && id == "7"`:                                       true,
		`claims.sub == user`:                                               true,
		`claims.level >= 3`:                                                true,
		`claims.level == 3.0`:                                              true,
		`claims.ratio < 1`:                                                 true,
		`claims.admin`:                                                     true,
		`claims.big == 18446744073709551615u`:                              true,
		`claims.big > 5`:                                                   true,
		`claims.org.id == id`:                                              true,
		`claims["org"]["units"][0].n == 1`:                                 true,
		`has(claims.sub) && !has(claims.email)`:                            true,
		`claims.none == null`:                                              true,
		`claims.?email.orValue("none") == "none"`:                          true,
		`"clerk" in roles && has_role("manager")`:                          true,
		`has_role("admin")`:                                                false,
		`has_scope("orders:read")`:                                         true,
		`roles.exists(r, r.startsWith("man"))`:                             true,
		`method == "GET" && path.startsWith("/teams/")`:                    true,
		`query.page == "2" && int(query.page) < 10`:                        true,
		`query.empty == ""`:                                                true,
		`"absent" in query`:                                                false,
		`headers["x-tenant"] == "acme"`:                                    true,
		`headers.host.endsWith(".example.com")`:                            true,
		`in_cidr(client_ip, "10.0.0.0/8")`:                                 true,
		`in_cidr(client_ip, "192.168.0.0/16", "10.1.0.0/16")`:              true,
		`in_cidr(client_ip, "192.168.0.0/16", "2001:db8::/32")`:            false,
		`between(now, "09:00", "17:30")`:                                   true,
		`between(now, "10:30", "10:31")`:                                   true,
		`between(now, "10:00", "10:30")`:                                   false,
		`between(now, "22:00", "06:00")`:                                   false,
		`between(now, "22:00", "11:00")`:                                   true,
		`between(now, "00:00", "24:00")`:                                   true,
		`between(now, "18:00", "19:00", "Asia/Shanghai")`:                  true,
		`now < timestamp("2027-01-01T00:00:00Z")`:                          true,
		`now.getDayOfWeek() == 0`:                                          true,
		`claims.missing == 1 || true`:                                      true, // CEL: one side decides
		"team\n== \"red\"":                                                 true,
		`query.all(k, k != "drop")`:                                        true,
		`claims.teams.filter(t, t == team).size() == 1 && size(roles) > 1`: true,
	} {
		if got, err := eval(t, testEnv(), text); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestConditionsThatCannotBeDecidedAreErrors(t *testing.T) {
	for text, want := range map[string]error{
		`claims.email == "a"`:                           ErrMissing,
		`claims.org.name == "a"`:                        ErrMissing,
		`claims.teams[9] == "a"`:                        ErrMissing,
		`claims.level.deep == 1`:                        ErrMissing,
		`claims.level == 1 || claims.email == "a"`:      ErrMissing,
		`!(claims.email == "a")`:                        ErrMissing,
		`claims.sub`:                                    ErrResult,
		`claims.level`:                                  ErrResult,
		`claims.none`:                                   ErrResult,
		`claims.sub + 1 == claims.sub`:                  ErrType,
		`claims.huge > 1`:                               ErrType,
		`query.absent == "a"`:                           ErrMissing,
		`query.tag == "a"`:                              ErrSent,
		`query.tag != "evil"`:                           ErrSent,
		`headers["x-twice"] == "a"`:                     ErrSent,
		`headers.authorization == "Bearer secret"`:      ErrSent,
		`headers.cookie.contains("a=b")`:                ErrSent,
		`headers.missing == "a"`:                        ErrMissing,
		`int(user) == 1`:                                ErrFailed,
		`1 / (claims.level - 3) == 1`:                   ErrFailed,
		`headers["x-tenant"].matches(query.page + "(")`: ErrFailed,
		`in_cidr(user, "10.0.0.0/8")`:                   ErrType,
	} {
		got, err := eval(t, testEnv(), text)
		if got || !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestErrorsHoldNothingOfTheRequest(t *testing.T) {
	env := testEnv()
	env.User = "s3cret"
	for _, text := range []string{`int(user) == 1`, `claims[user] == 1`, `timestamp(user) < now`, `duration(user) > duration("1s")`, `query[user] == ""`, `"a".matches(user + "(")`} {
		if _, err := eval(t, env, text); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestMalformedQueryCannotBeRead(t *testing.T) {
	for _, raw := range []string{"page=2;x=1", "page=2&x=%zz", "page=2&page=3"} {
		env := testEnv()
		env.RawQuery = raw
		for _, text := range []string{`query.page == "2"`, `query.page != "9"`, `has(query.page) && query.page == "2"`} {
			if got, err := eval(t, env, text); got || !errors.Is(err, ErrSent) {
				t.Errorf("%s with %s: got %v, %v; want %v", text, raw, got, err, ErrSent)
			}
		}
	}
}

func TestFieldNamesThatDifferInCaseAreOneField(t *testing.T) {
	env := testEnv()
	env.Header = http.Header{"X-A": {"1"}, "x-a": {"2"}}
	if got, err := eval(t, env, `headers["x-a"] == "1"`); got || !errors.Is(err, ErrSent) {
		t.Errorf("got %v, %v; want %v", got, err, ErrSent)
	}
}

// TestFieldNamesThatServersMixUpAreOneField: servers that hand fields on as
// variables read X_A for X-A.
func TestFieldNamesThatServersMixUpAreOneField(t *testing.T) {
	for _, other := range []string{"X_a", "X.a", "x_A"} {
		env := testEnv()
		env.Header = http.Header{"X-A": {"1"}, other: {"2"}}
		if got, err := eval(t, env, `headers["x-a"] == "1"`); got || !errors.Is(err, ErrSent) {
			t.Errorf("beside %s: got %v, %v; want %v", other, got, err, ErrSent)
		}
		env = testEnv()
		env.Header = http.Header{other: {"2"}}
		if got, err := eval(t, env, `"x-a" in headers`); !got || err != nil {
			t.Errorf("%s alone: got %v, %v", other, got, err)
		}
		if _, err := eval(t, env, `headers["x-a"] == "2"`); !errors.Is(err, ErrSent) {
			t.Errorf("%s alone: got %v; want %v", other, err, ErrSent)
		}
	}
	env := testEnv()
	env.Header = http.Header{"X_a": {"2"}}
	if got, err := eval(t, env, `headers["x_a"] == "2"`); !got || err != nil {
		t.Errorf("as it is written: got %v, %v", got, err)
	}
}

func TestAnonymousRequestHasEmptyClaims(t *testing.T) {
	env := &Env{Method: "GET", Path: "/"}
	for text, want := range map[string]bool{
		`user == ""`:                 true,
		`size(claims) == 0`:          true,
		`has(claims.sub)`:            false,
		`size(roles) + size(scopes)`: false,
		`"clerk" in roles`:           false,
		`size(query) == 0`:           true,
	} {
		if strings.Contains(text, "+") {
			text += " > 0"
		}
		if got, err := eval(t, env, text); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := eval(t, env, `claims.sub == ""`); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v; want %v", err, ErrMissing)
	}
}

func TestCostIsBounded(t *testing.T) {
	env := testEnv()
	for range 1000 {
		env.Roles = append(env.Roles, "r")
	}
	if _, err := eval(t, env, `roles.all(a, roles.all(b, roles.all(c, a == "x" || c != "x")))`); !errors.Is(err, ErrCost) {
		t.Errorf("got %v; want %v", err, ErrCost)
	}
	if got, err := eval(t, env, `roles.all(a, a != "x")`); !got || err != nil {
		t.Errorf("one pass over 1,000 roles: got %v, %v", got, err)
	}
}

func TestFaultyConditionsAreRefusedWhenCompiled(t *testing.T) {
	for text, want := range map[string]string{
		``:                               "the condition is empty",
		`tem in claims.teams`:            "at character 1: undeclared reference to 'tem'; a condition knows app, body, claims, client_ip, headers, method, now, path, query, roles, scopes, user, team",
		`team in`:                        "at character 8: Syntax error",
		`team + 1 == "a"`:                "at character 6: found no matching overload for '_+_' applied to '(string, int)'",
		`team == 1`:                      "at character 6: found no matching overload",
		`team`:                           "the condition gives string, where true or false is needed",
		`size(roles)`:                    "the condition gives int",
		`user.nope()`:                    "at character 10: undeclared reference to 'nope'",
		`in_cidr(client_ip)`:             "needs an address and a range",
		`in_cidr(client_ip, "10.0.0.0")`: `"10.0.0.0" is not a range such as "10.0.0.0/8"`,
		`in_cidr(client_ip, "::ffff:10.0.0.0/104")`:      "is not a range",
		`in_cidr(client_ip, user)`:                       "a range is written as text",
		`between(now, "9:00", "17:00")`:                  `a time of day is written as "09:00"`,
		`between(now, "09:00", "25:00")`:                 "a time of day is written",
		`between(now, "09:00", "17:00", "Middle/Earth")`: "a time zone is written as",
		`between(now, "09:00", "17:00", "Local")`:        "a time zone is written as",
		`between(user, "09:00", "17:00")`:                "found no matching overload for 'between'",
		"team\n  == nope":                                "at line 2, character 6: undeclared reference to 'nope'",
	} {
		var c Compiler
		_, err := c.Compile(text, []Var{{"team", 1}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v; want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than one line: %q", text, err)
		}
	}
}

func TestPathVariablesCannotTakeOtherNames(t *testing.T) {
	for _, name := range append(Names(), "", "a-b", "1a", "é", "in", "true", "null", "namespace", "for", "http.request.uri.path.file", "a.b", "a b") {
		if err := CheckVariable(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	for _, name := range []string{"id", "team", "order_id", "orderId", "_x", "v2", "size"} {
		if err := CheckVariable(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestReservedWordsAreThoseOfCEL(t *testing.T) {
	// A variable of another name can be declared and read; one of these
	// cannot, or would be something else.
	read := func(name string) bool {
		env, err := base()
		if err != nil {
			t.Fatal(err)
		}
		if env, err = env.Extend(cel.Variable(name, cel.StringType)); err != nil {
			return false
		}
		p, err := compile(env, name+` == "v"`, nil)
		if err != nil {
			return false
		}
		p.vars = []Var{{name, 0}}
		ok, err := p.Eval(&Env{Path: "/v"})
		return ok && err == nil
	}
	for _, name := range reserved {
		if read(name) {
			t.Errorf("%s is no reserved word", name)
		}
	}
	for _, name := range []string{"id", "team", "any", "size", "has", "matches", "google", "optional", "math", "double_", "x1", "this", "self", "and", "or", "not", "type", "string", "list", "int", "dyn", "duration"} {
		if !read(name) || CheckVariable(name) != nil {
			t.Errorf("%s cannot be read", name)
		}
	}
}

func TestOneAddressHasOneAnswer(t *testing.T) {
	env := testEnv()
	for _, ip := range []string{"10.1.2.3", "::ffff:10.1.2.3"} {
		env.ClientIP = ip
		if got, err := eval(t, env, `in_cidr(client_ip, "10.0.0.0/8")`); !got || err != nil {
			t.Errorf("%s: got %v, %v", ip, got, err)
		}
	}
}

func TestEqualConditionsAreCompiledOnce(t *testing.T) {
	var c Compiler
	a, err1 := c.Compile(`team == user`, []Var{{"team", 1}})
	b, err2 := c.Compile(`team == user`, []Var{{"team", 1}})
	d, err3 := c.Compile(`team == user`, []Var{{"team", 2}})
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if a != b || a == d || d.vars[0].Segment != 2 {
		t.Error("programs are shared wrongly")
	}
}

// FuzzCompile: no text makes the compiler or an evaluation panic, an error is
// one line, and evaluating twice gives the same.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`team in claims.teams`, `has(claims.a.b)`, `in_cidr(client_ip,"::/0")`, `between(now,"00:00","24:00")`, `roles.map(r, r + r).exists(x, x == user)`, `query["a"]`, "\"`\"", `claims.?a.orValue(true)`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c Compiler
		p, err := c.Compile(text, []Var{{"team", 1}})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %q", text, err)
			}
			return
		}
		a, err1 := p.Eval(testEnv())
		b, err2 := p.Eval(testEnv())
		if a != b || !errors.Is(err1, err2) || a && err1 != nil {
			t.Errorf("%q: %v, %v and then %v, %v", text, a, err1, b, err2)
		}
	})
}

// BenchmarkEval: go test -bench Eval ./modules/internal/condition
func BenchmarkEval(b *testing.B) {
	for _, text := range []string{`team in claims.teams`, `claims.sub == user`, `has_role("manager")`, `roles.exists(r, r == team)`, `query.page == "2"`, `in_cidr(client_ip, "10.0.0.0/8")`} {
		b.Run(text, func(b *testing.B) {
			var c Compiler
			p, err := c.Compile(text, []Var{{"team", 1}})
			if err != nil {
				b.Fatal(err)
			}
			env := testEnv()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Eval(env); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
