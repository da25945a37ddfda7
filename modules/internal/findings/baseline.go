package findings

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// baselineVersion is that of the form of baseline files.
const baselineVersion = 1

// baseline is a file of findings that are known: they were there when the check
// was introduced, and are not reported again.
type baseline struct {
	Version  int     `json:"version"`
	Findings []entry `json:"findings"`
}

// entry is a finding in a baseline. What it is recognized by is the fingerprint;
// the rest is for people.
type entry struct {
	Fingerprint string `json:"fingerprint"`
	Rule        string `json:"rule"`
	Name        string `json:"name"`
	At          string `json:"at,omitempty"`
	Site        string `json:"site,omitempty"`
}

// fingerprints returns what findings are recognized by when lines were added
// above or files were moved to another folder: the rule, the name of the file,
// the site and the text of the line, and which of several that are alike it is.
func fingerprints(all []Finding) []string {
	seen := map[string]int{}
	prints := make([]string, len(all))
	for i, f := range all {
		key := strings.Join([]string{f.Rule, filepath.Base(f.File), f.Site, f.Code}, "\x00")
		sum := sha256.Sum256([]byte(key + "\x00" + strconv.Itoa(seen[key])))
		seen[key]++
		prints[i] = hex.EncodeToString(sum[:16])
	}
	return prints
}

// MakeBaseline returns the content of a baseline file with these findings. Those
// with which the server does not start are not among them.
func MakeBaseline(all []Finding) ([]byte, error) {
	b := baseline{Version: baselineVersion, Findings: []entry{}}
	prints := fingerprints(all)
	for i, f := range all {
		if f.Severity != Error {
			b.Findings = append(b.Findings, entry{prints[i], f.Rule, f.Name, f.At(), f.Site})
		}
	}
	text, err := json.MarshalIndent(b, "", "  ")
	return append(text, '\n'), err
}

// WithoutBaseline removes the findings that a baseline file has. gone is how
// many of the file are not found any more.
func WithoutBaseline(all []Finding, file []byte) (left []Finding, removed, gone int, err error) {
	var b baseline
	if err := json.Unmarshal(file, &b); err != nil {
		return nil, 0, 0, fmt.Errorf("it is not a baseline: %w", err)
	}
	if b.Version != baselineVersion {
		return nil, 0, 0, fmt.Errorf("version %d of baselines is not known; this is version %d", b.Version, baselineVersion)
	}
	known := map[string]bool{}
	for _, e := range b.Findings {
		known[e.Fingerprint] = true
	}
	prints := fingerprints(all)
	for i, f := range all {
		if f.Severity != Error && known[prints[i]] {
			removed++
			delete(known, prints[i])
			continue
		}
		left = append(left, f)
	}
	return left, removed, len(known), nil
}
