package redact

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// check says why nobody can be whom the group names.
func (g *Group) check() error {
	if g.From != "" && g.Of != "user" {
		return fmt.Errorf("%s: from is for users: %s user <id>... from <issuer|kind>", g.title(), g.Mode)
	}
	if strings.Contains(g.From, "{") || g.From != "" && principal.CheckID(g.From) != nil {
		return fmt.Errorf("%s: write the exact name of an issuer after from, or a kind of credential: %s", g.title(), strings.Join(principal.Kinds(), ", "))
	}
	for _, name := range g.Names {
		var err error
		switch g.Of {
		case "role", "scope":
			err = principal.CheckName(name)
		case "user":
			err = principal.CheckID(name)
		case "kind":
			if !slices.Contains(principal.Kinds(), name) {
				err = fmt.Errorf("unknown kind of credential: write one of %s", strings.Join(principal.Kinds(), ", "))
			}
		}
		if err != nil {
			return fmt.Errorf("%s %s '%s': %w", g.Mode, g.Of, name, err)
		}
	}
	return nil
}

// Unclear returns the groups that name users without saying who has to vouch
// for them, and what to write for one source.
func (h *Handler) Unclear(source principal.Source) []principal.Unclear {
	var all []principal.Unclear
	for _, g := range h.allGroups() {
		if g.Of == "user" && g.From == "" {
			with := g
			with.From = source.String()
			all = append(all, principal.Unclear{What: g.title(), Write: with.title()})
		}
	}
	return all
}

func (h *Handler) allGroups() []Group {
	if h.Requests == nil {
		return h.Groups
	}
	return slices.Concat(h.Groups, h.Requests.Groups)
}

// Sources returns what stands after from.
func (h *Handler) Sources() []string {
	var all []string
	for _, g := range h.allGroups() {
		if g.From != "" {
			all = append(all, g.From)
		}
	}
	return all
}
