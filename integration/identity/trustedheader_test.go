package identity

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// authService stands for Authelia and the like: the cookie session says who the
// user is, and an answer of 200 that they may pass.
func authService(t testing.TB) string {
	t.Helper()
	return harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		session, err := r.Cookie("session")
		if err != nil {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		h := w.Header()
		switch session.Value {
		case "alice":
			h.Set("Remote-User", "alice")
			h.Set("Remote-Groups", "admins, Domain Users,admins")
			h.Set("Remote-Email", "alice@example.com")
		case "bob":
			h.Set("Remote-User", "bob")
		case "two":
			h["Remote-User"] = []string{"alice", "bob"}
		case "latin":
			h["Remote-User"] = []string{"al\xefce"}
		case "bypass": // a page that is open to all
		default:
			h.Set("Remote-User", "alice")
			w.WriteHeader(http.StatusForbidden)
		}
	})
}

// forwardAuth is a site in which forward_auth asks for all paths but /open.
func forwardAuth(t testing.TB, options, more string) string {
	return `http://localhost:{$PORT} {
	audit trail
	@closed not path /open*
	forward_auth @closed ` + authService(t) + ` {
		uri /check
		copy_headers Remote-User Remote-Groups Remote-Email
	}
	trusted_header_auth {
		user Remote-User
		groups Remote-Groups
		claim email Remote-Email
		issuer authelia
		` + options + `
	}
	rbac {
		role admins {
			allow GET /admin/*
		}
		role "Domain Users" {
			allow GET /files/*
		}
		authenticated {
			allow GET,POST /app/*
		}
		` + more + `
	}
	reverse_proxy ` + harness.HeaderUpstream(t) + `
}`
}

// spoofed are the fields by which a client may try to be somebody else.
var spoofed = []string{
	"Remote-User: root", "remote-user: root", "REMOTE-USER: root", "Remote_User: root", "Remote.User: root", "remote_user: root",
	"Remote-Groups: admins", "Remote_Groups: admins", "Remote-Email: root@example.com",
}

func TestForwardAuthIdentifies(t *testing.T) {
	s := harness.StartAll(t, forwardAuth(t, "forward sub X-User", ""))
	for _, test := range []struct {
		session, path string
		status        int
	}{
		{"alice", "/app/a", 200},
		{"alice", "/admin/a", 200},
		{"alice", "/files/a", 200},
		{"bob", "/app/a", 200},
		{"bob", "/admin/a", 403},
		{"bob", "/files/a", 403},
		{"bypass", "/app/a", 401},
		{"two", "/app/a", 401},
		{"latin", "/app/a", 401},
		{"wrong", "/app/a", 403},
		{"", "/app/a", 401},
	} {
		for i := range 3 * len(harness.Protocols) {
			protocol, more := harness.Protocols[i/3], [][]string{nil, spoofed, {"Connection: Remote-User"}}[i%3]
			if protocol != harness.HTTP1 && i%3 == 2 {
				continue // which alone has hop-by-hop fields
			}
			header := more
			if test.session != "" {
				header = append([]string{"Cookie: session=" + test.session}, more...)
			}
			a := s.Over(protocol).Get("PORT", test.path, header...)
			if a.StatusCode != test.status {
				t.Errorf("%s %s %q, %s: %d, want %d: %s", test.session, test.path, more, protocol, a.StatusCode, test.status, a.Body)
			}
			if strings.Contains(a.Body, "root") || strings.Contains(a.Body, "Remote_") || strings.Contains(a.Body, "Remote.") {
				t.Errorf("%s %s: the upstream sees what the client says: %s", test.session, test.path, a.Body)
			}
			if a.StatusCode == 200 && (!strings.Contains(a.Body, "Remote-User: "+test.session) || !strings.Contains(a.Body, "X-User: "+test.session)) {
				t.Errorf("%s %s: the upstream does not see who it is: %s", test.session, test.path, a.Body)
			}
			if test.session == "bob" && strings.Contains(a.Body, "Remote-Groups") {
				t.Errorf("bob has groups: %s", a.Body)
			}
		}
	}
	s.Stop()
	records := s.Output("moat", "audit", "search", "--user", "alice", s.Path("trail"))
	for _, text := range []string{"authelia", "trusted_header"} {
		if !strings.Contains(records, text) {
			t.Errorf("the record lacks %s: %.600s", text, records)
		}
	}
}

// TestWithoutForwardAuthNobodyIsKnown: a request that forward_auth did not see
// is anonymous, whatever it says of itself.
func TestWithoutForwardAuthNobodyIsKnown(t *testing.T) {
	for name, test := range map[string]struct {
		options, rules string
		status         int
	}{
		"required": {"", "", 401},
		"optional": {"optional", "anyone {\nallow GET /open/*\n}", 200},
		"decided":  {"optional", "", 401},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.StartAll(t, forwardAuth(t, test.options, test.rules))
			for _, field := range spoofed {
				for i := range 3 * len(harness.Protocols) {
					protocol, more := harness.Protocols[i/3], []string{"X: y", "Cookie: session=alice", "Connection: Remote-User"}[i%3]
					if protocol != harness.HTTP1 && i%3 == 2 {
						continue // which alone has hop-by-hop fields
					}
					a := s.Over(protocol).Get("PORT", "/open/a", field, more)
					if a.StatusCode != test.status {
						t.Errorf("%s, %s, %s: %d: %s", field, more, protocol, a.StatusCode, a.Body)
					}
					if a.StatusCode == 401 && !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "ForwardAuth ") {
						t.Errorf("no challenge: %v", a.Header)
					}
					if low := strings.ToLower(a.Body); strings.Contains(low, "remote") {
						t.Errorf("%s: the upstream sees %s", field, a.Body)
					}
				}
			}
			a := harness.Raw(t, s.Addr("PORT"), "GET /open/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: Remote-User\r\nConnection: close\r\n\r\n0\r\nRemote-User: root\r\n\r\n")
			if a.StatusCode != test.status || strings.Contains(a.Body, "root") {
				t.Errorf("a trailer: %d %s", a.StatusCode, a.Body)
			}
			for _, protocol := range harness.Protocols[1:] {
				s := s.Over(protocol)
				r := s.Request("PORT", "POST", "/open/a", io.MultiReader(strings.NewReader("x")))
				r.Trailer = http.Header{"Remote-User": {"root"}}
				// The rules allow nobody but readers.
				if a := s.RoundTrip(r); a.StatusCode == 200 || strings.Contains(a.Body, "root") {
					t.Errorf("a trailer, %s: %d %s", protocol, a.StatusCode, a.Body)
				}
			}
		})
	}
}

// TestPagesOfOtherSitesCannotUseTheSession: the browser sends the cookie of the
// service whoever asks it to.
func TestPagesOfOtherSitesCannotUseTheSession(t *testing.T) {
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		s := harness.StartOver(t, protocol, forwardAuth(t, "origin https://partner.example", ""))
		for _, test := range []struct {
			method, from string
			status       int
		}{
			{"POST", "X: y", 200},
			{"POST", "Sec-Fetch-Site: same-origin", 200},
			{"POST", "Sec-Fetch-Site: cross-site", 403},
			{"POST", "Origin: https://evil.example", 403},
			{"POST", "Origin: https://partner.example", 200},
			{"GET", "Sec-Fetch-Site: cross-site", 200},
		} {
			a := s.Do("PORT", test.method, "/app/a", "", "Cookie: session=alice", test.from)
			if a.StatusCode != test.status || test.status == 403 && a.Code() != "cross_origin" {
				t.Errorf("%s, %s %s: %d, want %d: %s", protocol, test.method, test.from, a.StatusCode, test.status, a.Body)
			}
		}
		if a := s.Do("PORT", "GET", "/open/a", "", "Cookie: session=alice", "Remote-User: alice"); a.StatusCode != 401 {
			t.Errorf("%s: %d: %s", protocol, a.StatusCode, a.Body)
		}
		for _, field := range spoofed {
			if a := s.Do("PORT", "GET", "/admin/a", "", "Cookie: session=bob", field); a.StatusCode != 403 {
				t.Errorf("%s: %s: %d: %s", protocol, field, a.StatusCode, a.Body)
			}
			if a := s.Do("PORT", "GET", "/app/a", "", "Cookie: session=bob", field); a.StatusCode != 200 || strings.Contains(a.Body, "root") {
				t.Errorf("%s: %s: %d: %s", protocol, field, a.StatusCode, a.Body)
			}
		}
	})
}

// TestMatcherOfTrustedHeaders: what the matcher leaves out is nobody's, and the
// fields of what it covers arrive.
func TestMatcherOfTrustedHeaders(t *testing.T) {
	s := harness.StartAll(t, `http://localhost:{$PORT} {
	forward_auth /app/* `+authService(t)+` {
		uri /check
		copy_headers {
			Remote-User>X-Forwarded-User
		}
	}
	trusted_header_auth /app/* {
		user Remote-User>X-Forwarded-User
	}
	reverse_proxy `+harness.HeaderUpstream(t)+`
}`)
	for _, protocol := range harness.Protocols {
		s := s.Over(protocol)
		a := s.Get("PORT", "/app/a", "Cookie: session=alice", "X_Forwarded_User: root", "X-Forwarded-User: root")
		a.Want(t, 200, "X-Forwarded-User: alice")
		if strings.Contains(a.Body, "root") {
			t.Errorf("the upstream sees %s", a.Body)
		}
		for _, field := range []string{"X-Forwarded-User: root", "x_forwarded.user: root"} {
			if a := s.Get("PORT", "/other", "Cookie: session=alice", field); a.StatusCode != 200 || strings.Contains(a.Body, "root") {
				t.Errorf("%s, %s: %d: %s", field, protocol, a.StatusCode, a.Body)
			}
		}
		s.Get("PORT", "/app/a", "X-Forwarded-User: root").Want(t, 401)
	}
}

// TestTrustedHeadersBesideTokens has forward_auth in front of auth and of a
// limit by user, as the manual says.
func TestTrustedHeadersBesideTokens(t *testing.T) {
	key := harness.NewSigner(t)
	s := harness.PrepareAll(t, `{
	order forward_auth before auth
}
http://localhost:{$PORT} {
	@session header Cookie *
	forward_auth @session `+authService(t)+` {
		uri /check
		copy_headers Remote-User
	}
	auth {
		trusted_header_auth {
			user Remote-User
		}
		jwt_auth {
			issuer https://id.test {
				key RS256 rsa.pem
				audience api
			}
		}
	}
	rate_limit {
		zone caller {
			key {http.moat.caller}
			events 6
			window 1h
		}
	}
	reverse_proxy `+harness.HeaderUpstream(t)+`
}`)
	s.WriteFile("rsa.pem", key.Public)
	s.Run()
	s.Wait()
	token := "Authorization: Bearer " + key.Good()
	for _, caller := range []string{"Cookie: session=alice", token, "Cookie: session=bob"} {
		for i := range 9 { // a caller has one limit over all protocols
			protocol, want := harness.Protocols[i%3], 200
			if i >= 6 {
				want = 429
			}
			a := s.Over(protocol).Get("PORT", "/", caller, "Remote_User: root")
			if a.StatusCode != want || strings.Contains(a.Body, "root") {
				t.Errorf("%.20s, request %d, %s: %d: %s", caller, i, protocol, a.StatusCode, a.Body)
			}
			if caller == token && strings.Contains(a.Body, "Remote-User") {
				t.Errorf("the user of a token is one of the service: %s", a.Body)
			}
		}
	}
}

// TestTrustedHeadersThatNobodyCopiesDoNotStart: all callers would be anonymous.
func TestTrustedHeadersThatNobodyCopiesDoNotStart(t *testing.T) {
	const ask = "forward_auth 127.0.0.1:9 {\nuri /check\ncopy_headers COPY\n}\n"
	read := "trusted_header_auth {\nuser Remote-User\ngroups Remote-Groups\n}\n"
	for name, test := range map[string]struct{ global, site, want string }{
		"none":        {"", read, "no forward_auth stands before it"},
		"a part":      {"", strings.Replace(ask, "COPY", "Remote-User", 1) + read, "copy_headers Remote-Groups"},
		"renamed":     {"", strings.Replace(ask, "COPY", "Remote-User Remote-Groups>X-Groups", 1) + read, "copy_headers Remote-Groups"},
		"in auth":     {"", strings.Replace(ask, "COPY", "Remote-User Remote-Groups", 1) + "auth {\n" + read + "}\n", "order forward_auth before auth"},
		"wrong order": {"", "route {\n" + read + strings.Replace(ask, "COPY", "Remote-User Remote-Groups", 1) + "}\n", "no forward_auth"},
		"in errors":   {"", "respond ok\nhandle_errors {\n" + read + "}\n", "no forward_auth"},
		"by hand":     {"", "reverse_proxy 127.0.0.1:9 {\n@good status 2xx\nhandle_response @good {\nrequest_header Remote-User {rp.header.Remote-User}\n" + "}\n}\n" + read, "Remote-User"},
	} {
		for _, command := range []string{"run", "validate"} {
			s := harness.Prepare(t, "{\n"+test.global+"\n}\nhttp://localhost:{$PORT} {\n"+test.site+"respond ok\n}")
			out, err := s.Caddy(command, "--config", "Caddyfile", "--adapter", "caddyfile")
			if err == nil || !strings.Contains(out, test.want) || !strings.Contains(out, "forward_auth_missing") {
				t.Errorf("%s, %s: %v, %s", name, command, err, out)
			}
		}
	}
}
