package agents

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const protected = `http://:{$PORT} {
	jwt_auth {
		key HS256 {env.SECRET}
		resource https://api.example.com/mcp {
			authorization_servers https://id.example.com
			name "Orders"
		}
	}
	rbac {
		authenticated {
			allow GET /me
			allow POST /both when has_scope("a:one") && has_scope("a:two")
			allow DELETE /both when acr("2","5m") && has_scope("a:one")
		}
		scope orders:read {
			allow GET /orders/*
			allow POST /mcp
		}
		scope orders:write inherits orders:read {
			allow POST /orders/*
			tool refund
		}
	}
	mcp
	respond {header.Authorization}
}
`

func TestResourceMetadata(t *testing.T) {
	s := harness.Start(t, protected, "SECRET="+secret)
	const at = "/.well-known/oauth-protected-resource"
	for _, path := range []string{at, at + "/mcp"} {
		r := s.Get("PORT", path, "X-Forwarded-Host: evil.example", "Authorization: Bearer nonsense")
		if raw := harness.Raw(t, s.Addr("PORT"), "GET "+path+" HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"); raw.Body != r.Body {
			t.Errorf("%s: with another Host: %s", path, raw.Body)
		}
		var doc struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
			Methods  []string `json:"bearer_methods_supported"`
			Name     string   `json:"resource_name"`
		}
		if err := json.Unmarshal([]byte(r.Body), &doc); err != nil || r.StatusCode != 200 {
			t.Fatalf("%s: %d %s, %v", path, r.StatusCode, r.Body, err)
		}
		if doc.Resource != "https://api.example.com/mcp" || !slices.Equal(doc.Servers, []string{"https://id.example.com"}) || doc.Name != "Orders" ||
			!slices.Equal(doc.Scopes, []string{"a:one", "a:two", "orders:read", "orders:write"}) || !slices.Equal(doc.Methods, []string{"header"}) {
			t.Errorf("%s: %s", path, r.Body)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if strings.Contains(r.Body, "evil") {
			t.Errorf("%s: the client's Host is in %s", path, r.Body)
		}
		if r := s.Do("PORT", "HEAD", path, ""); r.StatusCode != 200 || r.Body != "" || r.Header.Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d %q", path, r.StatusCode, r.Body)
		}
		r = s.Do("PORT", "OPTIONS", path, "", "Origin: https://app.example.com", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: mcp-protocol-version")
		if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(strings.ToLower(r.Header.Get("Access-Control-Allow-Headers")), "mcp-protocol-version") {
			t.Errorf("OPTIONS %s: %d %v", path, r.StatusCode, r.Header)
		}
	}
	for _, path := range []string{at + "/other", at + "/mcp/x"} {
		if r := s.Get("PORT", path); r.StatusCode != 401 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

func TestChallengesLeadToTheMetadata(t *testing.T) {
	s := harness.Start(t, protected, "SECRET="+secret)
	tok := func(aud string, scopes string) string {
		return harness.Bearer(harness.HS256(t, secret, harness.Claims(map[string]any{"aud": aud, "scope": scopes})))
	}
	const resource = "https://api.example.com/mcp"
	const metadata = `resource_metadata="https://api.example.com/.well-known/oauth-protected-resource/mcp"`
	for _, c := range []struct {
		method, path, token string
		status              int
		want                string
	}{
		{"GET", "/orders/1", "", 401, `Bearer realm="restricted", scope="orders:read orders:write", ` + metadata},
		{"POST", "/mcp", "", 401, `Bearer realm="restricted", scope="orders:read orders:write", ` + metadata},
		{"POST", "/both", "", 401, `Bearer realm="restricted", scope="a:one a:two", ` + metadata},
		{"GET", "/me", "", 401, `Bearer realm="restricted", ` + metadata},
		{"GET", "/me", tok("https://other.example/mcp", ""), 401, `Bearer realm="restricted", error="invalid_token", error_description="token is for another audience", ` + metadata},
		{"GET", "/me", tok(resource+"/", ""), 401, `error="invalid_token"`},
		{"GET", "/me", tok(resource, ""), 200, ""},
		{"GET", "/orders/1", tok(resource, "x"), 403, `Bearer error="insufficient_scope", scope="orders:read orders:write", ` + metadata},
		{"POST", "/orders/1", tok(resource, "orders:read"), 403, `Bearer error="insufficient_scope", scope="orders:write", ` + metadata},
		{"POST", "/both", tok(resource, "a:one"), 403, `Bearer error="insufficient_scope", scope="a:two", ` + metadata},
		{"DELETE", "/both", tok(resource, "a:one"), 401, `Bearer error="insufficient_user_authentication", error_description="Another authentication of the user is required", acr_values="2", max_age="300", scope="a:one", ` + metadata},
		{"DELETE", "/both", "", 401, `Bearer realm="restricted", scope="a:one", ` + metadata},
		{"DELETE", "/nothing", tok(resource, "orders:write"), 403, `Bearer error="insufficient_scope", ` + metadata},
	} {
		header := []string{}
		if c.token != "" {
			header = append(header, c.token)
		}
		r := s.Do("PORT", c.method, c.path, "", header...)
		got := r.Header["Www-Authenticate"]
		if r.StatusCode != c.status || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s %s: %d %q, want %d %s", c.method, c.path, r.StatusCode, got, c.status, c.want)
		}
		if c.status == 200 && r.Body != "" {
			t.Errorf("the token goes on: %q", r.Body)
		}
	}
	// Other layers, too.
	r := s.Do("PORT", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, tok(resource, "orders:read"), "Origin: https://evil.example", "Content-Type: application/json")
	if got := r.Header.Get("Www-Authenticate"); r.StatusCode != 403 || r.Code() != "forbidden_origin" || got != "Bearer "+metadata {
		t.Errorf("origin: %d %s %q", r.StatusCode, r.Body, got)
	}
}

// TestMetadataBesideAMatcher has it served where the directive is for the resource
// alone, and warned of where it cannot be.
func TestMetadataBesideAMatcher(t *testing.T) {
	const block = ` {
			key HS256 {env.SECRET}
			resource https://api.example.com/mcp {
				authorization_servers https://id.example.com
			}
		}`
	s := harness.Start(t, "http://:{$PORT} {\n\tjwt_auth /mcp"+block+"\n\trespond ok\n}\n", "SECRET="+secret)
	if r := s.Get("PORT", "/.well-known/oauth-protected-resource/mcp"); r.StatusCode != 200 || !strings.Contains(r.Body, `"resource"`) {
		t.Errorf("metadata: %d %s", r.StatusCode, r.Body)
	}
	if r := s.Get("PORT", "/mcp"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("/mcp: %d", r.StatusCode)
	}
	if r := s.Get("PORT", "/"); r.StatusCode != 200 {
		t.Errorf("/: %d", r.StatusCode)
	}
	s = harness.Start(t, "http://:{$PORT} {\n\thandle /mcp {\n\t\tjwt_auth"+block+"\n\t\trespond ok\n\t}\n}\n", "SECRET="+secret)
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), "clients look for the metadata of the resource at /.well-known/oauth-protected-resource/mcp") {
			return errNoWarning
		}
		return nil
	})
}

func TestRulesThatNobodyReadsAreRefused(t *testing.T) {
	out := harness.FailsToLoad(t, "http://:{$PORT} {\n\tjwt_auth {\n\t\tkey HS256 {env.SECRET}\n\t}\n\trbac {\n\t\tauthenticated {\n\t\t\tallow POST /mcp\n\t\t\ttool x\n\t\t}\n\t}\n\trespond ok\n}\n", "SECRET="+secret)
	if !strings.Contains(out, "no mcp behind it reads what a request calls") {
		t.Errorf("got %s", out)
	}
	out = harness.FailsToLoad(t, "http://:{$PORT} {\n\tjwt_auth {\n\t\tkey HS256 {env.SECRET}\n\t\tresource https://api.example.com/mcp\n\t}\n\trespond ok\n}\n", "SECRET="+secret)
	if !strings.Contains(out, "write authorization_servers") {
		t.Errorf("got %s", out)
	}
}
