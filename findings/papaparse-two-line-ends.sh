#!/usr/bin/env bash
# papaparse (npm): in a file with both line ends, a row that ends with the other
# one runs into the next row's first value.
#
# Versions: papaparse 5.7.1 (npm), RFC 4180.
#
# Guess: as csv modules of other languages do, LF and CRLF both end a row, since
#   neither stands in quotes.
# Behaviour: the line end is guessed once from the beginning of the text; the
#   other kind is then an ordinary character. If the first is CRLF, an LF joins two
#   rows: the value keeps the line break, the rest is in __parsed_extra. Errors
#   list TooManyFields for that row, and the result looks whole otherwise.
#   The other way round the CR stays at the end of the last value.
# Matters: exports that are put together from parts of several systems lose rows,
#   and a rule for a column (mask the second) meets other data than it was
#   written for. A gateway that rewrites CSV must write one line end throughout.
#
# Output seen:
#   CRLF first:  [{"id":"1","name":"ann\n2","__parsed_extra":["bob"]},{"id":"3","name":"cy"}]
#   LF first:    [{"id":"1","name":"ann\r"},{"id":"2","name":"bob"}]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund papaparse@5.7.1
cat >try.mjs <<'JS'
import Papa from 'papaparse';
const rows = text => JSON.stringify(Papa.parse(text, { header: true, skipEmptyLines: true }).data);
let changed = false;
for (const [name, out, seen] of [
  ['CRLF first:', rows('id,name\r\n1,ann\n2,bob\r\n3,cy\r\n'), '[{"id":"1","name":"ann\\n2","__parsed_extra":["bob"]},{"id":"3","name":"cy"}]'],
  ['LF first:', rows('id,name\n1,ann\r\n2,bob\n'), '[{"id":"1","name":"ann\\r"},{"id":"2","name":"bob"}]'],
]) {
  console.log(name.padEnd(12), out);
  changed ||= out !== seen;
}
if (changed) {
  console.log('changed');
  process.exit(1);
}
JS
node try.mjs
