package caddyfile

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// layers is one of each layer as an administrator would write it, in the
// order in which they must stand.
var layers = []string{
	"audit /var/log/moat/trail",
	"flood_limit {\n\tzone by_address {\n\t\tkey {client_ip}\n\t\tevents 10\n\t\twindow 1s\n\t}\n}",
	"jwt_auth {\n\tkey HS256 {env.SECRET}\n}",
	"rate_limit {\n\tzone per_user {\n\t\tkey {http.auth.user.id}\n\t\tevents 100\n\t\twindow 1m\n\t}\n}",
	"rbac {\n\trole clerk {\n\t\tallow GET /orders/*\n\t}\n}",
	"redact {\n\tremove password\n}",
	"reverse_proxy 127.0.0.1:9",
}

// further are layers that most sites do not have, in their order. All orders
// with them would take too long.
var further = []string{
	"access {\n\tdeny 192.0.2.0/24\n}",
	"guard {\n\ttrap /.env\n}",
	"token_server {\n\tissuer https://id.example.com\n\tclients clients.jsonl\n}",
	"caller_access {\n\tdeny api_key 1\n}",
	"validate /etc/moat/openapi.yaml",
	"mcp",
	"validate_responses",
	"token_budget {\n\tlimit 100000 per day\n}",
	"breaker",
}

// TestEveryPermutationAdaptsToTheSameLayers writes the directives in each of
// the 5,040 possible orders, with the further ones at other places each time,
// and wants one and the same JSON.
func TestEveryPermutationAdaptsToTheSameLayers(t *testing.T) {
	want, err := adapt(t, ":80 {\n"+strings.Join(append(slices.Clone(layers), further...), "\n")+"\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, names := handlers(t, want), []string{"audit", "access", "guard", "moat_early_data", "rate_limit", "token_server", "auth", "rate_limit", "caller_access", "rbac", "validate", "mcp", "redact", "validate_responses", "token_budget", "breaker", "reverse_proxy"}; !slices.Equal(got, names) {
		t.Fatalf("the layers stand as %v, want %v", got, names)
	}
	n := 0
	permute(slices.Clone(layers), 0, func(p []string) {
		p = slices.Clone(p)
		for i, layer := range further {
			p = slices.Insert(p, (n/(i*7+1))%(len(p)+1), layer)
		}
		n++
		got, err := adapt(t, ":80 {\n"+strings.Join(p, "\n")+"\n}\n")
		if err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		if got != want {
			t.Fatalf("written as\n%s\nthe layers stand as %v", strings.Join(p, "\n"), handlers(t, got))
		}
	})
	if n != 5040 {
		t.Fatalf("%d permutations", n)
	}
}

// TestLayersStandRightAmongCaddysOwn places ours among the directives of Caddy
// whose relative order matters for security.
func TestLayersStandRightAmongCaddysOwn(t *testing.T) {
	site := []string{
		"encode gzip",
		"basic_auth {\n\tbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}",
		"uri strip_prefix /v1",
		"rewrite /old /new",
		"header X-Frame-Options DENY",
		"request_header -X-Debug",
		"redir /moved /health",
		"intercept {\n\t@missing status 404\n\treplace_status @missing 410\n}",
	}
	got, err := adapt(t, ":80 {\n"+strings.Join(slices.Concat(site, layers, further), "\n")+"\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	order := handlers(t, got)
	want := []string{
		"audit", "access", "guard", "headers", "static_response", "rewrite", "rewrite", "moat_early_data", "rate_limit", "token_server", "auth", "rate_limit",
		"authentication", "caller_access", "rbac", "validate", "mcp", "headers", "encode", "redact", "intercept", "validate_responses", "token_budget", "breaker", "reverse_proxy",
	}
	if !slices.Equal(order, want) {
		t.Errorf("got  %v\nwant %v", order, want)
	}
}

// handlers returns the names of all handlers in an adapted configuration, in
// the order in which requests meet them.
func handlers(t *testing.T, cfg string) []string {
	t.Helper()
	var names []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if name, ok := v["handler"].(string); ok && name != "subroute" {
				names = append(names, name)
				return
			}
			for _, k := range []string{"apps", "http", "servers", "srv0", "routes", "handle"} {
				walk(v[k])
			}
		}
	}
	var doc any
	if err := json.Unmarshal([]byte(cfg), &doc); err != nil {
		t.Fatal(err)
	}
	walk(doc)
	return names
}

// permute calls f with every order of s.
func permute(s []string, i int, f func([]string)) {
	if i == len(s) {
		f(s)
		return
	}
	for j := i; j < len(s); j++ {
		s[i], s[j] = s[j], s[i]
		permute(s, i+1, f)
		s[i], s[j] = s[j], s[i]
	}
}
