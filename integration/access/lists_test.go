package access

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const behindProxy = `{
	metrics
	servers {
		trusted_proxies static 127.0.0.1
		trusted_proxies_strict
	}
}
`

// TestListsOfAddresses: what is listed in files and by country is rejected before
// authentication, is in the record, and stays rejected when the files go bad.
func TestListsOfAddresses(t *testing.T) {
	database, err := filepath.Abs("testdata/countries.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	site := behindProxy + `:{$PORT} {
	audit trail
	access {
		deny blocked.txt
		deny country CN
		database ` + database + `
	}
	@office address_list office.txt
	header @office X-Office yes
	jwt_auth {
		issuer internal
	}
	respond "served"
}`
	s := harness.Prepare(t, site)
	blocked := s.WriteFile("blocked.txt", "# blocked\n192.0.2.0/24\n2001:db8::/32 ; SBL1\n")
	s.WriteFile("office.txt", "203.0.113.7\n")
	s.Run()
	s.Wait()
	from := func(address, path string) *harness.Response {
		return s.Get("PORT", path, "X-Forwarded-For: "+address)
	}
	for _, address := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "198.51.100.1", "203.0.113.7, 192.0.2.1"} {
		from(address, "/denied").Want(t, 403, "address_denied")
	}
	from("203.0.113.1", "/asked").Want(t, 401, "missing_credentials")
	if a := from("203.0.113.7", "/"); a.Header.Get("X-Office") != "yes" {
		t.Errorf("the matcher has not matched: %v", a.Header)
	}
	if a := from("203.0.113.8", "/"); a.Header.Get("X-Office") != "" {
		t.Errorf("the matcher has matched: %v", a.Header)
	}
	r := s.RecordOf("trail", "/denied")
	if r.Status != 403 || r.Code != "address_denied" || len(r.Decisions) != 1 || r.Decisions[0].Layer != "access" || r.Decisions[0].Rule != "deny blocked.txt: 192.0.2.0/24" {
		t.Errorf("got %+v", r)
	}

	logged := func(text string) {
		t.Helper()
		harness.Eventually(t, func() error {
			if !strings.Contains(s.Log.String(), text) {
				return fmt.Errorf("the log lacks %q", text)
			}
			return nil
		})
	}
	s.WriteFile("blocked.txt", "<html>maintenance</html>\n")
	logged("is not an address or a range")
	harness.Eventually(t, func() error {
		if got := s.Metric(`caddy_moat_access_list_unusable{file="blocked.txt"}`); got != 1 {
			return fmt.Errorf("unusable: %v", got)
		}
		return nil
	})
	from("192.0.2.1", "/").Want(t, 403, "address_denied")
	s.WriteFile("blocked.txt", "")
	logged("the file is empty")
	from("192.0.2.1", "/").Want(t, 403, "address_denied")
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	logged("no such file")
	from("192.0.2.1", "/").Want(t, 403, "address_denied")
	from("203.0.113.1", "/").Want(t, 401)
	s.WriteFile("blocked.txt", "203.0.113.0/24\n")
	harness.Eventually(t, func() error {
		if a := from("203.0.113.1", "/"); a.StatusCode != 403 {
			return fmt.Errorf("%d", a.StatusCode)
		}
		return nil
	})
	from("192.0.2.1", "/").Want(t, 401)
	s.WriteFile("blocked.txt", "")
	if err := s.Reload(site); err == nil {
		t.Error("a configuration with an empty list was loaded")
	}
	from("203.0.113.1", "/").Want(t, 403, "address_denied")
}

// TestListsByAddressesThatClientsChooseAreRefused: with the line to write instead.
func TestListsByAddressesThatClientsChooseAreRefused(t *testing.T) {
	const site = ":{$PORT} {\naccess {\nallow 192.0.2.1\n}\nrespond \"served\"\n}"
	for servers, want := range map[string]string{
		"trusted_proxies static 0.0.0.0/0 ::/0": "client_address_forgeable",
		"trusted_proxies static 0.0.0.0/0":      "trusts every address",
	} {
		if out := harness.FailsToLoad(t, "{\nservers {\n"+servers+"\n}\n}\n"+site); !strings.Contains(out, want) || !strings.Contains(out, "Caddyfile:7") {
			t.Errorf("%s: the error lacks %q:\n%s", servers, want, out)
		}
	}
	s := harness.Start(t, "{\nservers {\ntrusted_proxies static private_ranges\n}\n}\n"+site)
	if log := s.Log.String(); !strings.Contains(log, "client_address_leftmost") {
		t.Errorf("no warning:\n%s", log)
	}
	s = harness.Start(t, strings.Replace(site, ":{$PORT} {", "http://:{$PORT} {\nbind 127.0.0.1", 1))
	if log := s.Log.String(); !strings.Contains(log, "client_address_of_proxy") {
		t.Errorf("no warning:\n%s", log)
	}
	s.Get("PORT", "/").Want(t, 403, "address_denied")
}

// TestListsOfCallers: a caller that is listed is rejected behind authentication,
// and a list before any is refused at load.
func TestListsOfCallers(t *testing.T) {
	out := harness.FailsToLoad(t, ":{$PORT} {\ncaller_access {\ndeny api_key 1\n}\nrespond \"served\"\n}")
	if !strings.Contains(out, "callers_unknown") || !strings.Contains(out, "Caddyfile:2") {
		t.Errorf("the error lacks what is wrong:\n%s", out)
	}
	s := harness.Prepare(t, `:{$PORT} {
	audit trail
	jwt_auth {
		issuer internal
	}
	caller_access {
		deny file callers.txt
	}
	respond "served"
}`)
	s.WriteFile("callers.txt", "caller internal mallory\n")
	s.Run()
	s.Wait()
	alice, mallory := "Authorization: Bearer "+s.Token("--sub", "alice"), "Authorization: Bearer "+s.Token("--sub", "mallory")
	s.Get("PORT", "/a", alice).Want(t, 200, "served")
	s.Get("PORT", "/m", mallory).Want(t, 403, "caller_denied")
	if r := s.RecordOf("trail", "/m"); r.User.ID != "mallory" || r.Decisions[len(r.Decisions)-1].Rule != "deny callers.txt: caller internal mallory" {
		t.Errorf("got %+v", r)
	}
	s.WriteFile("callers.txt", "caller internal alice\n")
	harness.Eventually(t, func() error {
		if a := s.Get("PORT", "/a", alice); a.StatusCode != 403 {
			return fmt.Errorf("%d", a.StatusCode)
		}
		return nil
	})
	s.Get("PORT", "/m", mallory).Want(t, 200, "served")
}
