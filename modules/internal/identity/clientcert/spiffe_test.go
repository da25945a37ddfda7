package clientcert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"
)

func TestSPIFFEIDs(t *testing.T) {
	long := "spiffe://a/" + strings.Repeat("b", 2048-len("spiffe://a/"))
	for _, good := range []string{
		"spiffe://example.org/orders", "spiffe://example.org", "spiffe://k8s-west.example.com/ns/staging/sa/default", "spiffe://1.2.3.4/a",
		"spiffe://a_b-c.d/A-Z_a-z.0-9", "spiffe://example.org/9eebccd2-12bf-40a6-b262-65fe0487d453", "spiffe://td/...", "spiffe://td/.a", long,
		"spiffe://" + strings.Repeat("a", 255) + "/b",
	} {
		id, err := ParseID(good)
		if err != nil || "spiffe://"+id.TrustDomain()+id.Path() != good {
			t.Errorf("%.60s: %q, %v", good, id, err)
		}
	}
	for _, bad := range []string{
		"", "spiffe", "spiffe:", "spiffe:/", "spiffe://", "spiffe:///a", "SPIFFE://example.org/a", "Spiffe://example.org/a", "https://example.org/a", "//example.org/a",
		"spiffe://Example.org/a", "spiffe://example.org/", "spiffe://example.org/a/", "spiffe://example.org//a", "spiffe://example.org/a//b",
		"spiffe://example.org/.", "spiffe://example.org/..", "spiffe://example.org/a/../b", "spiffe://example.org/a/.", "spiffe://example.org/./a",
		"spiffe://example.org/a?", "spiffe://example.org/a?b", "spiffe://example.org?b", "spiffe://example.org/a#", "spiffe://example.org/a#b", "spiffe://example.org#b",
		"spiffe://user@example.org/a", "spiffe://user:pass@example.org/a", "spiffe://@example.org/a", "spiffe://example.org:443/a", "spiffe://example.org:/a",
		"spiffe://[::1]/a", "spiffe://exa%6dple.org/a", "spiffe://example.org/%61", "spiffe://example.org/a%2fb", "spiffe://example.org/a b", "spiffe://example.org/a\x00",
		"spiffe://example.org/a\n", "spiffe://example.org/ä", "spiffe://exämple.org/a", "spiffe://example.org/a;b", "spiffe://example.org/a,b", "spiffe://example.org/a:b",
		"spiffe://example.org/a@b", "spiffe://example.org/a\\b", " spiffe://example.org/a", "spiffe://example.org/a ", long + "b", "spiffe://" + strings.Repeat("a", 256) + "/b",
	} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("%q is read as %q", bad, id)
		}
	}
}

func TestCertificatesThatAreNoSVIDHaveNoSPIFFEID(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	good := uri("spiffe://example.org/orders")
	for name, cert := range map[string]*x509.Certificate{
		"two IDs":        ca.named(t, "", good, uri("spiffe://example.org/admin")),
		"the same twice": ca.named(t, "", good, good),
		"another URI":    ca.named(t, "", uri("https://example.org/a"), good),
		"trust domain":   ca.named(t, "", uri("spiffe://example.org")),
		"in capitals":    ca.named(t, "", uri("SPIFFE://example.org/orders")),
		"a fragment":     ca.named(t, "", uri("spiffe://example.org/orders#")),
		"signs": ca.leaf(t, func(c *x509.Certificate) {
			c.KeyUsage |= x509.KeyUsageCRLSign
			c.ExtraExtensions = []pkix.Extension{alternatives(t, good)}
		}),
		"authority": ca.leaf(t, func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid = true, true
			c.ExtraExtensions = []pkix.Extension{alternatives(t, good)}
		}),
	} {
		if n, err := Read(cert); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: got %+v, %v", name, n, err)
		}
	}
	n, err := Read(ca.named(t, "", uri("https://example.org/a"), uri("urn:b")))
	if err != nil || n.ID != "" || len(n.URIs) != 2 {
		t.Errorf("without any: %+v, %v", n, err)
	}
}
