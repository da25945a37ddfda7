package redact

import (
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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
//		hash        [sha256|sm3] <selector>...
//		truncate    <characters> <selector>...
//		round       <places> <selector>...
//		shift_dates <most days> <selector>...
//		bucket      <width>|<bound>... <selector>...
//		generalize  <to> <selector>...
//		noise       <most> <selector>...
//		encrypt     [aes|sm4] <selector>...
//		tokenize    <format> [key=<id>] <selector>...
//		fake        <kind> <selector>...
//		placeholder <selector>...
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
//		sm4_key     <key>|internal [<id>]
//		tokenize_key <key>|internal [<id>]
//	}
//
// A selector is the name of a member, at any depth, or a path of RFC 9535
// (names, indices, wildcards, slices and descendants). The presets of mask
// are last4, first3last4, mobile, landline, id_card, bank_card, name, address,
// email, plate and ip. The formats of tokenize are digits, bank_card,
// bank_card_bin, mobile, id_card, letters, alphanumeric and
// alphabet=<characters>; generalize takes region, city, day, month, year, ip24
// and ip16; the kinds of fake are name, name_en, email, mobile, id_card,
// bank_card, uscc, date and ip. A name with spaces is written in quotes; from is for
// users, and says who has to vouch for them.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if err := option.NoArgs(d); err != nil {
		return err
	}
	if err := option.Block(d, append([]string{"except", "only", "pass", "encrypt_key", "sm4_key", "tokenize_key"}, actionNames()...), h.unmarshalOption); err != nil {
		return err
	}
	if err := h.placeholdersInRequests(); err != nil {
		return d.Err(err.Error())
	}
	if len(h.Rules) == 0 && len(h.Groups) == 0 && h.Requests == nil && !h.HideErrors {
		return d.Err("redact needs at least one rule, such as 'remove password'")
	}
	return nil
}

// actionNames are the actions in order.
func actionNames() []string { return slices.Sorted(maps.Keys(actions)) }

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	if actions[d.Val()] != nil {
		return unmarshalRule(d, &h.Rules)
	}
	switch d.Val() {
	case "except", "only":
		return unmarshalGroup(d, &h.Groups)
	case "pass":
		return unmarshalPass(d, &h.Pass)
	case "encrypt_key":
		return unmarshalKey(d, &h.EncryptKeys)
	case "sm4_key":
		return unmarshalKey(d, &h.SM4Keys)
	case "tokenize_key":
		return unmarshalKey(d, &h.TokenizeKeys)
	case "requests":
		return h.unmarshalRequests(d)
	case "unreadable":
		return option.Word(d, &h.Unreadable, "block", "pass")
	case "etag":
		return option.Word(d, &h.ETag, "drop", "seal")
	case "xssi_prefix":
		if h.XSSIPrefixes = d.RemainingArgs(); len(h.XSSIPrefixes) == 0 {
			h.XSSIPrefixes = slices.Clone(knownPrefixes)
		}
		if err := checkPrefixes(h.XSSIPrefixes); err != nil {
			return d.Err(err.Error())
		}
		return nil
	case "graphql_names":
		return option.Word(d, &h.GraphQLNames, "allow", "block")
	case "websocket":
		return option.Word(d, &h.WebSocket, "block", "allow")
	case "hold":
		if option.OrOff(d, "0") {
			h.Hold = -1
			return nil
		}
		return option.Size(d, &h.Hold, holds)
	case "max_depth":
		return option.Count(d, &h.MaxDepth, depths)
	case "max_value":
		return option.Size(d, &h.MaxValue, sizes)
	case "max_event":
		return option.Size(d, &h.MaxEvent, sizes)
	case "hide_errors":
		return option.Flag(d, &h.HideErrors)
	case "hash_key":
		return option.OneArg(d, &h.HashKey)
	}
	return option.Unrecognized(d, "redact", actionNames(), []string{"except", "only", "requests", "unreadable", "pass", "hold", "max_depth", "max_value", "max_event", "hide_errors", "websocket", "etag", "graphql_names", "xssi_prefix", "hash_key", "encrypt_key", "sm4_key", "tokenize_key"})
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
		return option.Takes(d, g.Mode, "role|scope|user|kind <name>... and a block of rules")
	}
	g.Of, g.Names = args[0], args[1:]
	if i := slices.Index(args, "from"); i > 0 {
		if g.Of != "user" || i == 1 || i != len(args)-2 || args[i+1] == "" {
			return option.Takes(d, g.Mode, "user <id>... from <issuer|kind>")
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
	err := option.Block(d, actionNames(), func(d *caddyfile.Dispenser) error {
		if actions[d.Val()] == nil {
			return option.Unrecognized(d, g.Mode, actionNames())
		}
		return unmarshalRule(d, &g.Rules)
	})
	if err != nil {
		return err
	}
	if len(g.Rules) == 0 {
		return d.Errf("%s has no rules: they stand in a block after it", g.title())
	}
	*to = append(*to, g)
	return nil
}

func (h *Handler) unmarshalRequests(d *caddyfile.Dispenser) error {
	if err := option.NoArgs(d); err != nil {
		return err
	}
	h.Requests = new(Requests)
	if err := option.Block(d, append([]string{"except", "only", "pass"}, actionNames()...), h.Requests.unmarshalOption); err != nil {
		return err
	}
	if len(h.Requests.Rules) == 0 && len(h.Requests.Groups) == 0 {
		return d.Err("requests has no rules: they stand in a block after it")
	}
	return nil
}

func (q *Requests) unmarshalOption(d *caddyfile.Dispenser) error {
	if actions[d.Val()] != nil {
		return unmarshalRule(d, &q.Rules)
	}
	switch d.Val() {
	case "except", "only":
		return unmarshalGroup(d, &q.Groups)
	case "pass":
		return unmarshalPass(d, &q.Pass)
	case "match_case":
		return option.Flag(d, &q.MatchCase)
	case "max_body":
		return option.Size(d, &q.MaxBody, sizes)
	}
	return option.Unrecognized(d, "requests", actionNames(), []string{"except", "only", "pass", "match_case", "max_body"})
}

// unmarshalPass reads media types.
func unmarshalPass(d *caddyfile.Dispenser, to *[]string) error {
	if err := option.List(d, to); err != nil {
		return err
	}
	if _, err := parseMediaTypes(*to); err != nil {
		return d.Errf("%v", err)
	}
	return nil
}

func unmarshalKey(d *caddyfile.Dispenser, to *[]EncryptKey) error {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 || args[0] == "" {
		return option.Takes(d, name, "{env.NAME}, {file.PATH} or internal, and an id for it if there are several")
	}
	k := EncryptKey{Key: args[0]}
	if len(args) == 2 {
		k.ID = args[1]
	}
	for _, other := range *to {
		if other.id() == k.id() {
			return d.Errf("%s: there are two keys with the id %s: write an id after each key", name, k.id())
		}
	}
	*to = append(*to, k)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
