package httpsig

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestUnregisteredParametersAreSigned: they are part of the base (RFC 9421
// section 2.3), as of WIMSE's profile, and no reason to refuse.
func TestUnregisteredParametersAreSigned(t *testing.T) {
	const cover = `a=("@method" "@target-uri" "content-digest");created=1618884473;keyid="k"`
	for _, params := range []string{
		`;wimse-aud="https://api.example.com"`, `;x`, `;x=tok`, `;x=-7`, `;x=1.5`, `;x=?0`, `;x=:AAE=:`, `;x=@1659578233`, `;x=%"f%c3%bc"`,
	} {
		s := newScene(t, "ed25519", Options{}, Template{})
		s.seal(t, cover+params)
		if _, err := s.verify(); err != nil {
			t.Errorf("%s: %v", params, err.(*Error).Reason)
		}
		s.m.Header.Set("Signature-Input", cover)
		s.expect(t, ErrRefused, spoiled)
		s.m.Header.Set("Signature-Input", cover+params+`;y="z"`)
		s.expect(t, ErrRefused, spoiled)
	}
}

func TestParametersOfThePolicy(t *testing.T) {
	const cover = `a=("@method" "@target-uri" "content-digest");created=1618884473;keyid="k"`
	for _, c := range []struct {
		o      Options
		params string
		class  error
		reason string
	}{
		{Options{Prohibited: []string{"alg"}}, ``, nil, ""},
		{Options{Prohibited: []string{"alg"}}, `;alg="ed25519"`, ErrProhibited, "alg is prohibited"},
		{Options{Prohibited: []string{"x", "y"}}, `;y=?0`, ErrProhibited, "y is prohibited"},
		{Options{Parameters: []string{"expires", "aud=me"}}, `;expires=1618884500;aud="me"`, nil, ""},
		{Options{Parameters: []string{`aud="me"`}}, `;aud="me"`, nil, ""},
		{Options{Parameters: []string{"aud=me"}}, `;aud=me`, nil, ""},
		{Options{Parameters: []string{"n=5"}}, `;n=5`, nil, ""},
		{Options{Parameters: []string{"aud=me"}}, `;aud="Me"`, ErrRefused, "value"},
		{Options{Parameters: []string{"aud=me"}}, `;aud`, ErrRefused, "value"},
		{Options{Parameters: []string{"aud=me"}}, ``, ErrRefused, "aud is missing"},
		{Options{Parameters: []string{"expires"}}, ``, ErrRefused, "expires is missing"},
	} {
		s := newScene(t, "ed25519", c.o, Template{})
		s.seal(t, cover+c.params)
		if c.class != nil {
			s.expect(t, c.class, c.reason)
		} else if _, err := s.verify(); err != nil {
			t.Errorf("%+v, %s: %v", c.o, c.params, err.(*Error).Reason)
		}
	}
	for _, o := range []Options{
		{Parameters: []string{""}},
		{Parameters: []string{"A"}},
		{Parameters: []string{"a b"}},
		{Parameters: []string{"a", "a=b"}},
		{Prohibited: []string{"created"}},
		{Prohibited: []string{"keyid"}},
		{Prohibited: []string{"a", "a"}},
		{Prohibited: []string{"a=b"}},
		{Parameters: []string{"a"}, Prohibited: []string{"a"}},
		{RequireNonce: true, Prohibited: []string{"nonce"}},
		{Tag: "t", Prohibited: []string{"tag"}},
	} {
		o.MaxAge = time.Minute
		if _, err := NewPolicy(o); err == nil {
			t.Errorf("%+v: accepted", o)
		}
	}
}

// TestMemberWithTheLabelOfTheSignature: the label is the client's, so the
// configuration cannot name it (Web Bot Auth).
func TestMemberWithTheLabelOfTheSignature(t *testing.T) {
	const tail = `;created=1618884473;keyid="k"`
	for _, c := range []struct {
		in, field string
		class     error
		reason    string
	}{
		{`sig2=("@authority" "signature-agent";key="sig2")` + tail, `sig2="https://bot.test"`, nil, ""},
		{`a=("@authority" "signature-agent";key="a")` + tail, `b="https://other.test", a="https://bot.test"`, nil, ""},
		{`a=("@authority" "signature-agent";key="b")` + tail, `b="https://other.test", a="https://bot.test"`, ErrRefused, "configuration"},
		{`a=("@authority" "signature-agent")` + tail, `a="https://bot.test"`, ErrRefused, "configuration"},
		{`a=("@authority")` + tail, `a="https://bot.test"`, ErrRefused, "configuration"},
		{`a=("@authority" "signature-agent";key="a")` + tail, `b="https://bot.test"`, ErrRefused, "structured"},
		{`a=("@authority" "signature-agent";key)` + tail, `a="https://bot.test"`, ErrRefused, "configuration"},
	} {
		s := newScene(t, "ed25519", Options{Components: []string{"@authority", "signature-agent;key"}}, Template{})
		s.m.Header.Set("Signature-Agent", c.field)
		s.seal(t, c.in)
		if c.class != nil {
			s.expect(t, c.class, c.reason)
		} else if _, err := s.verify(); err != nil {
			t.Errorf("%s: %v", c.in, err.(*Error).Reason)
		}
	}
	p, err := NewPolicy(Options{MaxAge: time.Minute, Label: "x", Components: []string{"@authority", "signature-agent;key"}, Parameters: []string{"expires"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.AcceptSignature(); got != `x=("@authority" "signature-agent";key="x");created;keyid;expires` {
		t.Error(got)
	}
	for _, bad := range []string{"@method;key", "@query-param;name", "date;sf=?0", `x;key;bs`} {
		if _, err := NewPolicy(Options{MaxAge: time.Minute, Components: []string{bad}}); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

// TestContentDigestIsAskedForWithContent: a GET has none to be covered.
func TestContentDigestIsAskedForWithContent(t *testing.T) {
	o := Options{Components: []string{"@method", "@target-uri", "content-digest"}}
	s := newScene(t, "ed25519", o, Template{Components: []string{"@method", "@target-uri"}})
	s.expect(t, ErrRefused, "configuration")
	s.m.HasContent = false
	if _, err := s.verify(); err != nil {
		t.Error(err.(*Error).Reason)
	}
}

// FuzzSignatureParameters: whatever parameters a signature has, they are part of
// its base as they stand, and it verifies with these and no others.
func FuzzSignatureParameters(f *testing.F) {
	for _, seed := range []string{``, `;x`, `;x=1.5;y=?0`, `;x=:AAE=:`, `;x=@1`, `;x=%"%c3%bc"`, `;x="a\"b";z=tok`, `;alg="ed25519"`, `;expires=1618884500`} {
		f.Add(seed, seed+`;more`)
	}
	f.Fuzz(func(t *testing.T, params, others string) {
		const cover = `a=("@method" "@target-uri" "content-digest");created=1618884473;keyid="k"`
		s := newScene(t, "ed25519", Options{}, Template{})
		if _, err := parseInputs([]string{cover + params}); err != nil {
			return
		}
		s.seal(t, cover+params)
		if strings.Contains(params, ",") {
			return // it may have become several
		}
		_, err := s.verify()
		var e *Error
		if err != nil && (!errors.As(err, &e) || strings.HasPrefix(e.Reason, spoiled)) {
			t.Fatalf("%q: %v", params, e)
		}
		if others == params || strings.Contains(others, ",") || strings.TrimRight(others, " \t") == strings.TrimRight(params, " \t") {
			return
		}
		s.m.Header.Set("Signature-Input", cover+others)
		if _, err := s.verify(); err == nil {
			t.Fatalf("signed with %q, accepted with %q", params, others)
		}
	})
}
