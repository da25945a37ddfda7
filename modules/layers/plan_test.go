package layers_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/layers/check"
)

const planned = `{
	servers {
		trusted_proxies static 10.0.0.1
		trusted_proxies_strict
	}
}
api.example.com {
	audit /var/log/moat/t.audit {
		deliver file /var/log/moat/copy.jsonl
	}
	jwt_auth {
		issuer https://id.example.com {
			jwks https://id.example.com/jwks
			audience orders
			algorithms ES256
			max_age 1h
			require /verified true
		}
		leeway 30s
	}
	rate_limit {
		zone z {
			key {http.moat.caller}
			events 10
			window 1m
		}
	}
	rbac {
		role clerk {
			allow GET /orders/*
		}
		role manager inherits clerk {
			allow POST /orders/*
			deny POST /orders/{id}/invoice when ` + "`query.force == \"1\"`" + `
		}
		user alice roles clerk
	}
	redact {
		remove $..salary
		mask mobile $..phone
	}
	mcp
	reverse_proxy app:8080
}
`

// plan compares two configurations, and returns the output, by kinds of effects,
// and whether something loosens.
func plan(t *testing.T, format, old, now string) (string, int) {
	t.Helper()
	dir := t.TempDir()
	cmd := check.PlanCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"--format", format, write(t, filepath.Join(dir, "old"), old), write(t, filepath.Join(dir, "new"), now)})
	err := cmd.Execute()
	return out.String(), exitCode(err)
}

// TestPlanSaysWhatLoosens makes one change at a time, and the same one backwards.
func TestPlanSaysWhatLoosens(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string // in the configuration
		loosens  string // what is said of the change
		tightens string // what is said of the way back
		bothWays bool   // unclear: counts as looser either way
	}{
		"a rule more":           {"allow GET /orders/*", "allow GET,DELETE /orders/*", "role clerk gains DELETE /orders/*, and 6 kinds of requests below (opened: nobody was allowed to)", "(closed: nobody is allowed to)", false},
		"a deny gone":           {"deny POST /orders/{id}/invoice when", "# deny", "role manager gains POST /orders/*/invoice, and 1 kinds of requests below\n           --role manager POST /orders/xxxxxxxx/invoice where query.force == \"1\" holds", "role manager loses POST /orders/*/invoice", false},
		"a user's role":         {"user alice roles clerk", "user alice roles manager", "user alice gains POST /orders/*", "loses POST /orders/*", false},
		"rbac that only looks":  {"\trbac {", "\trbac {\n\t\tdry_run", "authenticated gains", "authenticated loses", false},
		"optional":              {"\t\tleeway 30s", "\t\tleeway 30s\n\t\toptional", "auth: optional is true", "auth: optional is off", false},
		"an issuer more":        {"\t\tleeway 30s", "\t\tleeway 30s\n\t\tissuer https://other.example.com {\n\t\t\taudience a\n\t\t}", "tokens of issuer https://other.example.com are accepted", "are not accepted any more", false},
		"an audience more":      {"audience orders", "audience orders billing", "audience billing came", "audience billing went", false},
		"no audience":           {"audience orders", "# audience", "no audience is asked for any more", "audience orders is asked for", false},
		"an algorithm more":     {"algorithms ES256", "algorithms ES256 RS256", "algorithms RS256 came", "algorithms RS256 went", false},
		"any algorithm":         {"algorithms ES256", "# algorithms", "no algorithms is asked for any more", "algorithms ES256 is asked for", false},
		"older tokens":          {"max_age 1h", "max_age 2h", "max_age is 2h0m0s, not 1h0m0s", "max_age is 1h0m0s, not 2h0m0s", false},
		"tokens of any age":     {"max_age 1h", "# max_age", "max_age is none, not 1h0m0s", "max_age is 1h0m0s, not none", false},
		"no required claim":     {"require /verified true", "# require", "require", "require", false},
		"more leeway":           {"leeway 30s", "leeway 2m", "leeway is 2m0s, not 30s", "leeway is 30s, not 2m0s", false},
		"another key set":       {"jwks https://id.example.com/jwks", "jwks https://keys.example.com/jwks", "jwks came", "jwks came", true},
		"another place":         {"\t\tleeway 30s", "\t\tleeway 30s\n\t\tfrom header Authorization Bearer\n\t\tfrom query t", "from", "", false},
		"a higher limit":        {"events 10", "events 20", "zone z: 20 in 1m0s, not 10 in 1m0s", "zone z: 10 in 1m0s, not 20 in 1m0s", false},
		"another key":           {"key {http.moat.caller}", "key {client_ip}", "by another key", "by another key", true},
		"a field":               {"remove $..salary", "# remove", "$..salary becomes visible to everybody", "$..salary is hidden from everybody: remove", false},
		"a weaker action":       {"remove $..salary", "mask last4 $..salary", "$..salary: mask last4 for everybody, not remove", "$..salary: remove for everybody, not mask last4", false},
		"another action":        {"mask mobile $..phone", "mask last4 $..phone", "$..phone: mask last4", "$..phone: mask mobile", true},
		"what is unreadable":    {"remove $..salary", "remove $..salary\n\t\tunreadable pass", "options of redact are others", "options of redact are others", true},
		"shorter retention":     {"\t\tdeliver file", "\t\tkeep 90d\n\t\tdeliver file", "records are kept for 90 days, not 180 days", "records are kept for 180 days, not 90 days", false},
		"no delivery":           {"\t\tdeliver file /var/log/moat/copy.jsonl\n", "\t\tcheckpoint 1m\n", "deliver has 0 entries, not 1", "", true},
		"a layer gone":          {"\tmcp\n", "\n", "mcp is gone", "mcp is new", false},
		"a matcher":             {"\tredact {", "\tredact /a/* {", "redact stands behind other matchers", "redact stands behind other matchers", true},
		"rbac for a part":       {"\trbac {", "\trbac /a/* {", "rbac stands behind other matchers", "rbac stands behind other matchers", true},
		"proxies":               {"static 10.0.0.1", "static 10.0.0.1 10.0.0.2", "trusted_proxies is another", "trusted_proxies is another", true},
		"a blocked address":     {"\tmcp\n", "\tmcp\n\t@bad remote_ip 192.0.2.1\n\trespond @bad 403\n", "static_response", "static_response", true},
		"a rewrite":             {"\tmcp\n", "\tmcp\n\trewrite /a /b\n", "rewrite", "rewrite", true},
		"forward_auth":          {"\tmcp\n", "\tmcp\n\tforward_auth idp:9 {\n\t\turi /v\n\t}\n", "reverse_proxy", "reverse_proxy", true},
		"client certificates":   {"\tmcp\n", "\tmcp\n\ttls {\n\t\tclient_auth {\n\t\t\tmode request\n\t\t}\n\t}\n", "TLS connection policies", "TLS connection policies", true},
		"handle_errors":         {"\tmcp\n", "\tmcp\n\thandle_errors {\n\t\treverse_proxy app:1\n\t}\n", "handle_errors", "handle_errors", true},
		"another site":          {"reverse_proxy app:8080\n}\n", "reverse_proxy app:8080\n}\nb.example.com {\n\treverse_proxy app:8080\n}\n", "the site is new", "the site is gone", false},
		"the other upstream":    {"reverse_proxy app:8080", "reverse_proxy app:8081", "No change", "No change", false},
		"the order of rules":    {"\t\tremove $..salary\n\t\tmask mobile $..phone", "\t\tmask mobile $..phone\n\t\tremove $..salary", "No change", "No change", false},
		"a rule within another": {"allow GET /orders/*", "allow GET /orders/*\n\t\t\tallow GET /orders/7", "No change", "No change", false},
	} {
		if !strings.Contains(planned, c.old) {
			t.Fatalf("%s: %q is not there", name, c.old)
		}
		other := strings.Replace(planned, c.old, c.new, 1)
		if strings.HasPrefix(c.new, "#") {
			var lines []string
			for _, line := range strings.Split(planned, "\n") {
				if !strings.Contains(line, c.old) {
					lines = append(lines, line)
				}
			}
			other = strings.Join(lines, "\n")
		}
		for _, way := range []struct {
			old, now, want string
			code           int
		}{{planned, other, c.loosens, 2}, {other, planned, c.tightens, 0}} {
			code := way.code
			switch {
			case way.want == "No change":
				code = 0
			case c.bothWays:
				code = 2
			}
			out, got := plan(t, "text", way.old, way.now)
			if got != code || !strings.Contains(out, way.want) {
				t.Errorf("%s: exit code %d, want %d and %q in\n%s", name, got, code, way.want, out)
			}
		}
	}
}

// TestPlanKnowsWhereRequestsGo: a site that is gone may be served by another, and
// one host can have several blocks.
func TestPlanKnowsWhereRequestsGo(t *testing.T) {
	closed := "\trbac {\n\t\tanyone {\n\t\t\tallow GET /health\n\t\t}\n\t}\n\treverse_proxy app:8080\n}\n"
	open := "\treverse_proxy app:8080\n}\n"
	for name, c := range map[string]struct {
		old, now, want string
		code           int
	}{
		"to a wildcard":        {"a.example.com {\n" + closed + "*.example.com {\n" + open, "*.example.com {\n" + open, "requests for it come to *.example.com", 2},
		"to another wildcard":  {"a.example.com {\n" + closed + "*.b.example.com {\n" + open, "*.b.example.com {\n" + open, "the site is gone\n", 0},
		"a host less":          {"a.example.com, b.example.com {\n" + closed, "a.example.com {\n" + closed, "b.example.com:\n  tightens rights: the site is gone", 0},
		"blocks of two paths":  {"a.example.com/x/* {\n" + closed + "a.example.com/y/* {\n" + open, "a.example.com/x/* {\n" + open + "a.example.com/y/* {\n" + closed, "", 2},
		"a block moves":        {"a.example.com {\n" + closed + "b.example.com {\n" + open, "b.example.com {\n" + open + "a.example.com {\n" + closed, "No change", 0},
		"rbac gone":            {"a.example.com {\n" + closed, "a.example.com {\n" + open, "a caller without an identity gains", 2},
		"rbac new":             {"a.example.com {\n" + open, "a.example.com {\n" + closed, "a caller without an identity loses", 0},
		"a site without rules": {"a.example.com {\n" + closed, "a.example.com {\n" + closed + "c.example.com {\n" + closed, "c.example.com:\n  loosens  rights: a caller without an identity gains GET,HEAD /health", 2},
	} {
		if out, code := plan(t, "text", c.old, c.now); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d, want %d and %q in\n%s", name, code, c.code, c.want, out)
		}
	}
}

func TestPlanHasItsForms(t *testing.T) {
	other := strings.Replace(planned, "allow GET /orders/*", "allow GET,DELETE /orders/*", 1)
	out, code := plan(t, "json", planned, other)
	var got struct {
		Loosens bool
		Changes []struct {
			Effect, Site, Area, Who string
			Opened                  bool
			Request                 struct {
				Method, Path string
				Roles        []string
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 2 || !got.Loosens || len(got.Changes) < 2 {
		t.Fatalf("%d %v %s", code, err, out)
	}
	if c := got.Changes[0]; c.Effect != "loosens" || c.Site != "api.example.com" || c.Area != "rights" || c.Who != "role clerk" || !c.Opened || c.Request.Method != "DELETE" || len(c.Request.Roles) != 1 {
		t.Errorf("%+v", c)
	}
	if out, _ := plan(t, "markdown", planned, other); !strings.Contains(out, "### api.example.com\n\n- **loosens** rights: role clerk gains DELETE /orders/*") {
		t.Errorf("%s", out)
	}
	if out, code := plan(t, "json", planned, planned); code != 0 || !strings.Contains(out, `"loosens": false`) || !strings.Contains(out, `"changes": []`) {
		t.Errorf("%d %s", code, out)
	}
	if out, code := plan(t, "yaml", planned, planned); code != 1 || !strings.Contains(out, "--format must be") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := plan(t, "text", planned, "api.example.com {\n\trbac {\n"); code != 1 {
		t.Errorf("%d %s", code, out)
	}
	broken := strings.Replace(planned, "rbac {", "rbac {\n\t\tpolicy /etc/moat/none.yaml", 1)
	if out, code := plan(t, "text", planned, broken); code != 1 || !strings.Contains(out, "cannot be read") {
		t.Errorf("%d %s", code, out)
	}
}
