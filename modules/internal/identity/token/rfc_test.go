package token

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Keys and tokens that the standards print. The text that RFC 7520 signs is
// one sentence, and that of RFC 7515 A.1 to A.3 one set of claims.
const (
	frodo = "It\xe2\x80\x99s a dangerous business, Frodo, going out your door. You step onto the road, and if you don't keep your feet, there\xe2\x80\x99s no knowing where you might be swept off to."
	joe   = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"

	frodo64 = ".SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4."
	joe64   = ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."

	bilboRSA = `{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}`
	bilboEC  = `{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521","x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt","y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}`
	bilboMAC = `{"kty":"oct","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037","use":"sig","alg":"HS256","k":"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"}`
)

type published struct {
	where string
	alg   string
	key   string
	raw   string
	text  string
}

var publishedTokens = []published{
	{
		"RFC 7515 A.1", "HS256",
		`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`,
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" + joe64 + "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", joe,
	},
	{
		"RFC 7515 A.2", "RS256",
		`{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
		"eyJhbGciOiJSUzI1NiJ9" + joe64 + "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw", joe,
	},
	{
		"RFC 7515 A.3", "ES256",
		`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
		"eyJhbGciOiJFUzI1NiJ9" + joe64 + "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", joe,
	},
	{
		"RFC 7515 A.4", "ES512",
		`{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`,
		"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn", "Payload",
	},
	{
		"RFC 7520 4.1", "RS256", bilboRSA,
		"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9" + frodo64 + "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg", frodo,
	},
	{
		"RFC 7520 4.2", "PS384", bilboRSA,
		"eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9" + frodo64 + "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw", frodo,
	},
	{
		"RFC 7520 4.3", "ES512", bilboEC,
		"eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9" + frodo64 + "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2", frodo,
	},
	{
		"RFC 7520 4.4", "HS256", bilboMAC,
		"eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9" + frodo64 + "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0", frodo,
	},
	{
		"RFC 8037 A.4", "EdDSA",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
		"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg", "Example of Ed25519 signing",
	},
}

func TestPublishedTokensAreVerified(t *testing.T) {
	for _, p := range publishedTokens {
		key, err := jwk.Static(p.alg, []byte(p.key))
		if err != nil {
			t.Errorf("%s: %v", p.where, err)
			continue
		}
		text, err := Open(p.raw, key)
		if err != nil || string(text) != p.text {
			t.Errorf("%s: %q, %v", p.where, text, err)
		}
		// No other of them can be told it is this one.
		for _, other := range publishedTokens {
			if other.key != p.key {
				if _, err := Open(other.raw, key); err == nil {
					t.Errorf("%s: the key verifies %s too", p.where, other.where)
				}
			}
		}
	}
}

func TestPublishedTokensThatAreNotOursAreRefused(t *testing.T) {
	key, err := jwk.Static("HS256", []byte(bilboMAC))
	if err != nil {
		t.Fatal(err)
	}
	for where, raw := range map[string]string{
		"RFC 7515 A.5 (unsecured)":          "eyJhbGciOiJub25lIn0" + joe64,
		"RFC 7520 4.5 (detached content)":   "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9..s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
		"RFC 7519 6.1 (unsecured)":          "eyJhbGciOiJub25lIn0" + joe64,
		"RFC 7515 E (crit not understood)":  b64(`{"alg":"HS256","crit":["http://example.invalid/UNDEFINED"],"http://example.invalid/UNDEFINED":true}`) + ".RkFJTA.",
		"RFC 7797 4.2 (unencoded, in dots)": b64(`{"alg":"HS256","b64":false,"crit":["b64"]}`) + "..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY",
	} {
		if text, err := Open(raw, key); err == nil {
			t.Errorf("%s: accepted as %q", where, text)
		}
	}
}

// TestJoeIsAuthenticated takes RFC 7515 A.1 to A.3 as the tokens they are, at
// a time at which they are good.
func TestJoeIsAuthenticated(t *testing.T) {
	for _, p := range publishedTokens[:3] {
		key, err := jwk.Static(p.alg, []byte(p.key))
		if err != nil {
			t.Fatal(err)
		}
		v := verifier(t, Options{}, Issuer{Name: "joe", Keys: StaticKeys(key), Subject: principal.Pointer{"iss"}})
		tok, err := v.Verify(context.Background(), p.raw, time.Unix(1300819379, 0))
		if err != nil || tok.Principal.ID != "joe" {
			t.Errorf("%s: %v", p.where, err)
			continue
		}
		if root, _ := tok.Principal.Claims.Lookup(principal.Pointer{"http://example.com/is_root"}); root != true {
			t.Errorf("%s: is_root = %v", p.where, root)
		}
		if _, err := v.Verify(context.Background(), p.raw, time.Unix(1300819380, 0)); reasonOf(err) != ReasonExpired {
			t.Errorf("%s: at its expiry: %v", p.where, err)
		}
	}
}

// TestProofIsOpened is the example of RFC 9449 section 4.1, and what
// can be wrong with its like.
func TestProofIsOpened(t *testing.T) {
	const published = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	p, err := OpenProof(published)
	if err != nil {
		t.Fatal(err)
	}
	want := Proof{ID: "-BwC3ESc6acc2lTc", Method: "POST", URI: "https://server.example.com/token", IssuedAt: time.Unix(1562262616, 0), Thumbprint: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
	if *p != want {
		t.Errorf("got %+v, want %+v", *p, want)
	}

	pair := families()["ES256"]
	public := string(jwk.FormatSet([]*jwk.Key{pair.verify}))
	public = strings.TrimSuffix(strings.TrimPrefix(public, `{"keys":[`), `]}`)
	header := func(with string) string { return `{"typ":"dpop+jwt","alg":"ES256","jwk":` + public + with + `}` }
	const claims = `{"jti":"1","htm":"GET","htu":"https://a.example/","iat":1795341600,"ath":"x","nonce":"n"}`
	if _, err := OpenProof(signParts(t, pair, header(""), claims)); err != nil {
		t.Error(err)
	}
	other := families()["ES384"]
	secret := `{"kty":"oct","k":"` + b64(secret) + `"}`
	for name, c := range map[string]struct {
		raw  string
		want Reason
	}{
		"signed by another":   {strings.Replace(signParts(t, pair, header(""), claims), b64(claims), b64(strings.Replace(claims, "GET", "PUT", 1)), 1), ReasonSignature},
		"no key":              {signParts(t, pair, `{"typ":"dpop+jwt","alg":"ES256"}`, claims), ReasonMalformed},
		"key null":            {signParts(t, pair, `{"typ":"dpop+jwt","alg":"ES256","jwk":null}`, claims), ReasonUnknownKey},
		"key by address":      {signParts(t, pair, header(`,"jku":"https://a.example"`), claims), ReasonHeader},
		"extension":           {signParts(t, pair, header(`,"crit":["jwk"]`), claims), ReasonHeader},
		"private key":         {signParts(t, pair, strings.Replace(header(""), `{"crv"`, `{"d":"AA","crv"`, 1), claims), ReasonUnknownKey},
		"shared secret":       {signParts(t, families()["HS256"], `{"typ":"dpop+jwt","alg":"HS256","jwk":`+secret+`}`, claims), ReasonUnknownKey},
		"unsigned":            {b64(`{"typ":"dpop+jwt","alg":"none","jwk":`+public+`}`) + "." + b64(claims) + ".", ReasonAlgorithm},
		"another algorithm":   {signParts(t, other, strings.Replace(header(""), `"alg":"ES256","jwk"`, `"alg":"ES384","jwk"`, 1), claims), ReasonAlgorithm},
		"another type":        {signParts(t, pair, strings.Replace(header(""), "dpop+jwt", "JWT", 1), claims), ReasonType},
		"no type":             {signParts(t, pair, strings.Replace(header(""), `"typ":"dpop+jwt",`, "", 1), claims), ReasonType},
		"no jti":              {signParts(t, pair, header(""), strings.Replace(claims, `"jti":"1",`, "", 1)), ReasonMalformed},
		"no htm":              {signParts(t, pair, header(""), strings.Replace(claims, `"htm":"GET",`, "", 1)), ReasonMalformed},
		"no htu":              {signParts(t, pair, header(""), strings.Replace(claims, `"htu":"https://a.example/",`, "", 1)), ReasonMalformed},
		"no iat":              {signParts(t, pair, header(""), strings.Replace(claims, `"iat":1795341600,`, "", 1)), ReasonMalformed},
		"iat text":            {signParts(t, pair, header(""), strings.Replace(claims, `1795341600`, `"1795341600"`, 1)), ReasonMalformed},
		"jti empty":           {signParts(t, pair, header(""), strings.Replace(claims, `"jti":"1"`, `"jti":""`, 1)), ReasonMalformed},
		"jti number":          {signParts(t, pair, header(""), strings.Replace(claims, `"jti":"1"`, `"jti":1`, 1)), ReasonMalformed},
		"ath null":            {signParts(t, pair, header(""), strings.Replace(claims, `"ath":"x"`, `"ath":null`, 1)), ReasonMalformed},
		"htm twice":           {signParts(t, pair, header(""), strings.Replace(claims, `{`, `{"htm":"PUT",`, 1)), ReasonMalformed},
		"larger than allowed": {published + strings.Repeat("A", DefaultMaxTokenSize), ReasonMalformed},
		"access token":        {sign(t, pair, goodClaims), ReasonType},
	} {
		p, err := OpenProof(c.raw)
		if err == nil || reasonOf(err) != c.want {
			t.Errorf("%s: got %v, %v, want %s", name, p, err, c.want)
		}
	}
	// A proof is not a credential.
	if !json.Valid([]byte(claims)) {
		t.Fatal("the claims of this test are no JSON")
	}
	refused(t, verifier(t, Options{}, standard(pair)), signParts(t, pair, header(""), goodClaims), ReasonHeader)
}
