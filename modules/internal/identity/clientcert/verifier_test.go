package clientcert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// intermediate is an authority below a.
func (a *authority) intermediate(t testing.TB, until time.Time) *authority {
	t.Helper()
	b := &authority{key: newKey(t)}
	b.cert = sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "Intermediate"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.cert, b.key, a.key)
	return b
}

func TestCertificatesOfFieldsThatAreNotTrustedAreRefused(t *testing.T) {
	ca, other := newAuthority(t, "Test CA"), newAuthority(t, "Test CA")
	v := &Verifier{Roots: pool(ca.cert)}
	year := func(from, until int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.Subject.CommonName = "a"
			c.NotBefore, c.NotAfter = now.AddDate(from, 0, 0), now.AddDate(until, 0, 0)
		}
	}
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.CommonName, c.ExtKeyUsage = "a", u }
	}
	self := newKey(t)
	client := &authority{key: newKey(t)}
	client.cert = sign(t, &x509.Certificate{SerialNumber: big.NewInt(4), Subject: pkix.Name{CommonName: "a"}, NotBefore: now.Add(-1), NotAfter: now.Add(1)}, ca.cert, client.key, ca.key)
	own := sign(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotBefore: now.Add(-1), NotAfter: now.Add(1)}, nil, self, self)
	below := ca.intermediate(t, now.AddDate(1, 0, 0))
	expired := ca.intermediate(t, now.Add(-time.Hour))
	for name, test := range map[string]struct {
		cert  *x509.Certificate
		chain []*x509.Certificate
		good  bool
	}{
		"good":                      {ca.named(t, "a"), nil, true},
		"any usage":                 {ca.leaf(t, usage(x509.ExtKeyUsageAny)), nil, true},
		"no usage":                  {ca.leaf(t, usage()), nil, true},
		"with its intermediate":     {below.named(t, "a"), []*x509.Certificate{below.cert}, true},
		"with its root":             {below.named(t, "a"), []*x509.Certificate{below.cert, ca.cert}, true},
		"without its intermediate":  {below.named(t, "a"), nil, false},
		"self-signed":               {own, nil, false},
		"self-signed, in the chain": {own, []*x509.Certificate{own}, false},
		"other authority":           {other.named(t, "a"), nil, false},
		"other authority, given":    {other.named(t, "a"), []*x509.Certificate{other.cert}, false},
		"expired":                   {ca.leaf(t, year(-2, -1)), nil, false},
		"not yet valid":             {ca.leaf(t, year(1, 2)), nil, false},
		"expired intermediate":      {expired.named(t, "a"), []*x509.Certificate{expired.cert}, false},
		"for servers":               {ca.leaf(t, usage(x509.ExtKeyUsageServerAuth)), nil, false},
		"issued by a client":        {client.named(t, "b"), []*x509.Certificate{client.cert}, false},
	} {
		f := Field{Cert: []string{formatField(test.cert)}}
		for _, c := range test.chain {
			f.Chain = append(f.Chain, formatField(c))
		}
		for range 2 { // found out, and remembered
			id, err := v.Field(f, now)
			if (err == nil) != test.good || err == nil && id.Principal == nil || err != nil && !errors.Is(err, ErrUntrusted) {
				t.Errorf("%s: got %+v, %v", name, id, err)
			}
		}
	}
	// Those of the system must not even be asked.
	var asked x509.UnknownAuthorityError
	if _, err := (&Verifier{}).Field(Field{Cert: []string{formatField(ca.named(t, "a"))}}, now); !errors.Is(err, ErrUntrusted) || errors.As(err, &asked) {
		t.Errorf("without roots: %v", err)
	}
}

func TestFieldsThatCannotBeReadAreRefused(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	v := &Verifier{Roots: pool(ca.cert)}
	good := formatField(ca.named(t, "a"))
	text := strings.Trim(good, ":")
	if _, err := v.Field(Field{Cert: []string{good}}, now); err != nil {
		t.Fatal(err)
	}
	short := base64.StdEncoding.EncodeToString([]byte("certificate"))
	for name, f := range map[string]Field{
		"none":                 {},
		"twice":                {Cert: []string{good, good}},
		"folded":               {Cert: []string{good + ", " + good}},
		"no colons":            {Cert: []string{text}},
		"one colon":            {Cert: []string{":" + text}},
		"empty":                {Cert: []string{""}},
		"empty bytes":          {Cert: []string{"::"}},
		"a string":             {Cert: []string{`"` + text + `"`}},
		"parameters":           {Cert: []string{good + ";a=1"}},
		"URL-safe":             {Cert: []string{strings.NewReplacer("+", "-", "/", "_").Replace(good) + "-"}},
		"line break":           {Cert: []string{":" + text[:10] + "\n" + text[10:] + ":"}},
		"space inside":         {Cert: []string{":" + text[:10] + " " + text[10:] + ":"}},
		"no padding":           {Cert: []string{":" + strings.TrimRight(short, "=") + ":"}},
		"garbage":              {Cert: []string{":" + short + ":"}},
		"percent-encoded PEM":  {Cert: []string{"-----BEGIN%20CERTIFICATE-----%0A" + text}},
		"cut":                  {Cert: []string{":" + text[:len(text)/8*4] + ":"}},
		"trailing data":        {Cert: []string{":" + base64.StdEncoding.EncodeToString(append(ca.named(t, "a").Raw, 0)) + ":"}},
		"giant":                {Cert: []string{":" + strings.Repeat("A", 1<<20) + ":"}},
		"chain alone":          {Chain: []string{good}},
		"chain of garbage":     {Cert: []string{good}, Chain: []string{":" + short + ":"}},
		"chain of a string":    {Cert: []string{good}, Chain: []string{good + `, "a"`}},
		"empty chain":          {Cert: []string{good}, Chain: []string{""}},
		"chain with a comma":   {Cert: []string{good}, Chain: []string{good + ","}},
		"long chain":           {Cert: []string{good}, Chain: []string{strings.Repeat(good+", ", maxChain) + good}},
		"giant chain":          {Cert: []string{good}, Chain: []string{strings.Repeat(" ", maxChainBytes) + good}},
		"long chain, in lines": {Cert: []string{good}, Chain: strings.Split(strings.Repeat(good+"\n", maxChain)+good, "\n")},
	} {
		if id, err := v.Field(f, now); !errors.Is(err, ErrField) || strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: got %+v, %v", name, id, err)
		}
	}
}

// TestTheExampleOfRFC9440 reads the field of RFC 9440 appendix A.
func TestTheExampleOfRFC9440(t *testing.T) {
	const cert = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
	c, _, err := Field{Cert: []string{cert}}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	n, err := Read(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(n.Subject, n.Emails, n.Serial, n.Issuer), "CN=BC[bdc@example.com]07CN=LA Intermediate CA,O=Let's Authenticate"; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %s, want %s", got, want)
	}
	if formatField(c) != cert {
		t.Error("it is printed otherwise")
	}
}

func chainOf(certs ...*x509.Certificate) [][]*x509.Certificate { return [][]*x509.Certificate{certs} }

func TestAConnectionOutlivesNoCertificateOfItsChain(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	v := new(Verifier)
	leaf := ca.named(t, "a") // an hour on both sides of now
	short := ca.intermediate(t, now.Add(time.Minute))
	shortLeaf := short.named(t, "b")
	both := [][]*x509.Certificate{{shortLeaf, short.cert, ca.cert}, {shortLeaf, ca.cert}}
	for _, test := range []struct {
		chains [][]*x509.Certificate
		at     time.Time
		want   error
	}{
		{chainOf(leaf, ca.cert), now, nil},
		{chainOf(leaf, ca.cert), now.Add(time.Hour), nil},
		{chainOf(leaf, ca.cert), now.Add(time.Hour + time.Second), ErrExpired},
		{chainOf(leaf, ca.cert), now.Add(-time.Hour - time.Second), ErrPending},
		{chainOf(leaf, ca.cert), now, nil},
		{chainOf(shortLeaf, short.cert, ca.cert), now, nil},
		{chainOf(shortLeaf, short.cert, ca.cert), now.Add(2 * time.Minute), ErrExpired},
		{both, now.Add(2 * time.Minute), nil},
		{both, now.Add(2 * time.Hour), ErrExpired},
	} {
		if _, err := v.Connection(test.chains, test.at); !errors.Is(err, test.want) {
			t.Errorf("%s at %v: got %v, want %v", test.chains[0][0].Subject, test.at, err, test.want)
		}
	}
}

func TestWhatIsRememberedGoesWithTheMap(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	table := parse(t, `{"subject":"CN=a","user":"alice"}`)
	v := &Verifier{Table: func() *Table { return table }, Roots: pool(ca.cert)}
	cert := ca.named(t, "a")
	field := Field{Cert: []string{formatField(cert)}}
	for _, step := range []struct {
		line string
		user string
		err  error
	}{
		{`{"subject":"CN=a","user":"alice"}`, "alice", nil},
		{`{"subject":"CN=a","user":"bob"}`, "bob", nil},
		{`{"subject":"CN=b","user":"bob"}`, "", ErrUnmapped},
		{`{"subject":"CN=a","disabled":true}`, "", ErrDisabled},
		{`{"subject":"CN=a","user":"alice"}`, "alice", nil},
	} {
		table = parse(t, step.line)
		for range 2 {
			one, err1 := v.Connection(chainOf(cert, ca.cert), now)
			two, err2 := v.Field(field, now)
			for i, id := range []*Identity{one, two} {
				err := []error{err1, err2}[i]
				if !errors.Is(err, step.err) || err == nil && id.Principal.ID != step.user || id.SPKI != SPKI(cert) {
					t.Errorf("%s: got %+v, %v", step.line, id, err)
				}
			}
		}
	}
}

func TestAnotherChainIsVerifiedAgain(t *testing.T) {
	ca := newAuthority(t, "Test CA")
	v := &Verifier{Roots: pool(ca.cert)}
	below := ca.intermediate(t, now.AddDate(1, 0, 0))
	cert := formatField(below.named(t, "a"))
	with := Field{Cert: []string{cert}, Chain: []string{formatField(below.cert)}}
	if _, err := v.Field(with, now); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Field(Field{Cert: []string{cert}}, now); !errors.Is(err, ErrUntrusted) {
		t.Errorf("without the chain: %v", err)
	}
	if _, err := v.Field(Field{Cert: []string{cert}, Chain: []string{"x"}}, now); !errors.Is(err, ErrField) {
		t.Errorf("with garbage: %v", err)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var c cache
	for i := range 10 * remembered {
		c.put(fmt.Sprint(i), new(Identity))
		if i > 0 {
			c.get([]byte("0"))
		}
	}
	if n := len(c.young) + len(c.old); n > 2*remembered {
		t.Errorf("%d are remembered", n)
	}
	if c.get([]byte("0")) == nil || c.getText("0") == nil {
		t.Error("the one that is asked for all the time is forgotten")
	}
	if c.get([]byte("1")) != nil {
		t.Error("one that nobody asked for is remembered")
	}
}
