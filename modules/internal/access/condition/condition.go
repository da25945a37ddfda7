// Package condition compiles and evaluates the expressions that stand behind
// `when` in a policy: CEL (https://cel.dev) over what is known of a request.
//
// An expression sees
//
//	claims      map     the verified claims; empty for an anonymous request
//	user        string  the caller's id; "" for an anonymous request
//	user.issuer string  who vouches for the caller; "" where no issuer does
//	user.kind   string  the kind of credential, such as jwt or api_key
//	roles       list    the caller's roles
//	scopes      list    the caller's scopes
//	app         map     the application that sends the request for the user,
//	                    where both show a credential: id, issuer, kind, plan,
//	                    roles, scopes, claims; empty where there is none
//	method      string  the method that is decided on
//	path        string  the path that is decided on, decoded once
//	query       map     the query parameters: name to value
//	headers     map     the header fields: name in lower case to value
//	client_ip   string  the client's address, as Caddy determined it
//	now         timestamp
//	body        the request's body as JSON, such as body.order.total
//	{name}      string  every path variable of the rule, under its name;
//	                    {app} hides the application
//	mcp         map     in rules for tools, resources and prompts: mcp.method,
//	                    mcp.name and mcp.arguments, which is what a call of
//	                    the Model Context Protocol has
//
// beside CEL's standard functions, its optional types, and
//
//	has_role("r"), has_scope("s")        membership in roles, scopes
//	in_cidr(client_ip, "10.0.0.0/8", …)  an address in any of the ranges
//	between(now, "09:00", "17:30")       a time of day, from and before, in UTC
//	between(now, "22:00", "06:00", "Asia/Shanghai")
//	owner("/sub", id)                    id is the claim, or is in it: see below
//	owner("/sub", id, "https://…")       the same, of a caller from there
//	from("https://…"), from("api_key")   who vouches for the caller: an issuer,
//	                                     internal, or a kind of credential
//	acr("2"), acr("phr phrh")            the user was authenticated in one of
//	                                     these ways: the claim acr
//	max_age("5m")                        and not longer ago: the claim auth_time
//	acr("2", "5m")                       both
//
// owner compares a claim, named by a JSON Pointer (RFC 6901), with a text:
// owner("/sub", id) for the path /orders/{id} lets callers have what bears
// their own name, and owner("/teams", team) what belongs to one of their
// teams. A claim that is a whole number is compared by its digits, a list by
// its elements. The empty text belongs to nobody.
//
// acr and max_age have no result where the claim is missing, is of another type or
// is a time in the future. The values of acr have no order: all that will do are
// written.
//
// The body is read when an expression that is evaluated asks for it. It can be
// read if it is one JSON text of bounded size, in UTF-8, sent as JSON without
// a content coding, without two members of one object whose names are the same
// but for case: two programs could read these differently.
//
// A query parameter or header field that was sent more than once has no one
// value: reading it is an error, and so is reading a query that is malformed
// or has more than 1000 parameters. Otherwise the expression could be decided
// on one value and the request served with another. The same goes for what
// somebody may take for the parameter that is asked for (see package query):
// beside tenant=a, or instead of it, tenant[]=b, tenant[x]=b, Tenant=b or
// +tenant=b leave query.tenant without a value, has(query.tenant) and "tenant"
// in query without a result. A member of the body that is there in another
// spelling only, in capitals or without underscores, cannot be asked for
// either. A field whose name has underscores or dots counts for
// the one with hyphens too; the names of fields have no case. The fields that carry credentials (Authorization,
// Proxy-Authorization, Cookie) cannot be read either: what they prove is in
// claims, once it has been verified.
//
// An expression that fails on a request, because a claim is missing or has
// another type, has no result. What that means is for the caller to say; it
// must never mean that something is allowed.
package condition

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// maxCost bounds what one evaluation may do, in CEL's units of cost: some
// milliseconds at most. Only expressions with a comprehension (exists, all,
// map, filter) can do more than read each of their inputs once, so only they
// pay for the counting.
const maxCost = 100_000

// Errors of an evaluation. Their text holds nothing of the request: CEL's own
// messages may quote values.
var (
	ErrMissing = errors.New("a claim, parameter or field that it reads is missing")
	ErrType    = errors.New("a value does not have the type that it needs")
	ErrCost    = errors.New("it costs too much to evaluate")
	ErrSent    = errors.New("a query parameter, header field or member of the body that it reads has no one value")
	ErrBody    = errors.New("the request's body cannot be read as JSON of the allowed size")
	ErrResult  = errors.New("its result is not true or false")
	ErrFailed  = errors.New("it failed")
)

// Names lists the variables that every expression sees.
func Names() []string {
	return []string{"body", "claims", "client_ip", "headers", "method", "now", "path", "query", "roles", "scopes", "user"}
}

// CheckVariable reports why a path variable cannot have this name.
func CheckVariable(name string) error {
	if name == "" {
		return errors.New("a variable needs a name: {id}")
	}
	if strings.HasPrefix(name, "http.") {
		// The Caddyfile has put the long form in place of {file}.
		return fmt.Errorf("{%s}: in a Caddyfile, %s is a placeholder of Caddy's or short for one; choose another name", name, name[strings.LastIndexByte(name, '.')+1:])
	}
	for i, c := range name {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return fmt.Errorf("{%s}: a variable's name is made of letters, digits and _ and does not begin with a digit", name)
		}
	}
	if slices.Contains(Names(), name) {
		return fmt.Errorf("{%s}: %s already means something in conditions; choose another name", name, name)
	}
	if slices.Contains(reserved, name) {
		return fmt.Errorf("{%s}: %s is a reserved word of CEL; choose another name", name, name)
	}
	return nil
}

// reserved are CEL's words (https://github.com/google/cel-spec, langdef.md,
// "Syntax"). The names of its types are free: a variable goes before them.
var reserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
	"namespace", "null", "package", "return", "true", "var", "void", "while",
}

// callName is the variable for what is called by the Model Context Protocol, in
// rules for calls, which have no path variables. callVar stands for it among
// these; no variable can have that name.
const (
	callName = "mcp"
	callVar  = "(mcp)"
)

// appName is the variable for the application, which a path variable of the
// same name hides.
const appName = "app"

// base is the environment without path variables.
var base = sync.OnceValues(func() (*cel.Env, error) {
	strs := cel.ListType(cel.StringType)
	opts := []cel.EnvOption{
		cel.CustomTypeAdapter(adapter{types.DefaultTypeAdapter}),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("body", cel.DynType),
		cel.Variable("user", cel.StringType),
		cel.Variable("user.issuer", cel.StringType),
		cel.Variable("user.kind", cel.StringType),
		cel.Variable("roles", strs),
		cel.Variable("scopes", strs),
		cel.Variable("method", cel.StringType),
		cel.Variable("path", cel.StringType),
		cel.Variable("query", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("client_ip", cel.StringType),
		cel.Variable("now", cel.TimestampType),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		// A pattern may come from the request.
		cel.RegexProgramSizeLimit(2000),
	}
	return cel.NewEnv(slices.Concat(opts, functions(), stepUpFunctions())...)
})

// Var is a path variable: a name for one segment of the path, the first
// segment being 0.
type Var struct {
	Name    string
	Segment int
}

// Program is a compiled expression. It may be used by many goroutines.
type Program struct {
	text string
	vars []Var
	used []Var // those that the expression reads
	prg  cel.Program

	body, headers bool
	call          bool
	who           bool
	scopes        []string
	stepUps       StepUps
	reads         []string // the path variables among the names of the expression
}

// Variables returns the path variables that evaluating p may read.
func (p *Program) Variables() []Var { return p.used }

// Value returns what the variable is in a path, which has that segment.
func (v Var) Value(path string) string { return segment(path, v.Segment) }

// ReadsCall reports whether evaluating p may read the arguments of a call.
func (p *Program) ReadsCall() bool { return p.call }

// Scopes returns the scopes that p asks for by name.
func (p *Program) Scopes() []string { return p.scopes }

// ReadsBody reports whether evaluating p may read the request's body.
func (p *Program) ReadsBody() bool { return p.body }

// ReadsHeaders reports whether evaluating p may read header fields.
func (p *Program) ReadsHeaders() bool { return p.headers }

// NamesUser reports whether p looks at who the caller is and not at who
// vouches for that: it asks for user, owner() or the claim sub, and never for
// user.issuer, user.kind, from() or the claim iss. Where several issuers can
// vouch, it does not say which user is meant.
func (p *Program) NamesUser() bool { return p.who }

// String returns the expression as it was written.
func (p *Program) String() string { return p.text }

// Compiler compiles expressions and keeps what they can share. It is meant
// for one policy and used by one goroutine.
type Compiler struct {
	envs  map[string]*cel.Env
	progs map[string]*Program
}

// CompileCall parses and checks an expression of a rule for calls of the Model
// Context Protocol, which sees mcp beside the rest.
func (c *Compiler) CompileCall(text string) (*Program, error) {
	return c.Compile(text, []Var{{Name: callVar}})
}

// Compile parses and checks an expression over the given path variables.
func (c *Compiler) Compile(text string, vars []Var) (*Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("the condition is empty")
	}
	names := make([]string, len(vars))
	key := text
	for i, v := range vars {
		names[i] = v.Name
		key = v.Name + "@" + strconv.Itoa(v.Segment) + " " + key
	}
	if p, ok := c.progs[key]; ok {
		return p, nil
	}
	env, err := c.env(names)
	if err != nil {
		return nil, err
	}
	p, err := compile(env, text, names)
	if err != nil {
		return nil, err
	}
	p.vars = vars
	for _, v := range vars {
		if slices.Contains(p.reads, v.Name) {
			p.used = append(p.used, v)
		}
	}
	if c.progs == nil {
		c.progs = make(map[string]*Program)
	}
	c.progs[key] = p
	return p, nil
}

func (c *Compiler) env(vars []string) (*cel.Env, error) {
	scope := strings.Join(vars, ",")
	if env, ok := c.envs[scope]; ok {
		return env, nil
	}
	env, err := base()
	if err != nil {
		return nil, err
	}
	opts := make([]cel.EnvOption, len(vars), len(vars)+1)
	for i, v := range vars {
		if v == callVar {
			opts[i] = cel.Variable(callName, cel.MapType(cel.StringType, cel.DynType))
			continue
		}
		if err := CheckVariable(v); err != nil {
			return nil, err
		}
		opts[i] = cel.Variable(v, cel.StringType)
	}
	// Paths such as /apps/{app} were written before there was this variable.
	if !slices.Contains(vars, appName) {
		opts = append(opts, cel.Variable(appName, cel.MapType(cel.StringType, cel.DynType)))
	}
	if env, err = env.Extend(opts...); err != nil {
		return nil, err
	}
	if c.envs == nil {
		c.envs = make(map[string]*cel.Env)
	}
	c.envs[scope] = env
	return env, nil
}

func compile(env *cel.Env, text string, vars []string) (*Program, error) {
	checked, iss := env.Compile(text)
	if iss.Err() != nil {
		return nil, explain(iss, vars)
	}
	// A dynamic result, such as a claim, is looked at when it is there.
	if t := checked.OutputType(); t != cel.BoolType && t != cel.DynType {
		hint := ""
		if strings.HasPrefix(text, "'") {
			hint = ": a Caddyfile takes single quotes for a part of the text; write the condition in backquotes"
		}
		return nil, fmt.Errorf("the condition gives %s, where true or false is needed%s", cel.FormatCELType(t), hint)
	}
	opts := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	expr := checked.NativeRep().Expr()
	if found(expr, func(e ast.Expr) bool { return e.Kind() == ast.ComprehensionKind }) {
		opts = append(opts, cel.CostLimit(maxCost))
	}
	prg, err := env.Program(checked, opts...)
	if err != nil {
		return nil, err
	}
	names := func(variable string) bool { return found(expr, func(e ast.Expr) bool { return named(e, variable) }) }
	who := found(expr, func(e ast.Expr) bool { return named(e, "user") || calls(e, "owner") || reads(e, "sub") })
	told := found(expr, func(e ast.Expr) bool { return named(e, "user.issuer") || named(e, "user.kind") || reads(e, "iss") })
	return &Program{
		text: text, prg: prg, body: names("body"), headers: names("headers"), who: who && !told,
		call: slices.Contains(vars, callVar) && names(callName), scopes: scopesIn(expr), stepUps: stepUpsIn(expr),
		reads: slices.DeleteFunc(slices.Clone(vars), func(v string) bool { return !names(v) }),
	}, nil
}

// scopesIn returns the scopes that an expression asks for by name:
// has_scope("x") and "x" in scopes.
func scopesIn(e ast.Expr) []string {
	var all []string
	found(e, func(e ast.Expr) bool {
		var arg ast.Expr
		switch {
		case calls(e, "has_scope") && len(e.AsCall().Args()) == 1:
			arg = e.AsCall().Args()[0]
		case calls(e, "@in") && len(e.AsCall().Args()) == 2 && named(e.AsCall().Args()[1], "scopes"):
			arg = e.AsCall().Args()[0]
		default:
			return false
		}
		if text, ok := literal(arg); ok && !slices.Contains(all, text) {
			all = append(all, text)
		}
		return false
	})
	return all
}

func named(e ast.Expr, name string) bool {
	return e.Kind() == ast.IdentKind && e.AsIdent() == name
}

func calls(e ast.Expr, function string) bool {
	return e.Kind() == ast.CallKind && e.AsCall().FunctionName() == function
}

// reads reports whether e is a top-level claim, however that is written.
func reads(e ast.Expr, claim string) bool {
	switch e.Kind() {
	case ast.SelectKind:
		return named(e.AsSelect().Operand(), "claims") && e.AsSelect().FieldName() == claim
	case ast.CallKind: // claims["sub"], claims[?"sub"], claims.?sub
		args := e.AsCall().Args()
		if len(args) == 2 && named(args[0], "claims") {
			text, ok := literal(args[1])
			return ok && text == claim
		}
	}
	return false
}

// explain turns CEL's issues into one line.
func explain(iss *cel.Issues, vars []string) error {
	e := iss.Errors()[0]
	message, _, _ := strings.Cut(e.Message, " (in container")
	message, _, _ = strings.Cut(message, "\n")
	at := fmt.Sprintf("at character %d", e.Location.Column()+1)
	if e.Location.Line() > 1 {
		at = fmt.Sprintf("at line %d, character %d", e.Location.Line(), e.Location.Column()+1)
	}
	if strings.HasPrefix(message, "undeclared reference to") {
		names := Names()
		if !slices.Contains(vars, appName) {
			names = append([]string{appName}, names...)
		}
		for _, v := range vars {
			names = append(names, strings.Trim(v, "()"))
		}
		return fmt.Errorf("%s: %s; a condition knows %s", at, message, strings.Join(names, ", "))
	}
	return fmt.Errorf("%s: %s", at, message)
}

// found reports whether the expression holds one that f is true for.
func found(e ast.Expr, f func(ast.Expr) bool) bool {
	yes := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) { yes = yes || f(e) }))
	return yes
}
