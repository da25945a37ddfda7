package clientcert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestEveryNameIsRead(t *testing.T) {
	cert := newAuthority(t, "Test CA").named(t, "orders", uri("spiffe://example.org/orders"), dns("Orders.Example.COM"), dns("*.example.com"), email("Alice@Example.ORG"))
	n, err := Read(cert)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(n.URIs, n.DNS, n.Emails, n.Subject, n.CommonNames, n.Issuer, n.Serial, n.ID, len(n.SPKI))
	want := "[spiffe://example.org/orders] [orders.example.com] [Alice@example.org] CN=orders [orders] CN=Test CA 01A2B3 spiffe://example.org/orders 44\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestNamesWithTricksMakeTheCertificateUnreadable has names that somebody
// could take for other names, or that could break out of a line of a log.
func TestNamesWithTricksMakeTheCertificateUnreadable(t *testing.T) {
	for _, name := range []alternative{
		dns("admin.example.com\x00.evil.example"), dns("admin.example.com\n"), dns("a b"), dns(""), dns("."), dns("a..b"), dns("a.example.com."),
		dns("-a.example.com"), dns("a*.example.com"), dns("a.*.com"), dns(strings.Repeat("a", 64) + ".com"), dns(strings.Repeat("a.", 127) + "com"),
		email("alice@example.com\x00@evil.example"), email("alice"), email("@example.com"), email("a@b@c"), email(`"a b"@example.com`),
		email("a@b\r\nX-User: root"), email("alice@"), email("<alice@example.com>"), email("alice,root@example.com"),
		uri("https://example.com/\x00"), uri("https://example.com/ a"), uri("https://example.com/\r\n"), uri("no-scheme"), uri(""), uri("%zz:a"),
		uri("https://example.com/" + strings.Repeat("a", 2048)),
	} {
		if n, err := Read(bare(alternatives(t, name, dns("good.example.com")))); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%.40q: got %+v, %v", name.text, n, err)
		}
	}
}

// bare is as much of a certificate as its names take. Not all of these would
// get through crypto/x509.
func bare(extensions ...pkix.Extension) *x509.Certificate {
	return &x509.Certificate{RawSubject: []byte{0x30, 0}, RawIssuer: []byte{0x30, 0}, Extensions: extensions}
}

func TestAlternativeNamesThatAreNotDERAreRefused(t *testing.T) {
	san := asn1.ObjectIdentifier{2, 5, 29, 17}
	for _, value := range []string{"", "\x30", "\x30\x01", "\x30\x00\x00", "\x30\x03\x86\x05a", "\x04\x00"} {
		if n, err := Read(bare(pkix.Extension{Id: san, Value: []byte(value)})); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%x: got %+v, %v", value, n, err)
		}
	}
	empty := pkix.Extension{Id: san, Value: []byte{0x30, 0}}
	if _, err := Read(bare(empty, empty)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("two extensions: got %v", err)
	}
	long := &x509.Certificate{Raw: make([]byte, MaxCertificate+1)}
	if _, err := Read(long); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a long certificate: got %v", err)
	}
}

// rdn is an attribute for subjects that pkix.Name would flatten.
func rdn(oid string, tag int, value string) pkix.AttributeTypeAndValue {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(oid, ".") {
		n := 0
		_, _ = fmt.Sscan(part, &n)
		id = append(id, n)
	}
	return pkix.AttributeTypeAndValue{Type: id, Value: asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
}

func subject(t testing.TB, sets ...[]pkix.AttributeTypeAndValue) []byte {
	t.Helper()
	var seq pkix.RDNSequence
	for _, s := range sets {
		seq = append(seq, s)
	}
	der, err := asn1.Marshal(seq)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

const utf8Tag = asn1.TagUTF8String

func TestSubjectsArePrintedAsRFC4514HasThem(t *testing.T) {
	cn, o, dc := "2.5.4.3", "2.5.4.10", "0.9.2342.19200300.100.1.25"
	for _, test := range []struct {
		sets [][]pkix.AttributeTypeAndValue
		want string // empty: refused
	}{
		{nil, "-"},
		// The examples of RFC 4514 section 4.
		{[][]pkix.AttributeTypeAndValue{{rdn(dc, 22, "net")}, {rdn(dc, 22, "example")}, {rdn("0.9.2342.19200300.100.1.1", utf8Tag, "jsmith")}}, "UID=jsmith,DC=example,DC=net"},
		{[][]pkix.AttributeTypeAndValue{{rdn("2.5.4.11", utf8Tag, "Sales"), rdn(cn, utf8Tag, "J.  Smith")}}, "CN=J.  Smith+OU=Sales"},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, `James "Jim" Smith, III`)}}, `CN=James \"Jim\" Smith\, III`},
		{[][]pkix.AttributeTypeAndValue{{rdn("1.3.6.1.4.1.1466.0", 4, "Hi")}}, "1.3.6.1.4.1.1466.0=#04024869"},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "Lučić")}}, "CN=Lučić"},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, " a #b+c;<d>\\ ")}}, `CN=\ a #b\+c\;\<d\>\\\ `},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "#a")}}, `CN=\#a`},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, 19, "a")}, {rdn(o, 30, "\x00\xe4")}}, "O=ä,CN=a"},
		{[][]pkix.AttributeTypeAndValue{{rdn("1.2.840.113549.1.9.1", 22, "a@b")}, {rdn("2.5.4.5", 19, "7")}}, "serialNumber=7,emailAddress=a@b"},
		// What could be taken for something else.
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "admin\x00.evil")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "admin\n")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "admin\u202enimda")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "ad\u200bmin")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "a\u00a0b")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "a\xff")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, utf8Tag, "")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, 19, "caf\xe9")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, 20, "caf\xe9")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, 30, "odd")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, 30, "\xd8\x00")}}, ""},
		{[][]pkix.AttributeTypeAndValue{{rdn(cn, 2, "\x01")}}, ""},
	} {
		der := subject(t, test.sets...)
		got, _, err := readDN(der)
		if err != nil && test.want != "" || err == nil && got != strings.TrimPrefix(test.want, "-") {
			t.Errorf("%x: got %q, %v, want %q", der, got, err, test.want)
			continue
		}
		if err != nil || got == "" {
			continue
		}
		if again, err := NormalDN(got); again != got || err != nil {
			t.Errorf("%q is read as %q, %v", got, again, err)
		}
	}
}

func TestSubjectsThatDifferArePrintedDifferently(t *testing.T) {
	cn := "2.5.4.3"
	one, _, err1 := readDN(subject(t, []pkix.AttributeTypeAndValue{rdn(cn, utf8Tag, "a,O=b")}))
	two, _, err2 := readDN(subject(t, []pkix.AttributeTypeAndValue{rdn("2.5.4.10", utf8Tag, "b")}, []pkix.AttributeTypeAndValue{rdn(cn, utf8Tag, "a")}))
	three, _, err3 := readDN(subject(t, []pkix.AttributeTypeAndValue{rdn("2.5.4.10", utf8Tag, "b"), rdn(cn, utf8Tag, "a")}))
	if one == two || two == three || errors.Join(err1, err2, err3) != nil {
		t.Errorf("%q %q %q", one, two, three)
	}
	_, names, err := readDN(subject(t, []pkix.AttributeTypeAndValue{rdn(cn, utf8Tag, "a")}, []pkix.AttributeTypeAndValue{rdn(cn, utf8Tag, "b")}))
	if err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("common names: %q, %v", names, err)
	}
}

func TestDistinguishedNamesOfAdministrators(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"CN=orders,O=Example,C=DE", "CN=orders,O=Example,C=DE"},
		{"cn = orders, o=Example ,  c=DE", "CN=orders,O=Example,C=DE"},
		{"OU=Sales+CN=J. Smith", "CN=J. Smith+OU=Sales"},
		{`CN=a\2Cb\, c`, `CN=a\,b\, c`},
		{`CN=Lu\C4\8Di\C4\87`, "CN=Lučić"},
		{"emailaddress=a@b,SERIALNUMBER=1", "emailAddress=a@b,serialNumber=1"},
		{`CN=\ a\ `, `CN=\ a\ `},
		{"1.2.3=#0C0161", "1.2.3=#0c0161"},
		{"", ""},
		{"orders", ""},
		{"CN=", ""},
		{"CN=a,", ""},
		{"CN=a,,O=b", ""},
		{"/C=DE/CN=a", ""},
		{"XX=a", ""},
		{"1.2.3=a", ""},
		{"1.2.3=#zz", ""},
		{"1.2.3=#0c0561", ""},
		{"2.5.4.3=#0c0161", ""},
		{"1.02.3=#0c0161", ""},
		{`CN=a\`, ""},
		{`CN=a\zz`, ""},
		{`CN=a\00`, ""},
		{`CN="a"`, ""},
		{"CN=a;O=b", ""},
		{"CN=#0c0161", ""},
		{"CN=ad\u200bmin", ""},
		{"CN=" + strings.Repeat("a", 5000), ""},
	} {
		got, err := NormalDN(test.in)
		if (err != nil) != (test.want == "") || got != test.want {
			t.Errorf("%q: got %q, %v, want %q", test.in, got, err, test.want)
		}
	}
}

func TestSerialNumbersAndPins(t *testing.T) {
	for in, want := range map[string]string{"1a2b": "1A2B", "0A": "0A", "a": "0A", "01:a2:B3": "01A2B3", "0": "00", "": "", "0x1": "", "-1": "", "g": "", strings.Repeat("1", 65): ""} {
		if got, err := NormalSerial(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	for in, good := range map[string]bool{
		"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=": true,
		"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU":  false, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=": false,
		"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=": false, "": false, "AAAA": false, "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=": false,
	} {
		if err := CheckPin(in); (err == nil) != good {
			t.Errorf("%q: %v", in, err)
		}
	}
}
