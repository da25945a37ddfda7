package jwtauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func publicPEM(t *testing.T) (text string, der []byte) {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), der
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysAreReadInEveryWayThatIsDocumented(t *testing.T) {
	text, der := publicPEM(t)
	b64 := base64.StdEncoding.EncodeToString
	jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString([]byte(secret)) + `"}`
	path := file(t, "key.pem", text)
	t.Setenv("K_PEM", text)
	t.Setenv("K_PATH", path)
	t.Setenv("K_RAW", secret)
	t.Setenv("K_B64", "base64:"+b64([]byte(secret)))
	t.Setenv("K_JWK", jwk)
	slash := "/" + strings.Repeat("A", 42) + "="
	for name, k := range map[string]Key{
		"PEM":                     {"EdDSA", text},
		"PEM file":                {"EdDSA", path},
		"DER file":                {"EdDSA", file(t, "key.der", string(der))},
		"base64 of DER":           {"EdDSA", b64(der)},
		"base64 of PEM":           {"EdDSA", b64([]byte(text))},
		"base64: prefix":          {"EdDSA", "base64:" + b64(der)},
		"PEM in a variable":       {"EdDSA", "{env.K_PEM}"},
		"path in a variable":      {"EdDSA", "{env.K_PATH}"},
		"PEM by file placeholder": {"EdDSA", "{file." + path + "}"},
		"secret in a variable":    {"HS256", "{env.K_RAW}"},
		"secret in base64":        {"HS256", "{env.K_B64}"},
		"secret as JWK":           {"HS256", "{env.K_JWK}"},
		"secret file":             {"HS256", "{file." + file(t, "secret", secret+"\n") + "}"},
		"secret written out":      {"HS256", b64([]byte(secret))},
		"secret with a slash":     {"HS256", slash},
		"secret in base64url":     {"HS256", strings.Repeat("-_Aa", 12)},
		"JWK written out":         {"HS256", jwk},
	} {
		if _, err := k.load(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyThatCannotBeUsedIsRefusedWithoutShowingIt(t *testing.T) {
	text, der := publicPEM(t)
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	privDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	privPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privDER}))
	t.Setenv("K_EMPTY", "")
	t.Setenv("K_SHORT", "hunter2hunter2")
	t.Setenv("K_PEM", text)
	for _, test := range []struct {
		name    string
		k       Key
		naming  string
		showing string
	}{
		{"missing file", Key{"RS256", "/nowhere/key.pem"}, "/nowhere/key.pem", ""},
		{"empty file", Key{"RS256", file(t, "empty.pem", "")}, "empty.pem", ""},
		{"blank file", Key{"RS256", file(t, "blank.pem", " \n\n")}, "blank.pem", ""},
		{"garbled file", Key{"RS256", file(t, "bad.pem", "hunter2")}, "bad.pem", "hunter2"},
		{"truncated file", Key{"EdDSA", file(t, "cut.pem", text[:len(text)/2])}, "cut.pem", text[30:50]},
		{"private key", Key{"ES256", file(t, "priv.pem", privPEM)}, "priv.pem", privPEM[40:60]},
		{"another algorithm", Key{"RS256", file(t, "ed.pem", text)}, "ed.pem", ""},
		{"unset variable", Key{"HS256", "{env.K_UNSET}"}, "{env.K_UNSET}", ""},
		{"empty variable", Key{"HS256", "{env.K_EMPTY}"}, "{env.K_EMPTY}", ""},
		{"missing secret file", Key{"HS256", "{file./nowhere/secret}"}, "{file./nowhere/secret}", ""},
		{"unknown placeholder", Key{"HS256", "{vault.secret}"}, "{vault.secret}", ""},
		{"short secret", Key{"HS256", "{env.K_SHORT}"}, "{env.K_SHORT}", "hunter2"},
		{"public key as secret", Key{"HS256", "{env.K_PEM}"}, "{env.K_PEM}", text[30:50]},
		{"DER as secret", Key{"HS256", base64.StdEncoding.EncodeToString(der)}, "HS256", base64.StdEncoding.EncodeToString(der)},
		{"secret as text", Key{"HS256", "hunter2-is-not-base64!hunter2-is-not-base64!"}, "HS256", "hunter2"},
		{"short literal", Key{"HS256", "aHVudGVyMg=="}, "HS256", "aHVudGVyMg"},
		{"bad base64", Key{"EdDSA", "base64:hunter2!"}, "EdDSA", "hunter2"},
		{"broken JWK", Key{"HS256", `{"kty":"oct","k":"hunter2}`}, "HS256", "hunter2"},
		{"mixed text", Key{"HS256", "hunter2{env.K_SHORT}"}, "HS256", "hunter2"},
		{"none", Key{"none", "{env.K_SHORT}"}, "none", ""},
		{"unknown algorithm", Key{"HS1", "{env.K_SHORT}"}, "HS1", ""},
	} {
		_, err := test.k.load()
		switch {
		case err == nil:
			t.Errorf("%s: accepted", test.name)
		case !strings.Contains(err.Error(), test.naming) || !strings.Contains(err.Error(), "key"):
			t.Errorf("%s: the error does not name %s: %v", test.name, test.naming, err)
		case test.showing != "" && strings.Contains(err.Error(), test.showing):
			t.Errorf("%s: the error shows the key: %v", test.name, err)
		}
	}
}

func TestWhatOnlyLoadingCanFindNamesTheDirectiveAndTheOption(t *testing.T) {
	t.Setenv("MOAT_SECRET", secret)
	for block, parts := range map[string][]string{
		"key HS256 {env.NOPE}":                               {"jwt_auth", "key HS256", "{env.NOPE}"},
		"jwks /nowhere.json":                                 {"jwt_auth", "jwks", "/nowhere.json"},
		"jwks {env.NOPE}":                                    {"jwt_auth", "jwks", "{env.NOPE}"},
		"jwks " + file(t, "e.json", ""):                      {"jwt_auth", "jwks", "e.json", "empty"},
		shared + "audience {env.NOPE}":                       {"jwt_auth", "audience", "{env.NOPE}"},
		shared + "revocations /nowhere":                      {"jwt_auth", "revocations", "/nowhere"},
		shared + "revocations {env.NOPE}":                    {"jwt_auth", "revocations", "{env.NOPE}"},
		shared + "revocations " + file(t, "r", "garbage"):    {"jwt_auth", "revocations", "line 1"},
		"issuer internal {\n\talgorithms ES256\n}":           {"jwt_auth", "issuer internal", "algorithms"},
		shared + "algorithms RS256":                          {"jwt_auth", "algorithms", "RS256"},
		"issuer {env.NOPE} {\n" + shared + "\n}":             {"jwt_auth", "issuer", "{env.NOPE}"},
		"issuer {env.MOAT_SECRET}":                           {"jwt_auth", "discovered"},
		"issuer x {\n\tjwks ftp://x/y\n}":                    nil,
		"issuer a {\n" + shared + "\tkey RS256 /no.pem\n}\n": {"jwt_auth", "issuer a", "key RS256", "/no.pem"},
	} {
		if parts == nil {
			if _, err := parse("jwt_auth {\n" + block + "\n}"); err == nil {
				t.Errorf("%s was accepted", block)
			}
			continue
		}
		_, err := load(t, testContext(t), block)
		if err == nil {
			t.Errorf("%s was accepted", block)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s\nthe error does not say %s: %v", block, part, err)
			}
		}
	}
}

// TestPlaceholderThatIsNoneIsNoSecret: whoever misspells a placeholder must
// not end up with its text as the secret, which anybody could guess.
func TestPlaceholderThatIsNoneIsNoSecret(t *testing.T) {
	t.Setenv("A_SECRET_WITH_A_LONG_NAME", strings.Repeat("s", 64))
	for _, value := range []string{
		"{env.A_SECRET_WITH_A_LONG_NAME}{env.A_SECRET_WITH_A_LONG_NAME}",
		"{env.A_SECRET_WITH_A_LONG_NAME}-and-a-suffix",
		"{env:A_SECRET_WITH_A_LONG_NAME_OF_TWO_PARTS}",
		"{A_SECRET_WITH_A_LONG_NAME_AND_NO_KIND}",
		"{{env.A_SECRET_WITH_A_LONG_NAME_TWO}}",
		"{ env.A_SECRET_WITH_A_LONG_NAME_SPACES }",
		"{$A_SECRET_WITH_A_LONG_NAME_AND_SIGN}",
		`{"kid":"a key without its kind, which is long enough"}`,
		`{"KTY":"oct","k":"and this is long enough as well"}`,
		`{"kty" is in it and it is no JSON, but long enough}`,
	} {
		_, err := Key{"HS256", value}.load()
		if err == nil {
			t.Errorf("%s is taken for a secret", value)
			continue
		}
		if strings.Contains(err.Error(), "LONG_NAME") || strings.Contains(err.Error(), "long enough") {
			t.Errorf("%s: the error shows what is written: %v", value, err)
		}
	}
	// What a variable holds is the secret, whatever it looks like.
	t.Setenv("A_SECRET", "{this is the text of a secret with braces}")
	if _, err := (Key{"HS256", "{env.A_SECRET}"}).load(); err != nil {
		t.Error(err)
	}
}
