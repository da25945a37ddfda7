#!/usr/bin/env bash
# http-message-signatures (npm): a nonce or tag given in paramValues is left out
# of the signature; an expiry that nobody gave is put in.
#
# Versions: http-message-signatures 1.0.6 (npm), RFC 9421.
#
# Guess: signMessage({…, paramValues: {nonce, tag}}) signs with that nonce and tag,
#   as it does with the created and expires that are given there.
# Behaviour: paramValues only supplies values. Which parameters are written is
#   said by `params`, whose default is keyid, alg, created, expires; a value that
#   is not in that list is dropped without a word, and the signature verifies. An
#   `expires` five minutes after `created` is added by default, and goes away as
#   soon as `params` is written out without it.
# Matters: a verifier that wants a nonce refuses a client whose code plainly sets
#   one, and the client that then lists `nonce` may lose its expiry. List every
#   parameter in `params`, and look at Signature-Input on the wire.
#
# Output seen:
#   paramValues nonce and tag: alg created expires keyid
#   and params with them:      alg created keyid nonce tag
#   lifetime nobody asked for: 300 s
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund http-message-signatures@1.0.6
cat >try.mjs <<'JS'
import pkg from 'http-message-signatures';
const { httpbis, createSigner } = pkg;
const key = createSigner('0123456789abcdef0123456789abcdef', 'hmac-sha256', 'k1');
async function sign(config) {
  const request = { method: 'GET', url: 'https://example.com/orders', headers: {} };
  const signed = await httpbis.signMessage({ key, fields: ['@method', '@target-uri'], ...config }, request);
  const input = signed.headers['Signature-Input'];
  const params = Object.fromEntries([...input.matchAll(/;([a-z]+)=("[^"]*"|\d+)/g)].map(m => [m[1], m[2]]));
  return { params, names: Object.keys(params).sort().join(' ') };
}
const paramValues = { nonce: 'n-1', tag: 'orders' };
const values = await sign({ paramValues });
const listed = await sign({ paramValues, params: ['keyid', 'alg', 'created', 'nonce', 'tag'] });
const lifetime = values.params.expires - values.params.created;
console.log('paramValues nonce and tag:', values.names);
console.log('and params with them:     ', listed.names);
console.log('lifetime nobody asked for:', lifetime, 's');
if (values.names !== 'alg created expires keyid' || listed.names !== 'alg created keyid nonce tag' || lifetime !== 300) {
  console.log('changed');
  process.exit(1);
}
JS
node try.mjs
