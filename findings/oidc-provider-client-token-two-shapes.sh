#!/usr/bin/env bash
# oidc-provider (npm): a client's own token names its subject as a JWT and names
# none at introspection, and the JWT cannot be introspected at all.
#
# Versions: oidc-provider 9.13.3 (npm); RFC 7662, RFC 9068.
#
# Guess: the format of access tokens (accessTokenFormat "opaque" or "jwt") changes
#   how a token looks and not what it says; introspection answers for both kinds.
# Behaviour: with client_credentials the JWT has sub = the client_id, as RFC 9068
#   asks, and introspection of the opaque token has client_id and no sub. The JWT
#   at the introspection endpoint is answered 400 unsupported_token_type, neither
#   active nor inactive. A refresh token is answered active: true by the same
#   endpoint, with a sub and all else an access token has but token_type.
# Matters: rules and logs keyed by sub lose machine clients when a resource server
#   goes from JWTs to introspection; a client of introspection that takes every
#   non-200 for an outage reports one for each JWT; and only token_type tells an
#   access token from a refresh token.
#
# Output seen:
#   client token, JWT:          sub=service aud=urn:api client_id=service
#   client token, introspected: 200 active=true client_id=service token_type=Bearer
#   the JWT, introspected:      400 error=unsupported_token_type
#   access token of alice:      200 active=true sub=alice client_id=service token_type=Bearer
#   refresh token of alice:     200 active=true sub=alice client_id=service
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund oidc-provider@9.13.3
cat >try.mjs <<'JS'
import http from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const server = http.createServer();
await new Promise(done => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const key = { ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), kid: 'k1' };
const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  clients: [{ client_id: 'service', client_secret: 'secret', redirect_uris: ['https://service.example/cb'],
    response_types: ['code'], grant_types: ['authorization_code', 'refresh_token', 'client_credentials'] }],
  scopes: ['openid', 'offline_access', 'read'],
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: { enabled: true,
      getResourceServerInfo: () => ({ scope: 'read', audience: 'urn:api', accessTokenFormat: 'jwt', accessTokenTTL: 600 }) },
  },
});
server.on('request', provider.callback());
const post = async (path, form) => {
  const res = await fetch(issuer + path, { method: 'POST', body: new URLSearchParams(form),
    headers: { authorization: `Basic ${btoa('service:secret')}` } });
  return [res.status, await res.json()];
};
const shown = claims => ['error', 'active', 'sub', 'aud', 'client_id', 'token_type']
  .filter(name => name in claims).map(name => `${name}=${claims[name]}`).join(' ');
const introspect = async token => { const [status, body] = await post('/token/introspection', { token }); return `${status} ${shown(body)}`; };

const form = { grant_type: 'client_credentials', scope: 'read' };
const opaque = (await post('/token', form))[1].access_token;
const jwt = (await post('/token', { ...form, resource: 'urn:api' }))[1].access_token;
const client = await provider.Client.find('service');
const grant = new provider.Grant({ accountId: 'alice', clientId: 'service' });
grant.addOIDCScope('openid offline_access');
const issued = { client, accountId: 'alice', grantId: await grant.save(), scope: 'openid offline_access', gty: 'authorization_code' };
const seen = [
  ['client token, JWT:', shown(JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url'))), 'sub=service aud=urn:api client_id=service'],
  ['client token, introspected:', await introspect(opaque), '200 active=true client_id=service token_type=Bearer'],
  ['the JWT, introspected:', await introspect(jwt), '400 error=unsupported_token_type'],
  ['access token of alice:', await introspect(await new provider.AccessToken(issued).save()), '200 active=true sub=alice client_id=service token_type=Bearer'],
  ['refresh token of alice:', await introspect(await new provider.RefreshToken(issued).save()), '200 active=true sub=alice client_id=service'],
];
let changed = false;
for (const [name, got, want] of seen) {
  console.log(name.padEnd(27), got);
  if (got !== want) { changed = true; console.log(`changed: it was ${want}`); }
}
process.exit(changed ? 1 : 0);
JS
node try.mjs 2>/dev/null | grep -v '^oidc-provider '
