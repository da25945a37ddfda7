package httpsig

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// cavageKey is the public key of draft-cavage-http-signatures-12 appendix C. It
// has 1024 bits, so NewKey does not admit it.
const cavageKey = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDCFENGw33yGihy92pDjZQhl0C3
6rPJj+CvfSC8+q28hxA161QFNUd13wuCTUcq0Qd2qsBe/2hFyc2DCJJg0h1L78+6
Z4UMR7EOcpfdUE9Hf3m/hs+FUR45uBJeDK1HSFHD8bHKD6kv8FPGfJTotc+2xjJw
oYi+1hqp1fIekaxsyQIDAQAB
-----END PUBLIC KEY-----`

var cavageNow = time.Date(2014, 1, 5, 21, 31, 40, 0, time.UTC)

// cavageRequest is the request of appendix C.
func cavageRequest() *Message {
	return &Message{
		Method: "POST", Proto: "HTTP/1.1", Scheme: "https", Authority: "example.com", Path: "/foo", Query: "param=value&pet=dog", HasQuery: true,
		HasContent: true,
		Header: http.Header{
			"Date":           {"Sun, 05 Jan 2014 21:31:40 GMT"},
			"Content-Type":   {"application/json"},
			"Digest":         {"SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="},
			"Content-Length": {"18"},
		},
	}
}

func TestPublishedCavageSignaturesVerify(t *testing.T) {
	block, _ := pem.Decode([]byte(cavageKey))
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKey("Test", "rsa-v1_5-sha256", []byte(cavageKey)); err == nil {
		t.Error("a key of 1024 bits is admitted")
	}
	for _, c := range []struct{ name, params, base string }{
		{
			"C.1 default", `keyId="Test",algorithm="rsa-sha256",signature="SjWJWbWN7i0wzBvtPl8rbASWz5xQW6mcJmn+ibttBqtifLN7Sazz6m79cNfwwb8DMJ5cou1s7uEGKKCs+FLEEaDV5lp7q25WqS+lavg7T8hc0GppauB6hbgEKTwblDHYGEtbGmtdHgVCk9SuS13F0hZ8FD0k/5OxEPXe5WozsbM="`,
			"date: Sun, 05 Jan 2014 21:31:40 GMT",
		},
		{
			"C.2 basic", `keyId="Test",algorithm="rsa-sha256",headers="(request-target) host date",signature="qdx+H7PHHDZgy4y/Ahn9Tny9V3GP6YgBPyUXMmoxWtLbHpUnXS2mg2+SbrQDMCJypxBLSPQR2aAjn7ndmw2iicw3HMbe8VfEdKFYRqzic+efkb3nndiv/x1xSHDJWeSWkx3ButlYSuBskLu6kd9Fswtemr3lgdDEmn04swr2Os0="`,
			"(request-target): post /foo?param=value&pet=dog\nhost: example.com\ndate: Sun, 05 Jan 2014 21:31:40 GMT",
		},
		{
			"C.3 all headers", `keyId="Test",algorithm="rsa-sha256",headers="(request-target) host date content-type digest content-length",signature="vSdrb+dS3EceC9bcwHSo4MlyKS59iFIrhgYkz8+oVLEEzmYZZvRs8rgOp+63LEM3v+MFHB32NfpB2bEKBIvB1q52LaEUHFv120V01IL+TAD48XaERZFukWgHoBTLMhYS2Gb51gWxpeIq8knRmPnYePbF5MOkR0Zkly4zKH7s1dE="`,
			"(request-target): post /foo?param=value&pet=dog\nhost: example.com\ndate: Sun, 05 Jan 2014 21:31:40 GMT\ncontent-type: application/json\ndigest: SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=\ncontent-length: 18",
		},
	} {
		p, ok := parseCavage(c.params, false)
		if !ok {
			t.Fatalf("%s cannot be read", c.name)
		}
		if p.headers == nil {
			p.headers = []string{"date"}
		}
		base, fault := cavageBase(cavageRequest(), &p, false)
		if fault != nil || string(base) != c.base {
			t.Errorf("%s: %q, %v", c.name, base, fault)
		}
		sum := sha256.Sum256(base)
		if err := rsa.VerifyPKCS1v15(pub.(*rsa.PublicKey), crypto.SHA256, sum[:], p.signature); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func mac(text string) string {
	m := hmac.New(sha256.New, sharedSecret())
	m.Write([]byte(text))
	return base64Std(m.Sum(nil))
}

func hmacKeys(tb testing.TB) keyMap {
	return keyMap{
		"alice": mustKey(tb, "alice", "hmac-sha256", sharedSecret()),
		"rsa":   mustKey(tb, "rsa", "rsa-v1_5-sha256", []byte(testKeyRSAPublic)),
		"ecdsa": mustKey(tb, "ecdsa", "ecdsa-p256-sha256", []byte(testKeyP256Public)),
	}
}

func window(headers ...string) *Cavage {
	return &Cavage{Headers: headers, MaxAge: 5 * time.Minute, Leeway: 10 * time.Second}
}

// The texts as kong/plugins/hmac-auth/access.lua and apisix/plugins/hmac-auth.lua
// put them together, spelled out here.
func TestDialectsOfGatewaysVerify(t *testing.T) {
	const (
		date    = "date: Sun, 05 Jan 2014 21:31:40 GMT"
		digest  = "digest: SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="
		hmacAlg = `algorithm="hmac-sha256"`
	)
	for name, c := range map[string]struct {
		authorization, text string
		policy              *Cavage
	}{
		"Kong":                {`hmac username="alice", ` + hmacAlg + `, headers="date request-line digest"`, date + "\nPOST /foo?param=value&pet=dog HTTP/1.1\n" + digest, window("date", "(request-target)")},
		"Kong, host first":    {`hmac username="alice", ` + hmacAlg + `, headers="host date request-line digest"`, "host: example.com\n" + date + "\nPOST /foo?param=value&pet=dog HTTP/1.1\n" + digest, window()},
		"Kong with target":    {`Hmac username="alice",` + hmacAlg + `,headers="@request-target host date digest"`, "@request-target: post /foo?param=value&pet=dog\nhost: example.com\n" + date + "\n" + digest, window()},
		"APISIX":              {`Signature keyId="alice",` + hmacAlg + `,headers="@request-target date digest"`, "alice\nPOST /foo?param=value&pet=dog\n" + date + "\n" + digest + "\n", window("(request-target)", "date")},
		"APISIX, other order": {`Signature keyId="alice",` + hmacAlg + `,headers="date host @request-target digest"`, "alice\n" + date + "\nhost: example.com\nPOST /foo?param=value&pet=dog\n" + digest + "\n", window()},
		"draft":               {`Signature keyId="alice",` + hmacAlg + `,headers="(request-target) host date digest"`, "(request-target): post /foo?param=value&pet=dog\nhost: example.com\n" + date + "\n" + digest, window()},
		"draft, hs2019":       {`signature headers="(request-target) (created) (expires) host digest" , created=1388957500,expires=1388957510,algorithm="hs2019",keyId="alice"`, "(request-target): post /foo?param=value&pet=dog\n(created): 1388957500\n(expires): 1388957510\nhost: example.com\n" + digest, window()},
	} {
		m := cavageRequest()
		m.Header["Authorization"] = []string{c.authorization + `,signature="` + mac(c.text) + `"`}
		r, err := c.policy.Verify(m, hmacKeys(t), cavageNow)
		if err != nil {
			t.Errorf("%s: %s", name, err.(*Error).Reason)
			continue
		}
		if r.Key.ID != "alice" || !r.Created.Equal(cavageNow) || !r.Until.Equal(cavageNow.Add(310*time.Second)) ||
			!r.Digest.Check([]byte(`{"hello": "world"}`)) || !r.Covers("digest") || r.Covers("content-type") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// signedCavage is a request as SignCavage signs it.
func signedCavage(tb testing.TB, alg string) (*Message, keyMap) {
	tb.Helper()
	m := cavageRequest()
	keys := keyMap{}
	for _, p := range pairs {
		if p.alg != alg {
			continue
		}
		keys["alice"] = mustKey(tb, "alice", alg, p.public)
		value, err := mustSigner(tb, "alice", alg, p.private).SignCavage(m, []string{"(request-target)", "host", "date", "digest", "content-type"})
		if err != nil {
			tb.Fatal(err)
		}
		m.Header["Authorization"] = []string{value}
	}
	return m, keys
}

func expectCavage(t *testing.T, m *Message, c *Cavage, keys Keys, now time.Time, class error, reason string) {
	t.Helper()
	r, err := c.Verify(m, keys, now)
	var e *Error
	if err == nil {
		t.Errorf("accepted: %+v", r)
	} else if !errors.As(err, &e) || !errors.Is(err, class) || !strings.Contains(e.Reason, reason) {
		t.Errorf("%v, since %q; want %v, %q", err, e.Reason, class, reason)
	}
}

func TestSpoiledCavageSignaturesAreRefused(t *testing.T) {
	swap := func(from, to string) func(*Message) {
		return func(m *Message) {
			v := m.Header["Authorization"][0]
			if strings.Count(v, from) != 1 {
				panic(from + " is not once in " + v)
			}
			m.Header["Authorization"][0] = strings.Replace(v, from, to, 1)
		}
	}
	for name, c := range map[string]struct {
		spoil  func(m *Message)
		class  error
		reason string
	}{
		"method":               {func(m *Message) { m.Method = "PUT" }, ErrRefused, spoiled},
		"method in lower case": {func(m *Message) { m.Method = "post" }, ErrRefused, "another request"},
		"path":                 {func(m *Message) { m.Path = "/Foo" }, ErrRefused, spoiled},
		"query":                {func(m *Message) { m.Query = "pet=dog&param=value" }, ErrRefused, spoiled},
		"query left out":       {func(m *Message) { m.Query, m.HasQuery = "", false }, ErrRefused, spoiled},
		"query left empty":     {func(m *Message) { m.Query = "" }, ErrRefused, spoiled},
		"host":                 {func(m *Message) { m.Authority = "example.org" }, ErrRefused, spoiled},
		"line feed in path":    {func(m *Message) { m.Path = "/foo\nhost: a" }, ErrRefused, "another request"},
		"date":                 {func(m *Message) { m.Header.Set("Date", "Sun, 05 Jan 2014 21:31:41 GMT") }, ErrRefused, spoiled},
		"date twice":           {func(m *Message) { m.Header.Add("Date", "Sun, 05 Jan 2014 21:31:41 GMT") }, ErrMalformed, "date"},
		"no date":              {func(m *Message) { m.Header.Del("Date") }, ErrMalformed, "date"},
		"date in other form":   {func(m *Message) { m.Header.Set("Date", "2014-01-05T21:31:40Z") }, ErrMalformed, "date"},
		"digest":               {func(m *Message) { m.Header.Set("Digest", "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=") }, ErrRefused, spoiled},
		"field":                {func(m *Message) { m.Header.Set("Content-Type", "a") }, ErrRefused, spoiled},
		"field twice":          {func(m *Message) { m.Header.Add("Content-Type", "a") }, ErrRefused, spoiled},
		"field left out":       {func(m *Message) { m.Header.Del("Content-Type") }, ErrRefused, "not there"},
		"line feed in a field": {func(m *Message) { m.Header.Set("Content-Type", "a\nb: c") }, ErrRefused, "control characters"},
		"no Authorization":     {func(m *Message) { m.Header.Del("Authorization") }, ErrMissing, ""},
		"another scheme":       {func(m *Message) { m.Header.Set("Authorization", "Bearer x") }, ErrMissing, ""},
		"Authorization twice":  {func(m *Message) { m.Header.Add("Authorization", "Bearer x") }, ErrMalformed, "more than one"},
		"unknown key":          {swap(`keyId="alice"`, `keyId="bob"`), ErrRefused, "not known"},
		"keyId empty":          {swap(`keyId="alice"`, `keyId=""`), ErrMalformed, "parameters"},
		"keyId without quotes": {swap(`keyId="alice"`, `keyId=alice`), ErrMalformed, "parameters"},
		"keyId twice":          {swap(`keyId="alice"`, `keyId="alice",keyId="bob"`), ErrMalformed, "parameters"},
		"no keyId":             {swap(`keyId="alice",`, ``), ErrMalformed, "parameters"},
		"username of Kong":     {swap(`keyId=`, `username=`), ErrMalformed, "parameters"},
		"a backslash":          {swap(`keyId="alice"`, `keyId="al\ice"`), ErrMalformed, "parameters"},
		"unknown parameter":    {swap(`keyId="alice"`, `keyId="alice",opaque="x"`), ErrMalformed, "parameters"},
		"hmac-sha1":            {swap(`"hmac-sha256"`, `"hmac-sha1"`), ErrRefused, "algorithm"},
		"rsa-sha256":           {swap(`"hmac-sha256"`, `"rsa-sha256"`), ErrRefused, "algorithm"},
		"no such algorithm":    {swap(`"hmac-sha256"`, `"none"`), ErrRefused, "algorithm"},
		"headers dropped":      {swap(` content-type"`, `"`), ErrRefused, spoiled},
		"headers reordered":    {swap(`host date`, `date host`), ErrRefused, spoiled},
		"headers in capitals":  {swap(`content-type"`, `Content-Type"`), ErrMalformed, "cannot be"},
		"headers twice":        {swap(`content-type"`, `date"`), ErrRefused, "twice"},
		"headers empty":        {swap(`"(request-target) host date digest content-type"`, `""`), ErrRefused, "not covered"},
		"no headers":           {swap(`headers="(request-target) host date digest content-type",`, ``), ErrRefused, "not covered"},
		"no target":            {swap(`(request-target) `, ``), ErrRefused, "not covered"},
		"no host":              {swap(`host `, ``), ErrRefused, "not covered"},
		"no date covered":      {swap(`date `, ``), ErrRefused, "not covered"},
		"no digest":            {swap(`digest `, ``), ErrRefused, "digest"},
		"a space more":         {swap(`host date`, `host  date`), ErrMalformed, "cannot be"},
		"another dialect":      {swap(`(request-target)`, `@request-target`), ErrRefused, spoiled},
		// Whatever a field of that name holds, it is not the target.
		"request-line": {func(m *Message) {
			m.Header.Set("Request-Line", "x")
			swap(`(request-target)`, `request-line`)(m)
		}, ErrRefused, "not covered"},
		"(created) not there":      {swap(` date`, ` (created)`), ErrMalformed, "not there"},
		"(created) with old names": {func(m *Message) { swap(` date`, ` (created)`)(m); swap(`keyId`, `created=1388957500,keyId`)(m) }, ErrMalformed, "cannot be"},
		"created in quotes":        {swap(`keyId`, `created="1388957500",keyId`), ErrMalformed, "parameters"},
		"created with a zero":      {swap(`keyId`, `created=01388957500,keyId`), ErrMalformed, "parameters"},
		"created with a point":     {swap(`keyId`, `created=1388957500.0,keyId`), ErrMalformed, "parameters"},
		"expired":                  {swap(`keyId`, `expires=1388957490,keyId`), ErrRefused, "expired"},
		"(expires) not there":      {swap(`content-type"`, `(expires)"`), ErrMalformed, "cannot be"},
		"a comma more":             {swap(`keyId`, `,keyId`), ErrMalformed, "parameters"},
		"a comma less":             {swap(`",headers`, `" headers`), ErrMalformed, "parameters"},
		"a name alone":             {swap(`keyId`, `x,keyId`), ErrMalformed, "parameters"},
		"no quote in the end":      {func(m *Message) { v := m.Header["Authorization"]; v[0] = v[0][:len(v[0])-1] }, ErrMalformed, "parameters"},
		"signature without pad":    {func(m *Message) { v := m.Header["Authorization"]; v[0] = strings.TrimSuffix(v[0], `="`) + `"` }, ErrMalformed, "parameters"},
		"signature cut":            {func(m *Message) { v := m.Header["Authorization"]; v[0] = v[0][:len(v[0])-5] + `"` }, ErrRefused, spoiled},
		"signature empty": {func(m *Message) {
			v := m.Header["Authorization"]
			v[0] = v[0][:strings.Index(v[0], `signature="`)+11] + `"`
		}, ErrRefused, spoiled},
		"too long":         {func(m *Message) { m.Header["Authorization"][0] += strings.Repeat(" ", maxField) }, ErrMalformed, "parameters"},
		"in Signature too": {func(m *Message) { m.Header.Set("Signature", bare(m)) }, ErrMalformed, "and one in"},
		"in Signature twice": {func(m *Message) {
			m.Header["Signature"] = []string{bare(m), bare(m)}
			m.Header.Del("Authorization")
		}, ErrMalformed, "more than one"},
		"in Signature with a scheme": {func(m *Message) {
			m.Header["Signature"] = m.Header["Authorization"]
			m.Header.Del("Authorization")
		}, ErrMissing, ""},
		"in Signature beside Signature-Input": {func(m *Message) {
			m.Header.Set("Signature", bare(m))
			m.Header.Set("Signature-Input", "a=()")
			m.Header.Del("Authorization")
		}, ErrMissing, ""},
		"in Signature with another host": {func(m *Message) {
			m.Header.Set("Signature", bare(m))
			m.Header.Del("Authorization")
			m.Authority = "example.org"
		}, ErrRefused, spoiled},
	} {
		t.Run(name, func(t *testing.T) {
			m, keys := signedCavage(t, "hmac-sha256")
			if _, err := window().Verify(m, keys, cavageNow); err != nil {
				t.Fatal(err.(*Error).Reason)
			}
			c.spoil(m)
			expectCavage(t, m, window(), keys, cavageNow, c.class, c.reason)
		})
	}
}

// bare is the signature as the field Signature has it.
func bare(m *Message) string { return strings.TrimPrefix(m.Header["Authorization"][0], "Signature ") }

// TestSignatureFieldOfActivityPubVerifies: without a scheme and with a key id
// that is a URL (draft section 4).
func TestSignatureFieldOfActivityPubVerifies(t *testing.T) {
	const actor = "https://social.example/users/alice#main-key"
	for _, name := range []string{"rsa-sha256", "hs2019"} {
		m := cavageRequest()
		m.Header.Set("Digest", LegacyDigest([]byte(`{"hello": "world"}`)))
		signer := mustSigner(t, actor, "rsa-v1_5-sha256", []byte(testKeyRSAPrivate))
		value, err := signer.SignCavage(m, []string{"(request-target)", "host", "date", "digest"})
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Set("Signature", strings.Replace(strings.TrimPrefix(value, "Signature "), "rsa-sha256", name, 1))
		keys := keyMap{actor: mustKey(t, actor, "rsa-v1_5-sha256", []byte(testKeyRSAPublic))}
		r, err := window().Verify(m, keys, cavageNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err.(*Error).Reason)
		}
		if r.Field != "Signature" || r.Key.ID != actor || r.Digest == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	m := cavageRequest()
	m.Header.Set("Signature", `keyId="a",signature="AAAA"`)
	policy, err := NewPolicy(Options{MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, m, policy, keyMap{}, cavageNow, ErrMalformed, "the option cavage")
}

func TestCavageTimes(t *testing.T) {
	m, keys := signedCavage(t, "hmac-sha256")
	for seconds, reason := range map[int]string{0: "", -10: "", -11: "future", 309: "", 310: "too long ago"} {
		now := cavageNow.Add(time.Duration(seconds) * time.Second)
		if reason != "" {
			expectCavage(t, m, window(), keys, now, ErrRefused, reason)
		} else if _, err := window().Verify(m, keys, now); err != nil {
			t.Errorf("%d: %s", seconds, err.(*Error).Reason)
		}
	}
	// A second date, fresh and not covered, does not help the covered one.
	m.Header.Set("X-Date", "Sun, 05 Jan 2014 22:31:40 GMT")
	expectCavage(t, m, window(), keys, cavageNow.Add(time.Hour), ErrRefused, "too long ago")
	// Nor one that is covered.
	text := "x-date: Sun, 05 Jan 2014 22:31:40 GMT\nPOST /foo?param=value&pet=dog HTTP/1.1\nhost: example.com\ndigest: " + m.Header.Get("Digest") + "\ndate: " + m.Header.Get("Date")
	m.Header["Authorization"] = []string{`hmac username="alice",algorithm="hmac-sha256",headers="x-date request-line host digest date",signature="` + mac(text) + `"`}
	expectCavage(t, m, window(), keys, cavageNow.Add(time.Hour), ErrRefused, "too long ago")
	expectCavage(t, m, window(), keys, cavageNow, ErrRefused, "future")
}

func TestCavageAlgorithms(t *testing.T) {
	for _, alg := range []string{"hmac-sha256", "rsa-v1_5-sha256", "rsa-pss-sha512", "ed25519"} {
		m, keys := signedCavage(t, alg)
		if _, err := window().Verify(m, keys, cavageNow); err != nil {
			t.Errorf("%s: %s", alg, err.(*Error).Reason)
		}
		v := m.Header["Authorization"][0]
		for _, name := range []string{`"hs2019"`, ``} {
			field := `algorithm=` + name + `,`
			if name == "" {
				field = ""
			}
			m.Header["Authorization"][0] = regexp.MustCompile(`algorithm="[^"]*",`).ReplaceAllString(v, field)
			if _, err := window().Verify(m, keys, cavageNow); err != nil {
				t.Errorf("%s as %q: %s", alg, name, err.(*Error).Reason)
			}
		}
		// What the message says chooses nothing.
		for _, name := range []string{"hmac-sha256", "rsa-sha256", "rsa-pss-sha512", "ed25519", "ecdsa-sha256", "rsa-v1_5-sha256"} {
			m.Header["Authorization"][0] = regexp.MustCompile(`algorithm="[^"]*"`).ReplaceAllString(v, `algorithm="`+name+`"`)
			good := name == alg && name != "rsa-v1_5-sha256" || alg == "rsa-v1_5-sha256" && name == "rsa-sha256"
			if _, err := window().Verify(m, keys, cavageNow); (err == nil) != good {
				t.Errorf("%s as %s: %v", alg, name, err)
			}
		}
	}
	for _, p := range pairs {
		if !strings.HasPrefix(p.alg, "ecdsa") {
			continue
		}
		if _, err := mustSigner(t, "k", p.alg, p.private).SignCavage(cavageRequest(), []string{"date"}); err == nil {
			t.Errorf("signed with %s", p.alg)
		}
		m, _ := signedCavage(t, "hmac-sha256")
		m.Header["Authorization"][0] = strings.NewReplacer(`"alice"`, `"ecdsa"`, `"hmac-sha256"`, `"hs2019"`).Replace(m.Header["Authorization"][0])
		expectCavage(t, m, window(), hmacKeys(t), cavageNow, ErrRefused, "algorithm")
	}
}

func TestSignCavageRefuses(t *testing.T) {
	s := mustSigner(t, "k", "hmac-sha256", sharedSecret())
	for _, headers := range [][]string{{"(created)"}, {"(expires)"}, {"x-missing"}, {"Date"}, {"date:"}, {""}, {"request-target"}} {
		if v, err := s.SignCavage(cavageRequest(), headers); err == nil {
			t.Errorf("%q: signed %s", headers, v)
		}
	}
	if _, err := mustSigner(t, `k"`, "hmac-sha256", sharedSecret()).SignCavage(cavageRequest(), []string{"date"}); err == nil {
		t.Error("signed with a quote in the key id")
	}
}

func TestCavagePoliciesThatAreRefused(t *testing.T) {
	for _, c := range []*Cavage{
		{}, {MaxAge: -1}, {MaxAge: 1, Leeway: -1}, window("Date"), window("date", "date"), window(""), window("(expires)"), window("request line"), window("@request-target"),
	} {
		if err := c.Check(); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
	if err := window("(request-target)", "date", "x-tenant").Check(); err != nil {
		t.Error(err)
	}
	// A time is needed whatever stands in the configuration.
	m := cavageRequest()
	m.HasContent = false
	m.Header["Authorization"] = []string{`Signature keyId="alice",headers="host",signature="` + mac("host: example.com") + `"`}
	expectCavage(t, m, window("host"), hmacKeys(t), cavageNow, ErrRefused, "no time")
}
