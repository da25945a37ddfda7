package clientcert

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzParseID holds that what is a SPIFFE ID is a URI whose parts are those of
// the ID, with nothing else in it, and has but one spelling.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{"spiffe://example.org/a/b", "spiffe://example.org", "spiffe://a/../b", "spiffe://u@a:1/b?c#d", "spiffe://a/%61"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.String() != s || u.Scheme != "spiffe" || u.Host != id.TrustDomain() || u.Path != id.Path() ||
			u.User != nil || u.Port() != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || id.Path() != "" && u.JoinPath().String() != s {
			t.Errorf("%q is taken for the ID of %q in %q", s, id.Path(), id.TrustDomain())
		}
	})
}

// FuzzNormalDN holds that the normal spelling of a name is normal, and that
// names of certificates are printed in it.
func FuzzNormalDN(f *testing.F) {
	for _, s := range []string{"CN=a,O=b", `CN=\ a\,\2C+OU=b`, "1.2.3=#0c0161", "cn = a , o=b", "CN=Lučić"} {
		f.Add(s, []byte("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a"))
	}
	f.Fuzz(func(t *testing.T, s string, der []byte) {
		if normal, err := NormalDN(s); err == nil {
			if again, err := NormalDN(normal); again != normal || err != nil {
				t.Errorf("%q becomes %q, which becomes %q, %v", s, normal, again, err)
			}
		}
		text, _, err := readDN(der)
		if err != nil || text == "" {
			return
		}
		if again, err := NormalDN(text); again != text || err != nil {
			t.Errorf("%x is printed as %q, which is read as %q, %v", der, text, again, err)
		}
	})
}

// FuzzField holds that what is read is what is printed, that the error is
// ErrField, and that it repeats nothing.
func FuzzField(f *testing.F) {
	cert := formatField(newAuthority(f, "Test CA").named(f, "a"))
	for _, s := range []string{cert, cert + "," + cert, ":AAAA:", "::", ":=:", cert + ";a"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, cert, chain string) {
		if der, err := decodeItem(cert); err == nil {
			if again := ":" + base64.StdEncoding.EncodeToString(der) + ":"; again != strings.Trim(cert, " ") || len(der) > MaxCertificate+2 {
				t.Errorf("%q is read as %q", cert, again)
			}
		}
		c, certs, err := Field{Cert: []string{cert}, Chain: []string{chain}}.Parse()
		switch {
		case err != nil:
			if err != ErrField {
				t.Errorf("%v is not ErrField", err)
			}
		case c == nil || len(certs) == 0 || len(certs) > maxChain || slices.Contains(certs, nil):
			t.Errorf("%d certificates", len(certs))
		default:
			if _, err := Read(c); err != nil && !errors.Is(err, ErrUnreadable) {
				t.Error(err)
			}
		}
	})
}

// FuzzParseTable holds that every line of a map that is accepted is found
// again under what it says, and that no two lines are about the same.
func FuzzParseTable(f *testing.F) {
	for _, s := range []string{
		`{"spiffe":"spiffe://example.org/a","user":"a","roles":["b"]}`, "# a\n\n" + `{"dns":"A","disabled":true}`,
		`{"serial":"1a","issuer":"CN=a","scopes":["c"],"plan":"d"}`, `{"subject":"cn = a"}` + "\r\n" + `{"email":"a@B"}`, `{"uri":"urn:a","dns":"b"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := ParseTable(text)
		if err != nil {
			return
		}
		lines := 0
		for line := range bytes.Lines(text) {
			if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
				lines++
			}
		}
		if lines != table.Len() {
			t.Errorf("%d lines and %d entries", lines, table.Len())
		}
		for k, e := range table.entries {
			n := &Names{Serial: e.Value, SPKI: e.Value, ID: ID(e.Value), URIs: []string{e.Value}, DNS: []string{e.Value}, Emails: []string{e.Value}, Subject: e.Value, Issuer: e.Issuer}
			if k != e.key() || !slices.Contains(n.keys(e.Sort), k) {
				t.Errorf("%+v is not found", e)
			}
		}
	})
}
