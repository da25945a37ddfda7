#!/usr/bin/env bash
# @modelcontextprotocol/sdk (npm): at a well-known URL a 401 or a 429 means "there
# is none", a 503 or a page with 200 ends the discovery; and without metadata the
# tenant in the issuer's path is forgotten.
#
# Versions: @modelcontextprotocol/sdk 1.32.2 (npm); RFC 9728, RFC 8414.
#
# Guess: 404 means that there is no metadata at that URL, 429 and 503 are tried
#   again later, and every other failure is shown. Endpoints that have to be
#   guessed are guessed under the issuer.
# Behaviour: every 4xx at /.well-known/oauth-protected-resource/mcp leads on to the
#   URL without the path, and what is there is returned as the metadata; every 5xx, and an HTML page with 200, throws at once and the second
#   URL is never asked. For an authorization server https://as/tenant1 a 4xx at its
#   three URLs is "no metadata", and the authorization request then goes to
#   https://as/authorize, without /tenant1.
# Matters: behind a gateway, leave the well-known URLs outside authentication and
#   rate limits, and let an unknown path answer 404, not the start page: a client
#   that met a 429 may go to another authorization server, or to another path.
#
# Output seen:
#   401: metadata of / taken, 2 requests
#   404: metadata of / taken, 2 requests
#   429: metadata of / taken, 2 requests
#   503: error, 1 requests
#   200 with a page: error, 1 requests
#   server /tenant1, all 429: 3 requests, authorizes at /authorize
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @modelcontextprotocol/sdk@1.32.2
cat >try.mjs <<'JS'
import http from 'node:http';
import { discoverOAuthProtectedResourceMetadata, discoverAuthorizationServerMetadata, startAuthorization } from '@modelcontextprotocol/sdk/client/auth.js';

async function serve(handler, use) {
  let requests = 0;
  const server = http.createServer((req, res) => { requests++; handler(req, res); });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  try { return await use(`http://127.0.0.1:${server.address().port}`, () => requests); }
  finally { server.close(); server.closeAllConnections(); }
}
let changed = false;
function row(name, got, want) {
  console.log(`${name}: ${got}`);
  if (got !== want) { changed = true; console.log(`changed: it was ${want}`); }
}
const resource = status => serve((req, res) => {
  if (req.url.endsWith('/mcp')) return res.writeHead(status, { 'content-type': 'text/html' }).end('<html></html>');
  res.writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ resource: `http://${req.headers.host}/`, authorization_servers: ['https://as.example'] }));
}, async (url, requests) => {
  const got = await discoverOAuthProtectedResourceMetadata(`${url}/mcp`).then(m => `metadata of ${m.resource.replace(url, '')} taken`, () => 'error');
  return `${got}, ${requests()} requests`;
});
for (const status of [401, 404, 429]) row(status, await resource(status), 'metadata of / taken, 2 requests');
row(503, await resource(503), 'error, 1 requests');
row('200 with a page', await resource(200), 'error, 1 requests');
const tenant = await serve((_, res) => res.writeHead(429).end(), async (url, requests) => {
  const metadata = await discoverAuthorizationServerMetadata(`${url}/tenant1`);
  const { authorizationUrl } = await startAuthorization(`${url}/tenant1`,
    { metadata, clientInformation: { client_id: 'c' }, redirectUrl: 'http://127.0.0.1/cb' });
  return `${requests()} requests, authorizes at ${authorizationUrl.pathname}`;
});
row('server /tenant1, all 429', tenant, '3 requests, authorizes at /authorize');
process.exit(changed ? 1 : 0);
JS
node try.mjs
