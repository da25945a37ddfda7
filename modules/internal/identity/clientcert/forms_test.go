package clientcert

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"testing"
)

func pemOf(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

// escapedAll is how nginx escapes, escapedSafe is how AWS does.
func escapedAll(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func escapedSafe(s string) string {
	return strings.NewReplacer("%2B", "+", "%3D", "=", "%2F", "/").Replace(escapedAll(s))
}

func hashOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// TestProxiesWriteCertificatesInTheirForms has what each of them sends.
func TestProxiesWriteCertificatesInTheirForms(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	below := ca.intermediate(t, now.AddDate(1, 0, 0))
	alice, deep, mallory := ca.named(t, "alice", uri("spiffe://example.org/alice")), below.named(t, "alice"), newAuthority(t, "Test CA").named(t, "alice")
	b64 := func(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }
	cert := `Cert="` + escapedAll(pemOf(alice)) + `"`
	for name, f := range map[string]Field{
		"nginx":                        {Form: PEMEscaped, Cert: []string{escapedAll(pemOf(alice))}},
		"AWS, leaf":                    {Form: PEMEscaped, Cert: []string{escapedSafe(pemOf(alice))}},
		"AWS, passthrough":             {Form: PEMEscaped, Cert: []string{escapedSafe(pemOf(deep, below.cert, ca.cert))}},
		"small hexadecimal digits":     {Form: PEMEscaped, Cert: []string{strings.ReplaceAll(strings.ReplaceAll(escapedAll(pemOf(alice)), "%0A", "%0a"), "%2F", "%2f")}},
		"no line break at the end":     {Form: PEMEscaped, Cert: []string{escapedAll(strings.TrimSpace(pemOf(alice)))}},
		"CR LF":                        {Form: PEMEscaped, Cert: []string{escapedAll(strings.ReplaceAll(pemOf(alice), "\n", "\r\n"))}},
		"tabs for line breaks":         {Form: PEMEscaped, Cert: []string{strings.ReplaceAll(pemOf(alice), "\n", "\n\t")}},
		"spaces for line breaks":       {Form: PEMEscaped, Cert: []string{strings.ReplaceAll(pemOf(alice), "\n", " ")}},
		"Cloudflare":                   {Form: DERBase64, Cert: []string{b64(alice)}},
		"Traefik":                      {Form: DERBase64, Cert: []string{b64(deep) + "," + b64(below.cert)}},
		"Envoy":                        {Form: XFCC, Cert: []string{`By=spiffe://example.org/proxy;Hash=` + hashOf(alice) + `;` + cert + `;Subject="CN=alice,O=\"A, B; C\"";URI=spiffe://example.org/alice;DNS=`}},
		"Envoy, chain":                 {Form: XFCC, Cert: []string{`Hash=` + hashOf(deep) + `;Chain="` + escapedAll(pemOf(deep, below.cert)) + `"`}},
		"Envoy, both":                  {Form: XFCC, Cert: []string{`Hash=` + hashOf(deep) + `;Cert="` + escapedAll(pemOf(deep)) + `";Chain="` + escapedAll(pemOf(deep, below.cert)) + `"`}},
		"Envoy, appended":              {Form: XFCC, Cert: []string{`Hash=` + hashOf(mallory) + `;Cert="` + escapedAll(pemOf(mallory)) + `",` + cert}},
		"Envoy, appended to no Cert":   {Form: XFCC, Cert: []string{`By=a;Subject="CN=x" , ` + cert}},
		"Envoy, other letters":         {Form: XFCC, Cert: []string{`HASH=` + strings.ToUpper(hashOf(alice)) + `;cert="` + escapedAll(pemOf(alice)) + `"`}},
		"Envoy, not quoted":            {Form: XFCC, Cert: []string{`Cert=` + escapedSafe(pemOf(alice)) + `;Subject=""`}},
		"Envoy, several URIs and DNSs": {Form: XFCC, Cert: []string{`By=a;By=b;` + cert + `;URI=a;URI=b;DNS=c;DNS=d`}},
	} {
		v := &Verifier{Rules: Rules{Identity: []string{CNSort}}, Roots: pool(ca.cert)}
		for range 2 { // found out, and remembered
			id, err := v.Field(f, now)
			if err != nil || id.Principal.ID != "alice" {
				t.Errorf("%s: got %+v, %v", name, id, err)
			}
		}
	}
}

// TestWhatClientsAddToTheFieldsOfProxiesIsRefused has certificates, which
// everybody can have, beside those that the proxy has seen.
func TestWhatClientsAddToTheFieldsOfProxiesIsRefused(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	alice, mallory := ca.named(t, "alice"), ca.named(t, "mallory")
	b64 := func(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }
	esc := func(certs ...*x509.Certificate) string { return escapedAll(pemOf(certs...)) }
	whole, text := pemOf(alice), strings.TrimSuffix(strings.TrimPrefix(pemOf(alice), pemBegin+"\n"), pemEnd+"\n")
	cert := `Cert="` + esc(mallory) + `"`
	for name, f := range map[string]Field{
		"PEM, none":                     {Form: PEMEscaped},
		"PEM, two lines":                {Form: PEMEscaped, Cert: []string{esc(alice), esc(mallory)}},
		"PEM, with a chain field":       {Form: PEMEscaped, Cert: []string{esc(alice)}, Chain: []string{formatField(ca.cert)}},
		"PEM, folded":                   {Form: PEMEscaped, Cert: []string{esc(alice) + ", " + esc(mallory)}},
		"PEM, two leaves":               {Form: PEMEscaped, Cert: []string{esc(alice, mallory)}},
		"PEM, two leaves and a CA":      {Form: PEMEscaped, Cert: []string{esc(alice, ca.cert, mallory)}},
		"PEM, text before":              {Form: PEMEscaped, Cert: []string{escapedAll("x\n" + whole)}},
		"PEM, text between":             {Form: PEMEscaped, Cert: []string{escapedAll(whole + "x\n" + pemOf(ca.cert))}},
		"PEM, text after":               {Form: PEMEscaped, Cert: []string{escapedAll(whole + "x")}},
		"PEM, headers":                  {Form: PEMEscaped, Cert: []string{escapedAll(pemBegin + "\nA: b\n\n" + text + pemEnd)}},
		"PEM, another type":             {Form: PEMEscaped, Cert: []string{escapedAll(strings.ReplaceAll(whole, "CERTIFICATE", "TRUSTED CERTIFICATE"))}},
		"PEM, key":                      {Form: PEMEscaped, Cert: []string{escapedAll(strings.ReplaceAll(whole, "CERTIFICATE", "PRIVATE KEY"))}},
		"PEM, no end":                   {Form: PEMEscaped, Cert: []string{escapedAll(strings.TrimSuffix(whole, pemEnd+"\n"))}},
		"PEM, plus signs for spaces":    {Form: PEMEscaped, Cert: []string{url.QueryEscape(whole)}},
		"PEM, escaped twice":            {Form: PEMEscaped, Cert: []string{escapedAll(escapedAll(whole))}},
		"PEM, cut escape":               {Form: PEMEscaped, Cert: []string{esc(alice) + "%0"}},
		"PEM, bad escape":               {Form: PEMEscaped, Cert: []string{esc(alice) + "%0x"}},
		"PEM, NUL":                      {Form: PEMEscaped, Cert: []string{esc(alice) + "%00"}},
		"PEM, no padding":               {Form: PEMEscaped, Cert: []string{escapedAll(pemBegin + base64.RawStdEncoding.EncodeToString(padded(t, ca).Raw) + pemEnd)}},
		"PEM, trailing data":            {Form: PEMEscaped, Cert: []string{escapedAll(pemBegin + base64.StdEncoding.EncodeToString(append(bytes.Clone(alice.Raw), 0)) + pemEnd)}},
		"PEM, no certificate":           {Form: PEMEscaped, Cert: []string{escapedAll(pemBegin + "AAAA" + pemEnd)}},
		"PEM, giant":                    {Form: PEMEscaped, Cert: []string{esc(alice) + strings.Repeat("%0A", maxChainBytes/3)}},
		"PEM, long chain":               {Form: PEMEscaped, Cert: []string{escapedSafe(pemOf(alice) + strings.Repeat(pemOf(ca.cert), maxChain+1))}},
		"PEM, the form of RFC 9440":     {Form: PEMEscaped, Cert: []string{formatField(alice)}},
		"PEM, DER":                      {Form: PEMEscaped, Cert: []string{b64(alice)}},
		"DER, two lines":                {Form: DERBase64, Cert: []string{b64(alice), b64(mallory)}},
		"DER, folded":                   {Form: DERBase64, Cert: []string{b64(alice) + ", " + b64(mallory)}},
		"DER, empty first":              {Form: DERBase64, Cert: []string{"," + b64(alice)}},
		"DER, empty last":               {Form: DERBase64, Cert: []string{b64(alice) + ","}},
		"DER, URL-safe":                 {Form: DERBase64, Cert: []string{base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 30))}},
		"DER, line break":               {Form: DERBase64, Cert: []string{b64(alice)[:8] + "\n" + b64(alice)[8:]}},
		"DER, the form of RFC 9440":     {Form: DERBase64, Cert: []string{formatField(alice)}},
		"DER, giant":                    {Form: DERBase64, Cert: []string{strings.Repeat("A", maxChainBytes+4)}},
		"XFCC, two lines":               {Form: XFCC, Cert: []string{cert, cert}},
		"XFCC, two Certs":               {Form: XFCC, Cert: []string{cert + `;Cert="` + esc(alice) + `"`}},
		"XFCC, two Certs, other case":   {Form: XFCC, Cert: []string{cert + `;cERT="` + esc(alice) + `"`}},
		"XFCC, two in Cert":             {Form: XFCC, Cert: []string{`Cert="` + esc(mallory, ca.cert) + `"`}},
		"XFCC, chain of another":        {Form: XFCC, Cert: []string{cert + `;Chain="` + esc(alice) + `"`}},
		"XFCC, two leaves in the chain": {Form: XFCC, Cert: []string{`Chain="` + esc(alice, mallory) + `"`}},
		"XFCC, hash of another":         {Form: XFCC, Cert: []string{`Hash=` + hashOf(alice) + `;` + cert}},
		"XFCC, two hashes":              {Form: XFCC, Cert: []string{`Hash=` + hashOf(mallory) + `;Hash=` + hashOf(alice) + `;` + cert}},
		"XFCC, open quote":              {Form: XFCC, Cert: []string{`A=",` + cert}},
		"XFCC, no end of a quote":       {Form: XFCC, Cert: []string{`Cert="` + esc(alice)}},
		"XFCC, backslash at the end":    {Form: XFCC, Cert: []string{cert + `;Subject="\`}},
		"XFCC, text after a quote":      {Form: XFCC, Cert: []string{cert + `x`}},
		"XFCC, quote in a value":        {Form: XFCC, Cert: []string{`A=b"c,` + cert}},
		"XFCC, no value":                {Form: XFCC, Cert: []string{`Cert`}},
		"XFCC, no key":                  {Form: XFCC, Cert: []string{`=` + esc(alice)}},
		"XFCC, empty last element":      {Form: XFCC, Cert: []string{cert + `,`}},
		"XFCC, empty first element":     {Form: XFCC, Cert: []string{`,` + cert}},
		"XFCC, empty pair":              {Form: XFCC, Cert: []string{`By=a;;` + cert}},
		"XFCC, many elements":           {Form: XFCC, Cert: []string{strings.Repeat("By=a,", maxElements) + cert}},
		"XFCC, many pairs":              {Form: XFCC, Cert: []string{strings.Repeat("By=a;", maxElements) + cert}},
		"XFCC, DER":                     {Form: XFCC, Cert: []string{`Cert="` + b64(alice) + `"`}},
		"an unknown form":               {Form: "pkcs7", Cert: []string{b64(alice)}},
	} {
		v := &Verifier{Rules: Rules{Identity: []string{CNSort}}, Roots: pool(ca.cert)}
		if id, err := v.Field(f, now); !errors.Is(err, ErrField) || strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: got %+v, %v", name, id, err)
		}
	}
	for name, text := range map[string]string{
		"Hash alone":                 `By=a;Hash=` + hashOf(alice) + `;Subject="CN=alice";URI=spiffe://example.org/alice`,
		"the last has none":          `Cert="` + esc(alice) + `",By=a;Subject="CN=mallory"`,
		"empty":                      `Cert="";Chain=""`,
		"in a value of another kind": `Subject=";Cert=` + esc(alice) + `;"`,
	} {
		v := &Verifier{Roots: pool(ca.cert)}
		if id, err := v.Field(Field{Form: XFCC, Cert: []string{text}}, now); err != ErrNotContained {
			t.Errorf("XFCC, %s: got %+v, %v", name, id, err)
		}
	}
}

// padded returns a certificate whose base64 has padding.
func padded(t *testing.T, ca *authority) *x509.Certificate {
	for name := "a"; ; name += "a" {
		if c := ca.named(t, name); len(c.Raw)%3 != 0 {
			return c
		}
	}
}

// TestCertificatesInOtherFormsAreVerifiedToo: that a proxy has written them says
// nothing of who issued them.
func TestCertificatesInOtherFormsAreVerifiedToo(t *testing.T) {
	ca, other := newAuthority(t, "Test CA"), newAuthority(t, "Test CA")
	forged := other.named(t, "alice")
	for _, f := range []Field{
		{Form: PEMEscaped, Cert: []string{escapedAll(pemOf(forged))}},
		{Form: PEMEscaped, Cert: []string{escapedAll(pemOf(forged, other.cert))}},
		{Form: DERBase64, Cert: []string{base64.StdEncoding.EncodeToString(forged.Raw)}},
		{Form: XFCC, Cert: []string{`Hash=` + hashOf(forged) + `;Cert="` + escapedAll(pemOf(forged)) + `"`}},
		{Form: XFCC, Cert: []string{`Chain="` + escapedAll(pemOf(forged, other.cert)) + `"`}},
	} {
		v := &Verifier{Roots: pool(ca.cert)}
		if id, err := v.Field(f, now); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: got %+v, %v", f.Form, id, err)
		}
	}
}

func TestAFieldThatIsRememberedIsOfItsForm(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	v := &Verifier{Roots: pool(ca.cert)}
	text := base64.StdEncoding.EncodeToString(ca.named(t, "a").Raw)
	if _, err := v.Field(Field{Form: DERBase64, Cert: []string{text}}, now); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Field(Field{Cert: []string{text}}, now); err != ErrField {
		t.Errorf("got %v", err)
	}
}

// FuzzForms holds that what is read of a field in any form stands in it, that
// nobody but authorities follows the first certificate, and that errors repeat
// nothing.
func FuzzForms(f *testing.F) {
	ca := newAuthority(f, "Test CA")
	a, b := ca.named(f, "a"), ca.named(f, "b")
	for _, s := range []string{
		escapedAll(pemOf(a)), escapedSafe(pemOf(a, ca.cert)), strings.ReplaceAll(pemOf(a), "\n", " "),
		base64.StdEncoding.EncodeToString(a.Raw), base64.StdEncoding.EncodeToString(a.Raw) + "," + base64.StdEncoding.EncodeToString(b.Raw),
		`By=a;Cert="` + escapedAll(pemOf(a)) + `";Subject="CN=\"a\"",Cert="` + escapedAll(pemOf(b)) + `"`,
		`Hash=00;Chain=` + escapedAll(pemOf(a, ca.cert)), "%", `A="\`, "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, form := range append([]Form{RFC9440}, Forms...) {
			cert, chain, err := Field{Form: form, Cert: []string{text}}.Parse()
			if err != nil {
				if err != ErrField && err != ErrNotContained {
					t.Errorf("%s: %v", form, err)
				}
				continue
			}
			all := append([]*x509.Certificate{cert}, chain...)
			if len(all) > maxChain+1 {
				t.Errorf("%s: %d certificates", form, len(all))
			}
			plain, _ := unescape(text)
			plain = dropBreaks.Replace(plain)
			for i, c := range all {
				if !strings.Contains(plain, base64.StdEncoding.EncodeToString(c.Raw)) {
					t.Errorf("%s: %q is read as something else", form, text)
				}
				if i > 0 && !c.IsCA {
					t.Errorf("%s: %q has two holders", form, text)
				}
			}
		}
	})
}

// FuzzSplitXFCC holds that what is printed is read again as what it is: no
// value can end its element or begin another one.
func FuzzSplitXFCC(f *testing.F) {
	f.Add("By", "a", "Subject", `CN="a",O=b;c=d\`)
	f.Add("Cert", "", "A", `"`)
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
		for _, key := range []string{key1, key2} {
			if key == "" || strings.ContainsAny(key, "=\",; \t\\") {
				return
			}
		}
		text := key1 + "=" + quote(value1) + ";" + key2 + "=" + quote(value2) + "," + key2 + "=" + quote(value1)
		got, ok := splitXFCC(text)
		low := strings.ToLower
		if !ok || len(got) != 2 || len(got[0]) != 2 || len(got[1]) != 1 || got[0][0] != (pair{low(key1), value1}) ||
			got[0][1] != (pair{low(key2), value2}) || got[1][0] != (pair{low(key2), value1}) {
			t.Errorf("%q is read as %q, %v", text, got, ok)
		}
	})
}
