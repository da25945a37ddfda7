#!/usr/bin/env bash
# ajv-formats and santhosh-tekuri/jsonschema: one schema with "format" is another
# contract in Node and in Go.
#
# Versions: ajv 8.20.0 with ajv-formats 3.0.1 (npm); github.com/santhosh-tekuri/jsonschema/v6
#   v6.0.3; JSON Schema 2020-12, RFC 3339.
#
# Guess: with formats asserted, two validators that pass the official test suite
#   agree on dates, addresses and names; both know OpenAPI's byte and int32.
# Behaviour: ajv takes a date-time with a space for the T, an offset without a colon
#   and one of hours alone; jsonschema takes none of them. jsonschema takes quoted and
#   bracketed e-mail addresses, a URI reference with a space, byte without padding,
#   int32 of any value (it ignores unknown formats, and these are unknown); ajv takes
#   none of them. ajv alone takes urn:uuid: as uuid. Both
#   reject PT0.5S: duration has no fractions, though ISO 8601 and Java's Duration do.
# Matters: a gateway in Go that enforces the document of a service in Node rejects
#   what the service takes (dates as PostgreSQL prints them), and the other way
#   round; "passes the test suite" is no promise of it.
#
# Output seen (ajv, jsonschema):
#   date-time      2026-11-30 10:00:00Z        true   false
#   date-time      2026-11-30T10:00:00+0100    true   false
#   date-time      2026-11-30T10:00:00+01      true   false
#   date-time      2016-12-31T23:59:60Z        true   true
#   duration       PT0.5S                      false  false
#   duration       P1W2D                       false  false
#   email          "a b"@x.example             false  true
#   email          a@[192.0.2.1]               false  true
#   uri-reference  a b                         false  true
#   uuid           urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8  true   false
#   byte           YQ                          false  true
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund ajv@8.20.0 ajv-formats@3.0.1
cat >cases.json <<'JSON'
[["date-time", "2026-11-30 10:00:00Z"], ["date-time", "2026-11-30T10:00:00+0100"], ["date-time", "2026-11-30T10:00:00+01"],
 ["date-time", "2016-12-31T23:59:60Z"], ["duration", "PT0.5S"], ["duration", "P1W2D"], ["email", "\"a b\"@x.example"],
 ["email", "a@[192.0.2.1]"], ["uri-reference", "a b"], ["uuid", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"], ["byte", "YQ"]]
JSON
cat >try.cjs <<'JS'
const Ajv = require('ajv/dist/2020');
const ajv = new Ajv();
require('ajv-formats')(ajv);
for (const [format, value] of require('./cases.json')) console.log(ajv.compile({ type: 'string', format })(value));
JS
node try.cjs >ajv
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func main() {
	text, err := os.ReadFile("cases.json")
	if err != nil {
		panic(err)
	}
	var cases [][2]string
	if err := json.Unmarshal(text, &cases); err != nil {
		panic(err)
	}
	for _, c := range cases {
		compiler := jsonschema.NewCompiler()
		compiler.AssertFormat()
		if err := compiler.AddResource("s.json", map[string]any{"type": "string", "format": c[0]}); err != nil {
			panic(err)
		}
		fmt.Printf("%-14s %-27s %v\n", c[0], c[1], compiler.MustCompile("s.json").Validate(c[1]) == nil)
	}
}
GO
go mod tidy 2>/dev/null
go run . >jsonschema
paste -d' ' <(sed -E 's/ (true|false)$//' jsonschema) <(sed 's/^false$/false /; s/^true$/true  /' ajv) <(sed -E 's/.* (true|false)$/\1/' jsonschema) | tee seen
cat >want <<'TXT'
date-time      2026-11-30 10:00:00Z        true   false
date-time      2026-11-30T10:00:00+0100    true   false
date-time      2026-11-30T10:00:00+01      true   false
date-time      2016-12-31T23:59:60Z        true   true
duration       PT0.5S                      false  false
duration       P1W2D                       false  false
email          "a b"@x.example             false  true
email          a@[192.0.2.1]               false  true
uri-reference  a b                         false  true
uuid           urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8 true   false
byte           YQ                          false  true
TXT
diff want seen || { echo changed; exit 1; }
