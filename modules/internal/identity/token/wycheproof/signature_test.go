package wycheproof

import (
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// signatureFiles are vectors of the signatures themselves, with the algorithm
// that they are of and how many are to be accepted. In the last ones the salt or
// the mask is not as the algorithm wants, so that what is valid there is wrong here.
var signatureFiles = []struct {
	name   string
	alg    string
	accept int
	wrong  bool
}{
	{"rsa_signature_2048_sha256_test.json", "RS256", 7, false},
	{"rsa_signature_2048_sha384_test.json", "RS384", 7, false},
	{"rsa_signature_2048_sha512_test.json", "RS512", 7, false},
	{"rsa_signature_3072_sha256_test.json", "RS256", 7, false},
	{"rsa_signature_3072_sha384_test.json", "RS384", 7, false},
	{"rsa_signature_3072_sha512_test.json", "RS512", 7, false},
	{"rsa_signature_4096_sha256_test.json", "RS256", 7, false},
	{"rsa_signature_4096_sha384_test.json", "RS384", 7, false},
	{"rsa_signature_4096_sha512_test.json", "RS512", 7, false},
	{"rsa_signature_8192_sha256_test.json", "RS256", 7, false},
	{"rsa_signature_8192_sha384_test.json", "RS384", 7, false},
	{"rsa_signature_8192_sha512_test.json", "RS512", 7, false},
	{"rsa_pss_2048_sha256_mgf1_32_test.json", "PS256", 63, false},
	{"rsa_pss_2048_sha384_mgf1_48_test.json", "PS384", 95, false},
	{"rsa_pss_3072_sha256_mgf1_32_test.json", "PS256", 63, false},
	{"rsa_pss_4096_sha256_mgf1_32_test.json", "PS256", 63, false},
	{"rsa_pss_4096_sha384_mgf1_48_test.json", "PS384", 95, false},
	{"rsa_pss_4096_sha512_mgf1_64_test.json", "PS512", 132, false},
	{"ecdsa_secp256r1_sha256_p1363_test.json", "ES256", 173, false},
	{"ecdsa_secp384r1_sha384_p1363_test.json", "ES384", 193, false},
	{"ecdsa_secp521r1_sha512_p1363_test.json", "ES512", 231, false},
	{"ed25519_test.json", "EdDSA", 88, false},
	{"rsa_pss_2048_sha256_mgf1_0_test.json", "PS256", 1, true},      // salt of another length
	{"rsa_pss_2048_sha256_mgf1sha1_20_test.json", "PS256", 0, true}, // mask of another hash
	{"rsa_pss_4096_sha512_mgf1_32_test.json", "PS512", 0, true},     // salt of another length
}

func TestSignatures(t *testing.T) {
	for _, c := range signatureFiles {
		t.Run(c.name, func(t *testing.T) {
			doc, err := fs.ReadFile(wycheproof.TestVectors, c.name)
			if err != nil {
				t.Fatal(err)
			}
			var f struct {
				TestGroups []struct {
					PublicKeyPem string
					Tests        []struct {
						TcID             int
						Comment          string
						Msg, Sig, Result string
					}
				}
			}
			if err := json.Unmarshal(doc, &f); err != nil {
				t.Fatal(err)
			}
			accepted := 0
			for _, g := range f.TestGroups {
				key, keyErr := jwk.Static(c.alg, []byte(g.PublicKeyPem))
				for _, test := range g.Tests {
					msg, err1 := hex.DecodeString(test.Msg)
					sig, err2 := hex.DecodeString(test.Sig)
					if err1 != nil || err2 != nil {
						t.Fatal(err1, err2)
					}
					err := keyErr
					if err == nil {
						err = key.Verify(c.alg, string(msg), sig)
					}
					if err == nil {
						accepted++
					}
					// "acceptable" is what some accept and none should.
					judge(t, c.name, test.TcID, test.Comment, test.Result == "valid" && !c.wrong, err)
				}
			}
			if accepted != c.accept {
				t.Errorf("%d accepted, want %d", accepted, c.accept)
			}
		})
	}
}
