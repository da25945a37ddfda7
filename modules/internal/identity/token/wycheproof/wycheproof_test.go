// Package wycheproof runs the JWS and JWK vectors of Project Wycheproof
// against the engines of jwt_auth. It is a module of its own, since the vectors
// take 109 MB that nobody who builds the plugin should have to download:
//
//	cd modules/internal/token/wycheproof && go test ./...
package wycheproof

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// exceptions are the vectors on which we differ, each with the reason. A
// vector that stands here and agrees all the same fails the test, and so does
// one that differs and does not stand here.
var exceptions = map[string]map[int]string{
	"json_web_signature_test.json": {
		346: `valid, but the key says "alg":"PS256" and the token PS384: an algorithm is pinned to its key`,
		350: `valid, but the key says "alg":"PS256" and the token PS384: an algorithm is pinned to its key`,
		347: `valid, but the key says "alg":"ES521", which is no algorithm (RFC 7518 section 3.1)`,
		351: `valid, but the key says "alg":"ES521", which is no algorithm (RFC 7518 section 3.1)`,
		367: "invalid, but the same token and the same key as vector 357, which is valid",
		370: "invalid, but the same token and the same key as vector 357, which is valid",
		372: "valid, but has a question mark in it, which is no character of base64url (RFC 7515 section 2)",
		373: "valid, but has a question mark in it, which is no character of base64url (RFC 7515 section 2)",
	},
	"rsa_signature_2048_sha256_test.json": {258: exponent3, 259: exponent3},
	"rsa_signature_2048_sha512_test.json": {259: exponent3},
	"rsa_signature_3072_sha256_test.json": {259: exponent3},
	"rsa_signature_3072_sha512_test.json": {260: exponent3},
	"rsa_pss_2048_sha256_mgf1_0_test.json": {
		69: "invalid where the salt is to be empty; its salt of 32 bytes is what PS256 wants (RFC 7518 section 3.5)",
	},
}

const exponent3 = "valid, but the public exponent is 3: FIPS 186-5 section 5.1 wants more than 65536"

// judge fails unless the verdict is the expected one or excepted.
func judge(t *testing.T, file string, id int, comment string, valid bool, err error) {
	t.Helper()
	reason, excepted := exceptions[file][id]
	agrees := (err == nil) == valid
	switch {
	case !agrees && !excepted:
		t.Errorf("%d (%s): valid is %v, got %v", id, comment, valid, err)
	case agrees && excepted:
		t.Errorf("%d: excepted for no reason: %s", id, reason)
	}
}

type file struct {
	TestGroups []struct {
		Comment string
		Public  json.RawMessage
		Private json.RawMessage
		Tests   []struct {
			TcID    int
			Comment string
			JWS     any
			JWE     any
			Result  string
		}
	}
}

func TestVectors(t *testing.T) {
	for name, atLeast := range map[string]int{
		"json_web_signature_test.json": 401,
		"json_web_key_test.json":       26,
		"json_web_crypto_test.json":    49, // the others of its 83 are JWE
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := fs.ReadFile(wycheproof.TestVectors, name)
			if err != nil {
				t.Fatal(err)
			}
			var f file
			if err := json.Unmarshal(doc, &f); err != nil {
				t.Fatal(err)
			}
			ran := 0
			for _, g := range f.TestGroups {
				material := g.Public
				if material == nil {
					material = g.Private
				}
				for _, test := range g.Tests {
					if strings.HasPrefix(g.Comment, "jwe") {
						continue // encryption, which nothing here accepts
					}
					ran++
					err := verify(t, material, test.JWS)
					judge(t, name, test.TcID, g.Comment+", "+test.Comment, test.Result == "valid", err)
				}
			}
			if ran < atLeast {
				t.Errorf("%d vectors, expected %d", ran, atLeast)
			}
		})
	}
}

// verify opens a token with the key that the group gives, as the modules
// would come by it.
func verify(t *testing.T, material json.RawMessage, jws any) error {
	t.Helper()
	raw, ok := jws.(string)
	if !ok {
		text, err := json.Marshal(jws) // JSON serialization
		if err != nil {
			t.Fatal(err)
		}
		raw = string(text)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(material, &set); err != nil {
		t.Fatal(err)
	}
	if set.Keys == nil {
		set.Keys = make([]map[string]any, 1)
		if err := json.Unmarshal(material, &set.Keys[0]); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := admit(set.Keys)
	if err != nil {
		return err
	}
	kid := kidOf(raw)
	err = fmt.Errorf("no key for kid %q", kid)
	for _, k := range keys {
		if kid != "" && k.ID != "" && k.ID != kid {
			continue
		}
		if _, err = token.Open(raw, k); err == nil {
			return nil
		}
	}
	return err
}

// admit makes keys as jwt_auth does: secrets are given one by one, public
// keys stand in a set, and the two do not mix.
func admit(list []map[string]any) (keys []*jwk.Key, err error) {
	var public []map[string]any
	for _, k := range list {
		if k["kty"] != "oct" {
			public = append(public, withoutPrivate(k))
		}
	}
	if len(public) > 0 {
		if len(public) < len(list) {
			public = list
		}
		doc, err := json.Marshal(map[string]any{"keys": public})
		if err != nil {
			return nil, err
		}
		keys, skipped, err := jwk.ParseSet(doc)
		if err == nil && len(keys) == 0 {
			err = fmt.Errorf("no usable key: %v", skipped)
		}
		return keys, err
	}
	for _, k := range list {
		doc, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		alg, _ := k["alg"].(string)
		key, err := jwk.Static(alg, doc)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// withoutPrivate drops what is private in a key. The vectors give key pairs,
// of which a verifier gets the public half.
func withoutPrivate(k map[string]any) map[string]any {
	out := make(map[string]any)
	for name, v := range k {
		switch name {
		case "d", "p", "q", "dp", "dq", "qi", "oth":
		default:
			out[name] = v
		}
	}
	return out
}

func kidOf(raw string) string {
	header, _, _ := strings.Cut(raw, ".")
	doc, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return ""
	}
	var h struct{ Kid string }
	if json.Unmarshal(doc, &h) != nil {
		return ""
	}
	return h.Kid
}
