package layers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestDeadWordsAreToldOf: what can do nothing, or not what it seems to, is
// named with its place and what to write.
func TestDeadWordsAreToldOf(t *testing.T) {
	const auth = "jwt_auth {\nissuer internal\n}\n"
	const optional = "jwt_auth {\nissuer internal\noptional\n}\nrbac {\nanyone {\nallow GET /*\n}\n}\n"
	limit := func(key string) string {
		return "rate_limit {\nzone z {\nkey " + key + "\nevents 100\nwindow 1m\n}\n}\n"
	}
	for name, tc := range map[string]struct {
		site, head string
		want       []string
	}{
		"anyone behind authentication":    {site: auth + "rbac {\nanyone {\nallow GET /health\n}\n}\n", want: []string{"anyone_behind_authentication", "write optional in jwt_auth", "Caddyfile:"}},
		"a key without a placeholder":     {site: auth + limit("http.auth.user.id"), want: []string{"rate_limit_one_key", "with the braces"}},
		"a key that nothing sets":         {site: auth + limit("{http.auth.user.ids}"), want: []string{"rate_limit_unknown_key", "did you mean {http.auth.user.id}?"}},
		"a claim without claims":          {site: auth + limit("{http.auth.user.email}"), want: []string{"rate_limit_unknown_key", "{http.auth.user.claims.email}"}},
		"a bucket of all anonymous":       {site: optional + limit("{http.auth.user.id}"), want: []string{"rate_limit_shared_by_anonymous", "{http.moat.caller}"}},
		"a budget for everybody":          {site: auth + "token_budget {\nlimit 100 per day\nby static\n}\n"},
		"a budget of one key":             {site: auth + "token_budget {\nlimit 100 per day\nby all\n}\n", want: []string{"rate_limit_one_key", "with the braces", "Caddyfile:"}},
		"two rbac":                        {site: optional + "rbac {\nanyone {\nallow GET /a\n}\n}\n", want: []string{"rbac_repeated", "write all rules in one block"}},
		"rbac in a handle":                {site: optional + "handle /a {\nrbac {\nanyone {\nallow GET /a\n}\n}\n}\n", want: nil},
		"a header that is recorded":       {site: "audit {$HOME}/trail {\nrecord headers X_Tenant X-Y\n}\n", want: []string{"header_never_arrives", "X_Tenant", "expected_underscore_headers"}},
		"a header in a condition":         {site: "rbac {\nanyone {\nallow GET /* when `headers[\"x.tenant\"] == \"a\"`\n}\n}\n", want: []string{"header_never_arrives", "x.tenant", "expected_dot_headers"}},
		"a header that is expected":       {head: "{\nservers {\nexpected_underscore_headers x_tenant\n}\n}\n", site: "audit {$HOME}/trail {\nrecord headers X_Tenant\n}\n"},
		"one place of two":                {site: strings.Replace(auth, "internal", "internal\nfrom header api_key\nfrom cookie id", 1), want: []string{"credential_never_arrives", "can never match"}},
		"a claim with dots":               {site: strings.Replace(auth, "internal", "internal {\nroles realm_access.roles\nsubject user.id\n}\nforward /realm_access.name X-Name", 1), want: []string{"claim_name_separated", "did you mean /realm_access/roles?", "/user/id", "Caddyfile:"}},
		"keys over clear text":            {site: "jwt_auth {\nissuer http://id.example.com {\njwks http://192.0.2.1/keys\n}\n}\n", want: []string{"clear_text_http", "write jwks https://192.0.2.1/keys"}},
		"a role that no key has":          {site: "signature_auth {\nkey k1 hmac-sha256 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= {\nroles robot\n}\n}\nrbac {\nrole clerk {\nallow GET /*\n}\nrole robot {\nallow POST /*\n}\n}\nredact {\nonly role clrek board {\nremove salary\n}\nexcept role robot {\nremove cost\n}\n}\n", want: []string{"redact_unknown_name", "did you mean 'role clerk'?", "role board", "for nobody whose identity is known"}},
		"a role that a token may have":    {site: auth + "redact {\nexcept role board {\nremove salary\n}\n}\n"},
		"a role misspelt in a matcher":    {site: auth + "rbac {\nrole clerk {\nallow GET /*\n}\n}\n@c role clrek\nheader @c X-A b\n", want: []string{"matcher_unknown_name", "did you mean 'role clerk'?"}},
		"forward_auth that is not heard":  {site: "forward_auth 127.0.0.1:1 {\nuri /verify\ncopy_headers Remote-Groups Remote-User\n}\nrbac {\nrole clerk {\nallow GET /*\n}\n}\n", want: []string{"forward_auth_unheard", "trusted_header_auth { user Remote-User; groups Remote-Groups }", "Caddyfile:6"}},
		"forward_auth, rules for anyone":  {site: "forward_auth 127.0.0.1:1 {\nuri /verify\n}\nrbac {\nanyone {\nallow GET /*\n}\n}\n"},
		"forward_auth that is heard":      {site: "forward_auth 127.0.0.1:1 {\nuri /verify\ncopy_headers Remote-User\n}\ntrusted_header_auth {\nuser Remote-User\n}\nrbac {\nrole clerk {\nallow GET /*\n}\n}\n"},
		"a path that the client names":    {site: optional + "handle {\nreverse_proxy 127.0.0.1:1 {\nrewrite {query.p}\n}\n}\n", want: []string{"rewrite_behind_rbac", "{http.request.uri.query.p}"}},
		"a rewrite in a block":            {site: optional + "handle {\nrewrite * /x/{header.X-Page}\nrespond ok\n}\n", want: []string{"rewrite_behind_rbac", "{http.request.header.X-Page}"}},
		"a method that the client names":  {site: optional + "handle {\nmethod {query.m}\nrespond ok\n}\n", want: []string{"rewrite_behind_rbac"}},
		"a query that the client names":   {site: optional + "handle {\nrewrite * /index.php?q={query.q}\nrespond ok\n}\n"},
		"a rewrite before":                {site: optional + "rewrite * {query.p}\n"},
		"a ban of callers":                {site: "guard {\nrule a {\ncount 404 by caller\nover 9 in 1m\nban 1h\n}\n}\n", want: []string{"guard_callers_unknown", "write rbac", "Caddyfile:"}},
		"a ban of callers that are known": {site: "guard {\nrule a {\ncount distinct {id} by caller\npath /o/{id}\nover 9 in 1m\nban 1h\n}\n}\n" + auth},
		"a variable that is not there":    {site: "guard {\nrule a {\ncount distinct {id} by caller\nlearn\nalert\n}\n}\n" + optional, want: []string{"guard_variable_unknown", "write path /orders/{id} into the rule"}},
		"a variable of rbac":              {site: "guard {\nrule a {\ncount distinct {id} by caller\nlearn\nalert\n}\n}\n" + strings.Replace(optional, "/*", "/o/{id}", 1)},
		"an address that is chosen":       {head: "{\nservers {\ntrusted_proxies static private_ranges\n}\n}\n", site: "guard {\ntrap /.env\n}\n", want: []string{"guard_address_chosen", "write trusted_proxies_strict"}},
		"an address that is not chosen":   {head: "{\nservers {\ntrusted_proxies static private_ranges\ntrusted_proxies_strict\n}\n}\n", site: "guard {\ntrap /.env\n}\n"},
		"the address of a proxy":          {site: "bind 127.0.0.1\nguard {\ntrap /.env\n}\n", want: []string{"guard_proxy_addresses", "or ban_private"}},
		"the address of clients":          {site: "bind 127.0.0.1\nguard {\ntrap /.env\nban_private\n}\n"},
		"nothing wrong":                   {site: optional + limit("{http.moat.caller}")},
		"a limit for all":                 {site: auth + limit("static")},
		"a claim":                         {site: auth + limit("{http.auth.user.claims.tenant}")},
	} {
		s := harness.Start(t, tc.head+":{$PORT} {\n"+tc.site+"respond served\n}")
		harness.Eventually(t, func() error {
			log := s.Log.String()
			for _, want := range append(tc.want, "serving initial configuration") {
				if !strings.Contains(log, want) {
					return fmt.Errorf("%s: the log lacks %q:\n%s", name, want, log)
				}
			}
			return nil
		})
		if log := s.Log.String(); tc.want == nil && strings.Contains(log, "moat_layers") {
			t.Errorf("%s: the log warns:\n%s", name, log)
		}
		s.Stop()
	}
}

// TestDeadWordsThatCannotBeMeantAreRefused by caddy validate too.
func TestDeadWordsThatCannotBeMeantAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		site string
		want []string
	}{
		"rate_limit without a zone":      {"audit {$HOME}/trail\nrate_limit {\nkey {client_ip}\nevents 100\nwindow 1m\n}\n", []string{"rate_limit_without_zone", "write zone <name>"}},
		"only a header that never comes": {"jwt_auth {\nissuer internal\nfrom header X_Token\n}\n", []string{"credential_never_arrives", "X_token", "expected_underscore_headers", "Caddyfile:2"}},
		"audit with a matcher alone":     {"audit /api/*\n", []string{"audit", "/api/*", "<directory>", "Caddyfile:2"}},
	} {
		s := harness.Prepare(t, ":{$PORT} {\n"+tc.site+"respond served\n}")
		for _, command := range []string{"run", "validate"} {
			out, err := s.Caddy(command, "--config", "Caddyfile")
			for _, want := range tc.want {
				if err == nil || !strings.Contains(out, want) {
					t.Errorf("%s: caddy %s: the error lacks %q:\n%s", name, command, want, out)
				}
			}
		}
	}
}
