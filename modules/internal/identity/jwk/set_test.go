package jwk

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// members of good keys, to build sets from.
func rsaMembers() string {
	return `"kty":"RSA","e":"AQAB","n":"` + b64(keys().rsa.N.Bytes()) + `"`
}

func ecMembers(crv string, k *ecdsa.PrivateKey) string {
	size := (k.Params().BitSize + 7) / 8
	point, _ := k.PublicKey.Bytes()
	return `"kty":"EC","crv":"` + crv + `","x":"` + b64(point[1:1+size]) + `","y":"` + b64(point[1+size:]) + `"`
}

func edMembers() string {
	return `"kty":"OKP","crv":"Ed25519","x":"` + b64(keys().ed[32:]) + `"`
}

func TestSetOfEveryKindIsAdmitted(t *testing.T) {
	k := keys()
	doc := `{"keys":[
		{"kid":"r",` + rsaMembers() + `,"x5c":["MII"],"x5t":"x","unknown":{"a":[1]}},
		{"kid":"rs","alg":"RS256","use":"sig","key_ops":["verify"],` + rsaMembers() + `},
		{"kid":"e1",` + ecMembers("P-256", k.p256) + `},
		{"kid":"e2","alg":"ES384",` + ecMembers("P-384", k.p384) + `},
		{"kid":"e3",` + ecMembers("P-521", k.p521) + `},
		{"kid":"ed",` + edMembers() + `},
		{` + edMembers() + `},
		{"kid":"",` + edMembers() + `}
	], "other":1}`
	keys, skipped, err := ParseSet([]byte(doc))
	if err != nil || len(skipped) > 0 {
		t.Fatal(err, skipped)
	}
	var got []string
	for _, k := range keys {
		got = append(got, k.ID+"="+strings.Join(k.Algorithms(), "+"))
	}
	want := "r=RS256+RS384+RS512+PS256+PS384+PS512 rs=RS256 e1=ES256 e2=ES384 e3=ES512 ed=EdDSA+Ed25519 =EdDSA+Ed25519"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
}

func TestKeyOfASetThatIsNotFitIsLeftOut(t *testing.T) {
	k := keys()
	ec := ecMembers("P-256", k.p256)
	edX := func(hexed string) string {
		b, err := hex.DecodeString(hexed)
		if err != nil {
			t.Fatal(err)
		}
		return `"kty":"OKP","crv":"Ed25519","x":"` + b64(b) + `"`
	}
	n := func(bits int, even bool) string {
		v := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		if !even {
			v.SetBit(v, 0, 1)
		}
		return `"kty":"RSA","e":"AQAB","n":"` + b64(v.Bytes()) + `"`
	}
	point, _ := k.p256.PublicKey.Bytes()
	off := bytes.Clone(point)
	off[64] ^= 1
	for _, c := range []struct{ name, key, says string }{
		{"not an object", `"x"`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"array", `[]`, "not a JSON object"},
		{"empty", `{}`, "kty"},
		{"no kty", `{"n":"AQAB"}`, "kty"},
		{"kty number", `{"kty":1}`, "kty"},
		{"kty null", `{"kty":null}`, "kty"},
		{"unknown kty", `{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`, "not supported"},
		{"kty in lower case", `{` + strings.Replace(rsaMembers(), "RSA", "rsa", 1) + `}`, "not supported"},
		{"kid number", `{"kid":1,` + rsaMembers() + `}`, "kid"},

		{"shared secret", `{"kty":"oct","k":"` + b64(make([]byte, 64)) + `"}`, "shared secret"},
		{"private RSA key", `{"d":"AA",` + rsaMembers() + `}`, "private"},
		{"private RSA key by a prime", `{"p":"AA",` + rsaMembers() + `}`, "private"},
		{"private EC key", `{"d":"AA",` + ec + `}`, "private"},
		{"private Ed25519 key", `{"d":"AA",` + edMembers() + `}`, "private"},
		{"public key with a secret", `{"k":"AA",` + ec + `}`, "private"},

		{"use in upper case", `{"use":"SIG",` + rsaMembers() + `}`, "use"},
		{"key_ops sign alone", `{"key_ops":["sign"],` + rsaMembers() + `}`, "key_ops"},
		{"key_ops twice verify", `{"key_ops":["verify","verify"],` + rsaMembers() + `}`, "key_ops"},
		{"key_ops with encrypt", `{"key_ops":["verify","encrypt"],` + rsaMembers() + `}`, "key_ops"},
		{"key_ops text", `{"key_ops":"verify",` + rsaMembers() + `}`, "key_ops"},
		{"key_ops with a number", `{"key_ops":["verify",1],` + rsaMembers() + `}`, "key_ops"},

		{"alg of encryption", `{"alg":"RSA-OAEP-256",` + rsaMembers() + `}`, "alg"},
		{"alg none", `{"alg":"none",` + rsaMembers() + `}`, "alg"},
		{"alg of HMAC on RSA", `{"alg":"HS256",` + rsaMembers() + `}`, "alg"},
		{"alg of EC on RSA", `{"alg":"ES256",` + rsaMembers() + `}`, "alg"},
		{"alg of another curve", `{"alg":"ES384",` + ec + `}`, "alg"},
		{"alg ES521", `{"alg":"ES521",` + ecMembers("P-521", k.p521) + `}`, "alg"},

		{"RSA of 1024 bits", `{` + n(1024, false) + `}`, "too small"},
		{"RSA of 2047 bits", `{` + n(2047, false) + `}`, "too small"},
		{"RSA of 8193 bits", `{` + n(8193, false) + `}`, "too large"},
		{"RSA of a million bits", `{` + n(1_000_000, false) + `}`, "too large"},
		{"RSA with an even modulus", `{` + n(2048, true) + `}`, "even"},
		{"RSA with a small factor", `{"kty":"RSA","e":"AQAB","n":"` + b64(new(big.Int).Mul(k.rsa.N, big.NewInt(167)).Bytes()) + `"}`, "small factors"},
		{"RSA in the form of CVE-2017-15361", `{"kty":"RSA","e":"AQAB","n":"` + b64(new(big.Int).Exp(big.NewInt(65537), big.NewInt(129), nil).Bytes()) + `"}`, "weak form"},
		{"RSA without modulus", `{"kty":"RSA","e":"AQAB"}`, "missing"},
		{"RSA without exponent", `{"kty":"RSA","n":"` + b64(k.rsa.N.Bytes()) + `"}`, "missing"},
		{"RSA with exponent 1", `{` + strings.Replace(rsaMembers(), "AQAB", "AQ", 1) + `}`, "exponent"},
		{"RSA with exponent 3", `{` + strings.Replace(rsaMembers(), "AQAB", "Aw", 1) + `}`, "exponent"},
		{"RSA with exponent 65536", `{` + strings.Replace(rsaMembers(), "AQAB", "AQAA", 1) + `}`, "exponent"},
		{"RSA with a huge exponent", `{` + strings.Replace(rsaMembers(), "AQAB", "AQAAAAAB", 1) + `}`, "exponent"},
		{"RSA with padding", `{` + strings.Replace(rsaMembers(), "AQAB", "AQAB====", 1) + `}`, "base64url"},
		{"RSA with standard base64", `{"kty":"RSA","e":"AQAB","n":"++//"}`, "base64url"},
		{"RSA with a line end", `{` + strings.Replace(rsaMembers(), "AQAB", `AQ\nAB`, 1) + `}`, "base64url"},
		{"RSA with bits left over", `{` + strings.Replace(rsaMembers(), "AQAB", "AQABAB", 1) + `}`, "base64url"},
		{"RSA with a number", `{"kty":"RSA","e":65537,"n":"` + b64(k.rsa.N.Bytes()) + `"}`, "base64url"},

		{"EC without curve", `{` + strings.Replace(ec, `"crv":"P-256",`, "", 1) + `}`, "curve"},
		{"EC on P-224", `{` + strings.Replace(ec, "P-256", "P-224", 1) + `}`, "curve"},
		{"EC on secp256k1", `{` + strings.Replace(ec, "P-256", "secp256k1", 1) + `}`, "curve"},
		{"EC on another curve", `{` + strings.Replace(ec, "P-256", "P-384", 1) + `}`, "size"},
		{"EC off the curve", `{"kty":"EC","crv":"P-256","x":"` + b64(off[1:33]) + `","y":"` + b64(off[33:]) + `"}`, "curve"},
		{"EC at zero", `{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}`, "curve"},
		{"EC with a short coordinate", `{"kty":"EC","crv":"P-256","x":"` + b64(point[2:33]) + `","y":"` + b64(point[33:]) + `"}`, "size"},
		{"EC without y", `{"kty":"EC","crv":"P-256","x":"` + b64(point[1:33]) + `"}`, "size"},

		{"X25519", `{` + strings.Replace(edMembers(), "Ed25519", "X25519", 1) + `}`, "curve"},
		{"Ed448", `{` + strings.Replace(edMembers(), "Ed25519", "Ed448", 1) + `}`, "curve"},
		{"Ed25519 too short", `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, "32 bytes"},
		{"Ed25519 of order 1", `{` + edX("0100000000000000000000000000000000000000000000000000000000000000") + `}`, "small order"},
		{"Ed25519 of order 1, sign set", `{` + edX("0100000000000000000000000000000000000000000000000000000000000080") + `}`, "small order"},
		{"Ed25519 of order 2", `{` + edX("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f") + `}`, "small order"},
		{"Ed25519 of order 4", `{` + edX("0000000000000000000000000000000000000000000000000000000000000000") + `}`, "small order"},
		{"Ed25519 of order 4, sign set", `{` + edX("0000000000000000000000000000000000000000000000000000000000000080") + `}`, "small order"},
		{"Ed25519 of order 8", `{` + edX("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05") + `}`, "small order"},
		{"Ed25519 of order 8, the other", `{` + edX("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a") + `}`, "small order"},
		{"Ed25519 of order 8, sign set", `{` + edX("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa") + `}`, "small order"},
		{"Ed25519 written as p", `{` + edX("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f") + `}`, "small order"},
		{"Ed25519 written as p+1", `{` + edX("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f") + `}`, "small order"},
		{"Ed25519 off the curve", `{` + edX("0200000000000000000000000000000000000000000000000000000000000000") + `}`, "curve"},
	} {
		// A good key stands beside it and is not lost.
		keys, skipped, err := ParseSet([]byte(`{"keys":[{"kid":"good",` + edMembers() + `},` + c.key + `]}`))
		if err != nil {
			t.Errorf("%s: the whole set is refused: %v", c.name, err)
			continue
		}
		if len(keys) != 1 || keys[0].ID != "good" || len(skipped) != 1 {
			t.Errorf("%s: %d keys admitted, skipped %v", c.name, len(keys), skipped)
			continue
		}
		if msg := skipped[0].Error(); !strings.HasPrefix(msg, "key 1: ") || !strings.Contains(msg, c.says) || len(msg) > 150 {
			t.Errorf("%s: %q does not say %q", c.name, msg, c.says)
		}
	}
}

// TestSmallOrderPointsAreOfSmallOrder checks the numbers of edSmall: doubled
// three times, each is the neutral point, whose y is 1.
func TestSmallOrderPointsAreOfSmallOrder(t *testing.T) {
	mul := func(a, b *big.Int) *big.Int { v := new(big.Int).Mul(a, b); return v.Mod(v, edP) }
	div := func(a, b *big.Int) *big.Int { return mul(a, new(big.Int).ModInverse(b, edP)) }
	one := big.NewInt(1)
	for _, start := range edSmall {
		y := start
		for range 3 {
			yy := mul(y, y)
			dyy := mul(yy, edD)
			xx := div(new(big.Int).Add(new(big.Int).Sub(yy, one), edP), new(big.Int).Add(dyy, one))
			below := new(big.Int).Sub(one, mul(dyy, xx))
			y = div(new(big.Int).Add(yy, xx), below.Mod(below, edP))
		}
		if y.Cmp(one) != 0 {
			t.Errorf("y = %v is not of an order that divides 8", start)
		}
	}
	if len(edSmall) != 5 || !edP.ProbablyPrime(20) {
		t.Error("the field is not the one")
	}
}

func TestEveryGeneratedEd25519KeyIsSound(t *testing.T) {
	for range 100 {
		pub, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !soundEd25519(pub) {
			t.Fatalf("%x is refused", pub)
		}
	}
}

func TestKeysThatShareANameAreAllThere(t *testing.T) {
	k := keys()
	doc := `{"keys":[{"kid":"a",` + rsaMembers() + `},{"kid":"b",` + edMembers() + `},{"kid":"\u0061",` + ecMembers("P-256", k.p256) + `},` +
		`{"use":"sig","kid":"a",` + rsaMembers() + `},{"use":"enc","kid":"a",` + ecMembers("P-384", k.p384) + `},{"kid":"a","alg":"PS256",` + rsaMembers() + `}]}`
	admitted, skipped, err := ParseSet([]byte(doc))
	if err != nil || len(skipped) != 0 {
		t.Fatalf("skipped %v, %v", skipped, err)
	}
	var got []string
	for _, k := range admitted {
		got = append(got, k.ID+" "+strings.Join(k.Algorithms(), ","))
	}
	want := []string{"a RS256,RS384,RS512,PS256,PS384,PS512", "b EdDSA,Ed25519", "a ES256", "a PS256"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWhatProvidersWriteIsAdmittedAndNoted has what was seen in the key sets of
// providers and can be read in one way only. A key in a token, which anybody may
// have made, is read to the letter.
func TestWhatProvidersWriteIsAdmittedAndNoted(t *testing.T) {
	k := keys()
	ec := ecMembers("P-256", k.p256)
	point, _ := k.p256.PublicKey.Bytes()
	n := b64(k.rsa.N.Bytes())
	for _, c := range []struct{ name, key, note string }{
		{"kid null", `{"kid":null,` + rsaMembers() + `}`, "kid is null"},
		{"alg null", `{"alg":null,` + ec + `}`, "alg is null"},
		{"alg empty", `{"alg":"",` + ec + `}`, "alg is empty"},
		{"use null", `{"use":null,` + rsaMembers() + `}`, "use is null"},
		{"use empty", `{"use":"",` + rsaMembers() + `}`, "use is empty"},
		{"key_ops null", `{"key_ops":null,` + rsaMembers() + `}`, "key_ops is null"},
		{"key_ops empty", `{"key_ops":[],` + rsaMembers() + `}`, "key_ops is empty"},
		{"members of another kind null", `{"crv":null,"x":null,` + rsaMembers() + `}`, "crv is null; x is null"},
		{"SPIFFE", `{"use":"jwt-svid",` + ec + `}`, "use is jwt-svid"},
		{"zero before e", `{"kty":"RSA","e":"AAEAAQ","n":"` + n + `"}`, "e has leading zeros"},
		{"zeros before n", `{"kty":"RSA","e":"AQAB","n":"` + b64(append([]byte{0, 0}, k.rsa.N.Bytes()...)) + `"}`, "n has leading zeros"},
		{"zero before x", `{"kty":"EC","crv":"P-256","x":"` + b64(append([]byte{0}, point[1:33]...)) + `","y":"` + b64(point[33:]) + `"}`, "x has leading zeros"},
	} {
		keys, skipped, err := ParseSet([]byte(`{"keys":[` + c.key + `]}`))
		if err != nil || len(keys) != 1 || len(skipped) != 0 {
			t.Errorf("%s: %d keys, skipped %v, %v", c.name, len(keys), skipped, err)
			continue
		}
		if keys[0].Note != c.note {
			t.Errorf("%s: noted %q, want %q", c.name, keys[0].Note, c.note)
		}
		want := map[bool]string{true: "RSA", false: "EC"}[strings.Contains(c.key, "RSA")]
		if !strings.Contains(string(keys[0].required()), want) || strings.Contains(string(keys[0].required()), `"n":"A`) {
			t.Errorf("%s: read as %s", c.name, keys[0].required())
		}
		if _, err := Parse([]byte(c.key)); err == nil {
			t.Errorf("%s: accepted in a token", c.name)
		}
	}
}

func TestSingleKeysAndPEMByNameAreSets(t *testing.T) {
	k := keys()
	asText := func(b []byte) string { return string(strictjson.AppendString(nil, string(b))) }
	for name, c := range map[string]struct {
		doc  string
		want []string
		left int
	}{
		"JWK":             {`{"kid":"a",` + edMembers() + `}`, []string{"a"}, 0},
		"byte order mark": {"\ufeff" + `{"keys":[{"kid":"a",` + edMembers() + `}]}`, []string{"a"}, 0},
		"certificates":    {`{"one":` + asText(certificate(t, &k.rsa.PublicKey, k.rsa)) + `,"two":` + asText(pkix2pem(t, &k.p256.PublicKey)) + `}`, []string{"one", "two"}, 0},
		"a private key":   {`{"one":` + asText(pkix2pem(t, &k.p256.PublicKey)) + `,"two":` + asText(pemOf(t, "EC PRIVATE KEY", []byte{1}, nil)) + `}`, []string{"one"}, 1},
		"a secret alone":  {`{"kty":"oct","k":"` + b64(make([]byte, 64)) + `"}`, nil, 1},
	} {
		keys, skipped, err := ParseSet([]byte(c.doc))
		var ids []string
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		if err != nil || !slices.Equal(ids, c.want) || len(skipped) != c.left {
			t.Errorf("%s: got %q, skipped %v, %v", name, ids, skipped, err)
		}
	}
	for _, doc := range []string{`{"one":"-----BEGIN","two":1}`, `{"one":"two"}`} {
		if _, _, err := ParseSet([]byte(doc)); err == nil {
			t.Errorf("%s is taken for a set", doc)
		}
	}
}

func TestTextThatIsNoSetIsRefused(t *testing.T) {
	good := `{` + edMembers() + `}`
	for name, doc := range map[string]string{
		"empty":              ``,
		"HTML":               `<html>`,
		"array":              `[` + good + `]`,
		"keys missing":       `{}`,
		"keys null":          `{"keys":null}`,
		"keys an object":     `{"keys":{}}`,
		"keys in upper case": `{"KEYS":[]}`,
		"keys twice":         `{"keys":[],"keys":[` + good + `]}`,
		"member twice below": `{"keys":[{"kid":"a","kid":"b",` + edMembers() + `}]}`,
		"rest":               `{"keys":[]}{}`,
		"cut":                `{"keys":[` + good,
		"not UTF-8":          "{\"keys\":[{\"kid\":\"\xff\"," + edMembers() + "}]}",
		"too deep":           `{"keys":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"too large":          `{"keys":[]` + strings.Repeat(" ", MaxSetSize) + `}`,
		"too many":           `{"keys":[` + strings.Repeat("{},", MaxSetKeys) + `{}]}`,
	} {
		if keys, _, err := ParseSet([]byte(doc)); err == nil || keys != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if keys, skipped, err := ParseSet([]byte(`{"keys":[]}`)); err != nil || len(keys)+len(skipped) != 0 {
		t.Errorf("empty set: %v, %v, %v", keys, skipped, err)
	}
	if _, skipped, err := ParseSet([]byte(`{"keys":[` + strings.Repeat("{},", MaxSetKeys-1) + `{}]}`)); err != nil || len(skipped) != MaxSetKeys {
		t.Errorf("largest set: %v", err)
	}
}

func TestPrintedSetIsReadBack(t *testing.T) {
	k := keys()
	doc := `{"keys":[{"kid":"a\"\\\u0000é",` + rsaMembers() + `},{"alg":"ES256",` + ecMembers("P-256", k.p256) + `},{"kid":"c","alg":"Ed25519",` + edMembers() + `},{` + ecMembers("P-521", k.p521) + `}]}`
	first, _, err := ParseSet([]byte(doc))
	if err != nil || len(first) != 4 {
		t.Fatal(err)
	}
	secret, err := Static("HS256", make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	printed := FormatSet(append([]*Key{secret}, first...))
	if bytes.Contains(printed, []byte("oct")) {
		t.Error("a secret is printed")
	}
	again, skipped, err := ParseSet(printed)
	if err != nil || len(skipped) > 0 || len(again) != len(first) {
		t.Fatalf("%v %v %s", err, skipped, printed)
	}
	for i, k := range again {
		if k.ID != first[i].ID || k.Alg != first[i].Alg || k.Thumbprint() != first[i].Thumbprint() {
			t.Errorf("key %d: %+v", i, k)
		}
	}
	if !bytes.Equal(printed, FormatSet(again)) {
		t.Error("printing differs the second time")
	}
}

// TestThumbprintIsThatOfTheStandards uses RFC 7638 section 3.1 and RFC 8037
// appendix A.3.
func TestThumbprintIsThatOfTheStandards(t *testing.T) {
	for doc, want := range map[string]string{
		`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
	} {
		k, err := parse([]byte(doc), false)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Thumbprint(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	secret, err := Static("HS256", make([]byte, 32))
	if err != nil || secret.Thumbprint() != "" {
		t.Error("a secret has a thumbprint")
	}
}

func TestSignatureIsVerifiedByItsAlgorithmAlone(t *testing.T) {
	k := keys()
	admitted, _, err := ParseSet([]byte(`{"keys":[{` + rsaMembers() + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("text")
	sum := sha256.Sum256(text)
	sig, err := rsa.SignPKCS1v15(rand.Reader, k.rsa, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range algorithms {
		want := error(ErrAlgorithm)
		switch {
		case a.name == "RS256":
			want = nil
		case admitted[0].Fits(a.name):
			want = ErrSignature
		}
		if err := admitted[0].Verify(a.name, string(text), sig); err != want {
			t.Errorf("%s: got %v, want %v", a.name, err, want)
		}
	}
}

// FuzzParseSet holds that whatever is admitted is printed and read back as the
// same keys, that its rules hold, and that nothing panics.
func FuzzParseSet(f *testing.F) {
	k := keys()
	for _, set := range []string{
		`{"keys":[]}`,
		`{"keys":[{` + rsaMembers() + `},{"kid":"a",` + ecMembers("P-256", k.p256) + `}]}`,
		`{"keys":[{"kid":"a","alg":"EdDSA","use":"sig","key_ops":["verify"],` + edMembers() + `}]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"P-384","x":"","y":""},1]}`,
		`{"keys":[{` + ecMembers("P-521", k.p521) + `}]}`,
	} {
		f.Add([]byte(set))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		first, _, err := ParseSet(doc)
		if err != nil {
			return
		}
		for i, k := range first {
			if k.Symmetric() || len(k.Algorithms()) == 0 || slices.ContainsFunc(first[:i], k.same) {
				t.Fatalf("admitted %+v", k)
			}
			for _, alg := range k.Algorithms() {
				if k.Verify(alg, string(doc), doc) == nil {
					t.Fatal("verified anything")
				}
			}
		}
		printed := FormatSet(first)
		again, skipped, err := ParseSet(printed)
		if err != nil || len(skipped) > 0 || !bytes.Equal(printed, FormatSet(again)) {
			t.Fatalf("%s is not read back: %v %v", printed, err, skipped)
		}
		for i, k := range again {
			if fmt.Sprint(k.Algorithms(), k.ID, k.Thumbprint()) != fmt.Sprint(first[i].Algorithms(), first[i].ID, first[i].Thumbprint()) {
				t.Fatalf("%s is another key", printed)
			}
		}
	})
}
