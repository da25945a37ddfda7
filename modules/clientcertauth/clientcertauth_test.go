package clientcertauth

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/clientcert"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const somewhere = "192.0.2.1:1234"

// wantRefused checks the rejection of a request.
func wantRefused(t *testing.T, err error, kind credential.Kind, code, rule string) {
	t.Helper()
	var ce *credential.Error
	if !errors.As(err, &ce) || ce.Kind != kind || ce.Code != code || !strings.Contains(ce.Rule, rule) {
		t.Errorf("got %#v, want kind %d, code %s, rule …%s…", err, kind, code, rule)
		return
	}
	for _, secret := range []string{"secret", "Test CA", "spiffe://", "MII"} {
		if strings.Contains(ce.Error(), secret) {
			t.Errorf("the answer %q repeats the certificate", ce)
		}
	}
}

func TestRefusalsHaveTheirCodes(t *testing.T) {
	ca := newAuthority(t)
	good := []*x509.Certificate{ca.client("secret", "spiffe://example.org/secret"), ca.cert}
	two := []*x509.Certificate{ca.client("secret", "urn:secret:a", "urn:secret:b"), ca.cert}
	tricky := []*x509.Certificate{ca.client("secret\u202e"), ca.cert}
	pin := clientcert.SPKI(good[0])
	list := func(line string) string { return file(t, "map", line) }
	unverified := request(somewhere, good)
	unverified.TLS.VerifiedChains = nil
	plain := request(somewhere, nil)
	plain.TLS = nil
	for name, test := range map[string]struct {
		p     Provider
		chain []*x509.Certificate
		kind  credential.Kind
		code  string
		rule  string
	}{
		"two names":      {Provider{Identity: []string{"uri"}}, two, credential.Bad, CodeInvalid, "several names"},
		"no such name":   {Provider{Identity: []string{"dns"}}, good, credential.Bad, CodeInvalid, "no name of these sorts"},
		"tricky name":    {Provider{}, tricky, credential.Bad, CodeInvalid, "not understood"},
		"trust domain":   {Provider{TrustDomains: []string{"example.com"}}, good, credential.Insufficient, CodeNotAllowed, "key " + pin + ": trust domain"},
		"not pinned":     {Provider{Pins: []string{"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}}, good, credential.Insufficient, CodeNotAllowed, "not pinned"},
		"not in the map": {Provider{Map: list(`{"dns":"a"}`)}, good, credential.Insufficient, CodeNotAllowed, "not in the map"},
		"disabled":       {Provider{Map: list(`{"subject":"CN=secret","disabled":true}`)}, good, credential.Insufficient, CodeNotAllowed, "disabled"},
		"two lines":      {Provider{Map: list(`{"subject":"CN=secret"}` + "\n" + `{"spiffe":"spiffe://example.org/secret"}`)}, good, credential.Bad, CodeInvalid, "several names"},
	} {
		t.Run(name, func(t *testing.T) {
			p := provision(t, &test.p)
			_, err := p.Identify(request(somewhere, test.chain))
			wantRefused(t, err, test.kind, test.code, test.rule)
			if c := p.Challenges(err.(*credential.Error)); len(c) != 1 || !strings.HasPrefix(c[0], `ClientCertificate realm="restricted", error="`+test.code) {
				t.Errorf("challenges %q", c)
			}
		})
	}
	p := provision(t, &Provider{})
	_, err := p.Identify(plain)
	wantRefused(t, err, credential.Missing, credential.CodeMissing, "")
	_, err = p.Identify(request(somewhere, nil))
	wantRefused(t, err, credential.Missing, credential.CodeMissing, "")
	_, err = p.Identify(unverified)
	wantRefused(t, err, credential.Bad, CodeInvalid, "does not verify")
	if c := p.Challenges(nil); len(c) != 1 || c[0] != `ClientCertificate realm="restricted"` {
		t.Errorf("challenges %q", c)
	}
	if grant, err := p.Identify(request(somewhere, good)); err != nil || grant.Principal.ID != "CN=secret" || grant.Principal.Kind != "client_cert" || grant.Principal.KeyID != pin {
		t.Errorf("got %+v, %v", grant.Principal, err)
	}
}

// TestAConnectionOutlivesItsCertificate goes on with one connection.
func TestAConnectionOutlivesItsCertificate(t *testing.T) {
	ca := newAuthority(t)
	p := provision(t, &Provider{})
	r := request(somewhere, []*x509.Certificate{ca.client("a"), ca.cert})
	for _, step := range []struct {
		after time.Duration
		rule  string
	}{{0, ""}, {time.Hour, ""}, {time.Hour + time.Second, "expired"}, {-2 * time.Hour, "not valid yet"}, {0, ""}} {
		p.now = func() time.Time { return now.Add(step.after) }
		_, err := p.Identify(r)
		if step.rule == "" {
			if err != nil {
				t.Errorf("after %v: %v", step.after, err)
			}
			continue
		}
		wantRefused(t, err, credential.Bad, CodeInvalid, step.rule)
	}
}

func TestClientCertIsBelievedFromListedProxiesAlone(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	p := provision(t, &Provider{Identity: []string{"cn"}, Proxies: []string{"10.0.0.1", "2001:db8::/64"}, Trust: []string{ca.file()}})
	alice := formatField(ca.client("alice"))
	mallory := formatField(other.client("alice"))
	own := []*x509.Certificate{ca.client("proxy"), ca.cert}
	for name, test := range map[string]struct {
		from   string
		chain  []*x509.Certificate
		header []string
		want   string // the user or the code
	}{
		"proxy":                   {"10.0.0.1:1", nil, []string{certField, alice}, "alice"},
		"proxy, IPv6":             {"[2001:db8::7]:1", nil, []string{certField, alice}, "alice"},
		"proxy, mapped":           {"[::ffff:10.0.0.1]:1", nil, []string{certField, alice}, "alice"},
		"proxy by mutual TLS":     {"10.0.0.1:1", own, []string{certField, alice}, "alice"},
		"the proxy's own":         {"10.0.0.1:1", own, nil, credential.CodeMissing},
		"stranger":                {"10.0.0.2:1", nil, []string{certField, alice}, credential.CodeMissing},
		"stranger with his own":   {"10.0.0.2:1", own, []string{certField, alice}, "proxy"},
		"stranger with forwarded": {"10.0.0.2:1", nil, []string{certField, alice, "X-Forwarded-For", "10.0.0.1"}, credential.CodeMissing},
		"no address":              {"@", nil, []string{certField, alice}, credential.CodeMissing},
		"no port":                 {"10.0.0.1", nil, []string{certField, alice}, credential.CodeMissing},
		"with a zone":             {"[fe80::1%10.0.0.1]:1", nil, []string{certField, alice}, credential.CodeMissing},
		"with underscores":        {"10.0.0.1:1", nil, []string{"Client_cert", alice}, credential.CodeMissing},
		"two fields":              {"10.0.0.1:1", nil, []string{certField, alice, certField, alice}, credential.CodeInvalidRequest},
		"folded":                  {"10.0.0.1:1", nil, []string{certField, alice + ", " + mallory}, credential.CodeInvalidRequest},
		"garbage":                 {"10.0.0.1:1", nil, []string{certField, ":!!!:"}, credential.CodeInvalidRequest},
		"empty":                   {"10.0.0.1:1", nil, []string{certField, ""}, credential.CodeInvalidRequest},
		"chain alone":             {"10.0.0.1:1", nil, []string{chainField, alice}, credential.CodeInvalidRequest},
		"other authority":         {"10.0.0.1:1", nil, []string{certField, mallory}, CodeInvalid},
		"nothing":                 {"10.0.0.1:1", nil, nil, credential.CodeMissing},
	} {
		r := request(test.from, test.chain, test.header...)
		reqctx.Of(r).KeepRemoved(r.Header, p.Traits().Believes)
		grant, err := p.Identify(r)
		who := grant.Principal
		var ce *credential.Error
		got := ""
		if errors.As(err, &ce) {
			got = ce.Code
		} else if who != nil {
			got = who.ID
		}
		if got != test.want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, test.want)
		}
		if p.fromProxy(r) {
			continue
		}
		// What anybody else says makes no difference.
		if silent, serr := p.Identify(request(test.from, test.chain)); silent.Principal != who || !errors.Is(err, serr) {
			t.Errorf("%s: got %v, %v, and %v, %v without the field", name, who, err, silent.Principal, serr)
		}
	}
}

// TestOtherFieldsAreBelievedFromListedProxiesAlone has what strangers send in
// fields of proxies that do not speak RFC 9440.
func TestOtherFieldsAreBelievedFromListedProxiesAlone(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	text := func(c *x509.Certificate) string {
		return strings.ReplaceAll(url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))), "+", "%20")
	}
	der := func(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }
	alice, mallory := ca.client("alice"), other.client("alice")
	own := []*x509.Certificate{ca.client("proxy"), ca.cert}
	for _, f := range []struct{ header, form, good, bad, odd string }{
		{"X-SSL-Cert", "pem_escaped", text(alice), text(mallory), der(alice)},
		{"Cf-Client-Cert-Der-Base64", "der_base64", der(alice), der(mallory), text(alice)},
		{"X-Forwarded-Client-Cert", "xfcc", `By=x;Cert="` + text(alice) + `"`, `Cert="` + text(mallory) + `"`, `Hash=00;Subject="CN=alice"`},
	} {
		p := provision(t, &Provider{
			Identity: []string{"cn"}, Header: f.header, HeaderForm: f.form, Proxies: []string{"10.0.0.1"}, Trust: []string{ca.file()},
		})
		name := http.CanonicalHeaderKey(f.header)
		for what, test := range map[string]struct {
			from   string
			chain  []*x509.Certificate
			header []string
			want   string
		}{
			"proxy":                 {"10.0.0.1:1", nil, []string{name, f.good}, "alice"},
			"proxy by mutual TLS":   {"10.0.0.1:1", own, []string{name, f.good}, "alice"},
			"the proxy's own":       {"10.0.0.1:1", own, nil, credential.CodeMissing},
			"no certificate":        {"10.0.0.1:1", own, []string{name, " "}, credential.CodeMissing},
			"stranger":              {"10.0.0.2:1", nil, []string{name, f.good}, credential.CodeMissing},
			"stranger with his own": {"10.0.0.2:1", own, []string{name, f.good}, "proxy"},
			"with underscores":      {"10.0.0.1:1", nil, []string{strings.ReplaceAll(name, "-", "_"), f.good}, credential.CodeMissing},
			"RFC 9440":              {"10.0.0.1:1", nil, []string{certField, formatField(alice)}, credential.CodeMissing},
			"both":                  {"10.0.0.1:1", nil, []string{certField, formatField(mallory), name, f.good}, "alice"},
			"two lines":             {"10.0.0.1:1", nil, []string{name, f.good, name, f.good}, credential.CodeInvalidRequest},
			"another form":          {"10.0.0.1:1", nil, []string{name, f.odd}, credential.CodeInvalidRequest},
			"other authority":       {"10.0.0.1:1", nil, []string{name, f.bad}, CodeInvalid},
		} {
			r := request(test.from, test.chain, test.header...)
			reqctx.Of(r).KeepRemoved(r.Header, p.Traits().Believes)
			grant, err := p.Identify(r)
			who := grant.Principal
			var ce *credential.Error
			got := ""
			if errors.As(err, &ce) {
				got = ce.Code
			} else if who != nil {
				got = who.ID
			}
			if got != test.want {
				t.Errorf("%s, %s: got %s (%v), want %s", f.form, what, got, err, test.want)
			}
			if what == "another form" && strings.Contains(ce.Detail, "MII") {
				t.Errorf("%s: the client is told %q", f.form, ce.Detail)
			}
		}
		// In Caddy's own handler the fields go as well.
		r := request("10.0.0.2:1", nil, name, f.good, strings.ReplaceAll(name, "-", "_"), f.good, certField, formatField(alice))
		if _, ok, _ := p.Authenticate(httptest.NewRecorder(), r); ok || len(r.Header) != 0 {
			t.Errorf("%s: the upstream sees %v", f.form, r.Header)
		}
		if o := p.Traits(); strings.Join(o.Believes, " ") != "Client-Cert Client-Cert-Chain "+name || strings.Join(o.Reads, "") != name {
			t.Errorf("%s: %+v is removed", f.form, o)
		}
	}
}

func TestInCaddysOwnHandlerTheFieldsAreRemovedToo(t *testing.T) {
	ca := newAuthority(t)
	p := provision(t, &Provider{Identity: []string{"cn"}, Roles: []string{"clerk"}, Proxies: []string{"10.0.0.1"}, Trust: []string{ca.file()}})
	alice := formatField(ca.client("alice"))
	for from, good := range map[string]bool{"10.0.0.1:1": true, "10.0.0.2:1": false} {
		r := request(from, nil, certField, alice, "Client_cert", alice, "client.cert", alice, "CLIENT-CERT_CHAIN", alice, "Client-Certs", "kept")
		w := httptest.NewRecorder()
		user, ok, err := p.Authenticate(w, r)
		if err != nil || ok != good || good && (user.ID != "alice" || user.Metadata["roles"] != "clerk") {
			t.Errorf("%s: got %+v, %v, %v", from, user, ok, err)
		}
		if len(r.Header) != 1 {
			t.Errorf("%s: the upstream sees %v", from, r.Header)
		}
		if c := w.Header().Values("WWW-Authenticate"); !good && len(c) != 1 {
			t.Errorf("%s: challenges %q", from, c)
		}
	}
}

func TestConfigurationsThatCannotWorkAreRefusedWithTheOption(t *testing.T) {
	ca := newAuthority(t)
	good := ca.file()
	cut := "-----BEGIN CERTIFICATE-----\nMIIB\n"
	key := "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
	header := func(trust string) *Provider { return &Provider{Proxies: []string{"10.0.0.1"}, Trust: []string{trust}} }
	for want, p := range map[string]*Provider{
		"map /nowhere/map: open":                     {Map: "/nowhere/map"},
		"map {env.MOAT_NO_SUCH}":                     {Map: "{env.MOAT_NO_SUCH}"},
		": it names no certificate":                  {Map: file(t, "map", "")},
		": line 1: duplicate member":                 {Map: file(t, "map", `{"dns":"a","dns":"b"}`)},
		"trust /nowhere/ca.pem: open":                header("/nowhere/ca.pem"),
		"no certificate in PEM form":                 header(file(t, "ca.pem", "")),
		"cut or garbled":                             header(file(t, "ca.pem", cut)),
		"PRIVATE KEY in it":                          header(file(t, "ca.pem", key)),
		"write trust <ca file>":                      {Proxies: []string{"10.0.0.1"}},
		"this is everybody":                          {Proxies: []string{"::/0"}, Trust: []string{good}},
		"the range is written 10.0.0.0":              {Proxies: []string{"10.0.0.1/8"}, Trust: []string{good}},
		"is given twice":                             {Proxies: []string{"10.0.0.1", "10.0.0.1/32"}, Trust: []string{good}},
		"client_cert_header from <cidr>":             {Trust: []string{good}},
		"allow_unmapped has no effect without a map": {AllowUnmapped: true},
		"write from <cidr>":                          {Header: "X-Cert", HeaderForm: "der_base64"},
		"'pem' is not one of":                        {Header: "X-Cert", HeaderForm: "pem", Proxies: []string{"10.0.0.1"}, Trust: []string{good}},
		"'' is not one of":                           {Header: "X-Cert", Proxies: []string{"10.0.0.1"}, Trust: []string{good}},
		"is not a header name":                       {HeaderForm: "xfcc", Proxies: []string{"10.0.0.1"}, Trust: []string{good}},
		"that HTTP itself needs":                     {Header: "authorization", HeaderForm: "xfcc", Proxies: []string{"10.0.0.1"}, Trust: []string{good}},
		"has the form of RFC 9440":                   {Header: "client-cert", HeaderForm: "der_base64", Proxies: []string{"10.0.0.1"}, Trust: []string{good}},
		"has the form xfcc, not":                     {Header: "X-Forwarded-Client-Cert", HeaderForm: "pem_escaped", Proxies: []string{"10.0.0.1"}, Trust: []string{good}},
		"is not one of":                              {Identity: []string{"name"}},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		err := p.Provision(ctx)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), Name) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("got %v, want …%s…", err, want)
		}
		if err := p.Cleanup(); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

// TestAReloadKeepsTheMap has the next configuration come before the last one
// goes, as in a reload, while requests are served and the map changes.
func TestAReloadKeepsTheMap(t *testing.T) {
	ca := newAuthority(t)
	path := file(t, "map", `{"subject":"CN=a","user":"alice"}`)
	chain := []*x509.Certificate{ca.client("a"), ca.cert}
	first := provision(t, &Provider{Map: path})
	store := first.clients
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if grant, err := first.Identify(request(somewhere, chain)); err == nil && grant.Principal.ID != "alice" && grant.Principal.ID != "bob" {
					t.Errorf("got %+v, %v", grant.Principal, err)
					return
				}
			}
		})
	}
	replace(t, path, `{"subject":"CN=a","user":"bob"}`)
	await(t, first, chain, "bob")
	second := provision(t, &Provider{Map: path})
	if second.clients != store {
		t.Error("the map is opened twice")
	}
	close(stop)
	wg.Wait()
	if err := first.Cleanup(); err != nil {
		t.Fatal(err)
	}
	replace(t, path, `{"subject":"CN=a","disabled":true}`)
	await(t, second, chain, CodeNotAllowed)

	// What is refused cannot come back by a file that is bad, neither by itself
	// nor with the next configuration.
	replace(t, path, "garbled")
	for !(second.clients.Fault() != nil) {
		time.Sleep(time.Millisecond)
	}
	await(t, second, chain, CodeNotAllowed)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	third := &Provider{Map: path}
	if err := third.Provision(ctx); err == nil {
		t.Error("a configuration with a garbled map is loaded")
	}
	if err := third.Cleanup(); err != nil {
		t.Error(err)
	}
	await(t, second, chain, CodeNotAllowed)
}

// await waits until the user is want, or the code of the rejection.
func await(t *testing.T, p *Provider, chain []*x509.Certificate, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		grant, err := p.Identify(request(somewhere, chain))
		who := grant.Principal
		var ce *credential.Error
		if errors.As(err, &ce) {
			got = ce.Code
		} else {
			got = who.ID
		}
		if got == want {
			return
		}
	}
	t.Fatalf("got %s, want %s", got, want)
}

func TestOptionsForTheHandler(t *testing.T) {
	p := &Provider{options: credential.Options{Optional: true}}
	o := p.Traits()
	if !o.Optional || strings.Join(o.Believes, " ") != "Client-Cert Client-Cert-Chain" {
		t.Errorf("got %+v", o)
	}
	if p.Places(nil) != nil {
		t.Error("a certificate is taken for a credential in the request")
	}
}
