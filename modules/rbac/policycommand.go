package rbac

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Prints, tests, compares and imports rbac policies",
		Args:  cli.NoCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(matrixCommand(), testCommand(), diffCommand(), importCommand(), schemaCommand())
	return cmd
}

func matrixCommand() *cobra.Command {
	var config string
	var number int
	var asCSV, asHTML bool
	cmd := &cobra.Command{
		Use:   "matrix --config FILE [--csv|--html]",
		Short: "Prints who may do what",
		Long: `Prints a table of who may do what. There is a row for every path that a rule
names; it stands for the requests that match it and no more specific path of
another row. A request that matches two of them, of which neither is more
specific, may do what either allows; where a rule that denies takes some of that
away, there is a row for what both are for: /a/b for "allow GET /a/{x}" and
"deny GET /{y}/b". There is a column for everyone, for callers with an identity, and
for each role and scope; what a role inherits, and what everybody may do, is in
its column too. Where the authentication before rbac is not optional, the column
for everyone is empty: nobody comes to rbac without a credential.

A cell lists the methods that are allowed: * for every method, (other) for those
that no rule names, and a question mark behind a method that a condition
decides about. HEAD is not listed where GET is.

For an MCP server there is a row for every name of a tool, resource or prompt in
a rule, with "allow" for those who may call it if they may send the request: it
stands for the calls that match it and no more specific name of another row.`,
		Args: cobra.NoArgs,
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			l, err := choose(config, number)
			if err != nil {
				return err
			}
			if asHTML {
				return matrixHTML(cmd.OutOrStdout(), l)
			}
			m, err := l.matrix()
			if err != nil {
				return err
			}
			if asCSV {
				return matrixCSV(cmd.OutOrStdout(), m)
			}
			return matrixText(cmd.OutOrStdout(), m)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "", "the configuration: a Caddyfile, or JSON if its name ends in .json")
	f.IntVar(&number, "rbac", 0, "which rbac directive, where the configuration has several, from 1")
	f.BoolVar(&asCSV, "csv", false, "print CSV (RFC 4180)")
	f.BoolVar(&asHTML, "html", false, "print one self-contained HTML page")
	cmd.MarkFlagsMutuallyExclusive("csv", "html")
	return cmd
}

// matrix returns the table of who may do what.
func (l *loaded) matrix() (*policy.Matrix, error) {
	m, err := l.policy.Matrix()
	if err != nil {
		return nil, err
	}
	return l.front.hide(m), nil
}

// matrixRows returns the table as text, its head first.
func matrixRows(m *policy.Matrix) [][]string {
	rows := make([][]string, 0, 1+len(m.Rows))
	rows = append(rows, append([]string{"path"}, m.Subjects...))
	for _, r := range m.Rows {
		row := make([]string, 0, 1+len(r.Cells))
		row = append(row, r.Path)
		for _, cell := range r.Cells {
			row = append(row, cellText(m.Methods, cell))
		}
		rows = append(rows, row)
	}
	for _, r := range m.Calls {
		row := make([]string, 0, 1+len(r.Cells))
		row = append(row, string(r.Call)+" "+r.Name)
		for _, a := range r.Cells {
			row = append(row, map[policy.Allowed]string{policy.Always: "allow", policy.Sometimes: "allow?", policy.Never: ""}[a])
		}
		rows = append(rows, row)
	}
	return rows
}

// cellText prints one cell.
func cellText(methods []string, cell []policy.Allowed) string {
	same := true
	for _, a := range cell {
		same = same && a == cell[0]
	}
	if same {
		return map[policy.Allowed]string{policy.Always: "*", policy.Sometimes: "*?", policy.Never: ""}[cell[0]]
	}
	var list []string
	get := slices.Index(methods, http.MethodGet)
	for i, m := range methods {
		if cell[i] == policy.Never || m == http.MethodHead && get >= 0 && cell[get] == cell[i] {
			continue
		}
		if m == "*" {
			m = "(other)"
		}
		if cell[i] == policy.Sometimes {
			m += "?"
		}
		list = append(list, m)
	}
	return strings.Join(list, ",")
}

func matrixText(w io.Writer, m *policy.Matrix) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range matrixRows(m) {
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			if i > 0 {
				cell = "\t" + cell
			}
			if _, err := io.WriteString(tw, cell); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(tw, "\n"); err != nil {
			return err
		}
	}
	return tw.Flush()
}

func matrixCSV(w io.Writer, m *policy.Matrix) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.WriteAll(matrixRows(m)); err != nil {
		return err
	}
	return c.Error()
}

func diffCommand() *cobra.Command {
	var number int
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Says who gains and who loses by a change of a policy",
		Long: `Shows who gains and who loses access by a change from one policy to another. OLD and NEW
are configurations (Caddyfiles, or JSON) or policy files (YAML or JSON).

Both policies are compiled and compared by what they decide, for every path and
every tool, resource or prompt of an MCP server that a rule of either names, and for what
a rule that allows and one that denies have in common; rules that are only written differently make no
difference. Users whose roles change are listed with these roles and with what these allow
in rbac; a role may also change what redact shows them. "may" is
where a condition decides. The exit code is 0 if nothing
changes, 1 if something does, and 2 on an error.`,
		Args: cobra.ExactArgs(2),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			from, err := policyOf(args[0], number)
			if err != nil {
				return err
			}
			to, err := policyOf(args[1], number)
			if err != nil {
				return err
			}
			return diff(cmd.OutOrStdout(), from, to)
		}),
	}
	cmd.Flags().IntVar(&number, "rbac", 0, "which rbac directive, where the configurations have several, from 1")
	return cmd
}

// policyOf reads a configuration or a policy file. A JSON file is a policy if
// it can be read as one.
func policyOf(file string, number int) (*loaded, error) {
	switch filepath.Ext(file) {
	case ".yaml", ".yml", ".json":
		content, err := filewatch.Read(file, policy.MaxFile)
		if err != nil {
			return nil, err
		}
		doc, err := policy.ReadFile(file, content)
		if err == nil {
			return compile(doc)
		}
		if filepath.Ext(file) != ".json" {
			return nil, err
		}
	}
	return choose(file, number)
}

// diff prints the differences, one line for each caller and path.
func diff(w io.Writer, from, to *loaded) error {
	roles, users, err := policy.CompareUsers(from.policy, to.policy)
	if err != nil {
		return err
	}
	gains, err := policy.Compare(from.policy, to.policy)
	if err != nil {
		return err
	}
	for _, change := range roles {
		if _, err := fmt.Fprintln(w, change); err != nil {
			return err
		}
	}
	gains = append(gains, users...)
	type line struct{ who, path, verb string }
	var order []line
	methods := make(map[line][]string)
	for _, g := range gains {
		l := line{g.Who, g.Path, verb(g.From, g.To)}
		if methods[l] == nil {
			order = append(order, l)
		}
		m := g.Method
		if m == "*" {
			m = "(other)"
		}
		methods[l] = append(methods[l], m)
	}
	for _, l := range order {
		if _, err := fmt.Fprintf(w, "%s %s %s %s\n", l.who, l.verb, strings.Join(methods[l], ","), l.path); err != nil {
			return err
		}
	}
	if len(gains) > 0 || len(roles) > 0 {
		return errNo
	}
	return nil
}

// verb says what happens to a permission.
func verb(from, to policy.Allowed) string {
	switch {
	case to == policy.Always && from == policy.Sometimes:
		return "now always has"
	case to == policy.Always:
		return "gains"
	case to == policy.Sometimes && from == policy.Never:
		return "may gain"
	case to == policy.Sometimes:
		return "may lose"
	}
	return "loses"
}
