#!/usr/bin/env bash
# CEL: a condition that is tried out in JavaScript means something else in Go.
#
# Versions: github.com/google/cel-go v0.26.1; @bufbuild/cel 0.6.1 and cel-js 0.8.2 (npm).
#
# Guess: CEL has a specification with a conformance suite; an expression that all
#   three take has one result, and one that fails throws in JavaScript.
# Behaviour: @bufbuild/cel returns an error as a value, an object, which is true in an
#   if, where cel-go returns an error; it also reads hexadecimal texts as int. cel-js
#   has one kind of number (7 / 2 is 3.5, no overflow), counts UTF-16 units in size,
#   has no method calls but the macros, and evaluates both sides of ||, so a missing
#   member beside true is an error. cel-go compiles first: comparing an
#   int with a double by == is refused there, and 1 < 2.5 is an error without
#   CrossTypeNumericComparisons.
# Matters: conditions of a policy that are edited or tested in a browser must be
#   evaluated by the library that decides; a wrapper that does
#   if (run(condition)) allows when the condition fails.
#
# Output seen (cel-go, @bufbuild/cel, cel-js):
#   7 / 2                          3                3                3.5
#   size('👍')                      1                1                2
#   missing.x == 1 || true         true             true             throws
#   9223372036854775807 + 1 > 0    error            an error, truthy true
#   int('0x10')                    error            16               throws
#   1 == 1.0                       error            true             true
#   'abc'.startsWith('a')          true             true             throws
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @bufbuild/cel@0.6.1 cel-js@0.8.2
cat >expressions.json <<'JSON'
["7 / 2", "size('👍')", "missing.x == 1 || true", "9223372036854775807 + 1 > 0", "int('0x10')", "1 == 1.0", "'abc'.startsWith('a')"]
JSON
cat >try.mjs <<'JS'
import { readFileSync, writeFileSync } from 'node:fs';
import { evaluate } from 'cel-js';
import { isCelError, run } from '@bufbuild/cel';

const caught = f => {
  try {
    const v = f();
    return isCelError(v) ? (v ? 'an error, truthy' : 'an error') : String(v);
  } catch { return 'throws'; }
};
writeFileSync('js.json', JSON.stringify(JSON.parse(readFileSync('expressions.json')).map(e =>
  [caught(() => run(e, { missing: {} })), caught(() => evaluate(e, { missing: {} }))])));
JS
node try.mjs
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/google/cel-go v0.26.1
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/cel-go/cel"
)

func read(file string, v any) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		panic(err)
	}
}

func main() {
	var expressions []string
	var js [][2]string
	read("expressions.json", &expressions)
	read("js.json", &js)
	env, err := cel.NewEnv(cel.Variable("missing", cel.DynType))
	if err != nil {
		panic(err)
	}
	result := func(e string) string {
		ast, issues := env.Compile(e)
		if issues.Err() != nil {
			return "error"
		}
		program, err := env.Program(ast)
		if err != nil {
			return "error"
		}
		v, _, err := program.Eval(map[string]any{"missing": map[string]any{}})
		if err != nil {
			return "error"
		}
		return fmt.Sprint(v.Value())
	}
	for i, e := range expressions {
		fmt.Printf("%-30s %-16s %-16s %s\n", e, result(e), js[i][0], js[i][1])
	}
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
7 / 2                          3                3                3.5
size('👍')                      1                1                2
missing.x == 1 || true         true             true             throws
9223372036854775807 + 1 > 0    error            an error, truthy true
int('0x10')                    error            16               throws
1 == 1.0                       error            true             true
'abc'.startsWith('a')          true             true             throws
TXT
diff want seen || { echo changed; exit 1; }
