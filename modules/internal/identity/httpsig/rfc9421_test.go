package httpsig

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	requestDigest  = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
	responseDigest = "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:"
	busyDigest     = "sha-512=:0Y6iCBzGg5rZtoXS95Ijz03mslf6KAMCloESHObfwnHJDbkkWWQz6PhhU9kxsTbARtY2PTBOzq24uJFpHsMuAg==:"
)

// testRequest is the request test-request of RFC 9421 appendix B.2.
func testRequest() *Message {
	return &Message{
		Method: "POST", Proto: "HTTP/1.1", Scheme: "https", Authority: "example.com",
		Path: "/foo", Query: "param=Value&Pet=dog", HasQuery: true, HasContent: true,
		Header: http.Header{
			"Date":           {"Tue, 20 Apr 2021 02:07:55 GMT"},
			"Content-Type":   {"application/json"},
			"Content-Digest": {requestDigest},
			"Content-Length": {"18"},
		},
	}
}

// testResponse is test-response, or that of section 2.4.
func testResponse(status int, digest, length string) *Message {
	return &Message{
		Status: status, HasContent: true, Request: testRequest(),
		Header: http.Header{
			"Date":           {"Tue, 20 Apr 2021 02:07:56 GMT"},
			"Content-Type":   {"application/json"},
			"Content-Digest": {digest},
			"Content-Length": {length},
		},
	}
}

// anything accepts a signature that covers nothing, which no configuration can.
func anything() *Policy { return &Policy{components: []item{}, maxAge: time.Hour} }

func with(m *Message, label, in, sig string) *Message {
	m.Header["Signature-Input"] = []string{label + "=" + in}
	m.Header["Signature"] = []string{label + "=:" + sig + ":"}
	return m
}

// published are the signatures of RFC 9421 with the bases printed beside them.
var published = []struct {
	name, label, input, signature string
	message                       func() *Message
	base                          string // without @signature-params
}{
	{
		"B.2.1 minimal", "sig-b21",
		`();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"`,
		`d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==`,
		testRequest, ``,
	},
	{
		"B.2.2 selective", "sig-b22",
		`("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"`,
		`LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==`,
		testRequest,
		`"@authority": example.com
"content-digest": ` + requestDigest + `
"@query-param";name="Pet": dog
`,
	},
	{
		"B.2.3 full", "sig-b23",
		`("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"`,
		`bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==`,
		testRequest,
		`"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"@authority": example.com
"content-type": application/json
"content-digest": ` + requestDigest + `
"content-length": 18
`,
	},
	{
		"B.2.4 response", "sig-b24",
		`("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256"`,
		`wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==`,
		func() *Message { return testResponse(200, responseDigest, "23") },
		`"@status": 200
"content-type": application/json
"content-digest": ` + responseDigest + `
"content-length": 23
`,
	},
	{
		"B.2.5 hmac", "sig-b25",
		`("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
		`pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=`,
		testRequest,
		`"date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
`,
	},
	{
		"B.2.6 ed25519", "sig-b26",
		`("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
		`wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==`,
		testRequest,
		`"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
`,
	},
	{
		"2.4 response to its request", "reqres",
		`("@status" "content-digest" "content-type" "@authority";req "@method";req "@path";req "content-digest";req);created=1618884479;keyid="test-key-ecc-p256"`,
		`dMT/A/76ehrdBTD/2Xx8QuKV6FoyzEP/I9hdzKN8LQJLNgzU4W767HK05rx1i8meNQQgQPgQp8wq2ive3tV5Ag==`,
		func() *Message { return testResponse(503, busyDigest, "62") },
		`"@status": 503
"content-digest": ` + busyDigest + `
"content-type": application/json
"@authority";req: example.com
"@method";req: POST
"@path";req: /foo
"content-digest";req: ` + requestDigest + `
`,
	},
	{
		"2.4 response with the query", "reqres",
		`("@status" "content-digest" "content-type" "@authority";req "@method";req "@path";req "@query";req "content-digest";req "content-type";req "content-length";req);created=1618884479;keyid="test-key-ecc-p256"`,
		`C73J41GVKc+TYXbSobvZf0CmNcptRiWN+NY1Or0A36ISg6ymdRN6ZgR2QfrtopFNzqAyv+CeWrMsNbcV2Ojsgg==`,
		func() *Message { return testResponse(503, busyDigest, "62") },
		`"@status": 503
"content-digest": ` + busyDigest + `
"content-type": application/json
"@authority";req: example.com
"@method";req: POST
"@path";req: /foo
"@query";req: ?param=Value&Pet=dog
"content-digest";req: ` + requestDigest + `
"content-type";req: application/json
"content-length";req: 18
`,
	},
	{
		"3.2 example", "sig1",
		`("@method" "@authority" "@path" "content-digest" "content-length" "content-type");created=1618884473;keyid="test-key-rsa-pss"`,
		`HIbjHC5rS0BYaa9v4QfD4193TORw7u9edguPh0AW3dMq9WImrlFrCGUDih47vAxi4L2YRZ3XMJc1uOKk/J0ZmZ+wcta4nKIgBkKq0rM9hs3CQyxXGxHLMCy8uqK488o+9jrptQ+xFPHK7a9sRL1IXNaagCNN3ZxJsYapFj+JXbmaI5rtAdSfSvzPuBCh+ARHBmWuNo1UzVVdHXrl8ePL4cccqlazIJdC4QEjrF+Sn4IxBQzTZsL9y9TP5FsZYzHvDqbInkTNigBcE9cKOYNFCn4D/WM7F6TNuZO9EgtzepLWcjTymlHzK7aXq6Am6sfOrpIC49yXjj3ae6HRalVc/g==`,
		testRequest,
		`"@method": POST
"@authority": example.com
"@path": /foo
"content-digest": ` + requestDigest + `
"content-length": 18
"content-type": application/json
`,
	},
	{
		"4.3 proxy", "proxy_sig",
		`("@method" "@authority" "@path" "content-digest" "content-type" "content-length" "forwarded");created=1618884480;keyid="test-key-rsa";alg="rsa-v1_5-sha256";expires=1618884540`,
		`S6ZzPXSdAMOPjN/6KXfXWNO/f7V6cHm7BXYUh3YD/fRad4BCaRZxP+JH+8XY1I6+8Cy+CM5g92iHgxtRPz+MjniOaYmdkDcnL9cCpXJleXsOckpURl49GwiyUpZ10KHgOEe11sx3G2gxI8S0jnxQB+Pu68U9vVcasqOWAEObtNKKZd8tSFu7LB5YAv0RAGhB8tmpv7sFnIm9y+7X5kXQfi8NMaZaA8i2ZHwpBdg7a6CMfwnnrtflzvZdXAsD3LH2TwevU+/PBPv0B6NMNk93wUs/vfJvye+YuI87HU38lZHowtznbLVdp770I6VHR6WfgS9ddzirrswsE1w5o0LV/g==`,
		func() *Message {
			m := testRequest()
			m.Authority = "origin.host.internal.example"
			m.Header.Set("Date", "Tue, 20 Apr 2021 02:07:56 GMT")
			m.Header.Set("Forwarded", "for=192.0.2.123;host=example.com;proto=https")
			return m
		},
		`"@method": POST
"@authority": origin.host.internal.example
"@path": /foo
"content-digest": ` + requestDigest + `
"content-type": application/json
"content-length": 18
"forwarded": for=192.0.2.123;host=example.com;proto=https
`,
	},
	{
		"4.3 client", "sig1",
		`("@method" "@authority" "@path" "content-digest" "content-type" "content-length");created=1618884475;keyid="test-key-ecc-p256"`,
		`X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==`,
		testRequest,
		`"@method": POST
"@authority": example.com
"@path": /foo
"content-digest": ` + requestDigest + `
"content-type": application/json
"content-length": 18
`,
	},
	{
		"B.3 proxy that ends TLS", "ttrp",
		`("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`,
		`xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==`,
		func() *Message {
			m := testRequest()
			m.Authority = "service.internal.example"
			m.Header.Set("Client-Cert", clientCert)
			return m
		},
		`"@path": /foo
"@query": ?param=Value&Pet=dog
"@method": POST
"@authority": service.internal.example
"client-cert": ` + clientCert + `
`,
	},
}

const clientCert = `:MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:`

func TestPublishedSignaturesVerify(t *testing.T) {
	keys := rfcKeys(t)
	for _, c := range published {
		t.Run(c.name, func(t *testing.T) {
			m := with(c.message(), c.label, c.input, c.signature)
			all, fault := parseInputs(m.Header["Signature-Input"])
			if fault != nil {
				t.Fatal(fault.Reason)
			}
			base, fault := appendBase(nil, m, all[0].items, all[0].text)
			if fault != nil {
				t.Fatal(fault.Reason)
			}
			if want := c.base + `"@signature-params": ` + c.input; string(base) != want {
				t.Errorf("signature base:\n%s\nwant\n%s", base, want)
			}
			r, err := Verify(m, anything(), keys, testNow.Add(10*time.Second))
			if err != nil {
				t.Fatalf("%v: %s", err, err.(*Error).Reason)
			}
			if r.Label != c.label || !strings.Contains(c.input, `keyid="`+r.Key.ID+`"`) {
				t.Errorf("label %q, key %q", r.Label, r.Key.ID)
			}
			// And over nothing else.
			m.Header["Signature-Input"][0] = strings.Replace(m.Header["Signature-Input"][0], "created=161888447", "created=161888446", 1)
			m.Header["Signature-Input"][0] = strings.Replace(m.Header["Signature-Input"][0], "created=161888448", "created=161888447", 1)
			if r, err := Verify(m, anything(), keys, testNow.Add(10*time.Second)); err == nil {
				t.Errorf("accepted with another time of creation: %+v", r)
			}
		})
	}
}

// The algorithms of B.2.5, B.2.6 and section 4.3 have but one signature of a
// text, which signing must give.
func TestSigningGivesThePublishedSignatures(t *testing.T) {
	signers := map[string]*Signer{
		"B.2.5 hmac":    mustSigner(t, "test-shared-secret", "hmac-sha256", sharedSecret()),
		"B.2.6 ed25519": mustSigner(t, "test-key-ed25519", "ed25519", []byte(testKeyEd25519Private)),
	}
	for _, c := range published {
		s := signers[c.name]
		if s == nil {
			continue
		}
		m := c.message()
		all, _ := parseInputs([]string{c.label + "=" + c.input})
		var components []string
		for _, it := range all[0].items {
			components = append(components, it.text)
		}
		in, sig, err := s.Sign(m, Template{Label: c.label, Components: components, Created: testNow})
		if err != nil {
			t.Fatal(err)
		}
		if in != c.label+"="+c.input || sig != c.label+"=:"+c.signature+":" {
			t.Errorf("%s: signed\n%s\n%s", c.name, in, sig)
		}
	}
	for _, c := range published {
		if c.name != "4.3 proxy" {
			continue // its parameters are in an order that Sign does not write
		}
		s := mustSigner(t, "test-key-rsa", "rsa-v1_5-sha256", []byte(testKeyRSAPrivate))
		made, err := s.sign([]byte(c.base + `"@signature-params": ` + c.input))
		if err != nil {
			t.Fatal(err)
		}
		if got := base64Std(made); got != c.signature {
			t.Errorf("%s: signed %s", c.name, got)
		}
	}
}

// RFC 9421 section 4.3: the request as it reaches the origin has two
// signatures, of which the policy chooses by label.
func TestLabelChoosesAmongTheSignaturesOfAProxy(t *testing.T) {
	var client, proxy int
	for i, c := range published {
		switch c.name {
		case "4.3 client":
			client = i
		case "4.3 proxy":
			proxy = i
		}
	}
	m := published[proxy].message()
	m.Header["Signature-Input"] = []string{
		"sig1=" + published[client].input + ", proxy_sig=" + published[proxy].input,
	}
	m.Header["Signature"] = []string{
		"sig1=:" + published[client].signature + ":",
		"proxy_sig=:" + published[proxy].signature + ":",
	}
	now := testNow.Add(20 * time.Second)
	p := anything()
	p.label = "proxy_sig"
	r, err := Verify(m, p, rfcKeys(t), now)
	if err != nil {
		t.Fatal(err.(*Error).Reason)
	}
	if r.Key.ID != "test-key-rsa" || r.Expires.Unix() != 1618884540 || !r.Until.Equal(r.Expires) {
		t.Errorf("%+v", r)
	}
	if _, err := Verify(m, p, rfcKeys(t), time.Unix(1618884540, 0)); err == nil {
		t.Error("accepted when it expires")
	}
	p.label = "sig1" // over example.com, which the proxy has changed
	expectRefusal(t, m, p, rfcKeys(t), now, ErrRefused, "the signature is not one")
	expectRefusal(t, m, anything(), rfcKeys(t), now, ErrMalformed, "more than one signature")
}

// RFC 9421 appendix B.4: what may happen to a message on its way.
func TestTransformationsOfAppendixB4(t *testing.T) {
	const (
		in  = `("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"`
		sig = `ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==`
	)
	message := func(method, authority, query string, accept ...string) *Message {
		return with(&Message{
			Method: method, Scheme: "https", Authority: authority, Path: "/demo", Query: query, HasQuery: true,
			Header: http.Header{"Accept": accept},
		}, "transform", in, sig)
	}
	for _, c := range []struct {
		name string
		m    *Message
		good bool
	}{
		{"as it was sent", message("GET", "example.org", "name1=Value1&Name2=value2", "application/json", "*/*"), true},
		{"with another parameter", message("GET", "example.org", "name1=Value1&Name2=value2&param=added", "application/json", "*/*"), true},
		{"with field lines in one", message("GET", "example.org", "name1=Value1&Name2=value2", "application/json, */*"), true},
		{"with another method and authority", message("POST", "example.com", "name1=Value1&Name2=value2", "application/json", "*/*"), false},
		{"with field lines in another order", message("GET", "example.org", "name1=Value1&Name2=value2", "*/*", "application/json"), false},
	} {
		if _, err := Verify(c.m, anything(), rfcKeys(t), testNow); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// The examples of RFC 9421 sections 2.1 and 2.2, with a few more beside them.
func TestComponentValues(t *testing.T) {
	get := func(scheme, authority, path, query string, has bool) *Message {
		return &Message{Method: "GET", Scheme: scheme, Authority: authority, Path: path, Query: query, HasQuery: has, Header: http.Header{}}
	}
	fields := get("https", "www.example.com", "/", "", false)
	fields.Header = http.Header{
		"Date":           {"Tue, 20 Apr 2021 02:07:56 GMT"},
		"X-Ows-Header":   {"   Leading and trailing whitespace.\t "},
		"X-Obs-Fold":     {"Obsolete line folding."}, // as net/textproto gives it
		"Cache-Control":  {"max-age=60", "   must-revalidate"},
		"Example-Dict":   {"  a=1,    b=2;x=1;y=2,   c=(a   b   c), d"},
		"Example-Header": {"value, with, lots", "of, commas"},
		"One-Line":       {"value, with, lots, of, commas"},
		"X-Empty-Header": {" "},
		"Repeated":       {"a, b, a"},
		"A-List":         {"Foo,  1.50;b;a=?0"},
		"Not-Structured": {"a b"},
		"Latin":          {"caf\xe9"},
		"Two-Lines":      {"a\n\"@method\": GET"},
	}
	post := get("https", "www.example.com", "/path", "param=value", true)
	post.Method = "POST"
	encoded := get("https", "a", "/parameters", "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something", true)
	several := get("https", "a", "/path", "param=value&foo=bar&baz=batman&qux=&two=1&two=2&&b%zz=1", true)
	good := get("https", "a", "/path", "param=value&foo=bar&baz=batman&qux=&two=1&two=2&", true)
	cases := []struct {
		m         *Message
		component string
		want      string
		good      bool
	}{
		{fields, `"host"`, "www.example.com", true},
		{fields, `"date"`, "Tue, 20 Apr 2021 02:07:56 GMT", true},
		{fields, `"x-ows-header"`, "Leading and trailing whitespace.", true},
		{fields, `"x-obs-fold"`, "Obsolete line folding.", true},
		{fields, `"cache-control"`, "max-age=60, must-revalidate", true},
		{fields, `"example-dict"`, "a=1,    b=2;x=1;y=2,   c=(a   b   c), d", true},
		{fields, `"x-empty-header"`, "", true},
		{fields, `"example-dict";sf`, "a=1, b=2;x=1;y=2, c=(a b c), d", true},
		{fields, `"example-dict";key="a"`, "1", true},
		{fields, `"example-dict";key="d"`, "?1", true},
		{fields, `"example-dict";key="b"`, "2;x=1;y=2", true},
		{fields, `"example-dict";key="c"`, "(a b c)", true},
		{fields, `"example-dict";sf;key="a"`, "1", true},
		{fields, `"example-dict";key="e"`, "", false},
		{fields, `"a-list";sf`, "Foo, 1.5;b;a=?0", true},
		{fields, `"example-header";bs`, ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:", true},
		{fields, `"one-line";bs`, ":dmFsdWUsIHdpdGgsIGxvdHMsIG9mLCBjb21tYXM=:", true},
		// A dictionary would have lost a member that a list has.
		{fields, `"repeated";sf`, "", false},
		{fields, `"repeated"`, "a, b, a", true},
		{fields, `"not-structured";sf`, "", false},
		{fields, `"latin"`, "caf\xe9", true},
		{fields, `"two-lines"`, "", false},
		{fields, `"two-lines";bs`, ":YQoiQG1ldGhvZCI6IEdFVA==:", true},
		{fields, `"x-missing"`, "", false},
		{fields, `"Date"`, "", false},
		{fields, `"date";tr`, "", false},
		{fields, `"date";req`, "", false},
		{fields, `"date";foo`, "", false},
		{fields, `"date";sf=1`, "", false},
		{fields, `"date";sf="a"`, "", false},
		{fields, `"date";name="a"`, "", false},
		{fields, `"date";key`, "", false},
		{fields, `"example-dict";bs;sf`, "", false},
		{fields, `"example-dict";key="a";bs`, "", false},
		{fields, `""`, "", false},
		{fields, `"";key="a"`, "", false},
		{fields, `"";sf`, "", false},
		{fields, `"";bs`, "", false},
		{fields, `"a b"`, "", false},
		{fields, `"@"`, "", false},
		{fields, `"@nonsense"`, "", false},
		{fields, `"@signature-params"`, "", false},
		{fields, `"@method";sf`, "", false},
		{fields, `"@method";key="a"`, "", false},
		{fields, `"@method";bs`, "", false},
		{fields, `"@method";tr`, "", false},
		{fields, `"@method";req`, "", false},
		{fields, `"@method";name="a"`, "", false},
		{fields, `"@status"`, "", false},
		{post, `"@method"`, "POST", true},
		{post, `"@target-uri"`, "https://www.example.com/path?param=value", true},
		{post, `"@authority"`, "www.example.com", true},
		{post, `"@scheme"`, "https", true},
		{post, `"@request-target"`, "/path?param=value", true},
		{post, `"@path"`, "/path", true},
		{post, `"@query"`, "?param=value", true},
		{get("http", "www.example.com", "/path", "", false), `"@scheme"`, "http", true},
		{get("https", "www.example.com", "", "", false), `"@path"`, "/", true},
		{get("https", "www.example.com", "", "", false), `"@target-uri"`, "https://www.example.com/", true},
		{get("https", "www.example.com", "/a%2Fb", "", false), `"@path"`, "/a%2Fb", true},
		{get("https", "a", "/path", "param=value&foo=bar&baz=bat%2Dman", true), `"@query"`, "?param=value&foo=bar&baz=bat%2Dman", true},
		{get("https", "a", "/path", "queryString", true), `"@query"`, "?queryString", true},
		{get("https", "a", "/path", "", false), `"@query"`, "?", true},
		{get("https", "a", "/path", "", true), `"@query"`, "?", true},
		{get("https", "a", "/path", "", false), `"@target-uri"`, "https://a/path", true},
		{get("https", "a", "/path", "", true), `"@target-uri"`, "https://a/path?", true},
		{get("https", "a", "/path", "", true), `"@request-target"`, "/path?", true},
		{get("https", "WWW.Example.COM:443", "/", "", false), `"@authority"`, "www.example.com", true},
		{get("http", "www.example.com:80", "/", "", false), `"@authority"`, "www.example.com", true},
		{get("http", "www.example.com:443", "/", "", false), `"@authority"`, "www.example.com:443", true},
		{get("https", "www.example.com:8443", "/", "", false), `"@authority"`, "www.example.com:8443", true},
		{get("https", "[::1]:443", "/", "", false), `"@authority"`, "[::1]", true},
		{get("https", "a", "*", "", false), `"@request-target"`, "*", true},
		{get("https", "a", "*", "", false), `"@path"`, "", false},
		{get("https", "a", "*", "", false), `"@target-uri"`, "", false},
		{get("https", "a", "/a\nb", "", false), `"@path"`, "", false},
		{get("https", "a\nb", "/", "", false), `"@authority"`, "", false},
		{good, `"@query-param";name="baz"`, "batman", true},
		{good, `"@query-param";name="qux"`, "", true},
		{good, `"@query-param";name="param"`, "value", true},
		{good, `"@query-param";name="two"`, "", false},
		{good, `"@query-param";name="nope"`, "", false},
		{good, `"@query-param";name=""`, "", false},
		{good, `"@query-param"`, "", false},
		{good, `"@query-param";name`, "", false},
		{good, `"@query-param";name=baz`, "", false},
		{several, `"@query-param";name="baz"`, "", false},
		{encoded, `"@query-param";name="var"`, "this%20is%20a%20big%0Amultiline%20value", true},
		{encoded, `"@query-param";name="bar"`, "with%20plus%20whitespace", true},
		{encoded, `"@query-param";name="fa%C3%A7ade%22%3A%20"`, "something", true},
		{testResponse(200, responseDigest, "23"), `"@status"`, "200", true},
		{testResponse(200, responseDigest, "23"), `"@status";req`, "", false},
		{testResponse(200, responseDigest, "23"), `"@method"`, "", false},
		{testResponse(200, responseDigest, "23"), `"@method";req=1`, "", false},
		{testResponse(200, responseDigest, "23"), `"@method";req="a"`, "", false},
		{testResponse(200, responseDigest, "23"), `"@query-param";name="Pet";req`, "dog", true},
		{testResponse(200, responseDigest, "23"), `"@query-param";name="Pet"`, "", false},
		{testResponse(200, responseDigest, "23"), `"host";req`, "example.com", true},
		{testResponse(200, responseDigest, "23"), `"host"`, "", false},
	}
	for _, c := range cases {
		all, fault := parseInputs([]string{"a=(" + c.component + ")"})
		if fault != nil {
			t.Errorf("%s cannot be read", c.component)
			continue
		}
		base, fault := appendBase(nil, c.m, all[0].items, all[0].text)
		if (fault == nil) != c.good {
			t.Errorf("%s: %q, %+v", c.component, base, fault)
			continue
		}
		want := c.component + ": " + c.want + "\n" + `"@signature-params": (` + c.component + ")"
		if c.good && string(base) != want {
			t.Errorf("%s:\n%q, want\n%q", c.component, base, want)
		}
	}
}
