package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/geo"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/lists"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	access [<matcher>] {
//		deny     <entry>... | file <path>... | asn <number>... | country <code>...
//		allow    <entry>... | file <path>... | asn <number>... | country <code>...
//		exempt   <entry>... | file <path>... | asn <number>... | country <code>...
//		by       client|peer
//		database <file>...
//	}
//
// An entry is an address, a range in CIDR form, private_ranges, or the path of a
// file. What begins with /, ./, ../ or a placeholder, or has other characters
// than addresses have, is a path; file makes one of any name. deny, allow,
// exempt and database may be repeated. One of deny, allow and exempt is required.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if err := option.NoArgs(d); err != nil {
		return err
	}
	if err := option.Block(d, []string{"deny", "allow", "exempt", "database"}, h.unmarshalOption); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "deny":
		return unmarshalEntries(d, &h.Deny)
	case "allow":
		return unmarshalEntries(d, &h.Allow)
	case "exempt":
		return unmarshalEntries(d, &h.Exempt)
	case "by":
		return option.Word(d, &h.By, byClient, byPeer)
	case "database":
		return option.List(d, &h.Databases)
	}
	return option.Unrecognized(d, Name, []string{"deny", "allow", "exempt", "by", "database"})
}

const entryKinds = "addresses, ranges, private_ranges or paths of files; or file, asn or country and one or more of these"

// unmarshalEntries reads a line of entries.
func unmarshalEntries(d *caddyfile.Dispenser, to **Entries) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) == 0 || slices.Contains(args, "") {
		return option.Takes(d, name, entryKinds)
	}
	if *to == nil {
		*to = new(Entries)
	}
	for _, kind := range callerKinds {
		if args[0] == kind {
			return d.Errf("%s %s: nobody has authenticated yet where %s stands: write caller_access { %s %s }", name, kind, Name, name, strings.Join(args, " "))
		}
	}
	if err := (*to).add(args); err != nil {
		return d.Errf("%s: %v", name, err)
	}
	return option.NoBlock(d)
}

// add adds what a line says.
func (e *Entries) add(args []string) error {
	switch kind, rest := args[0], args[1:]; kind {
	case "file", "asn", "country":
		if len(rest) == 0 {
			return errKindAlone(kind)
		}
		for _, text := range rest {
			if err := e.addOf(kind, text); err != nil {
				return err
			}
		}
		return nil
	}
	for _, text := range args {
		kind := "address"
		if isPath(text) {
			kind = "file"
		}
		if err := e.addOf(kind, text); err != nil {
			return err
		}
	}
	return nil
}

func (e *Entries) addOf(kind, text string) error {
	switch kind {
	case "file":
		return addOnce(&e.Files, text, text)
	case "asn":
		number, err := geo.ParseASN(text)
		if err != nil {
			return err
		}
		return addOnce(&e.ASNs, number, text)
	case "country":
		code, err := geo.ParseCountry(text)
		if err != nil {
			return err
		}
		return addOnce(&e.Countries, code, text)
	}
	if text != privateRanges {
		if _, err := lists.ParseEntry(text); err != nil {
			return fmt.Errorf("%w%s", err, suggest.DidYouMean(text, []string{privateRanges}))
		}
	}
	return addOnce(&e.Addresses, text, text)
}

// isPath reports whether an entry is the path of a file: whatever cannot be
// meant to be an address.
func isPath(text string) bool {
	switch {
	case text == privateRanges:
		return false
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "./"), strings.HasPrefix(text, "../"), strings.HasPrefix(text, "{"):
		return true
	}
	return strings.Trim(text, "0123456789abcdefABCDEF:./%-,*") != "" && strings.ContainsAny(text, `./\`) && !strings.Contains(text, "%")
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	address_list <entry>... {
//		<entry>... | file <path>... | asn <number>... | country <code>...
//		by       client|peer
//		database <file>...
//	}
//
// The entries are those of access, on its line or in its block.
func (m *MatchAddressList) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		if args := d.RemainingArgs(); len(args) > 0 {
			if err := m.Entries.add(args); err != nil {
				return d.Errf("address_list: %v", err)
			}
		}
		seen := make(option.Once)
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			if err := m.unmarshalOption(d, seen); err != nil {
				return err
			}
			if err := option.NoBlock(d); err != nil {
				return err
			}
		}
	}
	if err := m.check(); err != nil {
		return d.Errf("address_list: %v", err)
	}
	return nil
}

func (m *MatchAddressList) unmarshalOption(d *caddyfile.Dispenser, seen option.Once) error {
	switch d.Val() {
	case "by":
		if err := seen.Check(d); err != nil {
			return err
		}
		return option.Word(d, &m.By, byClient, byPeer)
	case "database":
		return option.List(d, &m.Databases)
	}
	if err := m.Entries.add(append([]string{d.Val()}, d.RemainingArgs()...)); err != nil {
		return d.Errf("address_list: %v", err)
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*MatchAddressList)(nil)
)
