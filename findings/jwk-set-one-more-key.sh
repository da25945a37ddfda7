#!/usr/bin/env bash
# One more key in a JWK Set: four libraries, and each draws another line.
#
# Versions: jose 6.2.18 (npm), github.com/go-jose/go-jose/v4 v4.1.6,
#   github.com/coreos/go-oidc/v3 v3.21.0, github.com/lestrrat-go/jwx/v3 v3.4.0.
#
# Guess: a provider may publish a key of a new kind beside the old one; RFC 7517,
#   section 5 asks readers to ignore what they do not know, and tokens signed by
#   the old key verify as before.
# Behaviour: only jose (npm) does so for all of them. go-jose and jwx reject the
#   whole set for one key (jwx takes X25519 and no post-quantum key or secp256k1
#   in its default build). go-oidc reads with go-jose and skips what it does not
#   know, but by `alg` or by key type: the same secp256k1 key is ignored with
#   "alg":"ES256K" and fails every token of the issuer without it.
# Matters: the day on which a provider adds a key for other clients is the day on
#   which a verifier stops. Decode the keys of a set one by one, and publish `alg`
#   with each key.
#
# Output seen:
#   extra key            jose     go-jose  go-oidc  jwx
#   none                 verified verified verified verified
#   ML-DSA-44            verified refused  verified refused
#   X25519, no alg       verified refused  verified verified
#   secp256k1, ES256K    verified refused  verified refused
#   secp256k1, no alg    verified refused  refused  refused
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund jose@6.2.18
cat >sets.mjs <<'JS'
import { writeFileSync } from 'node:fs';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import * as jose from 'jose';
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const good = { ...publicKey.export({ format: 'jwk' }), kid: 'old', use: 'sig', alg: 'RS256' };
const token = await new jose.SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'RS256', kid: 'old' })
  .setIssuer('https://issuer.example').setAudience('api').setIssuedAt().setExpirationTime('1h').sign(privateKey);
const koblitz = { ...generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ format: 'jwk' }), kid: 'new' };
const x25519 = { ...generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }), kid: 'new', use: 'enc' };
const extra = [
  ['none'],
  ['ML-DSA-44', { kty: 'AKP', alg: 'ML-DSA-44', kid: 'new', pub: randomBytes(1312).toString('base64url') }],
  ['X25519, no alg', x25519],
  ['secp256k1, ES256K', { ...koblitz, alg: 'ES256K' }],
  ['secp256k1, no alg', koblitz],
];
const rows = [];
for (const [name, key] of extra) {
  const set = { keys: key ? [good, key] : [good] };
  const verdict = await jose.jwtVerify(token, jose.createLocalJWKSet(set)).then(() => 'verified', () => 'refused');
  rows.push({ name, verdict, set });
}
writeFileSync('sets.json', JSON.stringify({ token, rows }));
JS
node sets.mjs
cat >go.mod <<'MOD'
module finding

go 1.25
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxt "github.com/lestrrat-go/jwx/v3/jwt"
)

func withGoJose(set []byte, token string) error {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(set, &keys); err != nil {
		return err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return err
	}
	return parsed.Claims(&keys, &jwt.Claims{})
}

func withGoOIDC(set []byte, token string) error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(set) }))
	defer server.Close()
	ctx := context.Background()
	verifier := oidc.NewVerifier("https://issuer.example", oidc.NewRemoteKeySet(ctx, server.URL), &oidc.Config{ClientID: "api"})
	_, err := verifier.Verify(ctx, token)
	return err
}

func withJWX(set []byte, token string) error {
	keys, err := jwk.Parse(set)
	if err != nil {
		return err
	}
	_, err = jwxt.Parse([]byte(token), jwxt.WithKeySet(keys))
	return err
}

func verdict(err error) string {
	if err != nil {
		return "refused"
	}
	return "verified"
}

func main() {
	var in struct {
		Token string
		Rows  []struct {
			Name, Verdict string
			Set           json.RawMessage
		}
	}
	data, err := os.ReadFile("sets.json")
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	if err != nil {
		panic(err)
	}
	fmt.Printf("%-20s %-8s %-8s %-8s %s\n", "extra key", "jose", "go-jose", "go-oidc", "jwx")
	for _, row := range in.Rows {
		fmt.Printf("%-20s %-8s %-8s %-8s %s\n", row.Name, row.Verdict, verdict(withGoJose(row.Set, in.Token)),
			verdict(withGoOIDC(row.Set, in.Token)), verdict(withJWX(row.Set, in.Token)))
	}
}
GO
go get github.com/go-jose/go-jose/v4@v4.1.6 github.com/coreos/go-oidc/v3@v3.21.0 github.com/lestrrat-go/jwx/v3@v3.4.0 2>/dev/null
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
extra key            jose     go-jose  go-oidc  jwx
none                 verified verified verified verified
ML-DSA-44            verified refused  verified refused
X25519, no alg       verified refused  verified verified
secp256k1, ES256K    verified refused  verified refused
secp256k1, no alg    verified refused  refused  refused
TXT
diff want seen || { echo changed; exit 1; }
