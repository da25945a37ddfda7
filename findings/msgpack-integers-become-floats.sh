#!/usr/bin/env bash
# MessagePack between JavaScript and Go: integers that arrive as floats, members
# that cannot be decoded, and collections that arrive empty.
#
# Versions: @msgpack/msgpack 3.1.3 and msgpackr 2.1.4 (npm); github.com/vmihailenco/msgpack/v5
#   v5.4.1; the MessagePack specification.
#
# Guess: MessagePack has integers of 64 bits, so a whole number that JavaScript holds
#   exactly arrives as an integer; what a library cannot write is an error.
# Behaviour: msgpackr writes whole numbers from 2^32 on as float 64, and @msgpack/msgpack
#   from 2^53 on; Go refuses those for an int64. msgpackr writes undefined as an extension of type 0
#   that nothing in Go knows, so one optional member makes a whole message unreadable;
#   @msgpack/msgpack writes nil. @msgpack/msgpack writes a Map and a Set as an empty map,
#   without an error, and refuses a BigInt.
# Matters: times in milliseconds (they are above 2^32) and ids decode in tests with small
#   numbers and fail in production; a gateway that rewrites such bodies must keep
#   the form of a number, not only its value.
#
# Output seen (@msgpack/msgpack, msgpackr; then Go into int64 or any):
#   4294967295      ce ffffffff           ce ffffffff           taken    taken
#   4294967296      cf 0000000100000000   cb 41f0000000000000   taken    refused
#   undefined       c0                    d4 0000               taken    refused
#   Map of 1 to 2   80                    81 0102               empty    taken
#   BigInt          refused               d3 0020000000000001   -        taken
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @msgpack/msgpack@3.1.3 msgpackr@2.1.4
cat >try.mjs <<'JS'
import { writeFileSync } from 'node:fs';
import { encode } from '@msgpack/msgpack';
import { pack } from 'msgpackr';

const hex = f => { try { return Buffer.from(f()).toString('hex'); } catch { return ''; } };
writeFileSync('cases.json', JSON.stringify([['4294967295', 2 ** 32 - 1], ['4294967296', 2 ** 32], ['undefined', undefined],
  ['Map of 1 to 2', new Map([[1, 2]])], ['BigInt', 2n ** 53n + 1n]].map(([name, v]) => [name, hex(() => encode(v)), hex(() => pack(v))])));
JS
node try.mjs
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/vmihailenco/msgpack/v5 v5.4.1
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/vmihailenco/msgpack/v5"
)

func main() {
	text, err := os.ReadFile("cases.json")
	if err != nil {
		panic(err)
	}
	var cases [][3]string
	if err := json.Unmarshal(text, &cases); err != nil {
		panic(err)
	}
	shown := func(s string) string {
		if s == "" {
			return "refused"
		}
		if len(s) == 2 {
			return s
		}
		return s[:2] + " " + s[2:]
	}
	taken := func(name, s string) string {
		if s == "" {
			return "-"
		}
		data, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		switch name {
		case "undefined":
			var v any
			err = msgpack.Unmarshal(data, &v)
		case "Map of 1 to 2":
			var m map[int]int
			if err = msgpack.Unmarshal(data, &m); err == nil && len(m) == 0 {
				return "empty"
			}
		default:
			var n int64
			err = msgpack.Unmarshal(data, &n)
		}
		if err != nil {
			return "refused"
		}
		return "taken"
	}
	for _, c := range cases {
		fmt.Printf("%-15s %-21s %-21s %-8s %s\n", c[0], shown(c[1]), shown(c[2]), taken(c[0], c[1]), taken(c[0], c[2]))
	}
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
4294967295      ce ffffffff           ce ffffffff           taken    taken
4294967296      cf 0000000100000000   cb 41f0000000000000   taken    refused
undefined       c0                    d4 0000               taken    refused
Map of 1 to 2   80                    81 0102               empty    taken
BigInt          refused               d3 0020000000000001   -        taken
TXT
diff want seen || { echo changed; exit 1; }
