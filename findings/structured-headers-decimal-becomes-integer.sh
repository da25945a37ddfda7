#!/usr/bin/env bash
# structured-headers (npm): a Decimal that is whole comes back as an Integer.
#
# Versions: structured-headers 2.1.0 (npm), RFC 9651.
#
# Guess: parse and serialize are each other's inverse up to white space, as the
#   canonical form of RFC 9651 section 4.1 suggests; 1.0 is a Decimal and is
#   written as 1.0.
# Behaviour: both numeric types are read into a JavaScript number, and what is
#   whole is written as an Integer: 1.0 becomes 1, in items, parameters and
#   inner lists alike. 1.50 becomes 1.5, which is the canonical form.
# Matters: RFC 9421 signs a field with the sf parameter in its canonical form, so
#   a gateway that normalises weights (q=1.0) with this package makes another
#   signature base than a peer that keeps the type, and the signature fails.
#
# Output seen:
#   1.0                       -> 1
#   "de";q=1.0                -> "de";q=1
#   a=(2.0 3);w=0.50          -> a=(2 3);w=0.5
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund structured-headers@2.1.0
cat >try.mjs <<'JS'
import { parseItem, serializeItem, parseDictionary, serializeDictionary } from 'structured-headers';
const item = text => serializeItem(parseItem(text));
const dictionary = text => serializeDictionary(parseDictionary(text));
let changed = false;
for (const [text, again, seen] of [
  ['1.0', item, '1'],
  ['"de";q=1.0', item, '"de";q=1'],
  ['a=(2.0 3);w=0.50', dictionary, 'a=(2 3);w=0.5'],
]) {
  const out = again(text);
  console.log(text.padEnd(25), '->', out);
  changed ||= out !== seen;
}
if (changed) {
  console.log('changed');
  process.exit(1);
}
JS
node try.mjs
