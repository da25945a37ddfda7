package token

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// signPadded makes a token as AWS does: each part padded, and the padding
// signed.
func signPadded(t testing.TB, p pair, header, claims string) string {
	t.Helper()
	b64 := base64.URLEncoding.EncodeToString
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	sig, err := jwt.GetSigningMethod(p.alg).Sign(signed, p.sign)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(sig)
}

const albHeader = `{"typ":"JWT","kid":"k","alg":"ES256","iss":"https://id.example.com","client":"c","signer":"arn:aws:lb/1","exp":1}`

// TestPaddedTokensAreOfIssuersThatPad: padding is a second spelling of any other
// token.
func TestPaddedTokensAreOfIssuersThatPad(t *testing.T) {
	p := families()["ES256"]
	alb := standard(p)
	alb.Padded, alb.Signer = true, "arn:aws:lb/1"
	plain := verifier(t, Options{Cache: 10}, standard(p))
	padded := verifier(t, Options{Cache: 10}, alb)
	header := strings.Replace(albHeader, `"kid":"k",`, "", 1)
	// Each length of padding, in both parts.
	for _, extra := range []string{"", " ", "  "} {
		for _, more := range []string{"", " ", "  "} {
			good := signPadded(t, p, header+extra, goodClaims+more)
			for range 2 { // and from the cache
				tok, err := padded.Verify(context.Background(), good, now)
				if err != nil {
					t.Errorf("%q: %v", good, err)
					continue
				}
				if mail, ok := tok.Principal.Claims.Lookup(principal.Pointer{"email"}); !ok || mail != "alice@example.com" {
					t.Errorf("%q: the claims say %v", good, mail)
				}
			}
			refused(t, plain, good, ReasonMalformed)
			for name, raw := range map[string]string{
				"without padding":     strings.ReplaceAll(good, "=", ""),
				"without some":        strings.TrimRight(good, "="),
				"with half of it":     strings.TrimSuffix(good, "="),
				"with more":           good + "=",
				"with an empty part":  good[:strings.LastIndex(good, ".")+1] + "=",
				"with padding inside": strings.Replace(good, ".", "=.", 1),
				"with a line break":   good[:10] + "\n" + good[10:],
			} {
				if raw == good {
					continue
				}
				if tok, err := padded.Verify(context.Background(), raw, now); err == nil {
					t.Errorf("%s: %q is accepted: %+v", name, raw, tok)
				}
			}
		}
	}
	// A token of ours, signed by the same key, that is not padded.
	refused(t, padded, sign(t, p, goodClaims), ReasonMalformed)
}

func TestTheSignerMustBeTheOneThatIsNamed(t *testing.T) {
	p := families()["ES256"]
	alb := standard(p)
	alb.Padded, alb.Signer = true, "arn:aws:lb/1"
	v := verifier(t, Options{}, alb)
	for signer, want := range map[string]Reason{
		`"arn:aws:lb/1"`: "", `"arn:aws:lb/2"`: ReasonHeader, `"arn:aws:lb/1 "`: ReasonHeader, `"ARN:AWS:LB/1"`: ReasonHeader, `""`: ReasonHeader,
		`null`: ReasonHeader, `["arn:aws:lb/1"]`: ReasonHeader, `{}`: ReasonHeader, `"arn:aws:lb\/1"`: "",
	} {
		raw := signPadded(t, p, `{"alg":"ES256","signer":`+signer+`}`, goodClaims)
		if want == "" {
			if _, err := v.Verify(context.Background(), raw, now); err != nil {
				t.Errorf("%s: %v", signer, err)
			}
			continue
		}
		refused(t, v, raw, want)
	}
	refused(t, v, signPadded(t, p, `{"alg":"ES256"}`, goodClaims), ReasonHeader)
	refused(t, v, signPadded(t, p, `{"alg":"ES256","signer":"arn:aws:lb/1","signer":"arn:aws:lb/2"}`, goodClaims), ReasonMalformed)
	// Who does not ask for it does not care what it is.
	if _, err := verifier(t, Options{}, standard(p)).Verify(context.Background(), signParts(t, p, `{"alg":"ES256","signer":[1]}`, goodClaims), now); err != nil {
		t.Error(err)
	}
}
