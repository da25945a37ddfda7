#!/usr/bin/env bash
# oidc-provider (npm) and jwx (Go): the keys that the one publishes by default do
# not verify its tokens in the other by default.
#
# Versions: oidc-provider 9.13.3 (npm), github.com/lestrrat-go/jwx/v3 v3.4.0.
#
# Guess: a key found by the kid of the token, of the right type and with
#   "use":"sig", verifies it; alg is optional in a JWK.
# Behaviour: oidc-provider adds kid and use to a configured RSA key and publishes
#   no alg unless the configuration has one, since the key serves for RS256 and
#   PS256 alike. jwx's WithKeySet passes over a key without alg, and the error says
#   that no matching key was provided although the kid is there. With "alg":"RS256"
#   in the provider's key, or with WithInferAlgorithmFromKey(true), it verifies.
# Matters: the message sends one to look for a rotation that did not happen. On the
#   side of the provider write alg into each key; on the other know the option.
#
# Output seen:
#   no alg:    members e kid kty n use, default refused, inferred verified
#   alg RS256: members alg e kid kty n use, default verified, inferred verified
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund oidc-provider@9.13.3
cat >issue.mjs <<'JS'
import http from 'node:http';
import { writeFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

async function issue(name, more) {
  const server = http.createServer();
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const key = { ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), ...more };
  const provider = new Provider(issuer, {
    jwks: { keys: [key] },
    clients: [{ client_id: 'service', client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }],
    scopes: ['read'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true,
        getResourceServerInfo: () => ({ scope: 'read', audience: 'urn:api', accessTokenFormat: 'jwt', accessTokenTTL: 600 }) },
    },
  });
  server.on('request', provider.callback());
  const form = { grant_type: 'client_credentials', scope: 'read', resource: 'urn:api' };
  const res = await fetch(`${issuer}/token`, { method: 'POST', body: new URLSearchParams(form),
    headers: { authorization: `Basic ${btoa('service:secret')}` } });
  const token = (await res.json()).access_token;
  const set = await (await fetch(`${issuer}/jwks`)).json();
  return { name, token, set, members: Object.keys(set.keys[0]).sort().join(' ') };
}
writeFileSync('issued.json', JSON.stringify([await issue('no alg:', {}), await issue('alg RS256:', { alg: 'RS256' })]));
process.exit();
JS
node issue.mjs >/dev/null 2>&1
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/lestrrat-go/jwx/v3 v3.4.0
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

func verdict(_ jwt.Token, err error) string {
	if err != nil {
		return "refused"
	}
	return "verified"
}

func main() {
	var rows []struct {
		Name, Token, Members string
		Set                  json.RawMessage
	}
	data, err := os.ReadFile("issued.json")
	if err == nil {
		err = json.Unmarshal(data, &rows)
	}
	if err != nil {
		panic(err)
	}
	for _, row := range rows {
		set, err := jwk.Parse(row.Set)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%-10s members %s, default %s, inferred %s\n", row.Name, row.Members,
			verdict(jwt.Parse([]byte(row.Token), jwt.WithKeySet(set))),
			verdict(jwt.Parse([]byte(row.Token), jwt.WithKeySet(set, jws.WithInferAlgorithmFromKey(true)))))
	}
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
no alg:    members e kid kty n use, default refused, inferred verified
alg RS256: members alg e kid kty n use, default verified, inferred verified
TXT
diff want seen || { echo changed; exit 1; }
