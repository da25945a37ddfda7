#!/usr/bin/env bash
# swagger-parser (npm) and kin-openapi (Go): what stands beside a $ref, in OpenAPI
# 3.0 and 3.1.
#
# Versions: @apidevtools/swagger-parser 13.0.0 (npm), github.com/getkin/kin-openapi v0.153.0;
#   OpenAPI 3.0.3 "Reference Object", 3.1.0 "Schema Object" (JSON Schema 2020-12).
#
# Guess: both follow the version that the document names: siblings of $ref in a
#   schema are ignored in 3.0 and apply together with it in 3.1.
# Behaviour: kin-openapi does that. swagger-parser's dereference copies the target and
#   lays the siblings over it, in either version: maxLength 20 beside a reference to
#   a schema with maxLength 9 gives a schema with maxLength 20 alone, where 3.0 means 9,
#   and 3.1 means 9 and 20, which is 9.
# Matters: generators, mock servers and validators in Node start from the dereferenced
#   document; a limit that a referenced schema sets is loosened by a sibling that
#   the author believed to be ignored, or to be an additional one.
#
# Output seen (maxLength after swagger-parser; whether kin-openapi takes 8 and 12 letters):
#   3.0.3, target 9, sibling 3:    3    8: yes  12: no
#   3.0.3, target 9, sibling 20:   20   8: yes  12: no
#   3.1.0, target 9, sibling 3:    3    8: no   12: no
#   3.1.0, target 9, sibling 20:   20   8: yes  12: no
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @apidevtools/swagger-parser@13.0.0
cat >try.mjs <<'JS'
import { writeFileSync } from 'node:fs';
import SwaggerParser from '@apidevtools/swagger-parser';

const all = [];
for (const openapi of ['3.0.3', '3.1.0']) {
  for (const maxLength of [3, 20]) {
    const document = { openapi, info: { title: 'Try', version: '1' },
      paths: { '/a': { get: { responses: { 200: { description: 'OK',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Name', maxLength } } } } } } } },
      components: { schemas: { Name: { type: 'string', maxLength: 9 } } } };
    const text = JSON.stringify(document);
    const read = await SwaggerParser.validate(document);
    const { schema } = read.paths['/a'].get.responses[200].content['application/json'];
    all.push({ name: `${openapi}, target 9, sibling ${maxLength}:`, text, left: schema.maxLength });
  }
}
writeFileSync('cases.json', JSON.stringify(all));
JS
node try.mjs
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/getkin/kin-openapi v0.153.0
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	text, err := os.ReadFile("cases.json")
	if err != nil {
		panic(err)
	}
	var cases []struct {
		Name, Text string
		Left       int
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		panic(err)
	}
	for _, c := range cases {
		doc, err := openapi3.NewLoader().LoadFromData([]byte(c.Text))
		if err != nil {
			panic(err)
		}
		schema := doc.Paths.Find("/a").Get.Responses.Status(200).Value.Content["application/json"].Schema.Value
		takes := func(n int) string {
			if schema.VisitJSON(strings.Repeat("x", n)) != nil {
				return "no"
			}
			return "yes"
		}
		fmt.Printf("%-30s %-4d 8: %-4s 12: %s\n", c.Name, c.Left, takes(8), takes(12))
	}
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
3.0.3, target 9, sibling 3:    3    8: yes  12: no
3.0.3, target 9, sibling 20:   20   8: yes  12: no
3.1.0, target 9, sibling 3:    3    8: no   12: no
3.1.0, target 9, sibling 20:   20   8: yes  12: no
TXT
diff want seen || { echo changed; exit 1; }
