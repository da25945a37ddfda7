package condition

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// functions declares what the package adds to CEL. Each is a macro as well,
// so that literal arguments are checked when the expression is compiled.
func functions() []cel.EnvOption {
	str, ts := cel.StringType, cel.TimestampType
	return []cel.EnvOption{
		cel.Macros(
			cel.GlobalMacro("has_role", 1, member("roles")),
			cel.GlobalMacro("has_scope", 1, member("scopes")),
			cel.GlobalVarArgMacro("in_cidr", ranges),
			cel.GlobalMacro("between", 3, hours),
			cel.GlobalMacro("between", 4, hours),
			cel.GlobalMacro("owner", 2, claim),
			cel.GlobalMacro("owner", 3, claim),
			cel.GlobalMacro("from", 1, source),
		),
		cel.Function("owner", cel.Overload("owner_claim_string", []*cel.Type{cel.DynType, str}, cel.BoolType,
			cel.BinaryBinding(owner))),
		cel.Function("in_cidr", cel.Overload("in_cidr_string_string", []*cel.Type{str, str}, cel.BoolType,
			cel.BinaryBinding(inCIDR))),
		cel.Function("between",
			cel.Overload("between_time_string_string", []*cel.Type{ts, str, str}, cel.BoolType, cel.FunctionBinding(between)),
			cel.Overload("between_time_string_string_zone", []*cel.Type{ts, str, str, str}, cel.BoolType, cel.FunctionBinding(between))),
	}
}

// member expands has_role(x) to x in roles.
func member(list string) cel.MacroFactory {
	return func(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return eh.NewCall(operators.In, args[0], eh.NewIdent(list)), nil
	}
}

// ranges expands in_cidr(ip, a, b) to in_cidr(ip, a) || in_cidr(ip, b).
func ranges(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	if len(args) < 2 {
		return nil, eh.NewError(0, `in_cidr needs an address and a range: in_cidr(client_ip, "10.0.0.0/8")`)
	}
	var all ast.Expr
	for i, arg := range args[1:] {
		s, ok := literal(arg)
		if !ok {
			return nil, eh.NewError(arg.ID(), "in_cidr: a range is written as text")
		}
		if p, err := netip.ParsePrefix(s); err != nil || p.Addr().Is4In6() {
			return nil, eh.NewError(arg.ID(), fmt.Sprintf(`in_cidr: %q is not a range such as "10.0.0.0/8"`, s))
		}
		ip := args[0]
		if i > 0 {
			ip = eh.Copy(ip)
		}
		one := eh.NewCall("in_cidr", ip, arg)
		if all == nil {
			all = one
			continue
		}
		all = eh.NewCall(operators.LogicalOr, all, one)
	}
	return all, nil
}

// hours checks the times and the zone of between.
func hours(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	for _, arg := range args[1:3] {
		s, ok := literal(arg)
		if _, err := minute(s); !ok || err != nil {
			return nil, eh.NewError(arg.ID(), `between: a time of day is written as "09:00"`)
		}
	}
	if len(args) == 4 {
		s, ok := literal(args[3])
		if _, err := zone(s); !ok || err != nil {
			return nil, eh.NewError(args[3].ID(), `between: a time zone is written as "Asia/Shanghai"`)
		}
	}
	return eh.NewCall("between", args...), nil
}

// claim expands owner("/a/b", x) to owner(claims["a"]["b"], x), and
// owner("/a/b", x, s) to from(s) && owner("/a/b", x).
func claim(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	s, ok := literal(args[0])
	p, err := principal.ParsePointer(s)
	if !ok || err != nil || s[0] != '/' {
		return nil, eh.NewError(args[0].ID(), `owner: a claim is written as a JSON Pointer in quotes: owner("/sub", id)`)
	}
	at := eh.NewIdent("claims")
	for _, name := range p {
		at = eh.NewCall(operators.Index, at, eh.NewLiteral(types.String(name)))
	}
	owns := eh.NewCall("owner", at, args[1])
	if len(args) == 2 {
		return owns, nil
	}
	from, fault := source(eh, nil, args[2:])
	if fault != nil {
		return nil, fault
	}
	return eh.NewCall(operators.LogicalAnd, from, owns), nil
}

// source expands from("https://id.example.com") to a comparison of user.issuer,
// and from("api_key") to one of user.kind: see principal.Source.
func source(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	s, ok := literal(args[0])
	if !ok || s == "" {
		return nil, eh.NewError(args[0].ID(), `who vouches for a caller is written as text: from("https://id.example.com"), from("api_key")`)
	}
	field := "issuer"
	switch {
	case slices.Contains(principal.Kinds(), s):
		field = "kind"
	case s == principal.Internal:
		s = principal.InternalIssuer
	}
	return eh.NewCall(operators.Equals, eh.NewSelect(eh.NewIdent("user"), field), eh.NewLiteral(types.String(s))), nil
}

// owner reports whether a claim is the text, or holds it.
func owner(claim, value ref.Val) ref.Val {
	s, ok := value.(types.String)
	if !ok {
		return types.NewErr("no such overload")
	}
	if s == "" {
		return types.False
	}
	if list, ok := claim.(traits.Lister); ok {
		for it := list.Iterator(); it.HasNext() == types.True; {
			if is(it.Next(), string(s)) {
				return types.True
			}
		}
		return types.False
	}
	switch claim.(type) {
	case types.String, types.Int, types.Uint:
		return types.Bool(is(claim, string(s)))
	}
	return types.NewErr("no such overload: a claim that is not a string, an integer or a list")
}

// is compares a text or whole number with a text.
func is(v ref.Val, s string) bool {
	switch v := v.(type) {
	case types.String:
		return string(v) == s
	case types.Int:
		return strconv.FormatInt(int64(v), 10) == s
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10) == s
	}
	return false
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// inCIDR reports whether an address lies in a range. An IPv4 address written
// as IPv6 is the IPv4 address, so that no spelling leaves a range.
func inCIDR(ip, cidr ref.Val) ref.Val {
	a, ok1 := ip.(types.String)
	c, ok2 := cidr.(types.String)
	if !ok1 || !ok2 {
		return types.NewErr("no such overload")
	}
	addr, err := netip.ParseAddr(string(a))
	if err != nil {
		return types.NewErr("no such overload: not an address")
	}
	prefix, err := netip.ParsePrefix(string(c))
	if err != nil {
		return types.NewErr("no such overload: not a range")
	}
	return types.Bool(prefix.Masked().Contains(addr.Unmap().WithZone("")))
}

// between reports whether a time of day is at or after the first and before
// the second. Where the first is the later one, the span goes over midnight.
func between(args ...ref.Val) ref.Val {
	ts, ok := args[0].(types.Timestamp)
	if !ok {
		return types.NewErr("no such overload")
	}
	loc := time.UTC
	if len(args) == 4 {
		l, err := zone(text(args[3]))
		if err != nil {
			return types.NewErr("no such overload: not a time zone")
		}
		loc = l
	}
	from, err1 := minute(text(args[1]))
	to, err2 := minute(text(args[2]))
	if err1 != nil || err2 != nil {
		return types.NewErr("no such overload: not a time of day")
	}
	t := ts.Time.In(loc)
	m := t.Hour()*60 + t.Minute()
	if from <= to {
		return types.Bool(from <= m && m < to)
	}
	return types.Bool(from <= m || m < to)
}

func text(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

// minute reads a time of day, from 00:00 to 24:00.
func minute(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != 5 {
		return 0, fmt.Errorf("%q is not a time of day", s)
	}
	return t.Hour()*60 + t.Minute(), nil
}

func zone(s string) (*time.Location, error) {
	// The empty name and "Local" would depend on the machine.
	if s == "" || s == "Local" {
		return nil, fmt.Errorf("%q is not a time zone", s)
	}
	if l, ok := zones.Load(s); ok {
		return l.(*time.Location), nil
	}
	l, err := time.LoadLocation(s)
	if err != nil {
		return nil, err
	}
	zones.Store(s, l)
	return l, nil
}

// zones keeps the zones that expressions name, since loading one reads a
// file. Only literals get here, so that the configuration bounds it.
var zones sync.Map
