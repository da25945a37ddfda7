#!/usr/bin/env bash
# fast-json-patch (npm): a patch that fails half way has changed the document,
# also when it was validated.
#
# Versions: fast-json-patch 3.1.1 (npm), RFC 6902, RFC 5789.
#
# Guess: applyPatch(document, patch, true) validates the whole patch and changes
#   nothing if it throws, since a PATCH is atomic (RFC 5789 section 2) and a
#   failed test makes the whole patch fail (RFC 6902 section 5).
# Behaviour: `validate` checks each operation just before it is applied. The
#   document is changed in place, so what came before the failed test stays
#   changed. With the fourth argument false (do not mutate) the caller's
#   document is kept, and the default there is true.
# Matters: a service that catches the error and answers 409 still holds, and may
#   save, a half-patched object; a gateway that allows a patch because its last
#   operation is a guarding `test` does not protect such a service.
#
# Output seen:
#   in place:        TEST_OPERATION_FAILED {"role":"admin","version":1}
#   not in place:    TEST_OPERATION_FAILED {"role":"user","version":1}
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund fast-json-patch@3.1.1
cat >try.mjs <<'JS'
import jsonpatch from 'fast-json-patch';
const patch = [
  { op: 'replace', path: '/role', value: 'admin' },
  { op: 'test', path: '/version', value: 2 },
];
function after(mutate) {
  const document = { role: 'user', version: 1 };
  try {
    jsonpatch.applyPatch(document, patch, true, mutate);
    return 'applied ' + JSON.stringify(document);
  } catch (e) {
    return e.name + ' ' + JSON.stringify(document);
  }
}
let changed = false;
for (const [name, out, seen] of [
  ['in place:', after(undefined), 'TEST_OPERATION_FAILED {"role":"admin","version":1}'],
  ['not in place:', after(false), 'TEST_OPERATION_FAILED {"role":"user","version":1}'],
]) {
  console.log(name.padEnd(16), out);
  changed ||= out !== seen;
}
if (changed) {
  console.log('changed');
  process.exit(1);
}
JS
node try.mjs
