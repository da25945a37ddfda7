#!/usr/bin/env bash
# openai (npm): a streaming request that is answered with a JSON body ends as a
# stream of nothing, without an error; so does a stream that stops before [DONE].
#
# Versions: openai 6.49.0 (npm).
#
# Guess: `create({stream: true})` looks at the Content-Type, or at least misses
#   the first event or the closing `data: [DONE]`, and throws.
# Behaviour: the body is read as event-stream lines whatever its type. The lines
#   of a JSON document are unknown fields, so `for await` ends after no chunk:
#   the same for a complete chat.completion and for {"error": …} with status 200.
#   Only an error inside a `data:` line throws. The end of the body is the end of
#   the answer, with or without [DONE] and with or without a finish_reason. The
#   helper `chat.completions.stream()` of the same package does throw.
# Matters: a gateway that answers a stream with JSON (a cache, a refusal with 200,
#   a buffered body) or that cuts one short is seen as an empty or a complete
#   answer. Refuse with a 4xx, or with an error event inside the stream.
#
# Output seen:
#   completion as JSON:        0 chunks, no error
#   error as JSON, 200:        0 chunks, no error
#   error as an event:         0 chunks, APIError
#   events, no [DONE]:         1 chunks, no error
#   completion, .stream():     OpenAIError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund openai@6.49.0
cat >try.mjs <<'JS'
import http from 'node:http';
import OpenAI from 'openai';

const completion = JSON.stringify({ id: 'x', object: 'chat.completion', created: 1, model: 'm',
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'hello' } }] });
const chunk = JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm',
  choices: [{ index: 0, finish_reason: null, delta: { role: 'assistant', content: 'hel' } }] });
const refusal = JSON.stringify({ error: { message: 'quota exceeded', type: 'insufficient_quota' } });
const request = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };

async function served(type, body, use) {
  const server = http.createServer((_, res) => res.writeHead(200, { 'content-type': type }).end(body));
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const client = new OpenAI({ apiKey: 'k', maxRetries: 0, baseURL: `http://127.0.0.1:${server.address().port}/v1` });
  try { return await use(client); } finally { server.close(); server.closeAllConnections(); }
}
const plain = async client => {
  let chunks = 0, error = 'no error';
  try { for await (const _ of await client.chat.completions.create({ ...request, stream: true })) chunks++; }
  catch (e) { error = e.constructor.name; }
  return `${chunks} chunks, ${error}`;
};
const helper = async client => {
  try { await client.chat.completions.stream(request).finalChatCompletion(); return 'no error'; }
  catch (e) { return e.constructor.name; }
};

let changed = false;
async function row(name, type, body, use, want) {
  const got = await served(type, body, use);
  console.log(name.padEnd(26), got);
  if (got !== want) { changed = true; console.log(`changed: it was ${want}`); }
}
const json = 'application/json', events = 'text/event-stream';
await row('completion as JSON:', json, completion, plain, '0 chunks, no error');
await row('error as JSON, 200:', json, refusal, plain, '0 chunks, no error');
await row('error as an event:', events, `data: ${refusal}\n\n`, plain, '0 chunks, APIError');
await row('events, no [DONE]:', events, `data: ${chunk}\n\n`, plain, '1 chunks, no error');
await row('completion, .stream():', json, completion, helper, 'OpenAIError');
process.exit(changed ? 1 : 0);
JS
node try.mjs
