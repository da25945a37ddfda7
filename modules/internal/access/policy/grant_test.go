package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

var ours, partners = principal.Source{Issuer: "https://a.example", Kind: "jwt"}, principal.Source{Issuer: "https://b.example", Kind: "jwt"}

func TestUsersAreToldApartByWhoVouches(t *testing.T) {
	doc, err := ReadFile("p.yaml", []byte(`
roles: { admin: { allow: [GET /admin] }, clerk: { allow: [GET /clerk] } }
users:
  alice:
    - { roles: [admin], from: "https://a.example" }
    - { roles: [clerk], from: api_key }
  bob: { roles: [clerk], from: internal }
  carol: [clerk]
`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	key := principal.Source{Kind: "api_key"}
	for _, c := range []struct {
		user   string
		source principal.Source
		path   string
		want   bool
	}{
		{"alice", ours, "/admin", true},
		{"alice", partners, "/admin", false},
		{"alice", key, "/admin", false},
		{"alice", key, "/clerk", true},
		{"alice", ours, "/clerk", false},
		{"alice", principal.Source{}, "/admin", false},
		{"alice", principal.Source{Issuer: "api_key", Kind: "jwt"}, "/clerk", false},
		{"bob", principal.Source{Issuer: principal.InternalIssuer, Kind: "jwt"}, "/clerk", true},
		{"bob", ours, "/clerk", false},
		{"carol", partners, "/clerk", true},
	} {
		q := Request{Method: "GET", Path: c.path, Authenticated: true, User: c.user, Source: c.source}
		if got := p.Decide(&q).Allow; got != c.want {
			t.Errorf("%s from %s, %s: got %v", c.user, c.source, c.path, got)
		}
		if given := len(p.UserRoles(c.user, c.source)) > 0; c.want && !given {
			t.Errorf("%s from %s has no roles", c.user, c.source)
		}
	}
	if got := p.Unclear(ours); len(got) != 1 || got[0] != (principal.Unclear{Place: "p.yaml:8", What: "user carol roles clerk", Write: "user carol roles clerk from https://a.example"}) {
		t.Errorf("got %+v", got)
	}
	if got := p.Sources(); !slices.Equal(got, []string{"api_key", "https://a.example", "internal"}) {
		t.Errorf("got %q", got)
	}
	// Caddy's JSON says the same.
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var again Document
	if err := json.Unmarshal(text, &again); err != nil || again.Digest() != doc.Digest() || !strings.Contains(string(text), `"carol":["clerk"]`) {
		t.Errorf("%v: %s", err, text)
	}
	if diff := Diff(nil, doc); !slices.Contains(diff, "+ user alice roles admin from https://a.example") {
		t.Errorf("got %q", diff)
	}
}

func TestUsersOfNobodyAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"users: { a: { roles: [r], from: 7 } }":                                  "from must be the name of an issuer",
		"users: { a: { roles: [r], from: \"\" } }":                               "from must be the name of an issuer",
		"users: { a: { roles: [r], of: x } }":                                    "unknown member 'of'",
		"users: { a: { from: jwt } }":                                            "it is given no roles",
		"users: { a: [ { roles: [r], from: jwt }, { roles: [r], from: jwt } ] }": "are given twice",
		"users: { a: { roles: [r], from: \"{env.X}\" } }":                        "exact name of an issuer",
		"users: { a: [ { roles: [r] }, r ] }":                                    "must be a mapping",
		"users: { a: { roles: r } }":                                             "must be a list of roles",
	} {
		doc, err := ReadFile("p.yaml", []byte("roles: { r: { allow: [GET /] } }\n"+text+"\n"))
		if err == nil {
			_, err = Compile(doc)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "p.yaml:2") {
			t.Errorf("%s: got %v, want %q with its line", text, err, want)
		}
	}
	for _, text := range []string{`"x"`, `[{"roles":["a"],"x":1}]`, `7`, `[1]`} {
		var g Grants
		if err := json.Unmarshal([]byte(text), &g); err == nil {
			t.Errorf("%s is read as %+v", text, g)
		}
	}
}

func TestConditionsThatNameUsersAreFound(t *testing.T) {
	for when, want := range map[string]bool{
		`owner("/sub", id)`: true, `user == id`: true, `claims.sub == id`: true, `claims["sub"] == id`: true, `claims[?"sub"].orValue("") == id`: true,
		`owner("/sub", id, "https://a.example")`: false, `user == id && from("jwt")`: false, `user == id && user.issuer == "x"`: false,
		`claims.iss == "https://a.example" && claims.sub == id`: false, `id in claims.teams`: false, `has_role("x")`: false, `from("api_key")`: false,
	} {
		p, err := Compile(&Document{Authenticated: &Block{Allow: []string{"GET /{id} when " + when}}})
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		if got := p.Unclear(ours); (len(got) == 1) != want {
			t.Errorf("%s: got %+v", when, got)
		} else if want {
			line, err := ParseLine(strings.NewReplacer("allow ", "", "`", "").Replace(got[0].Write))
			if err != nil {
				t.Errorf("%s: %s: %v", when, got[0].Write, err)
				continue
			}
			again, err := Compile(&Document{Authenticated: &Block{Allow: []string{line.String()}}})
			if err != nil || len(again.Unclear(ours)) > 0 {
				t.Errorf("%s: what to write is no better: %s, %v", when, got[0].Write, err)
			}
		}
	}
}
