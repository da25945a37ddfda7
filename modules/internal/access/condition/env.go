package condition

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/query"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Env is what expressions see of one request. It is used by one goroutine,
// and remembers what it worked out for the next expression.
type Env struct {
	Claims   *principal.Claims
	User     string
	Source   principal.Source // who vouches for the user
	Roles    []string
	Scopes   []string
	App      *principal.Principal // the application, nil for none
	Method   string
	Path     string
	RawQuery string
	Header   http.Header
	Host     string // where net/http keeps the Host field
	ClientIP string
	Now      time.Time

	// Body reads the request's body. Without it an expression that reads
	// body fails.
	Body Body

	// Call is what is called by the Model Context Protocol. Without it an
	// expression that reads mcp fails.
	Call *Call

	// AddressRead is whether an expression has read client_ip.
	AddressRead bool

	query   any
	headers any
	body    any
	call    any
}

// Call is a call of the Model Context Protocol.
type Call struct {
	Method string // tools/call
	Name   string // of the tool or prompt, or the URI of the resource

	// Arguments are decoded as [principal.Claims] decode claims; an empty
	// object where the call has none.
	Arguments func() (any, error)
}

var errArguments = errors.New("the arguments are no object")

// DecodeArguments decodes the arguments of a call, a text that has been read
// strictly. Without any, text is nil.
func DecodeArguments(text []byte) (any, error) {
	if text == nil {
		return nil, nil
	}
	if _, ok := strictjson.Object(text); !ok {
		return nil, errArguments
	}
	m := principal.NewClaims(text).Map()
	if m == nil {
		return nil, errArguments
	}
	return m, nil
}

// readCall makes what expressions see of a call. Arguments that cannot be read
// have no value: what asks for them fails.
func readCall(c *Call) any {
	if c == nil {
		return unreadable
	}
	arguments := any(unreadable)
	if c.Arguments != nil {
		if v, err := c.Arguments(); err == nil {
			arguments = oneReading(v)
			if v == nil {
				arguments = map[string]any{}
			}
		}
	}
	return map[string]any{"method": c.Method, "name": c.Name, "arguments": arguments}
}

// Body is the body of a request.
type Body interface {
	// JSON returns the body decoded as [principal.Claims] decode claims. The
	// error is for the caller; expressions see ErrBody.
	JSON() (any, error)
}

// unreadable is the value of a body that cannot be read.
var unreadable = types.WrapErr(ErrBody)

func readBody(b Body) any {
	if b == nil {
		return unreadable
	}
	v, err := b.JSON()
	if err != nil {
		return unreadable
	}
	if v == nil {
		return types.NullValue
	}
	return oneReading(v)
}

// activation resolves an expression's variables.
type activation struct {
	env  *Env
	prog *Program
}

var activations = sync.Pool{New: func() any { return new(activation) }}

// Eval evaluates p. The path variables are segments of env.Path.
func (p *Program) Eval(env *Env) (bool, error) {
	a := activations.Get().(*activation)
	a.env, a.prog = env, p
	out, _, err := p.prg.Eval(a)
	*a = activation{}
	activations.Put(a)
	if err != nil {
		return false, classify(err)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, ErrResult
	}
	return bool(b), nil
}

// classify keeps of CEL's message what is not part of the request.
func classify(err error) error {
	switch s := err.Error(); {
	case strings.Contains(s, ErrSent.Error()):
		return ErrSent
	case strings.Contains(s, ErrBody.Error()):
		return ErrBody
	case strings.HasPrefix(s, "no such key"), strings.HasPrefix(s, "no such attribute"), strings.HasPrefix(s, "index out of bounds"):
		return ErrMissing
	case strings.HasPrefix(s, "no such overload"), strings.HasPrefix(s, "found no matching overload"), strings.HasPrefix(s, "invalid type"):
		return ErrType
	case strings.Contains(s, "cost limit exceeded"):
		return ErrCost
	}
	return ErrFailed
}

// Parent implements interpreter.Activation.
func (*activation) Parent() interpreter.Activation { return nil }

// ResolveName implements interpreter.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	e := a.env
	switch name {
	case "claims":
		if m := e.Claims.Map(); m != nil {
			return m, true
		}
		return noClaims, true
	case "user":
		return e.User, true
	case "user.issuer":
		return e.Source.Issuer, true
	case "user.kind":
		return e.Source.Kind, true
	case "roles":
		return list(e.Roles), true
	case "scopes":
		return list(e.Scopes), true
	case "method":
		return e.Method, true
	case "path":
		return e.Path, true
	case "query":
		if e.query == nil {
			e.query = readQuery(e.RawQuery)
		}
		return e.query, true
	case "headers":
		if e.headers == nil {
			e.headers = readHeader(e.Header, e.Host)
		}
		return e.headers, true
	case "body":
		if e.body == nil {
			e.body = readBody(e.Body)
		}
		return e.body, true
	case callName:
		// A path variable may have the name, too.
		if a.prog.call {
			if e.call == nil {
				e.call = readCall(e.Call)
			}
			return e.call, true
		}
	case "client_ip":
		e.AddressRead = true
		return e.ClientIP, true
	case "now":
		return types.Timestamp{Time: e.Now}, true
	}
	for _, v := range a.prog.vars {
		if v.Name == name {
			return segment(e.Path, v.Segment), true
		}
	}
	if name == appName {
		return application(e.App), true
	}
	return nil, false
}

// application returns what expressions see of an application.
func application(p *principal.Principal) map[string]any {
	if p == nil {
		return noClaims
	}
	claims := p.Claims.Map()
	if claims == nil {
		claims = noClaims
	}
	return map[string]any{
		"id": p.ID, "issuer": p.Issuer, "kind": p.Kind, "plan": p.Plan,
		"roles": list(p.Roles), "scopes": list(p.Scopes), "claims": claims,
	}
}

// segment returns the n-th segment of a path that begins with a slash.
func segment(path string, n int) string {
	for rest := path[1:]; ; n-- {
		s, after, _ := strings.Cut(rest, "/")
		if n == 0 {
			return s
		}
		rest = after
	}
}

var noClaims = map[string]any{}

// list never is nil, which CEL would take for null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// many is the value of what was sent more than once.
var many = types.WrapErr(ErrSent)

// readQuery returns the query's parameters, or an error value.
func readQuery(raw string) any {
	q, err := query.Parse(raw)
	if err != nil {
		return many
	}
	names := q.Names()
	m := make(map[string]any, len(names))
	for _, name := range names {
		m[name] = any(many)
		if v, count := q.Get(name); count == query.One {
			m[name] = v
		}
	}
	return &parameters{types.NewStringInterfaceMap(adapter{types.DefaultTypeAdapter}, m), q}
}

// readHeader returns the header's fields.
func readHeader(h http.Header, host string) any {
	m := make(map[string]any, len(h)+1)
	for k, v := range h {
		k = strings.ToLower(k)
		if strings.ContainsAny(k, "_.") {
			m[hyphens.Replace(k)] = any(many)
		}
		// Two spellings that differ in case are one field sent twice.
		if _, again := m[k]; again || len(v) != 1 || secret(k) {
			m[k] = any(many)
			continue
		}
		m[k] = v[0]
	}
	if host != "" {
		m["host"] = host
	}
	return &fields{types.NewStringInterfaceMap(adapter{types.DefaultTypeAdapter}, m)}
}

// hyphens gives a field the name that servers mix its name up with. Behind a
// field of that name stand two, or one that is not what it looks like.
var hyphens = strings.NewReplacer("_", "-", ".", "-")

func secret(name string) bool {
	return name == "authorization" || name == "proxy-authorization" || name == "cookie"
}

// adapter adds to CEL's own conversions the numbers that no Go number holds.
type adapter struct{ types.Adapter }

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case string:
		return types.String(v)
	case int64:
		return types.Int(v)
	case json.Number:
		if u, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			return types.Uint(u)
		}
		return types.NewErr("no such overload: a number that is too large")
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	case []string:
		return types.NewStringList(a, v)
	}
	return a.Adapter.NativeToValue(v)
}
