package jwtauth

import (
	"strings"
	"testing"
)

func TestDoubtsNameTheLineToWrite(t *testing.T) {
	for name, tc := range map[string]struct {
		p    Provider
		want []string
	}{
		"roles":           {Provider{Issuers: []*Issuer{{Internal: new(Internal), Roles: []string{"/roles", "realm_access.roles"}}}}, []string{"roles realm_access.roles: without a leading slash this is one claim with a dot in its name; did you mean /realm_access/roles? A claim that is really named so is written /realm_access.roles"}},
		"others":          {Provider{Issuers: []*Issuer{{Internal: new(Internal), Scopes: []string{"a.b"}, Subject: OneOrMore{"sub", "c/d"}, Require: []Requirement{{Claim: "e.f"}}}}}, []string{"/a/b", "a slash", "/e/f"}},
		"names":           {Provider{Issuers: []*Issuer{{Internal: new(Internal), Roles: []string{"/a.b", "https://example.com/roles", "cognito:groups"}}}}, nil},
		"discovery":       {Provider{Issuers: []*Issuer{{Issuer: "http://id.example.com/a"}}}, []string{"write issuer https://id.example.com/a"}},
		"a name alone":    {Provider{Issuers: []*Issuer{{Issuer: "http://id.example.com", Keys: []Key{{}}}}}, nil},
		"encrypted":       {Provider{Issuers: []*Issuer{{Issuer: "http://id.example.com", JWKS: []KeySet{{Place: "https://id.example.com/keys"}}}}}, nil},
		"keys":            {Provider{Issuers: []*Issuer{{Issuer: "https://id.example.com", JWKS: []KeySet{{Place: "http://keycloak:8080/keys"}}}}}, []string{"write jwks https://keycloak:8080/keys"}},
		"keys of the CA":  {Provider{Issuers: []*Issuer{{Issuer: "http://id.example.com", JWKS: []KeySet{{CA: "ca.pem"}}}}}, []string{"issuer http"}},
		"a file":          {Provider{Issuers: []*Issuer{{Issuer: "http://id.example.com", JWKS: []KeySet{{Place: "/etc/keys.json"}}}}}, nil},
		"introspection":   {Provider{Introspection: &Introspection{Endpoint: "http://10.0.0.1/i", Issuer: Issuer{Roles: []string{"x.y"}}}}, []string{"/x/y", "write introspection https://10.0.0.1/i"}},
		"of this machine": {Provider{Issuers: []*Issuer{{Issuer: "http://localhost:8080"}, {Issuer: "http://127.9.9.9"}, {Issuer: "http://[::1]:1"}, {Issuer: "http://id.localhost"}}}, nil},
	} {
		got := tc.p.doubts()
		if len(got) != len(tc.want) {
			t.Errorf("%s: got %q", name, got)
			continue
		}
		for i, want := range tc.want {
			if !strings.Contains(got[i].Text, want) {
				t.Errorf("%s: got %q, want %q", name, got[i].Text, want)
			}
		}
	}
}
