// Package evidence tests the proof of what happened: audit, its trails on bad
// disks, and that no credential is written anywhere.
package evidence
