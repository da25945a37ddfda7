package credential

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func offering(lines ...string) *http.Request {
	return &http.Request{
		Method: http.MethodGet, URL: new(url.URL),
		Header: http.Header{"Upgrade": {"websocket"}, socketField: lines},
	}
}

func kubernetes(token string) string {
	return KubernetesPrefix + base64.RawURLEncoding.EncodeToString([]byte(token))
}

func TestATokenAmongSubprotocolsIsTheCredential(t *testing.T) {
	l := sourcesOf(t, Source{WebSocket: DefaultSubprotocol})
	several, unread, missing := l.errSeveral.Detail, l.errUnread.Detail, ErrMissing.Detail
	for _, c := range []struct {
		in             []string
		want           string
		left, selected string
	}{
		{[]string{"bearer, a.b.c"}, "a.b.c", "", "bearer"},
		{[]string{"bearer,a.b.c"}, "a.b.c", "", "bearer"},
		{[]string{"Bearer, a.b.c"}, "a.b.c", "", "Bearer"},
		{[]string{"bearer", "a.b.c"}, "a.b.c", "", "bearer"},
		{[]string{"graphql-ws, bearer, a.b.c"}, "a.b.c", "graphql-ws", "bearer"},
		{[]string{"bearer, a.b.c, graphql-ws, v2"}, "a.b.c", "graphql-ws, v2", "bearer"},
		{[]string{"x, bearer , a.b.c\t, y", "z"}, "a.b.c", "x, y, z", "bearer"},
		{[]string{", bearer, a.b.c,, y,"}, "a.b.c", "y", "bearer"},
		{[]string{kubernetes("a.b.c") + ", v4.channel.k8s.io"}, "a.b.c", "v4.channel.k8s.io", ""},
		{[]string{"v4.channel.k8s.io, " + kubernetes("a.b.c")}, "a.b.c", "v4.channel.k8s.io", ""},
		{[]string{strings.ToUpper(KubernetesPrefix) + "YS5iLmM, v4.channel.k8s.io"}, "a.b.c", "v4.channel.k8s.io", ""},
		{[]string{"graphql-ws"}, missing, "graphql-ws", ""},
		{[]string{"graphql-ws", "bearers"}, missing, "graphql-ws|bearers", ""},
		{[]string{""}, missing, "", ""},
		{nil, missing, "", ""},

		{[]string{"bearer"}, unread, "", ""},
		{[]string{"x, bearer"}, unread, "", ""},
		{[]string{"bearer,"}, unread, "", ""},
		{[]string{"bearer, , a.b.c"}, unread, "", ""},
		{[]string{"bearer a.b.c"}, unread, "", ""},
		{[]string{"bearer=a.b.c"}, unread, "", ""},
		{[]string{"bearer, a b"}, unread, "", ""},
		{[]string{`bearer, "a.b.c"`}, unread, "", ""},
		{[]string{"bearer, a;b"}, unread, "", ""},
		{[]string{"bearer, a.b.c, x y"}, unread, "", ""},
		{[]string{"bearer, a.b.c, bearer"}, unread, "", ""},
		{[]string{"bearer, a.b.c, bearer, d.e.f"}, several, "", ""},
		{[]string{"bearer, a.b.c, BEARER, a.b.c"}, several, "", ""},
		{[]string{"bearer, a.b.c, " + kubernetes("a.b.c")}, several, "", ""},
		{[]string{kubernetes("a") + "," + kubernetes("b") + ", v4"}, several, "v4", ""},
		{[]string{kubernetes("a.b.c")}, unread, "", ""},
		{[]string{KubernetesPrefix + ", v4"}, unread, "", ""},
		{[]string{KubernetesPrefix + "YQ==, v4"}, unread, "", ""},
		{[]string{KubernetesPrefix + "YR, v4"}, unread, "", ""},
		{[]string{kubernetes("\xff") + ", v4"}, unread, "", ""},
		{[]string{kubernetes("a b") + ", v4"}, unread, "v4", ""},
		{[]string{kubernetes("a\n") + ", v4"}, unread, "v4", ""},
		{[]string{kubernetes("é") + ", v4"}, unread, "v4", ""},
	} {
		r := offering(c.in...)
		got, err := l.Read(r)
		if err != nil {
			got = err.(*Error).Detail
		}
		if selected := l.Selected(r); got != c.want || selected != c.selected {
			t.Errorf("%q: got %s, selected %q, want %s, %q", c.in, got, selected, c.want, c.selected)
		}
		l.RemoveOffered(r)
		if left := strings.Join(r.Header[socketField], "|"); left != c.left {
			t.Errorf("%q: %q is left, want %q", c.in, left, c.left)
		}
	}
	// What a server would take for the field makes it unreadable.
	r := offering("bearer, a.b.c")
	r.Header["Sec_websocket_protocol"] = []string{"bearer, d.e.f"}
	if _, err := l.Read(r); err != l.errUnread {
		t.Errorf("got %v", err)
	}
	// A token here and one elsewhere are two.
	both := sourcesOf(t, Source{WebSocket: "bearer"}, Source{Query: "token"})
	r = offering("bearer, a.b.c")
	r.URL.RawQuery = "token=x"
	if _, err := both.Read(r); err != both.errSeveral || len(both.Places(r)) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestTheNameOfTheSubprotocolCanBeAnother(t *testing.T) {
	l := sourcesOf(t, Source{WebSocket: "access_token"})
	r := offering("access_token, x, bearer, y")
	if raw, err := l.Read(r); raw != "x" || err != nil {
		t.Errorf("got %s, %v", raw, err)
	}
	l.Remove(r)
	if left := r.Header.Get(socketField); left != "bearer, y" {
		t.Errorf("%q is left", left)
	}
}

// TestASubprotocolIsSelectedWhereTheServerSelectsNone has every answer to a
// handshake.
func TestASubprotocolIsSelectedWhereTheServerSelectsNone(t *testing.T) {
	get, connect := http.MethodGet, http.MethodConnect
	for name, c := range map[string]struct {
		method string
		answer func(http.ResponseWriter)
		want   string
	}{
		"none":                  {get, func(w http.ResponseWriter) { w.WriteHeader(101) }, "bearer"},
		"none, by CONNECT":      {connect, func(w http.ResponseWriter) { w.WriteHeader(200) }, "bearer"},
		"none, without a word":  {connect, func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, "bearer"},
		"one":                   {get, func(w http.ResponseWriter) { w.Header().Set(socketField, "v1"); w.WriteHeader(101) }, "v1"},
		"one, spelled":          {get, func(w http.ResponseWriter) { w.Header()["Sec-WebSocket-Protocol"] = []string{"v1"}; w.WriteHeader(101) }, "v1"},
		"an empty one":          {get, func(w http.ResponseWriter) { w.Header().Set(socketField, ""); w.WriteHeader(101) }, "bearer"},
		"rejected":              {get, func(w http.ResponseWriter) { w.WriteHeader(403) }, ""},
		"rejected, by CONNECT":  {connect, func(w http.ResponseWriter) { w.WriteHeader(502) }, ""},
		"no upgrade":            {get, func(w http.ResponseWriter) { w.WriteHeader(200) }, ""},
		"after an early answer": {get, func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(101) }, "bearer"},
	} {
		rec := httptest.NewRecorder()
		c.answer(SelectingWriter(rec, &http.Request{Method: c.method}, "bearer"))
		var got []string
		for name, values := range rec.Header() {
			if strings.EqualFold(name, socketField) {
				got = append(got, values...)
			}
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	r := offering("bearer, a.b.c")
	delete(r.Header, "Upgrade")
	if s := sourcesOf(t, Source{WebSocket: "bearer"}).Selected(r); s != "" {
		t.Errorf("%q is selected where there is no handshake", s)
	}
}

func TestPartsThatCannotBeAreRefused(t *testing.T) {
	for _, s := range []Source{
		{Basic: "name"},
		{Basic: BasicUser, WebSocket: "bearer"},
		{Basic: BasicUser, Header: "Authorization"},
		{WebSocket: "a b"},
		{WebSocket: "bearer", Query: "x"},
		{WebSocket: KubernetesPrefix},
		{WebSocket: "bearer", Scheme: "x"},
		{Header: "Authorization", Scheme: "basic"},
		{Header: "sec-websocket-protocol"},
		{Header: "Sec-WebSocket-Protocol", Scheme: "bearer"},
	} {
		if err := s.Check(); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

// FuzzSubprotocols has the law of reading subprotocols: what is read is an
// element of the list, no element is a credential when it has been removed, and
// the others are there as they were.
func FuzzSubprotocols(f *testing.F) {
	for _, s := range []string{"bearer, a.b.c", "x,bearer,y,z", kubernetes("a") + ", v4", "bearer", "a, a", ", ,", "bearer, bearer", "bearer,bearer,x"} {
		f.Add(s, "y")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		l := sourcesOf(t, Source{WebSocket: DefaultSubprotocol})
		r := offering(one, two)
		raw, err := l.Read(r)
		before := elements(r.Header[socketField])
		l.RemoveOffered(r)
		after := elements(r.Header[socketField])
		if _, again := l.Read(r); err == nil && again != ErrMissing {
			t.Errorf("%q, %q: something is left: %q", one, two, after)
		}
		if err != nil {
			return
		}
		if len(before) != len(after)+1 && len(before) != len(after)+2 {
			t.Errorf("%q became %q", before, after)
		}
		i := slices.IndexFunc(before, func(s string) bool { return s == raw || s == kubernetes(raw) || hasPrefixFold(s, KubernetesPrefix) })
		if i < 0 {
			t.Errorf("%q is read of %q", raw, before)
		}
		// What is left is what was there, in its order.
		for _, s := range before {
			if len(after) > 0 && s == after[0] {
				after = after[1:]
			}
		}
		if len(after) > 0 {
			t.Errorf("%q are new", after)
		}
	})
}

func elements(lines []string) (all []string) {
	for _, line := range lines {
		for s := range strings.SplitSeq(line, ",") {
			if s = strings.Trim(s, " \t"); s != "" {
				all = append(all, s)
			}
		}
	}
	return all
}
