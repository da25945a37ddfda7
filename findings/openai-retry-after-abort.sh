#!/usr/bin/env bash
# openai (npm): while the client waits for a Retry-After, neither its timeout nor
# an AbortSignal is heard; the caller is told when the wait is over.
#
# Versions: openai 6.49.0 (npm).
#
# Guess: `timeout` bounds the call, and `signal` ends it when it is aborted, also
#   between two attempts.
# Behaviour: the timeout counts for each attempt alone, so a call with a timeout
#   of 1 s that meets `429` with `Retry-After: 3` returns its answer after 3 s.
#   The wait is a bare sleep: a signal aborted after 0.3 s rejects the promise
#   only when the 3 s are over (and no second request is sent). The value of the
#   header has no ceiling, so a long Retry-After holds the caller for that long.
# Matters: a gateway that says when its daily quota is renewed, in Retry-After,
#   keeps such callers waiting until then. `x-should-retry: false` beside it, which this
#   client reads, makes it throw at once; or callers set maxRetries: 0.
#
# Output seen:
#   timeout 1 s:              answer after 3 s, 2 requests
#   aborted after 0.3 s:      APIUserAbortError after 3 s, 1 requests
#   x-should-retry: false:    RateLimitError after 0 s, 1 requests
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund openai@6.49.0
cat >try.mjs <<'JS'
import http from 'node:http';
import OpenAI from 'openai';
let changed = false;
async function row(name, headers, signal, want) {
  let requests = 0;
  const server = http.createServer((_, res) => {
    if (++requests === 1) res.writeHead(429, { 'retry-after': '3', 'content-type': 'application/json', ...headers }).end('{"error":{"message":"slow down"}}');
    else res.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"x","object":"chat.completion","choices":[]}');
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const client = new OpenAI({ apiKey: 'k', baseURL: `http://127.0.0.1:${server.address().port}/v1`, timeout: 1000, maxRetries: 1 });
  const start = Date.now();
  const outcome = await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }, { signal: signal?.() })
    .then(() => 'answer', e => e.constructor.name);
  const seconds = Math.floor((Date.now() - start + 50) / 1000);
  server.close(); server.closeAllConnections();
  const got = `${outcome} after ${seconds >= 3 ? 3 : seconds} s, ${requests} requests`;
  console.log(name.padEnd(25), got);
  if (got !== want) { changed = true; console.log(`changed: it was ${want}`); }
}
await row('timeout 1 s:', {}, undefined, 'answer after 3 s, 2 requests');
await row('aborted after 0.3 s:', {}, () => AbortSignal.timeout(300), 'APIUserAbortError after 3 s, 1 requests');
await row('x-should-retry: false:', { 'x-should-retry': 'false' }, undefined, 'RateLimitError after 0 s, 1 requests');
process.exit(changed ? 1 : 0);
JS
node try.mjs
