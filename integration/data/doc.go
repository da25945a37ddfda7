// Package data tests which fields callers see: redact.
package data
