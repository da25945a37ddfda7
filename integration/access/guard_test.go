package access

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// behindStrictProxy has the tests be a proxy that reports the addresses of clients.
const behindStrictProxy = "{\nservers {\ntrusted_proxies static private_ranges\ntrusted_proxies_strict\n}\n}\n"

func client(address string) string { return "X-Forwarded-For: " + address }

// TestGuardOverEachProtocol: a ban acts in the request that crosses the line and on those
// that follow, whatever the protocol, and the record says why.
func TestGuardOverEachProtocol(t *testing.T) {
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		s := harness.StartOver(t, protocol, behindStrictProxy+`
:{$PORT} {
	encode
	audit {$HOME}/trail
	guard {
		trap /.env
		rule scanning {
			count distinct path 404 by address
			over 5 in 10m
			ban 1h
		}
		rule paths {
			count ambiguous_path by address
			over 2 in 10m
			ban 1h
		}
	}
	rbac {
		anyone {
			allow GET /*
		}
	}
	respond /none* "nothing here" 404
	respond ok
}
`)
		for i := range 7 {
			want := 404
			if i >= 5 {
				want = 403
			}
			a := s.Do("PORT", "GET", fmt.Sprintf("/none/%d", i), "", client("203.0.113.1"))
			if a.Want(t, want); want == 403 && (a.Code() != "banned" || strings.Contains(string(a.Body), "nothing here") || a.Header.Get("Retry-After") == "") {
				t.Errorf("%v %s", a.Header, a.Body)
			}
		}
		for i := range 4 {
			want := 400
			if i >= 2 {
				want = 403
			}
			s.Do("PORT", "GET", "/a%2fb", "", client("203.0.113.2")).Want(t, want)
		}
		s.Do("PORT", "GET", "/.env", "", client("203.0.113.3")).Want(t, 403, "banned")
		s.Do("PORT", "GET", "/", "", client("203.0.113.3")).Want(t, 403, "banned")
		s.Do("PORT", "GET", "/", "", client("203.0.113.4")).Want(t, 200)
		s.Stop()
		for text, want := range map[string]int{
			`"rule":"rule scanning: 6 distinct path 404 in 10m, more than 5","code":"banned"`: 1,
			`"rule":"ban by rule scanning","code":"banned"`:                                   1,
			`"rule":"trap /.env","code":"banned"`:                                             1,
			`"what":"ban"`:                                                                    3,
		} {
			if n := harness.CountRecords(t, s.Path("trail"), text); n != want {
				t.Errorf("%d records have %s, want %d", n, text, want)
			}
		}
	})
}

// TestGuardCannotBeTurnedAgainstOthers: no field, credential or claim of a client has
// anybody else banned.
func TestGuardCannotBeTurnedAgainstOthers(t *testing.T) {
	s := harness.Start(t, behindStrictProxy+`
:{$PORT} {
	guard {
		trap /.env
		rule guessing {
			count failed_credentials by caller
			over 3 in 10m
			ban 1h
		}
		rule walking {
			count distinct {id} by caller
			path /orders/{id}
			over 5 in 10m
			ban 1h
		}
	}
	jwt_auth {
		issuer internal
		optional
	}
	respond ok
}
`)
	alice := harness.Bearer(s.Token("--config", s.Config, "--sub", "alice"))
	forged := strings.TrimSuffix(alice, alice[len(alice)-10:])
	for i := range 8 { // somebody else, with what looks like tokens of alice
		s.Get("PORT", "/", client("203.0.113.66"), fmt.Sprintf("%sxxxxx%05d", forged, i))
	}
	s.Get("PORT", "/", client("203.0.113.66")).Want(t, 403, "banned")
	s.Get("PORT", "/", client("203.0.113.7"), alice).Want(t, 200)

	// An address in front of the one that the proxy has seen, and other fields with one.
	for _, header := range []string{
		"X-Forwarded-For: 203.0.113.8, 203.0.113.67", "Forwarded: for=203.0.113.8", "X-Real-IP: 203.0.113.8",
		"CF-Connecting-IP: 203.0.113.8", "True-Client-IP: 203.0.113.8",
	} {
		fields := []string{header}
		if !strings.HasPrefix(header, "X-Forwarded-For") {
			fields = append(fields, client("203.0.113.68"))
		}
		s.Get("PORT", "/.env", fields...)
	}
	s.Get("PORT", "/", client("203.0.113.8")).Want(t, 200)
	for _, address := range []string{"203.0.113.67", "203.0.113.68"} {
		s.Get("PORT", "/", client(address)).Want(t, 403, "banned")
	}

	// The proxy itself, which has no address to report.
	s.Get("PORT", "/.env").Want(t, 200)
	s.Get("PORT", "/").Want(t, 200)

	// A page of another site has the browser of alice walk through orders.
	for i := range 10 {
		s.Get("PORT", fmt.Sprintf("/orders/%d", i), client("203.0.113.7"), alice, "Sec-Fetch-Site: cross-site")
	}
	s.Get("PORT", "/orders/1", client("203.0.113.7"), alice, "Sec-Fetch-Site: cross-site").Want(t, 403, "banned")
	s.Get("PORT", "/orders/1", client("203.0.113.7"), alice).Want(t, 200)
}

// TestGuardOutlivesReloads: neither what is counted nor a ban is forgotten, a restart
// keeps the bans, and lists of access come first.
func TestGuardOutlivesReloads(t *testing.T) {
	site := func(note string) string {
		return behindStrictProxy + `
:{$PORT} {
	header X-Note ` + note + `
	access {
		exempt 198.51.100.0/24
	}
	guard {
		trap /.env
		rule guessing {
			count failed_credentials by address
			over 3 in 10m
			ban 1h 24h
		}
	}
	auth {
		basic {
			bob $2a$04$t5WTPaQdq4CnK1YVq1X3OuX8jjB7RMLqFeeoamcGfWEz0CzmoQ7Eu
		}
	}
	respond ok
}
`
	}
	s := harness.Start(t, site("first"))
	guess := func(address, credential string, want int) {
		t.Helper()
		s.Get("PORT", "/", client(address), "Authorization: Basic "+credential).Want(t, want)
	}
	for range 6 { // one credential
		guess("203.0.113.1", "Ym9iOmE=", 401)
	}
	guess("203.0.113.1", "Ym9iOmI=", 401)
	guess("203.0.113.1", "Ym9iOmM=", 401)
	if err := s.Reload(site("second")); err != nil {
		t.Fatal(err)
	}
	guess("203.0.113.1", "Ym9iOmQ=", 403)
	guess("203.0.113.1", "Ym9iOmQ=", 403)
	if err := s.Reload(site("third")); err != nil {
		t.Fatal(err)
	}
	guess("203.0.113.1", "Ym9iOmQ=", 403)
	for i := range 10 {
		guess("198.51.100.7", fmt.Sprintf("Ym9iOm%dk", i), 401)
	}
	s.Get("PORT", "/.env", client("198.51.100.7")).Want(t, 401)
	s.Output("moat", "ban", "add", "caller:basic||bob", "--for", "10m")
	s.Stop()
	s.Run()
	s.Wait()
	guess("203.0.113.1", "Ym9iOmQ=", 403)
	if list := s.Output("moat", "ban", "list"); !strings.Contains(list, "203.0.113.1 until ") || !strings.Contains(list, "caller:basic||bob until ") {
		t.Errorf("%s", list)
	}
	if out, err := s.Caddy("moat", "ban", "explain", "203.0.113.99"); err == nil {
		t.Errorf("%s", out)
	}
	if out, err := s.Caddy("moat", "ban", "add", "0.0.0.0/0"); err == nil {
		t.Errorf("everybody is banned: %s", out)
	}
}
