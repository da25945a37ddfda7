package httpsig

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

// Nobody has been authenticated yet: what a few bytes can make the verifier
// read is bounded.
func TestWorkIsBounded(t *testing.T) {
	s := newScene(t, "ed25519", Options{}, Template{})
	s.m.Query = strings.Repeat("a=b&", 8<<10)
	dict := strings.Repeat("a=1,", 1<<10)
	var params, members string
	for i := range 50 {
		x := strings.Repeat("x", i+1)
		s.m.Query += x + "=1&"
		dict += x + "=1,"
		params += ` "@query-param";name="` + x + `"`
		members += ` "x-dict";key="` + x + `"`
	}
	s.m.Header["X-Dict"] = []string{strings.TrimSuffix(dict, ",")}
	for _, components := range []string{params, members} {
		s.seal(t, `sig1=("@method" "@target-uri" "content-digest"`+components+`);created=1618884473;keyid="k"`)
		s.expect(t, ErrRefused, "too long")
		s.seal(t, `sig1=("@method" "@target-uri" "content-digest"`+components[:strings.Index(components[2:], " ")+2]+`);created=1618884473;keyid="k"`)
		if _, err := s.verify(); err != nil {
			t.Error(err.(*Error).Reason)
		}
	}
}

// The texts of errors are told to clients and logged: nothing of the message
// is in them.
func TestErrorsHoldNothingOfTheMessage(t *testing.T) {
	s := newScene(t, "ed25519", Options{}, Template{})
	for _, in := range []string{
		`SECRET=()`, `secret=("SECRET");created=1618884473;keyid="SECRET"`, `secret=("@SECRET");created=1;keyid="k"`, `a=();SECRET`, `a=();secret="SECRET"`,
		`a=("@method" "@target-uri" "content-digest" "secret");created=1618884473;keyid="SECRET"`,
		`a=("@method" "@target-uri" "content-digest" "x-list";secret);created=1618884473;keyid="SECRET"`,
		`a=("@method" "@target-uri" "content-digest" "@query-param";name="SECRET");created=1618884473;keyid="SECRET"`,
	} {
		s.seal(t, in)
		_, err := s.verify()
		if err == nil {
			t.Errorf("%s: accepted", in)
			continue
		}
		if text := err.Error() + err.(*Error).Reason; strings.Contains(strings.ToLower(text), "secret") {
			t.Errorf("%s: %s", in, text)
		}
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	for _, o := range []Options{
		{},
		{MaxAge: -1},
		{MaxAge: time.Minute, Leeway: -1},
		{MaxAge: math.MaxInt64, Leeway: time.Second},
		{MaxAge: time.Minute, Leeway: math.MaxInt64},
		{MaxAge: 1, Label: "A"},
		{MaxAge: 1, Label: "a b"},
		{MaxAge: 1, Tag: "\n"},
		{MaxAge: 1, Components: []string{""}},
		{MaxAge: 1, Components: []string{"@foo"}},
		{MaxAge: 1, Components: []string{"Date"}},
		{MaxAge: 1, Components: []string{"@method", "@method"}},
		{MaxAge: 1, Components: []string{`"x";sf`, `x;sf`}},
		{MaxAge: 1, Components: []string{"@status"}},
		{MaxAge: 1, Components: []string{"date;tr"}},
		{MaxAge: 1, Components: []string{"date;req"}},
		{MaxAge: 1, Components: []string{`"";key="a"`}},
		{MaxAge: 1, Components: []string{"@query-param"}},
		{MaxAge: 1, Components: []string{"date date"}},
		{MaxAge: 1, Components: []string{"@method;sf"}},
	} {
		if p, err := NewPolicy(o); err == nil {
			t.Errorf("%+v: accepted as %+v", o, p)
		}
	}
	p, err := NewPolicy(Options{MaxAge: 1, Components: []string{"@method", `"x";sf`, `@query-param;name="id"`, "@path", "@query"}})
	if err != nil || p.CoversContent() {
		t.Error(p, err)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	for _, id := range []string{"", strings.Repeat("k", 257), "k\n", "ké"} {
		if _, err := NewKey(id, "ed25519", []byte(testKeyEd25519Public)); err == nil {
			t.Errorf("id %.20q accepted", id)
		}
	}
	for _, alg := range []string{"", "EdDSA", "ED25519", "hs2019", "none", "rsa-sha256", "hmac-sha512"} {
		if _, err := NewKey("k", alg, []byte(testKeyEd25519Public)); err == nil || alg != "" && !strings.Contains(err.Error(), alg) {
			t.Errorf("algorithm %q: %v", alg, err)
		}
	}
	if _, err := NewKey("k", "hmac-sha256", sharedSecret()[:31]); err == nil {
		t.Error("a secret of 31 bytes accepted")
	}
}

func TestSignersThatAreRefused(t *testing.T) {
	jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(sharedSecret()) + `"}`
	for _, c := range []struct{ id, alg, material string }{
		{"", "ed25519", testKeyEd25519Private},
		{"k", "x", testKeyEd25519Private},
		{"k", "ed25519", testKeyEd25519Public},
		{"k", "ed25519", ""},
		{"k", "ed25519", testKeyP256Private},
		{"k", "ecdsa-p384-sha384", testKeyP256Private},
		{"k", "rsa-pss-sha512", testKeyEd25519Private},
		{"k", "hmac-sha256", "short"},
		{"k", "hmac-sha256", testKeyEd25519Private},
		{"k", "hmac-sha256", jwk},
		{"k", "ed25519", strings.Replace(testKeyEd25519Private, "MC4CAQ", "MC4CAg", 1)},
	} {
		if _, err := NewSigner(c.id, c.alg, []byte(c.material)); err == nil {
			t.Errorf("%s with %.40q for %q: accepted", c.alg, c.material, c.id)
		} else if strings.Contains(err.Error(), "MC4C") {
			t.Errorf("the error holds the key: %v", err)
		}
	}
}

// What Verify would refuse whatever the policy, Sign does not make.
func TestSignRefusesWhatWouldBeRefused(t *testing.T) {
	s := mustSigner(t, "k", "ed25519", []byte(testKeyEd25519Private))
	for name, tpl := range map[string]Template{
		"no time": {}, "expires before": {Created: testNow, Expires: testNow}, "label": {Created: testNow, Label: "A"},
		"nonce": {Created: testNow, Nonce: "\n"}, "tag": {Created: testNow, Tag: "é"}, "field": {Created: testNow, Components: []string{"x-missing"}},
		"twice": {Created: testNow, Components: []string{"date", "date"}}, "many": {Created: testNow, Components: make([]string, 65)},
	} {
		if in, _, err := s.Sign(testRequest(), tpl); err == nil {
			t.Errorf("%s: signed %s", name, in)
		}
	}
	for component, has := range map[string]bool{"date": true, "x-missing": false, "@method": true, "@status": false, "": false, `@query-param;name="Pet"`: true, "date;sf": false} {
		if testRequest().Has(component) != has {
			t.Errorf("%q: %v", component, !has)
		}
	}
}

// RFC 9421 section 5: created and keyid have no value, tag has its own; alg and
// nonce would have values that the server chooses.
func TestAcceptSignature(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, `sig1=("@method" "@target-uri" "content-digest");created;keyid`},
		{Options{Label: "x", Tag: `a"b`, RequireNonce: true, Components: []string{"date", `@query-param;name="id"`}}, `x=("date" "@query-param";name="id");created;keyid;tag="a\"b"`},
	} {
		c.o.MaxAge = time.Minute
		p, err := NewPolicy(c.o)
		if err != nil {
			t.Fatal(err)
		}
		got := p.AcceptSignature()
		d, err := httpsfv.UnmarshalDictionary([]string{got})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := httpsfv.Marshal(d); err != nil || text != got || got != c.want {
			t.Errorf("%s, %v; want %s", got, err, c.want)
		}
	}
}
