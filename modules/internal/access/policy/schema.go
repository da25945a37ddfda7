package policy

import _ "embed"

// Schema is the JSON Schema (draft 2020-12) of policy files. What it refuses
// is refused by [ReadFile] or [Compile]; these two refuse more, since a schema
// cannot say that a role exists or that a condition is well-typed.
//
//go:embed schema.json
var Schema []byte
