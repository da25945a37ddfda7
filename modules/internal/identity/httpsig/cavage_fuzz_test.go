package httpsig

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cavageParam is one parameter, for the slow twin.
var cavageParam = regexp.MustCompile(`^[ \t]*([a-zA-Z]+)=(?:"([ -!#-\[\]-~]*)"|([0-9]*))[ \t]*(,|$)`)

// slowCavage reads parameters with a regular expression and prints them in one
// form.
func slowCavage(s string, kong bool) (string, bool) {
	if len(s) > maxField {
		return "", false
	}
	known := []string{"keyId", "algorithm", "headers", "signature", "created", "expires"}
	if kong {
		known[0] = "username"
	}
	got := map[string]string{}
	for more := true; more; {
		m := cavageParam.FindStringSubmatch(s)
		if m == nil || !slices.Contains(known, m[1]) {
			return "", false
		}
		if _, twice := got[m[1]]; twice {
			return "", false
		}
		quoted := strings.Contains(m[0], `"`)
		if quoted == (m[1] == "created" || m[1] == "expires") {
			return "", false
		}
		got[m[1]] = m[2] + m[3]
		s, more = s[len(m[0]):], m[4] == ","
	}
	for _, name := range []string{"created", "expires"} {
		v, has := got[name]
		if has && (!regexp.MustCompile(`^(0|[1-9][0-9]{0,11})$`).MatchString(v) || len(v) == 12 && v > fmt.Sprint(maxTime)) {
			return "", false
		}
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(got["signature"])
	_, signed := got["signature"]
	if err != nil || !signed || got[known[0]] == "" || len(strings.Split(got["headers"], " ")) > maxComponents {
		return "", false
	}
	_, listed := got["headers"]
	_, created := got["created"]
	_, expires := got["expires"]
	return fmt.Sprintf("%q %q %v %q %x %v %s %v %s", got[known[0]], got["algorithm"], listed, got["headers"], sig, created, zero(got["created"]), expires, zero(got["expires"])), true
}

func zero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func FuzzCavage(f *testing.F) {
	m, keys := signedCavage(f, "ed25519")
	value := m.Header["Authorization"][0]
	signed, _ := parseCavage(strings.TrimPrefix(value, "Signature "), false)
	f.Add(value)
	f.Add(`hmac username="a", algorithm="hmac-sha256", headers="date request-line", signature="AA=="`)
	f.Add(`Signature keyId="a",created=1,expires=2,headers="(created) @request-target",signature=""`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, kong := range []bool{false, true} {
			_, params, _ := cavageScheme(s)
			p, ok := parseCavage(params, kong)
			want, wantOK := slowCavage(params, kong)
			got := ""
			if ok {
				got = fmt.Sprintf("%q %q %v %q %x %v %d %v %d", p.keyID, p.algorithm, p.headers != nil, strings.Join(p.headers, " "), p.signature, p.hasCreated, p.created, p.hasExpires, p.expires)
			}
			if ok != wantOK || got != want {
				t.Errorf("%q: %s, %v; want %s, %v", params, got, ok, want, wantOK)
			}
			if ok {
				base, _ := cavageBase(m, &p, kong)
				if n := strings.Count(string(base), "\n"); n > len(p.headers)+1 {
					t.Errorf("%q: %d lines in %q", params, n+1, base)
				}
			}
		}
		// Whatever stands in the field, only what was signed is accepted; the
		// name of the algorithm and the order of parameters are not.
		m.Header["Authorization"] = []string{s}
		if _, err := window().Verify(m, keys, cavageNow); err != nil {
			return
		}
		_, params, _ := cavageScheme(s)
		p, _ := parseCavage(params, false)
		if p.keyID != signed.keyID || !slices.Equal(p.headers, signed.headers) || !bytes.Equal(p.signature, signed.signature) {
			t.Errorf("%q accepted as %+v", s, p)
		}
	})
}
