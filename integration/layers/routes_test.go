package layers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// application says what nobody without rights may read.
const application = `
:{$PORT5} {
	header Content-Type application/json
	respond ` + "`" + `{"order":1,"password":"s3cr3t"}` + "`" + `
}
`

// TestNamedRouteKeepsAllItsLayers: Caddy keeps the first of several directives
// without a matcher in a named route; ours all stay.
func TestNamedRouteKeepsAllItsLayers(t *testing.T) {
	s := harness.Start(t, `
(common) {
	rbac {
		role admin {
			allow * /*
		}
	}
	redact {
		remove password
	}
}
&(secure) {
	audit {$HOME}/trail
	jwt_auth {
		issuer internal
	}
	import common
}
&(application) {
	reverse_proxy 127.0.0.1:{$PORT5}
}
&(all) {
	route {
		invoke secure
		invoke application
	}
}
:{$PORT} {
	invoke secure
	reverse_proxy 127.0.0.1:{$PORT5}
}
:{$PORT2} {
	handle_path /v1/* {
		invoke all
	}
	handle /twice {
		route {
			invoke secure
			invoke secure
			invoke application
		}
	}
}
`+application)
	admin, clerk := s.Token("--sub", "ada", "--role", "admin"), s.Token("--sub", "bob", "--role", "clerk")
	for _, at := range []struct{ port, path string }{{"PORT", "/orders"}, {"PORT2", "/v1/orders"}, {"PORT2", "/twice"}} {
		s.Get(at.port, at.path).Want(t, 401, "missing_credentials")
		s.Get(at.port, at.path, "Authorization: Bearer "+clerk).Want(t, 403, "forbidden")
		a := s.Get(at.port, at.path, "Authorization: Bearer "+admin)
		a.Want(t, 200, `"order":1`)
		if strings.Contains(a.Body, "s3cr3t") {
			t.Errorf("%s %s: the response is not redacted: %s", at.port, at.path, a.Body)
		}
	}
	harness.Eventually(t, func() error {
		records := s.Output("moat", "audit", "search", "--path", "/orders", s.Path("trail"))
		if !strings.Contains(records, `"ada"`) {
			return fmt.Errorf("the trail lacks the requests:\n%s", records)
		}
		return nil
	})
}

// TestLayerBehindAnAnswerIsRefused: `caddy run` and `caddy validate` name the
// file, the line and the layer.
func TestLayerBehindAnAnswerIsRefused(t *testing.T) {
	const rbac = "rbac {\nanyone {\nallow GET /health\n}\n}\n"
	for name, tc := range map[string]struct {
		site, behind string
		onlyRun      bool // caddy validate does not look into named routes
	}{
		"reverse_proxy":   {"route {\nreverse_proxy 127.0.0.1:9\n" + rbac + "}", "reverse_proxy", false},
		"respond":         {"route {\nrespond hello\n" + rbac + "}", "respond", false},
		"redir":           {"route {\nredir https://x.test\n" + rbac + "}", "redir", false},
		"error":           {"route {\nerror 404\n" + rbac + "}", "error", false},
		"abort":           {"route {\nabort\n" + rbac + "}", "abort", false},
		"file_server":     {"route {\nfile_server\n" + rbac + "}", "file_server", false},
		"php_fastcgi":     {"route {\nphp_fastcgi 127.0.0.1:9\n" + rbac + "}", "php_fastcgi", false},
		"in a handle":     {"handle /a/* {\nroute {\nrespond hello\n" + rbac + "}\n}", "respond", false},
		"nested":          {"route {\nroute {\nhandle {\nrespond hello\n}\n}\n" + rbac + "}", "respond", false},
		"all the handles": {"route {\nhandle /a {\nrespond a\n}\nhandle {\nrespond b\n}\n" + rbac + "}", "respond", false},
		"site of a host":  {"route {\nrespond hello\n" + rbac + "}\n}\nb.test:{$PORT} {\nrespond b", "respond", false},
		"order":           {rbac + "respond hello", "respond", false},
		"named route":     {"route {\ninvoke app\n" + rbac + "}", "respond", true},
		"within one":      {"invoke wrong", "respond", true},
		"in an error":     {"handle_errors {\nroute {\nrespond hello\n" + rbac + "}\n}", "respond", false},
	} {
		head := ""
		if name == "order" {
			head = "{\norder rbac after respond\n}\n"
		}
		file := head + "&(app) {\nroute {\nrespond hello\n}\n}\n&(wrong) {\nroute {\nrespond hello\n" + rbac + "}\n}\n:{$PORT} {\n" + tc.site + "\n}\n"
		s := harness.Prepare(t, file)
		line := 0
		for i, text := range strings.Split(file, "\n") {
			if text == "rbac {" && (line == 0 || name != "within one") {
				line = i + 1
			}
		}
		commands := []string{"run", "validate"}
		if tc.onlyRun {
			commands = commands[:1]
		}
		for _, command := range commands {
			out, err := s.Caddy(command, "--config", "Caddyfile")
			if err == nil {
				t.Errorf("%s: caddy %s accepts\n%s", name, command, file)
				continue
			}
			for _, want := range []string{fmt.Sprintf("Caddyfile:%d", line), "rbac stands behind ", tc.behind, "layer_unreachable"} {
				if !strings.Contains(out, want) {
					t.Errorf("%s: caddy %s: the error lacks %q:\n%s", name, command, want, out)
				}
			}
		}
	}
}

// TestLayersThatSomeRequestsReachAreAccepted: what answers only some requests,
// or hands them on, may stand before a layer.
func TestLayersThatSomeRequestsReachAreAccepted(t *testing.T) {
	const rbac = "rbac {\nanyone {\nallow GET /health\n}\n}\n"
	for name, site := range map[string]string{
		"a path":        "route {\nrespond /health ok\n" + rbac + "respond hello\n}",
		"forward_auth":  "route {\nforward_auth 127.0.0.1:9 {\nuri /auth\n}\n" + rbac + "respond hello\n}",
		"pass_thru":     "route {\nfile_server {\npass_thru\n}\n" + rbac + "respond hello\n}",
		"a handle":      "route {\nhandle /a {\nrespond a\n}\n" + rbac + "respond hello\n}",
		"handles":       rbac + "handle /a {\nrespond a\n}\nhandle {\nrespond b\n}",
		"named routes":  "invoke part\ninvoke layers\nrespond hello",
		"errors":        rbac + "respond hello\nhandle_errors {\nrespond sorry\n}",
		"intercept":     "intercept {\n@bad status 5xx\nhandle_response @bad {\nrespond sorry\n}\n}\n" + rbac + "respond hello",
		"copy_response": rbac + "reverse_proxy 127.0.0.1:9 {\n@ok status 2xx\nhandle_response @ok {\ncopy_response_headers\ncopy_response\n}\n}",
		"php":           rbac + "php_fastcgi 127.0.0.1:9\nfile_server",
	} {
		s := harness.Prepare(t, "&(part) {\nrespond /health ok\n}\n&(layers) {\n"+rbac+"}\n:{$PORT} {\n"+site+"\n}\n")
		if out, err := s.Caddy("validate", "--config", "Caddyfile"); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		s.Run()
		s.Wait()
		s.Stop()
	}
}

// TestNamedRoutesAreLookedInto: what is warned of in a site is warned of in
// what the site invokes, and what would refuse everything is refused there.
func TestNamedRoutesAreLookedInto(t *testing.T) {
	out := harness.FailsToLoad(t, "&(closed) {\nrbac {\nrole clerk {\nallow GET /*\n}\n}\n}\n&(outer) {\ninvoke closed\n}\n:{$PORT} {\ninvoke outer\nrespond served\n}")
	for _, want := range []string{"Caddyfile:2", "nothing before it authenticates"} {
		if !strings.Contains(out, want) {
			t.Errorf("the error lacks %q:\n%s", want, out)
		}
	}
	s := harness.Start(t, "&(optional) {\njwt_auth {\nissuer internal\noptional\n}\n}\n:{$PORT} {\ninvoke optional\nrespond served\n}")
	s.Get("PORT", "/").Want(t, 200)
	if log := s.Log.String(); !strings.Contains(log, "no rbac follows") {
		t.Errorf("the log lacks the warning:\n%s", log)
	}
}

// TestNamedRouteThatCaddyDropsIsRefused: of a named route with several of
// Caddy's own directives the first remains. One that was to be invoked there
// is then invoked by nobody.
func TestNamedRouteThatCaddyDropsIsRefused(t *testing.T) {
	const site = "&(secure) {\nroute {\nrbac {\nanyone {\nallow GET /health\n}\n}\n}\n}\n&(outer) {\nheader X y\ninvoke secure\n}\n:{$PORT} {\ninvoke outer\nrespond served\n}"
	out := harness.FailsToLoad(t, site)
	for _, want := range []string{"named route secure", "route { … }", "named_route_dropped"} {
		if !strings.Contains(out, want) {
			t.Errorf("the error lacks %q:\n%s", want, out)
		}
	}
	s := harness.Start(t, strings.Replace(site, "header X y\ninvoke secure", "route {\nheader X y\ninvoke secure\n}", 1))
	s.Get("PORT", "/").Want(t, 401)
	s.Get("PORT", "/health").Want(t, 200)
}

// TestTwoIdentitiesOnOneRequestAreRefused at load where each request would
// have two, and where the request comes if only some would.
func TestTwoIdentitiesOnOneRequestAreRefused(t *testing.T) {
	const keys = "jwt_auth {\nissuer https://a.test {\nkey HS256 {env.KEY}\n}\noptional\n}\n"
	const cookies = "from cookie id\n"
	second := strings.Replace(strings.Replace(keys, "a.test", "b.test", 1), "optional", cookies+"forward /sub X-Owner", 1)
	const basic = "basic_auth {\nbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n"
	for name, site := range map[string]string{
		"two directives": keys + second,
		"in a handle":    keys + "handle /a/* {\n" + second + "}\n",
		"one for a part": strings.Replace(keys, "jwt_auth", "jwt_auth /a/*", 1) + second,
		"in a route":     "route {\n" + second + keys + "}\n",
		"basic_auth":     strings.Replace(keys, "optional\n", "", 1) + basic,
		"and forward":    strings.Replace(keys, "optional", "optional\nforward /sub X-User", 1) + basic,
		"a named route":  keys + "invoke second\n",
	} {
		out := harness.FailsToLoad(t, "&(second) {\n"+second+"}\n:{$PORT} {\n"+site+"respond served\n}", "KEY="+strings.Repeat("k", 32))
		for _, want := range []string{"Caddyfile:", "two identities", "write auth { ", "two_identities"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the error lacks %q:\n%s", name, want, out)
			}
		}
	}
	s := harness.Start(t, "(first) {\n"+keys+"}\n(second) {\n"+second+"}\n:{$PORT} {\n"+
		"handle /a/* {\nimport first\nrespond {http.auth.user.id}\n}\nhandle {\nimport second\nrespond {http.auth.user.id}\n}\n}\n"+
		":{$PORT2} {\n"+strings.Replace(keys, "jwt_auth", "@x header X-Sub *\njwt_auth @x", 1)+strings.Replace(second, "jwt_auth", "@a path /a/*\njwt_auth @a", 1)+"respond {http.auth.user.id}\n}",
		"KEY="+strings.Repeat("k", 32))
	token := func(issuer, subject string) string {
		return harness.HS256(t, strings.Repeat("k", 32), map[string]any{"iss": issuer, "sub": subject, "exp": time.Now().Add(time.Hour).Unix()})
	}
	a, b := token("https://a.test", "alice"), token("https://b.test", "bob")
	both := []string{"Authorization: Bearer " + a, "Cookie: id=" + b, "X-Sub: 1"}
	s.Get("PORT", "/a/x", both...).Want(t, 200, "alice")
	s.Get("PORT", "/b", both...).Want(t, 200, "bob")
	s.Get("PORT2", "/b", both...).Want(t, 200, "alice")
	s.Get("PORT2", "/a/b", both...).Want(t, 400, "invalid_request", "more than one caller")
	s.Get("PORT2", "/a/b", both[1]).Want(t, 200, "bob")
}
