package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Digest names a policy by its content: two documents that say the same have
// the same digest, however they are written.
func (d *Document) Digest() string {
	// Maps are encoded in the order of their keys, and nothing in a
	// Document cannot be encoded.
	text, _ := json.Marshal(d)
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:16])
}

// Diff returns what changed from one policy to another, one line each: rules,
// inheritance and users' roles that are gone, with "- " before them, and
// those that came, with "+ ". A nil document has nothing.
func Diff(from, to *Document) []string {
	old, now := from.statements(), to.statements()
	var lines []string
	for _, s := range slices.Sorted(maps.Keys(old)) {
		if !now[s] {
			lines = append(lines, "- "+s)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(now)) {
		if !old[s] {
			lines = append(lines, "+ "+s)
		}
	}
	return lines
}

// Common returns how much two documents say that is the same.
func Common(a, b *Document) int {
	n := 0
	in := b.statements()
	for s := range a.statements() {
		if in[s] {
			n++
		}
	}
	return n
}

// statements returns everything d says, one line each.
func (d *Document) statements() map[string]bool {
	all := make(map[string]bool)
	if d == nil {
		return all
	}
	say := func(where string, b *Block) {
		if b == nil {
			return
		}
		for _, p := range b.Inherits {
			all[where+" inherits "+principal.Quote(p)] = true
		}
		for effect, rules := range map[string][]string{"allow": b.Allow, "deny": b.Deny} {
			for _, r := range rules {
				all[fmt.Sprintf("%s: %s %s", where, effect, oneLine(r))] = true
			}
		}
	}
	if d.IgnoreCase {
		all["ignore_case"] = true
	}
	say("anyone", d.Anyone)
	say("authenticated", d.Authenticated)
	for name, b := range d.Roles {
		say(Who("role", name), b)
	}
	for name, b := range d.Scopes {
		say(Who("scope", name), b)
	}
	for id, grants := range d.Users {
		for _, g := range grants {
			all[Who("user", id)+" roles "+principal.QuoteAll(slices.Sorted(slices.Values(g.Roles)))+fromText(g.From)] = true
		}
	}
	return all
}
