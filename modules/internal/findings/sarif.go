package findings

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// The members of a SARIF log (Static Analysis Results Interchange Format,
// OASIS, version 2.1.0) that are written.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		URI   string      `json:"informationUri"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string      `json:"id"`
		Name    string      `json:"name"`
		Summary sarifText   `json:"shortDescription"`
		HelpURI string      `json:"helpUri"`
		Config  sarifConfig `json:"defaultConfiguration"`
	}
	sarifConfig struct {
		Level Severity `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		Rule         string            `json:"ruleId"`
		Index        int               `json:"ruleIndex"`
		Level        Severity          `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

// WriteSARIF writes the result as a SARIF 2.1.0 log. page is the address of the
// page with the rules.
func WriteSARIF(w io.Writer, r Result, rules []Rule, page string) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "caddy moat check", URI: page}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	for _, rule := range rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: rule.ID, Name: rule.Name, Summary: sarifText{rule.Summary}, HelpURI: page, Config: sarifConfig{rule.Severity},
		})
	}
	prints := fingerprints(r.Findings)
	for i, f := range r.Findings {
		text := f.Text
		if len(f.Write) > 0 {
			text += "\nWrite:\n" + strings.Join(f.Write, "\n")
		}
		result := sarifResult{
			Rule: f.Rule, Index: slices.IndexFunc(rules, func(rule Rule) bool { return rule.ID == f.Rule }),
			Level: f.Severity, Message: sarifText{text}, Fingerprints: map[string]string{"moat/v1": prints[i]},
		}
		if f.File != "" {
			at := sarifPhysical{Artifact: sarifArtifact{uri(f.File)}}
			if f.Line > 0 {
				at.Region = &sarifRegion{f.Line}
			}
			result.Locations = []sarifLocation{{at}}
		}
		run.Results = append(run.Results, result)
	}
	return encode(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run},
	})
}

// uri returns the reference to a file: relative to the working directory, as
// code hosts expect it, or absolute.
func uri(file string) string {
	path := filepath.ToSlash(filepath.Clean(file))
	if filepath.IsAbs(file) {
		if !strings.HasPrefix(path, "/") {
			path = "/" + path // a drive
		}
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	return (&url.URL{Path: path}).String()
}
