package findings

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the findings for people: location, severity and rule, then
// what is wrong, then what to write.
func WriteTable(w io.Writer, r Result) error {
	var out strings.Builder
	for _, f := range r.Findings {
		at := f.At()
		if at == "" {
			at = "-"
		}
		fmt.Fprintf(&out, "%s: %s %s %s", at, f.Severity, f.Rule, f.Name)
		if f.Site != "" {
			fmt.Fprintf(&out, " (%s)", f.Site)
		}
		fmt.Fprintf(&out, "\n    %s\n", f.Text)
		if len(f.Write) > 0 {
			out.WriteString("    write:\n")
		}
		for _, line := range f.Write {
			fmt.Fprintf(&out, "        %s\n", line)
		}
		out.WriteString("\n")
	}
	fmt.Fprintf(&out, "%s, %s, %s", plural(r.only(Error), "error"), plural(r.only(Warning), "warning"), plural(r.only(Note), "note"))
	if r.Ignored > 0 {
		fmt.Fprintf(&out, "; %d ignored by comments", r.Ignored)
	}
	if r.Baseline > 0 {
		fmt.Fprintf(&out, "; %d in the baseline", r.Baseline)
	}
	out.WriteString("\n")
	_, err := io.WriteString(w, out.String())
	return err
}

func (r Result) only(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// WriteJSON writes the result as one JSON object.
func WriteJSON(w io.Writer, r Result) error {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return encode(w, r)
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteRules writes the rules themselves, as JSON or as a table.
func WriteRules(w io.Writer, rules []Rule, format string) error {
	if format == "json" {
		return encode(w, rules)
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range rules {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.ID, r.Severity, r.Name, r.Summary)
	}
	return table.Flush()
}
