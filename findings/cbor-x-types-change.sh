#!/usr/bin/env bash
# cbor-x (npm): decode and encode turn integer keys into text, Decoder and Encoder
# keep them; strings of indefinite length are not read.
#
# Versions: cbor-x 1.6.9 (npm), RFC 8949.
#
# Guess: decode reads every well-formed item of RFC 8949 appendix A, and encode of
#   what was decoded gives an item that means the same; the functions are
#   shorthands for the classes.
# Behaviour: the function decode makes an object of a map, whose keys are text:
#   {1: 2} is written again as {"1": 2}. new Decoder() makes a Map and keeps the
#   types. A float 1.0 is written as the integer 1. A text or byte
#   string of indefinite length is an Error, while arrays and maps of indefinite
#   length are read.
# Matters: COSE, CWT and EDHOC name their members by integers, so a proxy that
#   decodes, changes and encodes with the functions breaks each of them without
#   an error; encoders that stream write strings of indefinite length.
#
# Output seen:
#   {1: 2}, functions             b90001613102
#   {1: 2}, classes               a10102
#   1.0                           01
#   array of indefinite length    8101
#   text of indefinite length     Error
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund cbor-x@1.6.9
cat >try.mjs <<'JS'
import { Decoder, Encoder, decode, encode } from 'cbor-x';
const functions = bytes => encode(decode(bytes));
const classes = bytes => new Encoder().encode(new Decoder().decode(bytes));
function again(hex, way = functions) {
  try {
    return Buffer.from(way(Buffer.from(hex, 'hex'))).toString('hex');
  } catch (e) {
    return e.constructor.name;
  }
}
let changed = false;
for (const [name, out, seen] of [
  ['{1: 2}, functions', again('a10102'), 'b90001613102'],
  ['{1: 2}, classes', again('a10102', classes), 'a10102'],
  ['1.0', again('f93c00'), '01'],
  ['array of indefinite length', again('9f01ff'), '8101'],
  ['text of indefinite length', again('7f657374726561646d696e67ff'), 'Error'],
]) {
  console.log(name.padEnd(29), out);
  changed ||= out !== seen;
}
if (changed) {
  console.log('changed');
  process.exit(1);
}
JS
node try.mjs
