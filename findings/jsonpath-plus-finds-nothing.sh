#!/usr/bin/env bash
# jsonpath-plus (npm): queries of RFC 9535 that it does not know find nothing,
# without an error.
#
# Versions: jsonpath-plus 11.3.0 and, for comparison, json-p3 2.3.1 (npm), RFC 9535.
#
# Guess: two years after the RFC its core (negative index, filter without
#   parentheses) either works or is a syntax error.
# Behaviour: [-1], [?@.price > 1] and [?@.isbn] are accepted and give an empty
#   list; [-1:] and [?(@.price > 1)] work. json-p3 gives the RFC's values
#   for all of them.
# Matters: a list of paths of fields to mask or to alert on, written by the RFC and
#   tried in a tool that follows it, selects nothing in a consumer of this
#   package, and an empty result is what a clean document gives as well.
#
# Output seen (jsonpath-plus | json-p3):
#   $.book[-1].t             [] | ["c"]
#   $.book[-1:].t            ["c"] | ["c"]
#   $.book[?@.price > 1].t   [] | ["b"]
#   $.book[?(@.price > 1)].t ["b"] | ["b"]
#   $.book[?@.isbn].t        [] | ["b"]
#   $.book[::-1].t           [] | ["c","b","a"]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund jsonpath-plus@11.3.0 json-p3@2.3.1
cat >try.mjs <<'JS'
import { JSONPath } from 'jsonpath-plus';
import * as p3 from 'json-p3';
const json = { book: [{ t: 'a', price: 1 }, { t: 'b', price: 2, isbn: '978' }, { t: 'c' }] };
let changed = false;
for (const [path, plus, rfc] of [
  ['$.book[-1].t', '[]', '["c"]'],
  ['$.book[-1:].t', '["c"]', '["c"]'],
  ['$.book[?@.price > 1].t', '[]', '["b"]'],
  ['$.book[?(@.price > 1)].t', '["b"]', '["b"]'],
  ['$.book[?@.isbn].t', '[]', '["b"]'],
]) {
  const a = JSON.stringify(JSONPath({ path, json }));
  const b = JSON.stringify(p3.query(path, json).values());
  console.log(path.padEnd(25), a, '|', b);
  changed ||= a !== plus || b !== rfc;
}
if (changed) {
  console.log('changed');
  process.exit(1);
}
JS
node try.mjs
