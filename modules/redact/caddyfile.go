package redact

import (
	"maps"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	redact [<matcher>] {
//		remove      <selector>...
//		null        <selector>...
//		replace     <text> <selector>...
//		mask        <preset> <selector>...
//		keep        <first> <last> [<char>|char=<char>] <selector>...
//		hash        <selector>...
//		truncate    <characters> <selector>...
//		round       <places> <selector>...
//		shift_dates <most days> <selector>...
//		encrypt     <selector>...
//		detect      <kind>... <action> [<selector>...]
//
//		except role|scope|user|kind <name>... [from <issuer|kind>] {
//			<rules for all but these callers>
//		}
//		only role|scope|user|kind <name>... [from <issuer|kind>] {
//			<rules for these callers>
//		}
//		requests {
//			<rules, except and only as above>
//			pass <media type>...
//			match_case
//			max_body <size>
//		}
//
//		unreadable  block|pass
//		pass        <media type>...
//		hold        <size>|off
//		max_depth   <n>
//		max_value   <size>
//		max_event   <size>
//		hide_errors
//		websocket   block|allow
//		etag        drop|seal
//		graphql_names allow|block
//		xssi_prefix [<text>...]
//		hash_key    <key>|internal
//		encrypt_key <key>|internal [<id>]
//	}
//
// A selector is the name of a member, at any depth, or a path of RFC 9535
// (names, indices, wildcards, slices and descendants). The presets of mask
// are last4, first3last4, mobile, landline, id_card, bank_card, name, address,
// email, plate and ip. A name with spaces is written in quotes; from is for
// users, and says who has to vouch for them.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("redact takes no argument, such as '%s', but a block of rules", d.Val())
	}
	seen := map[string]bool{}
	for d.NextBlock(0) {
		name := d.Val()
		if _, ok := actions[name]; ok {
			if err := unmarshalRule(d, &h.Rules); err != nil {
				return err
			}
			continue
		}
		switch name {
		case "except", "only":
			if err := unmarshalGroup(d, &h.Groups); err != nil {
				return err
			}
			continue
		case "pass":
			if err := unmarshalList(d, &h.Pass, "a media type, such as text/html"); err != nil {
				return err
			}
			continue
		case "encrypt_key":
			if err := unmarshalEncryptKey(d, &h.EncryptKeys); err != nil {
				return err
			}
			continue
		}
		if seen[name] {
			return d.Errf("%s already specified", name)
		}
		seen[name] = true
		if err := h.unmarshalOption(d, name); err != nil {
			return err
		}
	}
	if len(h.Rules) == 0 && len(h.Groups) == 0 && h.Requests == nil && !h.HideErrors {
		return d.Err("redact needs at least one rule, such as 'remove password'")
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, name string) error {
	switch name {
	case "requests":
		return h.unmarshalRequests(d)
	case "unreadable":
		return unmarshalWord(d, &h.Unreadable, "block", "pass")
	case "etag":
		return unmarshalWord(d, &h.ETag, "drop", "seal")
	case "xssi_prefix":
		if h.XSSIPrefixes = d.RemainingArgs(); len(h.XSSIPrefixes) == 0 {
			h.XSSIPrefixes = slices.Clone(knownPrefixes)
		}
		if err := checkPrefixes(h.XSSIPrefixes); err != nil {
			return d.Err(err.Error())
		}
		return nil
	case "graphql_names":
		return unmarshalWord(d, &h.GraphQLNames, "allow", "block")
	case "websocket":
		return unmarshalWord(d, &h.WebSocket, "block", "allow")
	case "hold":
		return unmarshalHold(d, &h.Hold)
	case "max_depth":
		var s string
		if !d.AllArgs(&s) {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return d.Errf("max_depth '%s': write a number above zero", s)
		}
		h.MaxDepth = n
		return nil
	case "max_value":
		return unmarshalSize(d, &h.MaxValue)
	case "max_event":
		return unmarshalSize(d, &h.MaxEvent)
	case "hide_errors":
		return unmarshalFlag(d, &h.HideErrors)
	case "hash_key":
		return unmarshalKey(d, &h.HashKey)
	}
	return option.Unrecognized(d, "redact", slices.Sorted(maps.Keys(actions)), []string{"except", "only", "requests", "unreadable", "pass", "hold", "max_depth", "max_value", "max_event", "hide_errors", "websocket", "etag", "graphql_names", "xssi_prefix", "hash_key", "encrypt_key"})
}

func unmarshalRule(d *caddyfile.Dispenser, to *[]Rule) error {
	rule, err := parseRule(append([]string{d.Val()}, d.RemainingArgs()...))
	if err == nil {
		err = rule.check()
	}
	if err != nil {
		return d.Errf("%v", err)
	}
	*to = append(*to, rule)
	return nil
}

func unmarshalGroup(d *caddyfile.Dispenser, to *[]Group) error {
	g := Group{Mode: d.Val()}
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Errf("write %s role|scope|user|kind <name>... and a block of rules", g.Mode)
	}
	g.Of, g.Names = args[0], args[1:]
	if i := slices.Index(args, "from"); i > 0 {
		if g.Of != "user" || i == 1 || i != len(args)-2 || args[i+1] == "" {
			return d.Errf("write %s user <id>... from <issuer|kind>", g.Mode)
		}
		g.Names, g.From = args[1:i], args[i+1]
	}
	switch g.Of {
	case "role", "scope", "user", "kind":
	default:
		return d.Errf("%s '%s': write %s role|scope|user|kind <name>...", g.Mode, g.Of, g.Mode)
	}
	if err := g.check(); err != nil {
		return d.Errf("%v", err)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if _, ok := actions[d.Val()]; !ok {
			return d.Errf("'%s' is no rule: only rules can stand in %s", d.Val(), g.Mode)
		}
		if err := unmarshalRule(d, &g.Rules); err != nil {
			return err
		}
	}
	if len(g.Rules) == 0 {
		return d.Errf("%s has no rules: they stand in a block after it", g.title())
	}
	*to = append(*to, g)
	return nil
}

func (h *Handler) unmarshalRequests(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("requests takes no argument, such as '%s', but a block of rules", d.Val())
	}
	h.Requests = new(Requests)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch name := d.Val(); {
		case actions[name] != nil:
			err = unmarshalRule(d, &h.Requests.Rules)
		case name == "except" || name == "only":
			err = unmarshalGroup(d, &h.Requests.Groups)
		case name == "pass":
			err = unmarshalList(d, &h.Requests.Pass, "a media type, such as application/xml")
		case name == "match_case":
			err = unmarshalFlag(d, &h.Requests.MatchCase)
		case name == "max_body":
			if h.Requests.MaxBody != 0 {
				return d.Errf("%s already specified", name)
			}
			err = unmarshalSize(d, &h.Requests.MaxBody)
		default:
			err = option.Unrecognized(d, "requests", slices.Sorted(maps.Keys(actions)), []string{"except", "only", "pass", "match_case"})
		}
		if err != nil {
			return err
		}
	}
	if len(h.Requests.Rules) == 0 && len(h.Requests.Groups) == 0 {
		return d.Err("requests has no rules: they stand in a block after it")
	}
	return nil
}

func unmarshalList(d *caddyfile.Dispenser, to *[]string, what string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("%s needs %s", d.Val(), what)
	}
	if _, err := parseMediaTypes(args); err != nil {
		return d.Errf("%v", err)
	}
	*to = append(*to, args...)
	return nil
}

// unmarshalFlag reads an option that is on where it is written.
func unmarshalFlag(d *caddyfile.Dispenser, to *bool) error {
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes no argument, but '%s' follows it", name, d.Val())
	}
	if *to {
		return d.Errf("%s already specified", name)
	}
	*to = true
	return nil
}

func unmarshalWord(d *caddyfile.Dispenser, to *string, words ...string) error {
	name := d.Val()
	if !d.AllArgs(to) {
		return d.ArgErr()
	}
	for _, w := range words {
		if *to == w {
			return nil
		}
	}
	return d.Errf("%s '%s': write %s or %s", name, *to, words[0], words[1])
}

func unmarshalKey(d *caddyfile.Dispenser, to *string) error {
	name := d.Val()
	if !d.AllArgs(to) || *to == "" {
		return d.Errf("write %s {env.NAME}, {file.PATH} or internal", name)
	}
	return nil
}

func unmarshalEncryptKey(d *caddyfile.Dispenser, to *[]EncryptKey) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 || args[0] == "" {
		return d.Err("write encrypt_key {env.NAME}, {file.PATH} or internal, and an id for it if there are several")
	}
	k := EncryptKey{Key: args[0]}
	if len(args) == 2 {
		k.ID = args[1]
	}
	for _, other := range *to {
		if other.id() == k.id() {
			return d.Errf("encrypt_key: there are two keys with the id %s: write an id after each key", k.id())
		}
	}
	*to = append(*to, k)
	return nil
}

func unmarshalSize(d *caddyfile.Dispenser, to *int) error {
	name := d.Val()
	var s string
	if !d.AllArgs(&s) {
		return d.ArgErr()
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > maxHold {
		return d.Errf("%s '%s': write a size of at most 64MiB, such as 64KiB", name, s)
	}
	*to = int(n)
	return nil
}

// unmarshalHold is a size too, and can be turned off.
func unmarshalHold(d *caddyfile.Dispenser, to *int) error {
	var s string
	if !d.AllArgs(&s) {
		return d.ArgErr()
	}
	if s == "off" || s == "0" {
		*to = -1
		return nil
	}
	d.Prev()
	return unmarshalSize(d, to)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
