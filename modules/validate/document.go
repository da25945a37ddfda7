package validate

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/contract"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// documents are the files of contracts.
var documents = watched.Kind{
	Layer: layer, Option: "document", Subject: "the OpenAPI document", What: "API document", Logger: "http.handlers.validate",
	Describe: func(e filewatch.Event) (what, detail string) { return "API document changed", e.Detail },
	Metrics: watched.Metrics{
		Entries:  prometheus.NewDesc("caddy_moat_validate_operations", "Operations of the OpenAPI document in force.", []string{"document"}, nil),
		Unusable: prometheus.NewDesc("caddy_moat_validate_document_unusable", watched.UnusableHelp, []string{"document"}, nil),
	},
}

// document is a contract in a file that may change.
type document struct {
	*filewatch.Kept[contract.Document]
}

// Len returns how many operations are in force.
func (d *document) Len() int { return len(d.Value().Operations) }

// open reads a contract and begins to watch its file. Files that it refers to are read
// again when it changes.
func open(path string, options contract.LoadOptions, report func(filewatch.Event)) (*document, error) {
	parse := func(text []byte) (*contract.Document, error) { return contract.Load(path, text, options) }
	kept, err := filewatch.Keep(path, contract.MaxFile, parse, func(before, after *contract.Document, err error) {
		if err != nil {
			report(filewatch.Event{Err: err})
			return
		}
		report(filewatch.Event{Detail: difference(before, after)})
	})
	if err != nil {
		return nil, err
	}
	return &document{kept}, nil
}

// maxShown is how many operations one record names.
const maxShown = 50

// difference names the operations that are new or gone.
func difference(before, after *contract.Document) string {
	var lines []string
	name := func(op *contract.Operation) string { return op.Method + " " + op.Template }
	known := func(d *contract.Document) map[string]bool {
		m := make(map[string]bool, len(d.Operations))
		for _, op := range d.Operations {
			m[name(op)] = true
		}
		return m
	}
	old, now := known(before), known(after)
	for _, op := range after.Operations {
		if !old[name(op)] {
			lines = append(lines, "added "+name(op))
		}
	}
	for _, op := range before.Operations {
		if !now[name(op)] {
			lines = append(lines, "removed "+name(op))
		}
	}
	if len(lines) > maxShown {
		lines = append(lines[:maxShown], fmt.Sprintf("and %d more", len(lines)-maxShown))
	}
	if len(lines) == 0 {
		return "the same operations, described in another way"
	}
	return strings.Join(lines, "\n")
}
