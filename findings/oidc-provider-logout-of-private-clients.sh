#!/usr/bin/env bash
# oidc-provider (npm): back-channel logout does not reach clients on private
# addresses, and the user is told that the logout worked.
#
# Versions: oidc-provider 9.13.3 (npm), Node 20 or newer; OpenID Connect Back-Channel
#   Logout 1.0 sections 2.1 and 2.8.
#
# Guess: a registered backchannel_logout_uri is called wherever it is, and a client that
#   has one gets a sid to find the session by.
# Behaviour: the provider connects to no special-use address (loopback, 10/8, 192.168/16,
#   fd00::/8, …) for what clients register: no logout token arrives there, the response
#   to the user is the same redirect to the success page, and only the event
#   backchannel.error says so, as "fetch failed". The same holds for a client's jwks_uri.
#   The ID token has a sid only for clients with backchannel_logout_session_required.
# Matters: an application beside its provider in one network, which is how small teams
#   run them, keeps sessions alive after "log out everywhere"; tests on loopback
#   fail for a reason that no log line of the application shows; and a client that looks
#   sessions up by sid needs the registration to ask for it, else it has sub alone.
#
# Output seen:
#   ID token of plain:     aud exp iat iss nonce sub
#   ID token of sessions:  aud exp iat iss nonce sid sub
#   logout:                303 to /session/end/success
#   backchannel.error:     plain fetch failed
#   backchannel.error:     sessions fetch failed
#   logout tokens arrived: 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund oidc-provider@9.13.3
cat >try.mjs <<'JS'
import http from 'node:http';
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { Provider } from 'oidc-provider';

const listen = server => new Promise(done => server.listen(0, '127.0.0.1', () => done(`http://127.0.0.1:${server.address().port}`)));
let arrived = 0;
const client = http.createServer((_, res) => { arrived++; res.end(); });
const app = await listen(client);
const server = http.createServer();
const issuer = await listen(server);
const registered = (id, more) => ({ client_id: id, client_secret: 'secret', redirect_uris: [`${app}/cb`], response_types: ['code'],
  token_endpoint_auth_method: 'client_secret_post', grant_types: ['authorization_code'], backchannel_logout_uri: `${app}/logout`, ...more });
const provider = new Provider(issuer, {
  jwks: { keys: [{ ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), kid: 'k1' }] },
  clients: [registered('plain'), registered('sessions', { backchannel_logout_session_required: true })],
  features: { backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  cookies: { keys: ['a key of this run'] },
});
const failed = [];
provider.on('backchannel.error', (_, error, { clientId }) => failed.push(`${clientId} ${error.message}`));
server.on('request', provider.callback());

const cookies = {};
const call = async (path, form) => {
  const res = await fetch(new URL(path, issuer), { redirect: 'manual', method: form ? 'POST' : 'GET',
    body: form && new URLSearchParams(form), headers: { cookie: Object.entries(cookies).map(c => c.join('=')).join('; ') } });
  for (const line of res.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    cookies[name] = value;
  }
  return res;
};
const login = async id => {
  const verifier = randomBytes(32).toString('base64url');
  let res = await call('/auth?' + new URLSearchParams({ client_id: id, response_type: 'code', scope: 'openid', nonce: 'n',
    redirect_uri: `${app}/cb`, code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256' }));
  for (;;) {
    const to = res.headers.get('location');
    if (to?.startsWith(app)) {
      const tokens = await (await call('/token', { client_id: id, client_secret: 'secret', grant_type: 'authorization_code',
        code: new URL(to).searchParams.get('code'), redirect_uri: `${app}/cb`, code_verifier: verifier })).json();
      return tokens.id_token;
    }
    if (to) { res = await call(to); continue; }
    const page = await res.text(); // of the built-in pages for trying it out
    res = await call(/action="([^"]+)"/.exec(page)[1], { prompt: /name="prompt" value="([^"]+)"/.exec(page)[1], login: 'alice', password: 'any' });
  }
};
let hint;
for (const id of ['plain', 'sessions']) {
  hint = await login(id);
  console.log(`ID token of ${id}:`.padEnd(22), Object.keys(JSON.parse(atob(hint.split('.')[1]))).sort().join(' '));
}
const page = await (await call(`/session/end?id_token_hint=${hint}`)).text();
const res = await call('/session/end/confirm', { xsrf: /name="xsrf" value="([^"]+)"/.exec(page)[1], logout: 'yes' });
console.log('logout:'.padEnd(22), res.status, 'to', new URL(res.headers.get('location')).pathname);
for (const line of failed.sort()) console.log('backchannel.error:'.padEnd(22), line);
console.log('logout tokens arrived:', arrived);
process.exit();
JS
node try.mjs 2>/dev/null | grep -v 'oidc-provider ' | tee seen
cat >want <<'TXT'
ID token of plain:     aud exp iat iss nonce sub
ID token of sessions:  aud exp iat iss nonce sid sub
logout:                303 to /session/end/success
backchannel.error:     plain fetch failed
backchannel.error:     sessions fetch failed
logout tokens arrived: 0
TXT
diff want seen || { echo changed; exit 1; }
