package report

import (
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// userKey is whom to count for: a user is an issuer (or a kind of credential)
// and an id (OpenID Connect Core section 5.7). It is empty for nobody. The
// separator is in no id.
func userKey(u *record.User) string {
	if u.ID == "" {
		return ""
	}
	return u.ID + "\x00" + principal.Source{Issuer: u.Issuer, Kind: u.Kind}.String()
}

// names tells how users are shown: by the id alone where one source has it.
type names struct{ several map[string]bool }

func namesOf(users *top) names {
	n := names{make(map[string]bool)}
	seen := make(map[string]bool)
	for key := range users.counts {
		id, _, _ := strings.Cut(key, "\x00")
		n.several[id] = n.several[id] || seen[id]
		seen[id] = true
	}
	return n
}

// name returns what is shown for a key of userKey, and any other text as it is.
func (n names) name(key string) string {
	id, source, ok := strings.Cut(key, "\x00")
	if !ok || !n.several[id] || source == "" {
		return id
	}
	return id + " from " + source
}

func (n names) table(t Table) Table {
	for i := range t.Rows {
		t.Rows[i].Name = n.name(t.Rows[i].Name)
	}
	return t
}
