package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// refused fails unless raw is refused for the reason want.
func refused(t *testing.T, v *Verifier, raw string, want Reason) {
	t.Helper()
	tok, err := v.Verify(context.Background(), raw, now)
	if err == nil || tok != nil {
		t.Fatalf("accepted: %.200s", raw)
	}
	if !errors.Is(err, ErrInvalid) || reasonOf(err) != want {
		t.Errorf("got reason %q (%v), want %q", reasonOf(err), err, want)
	}
	if want == ReasonMalformed && err.Error() != "malformed token" {
		t.Errorf("error says too much: %q", err)
	}
}

// TestSpellingsThatAreNotTheOneAreRefused takes a token that is good and
// changes how it is written, not what it says.
func TestSpellingsThatAreNotTheOneAreRefused(t *testing.T) {
	p := families()["ES256"]
	v := verifier(t, Options{}, standard(p))
	good := sign(t, p, goodClaims)
	if _, err := v.Verify(context.Background(), good, now); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	join := func(h, c, s string) string { return h + "." + c + "." + s }
	// The signature of 64 bytes ends in a character of which four bits do not count.
	loose := parts[2][:85] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", parts[2][85])+1])
	for name, raw := range map[string]string{
		"empty":                       "",
		"one part":                    parts[0],
		"two parts":                   parts[0] + "." + parts[1],
		"four parts":                  good + ".",
		"four full parts":             good + "." + parts[2],
		"five parts (JWE)":            join(parts[0], parts[1], parts[2]) + "." + parts[2] + "." + parts[2],
		"only points":                 "..",
		"empty header":                join("", parts[1], parts[2]),
		"empty claims":                join(parts[0], "", parts[2]),
		"padded signature":            good + "==",
		"padded header":               join(parts[0]+"=", parts[1], parts[2]),
		"line feed in signature":      join(parts[0], parts[1], parts[2][:10]+"\n"+parts[2][10:]),
		"carriage return in claims":   join(parts[0], parts[1][:10]+"\r"+parts[1][10:], parts[2]),
		"line feed at the end":        good + "\n",
		"space in front":              " " + good,
		"space behind":                good + " ",
		"tab inside":                  join(parts[0], parts[1], parts[2][:10]+"\t"+parts[2][10:]),
		"NUL behind":                  good + "\x00",
		"plus of the other alphabet":  join(parts[0], parts[1], "+"+parts[2][1:]),
		"slash of the other alphabet": join(parts[0], parts[1], "/"+parts[2][1:]),
		"question mark":               join(parts[0], parts[1], parts[2][:10]+"?"+parts[2][10:]),
		"percent":                     join(parts[0], parts[1], "%41"+parts[2][3:]),
		"letter outside ASCII":        join(parts[0], parts[1], parts[2][:10]+"é"+parts[2][10:]),
		"bits left over":              join(parts[0], parts[1], loose),
		"with its scheme":             "Bearer " + good,
		"larger than allowed":         good + strings.Repeat("A", DefaultMaxTokenSize),
		"JSON serialization":          `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if raw == good {
				t.Fatal("the case is the good token")
			}
			refused(t, v, raw, ReasonMalformed)
		})
	}
}

func TestHeadersThatAreNotAcceptedAreRefused(t *testing.T) {
	p := families()["ES256"]
	v := verifier(t, Options{}, standard(p))
	for header, want := range map[string]Reason{
		// Nothing to verify with, in every spelling that has worked somewhere.
		`{"alg":"none"}`:    ReasonAlgorithm,
		`{"alg":"None"}`:    ReasonAlgorithm,
		`{"alg":"NONE"}`:    ReasonAlgorithm,
		`{"alg":"nOnE"}`:    ReasonAlgorithm,
		`{"alg":"none "}`:   ReasonAlgorithm,
		`{"alg":""}`:        ReasonAlgorithm,
		`{"alg":"es256"}`:   ReasonAlgorithm,
		`{"alg":"ES256K"}`:  ReasonAlgorithm,
		`{"alg":"ES521"}`:   ReasonAlgorithm,
		`{"alg":"RS1"}`:     ReasonAlgorithm,
		`{"alg":"dir"}`:     ReasonAlgorithm,
		`{"alg":null}`:      ReasonMalformed,
		`{"alg":256}`:       ReasonMalformed,
		`{"alg":["ES256"]}`: ReasonMalformed,
		`{"ALG":"ES256"}`:   ReasonMalformed,
		`{}`:                ReasonMalformed,
		`{"typ":"JWT"}`:     ReasonMalformed,
		// Algorithms that the key is not for.
		`{"alg":"ES384"}`: ReasonAlgorithm,
		`{"alg":"HS256"}`: ReasonAlgorithm,
		`{"alg":"RS256"}`: ReasonAlgorithm,
		`{"alg":"EdDSA"}`: ReasonAlgorithm,
		// Extensions, keys from strangers, encryption, nesting.
		`{"alg":"ES256","crit":["exp"],"exp":1}`:     ReasonHeader,
		`{"alg":"ES256","crit":[]}`:                  ReasonHeader,
		`{"alg":"ES256","crit":null}`:                ReasonHeader,
		`{"alg":"ES256","crit":["b64"],"b64":false}`: ReasonHeader,
		`{"alg":"ES256","b64":false}`:                ReasonHeader,
		`{"alg":"ES256","b64":true}`:                 ReasonHeader,
		`{"alg":"ES256","jwk":{"kty":"EC"}}`:         ReasonHeader,
		`{"alg":"ES256","j\u0077k":{"kty":"EC"}}`:    ReasonHeader,
		`{"alg":"ES256","enc":"A128GCM"}`:            ReasonHeader,
		`{"alg":"ES256","cty":"JWT"}`:                ReasonHeader,
		`{"alg":"ES256","cty":"application/jwt"}`:    ReasonHeader,
		// Types.
		`{"alg":"ES256","kid":1}`:                 ReasonMalformed,
		`{"alg":"ES256","typ":1}`:                 ReasonMalformed,
		`{"alg":"ES256","cty":{}}`:                ReasonMalformed,
		`{"alg":"ES256","typ":"dpop+jwt"}`:        ReasonType,
		`{"alg":"ES256","typ":"logout+jwt"}`:      ReasonType,
		`{"alg":"ES256","typ":"JOSE"}`:            ReasonType,
		`{"alg":"ES256","typ":""}`:                ReasonType,
		`{"alg":"ES256","typ":"JWT\u0000"}`:       ReasonType,
		`{"alg":"ES256","alg":"ES256"}`:           ReasonMalformed,
		`{"alg":"none","alg":"ES256"}`:            ReasonMalformed,
		`{"alg":"ES256","a\u006cg":"none"}`:       ReasonMalformed,
		`{"alg":"ES256","x":{"a":1,"a":2}}`:       ReasonMalformed,
		`{"alg":"ES256"}{"alg":"ES256"}`:          ReasonMalformed,
		`{"alg":"ES256"} x`:                       ReasonMalformed,
		`["alg","ES256"]`:                         ReasonMalformed,
		`"ES256"`:                                 ReasonMalformed,
		`{"alg":"ES256",}`:                        ReasonMalformed,
		`{alg:"ES256"}`:                           ReasonMalformed,
		`{'alg':'ES256'}`:                         ReasonMalformed,
		"\ufeff" + `{"alg":"ES256"}`:              ReasonMalformed,
		"{\"alg\":\"ES256\",\"x\":\"\xff\"}":      ReasonMalformed,
		"{\"alg\":\"ES256\",\"x\":\"\xc0\xae\"}":  ReasonMalformed,
		`{"alg":"ES256","x":"\ud800"}`:            ReasonMalformed,
		"{\"alg\":\"ES256\",\"x\":\"a\nb\"}":      ReasonMalformed,
		`{"alg":"ES256","x":01}`:                  ReasonMalformed,
		`{"alg":"ES256","x":NaN}`:                 ReasonMalformed,
		`{"alg":"ES256","x":` + nest(40) + `}`:    ReasonMalformed,
		`{"alg":"ES256","x":` + nest(1000)[:1000]: ReasonMalformed,
		"{\"alg\":\"ES256\"/* comment */}":        ReasonMalformed,
		"{\"alg\":\"ES256\",\"x\":1}\x00":         ReasonMalformed,
		"":                                        ReasonMalformed,
		" ":                                       ReasonMalformed,
		"null":                                    ReasonMalformed,
	} {
		t.Run(header, func(t *testing.T) { refused(t, v, signParts(t, p, header, goodClaims), want) })
	}
}

func nest(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestHeadersThatChangeNothingAreAccepted(t *testing.T) {
	p := families()["ES256"]
	v := verifier(t, Options{}, standard(p))
	for _, header := range []string{
		`{"alg":"ES256"}`,
		` { "alg" : "ES256" , "typ" : "jwt" } `,
		`{"typ":"application/at+JWT","alg":"ES256","kid":"any"}`,
		`{"alg":"ES256","x5t":"x","x5c":["MIIB"],"unknown":{"deep":[1,2,{"x":null}]}}`,
		`{"\u0061lg":"ES\u003256"}`,
	} {
		if _, err := v.Verify(context.Background(), signParts(t, p, header, goodClaims), now); err != nil {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// claimsWith returns claims that are good except for what with sets: pairs of
// name and JSON text, an empty text leaves the claim out.
func claimsWith(with ...string) string {
	order := []string{"iss", "sub", "aud", "exp", "iat"}
	set := map[string]string{"iss": `"https://id.example.com"`, "sub": `"alice"`, "aud": `"orders-api"`, "exp": "1795342500", "iat": "1795341500"}
	for i := 0; i < len(with); i += 2 {
		if _, ok := set[with[i]]; !ok {
			order = append(order, with[i])
		}
		set[with[i]] = with[i+1]
	}
	var out []string
	for _, name := range order {
		if set[name] != "" {
			out = append(out, fmt.Sprintf("%q:%s", name, set[name]))
		}
	}
	return "{" + strings.Join(out, ",") + "}"
}

func TestClaimsThatAreNotAcceptedAreRefused(t *testing.T) {
	p := families()["EdDSA"]
	iss := standard(p)
	iss.Roles = append(iss.Roles, principal.Pointer{"roles"})
	iss.Scopes = []principal.Pointer{{"scope"}, {"scp"}}
	iss.Require = []Requirement{
		{Claim: principal.Pointer{"tenant"}},
		{Claim: principal.Pointer{"plan"}, Values: []string{"gold", "7", "true"}},
	}
	v := verifier(t, Options{Leeway: 30 * time.Second}, iss)
	with := func(pairs ...string) string {
		return claimsWith(append([]string{"tenant", `"acme"`, "plan", `"gold"`}, pairs...)...)
	}
	for _, c := range []struct {
		name, claims string
		want         Reason // empty: accepted
	}{
		{"good", with(), ""},
		{"good with other types elsewhere", with("x", `[1,null,{"y":true}]`), ""},

		{"exp missing", with("exp", ""), ReasonClaims},
		{"exp at this moment is in leeway", with("exp", "1795341600"), ""},
		{"exp a second inside leeway", with("exp", "1795341571"), ""},
		{"exp at the end of leeway", with("exp", "1795341570"), ReasonExpired},
		{"exp long ago", with("exp", "1300819380"), ReasonExpired},
		{"exp zero", with("exp", "0"), ReasonExpired},
		{"exp with fraction", with("exp", "1795342500.75"), ""},
		{"exp with exponent", with("exp", "1.7953425e9"), ""},
		{"exp in the year 9999", with("exp", "253402300799"), ""},
		{"exp after the year 9999", with("exp", "253402300800"), ReasonMalformed},
		{"exp beyond 64 bits", with("exp", "99999999999999999999"), ReasonMalformed},
		{"exp that wraps 64 bits", with("exp", "18446744075504893216"), ReasonMalformed},
		{"exp infinite", with("exp", "1e999"), ReasonMalformed},
		{"exp negative", with("exp", "-1795342500"), ReasonMalformed},
		{"exp as text", with("exp", `"1795342500"`), ReasonMalformed},
		{"exp as date", with("exp", `"2030-01-01T00:00:00Z"`), ReasonMalformed},
		{"exp null", with("exp", "null"), ReasonMalformed},
		{"exp in an array", with("exp", "[1795342500]"), ReasonMalformed},
		{"exp an object", with("exp", "{}"), ReasonMalformed},
		{"exp true", with("exp", "true"), ReasonMalformed},
		{"exp under another case", with("exp", "", "Exp", "1795342500"), ReasonClaims},

		{"nbf a second inside leeway", with("nbf", "1795341630"), ""},
		{"nbf just beyond leeway", with("nbf", "1795341631"), ReasonEarly},
		{"nbf fraction beyond leeway", with("nbf", "1795341630.5"), ReasonEarly},
		{"nbf as text", with("nbf", `"0"`), ReasonMalformed},
		{"nbf null", with("nbf", "null"), ReasonMalformed},
		{"iat in the future", with("iat", "1795341631"), ReasonEarly},
		{"iat in leeway", with("iat", "1795341629"), ""},
		{"iat as text", with("iat", `"1795341500"`), ReasonMalformed},
		{"iat missing", with("iat", ""), ""},

		{"iss missing", with("iss", ""), ReasonIssuer},
		{"iss another", with("iss", `"https://evil.example"`), ReasonIssuer},
		{"iss with a slash more", with("iss", `"https://id.example.com/"`), ReasonIssuer},
		{"iss in other case", with("iss", `"https://ID.example.com"`), ReasonIssuer},
		{"iss empty", with("iss", `""`), ReasonIssuer},
		{"iss number", with("iss", "1"), ReasonMalformed},
		{"iss array", with("iss", `["https://id.example.com"]`), ReasonMalformed},
		{"iss null", with("iss", "null"), ReasonMalformed},
		{"iss written with escapes", with("iss", `"https:\/\/id.ex\u0061mple.com"`), ""},

		{"aud missing", with("aud", ""), ReasonAudience},
		{"aud another", with("aud", `"billing"`), ReasonAudience},
		{"aud empty", with("aud", `""`), ReasonAudience},
		{"aud empty array", with("aud", `[]`), ReasonAudience},
		{"aud one of several", with("aud", `["billing", "orders-api"]`), ""},
		{"aud longer", with("aud", `"orders-api2"`), ReasonAudience},
		{"aud in words", with("aud", `"billing orders-api"`), ReasonAudience},
		{"aud number", with("aud", "1"), ReasonMalformed},
		{"aud null", with("aud", "null"), ReasonMalformed},
		{"aud object", with("aud", `{"orders-api":1}`), ReasonMalformed},
		{"aud array with a number", with("aud", `["orders-api",1]`), ReasonMalformed},
		{"aud array in array", with("aud", `[["orders-api"]]`), ReasonMalformed},
		{"aud array with null", with("aud", `["orders-api",null]`), ReasonMalformed},

		{"sub missing", with("sub", ""), ReasonClaims},
		{"sub empty", with("sub", `""`), ReasonClaims},
		{"sub number", with("sub", "17"), ReasonMalformed},
		{"sub null", with("sub", "null"), ReasonMalformed},
		{"sub array", with("sub", `["alice"]`), ReasonMalformed},
		{"sub with line break", with("sub", `"alice\r\nX-Role: admin"`), ReasonClaims},
		{"sub with NUL", with("sub", `"alice\u0000"`), ReasonClaims},
		{"sub with a line separator", with("sub", `"alice\u2028"`), ReasonClaims},
		{"sub with a C1 control", with("sub", `"alice\u0085"`), ReasonClaims},
		{"sub that begins with a space", with("sub", `" alice"`), ReasonClaims},
		{"sub that ends with a no-break space", with("sub", `"alice\u00a0"`), ReasonClaims},
		{"sub with a space inside", with("sub", `"alice b"`), ""},
		{"sub with placeholder text is text", with("sub", `"{env.HOME}"`), ""},
		{"jti number", with("jti", "1"), ReasonMalformed},
		{"jti null", with("jti", "null"), ReasonMalformed},
		{"jti with line break", with("jti", `"a\nb"`), ReasonClaims},

		{"roles with a number", with("roles", `["clerk",1]`), ReasonClaims},
		{"roles with null", with("roles", `["clerk",null]`), ReasonClaims},
		{"roles with an array", with("roles", `[["clerk"]]`), ReasonClaims},
		{"roles with an object", with("roles", `[{"name":"clerk"}]`), ReasonClaims},
		{"roles a number", with("roles", `1`), ReasonClaims},
		{"roles null", with("roles", `null`), ""},
		{"roles true", with("roles", `true`), ReasonClaims},
		{"roles an object", with("roles", `{"clerk":true}`), ""},
		{"roles an object with a line break", with("roles", `{"clerk\nadmin":true}`), ReasonClaims},
		{"roles with a line break", with("roles", `["clerk\nadmin"]`), ReasonClaims},
		{"roles text", with("roles", `"clerk admin"`), ""},
		{"nested roles a number", with("realm_access", `{"roles":5}`), ReasonClaims},
		{"nested roles missing", with("realm_access", `{"other":5}`), ""},
		{"parent of roles is text", with("realm_access", `"x"`), ""},
		{"scope a number", with("scope", `1`), ReasonClaims},
		{"scope null", with("scope", `null`), ""},
		{"scp true", with("scp", `true`), ReasonClaims},

		{"required claim missing", with("tenant", ""), ReasonClaims},
		{"required claim null", with("tenant", "null"), ReasonClaims},
		{"required claim false is there", with("tenant", "false"), ""},
		{"required value another", with("plan", `"silver"`), ReasonClaims},
		{"required value number", with("plan", `7`), ""},
		{"required value number with fraction", with("plan", `7.0`), ReasonClaims},
		{"required value boolean", with("plan", `true`), ""},
		{"required value among others", with("plan", `["silver","gold"]`), ""},
		{"required value not among others", with("plan", `["silver",{"x":"gold"},["gold"]]`), ReasonClaims},
		{"required value empty array", with("plan", `[]`), ReasonClaims},
		{"required value in words", with("plan", `"silver gold"`), ReasonClaims},

		{"sub twice", strings.Replace(with(), "{", `{"sub":"admin",`, 1), ReasonMalformed},
		{"sub twice with escapes", strings.Replace(with(), "{", `{"s\u0075b":"admin",`, 1), ReasonMalformed},
		{"member twice below", with("x", `{"a":{"b":1,"b":2}}`), ReasonMalformed},
		{"member twice in an array", with("x", `[{"b":1,"b":2}]`), ReasonMalformed},
		{"member twice among many", with("x", many(100, 50)), ReasonMalformed},
		{"many members", with("x", many(100, -1)), ""},
		{"array", `["alice"]`, ReasonMalformed},
		{"text", `"alice"`, ReasonMalformed},
		{"null", `null`, ReasonMalformed},
		{"nothing", ``, ReasonMalformed},
		{"two objects", with() + with(), ReasonMalformed},
		{"comma too many", strings.TrimSuffix(with(), "}") + ",}", ReasonMalformed},
		{"byte order mark", "\ufeff" + with(), ReasonMalformed},
		{"not UTF-8", with("x", "\"\xe9\""), ReasonMalformed},
		{"surrogate encoded", with("x", "\"\xed\xa0\x80\""), ReasonMalformed},
		{"lone surrogate", with("x", `"\udc00\ud800"`), ReasonMalformed},
		{"too deep", with("x", nest(32)), ReasonMalformed},
		{"as deep as allowed", with("x", nest(31)), ""},
		{"another token (nested)", sign(t, p, with()), ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := sign(t, p, c.claims)
			if c.want != "" {
				refused(t, v, raw, c.want)
			} else if _, err := v.Verify(context.Background(), raw, now); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// many is an object of n members, the last of which is called as that at same.
func many(n, same int) string {
	var out []string
	for i := range n {
		if i == n-1 && same >= 0 {
			i = same
		}
		out = append(out, fmt.Sprintf(`"n%d":%d`, i, i))
	}
	return "{" + strings.Join(out, ",") + "}"
}

// TestForgedSignaturesAreRefused names the attacks on each kind of signature.
func TestForgedSignaturesAreRefused(t *testing.T) {
	all := families()
	for alg, p := range all {
		v := verifier(t, Options{Cache: 10}, standard(p))
		good := sign(t, p, goodClaims)
		text, sig := good[:strings.LastIndexByte(good, '.')], good[strings.LastIndexByte(good, '.')+1:]
		bits, _ := base64.RawURLEncoding.DecodeString(sig)
		with := func(sig []byte) string { return text + "." + base64.RawURLEncoding.EncodeToString(sig) }
		flip := func(i int) []byte {
			b := bytes.Clone(bits)
			b[i] ^= 1
			return b
		}
		cases := map[string]string{
			"no signature":            text + ".",
			"first bit changed":       with(flip(0)),
			"last bit changed":        with(flip(len(bits) - 1)),
			"middle bit changed":      with(flip(len(bits) / 2)),
			"a byte too few":          with(bits[:len(bits)-1]),
			"a byte too many":         with(append(bytes.Clone(bits), 0)),
			"a zero byte in front":    with(append([]byte{0}, bits...)),
			"one byte":                with(bits[:1]),
			"half":                    with(bits[:len(bits)/2]),
			"twice":                   with(append(bytes.Clone(bits), bits...)),
			"all zero":                with(make([]byte, len(bits))),
			"all one":                 with(bytes.Repeat([]byte{0xff}, len(bits))),
			"claims of another":       strings.Split(good, ".")[0] + "." + b64(strings.Replace(goodClaims, "clerk", "admin", 1)) + "." + sig,
			"header of another":       b64(`{"alg":"`+alg+`","typ":"JWT","x":1}`) + text[strings.IndexByte(text, '.'):] + "." + sig,
			"signature of the claims": sign(t, p, goodClaims)[:len(text)] + "." + sign(t, p, claimsWith())[strings.LastIndexByte(sign(t, p, claimsWith()), '.')+1:],
		}
		for name, raw := range cases {
			t.Run(alg+"/"+name, func(t *testing.T) { refused(t, v, raw, ReasonSignature) })
		}
		if _, err := v.Verify(context.Background(), good, now); err != nil {
			t.Errorf("%s: the good token is refused after the forged ones: %v", alg, err)
		}
	}
}

func TestECDSASignaturesInAnotherFormAreRefused(t *testing.T) {
	p := families()["ES256"]
	v := verifier(t, Options{}, standard(p))
	good := sign(t, p, goodClaims)
	dot := strings.LastIndexByte(good, '.')
	sum := sha256.Sum256([]byte(good[:dot]))
	key := p.sign.(*ecdsa.PrivateKey)
	der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	n := key.Curve.Params().N
	fixed := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	zero, one := new(big.Int), big.NewInt(1)
	for name, sig := range map[string][]byte{
		"ASN.1":               der,
		"r zero":              fixed(zero, rs.S),
		"s zero":              fixed(rs.R, zero),
		"both zero":           fixed(zero, zero), // CVE-2022-21449
		"r is the order":      fixed(n, rs.S),
		"s is the order":      fixed(rs.R, n),
		"both the order":      fixed(n, n),
		"both one":            fixed(one, one),
		"r and s exchanged":   fixed(rs.S, rs.R),
		"numbers of 33 bytes": append(rs.R.FillBytes(make([]byte, 33)), rs.S.FillBytes(make([]byte, 33))...),
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, v, good[:dot+1]+base64.RawURLEncoding.EncodeToString(sig), ReasonSignature)
		})
	}
	// The same numbers in the form of RFC 7518 section 3.4.
	raw := good[:dot+1] + base64.RawURLEncoding.EncodeToString(fixed(rs.R, rs.S))
	if _, err := v.Verify(context.Background(), raw, now); err != nil {
		t.Error(err)
	}
}

func TestRSASignaturesOfAnotherMakeAreRefused(t *testing.T) {
	all := families()
	key := all["PS256"].sign.(*rsa.PrivateKey)
	header, claims := `{"alg":"PS256"}`, goodClaims
	text := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(text))
	v := verifier(t, Options{}, standard(all["PS256"]))
	for _, salt := range []int{1, 20, 31, 33, 64} {
		sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("salt of %d bytes", salt), func(t *testing.T) {
			refused(t, v, text+"."+base64.RawURLEncoding.EncodeToString(sig), ReasonSignature)
		})
	}
	pkcs1, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	t.Run("PKCS #1 1.5 under PS256", func(t *testing.T) {
		refused(t, v, text+"."+base64.RawURLEncoding.EncodeToString(pkcs1), ReasonSignature)
	})
	other := verifier(t, Options{}, standard(all["RS256"]))
	t.Run("a token for PS256 at a key for RS256", func(t *testing.T) {
		refused(t, other, sign(t, all["PS256"], goodClaims), ReasonAlgorithm)
	})
	noHash, err := rsa.SignPKCS1v15(rand.Reader, key, 0, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	t.Run("PKCS #1 1.5 without naming the hash", func(t *testing.T) {
		text := b64(`{"alg":"RS256"}`) + "." + b64(claims)
		refused(t, other, text+"."+base64.RawURLEncoding.EncodeToString(noHash), ReasonSignature)
	})
}

// TestPublicKeyIsNeverASecret is the confusion of RS256 and HS256, RFC 8725
// section 2.1, in every form in which the attacker may know the key.
func TestPublicKeyIsNeverASecret(t *testing.T) {
	all := families()
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		v := verifier(t, Options{}, standard(all[alg]))
		der, err := x509.MarshalPKIXPublicKey(all[alg].public)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for _, guess := range [][]byte{der, text, bytes.TrimSpace(text), jwk.FormatSet([]*jwk.Key{all[alg].verify})} {
			for _, hs := range []string{"HS256", "HS384", "HS512"} {
				refused(t, v, sign(t, pair{alg: hs, sign: guess}, goodClaims), ReasonAlgorithm)
				forged := signParts(t, pair{alg: hs, sign: guess}, `{"alg":"`+alg+`"}`, goodClaims)
				refused(t, v, forged, ReasonSignature)
			}
		}
	}
}

func TestTokenIsVerifiedWithItsOwnIssuersKeysOnly(t *testing.T) {
	all := families()
	a, b := standard(all["RS256"]), standard(all["ES256"])
	b.Name = "https://other.example.com"
	v := verifier(t, Options{Cache: 10}, a, b)
	claimsB := strings.Replace(goodClaims, issuerName, b.Name, 1)
	for _, c := range []struct {
		name, raw string
		want      Reason
	}{
		{"a by a", sign(t, all["RS256"], goodClaims), ""},
		{"b by b", sign(t, all["ES256"], claimsB), ""},
		{"a by b", sign(t, all["ES256"], goodClaims), ReasonAlgorithm},
		{"b by a", sign(t, all["RS256"], claimsB), ReasonAlgorithm},
		{"a by another key", sign(t, pair{alg: "RS256", sign: mustRSA(t)}, goodClaims), ReasonSignature},
	} {
		if c.want != "" {
			refused(t, v, c.raw, c.want)
		} else if _, err := v.Verify(context.Background(), c.raw, now); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func mustRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNamelessKeysAreTriedUpToABound(t *testing.T) {
	var keys []*jwk.Key
	var last ed25519.PrivateKey
	for range maxCandidates + 1 {
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, _ := x509.MarshalPKIXPublicKey(pub)
		k, err := jwk.Static("EdDSA", der)
		if err != nil {
			t.Fatal(err)
		}
		keys, last = append(keys, k), priv
	}
	iss := standard(families()["EdDSA"])
	raw := sign(t, pair{alg: "EdDSA", sign: last}, goodClaims)
	iss.Keys = StaticKeys(keys...)
	refused(t, verifier(t, Options{}, iss), raw, ReasonUnknownKey)
	iss.Keys = StaticKeys(append([]*jwk.Key{keys[maxCandidates]}, keys[:maxCandidates]...)...)
	refused(t, verifier(t, Options{}, iss), raw, ReasonUnknownKey) // whichever comes first
	iss.Keys = StaticKeys(keys[1:]...)
	if _, err := verifier(t, Options{}, iss).Verify(context.Background(), raw, now); err != nil {
		t.Error(err)
	}
}

func TestKeyIsChosenByItsName(t *testing.T) {
	p, other := families()["ES256"], families()["ES384"]
	named, nameless := *p.verify, *other.verify
	named.ID = "a"
	iss := standard(p)
	iss.Keys = StaticKeys(&named)
	v := verifier(t, Options{}, iss)
	refused(t, v, signParts(t, p, `{"alg":"ES256","kid":"b"}`, goodClaims), ReasonUnknownKey)
	refused(t, v, signParts(t, p, `{"alg":"ES256","kid":"A"}`, goodClaims), ReasonUnknownKey)
	iss.Keys = StaticKeys(&named, &nameless)
	v = verifier(t, Options{}, iss)
	for _, header := range []string{`{"alg":"ES256","kid":"a"}`, `{"alg":"ES256"}`} {
		tok, err := v.Verify(context.Background(), signParts(t, p, header, goodClaims), now)
		if err != nil || tok.Principal.KeyID != "a" {
			t.Errorf("%s: %v", header, err)
		}
	}
	for _, kid := range []string{"a", "c", ""} {
		// A key without a name goes by the one that the token gives it.
		tok, err := v.Verify(context.Background(), signParts(t, other, `{"alg":"ES384","kid":"`+kid+`"}`, goodClaims), now)
		if err != nil || tok.Principal.KeyID != kid {
			t.Errorf("%s: %v", kid, err)
		}
	}
	refused(t, v, signParts(t, other, `{"alg":"ES384","kid":"a\nb"}`, goodClaims), ReasonClaims)
}

func TestAlgorithmsOfTheIssuerNarrowThoseOfTheKey(t *testing.T) {
	p := families()["RS512"]
	open := *p.verify
	open.Alg = ""
	iss := standard(p)
	iss.Keys = StaticKeys(&open)
	iss.Algorithms = []string{"RS256", "PS256"}
	v := verifier(t, Options{}, iss)
	refused(t, v, sign(t, p, goodClaims), ReasonAlgorithm)
	for _, alg := range iss.Algorithms {
		if _, err := v.Verify(context.Background(), sign(t, families()[alg], goodClaims), now); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestTypeOfTheIssuerIsAskedFor(t *testing.T) {
	p := families()["ES256"]
	for _, typ := range []string{"at+jwt", "application/AT+JWT"} {
		iss := standard(p)
		iss.Types = []string{typ}
		v := verifier(t, Options{}, iss)
		for header, want := range map[string]Reason{
			`{"alg":"ES256"}`:                                 ReasonType,
			`{"alg":"ES256","typ":"JWT"}`:                     ReasonType,
			`{"alg":"ES256","typ":"at+jwt2"}`:                 ReasonType,
			`{"alg":"ES256","typ":"application/"}`:            ReasonType,
			`{"alg":"ES256","typ":"text/at+jwt"}`:             ReasonType,
			`{"alg":"ES256","typ":"application/x/at+jwt"}`:    ReasonType,
			`{"alg":"ES256","typ":"at+jwt"}`:                  "",
			`{"alg":"ES256","typ":"AT+JWT"}`:                  "",
			`{"alg":"ES256","typ":"application/at+jwt"}`:      "",
			`{"alg":"ES256","typ":"Application/at\u002bjwt"}`: "",
		} {
			raw := signParts(t, p, header, goodClaims)
			if want != "" {
				refused(t, v, raw, want)
			} else if _, err := v.Verify(context.Background(), raw, now); err != nil {
				t.Errorf("%s: %v", header, err)
			}
		}
	}
}

func TestMaxAgeCountsFromIssue(t *testing.T) {
	p := families()["HS256"]
	iss := standard(p)
	iss.MaxAge = 5 * time.Minute
	for _, entries := range []int{0, 4} {
		v := verifier(t, Options{Leeway: 10 * time.Second, Cache: entries}, iss)
		refused(t, v, sign(t, p, claimsWith("iat", "")), ReasonClaims)
		refused(t, v, sign(t, p, claimsWith("iat", "1795341290")), ReasonExpired)
		raw := sign(t, p, claimsWith("iat", "1795341291"))
		if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Error(err)
		}
		if _, err := v.Verify(context.Background(), raw, now.Add(time.Second)); reasonOf(err) != ReasonExpired {
			t.Error(err)
		}
	}
}

func TestAudienceOfSomebodyElseIsRefusedEvenIfNoneIsConfigured(t *testing.T) {
	p := families()["HS256"]
	iss := standard(p)
	iss.Audience = nil
	v := verifier(t, Options{}, iss)
	refused(t, v, sign(t, p, claimsWith()), ReasonAudience)
	if _, err := v.Verify(context.Background(), sign(t, p, claimsWith("aud", "")), now); err != nil {
		t.Error(err)
	}
	iss.AnyAudience = true
	if _, err := verifier(t, Options{}, iss).Verify(context.Background(), sign(t, p, claimsWith()), now); err != nil {
		t.Error(err)
	}
}

func TestNamelessIssuerDoesNotAskForOne(t *testing.T) {
	p := families()["HS256"]
	iss := standard(p)
	iss.Name = ""
	v := verifier(t, Options{}, iss)
	for claim, want := range map[string]string{"": "", `"https://x.example"`: "https://x.example"} {
		tok, err := v.Verify(context.Background(), sign(t, p, claimsWith("iss", claim)), now)
		// Whoever has the key can say any iss, and must not become somebody of
		// an issuer whose keys are others.
		if err != nil || tok.Named != want || tok.Principal.Issuer != "" {
			t.Errorf("%s: %v", claim, err)
		}
	}
	refused(t, v, sign(t, p, claimsWith("iss", "7")), ReasonMalformed)
	refused(t, v, sign(t, p, claimsWith("iss", `"a\nb"`)), ReasonClaims)

	iss.Require = []Requirement{{Claim: principal.Pointer{"iss"}, Values: []string{"https://x.example", "https://y.example"}}}
	v = verifier(t, Options{}, iss)
	if tok, err := v.Verify(context.Background(), sign(t, p, claimsWith("iss", `"https://y.example"`)), now); err != nil || tok.Principal.Issuer != "https://y.example" {
		t.Errorf("an issuer that a requirement lists: %+v, %v", tok, err)
	}
	refused(t, v, sign(t, p, claimsWith("iss", `"https://z.example"`)), ReasonClaims)
}

func TestExpiryMayBeLeftOutOnlyIfAllowed(t *testing.T) {
	p := families()["HS256"]
	v := verifier(t, Options{AllowMissingExp: true, Cache: 4}, standard(p))
	raw := sign(t, p, claimsWith("exp", ""))
	for range 2 {
		if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Error(err)
		}
	}
	refused(t, v, sign(t, p, claimsWith("exp", "1")), ReasonExpired)
}

// TestHeaderParametersWithoutUseAreIgnored has what providers write into every
// token, RFC 7515 section 4.
func TestHeaderParametersWithoutUseAreIgnored(t *testing.T) {
	p := families()["ES256"]
	v := verifier(t, Options{}, standard(p))
	for _, header := range []string{
		`{"alg":"ES256","jku":"https://tenant.example/token_keys"}`, `{"alg":"ES256","x5u":null}`, `{"alg":"ES256","x5u":"https://x"}`,
		`{"alg":"ES256","zip":"NONE"}`, `{"alg":"ES256","zip":"DEF"}`, `{"alg":"ES256","x5c":[],"x5t":"AA","extra":{"a":[1]}}`,
		`{"alg":"ES256","kid":null,"typ":null,"cty":null}`,
	} {
		if _, err := v.Verify(context.Background(), signParts(t, p, header, goodClaims), now); err != nil {
			t.Errorf("%s: %v", header, err)
		}
	}
	refused(t, v, signParts(t, p, `{"alg":"ES256","jku":"https://x","crit":["jku"]}`, goodClaims), ReasonHeader)
}

func TestSeveralTypesMayBeAccepted(t *testing.T) {
	p := families()["ES256"]
	iss := standard(p)
	iss.Types = []string{"at+jwt", "JOSE"}
	v := verifier(t, Options{}, iss)
	for header, want := range map[string]Reason{
		`{"alg":"ES256","typ":"JOSE"}`: "", `{"alg":"ES256","typ":"application/at+jwt"}`: "",
		`{"alg":"ES256","typ":"JWT"}`: ReasonType, `{"alg":"ES256"}`: ReasonType, `{"alg":"ES256","typ":null}`: ReasonType,
	} {
		raw := signParts(t, p, header, goodClaims)
		if want != "" {
			refused(t, v, raw, want)
		} else if _, err := v.Verify(context.Background(), raw, now); err != nil {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// TestFirstSubjectThatIsThereCounts holds that ids of several claims are tried
// in turn, and that nobody can choose one that is another's.
func TestFirstSubjectThatIsThereCounts(t *testing.T) {
	p := families()["HS256"]
	iss := standard(p)
	iss.OtherSubjects = []principal.Pointer{{"common_name"}, {"act", "id"}, {"a:b"}, {"a"}}
	v := verifier(t, Options{}, iss)
	for _, c := range []struct {
		claims []string
		want   string // empty: refused
	}{
		{[]string{"sub", `"alice"`, "common_name", `"x"`}, "alice"},
		{[]string{"sub", `""`, "common_name", `"x.access"`}, "common_name:x.access"},
		{[]string{"sub", "", "common_name", `"x.access"`}, "common_name:x.access"},
		{[]string{"sub", "", "common_name", `""`, "act", `{"id":7}`}, "/act/id:7"},
		{[]string{"sub", "", "common_name", "null", "act", `{"id":"y"}`}, "/act/id:y"},
		{[]string{"sub", "", "a:b", `"c"`}, "a%3Ab:c"},
		{[]string{"sub", "", "a", `"b:c"`}, "a:b:c"},
		{[]string{"sub", `"common_name:x.access"`}, ""},
		{[]string{"sub", `"/act/id:7"`, "common_name", `"x"`}, ""},
		{[]string{"sub", `"common_name"`}, "common_name"},
		{[]string{"sub", `" alice"`, "common_name", `"x"`}, ""},
		{[]string{"sub", "", "common_name", `{"x":1}`, "a", `"b"`}, ""},
		{[]string{"sub", "", "common_name", `" x"`, "a", `"b"`}, ""},
		{[]string{"sub", `""`}, ""},
	} {
		raw := sign(t, p, claimsWith(c.claims...))
		if c.want == "" {
			refused(t, v, raw, ReasonClaims)
			continue
		}
		if tok, err := v.Verify(context.Background(), raw, now); err != nil || tok.Principal.ID != c.want {
			t.Errorf("%q: got %+v, %v, want %s", c.claims, tok, err, c.want)
		}
	}
}

func TestSubjectMayBeAnotherClaim(t *testing.T) {
	p := families()["HS256"]
	iss := standard(p)
	iss.Subject = principal.Pointer{"user", "id"}
	v := verifier(t, Options{}, iss)
	for value, want := range map[string]string{
		`{"id":"alice"}`:                 "alice",
		`{"id":9007199254740993}`:        "9007199254740993",
		`{"id":123456789012345678901}`:   "123456789012345678901",
		`{"id":"\u0061\ud83d\ude00 \/"}`: "a😀 /",
	} {
		tok, err := v.Verify(context.Background(), sign(t, p, claimsWith("user", value, "sub", "")), now)
		if err != nil || tok.Principal.ID != want {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, value := range []string{`{"id":1.5}`, `{"id":1e3}`, `{"id":null}`, `{"id":""}`, `{"id":["x"]}`, `{"id":{}}`, `{"id":true}`, `{}`, `"x"`} {
		refused(t, v, sign(t, p, claimsWith("user", value)), ReasonClaims)
	}
}

func TestConfirmationIsHandedOn(t *testing.T) {
	p := families()["HS256"]
	v := verifier(t, Options{}, standard(p))
	for cnf, want := range map[string]Confirmation{
		`{"x5t#S256":"abc"}`:              {Certificate: "abc"},
		`{ "jkt" : "d\u0065f" }`:          {Key: "def"},
		`{"jkt":"x","x5t#S256":"y"}`:      {Certificate: "y", Key: "x"},
		`{"kid":"x"}`:                     {Other: true},
		`{"jwk":{"kty":"OKP"},"jkt":"x"}`: {Key: "x", Other: true},
	} {
		tok, err := v.Verify(context.Background(), sign(t, p, claimsWith("cnf", cnf)), now)
		if err != nil || tok.Confirmation == nil || *tok.Confirmation != want {
			t.Errorf("%s: %v", cnf, err)
		}
	}
	for _, cnf := range []string{`null`, `"x"`, `[]`, `{}`, `1`, `{"jkt":1}`, `{"jkt":""}`, `{"x5t#S256":null}`, `{"jkt":["x"]}`, `{"jkt":"a\nb"}`} {
		refused(t, v, sign(t, p, claimsWith("cnf", cnf)), ReasonClaims)
	}
	tok, err := v.Verify(context.Background(), sign(t, p, claimsWith()), now)
	if err != nil || tok.Confirmation != nil {
		t.Error("a token without cnf is bound", err)
	}
}

func TestUnavailableKeysAreNotARefusal(t *testing.T) {
	p := families()["ES256"]
	iss := standard(p)
	iss.Keys = downSource{}
	v := verifier(t, Options{}, iss)
	_, err := v.Verify(context.Background(), sign(t, p, goodClaims), now)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	// What is wrong in any case does not wait for the keys.
	refused(t, v, sign(t, p, claimsWith("exp", "1")), ReasonExpired)
	refused(t, v, signParts(t, p, `{"alg":"none"}`, goodClaims), ReasonAlgorithm)
}

type downSource struct{}

func (downSource) Keys(context.Context, string, string) ([]*jwk.Key, error) {
	return nil, fmt.Errorf("provider is down: %w", ErrUnavailable)
}
func (downSource) Generation() uint64 { return 0 }

func TestConfigurationThatMakesNoSenseIsRefused(t *testing.T) {
	good := standard(families()["ES256"])
	change := func(f func(*Issuer)) []Issuer {
		i := good
		f(&i)
		return []Issuer{i}
	}
	for name, c := range map[string]struct {
		issuers []Issuer
		options Options
	}{
		"no issuer":               {nil, Options{}},
		"issuer twice":            {[]Issuer{good, good}, Options{}},
		"nameless beside another": {append(change(func(i *Issuer) { i.Name = "" }), good), Options{}},
		"no keys":                 {change(func(i *Issuer) { i.Keys = nil }), Options{}},
		"algorithm none":          {change(func(i *Issuer) { i.Algorithms = []string{"none"} }), Options{}},
		"empty audience":          {change(func(i *Issuer) { i.Audience = []string{""} }), Options{}},
		"audience and any":        {change(func(i *Issuer) { i.AnyAudience = true }), Options{}},
		"empty pointer":           {change(func(i *Issuer) { i.Roles = []principal.Pointer{{}} }), Options{}},
		"empty required pointer":  {change(func(i *Issuer) { i.Require = []Requirement{{}} }), Options{}},
		"negative age":            {change(func(i *Issuer) { i.MaxAge = -1 }), Options{}},
		"negative leeway":         {[]Issuer{good}, Options{Leeway: -1}},
		"negative cache":          {[]Issuer{good}, Options{Cache: -1}},
	} {
		if _, err := NewVerifier(c.issuers, c.options); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
