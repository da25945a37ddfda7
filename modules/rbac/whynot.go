package rbac

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
)

// whyNot prints what a refused caller lacks. Every line about a role, a scope
// or an identity has been tried: with it, the request would be allowed.
func whyNot(w io.Writer, p *policy.Policy, q *probe, v verdict) error {
	fmt.Fprintln(w, "\nwhat is missing:")
	if v.r == nil {
		fmt.Fprintln(w, "  a path with one reading; no role helps")
		return nil
	}
	missing, err := enough(p, q)
	if err != nil {
		return err
	}
	if v.d.Reason == policy.RuleDenies || v.d.Reason == policy.ConditionFails {
		fmt.Fprintf(w, "  that %s does not deny it: %s\n", place(v.d.Rule, v.d.RuleText()), denied(p, q, v))
	}
	for _, s := range missing {
		fmt.Fprintf(w, "  %s\n", s)
	}
	if v.stepUp != nil {
		fmt.Fprintf(w, "  %s\n", login(v.stepUp))
	}
	conditions := unmet(p, q, v)
	for _, s := range conditions {
		fmt.Fprintf(w, "  %s\n", s)
	}
	if len(missing)+len(conditions) == 0 && v.d.Reason == policy.NoRule {
		fmt.Fprintf(w, "  a rule: none allows %s to anybody\n", v.subject())
	}
	if v.called {
		return nil
	}
	if methods := otherMethods(p, q); len(methods) > 0 {
		fmt.Fprintf(w, "allowed for this path and caller: %s\n", strings.Join(methods, ", "))
	}
	return nil
}

// enough returns each single thing that would be enough.
func enough(p *policy.Policy, q *probe) ([]string, error) {
	var all []string
	try := func(what string, change func(*probe)) error {
		with := *q
		with.Roles, with.Scopes = slices.Clone(q.Roles), slices.Clone(q.Scopes)
		change(&with)
		v, err := with.decide(p)
		if err == nil && v.allow {
			all = append(all, what)
		}
		return err
	}
	if q.anonymous() {
		// A name that nobody has: conditions on it do not hold.
		if err := try("an identity, whoever it is", func(q *probe) { q.User = "(somebody)" }); err != nil || len(all) > 0 {
			return all, err
		}
	}
	for _, role := range p.Roles() {
		if err := try("role "+role, func(q *probe) { q.Roles = append(q.Roles, role) }); err != nil {
			return nil, err
		}
	}
	for _, scope := range p.Scopes() {
		if err := try("scope "+scope, func(q *probe) { q.Scopes = append(q.Scopes, scope) }); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// unmet returns the conditions that are between the caller and a rule that
// allows.
func unmet(p *policy.Policy, q *probe, v verdict) []string {
	var all []string
	for _, c := range q.rulesFor(p, v) {
		if !c.Rule.Allow || c.Holds && c.Err == nil {
			continue
		}
		s := "that the condition holds of " + oneLine(place(c.Rule, c.Rule.String()))
		if !c.Applies {
			s += ", and " + c.Rule.Who
		}
		if c.Err != nil {
			s += " (" + c.Err.Error() + ")"
		}
		all = append(all, s)
	}
	return all
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// denied says what makes the rule that denies apply.
func denied(p *policy.Policy, q *probe, v verdict) string {
	for i, role := range q.Roles {
		without := *q
		without.Roles = slices.Delete(slices.Clone(q.Roles), i, i+1)
		if r, err := without.ask(p); err == nil {
			if q.ruleOf(p, v, r) != v.d.Rule {
				return "it is there because of role " + role
			}
		}
	}
	for i, scope := range q.Scopes {
		without := *q
		without.Scopes = slices.Delete(slices.Clone(q.Scopes), i, i+1)
		if r, err := without.ask(p); err == nil {
			if q.ruleOf(p, v, r) != v.d.Rule {
				return "it is there because of scope " + scope
			}
		}
	}
	return "no role or scope more changes that"
}

// otherMethods returns the methods that are allowed for the path.
func otherMethods(p *policy.Policy, q *probe) []string {
	asked, target, _ := strings.Cut(q.target(), " ")
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	for _, r := range p.Rules() {
		for _, m := range r.Line.Methods {
			if !slices.Contains(methods, m) {
				methods = append(methods, m)
			}
		}
	}
	return slices.DeleteFunc(methods, func(m string) bool {
		other := *q
		other.Request = m + " " + target
		v, err := other.decide(p)
		return m == asked || err != nil || !v.allow
	})
}
