package condition

import (
	"math"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Claims that say how and when the user was authenticated (OpenID Connect Core
// section 2, RFC 9068 section 2.2.1, RFC 9470 section 6).
const (
	ClaimACR      = "acr"
	ClaimAuthTime = "auth_time"
)

// clockSkew is how far in the future an authentication may seem to be. What is
// further off was made by a clock, or a hand, that cannot be believed.
const clockSkew = 30 * time.Second

// StepUps is what an expression asks of the authentication of the user.
type StepUps struct {
	ACRs []string        // every value that is named, in the order of the text
	Ages []time.Duration // every age that is named, the longest first
}

// Add adds what another expression asks for.
func (s *StepUps) Add(o StepUps) {
	for _, acr := range o.ACRs {
		if !slices.Contains(s.ACRs, acr) {
			s.ACRs = append(s.ACRs, acr)
		}
	}
	for _, age := range o.Ages {
		if !slices.Contains(s.Ages, age) {
			s.Ages = append(s.Ages, age)
		}
	}
	slices.SortFunc(s.Ages, func(a, b time.Duration) int { return int(b - a) })
}

// StepUps returns what p asks of the authentication of the user.
func (p *Program) StepUps() StepUps { return p.stepUps }

// stepUpFunctions declares acr and max_age. Neither has a result for a caller of
// whom nothing is known in this respect: a rule that denies must not take silence
// for a no.
func stepUpFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Macros(cel.GlobalMacro("acr", 1, acr), cel.GlobalMacro("acr", 2, acr), cel.GlobalMacro("max_age", 1, maxAge)),
		cel.Function("@acr", cel.Overload("acr_claim_string", []*cel.Type{cel.DynType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(isACR))),
		cel.Function("@max_age", cel.Overload("max_age_claim_time_int", []*cel.Type{cel.DynType, cel.TimestampType, cel.IntType}, cel.BoolType,
			cel.FunctionBinding(isRecent))),
	}
}

// acr expands acr("a b") to @acr(claims["acr"], "a b"), and acr("a b", "5m") to
// that and max_age("5m").
func acr(eh cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	s, ok := literal(args[0])
	if values := strings.Fields(s); !ok || len(values) == 0 || strings.Join(values, " ") != s || slices.ContainsFunc(values, notACR) {
		return nil, eh.NewError(args[0].ID(), `acr: write the values that will do as one text with spaces between: acr("2"), acr("phr phrh", "5m")`)
	}
	strong := eh.NewCall("@acr", claimNamed(eh, ClaimACR), args[0])
	if len(args) == 1 {
		return strong, nil
	}
	recent, fault := maxAge(eh, target, args[1:])
	if fault != nil {
		return nil, fault
	}
	return eh.NewCall(operators.LogicalAnd, strong, recent), nil
}

// notACR reports whether a value cannot stand in a challenge as it is.
func notACR(value string) bool {
	return strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '\\' })
}

// maxAge expands max_age("5m") to @max_age(claims["auth_time"], now, 300).
func maxAge(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	s, ok := literal(args[0])
	age, err := time.ParseDuration(s)
	if !ok || err != nil || age < time.Second || age%time.Second != 0 {
		return nil, eh.NewError(args[0].ID(), `max_age: write how long ago the user may have logged in as text in whole seconds, such as "90s", "5m" or "12h"`)
	}
	return eh.NewCall("@max_age", claimNamed(eh, ClaimAuthTime), eh.NewIdent("now"), eh.NewLiteral(types.Int(age/time.Second))), nil
}

func claimNamed(eh cel.MacroExprFactory, name string) ast.Expr {
	return eh.NewCall(operators.Index, eh.NewIdent("claims"), eh.NewLiteral(types.String(name)))
}

// isACR reports whether the claim is one of the values.
func isACR(claim, values ref.Val) ref.Val {
	have, ok := claim.(types.String)
	if !ok || have == "" {
		return types.NewErr("no such overload: acr is not a text")
	}
	for value := range strings.SplitSeq(text(values), " ") {
		if string(have) == value {
			return types.True
		}
	}
	return types.False
}

// isRecent reports whether the user was authenticated at most so many seconds ago.
func isRecent(args ...ref.Val) ref.Val {
	var at float64
	switch t := args[0].(type) {
	case types.Int:
		at = float64(t)
	case types.Double: // a NumericDate may have a fraction (RFC 7519 section 2)
		at = float64(t)
	default:
		return types.NewErr("no such overload: auth_time is not a time")
	}
	now, ok1 := args[1].(types.Timestamp)
	most, ok2 := args[2].(types.Int)
	age := float64(now.UnixMilli())/1000 - at
	if !ok1 || !ok2 || math.IsNaN(age) || age < -clockSkew.Seconds() {
		return types.NewErr("no such overload: auth_time is in the future")
	}
	return types.Bool(age <= float64(most))
}

// stepUpsIn returns what an expression asks of the authentication of the user.
func stepUpsIn(e ast.Expr) StepUps {
	var all StepUps
	found(e, func(e ast.Expr) bool {
		switch {
		case calls(e, "@acr"):
			if s, ok := literal(e.AsCall().Args()[1]); ok {
				all.Add(StepUps{ACRs: strings.Fields(s)})
			}
		case calls(e, "@max_age"):
			if arg := e.AsCall().Args()[2]; arg.Kind() == ast.LiteralKind {
				if n, ok := arg.AsLiteral().(types.Int); ok {
					all.Add(StepUps{Ages: []time.Duration{time.Duration(n) * time.Second}})
				}
			}
		}
		return false
	})
	return all
}
