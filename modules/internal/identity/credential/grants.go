package credential

import "slices"

// Grants are the roles and scopes that the credentials of a method can give.
type Grants struct {
	Roles, Scopes []string

	// Others is true if a credential may bring other names, as a token may.
	Others bool
}

// Add adds names that are not there yet.
func (g *Grants) Add(roles, scopes []string) {
	g.Roles, g.Scopes = union(g.Roles, roles), union(g.Scopes, scopes)
}

func union(list, more []string) []string {
	for _, name := range more {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
