package clientcert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const anyPin = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func TestMapsThatAreNotUnderstoodAreRefused(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "names no certificate"},
		{"# nothing\n\n", "names no certificate"},
		{"{}", "line 1: one of spki"},
		{`{"user":"a"}`, "one of spki"},
		{"\n" + `{"dns":"a","dns":"b"}`, "line 2: duplicate member"},
		{`{"dns":"a","uri":"urn:a"}`, "one alone"},
		{`{"dns":"a"} x`, "not a JSON object"},
		{`{"dns":"a"}{"dns":"b"}`, "not a JSON object"},
		{"{\n\"dns\":\"a\"}", "line 1"},
		{`{"dns":"a"}` + "\n" + `{"dns":"A"}`, `line 2: dns a is given twice`},
		{`{"subject":"CN=a,O=b"}` + "\n" + `{"subject":"cn = a, O=b"}`, "given twice"},
		{`{"dns":"a","admin":true}`, `"admin": unknown member`},
		{`{"dns":"a","Roles":["a"]}`, "unknown member"},
		{`{"dns":"*.example.com"}`, "host name"},
		{`{"dns":1}`, "a text is expected"},
		{`{"dns":"a","roles":"clerk"}`, "a list is expected"},
		{`{"dns":"a","roles":[]}`, "the list is empty"},
		{`{"dns":"a","roles":["a","a"]}`, "given twice"},
		{`{"dns":"a","roles":["a,b"]}`, "comma"},
		{`{"dns":"a","roles":["a\nb"]}`, "cannot be printed"},
		{`{"dns":"a","user":""}`, "bytes of UTF-8"},
		{`{"dns":"a","user":"a\u0000"}`, "cannot be printed"},
		{`{"dns":"a","user":"a\u202eb"}`, "cannot be printed"},
		{`{"dns":"a","plan":"a b"}`, "space"},
		{`{"dns":"a","disabled":1}`, "true or false"},
		{`{"dns":"a","disabled":true,"roles":["clerk"]}`, "grants nothing"},
		{`{"serial":"1A"}`, "serial and issuer go together"},
		{`{"dns":"a","issuer":"CN=b"}`, "serial and issuer go together"},
		{`{"serial":"xyz","issuer":"CN=b"}`, "hexadecimal"},
		{`{"serial":"1A","issuer":"b"}`, "distinguished name"},
		{`{"spki":"AAAA"}`, "a pin is"},
		{`{"spiffe":"spiffe://example.org"}`, "a trust domain, not of somebody"},
		{`{"spiffe":"https://example.org/a"}`, "begins with spiffe://"},
		{`{"uri":"spiffe://example.org/a?b"}`, "SPIFFE ID"},
		{`{"email":"alice"}`, "e-mail"},
		{`{"subject":"alice"}`, "CN=orders"},
		{`{"dns":"` + strings.Repeat("a", maxLine) + `"}`, "longer than"},
		{strings.Repeat("#", MaxSize+1), "larger than"},
	} {
		table, err := ParseTable([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80q: got %v, %v, want …%s…", test.text, table, err, test.want)
		}
	}
}

func parse(t testing.TB, lines ...string) *Table {
	t.Helper()
	table, err := ParseTable([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// identified says whom a certificate belongs to, in one line.
func identified(r Rules, cert *x509.Certificate, table *Table) string {
	p, n, err := r.Identify(cert, table)
	if (err == nil) != (p != nil) || n == nil && !errors.Is(err, ErrUnreadable) {
		return "inconsistent"
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintln(p.ID, p.Roles, p.Scopes, p.Plan)
}

func TestTheMapDecides(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	cert := ca.named(t, "orders", uri("spiffe://example.org/orders"), dns("a.example.com"), dns("b.example.com"), email("Orders@example.com"))
	pin := `"spki":"` + SPKI(cert) + `"`
	serial := `"serial":"01:a2:b3","issuer":"CN=Test CA"`
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{[]string{`{"spiffe":"spiffe://example.org/orders","user":"o","roles":["clerk"],"scopes":["read"],"plan":"gold"}`}, "o [all clerk] [read] gold\n"},
		{[]string{`{"spiffe":"spiffe://example.org/orders","roles":["all"]}`}, "spiffe://example.org/orders [all] [] \n"},
		{[]string{`{"uri":"spiffe://example.org/orders"}`}, "spiffe://example.org/orders [all] [] \n"},
		{[]string{`{"dns":"B.example.com"}`}, "b.example.com [all] [] \n"},
		{[]string{`{"email":"Orders@EXAMPLE.com"}`}, "Orders@example.com [all] [] \n"},
		{[]string{`{"email":"orders@example.com"}`}, ErrUnmapped.Error()},
		{[]string{`{"subject":"CN=orders"}`}, "CN=orders [all] [] \n"},
		{[]string{`{"subject":"CN=Orders"}`}, ErrUnmapped.Error()},
		{[]string{"{" + serial + "}"}, "CN=orders [all] [] \n"},
		{[]string{`{"serial":"1A2B3","issuer":"CN=Other CA","user":"x"}`}, ErrUnmapped.Error()},
		{[]string{`{"serial":"1A2B4","issuer":"CN=Test CA","user":"x"}`}, ErrUnmapped.Error()},
		{[]string{"{" + pin + `,"user":"p"}`}, "p [all] [] \n"},
		{[]string{`{"spki":"` + anyPin + `","user":"p"}`}, ErrUnmapped.Error()},
		// Two names, two users.
		{[]string{`{"dns":"a.example.com","user":"a"}`, `{"dns":"b.example.com","user":"b"}`}, ErrSeveral.Error()},
		{[]string{`{"dns":"a.example.com","user":"a"}`, `{"dns":"b.example.com","user":"a"}`}, ErrSeveral.Error()},
		{[]string{`{"dns":"a.example.com","user":"a"}`, `{"subject":"CN=orders","user":"b"}`}, ErrSeveral.Error()},
		// What is about this certificate is stronger than a name.
		{[]string{`{"dns":"a.example.com","user":"a"}`, "{" + pin + `,"user":"p"}`}, "p [all] [] \n"},
		{[]string{`{"dns":"a.example.com","user":"a"}`, `{"dns":"b.example.com","user":"b"}`, "{" + serial + `,"user":"s"}`}, "s [all] [] \n"},
		{[]string{"{" + serial + `,"user":"s"}`, "{" + pin + `,"user":"p"}`}, "p [all] [] \n"},
		// Nothing is stronger than a rejection.
		{[]string{"{" + pin + `,"user":"p"}`, `{"dns":"b.example.com","disabled":true}`}, ErrDisabled.Error()},
		{[]string{"{" + pin + `,"disabled":true}`, `{"dns":"b.example.com","user":"b"}`}, ErrDisabled.Error()},
		{[]string{`{"dns":"a.example.com","user":"a"}`, "{" + serial + `,"disabled":true}`}, ErrDisabled.Error()},
		{[]string{`{"dns":"c.example.com","user":"a"}`}, ErrUnmapped.Error()},
	} {
		if got := identified(Rules{Roles: []string{"all"}}, cert, parse(t, test.lines...)); got != test.want {
			t.Errorf("%q: got %q, want %q", test.lines, got, test.want)
		}
	}
}

func TestNamesAreUsersAsTheRulesSay(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	full := ca.named(t, "orders", uri("spiffe://example.org/orders"), dns("a.example.com"), email("Orders@example.com"))
	twoDNS := ca.named(t, "orders", dns("a.example.com"), dns("b.example.com"))
	sameDNS := ca.named(t, "orders", dns("a.example.com"), dns("A.example.com"))
	wildcard := ca.named(t, "", dns("*.example.com"))
	for name, test := range map[string]struct {
		rules Rules
		cert  *x509.Certificate
		want  string
	}{
		"default":              {Rules{}, full, "CN=orders"},
		"cn":                   {Rules{Identity: []string{CNSort}}, full, "orders"},
		"cn against the SAN":   {Rules{Identity: []string{DNSSort, CNSort}}, full, "a.example.com"},
		"spiffe":               {Rules{Identity: []string{SPIFFESort}}, full, "spiffe://example.org/orders"},
		"email":                {Rules{Identity: []string{EmailSort}}, full, "Orders@example.com"},
		"spki":                 {Rules{Identity: []string{SPKISort}}, full, SPKI(full)},
		"first that fits":      {Rules{Identity: []string{SPIFFESort, EmailSort, DNSSort}}, ca.named(t, "", dns("a"), email("a@b")), "a@b"},
		"two":                  {Rules{Identity: []string{DNSSort, CNSort}}, twoDNS, ErrSeveral.Error()},
		"two, not asked for":   {Rules{Identity: []string{CNSort, DNSSort}}, twoDNS, "orders"},
		"the same twice":       {Rules{Identity: []string{DNSSort}}, sameDNS, ErrSeveral.Error()},
		"wildcard":             {Rules{Identity: []string{DNSSort}}, wildcard, ErrNobody.Error()},
		"no subject":           {Rules{}, wildcard, ErrNobody.Error()},
		"other URI":            {Rules{Identity: []string{SPIFFESort}}, ca.named(t, "a", uri("https://example.org/orders")), ErrNobody.Error()},
		"trust domain":         {Rules{Identity: []string{SPIFFESort}, TrustDomains: []string{"example.org"}}, full, "spiffe://example.org/orders"},
		"other trust domain":   {Rules{Identity: []string{SPIFFESort}, TrustDomains: []string{"example.com"}}, full, ErrTrustDomain.Error()},
		"domain as a suffix":   {Rules{Identity: []string{SPIFFESort}, TrustDomains: []string{"org"}}, full, ErrTrustDomain.Error()},
		"domain, another sort": {Rules{Identity: []string{CNSort}, TrustDomains: []string{"example.com"}}, full, ErrTrustDomain.Error()},
		"pin":                  {Rules{Pins: []string{anyPin, SPKI(full)}}, full, "CN=orders"},
		"other pin":            {Rules{Pins: []string{anyPin}}, full, ErrPin.Error()},
	} {
		got := identified(test.rules, test.cert, nil)
		if got != test.want && got != test.want+" [] [] \n" {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	mapped := parse(t, `{"dns":"other","user":"x"}`)
	if got := identified(Rules{AllowUnmapped: true}, full, mapped); got != "CN=orders [] [] \n" {
		t.Errorf("unmapped: %q", got)
	}
	if got := identified(Rules{AllowUnmapped: true, Pins: []string{anyPin}}, full, mapped); got != ErrPin.Error() {
		t.Errorf("unmapped with another pin: %q", got)
	}
}

func TestRulesThatMeanNothingAreRefused(t *testing.T) {
	for want, r := range map[string]Rules{
		"'name' is not one of":    {Identity: []string{"name"}},
		"'serial' is not one of":  {Identity: []string{SerialSort}},
		"dns is given twice":      {Identity: []string{DNSSort, DNSSort}},
		"small letters":           {TrustDomains: []string{"Example.org"}},
		"a.org is given twice":    {TrustDomains: []string{"a.org", "a.org"}},
		"a pin is the base64":     {Pins: []string{"AAAA"}},
		anyPin + " is given":      {Pins: []string{anyPin, anyPin}},
		"it has a comma":          {Roles: []string{"a,b"}},
		"roles: a is given twice": {Roles: []string{"a", "a"}},
	} {
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want …%s…", r, err, want)
		}
	}
}

func TestClaimsSayWhatTheCertificateSays(t *testing.T) {
	cert := newAuthority(t, "Test CA").named(t, `a "b"`, dns("a.example.com"), email("a@example.com"), uri("urn:a"))
	p, _, err := (&Rules{Roles: []string{"clerk"}}).Identify(cert, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"sub":"CN=a \\\"b\\\"","subject":"CN=a \\\"b\\\"","issuer":"CN=Test CA","serial":"01A2B3","spki":"` + SPKI(cert) +
		`","not_before":"2026-11-27T09:00:00Z","not_after":"2026-11-27T11:00:00Z","cn":["a \"b\""],"uri":["urn:a"],"dns":["a.example.com"],"email":["a@example.com"],"roles":["clerk"]}`
	if got := string(p.Claims.Raw()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if p.Kind != "client_cert" || p.Issuer != "CN=Test CA" || p.KeyID != SPKI(cert) || p.TokenID != "01A2B3" || !slices.Equal(p.Roles, []string{"clerk"}) {
		t.Errorf("%+v", p)
	}
}
