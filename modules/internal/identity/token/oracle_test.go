package token

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// clock is the time of the tests for golang-jwt.
func clock() time.Time { return now }

func init() {
	// Compare dates as exactly as we do; golang-jwt cuts them to seconds.
	jwt.TimePrecision = time.Nanosecond
}

// agrees fails if we accept raw and golang-jwt, asked for the same things,
// does not, or if it reads other claims out of it. It is more lenient than we
// are, so the other way round says nothing.
func agrees(t *testing.T, v *Verifier, p pair, raw string) {
	t.Helper()
	tok, err := v.Verify(context.Background(), raw, now)
	if err != nil {
		if (reasonOf(err) == ReasonMalformed) != (err.Error() == "malformed token") {
			t.Fatalf("%q: %v", raw, err)
		}
		return
	}
	claims := jwt.MapClaims{}
	_, err = jwt.NewParser(
		jwt.WithValidMethods([]string{p.alg}), jwt.WithJSONNumber(), jwt.WithStrictDecoding(), jwt.WithTimeFunc(clock),
		jwt.WithIssuer(issuerName), jwt.WithAudience("orders-api"), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
	).ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return p.public, nil })
	if err != nil {
		t.Fatalf("%q: accepted, golang-jwt says %v", raw, err)
	}
	var ours map[string]any
	d := json.NewDecoder(bytes.NewReader(tok.Principal.Claims.Raw()))
	d.UseNumber()
	if err := d.Decode(&ours); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(ours, map[string]any(claims)) {
		t.Fatalf("%q: claims are %v, golang-jwt has %v", raw, ours, claims)
	}
	sameAsClaims(t, tok)
	again, err := v.Verify(context.Background(), raw, now)
	if err != nil || v.cache != nil && again != tok {
		t.Fatalf("%q: the second time %v", raw, err)
	}
}

// sameAsClaims compares what the token says outright with what its claims say
// when they are read the slow way.
func sameAsClaims(t *testing.T, tok *Token) {
	t.Helper()
	who := tok.Principal
	if sub, _ := who.Claims.Lookup(principal.Pointer{"sub"}); sub != who.ID {
		t.Fatalf("ID is %q, sub %q", who.ID, sub)
	}
	if jti, _ := who.Claims.Lookup(principal.Pointer{"jti"}); jti != who.TokenID && (jti != nil || who.TokenID != "") {
		t.Fatalf("TokenID is %q, jti %q", who.TokenID, jti)
	}
	for _, list := range []struct {
		got    []string
		where  []principal.Pointer
		scopes bool // which nobody has asked for
	}{
		{who.Roles, []principal.Pointer{{"realm_access", "roles"}}, false},
		{who.Scopes, []principal.Pointer{{"scope"}, {"scp"}}, true},
	} {
		var want []string
		for _, p := range list.where {
			names, ok := who.Claims.Names(p, principal.Form{Words: list.scopes, Objects: !list.scopes})
			if ok = ok && !slices.ContainsFunc(names, func(n string) bool { return !printable([]byte(n)) }); !ok && !list.scopes {
				t.Fatalf("%v is no list of names", p)
			} else if !ok {
				continue
			}
			for _, n := range names {
				if !slices.Contains(want, n) {
					want = append(want, n)
				}
			}
		}
		// Members of an object have no order.
		if !slices.Equal(slices.Sorted(slices.Values(list.got)), slices.Sorted(slices.Values(want))) {
			t.Fatalf("names are %q, want %q", list.got, want)
		}
	}
	for claim, at := range map[string]time.Time{"exp": tok.Expires, "nbf": tok.NotBefore, "iat": tok.IssuedAt} {
		switch v, _ := who.Claims.Lookup(principal.Pointer{claim}); v := v.(type) {
		case nil:
			if !at.IsZero() {
				t.Fatalf("%s is %v, and not in the claims", claim, at)
			}
		case int64:
			if at.UnixNano() != time.Unix(v, 0).UnixNano() {
				t.Fatalf("%s is %v, want %d", claim, at, v)
			}
		case float64:
			if diff := float64(at.Unix()) + float64(at.Nanosecond())/1e9 - v; diff > 1e-5 || diff < -1e-5 {
				t.Fatalf("%s is %v, want %v", claim, at, v)
			}
		}
	}
}

func TestGoodTokensAgreeWithAnotherLibrary(t *testing.T) {
	for alg, p := range families() {
		v := verifier(t, Options{}, standard(p))
		raw := sign(t, p, goodClaims)
		if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		agrees(t, v, p, raw)
	}
}

// FuzzClaims signs whatever header and claims there are.
func FuzzClaims(f *testing.F) {
	f.Add(`{"alg":"HS256"}`, goodClaims)
	f.Add(`{"typ":"JWT","alg":"HS256","kid":"a"}`, claimsWith("nbf", "1795341500.5", "scope", `"a b a"`, "x", `{"\ud83d\ude00":[1e400,-0.0,12345678901234567890]}`))
	f.Add(`{"alg":"HS256","typ":"at+jwt"}`, claimsWith("realm_access", `{"roles":["a","b","a",""]}`, "scp", `["x"]`, "jti", `"\u00e9"`))
	f.Add(` { "alg" : "HS256" } `, ` { "iss" : "https:\/\/id.example.com", "sub":"\u0061", "aud":["orders-api"] , "exp":1.7953425e9}`)
	f.Add(`{"alg":"none"}`, claimsWith("exp", "null"))
	f.Add(`{"alg":"HS256","crit":["x"]}`, claimsWith("cnf", `{"jkt":"x"}`))
	f.Add(`{"alg":"HS256"}`, claimsWith("realm_access", `{"roles":{"b c":{"o":"x"},"a":null,"\u0064":false,"e":0}}`, "scope", `{"a":1}`, "scp", `[1]`))
	f.Add(`{"alg":"HS256"}`, claimsWith("realm_access", `{"roles":" Sales  lead "}`, "scope", `null`))
	f.Add(`{"alg":"HS256"}`, claimsWith("scope", "\"a\u00a0b\u2003c  d\"", "sub", `"x\u0000"`))
	f.Fuzz(func(t *testing.T, header, payload string) {
		p := families()["HS256"]
		v := fuzzVerifier(t)
		raw := signParts(t, p, header, payload)
		agrees(t, v, p, raw)
		if len(header)+len(payload) < DefaultMaxTokenSize/2 {
			OpenProof(raw) // must not panic
		}
	})
}

// FuzzSpelling changes the text of a good token.
func FuzzSpelling(f *testing.F) {
	p := families()["EdDSA"]
	good := sign(f, p, claimsWith())
	f.Add(good, uint16(0), "")
	f.Add(good, uint16(len(good)-1), "=")
	f.Add(good, uint16(20), "\n")
	f.Add(good, uint16(5), "?")
	f.Fuzz(func(t *testing.T, raw string, at uint16, insert string) {
		v := verifier(t, Options{}, standard(p))
		i := min(int(at), len(good))
		for _, text := range []string{raw, good[:i] + insert + good[i:], good[:i] + insert + good[min(len(good), i+len(insert)):]} {
			agrees(t, v, p, text)
			// There is one spelling: what is accepted is what encoding the
			// decoded parts gives.
			if _, err := v.Verify(context.Background(), text, now); err == nil {
				for _, part := range strings.Split(text, ".") {
					b, err := base64.RawURLEncoding.DecodeString(part)
					if err != nil || base64.RawURLEncoding.EncodeToString(b) != part {
						t.Fatalf("%q is accepted, and not the one spelling", text)
					}
				}
			}
		}
	})
}

func fuzzVerifier(t testing.TB) *Verifier {
	return verifier(t, Options{Cache: 4}, standard(families()["HS256"]))
}
