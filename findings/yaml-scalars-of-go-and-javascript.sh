#!/usr/bin/env bash
# YAML in Go and in JavaScript: the newest libraries of both disagree about numbers,
# dates and merge keys, in documents that both take without a word.
#
# Versions: go.yaml.in/yaml/v3 v3.0.4; js-yaml 5.5.0 and yaml 2.9.1 (npm).
#
# Guess: all of them read YAML 1.2 by now, where 017 is seventeen, on is a text, a date is
#   a text, and << is the merge key that everybody uses.
# Behaviour: Go's library keeps most of 1.1: 017 is fifteen and 08 a float, 1_000 and 0b11 are
#   numbers, a date becomes a time, << merges, but on is a text (a bool only for a Go field
#   of type bool). Both JavaScript libraries read 017 as seventeen, and 1_000, 0b11 and dates as
#   texts, and leave "<<" as a member of that name unless told otherwise; js-yaml 4
#   merged. 1.0 and 1 as keys are the same to JavaScript (an error) and two keys in Go.
# Matters: an OpenAPI document or a policy that a tool in Node checks and a server in Go
#   reads: file modes, zip codes and limits with a leading zero change their value,
#   defaults and enums of type date become times that print otherwise, and
#   a schema that is shared by << is there for the one and missing for the other.
#
# Output seen (yaml/v3, js-yaml, yaml):
#   017                 int 15              number 17           number 17
#   08                  float64 8           number 8            number 8
#   1_000               int 1000            string 1_000        string 1_000
#   0b11                int 3               string 0b11         string 0b11
#   2026-11-30          time.Time           string 2026-11-30   string 2026-11-30
#   on                  string on           string on           string on
#   merge               merged              left alone          left alone
#   keys 1.0 and 1      taken               refused             refused
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund js-yaml@5.5.0 yaml@2.9.1
cat >try.mjs <<'JS'
import { writeFileSync } from 'node:fs';
import { load } from 'js-yaml';
import { parse } from 'yaml';

const caught = f => { try { return f(); } catch { return 'refused'; } };
const all = {};
for (const read of [load, parse]) {
  for (const text of ['017', '08', '1_000', '0b11', '2026-11-30', 'on']) {
    const { a } = read(`a: ${text}\n`);
    (all[text] ??= []).push(`${a instanceof Date ? 'Date' : typeof a} ${a}`);
  }
  (all.merge ??= []).push(read('a: &a {b: 1}\nc: {<<: *a}\n').c.b === 1 ? 'merged' : 'left alone');
  (all['keys 1.0 and 1'] ??= []).push(caught(() => { read('1.0: a\n1: b\n'); return 'taken'; }));
}
writeFileSync('js.json', JSON.stringify(all));
JS
node try.mjs
cat >go.mod <<'MOD'
module finding

go 1.25

require go.yaml.in/yaml/v3 v3.0.4
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"go.yaml.in/yaml/v3"
)

func main() {
	text, err := os.ReadFile("js.json")
	if err != nil {
		panic(err)
	}
	var js map[string][2]string
	if err := json.Unmarshal(text, &js); err != nil {
		panic(err)
	}
	show := func(name, value string) { fmt.Printf("%-19s %-19s %-19s %s\n", name, value, js[name][0], js[name][1]) }
	for _, s := range []string{"017", "08", "1_000", "0b11", "2026-11-30", "on"} {
		var doc map[string]any
		if err := yaml.Unmarshal([]byte("a: "+s+"\n"), &doc); err != nil {
			panic(err)
		}
		if _, ok := doc["a"].(time.Time); ok {
			show(s, "time.Time")
			continue
		}
		show(s, fmt.Sprintf("%T %v", doc["a"], doc["a"]))
	}
	var doc struct{ C map[string]any }
	if err := yaml.Unmarshal([]byte("a: &a {b: 1}\nc: {<<: *a}\n"), &doc); err != nil {
		panic(err)
	}
	show("merge", map[bool]string{true: "merged", false: "left alone"}[doc.C["b"] == 1])
	var keys any
	err = yaml.Unmarshal([]byte("1.0: a\n1: b\n"), &keys)
	show("keys 1.0 and 1", map[bool]string{true: "taken", false: "refused"}[err == nil])
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
017                 int 15              number 17           number 17
08                  float64 8           number 8            number 8
1_000               int 1000            string 1_000        string 1_000
0b11                int 3               string 0b11         string 0b11
2026-11-30          time.Time           string 2026-11-30   string 2026-11-30
on                  string on           string on           string on
merge               merged              left alone          left alone
keys 1.0 and 1      taken               refused             refused
TXT
diff want seen || { echo changed; exit 1; }
