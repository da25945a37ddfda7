#!/usr/bin/env bash
# undici (fetch in Node): requests of a server carry one of the browsers' fetch
# metadata fields, and not the others.
#
# Versions: undici 7.16.0 (npm), which is what fetch is made of in Node 18 and
#   later; Fetch Metadata Request Headers (W3C).
#
# Guess: Sec-Fetch-* are forbidden header names that browsers write by themselves;
#   a request that has any of them comes from a browser, and one from a program
#   has none.
# Behaviour: fetch writes Sec-Fetch-Mode: cors, and Accept-Language: *, whatever it
#   is called with, and neither Sec-Fetch-Site nor Sec-Fetch-Dest. It also lets the
#   caller set Origin and all of Sec-Fetch-*, which a browser would not. Requests of
#   undici.request have none of them.
# Matters: a rule such as "Sec-Fetch-Mode is there, so ask for Sec-Fetch-Site or
#   reject as cross-site" takes every Node client for a page of another site, and
#   one that redirects whatever has Sec-Fetch-Mode to a login page sends API
#   clients there. Sec-Fetch-Site and Sec-Fetch-Dest are the fields to decide by.
#
# Output seen:
#   fetch:                  accept-language=* sec-fetch-mode=cors
#   fetch with its own:     accept-language=* origin=https://app.example sec-fetch-dest=document sec-fetch-mode=cors
#   fetch, mode no-cors:    accept-language=* sec-fetch-mode=no-cors
#   request:                none
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund undici@7.16.0
cat >try.mjs <<'JS'
import http from 'node:http';
import { fetch, request } from 'undici';

let seen;
const server = http.createServer((req, res) => {
  seen = Object.entries(req.headers).filter(([name]) => /^(sec-fetch-.*|origin|accept-language)$/.test(name)).sort()
    .map(pair => pair.join('=')).join(' ');
  res.end();
});
await new Promise(done => server.listen(0, '127.0.0.1', done));
const url = `http://127.0.0.1:${server.address().port}/`;
const show = name => console.log(`${name}:`.padEnd(23), seen || 'none');
await (await fetch(url)).text();
show('fetch');
await (await fetch(url, { headers: { origin: 'https://app.example', 'sec-fetch-dest': 'document' } })).text();
show('fetch with its own');
await (await fetch(url, { mode: 'no-cors' })).text();
show('fetch, mode no-cors');
await (await request(url)).body.text();
show('request');
server.close();
JS
node try.mjs | tee seen
cat >want <<'TXT'
fetch:                  accept-language=* sec-fetch-mode=cors
fetch with its own:     accept-language=* origin=https://app.example sec-fetch-dest=document sec-fetch-mode=cors
fetch, mode no-cors:    accept-language=* sec-fetch-mode=no-cors
request:                none
TXT
diff want seen || { echo changed; exit 1; }
