#!/usr/bin/env bash
# standardwebhooks (npm): verify parses the payload, and does not know Headers.
#
# Versions: standardwebhooks 1.1.1 (npm), Node.js 20.
#
# Guess: verify checks a signature over any bytes, takes the Headers of a fetch
#   Request, and throws WebhookVerificationError whenever it does not accept.
# Behaviour: it returns JSON.parse of the payload, so a well-signed text that is
#   not JSON throws SyntaxError instead; an empty payload gives undefined. The
#   headers must be a plain object: a Headers object has no own members and is
#   reported as "Missing required headers", though all three are there. Letter
#   case of a plain object's members is ignored.
# Matters: code that turns only WebhookVerificationError into a 4xx answers a
#   well-signed text/plain event with 500, and the sender repeats it; in
#   runtimes that hand over a Request every event fails until its headers are
#   copied with Object.fromEntries.
#
# Output seen:
#   JSON, plain object:    {"n":1}
#   JSON, Webhook-Id:      {"n":1}
#   JSON, Headers:         WebhookVerificationError
#   text, plain object:    SyntaxError
#   empty, plain object:   undefined
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund standardwebhooks@1.1.1
cat >try.mjs <<'JS'
import { Webhook } from 'standardwebhooks';
const hook = new Webhook('whsec_' + Buffer.from('a key of this script, 24b').toString('base64'));
const now = new Date();
function verdict(payload, shape) {
  const headers = {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': hook.sign('msg_1', now, payload),
  };
  try {
    return String(JSON.stringify(hook.verify(payload, shape(headers))));
  } catch (e) {
    return e.constructor.name;
  }
}
const plain = h => h;
const capitals = h => Object.fromEntries(Object.entries(h).map(([k, v]) => [k.replace(/(^|-)[a-z]/g, c => c.toUpperCase()), v]));
let changed = false;
for (const [name, payload, shape, seen] of [
  ['JSON, plain object:', '{"n":1}', plain, '{"n":1}'],
  ['JSON, Webhook-Id:', '{"n":1}', capitals, '{"n":1}'],
  ['JSON, Headers:', '{"n":1}', h => new Headers(h), 'WebhookVerificationError'],
  ['text, plain object:', 'order 7 has shipped', plain, 'SyntaxError'],
  ['empty, plain object:', '', plain, 'undefined'],
]) {
  const out = verdict(payload, shape);
  console.log(name.padEnd(22), out);
  changed ||= out !== seen;
}
if (changed) {
  console.log('changed');
  process.exit(1);
}
JS
node try.mjs
