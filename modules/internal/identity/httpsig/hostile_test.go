package httpsig

import (
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func expectRefusal(t *testing.T, m *Message, p *Policy, keys Keys, now time.Time, class error, reason string) {
	t.Helper()
	r, err := Verify(m, p, keys, now)
	var e *Error
	switch {
	case err == nil:
		t.Errorf("accepted: %+v", r)
	case !errors.As(err, &e) || !errors.Is(err, class):
		t.Errorf("%v, want %v", err, class)
	case !strings.Contains(e.Reason, reason):
		t.Errorf("refused since %q, want %q", e.Reason, reason)
	}
}

// scene is a request that is signed well, for the tests to spoil.
type scene struct {
	m      *Message
	policy *Policy
	keys   keyMap
	signer *Signer
	now    time.Time
}

var fullCover = []string{"@method", "@target-uri", "content-digest", "content-type", "x-list"}

// newScene signs a request with content by alg.
func newScene(tb testing.TB, alg string, o Options, tpl Template) *scene {
	tb.Helper()
	s := &scene{now: testNow, keys: keyMap{}}
	for _, p := range pairs {
		if p.alg == alg {
			s.keys["k"] = mustKey(tb, "k", alg, p.public)
			s.signer = mustSigner(tb, "k", alg, p.private)
		}
	}
	if o.MaxAge == 0 {
		o.MaxAge, o.Leeway = 5*time.Minute, 10*time.Second
	}
	var err error
	if s.policy, err = NewPolicy(o); err != nil {
		tb.Fatal(err)
	}
	s.m = testRequest()
	s.m.Header["X-List"] = []string{"a", "b"}
	if tpl.Components == nil {
		tpl.Components = fullCover
	}
	if tpl.Created.IsZero() {
		tpl.Created = testNow
	}
	in, sig, err := s.signer.Sign(s.m, tpl)
	if err != nil {
		tb.Fatal(err)
	}
	s.m.Header["Signature-Input"], s.m.Header["Signature"] = []string{in}, []string{sig}
	return s
}

// seal signs text of the members of Signature-Input as it stands.
func (s *scene) seal(tb testing.TB, inputs ...string) {
	tb.Helper()
	s.m.Header["Signature-Input"] = inputs
	delete(s.m.Header, "Signature")
	all, fault := parseInputs(inputs)
	if fault != nil {
		s.m.Header["Signature"] = []string{"sig1=:AAAA:"}
		return
	}
	for _, in := range all {
		base, fault := appendBase(nil, s.m, in.items, in.text)
		if fault != nil {
			base = []byte("none")
		}
		sig, err := s.signer.sign(base)
		if err != nil {
			tb.Fatal(err)
		}
		s.m.Header["Signature"] = append(s.m.Header["Signature"], in.label+"=:"+base64Std(sig)+":")
	}
}

func (s *scene) verify() (*Result, error) { return Verify(s.m, s.policy, s.keys, s.now) }

func (s *scene) expect(t *testing.T, class error, reason string) {
	t.Helper()
	expectRefusal(t, s.m, s.policy, s.keys, s.now, class, reason)
}

func TestSignedByEveryAlgorithmVerifies(t *testing.T) {
	for _, p := range pairs {
		for _, named := range []bool{false, true} {
			s := newScene(t, p.alg, Options{RequireNonce: true, Tag: "app", Label: "x"},
				Template{Algorithm: named, Nonce: `n"\`, Tag: "app", Label: "x", Expires: testNow.Add(time.Minute)})
			r, err := s.verify()
			if err != nil {
				t.Errorf("%s: %v", p.alg, err.(*Error).Reason)
				continue
			}
			if r.Key != s.keys["k"] || r.Label != "x" || r.Nonce != `n"\` || r.Tag != "app" || !r.Created.Equal(testNow) ||
				!r.Expires.Equal(testNow.Add(time.Minute)) || !r.Until.Equal(testNow.Add(70*time.Second)) ||
				!r.ContentDigest || !r.Covers("content-type") || r.Covers("date") || r.Covers("@authority") {
				t.Errorf("%s: %+v", p.alg, r)
			}
		}
	}
}

const spoiled = "the signature is not one"

// What an attacker can do to a signed message.
func TestSpoiledMessagesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(s *scene)
		class  error
		reason string
	}{
		"method":                   {func(s *scene) { s.m.Method = "PUT" }, ErrRefused, spoiled},
		"method in lower case":     {func(s *scene) { s.m.Method = "post" }, ErrRefused, spoiled},
		"scheme":                   {func(s *scene) { s.m.Scheme = "http" }, ErrRefused, spoiled},
		"authority":                {func(s *scene) { s.m.Authority = "example.org" }, ErrRefused, spoiled},
		"another port":             {func(s *scene) { s.m.Authority = "example.com:8443" }, ErrRefused, spoiled},
		"port of another scheme":   {func(s *scene) { s.m.Authority = "example.com:80" }, ErrRefused, spoiled},
		"path":                     {func(s *scene) { s.m.Path = "/foo/" }, ErrRefused, spoiled},
		"path with a slash twice":  {func(s *scene) { s.m.Path = "//foo" }, ErrRefused, spoiled},
		"path in upper case":       {func(s *scene) { s.m.Path = "/Foo" }, ErrRefused, spoiled},
		"path percent-encoded":     {func(s *scene) { s.m.Path = "/%66oo" }, ErrRefused, spoiled},
		"path with dots":           {func(s *scene) { s.m.Path = "/./foo" }, ErrRefused, spoiled},
		"query":                    {func(s *scene) { s.m.Query = "param=Value&Pet=cat" }, ErrRefused, spoiled},
		"query in another order":   {func(s *scene) { s.m.Query = "Pet=dog&param=Value" }, ErrRefused, spoiled},
		"query with more":          {func(s *scene) { s.m.Query += "&a" }, ErrRefused, spoiled},
		"query left out":           {func(s *scene) { s.m.Query, s.m.HasQuery = "", false }, ErrRefused, spoiled},
		"query left empty":         {func(s *scene) { s.m.Query = "" }, ErrRefused, spoiled},
		"field":                    {func(s *scene) { s.m.Header.Set("Content-Type", "text/plain") }, ErrRefused, spoiled},
		"field left out":           {func(s *scene) { s.m.Header.Del("Content-Type") }, ErrRefused, "not there"},
		"field without lines":      {func(s *scene) { s.m.Header["Content-Type"] = nil }, ErrRefused, "not there"},
		"field with more":          {func(s *scene) { s.m.Header.Add("Content-Type", "text/plain") }, ErrRefused, spoiled},
		"lines of a field swapped": {func(s *scene) { s.m.Header["X-List"] = []string{"b", "a"} }, ErrRefused, spoiled},
		"space in a field":         {func(s *scene) { s.m.Header["X-List"] = []string{"a,b"} }, ErrRefused, spoiled},
		"line feed in a field":     {func(s *scene) { s.m.Header["X-List"] = []string{"a\nb"} }, ErrRefused, "control characters"},
		"carriage return":          {func(s *scene) { s.m.Header["X-List"] = []string{"a\rb"} }, ErrRefused, "control characters"},
		"obs-fold":                 {func(s *scene) { s.m.Header["X-List"] = []string{"a,\r\n b"} }, ErrRefused, "control characters"},
		"zero byte":                {func(s *scene) { s.m.Header["X-List"] = []string{"a\x00b"} }, ErrRefused, "control characters"},
		"digest":                   {func(s *scene) { s.m.Header.Set("Content-Digest", responseDigest) }, ErrRefused, spoiled},
		"line feed in the path":    {func(s *scene) { s.m.Path = "/foo\n" }, ErrRefused, "control characters"},
		"another key":              {func(s *scene) { s.keys["k"] = rfcKeys(t)["test-key-ecc-p256"] }, ErrRefused, spoiled},
		"an unknown key":           {func(s *scene) { delete(s.keys, "k") }, ErrRefused, "not known"},
		"no Signature":             {func(s *scene) { s.m.Header.Del("Signature") }, ErrMalformed, "do not go together"},
		"no Signature-Input":       {func(s *scene) { s.m.Header.Del("Signature-Input") }, ErrMalformed, "do not go together"},
		"neither":                  {func(s *scene) { s.m.Header.Del("Signature"); s.m.Header.Del("Signature-Input") }, ErrMissing, "no signature"},
		"Signature twice":          {func(s *scene) { s.m.Header.Add("Signature", s.m.Header.Get("Signature")) }, ErrMalformed, "4.2"},
		"Signature-Input twice":    {func(s *scene) { s.m.Header.Add("Signature-Input", s.m.Header.Get("Signature-Input")) }, ErrMalformed, "label twice"},
		"another label":            {func(s *scene) { s.m.Header.Set("Signature", "sig2"+s.m.Header.Get("Signature")[4:]) }, ErrMalformed, "do not go together"},
		"empty fields":             {func(s *scene) { s.m.Header.Set("Signature", ""); s.m.Header.Set("Signature-Input", "") }, ErrMalformed, "4.1"},
		"an empty signature":       {func(s *scene) { s.m.Header.Set("Signature", "sig1=::") }, ErrRefused, spoiled},
		"a signature too long":     {func(s *scene) { s.m.Header.Set("Signature", "sig1=:"+strings.Repeat("AAAA", maxField/4)+":") }, ErrMalformed, "too long"},
		"a component dropped":      {swapInput(` "x-list"`, ``), ErrRefused, spoiled},
		"components reordered":     {swapInput(`"@method" "@target-uri"`, `"@target-uri" "@method"`), ErrRefused, spoiled},
		"a component more":         {swapInput(`"x-list"`, `"x-list" "date"`), ErrRefused, spoiled},
		"a component twice":        {swapInput(`"x-list"`, `"x-list" "x-list"`), ErrMalformed, "covered twice"},
		"twice in another order":   {swapInput(`"x-list"`, `"x-list";sf;key="a" "x-list";key="a";sf`), ErrMalformed, "covered twice"},
		"a component unknown":      {swapInput(`"x-list"`, `"@foo"`), ErrMalformed, "not known"},
		"a component without name": {swapInput(`"x-list"`, `"";key="a"`), ErrMalformed, "not a field name"},
		"a component of a trailer": {swapInput(`"x-list"`, `"x-list";tr`), ErrRefused, "trailers"},
		"a parameter unknown":      {swapInput(`"x-list"`, `"x-list";foo`), ErrMalformed, "cannot have"},
		"a component as sf":        {swapInput(`"x-list"`, `"x-list";sf`), ErrRefused, spoiled},
		"a component as bs":        {swapInput(`"x-list"`, `"x-list";bs`), ErrRefused, spoiled},
		"a component of a request": {swapInput(`"x-list"`, `"x-list";req`), ErrMalformed, "cannot have"},
		"@status of a request":     {swapInput(`"x-list"`, `"@status"`), ErrMalformed, "@status"},
		"parameters reordered":     {swapInput(`;created=1618884473;keyid="k"`, `;keyid="k";created=1618884473`), ErrRefused, spoiled},
		"created changed":          {swapInput(`created=1618884473`, `created=1618884474`), ErrRefused, spoiled},
		"created in quotes":        {swapInput(`created=1618884473`, `created="1618884473"`), ErrMalformed, "wrong type"},
		"created with a point":     {swapInput(`created=1618884473`, `created=1618884473.0`), ErrMalformed, "wrong type"},
		"created without a value":  {swapInput(`created=1618884473`, `created`), ErrMalformed, "wrong type"},
		"created left out":         {swapInput(`;created=1618884473`, ``), ErrRefused, "created is missing"},
		"created twice":            {swapInput(`;created=1618884473`, `;created=1618884473;created=1618884473`), ErrMalformed, "4.1"},
		"created below zero":       {swapInput(`created=1618884473`, `created=-1`), ErrRefused, "outside"},
		"created past all years":   {swapInput(`created=1618884473`, `created=999999999999999`), ErrRefused, "outside"},
		"keyid left out":           {swapInput(`;keyid="k"`, ``), ErrRefused, "keyid is missing"},
		"keyid empty":              {swapInput(`keyid="k"`, `keyid=""`), ErrRefused, "keyid is missing"},
		"keyid a token":            {swapInput(`keyid="k"`, `keyid=k`), ErrMalformed, "wrong type"},
		"keyid with bytes":         {swapInput(`keyid="k"`, `keyid=:aw==:`), ErrMalformed, "wrong type"},
		"a parameter more":         {swapInput(`keyid="k"`, `keyid="k";foo="bar"`), ErrRefused, spoiled}, // it is part of the base
		"a component as sf=?0":     {swapInput(`"x-list"`, `"x-list";sf=?0`), ErrMalformed, "cannot have"},
		"a nonce more":             {swapInput(`keyid="k"`, `keyid="k";nonce="n"`), ErrRefused, spoiled},
		"a nonce empty":            {swapInput(`keyid="k"`, `keyid="k";nonce=""`), ErrMalformed, "wrong type"},
		"a tag more":               {swapInput(`keyid="k"`, `keyid="k";tag="t"`), ErrRefused, spoiled},
		"alg of the key":           {swapInput(`keyid="k"`, `keyid="k";alg="ed25519"`), ErrRefused, spoiled},
		"alg of others":            {swapInput(`keyid="k"`, `keyid="k";alg="hmac-sha256"`), ErrRefused, "alg is not"},
		"alg in another case":      {swapInput(`keyid="k"`, `keyid="k";alg="Ed25519"`), ErrRefused, "alg is not"},
		"alg empty":                {swapInput(`keyid="k"`, `keyid="k";alg=""`), ErrMalformed, "wrong type"},
		"space in the list":        {swapInput(`"@method" `, `"@method"  `), ErrMalformed, "4.1"},
		"space after a semicolon":  {swapInput(`;keyid`, `; keyid`), ErrMalformed, "4.1"},
		"parameter in upper case":  {swapInput(`;keyid`, `;keyID`), ErrMalformed, "4.1"},
		"label in upper case":      {swapInput(`sig1`, `Sig1`), ErrMalformed, "4.1"},
		"field name in upper case": {swapInput(`"content-type"`, `"Content-Type"`), ErrMalformed, "lower case"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "ed25519", Options{}, Template{})
			if _, err := s.verify(); err != nil {
				t.Fatal(err)
			}
			c.spoil(s)
			s.expect(t, c.class, c.reason)
		})
	}
}

func swapInput(from, to string) func(*scene) {
	return func(s *scene) {
		in := s.m.Header["Signature-Input"][0]
		if strings.Count(in, from) != 1 {
			panic(from + " is not once in " + in)
		}
		s.m.Header["Signature-Input"][0] = strings.Replace(in, from, to, 1)
	}
}

// What may happen to a message on its way leaves the signature good.
func TestSafeTransformationsAreAccepted(t *testing.T) {
	for name, change := range map[string]func(m *Message){
		"authority in upper case": func(m *Message) { m.Authority = "EXAMPLE.com" },
		"default port":            func(m *Message) { m.Authority = "example.com:443" },
		"lines joined":            func(m *Message) { m.Header["X-List"] = []string{"a, b"} },
		"space round a field":     func(m *Message) { m.Header["X-List"] = []string{" a\t", "  b "} },
		"another field":           func(m *Message) { m.Header.Set("Date", "x") },
		"space round the fields": func(m *Message) {
			m.Header["Signature"][0], m.Header["Signature-Input"][0] = " "+m.Header["Signature"][0], m.Header["Signature-Input"][0]+"\t"
		},
	} {
		s := newScene(t, "ed25519", Options{}, Template{})
		before, err := s.verify()
		if err != nil {
			t.Fatal(err)
		}
		change(s.m)
		after, err := s.verify()
		if err != nil {
			t.Errorf("%s: %s", name, err.(*Error).Reason)
		} else if before.Fingerprint != after.Fingerprint {
			t.Errorf("%s: another fingerprint", name)
		}
	}
}

// RFC 9421 section 2.2.7: the value of @query is the same for an empty query
// and none. @target-uri and @request-target tell the two apart.
func TestEmptyQueryAgainstNone(t *testing.T) {
	for _, c := range []struct {
		cover []string
		good  bool
	}{
		{[]string{"@method", "@authority", "@path", "@query", "content-digest"}, true},
		{[]string{"@method", "@target-uri", "content-digest"}, false},
		{[]string{"@method", "@authority", "@request-target", "content-digest"}, false},
		{[]string{"@method", "@authority", "@path", "content-digest"}, false}, // nor is the query covered
	} {
		s := newScene(t, "ed25519", Options{}, Template{Components: c.cover})
		s.m.Query, s.m.HasQuery = "", false
		s.seal(t, s.m.Header["Signature-Input"][0])
		if _, err := s.verify(); err != nil {
			t.Fatal(err)
		}
		s.m.HasQuery = true
		if _, err := s.verify(); (err == nil) != c.good {
			t.Errorf("%q: %v", c.cover, err)
		}
	}
}

// %2F in a path is not a slash, whatever an upstream makes of it.
func TestEncodedSlashIsNoSlash(t *testing.T) {
	for _, cover := range [][]string{{"@method", "@target-uri", "content-digest"}, {"@method", "@authority", "@path", "@query", "content-digest"}} {
		s := newScene(t, "ed25519", Options{}, Template{Components: cover})
		s.m.Path = "/a%2Fb"
		s.seal(t, s.m.Header["Signature-Input"][0])
		if _, err := s.verify(); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/a/b", "/a%2fb"} {
			s.m.Path = path
			s.expect(t, ErrRefused, spoiled)
		}
	}
}

func TestWhatMustBeCovered(t *testing.T) {
	for _, c := range []struct {
		cover  []string
		reason string // empty: accepted
	}{
		{[]string{"@method", "@target-uri", "content-digest"}, ""},
		{[]string{"@method", "@authority", "@path", "@query", "content-digest"}, ""},
		{[]string{"@method", "@authority", "@request-target", "content-digest"}, ""},
		{[]string{"@target-uri", "content-digest"}, "@method"},
		{[]string{"@method", "@request-target", "content-digest"}, "authority"},
		{[]string{"@method", "host", "@request-target", "content-digest"}, "authority"},
		{[]string{"@method", "@authority", "content-digest"}, "path"},
		{[]string{"@method", "@authority", "@query", "content-digest"}, "path"},
		{[]string{"@method", "@authority", "@path", `@query-param;name="Pet"`, "content-digest"}, "query"},
		{[]string{"@method", "@target-uri"}, "content-digest"},
		{[]string{"@method", "@target-uri", "content-digest;sf"}, "content-digest"},
		{[]string{"@method", "@target-uri", `content-digest;key="sha-512"`}, "content-digest"},
		{[]string{"@method", "@target-uri", "content-digest;bs"}, "content-digest"},
		{[]string{}, "@method"},
	} {
		s := newScene(t, "ed25519", Options{}, Template{Components: c.cover})
		if c.reason != "" {
			s.expect(t, ErrRefused, c.reason)
		} else if _, err := s.verify(); err != nil {
			t.Errorf("%q: %v", c.cover, err)
		}
	}
	s := newScene(t, "ed25519", Options{Components: []string{"x-list", `"example";key="a"`}}, Template{})
	s.expect(t, ErrRefused, "of the configuration")
	s = newScene(t, "ed25519", Options{Components: []string{"x-list"}}, Template{Components: []string{"x-list"}})
	if r, err := s.verify(); err != nil || r.ContentDigest {
		t.Error(r, err)
	}
	s.m.Header["X-List"] = []string{"c"}
	s.expect(t, ErrRefused, spoiled)
}

func TestTimes(t *testing.T) {
	at := func(seconds int) time.Time { return testNow.Add(time.Duration(seconds) * time.Second) }
	for _, c := range []struct {
		expires int // after created; 0: none
		now     time.Time
		reason  string
	}{
		{0, at(0), ""},
		{0, at(-10), ""},
		{0, at(-10).Add(-1), "future"},
		{0, at(309), ""},
		{0, at(310).Add(-1), ""},
		{0, at(310), "too long ago"},
		{0, time.Unix(0, 0), "future"},
		{0, time.Unix(1<<40, 0), "too long ago"},
		{60, at(70).Add(-1), ""},
		{60, at(70), "expired"},
		{100000, at(310), "too long ago"},
	} {
		tpl := Template{}
		if c.expires != 0 {
			tpl.Expires = at(c.expires)
		}
		s := newScene(t, "ed25519", Options{}, tpl)
		s.now = c.now
		if c.reason != "" {
			s.expect(t, ErrRefused, c.reason)
			continue
		}
		r, err := s.verify()
		if err != nil {
			t.Errorf("%+v: %s", c, err.(*Error).Reason)
			continue
		}
		// Until is the very time from when on it is refused.
		s.now = r.Until.Add(-1)
		if _, err := s.verify(); err != nil {
			t.Errorf("%+v: refused before %v", c, r.Until)
		}
		s.now = r.Until
		s.expect(t, ErrRefused, "")
	}
	s := newScene(t, "ed25519", Options{}, Template{})
	for _, expires := range []string{"1618884473", "1618884472", "0"} {
		s.seal(t, `sig1=("@method" "@target-uri" "content-digest");created=1618884473;expires=`+expires+`;keyid="k"`)
		s.expect(t, ErrRefused, "expires is not after created")
	}
	s.seal(t, `sig1=("@method" "@target-uri" "content-digest");created=1618884473;expires="1618884479";keyid="k"`)
	s.expect(t, ErrMalformed, "wrong type")
}

func TestNonceTagAndLabel(t *testing.T) {
	s := newScene(t, "ed25519", Options{RequireNonce: true}, Template{})
	s.expect(t, ErrRefused, "nonce is missing")
	s = newScene(t, "ed25519", Options{Tag: "app"}, Template{})
	s.expect(t, ErrMissing, "label and tag")
	s = newScene(t, "ed25519", Options{Tag: "app"}, Template{Tag: "App"})
	s.expect(t, ErrMissing, "label and tag")
	s = newScene(t, "ed25519", Options{Label: "b"}, Template{Label: "a", Tag: "b"})
	s.expect(t, ErrMissing, "label and tag")

	// One identity: of two that the policy is about, none is taken.
	const cover = `("@method" "@target-uri" "content-digest");created=1618884473;keyid="k"`
	s = newScene(t, "ed25519", Options{}, Template{})
	s.seal(t, "a="+cover, "b="+cover)
	s.expect(t, ErrMalformed, "more than one")
	s = newScene(t, "ed25519", Options{Tag: "t"}, Template{})
	s.seal(t, "a="+cover+`;tag="t"`, "b="+cover+`;tag="t"`)
	s.expect(t, ErrMalformed, "more than one")
	s.seal(t, "a="+cover+`;tag="t"`, "b="+cover+`;tag="u"`, "c="+cover)
	if r, err := s.verify(); err != nil || r.Label != "a" {
		t.Error(r, err)
	}
	// The other signature must not stand in for the chosen one.
	s.m.Header["Signature"] = []string{"a=" + s.m.Header["Signature"][1][2:]}
	s.expect(t, ErrRefused, spoiled)
}

// Content that was changed does not agree with the digest that was signed.
func TestChangedContentIsRefused(t *testing.T) {
	s := newScene(t, "ed25519", Options{}, Template{})
	r, err := s.verify()
	if err != nil || !r.ContentDigest {
		t.Fatal(r, err)
	}
	d, err := ParseContentDigest(s.m.Header["Content-Digest"])
	if err != nil {
		t.Fatal(err)
	}
	content := `{"hello": "world"}`
	if got, err := io.ReadAll(d.Reader(io.NopCloser(strings.NewReader(content)))); err != nil || string(got) != content {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", content + " ", content[:17], strings.Replace(content, "w", "W", 1), content + content} {
		if got, err := io.ReadAll(d.Reader(io.NopCloser(strings.NewReader(bad)))); !errors.Is(err, ErrDigest) || len(got) >= len(bad) && bad != "" {
			t.Errorf("%q came as %q, %v", bad, got, err)
		}
	}
}
