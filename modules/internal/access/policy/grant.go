package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Grant is roles that are given to a user.
type Grant struct {
	// The roles.
	Roles []string `json:"roles"`

	// Who has to vouch for the user: the exact name of an issuer, internal for
	// this server's own, or a kind of credential (jwt, opaque, api_key,
	// client_cert, signature, webhook, trusted_header, session, basic or other). Default: anybody, which is
	// possible where one source of identities is all there is.
	From string `json:"from,omitempty"`
}

// Grants is what a user is given. In JSON it is a list of roles, one Grant or,
// where users of several issuers have one id, a list of Grants.
type Grants []Grant

// UnmarshalJSON reads any of the three forms.
func (g *Grants) UnmarshalJSON(text []byte) error {
	var roles []string
	if json.Unmarshal(text, &roles) == nil {
		*g = Grants{{Roles: roles}}
		return nil
	}
	if text = bytes.TrimSpace(text); len(text) > 0 && text[0] == '{' {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var list []Grant
	if err := d.Decode(&list); err != nil {
		return errors.New(`what a user is given must be a list of roles, or objects such as {"roles": ["clerk"], "from": "https://id.example.com"}`)
	}
	*g = list
	return nil
}

// MarshalJSON prints the simplest form.
func (g Grants) MarshalJSON() ([]byte, error) {
	switch {
	case len(g) == 1 && g[0].From == "":
		return json.Marshal(g[0].Roles)
	case len(g) == 1:
		return json.Marshal(g[0])
	}
	return json.Marshal([]Grant(g))
}

// fromText prints what stands behind the roles of a user.
func fromText(from string) string {
	if from == "" {
		return ""
	}
	return " from " + principal.Quote(from)
}

// CheckFrom says why from cannot name who vouches for a user.
func CheckFrom(from string) error {
	if strings.Contains(from, "{") || !principal.Printable(from) || from != "" && principal.Padded(from) {
		return fmt.Errorf("from '%s': write the exact name of an issuer, or a kind of credential: %s", from, strings.Join(principal.Kinds(), ", "))
	}
	return nil
}

// Unclear returns what the policy says about users of any source, with what to
// write for one of them.
func (p *Policy) Unclear(source principal.Source) []principal.Unclear {
	var all []principal.Unclear
	for _, id := range slices.Sorted(maps.Keys(p.users)) {
		for _, u := range p.users[id] {
			if u.from == "" {
				line := Who("user", id) + " roles " + principal.QuoteAll(u.names)
				all = append(all, principal.Unclear{Place: p.places[Who("user", id)], What: line, Write: line + fromText(source.String())})
			}
		}
	}
	for _, r := range p.rules {
		if r.when != nil && r.when.NamesUser() {
			effect := "deny"
			if r.Allow {
				effect = "allow"
			}
			line := r.Line
			line.When = fmt.Sprintf("`(%s) && from(%q)`", oneLine(line.When), source)
			write := effect + " " + line.String()
			all = append(all, principal.Unclear{Place: r.Place, What: oneLine(r.String()), Write: write})
		}
	}
	return all
}

// Sources returns what stands after from anywhere in the policy.
func (p *Policy) Sources() []string {
	var all []string
	for _, grants := range p.users {
		for _, u := range grants {
			if u.from != "" && !slices.Contains(all, u.from) {
				all = append(all, u.from)
			}
		}
	}
	slices.Sort(all)
	return all
}
