package credential

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// sourcesOf returns the sources that Check accepts.
func sourcesOf(t testing.TB, list ...Source) *Sources {
	t.Helper()
	for i := range list {
		if err := list[i].Check(); err != nil {
			t.Fatal(err)
		}
	}
	return NewSources("token", list)
}

func withAuthorization(values ...string) *http.Request {
	return &http.Request{Method: http.MethodGet, Header: http.Header{"Authorization": values}, URL: new(url.URL)}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func isTest(s string) bool { return strings.HasPrefix(s, "k_") }

func TestAPartOfBasicIsACredential(t *testing.T) {
	user, password := Source{Basic: BasicUser, Ours: isTest}, Source{Basic: BasicPassword, Ours: isTest}
	all := Source{Basic: BasicPassword}
	bearer := Source{Header: "Authorization", Scheme: Bearer, Ours: isTest}
	l := sourcesOf(t, user, password)
	several, unread := l.errSeveral.Detail, l.errUnread.Detail
	missing := ErrMissing.Detail
	for name, c := range map[string]struct {
		list []Source
		in   []string
		want string
	}{
		"user":                        {[]Source{user}, []string{"Basic " + b64("k_1:")}, "k_1"},
		"user, with some password":    {[]Source{user}, []string{"Basic " + b64("k_1:x")}, "k_1"},
		"password":                    {[]Source{password}, []string{"Basic " + b64("oauth2:k_1")}, "k_1"},
		"password, no user":           {[]Source{password}, []string{"basic " + b64(":k_1")}, "k_1"},
		"password with a colon":       {[]Source{password}, []string{"BASIC " + b64("a:k_1:2")}, "k_1:2"},
		"user of two ways":            {[]Source{user, password}, []string{"Basic " + b64("k_1:x")}, "k_1"},
		"password of two ways":        {[]Source{user, password}, []string{"Basic " + b64("x:k_1")}, "k_1"},
		"beside Bearer":               {[]Source{bearer, user}, []string{"Basic " + b64("k_1:")}, "k_1"},
		"Bearer":                      {[]Source{bearer, user}, []string{"Bearer k_1"}, "k_1"},
		"any password":                {[]Source{all}, []string{"Basic " + b64("a:b")}, "b"},
		"in the other part":           {[]Source{user}, []string{"Basic " + b64("x:k_1")}, missing},
		"in both":                     {[]Source{user}, []string{"Basic " + b64("k_1:k_2")}, several},
		"in both, of two ways":        {[]Source{user, password}, []string{"Basic " + b64("k_1:k_1")}, several},
		"two fields":                  {[]Source{user}, []string{"Basic " + b64("k_1:"), "Basic " + b64("k_1:")}, several},
		"two fields, one of Bearer":   {[]Source{user}, []string{"Bearer x", "Basic " + b64("k_1:")}, several},
		"somebody's password":         {[]Source{user, password}, []string{"Basic " + b64("alice:secret")}, missing},
		"no password":                 {[]Source{all}, []string{"Basic " + b64("alice:")}, missing},
		"nothing":                     {[]Source{all}, nil, missing},
		"another scheme":              {[]Source{all}, []string{"Basically x"}, missing},
		"nothing behind":              {[]Source{user}, []string{"Basic"}, unread},
		"no colon":                    {[]Source{user}, []string{"Basic " + b64("k_1")}, unread},
		"no padding":                  {[]Source{user}, []string{"Basic " + strings.TrimRight(b64("k_1:"+"x"), "=")}, unread},
		"spare bits":                  {[]Source{user}, []string{"Basic a18xOh=="}, unread},
		"URL-safe":                    {[]Source{all}, []string{"Basic " + base64.URLEncoding.EncodeToString([]byte("a:\u00bf\u00ff>"))}, unread},
		"not encoded":                 {[]Source{user}, []string{"Basic k_1:x"}, unread},
		"with a line break":           {[]Source{user}, []string{"Basic a18x\nOg=="}, unread},
		"with a space":                {[]Source{user}, []string{"Basic a18x Og=="}, unread},
		"a tab before":                {[]Source{user}, []string{"Basic\t" + b64("k_1:")}, unread},
		"a comma before":              {[]Source{user}, []string{"Basic," + b64("k_1:")}, unread},
		"another behind a comma":      {[]Source{user}, []string{"Basic " + b64("k_1:") + ", Bearer x"}, unread},
		"Latin-1":                     {[]Source{user}, []string{"Basic " + b64("k_\xe9:")}, unread},
		"NUL":                         {[]Source{user}, []string{"Basic " + b64("k_1:\x00")}, unread},
		"DEL":                         {[]Source{user}, []string{"Basic " + b64("k_1\x7f:")}, unread},
		"a line break inside":         {[]Source{user}, []string{"Basic " + b64("k_1\n:")}, unread},
		"two in one part":             {[]Source{user}, []string{"Basic " + b64("k_1,k_2:")}, unread},
		"a space in a part":           {[]Source{password}, []string{"Basic " + b64("a:k_1 k_2")}, unread},
		"UTF-8, not ours":             {[]Source{user}, []string{"Basic " + b64("Łukasz:hasło")}, missing},
		"where Bearer alone is asked": {[]Source{bearer}, []string{"Basic " + b64("k_1:")}, missing},
	} {
		l := sourcesOf(t, c.list...)
		r := withAuthorization(c.in...)
		got, err := l.Read(r)
		if err != nil {
			got = err.(*Error).Detail
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		if n := len(l.Places(r)); (n > 0) != (c.want != missing) {
			t.Errorf("%s: %d places", name, n)
		}
		known := slices.ContainsFunc(l.Places(r), func(p Place) bool { return p.Known })
		if known != (c.want != missing && c.list[0].Ours != nil) {
			t.Errorf("%s: recognized: %v", name, known)
		}
		l.Remove(r)
		if left := r.Header["Authorization"]; (len(left) > 0) != (c.want == missing && len(c.in) > 0) {
			t.Errorf("%s: %q is left", name, left)
		}
	}
}

func TestBasicIsAskedForWhereItIsRead(t *testing.T) {
	bearer, basic := Source{Header: "X-Key"}, Source{Basic: BasicUser}
	for want, list := range map[string][]Source{
		"Bearer": {bearer}, `Basic realm="r", charset="UTF-8"`: {basic}, `Bearer|Basic realm="r", charset="UTF-8"`: {bearer, basic},
	} {
		if got := strings.Join(sourcesOf(t, list...).Asks("Bearer", "r"), "|"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzBasic has the law of reading Basic: what is read is what net/http reads,
// has one spelling, and is gone when it has been removed.
func FuzzBasic(f *testing.F) {
	for _, s := range []string{"k_1:", ":k_1", "k_1:k_2", "a:b:c", "é:ü", "k_1", "k_\xff:", "k_1:\x00"} {
		f.Add("Basic " + b64(s))
		f.Add(s)
	}
	f.Add("basic  a18xOg==")
	f.Add("Basic a18xOh==")
	f.Fuzz(func(t *testing.T, value string) {
		for _, part := range []string{BasicUser, BasicPassword} {
			for _, ours := range []func(string) bool{nil, isTest} {
				l := sourcesOf(t, Source{Basic: part, Ours: ours})
				r := withAuthorization(value)
				raw, err := l.Read(r)
				if err != nil {
					continue
				}
				_, text, _ := strings.Cut(value, " ")
				text = strings.TrimLeft(text, " ")
				plain := withAuthorization("Basic " + text)
				user, password, ok := plain.BasicAuth()
				if !ok || part == BasicUser && raw != user || part == BasicPassword && raw != password || b64(user+":"+password) != text {
					t.Errorf("%q is read as %q", value, raw)
				}
				if ours != nil && (!isTest(raw) || isTest(user) && isTest(password)) {
					t.Errorf("%q of %q is taken for ours", raw, value)
				}
				l.Remove(r)
				if _, _, ok := r.BasicAuth(); ok {
					t.Errorf("%q is still there", value)
				}
			}
		}
	})
}
