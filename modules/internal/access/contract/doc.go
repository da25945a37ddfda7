// Package contract checks requests against an OpenAPI document, 3.0 to 3.2: what the
// document does not describe is refused, and so is what programs could read in two ways.
//
// A document is loaded once. Its files are read as trees of YAML that know their lines,
// since libraries that build their own model of a document lose these, and pass over what
// they do not know: here every keyword is enforced, known to say nothing about a request,
// or reported. Schemas go under one key each into a document that jsonschema/v6 compiles,
// and are checked by package schema.
//
// A request is never changed, and no message about it has a value that was sent.
package contract
