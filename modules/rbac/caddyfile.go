package rbac

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	rbac [<matcher>] {
//	    role <name> [inherits <role>...] {
//	        allow <methods|*> <path> [encoded_slashes] [when <condition>]
//	        deny  <methods|*> <path> [encoded_slashes] [when <condition>]
//	        [allow|deny] tool     <name> [when <condition>]
//	        [allow|deny] resource <URI>  [when <condition>]
//	        [allow|deny] prompt   <name> [when <condition>]
//	    }
//	    scope <name> [inherits <scope>...] {
//	        allow|deny …
//	    }
//	    anyone {
//	        allow|deny …
//	    }
//	    authenticated {
//	        allow|deny …
//	    }
//	    user   <id> roles <role>... [from <issuer|kind>]
//	    policy <file>
//	    max_body <size>
//	    ignore_case
//	    repeated_variables
//	    dry_run
//	}
//
// Methods are a list with commas and without spaces: GET,POST. A condition is
// written in backquotes, or as it stands if that is easier to read. A name with
// spaces is written in quotes: role "Domain Users".
//
// Rules with tool, resource and prompt are for the calls that mcp reads; they
// allow where nothing else is said. An asterisk stands for any characters.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.Errf("rbac: unexpected '%s'; rules are written in a block: rbac { … }", d.Val())
	}
	p := &parser{Dispenser: d, h: h}
	if err := option.Block(d, []string{"role", "scope", "anyone", "authenticated", "user"}, p.option); err != nil {
		return err
	}
	// With a policy file the rest of the policy is not known yet.
	if h.PolicyFile != "" {
		return nil
	}
	if _, err := policy.Compile(&h.Document); err != nil {
		return p.located(err)
	}
	return nil
}

// parser reads one rbac block.
type parser struct {
	*caddyfile.Dispenser
	h     *Handler
	conds condition.Compiler
}

// located puts the position of a mistake where Caddy puts it.
func (p *parser) located(err error) error {
	e, ok := err.(*policy.Error)
	if !ok || e.Place == "" {
		return p.Errf("rbac: %v", err)
	}
	at := e.Place
	bare := *e
	bare.Place = ""
	return fmt.Errorf("rbac: %w, at %s", &bare, at)
}

func (p *parser) mark(where, rule string) {
	p.h.Mark(where, rule, fmt.Sprintf("%s:%d", p.File(), p.Line()))
}

func (p *parser) option(*caddyfile.Dispenser) error {
	h := p.h
	switch p.Val() {
	case "role":
		return p.named("role", &h.Roles)
	case "scope":
		return p.named("scope", &h.Scopes)
	case "anyone":
		return p.unnamed("anyone", &h.Anyone)
	case "authenticated":
		return p.unnamed("authenticated", &h.Authenticated)
	case "user":
		return p.user()
	case "policy":
		return option.OneArg(p.Dispenser, &h.PolicyFile)
	case "max_body":
		return option.Size(p.Dispenser, &h.MaxBody, bodies)
	case "ignore_case":
		return option.Flag(p.Dispenser, &h.IgnoreCase)
	case "repeated_variables":
		return option.Flag(p.Dispenser, &h.RepeatedVariables)
	case "dry_run":
		return option.Flag(p.Dispenser, &h.DryRun)
	case "allow", "deny":
		return p.Errf("rbac: %s must stand inside a role, scope, anyone or authenticated block", p.Val())
	}
	return option.Unrecognized(p.Dispenser, "rbac", []string{"role", "scope", "anyone", "authenticated", "user", "policy", "max_body", "ignore_case", "repeated_variables", "dry_run"})
}

// named reads a role or a scope.
func (p *parser) named(kind string, blocks *map[string]*policy.Block) error {
	if !p.NextArg() {
		return option.Takes(p.Dispenser, kind, fmt.Sprintf("a name and a block of rules: %s <name> { … }", kind))
	}
	name := p.Val()
	where := policy.Who(kind, name)
	if _, ok := (*blocks)[name]; ok {
		return p.Errf("rbac: %s already specified; write all its rules in one block", where)
	}
	b := new(policy.Block)
	if *blocks == nil {
		*blocks = make(map[string]*policy.Block)
	}
	(*blocks)[name] = b
	p.mark(where, "")
	if p.NextArg() {
		if p.Val() != "inherits" {
			return p.Errf("rbac: %s: unexpected '%s'; write: %s inherits <%s>... { … }, and a name with spaces in quotes: %s \"%s %s\"",
				where, p.Val(), where, kind, kind, name, p.Val())
		}
		if b.Inherits = p.RemainingArgs(); len(b.Inherits) == 0 {
			return p.Errf("rbac: %s: inherits needs the name of a %s", where, kind)
		}
	}
	return p.rules(where, b)
}

// unnamed reads anyone or authenticated.
func (p *parser) unnamed(where string, block **policy.Block) error {
	if *block != nil {
		return p.Errf("rbac: %s already specified; write all its rules in one block", where)
	}
	if err := option.NoArgs(p.Dispenser); err != nil {
		return err
	}
	*block = new(policy.Block)
	p.mark(where, "")
	if err := p.rules(where, *block); err != nil {
		return err
	}
	if len((*block).Allow)+len((*block).Deny) == 0 {
		return p.Errf("rbac: %s: it has no rules; write some or remove it", where)
	}
	return nil
}

// rules reads a block of rules.
func (p *parser) rules(where string, b *policy.Block) error {
	for nesting := p.Nesting(); p.NextBlock(nesting); {
		effect := p.Val()
		list := &b.Allow
		switch effect {
		case "allow":
		case "deny":
			list = &b.Deny
		case "tool", "resource", "prompt":
			line, err := p.call(effect)
			if err == nil {
				err = line.Check(&p.conds)
			}
			if err != nil {
				return p.Errf("rbac: %s: %v", where, err)
			}
			if err := p.add(where, "allow", &b.Allow, line); err != nil {
				return err
			}
			continue
		default:
			return p.Errf("rbac: %s: unrecognized subdirective '%s'; a rule is written as: allow GET /path", where, effect)
		}
		line, err := p.rule()
		if err == nil {
			err = line.Check(&p.conds)
		}
		if err != nil {
			return p.Errf("rbac: %s: %s: %v", where, effect, err)
		}
		if err := p.add(where, effect, list, line); err != nil {
			return err
		}
	}
	return nil
}

// add keeps a rule.
func (p *parser) add(where, effect string, list *[]string, line policy.Line) error {
	text := line.String()
	if slices.Contains(*list, text) {
		return p.Errf("rbac: %s: %s: %s is repeated", where, effect, strings.Join(strings.Fields(text), " "))
	}
	*list = append(*list, text)
	p.mark(where+": "+effect, text)
	return nil
}

// call reads the rest of a line that begins with what is called.
func (p *parser) call(kind string) (policy.Line, error) {
	args, raw := []string{kind}, []string{kind}
	for p.NextArg() {
		args, raw = append(args, p.Val()), append(raw, p.ValRaw())
	}
	return policy.ParseArgs(unquoted(args, raw, 2))
}

// unquoted returns the arguments of a rule whose condition follows the word when
// at that position. A condition that is one token is taken without its quotes; one
// that is written plainly keeps the quotes in it.
func unquoted(args, raw []string, when int) []string {
	if len(args) > when+2 && args[when] == "when" {
		return append(args[:when+1:when+1], strings.Join(raw[when+1:], " "))
	}
	return args
}

// rule reads the rest of a line.
func (p *parser) rule() (policy.Line, error) {
	var args, raw []string
	for p.NextArg() {
		args, raw = append(args, p.Val()), append(raw, p.ValRaw())
	}
	when := 2
	if len(args) > when && args[when] == "encoded_slashes" {
		when++
	}
	return policy.ParseArgs(unquoted(args, raw, when))
}

// user reads: user <id> roles <role>... [from <issuer|kind>]
func (p *parser) user() error {
	const form = "<id> roles <role>... [from <issuer|kind>]"
	args := p.RemainingArgs()
	if len(args) < 3 || args[1] != "roles" {
		return option.Takes(p.Dispenser, "user", form)
	}
	id, g := args[0], policy.Grant{Roles: args[2:]}
	if i := slices.Index(args, "from"); i > 1 {
		if i == 2 || i != len(args)-2 || args[i+1] == "" {
			return option.Takes(p.Dispenser, "user", form)
		}
		g.Roles, g.From = args[2:i], args[i+1]
	}
	for _, other := range p.h.Users[id] {
		if other.From == g.From {
			return p.Errf("rbac: user %s already specified", id)
		}
	}
	if p.h.Users == nil {
		p.h.Users = make(map[string]policy.Grants)
	}
	p.h.Users[id] = append(p.h.Users[id], g)
	p.mark(policy.Who("user", id), "")
	return nil
}
