package check

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/findings"
)

// Command is `caddy moat check`.
func Command(load Load) *cobra.Command {
	var file, adapter, format, failOn, known string
	var list, writeBaseline bool
	cmd := &cobra.Command{
		Use:   "check [--config <file>] [--adapter <name>] [--format table|json|sarif] [--fail-on error|warning|note] [--baseline <file> [--write-baseline]]",
		Short: "Looks for what makes a configuration weaker than it looks",
		Long: `
Looks for mistakes and weaknesses in a configuration, and says where each
stands in the Caddyfile and what to write instead. What the server refuses to
start with is among them. The rules and their IDs are in docs/check.md.

The configuration is loaded as by caddy validate, beside a server that runs it:
nothing is started, and no log is written. Run it as the user whom the server
runs as, with the server's environment, so that files and secrets are the same.

A finding that is meant is ignored by a comment, on the line above the directive
or behind it, for the directive with its block:

	# moat:ignore MOAT-112 tokens of this issuer are for us alone until=2027-01-31

A comment without a reason, one that has ended, and one that ignores nothing are
findings themselves.

A baseline is a file of the findings that are there today: --write-baseline
writes it, and with --baseline only what is not in it is reported. It recognizes
findings by the text of their lines, so that lines may be added above. Findings
that the server refuses to start with are in no baseline.

Exit codes: 0 nothing found, 1 the configuration cannot be read, 2 findings of
the severity --fail-on or worse.
`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			least := findings.Severity(failOn)
			if !slices.Contains(findings.Severities, least) {
				return fmt.Errorf("--fail-on must be error, warning or note, not %q", failOn)
			}
			if list {
				return findings.WriteRules(cmd.OutOrStdout(), rules, format)
			}
			if writeBaseline && known == "" {
				return errors.New("--write-baseline needs --baseline <file>, the file to write")
			}
			write, ok := formats[format]
			if !ok {
				return fmt.Errorf("--format must be table, json or sarif, not %q", format)
			}
			body, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			r, err := examine(file, body, load, options{adapter: adapter, now: time.Now()})
			if err != nil {
				return err
			}
			if writeBaseline {
				text, err := findings.MakeBaseline(r.Findings)
				if err != nil {
					return err
				}
				return os.WriteFile(known, text, 0o644) //nolint:gosec // for the repository that the configuration is in
			}
			if known != "" {
				if err := leaveOut(cmd, &r, known); err != nil {
					return err
				}
			}
			if err := write(cmd.OutOrStdout(), r); err != nil {
				return err
			}
			if r.Count(least) > 0 {
				return exit(cmd, 2)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "Caddyfile", "configuration: Caddyfile, or JSON if the name ends in .json")
	cmd.Flags().StringVarP(&adapter, "adapter", "a", "", "config adapter of the file, if it is no Caddyfile")
	cmd.Flags().StringVar(&format, "format", "table", "table, json or sarif (SARIF 2.1.0)")
	cmd.Flags().StringVar(&failOn, "fail-on", "warning", "least severity with which the exit code is 2: error, warning or note")
	cmd.Flags().StringVar(&known, "baseline", "", "file of findings that are known and not reported")
	cmd.Flags().BoolVar(&writeBaseline, "write-baseline", false, "write what is found to the file of --baseline, and exit with 0")
	cmd.Flags().BoolVar(&list, "rules", false, "print the rules, and check nothing")
	return cmd
}

// formats are the forms of the output.
var formats = map[string]func(io.Writer, findings.Result) error{
	"table": findings.WriteTable,
	"json":  findings.WriteJSON,
	"sarif": func(w io.Writer, r findings.Result) error {
		return findings.WriteSARIF(w, r, rules, "https://"+self()+"/blob/main/docs/check.md")
	},
}

// leaveOut removes from a result what the baseline in a file has.
func leaveOut(cmd *cobra.Command, r *findings.Result, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w; write it with --write-baseline", err)
	}
	left, removed, gone, err := findings.WithoutBaseline(r.Findings, text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r.Findings, r.Baseline = left, removed
	if gone > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d findings in %s are not found any more; write it anew with --write-baseline\n", gone, file)
	}
	return nil
}

// errFound ends a command whose result has been printed.
var errFound = errors.New("found")

// exit makes a command end with a status and no message.
func exit(cmd *cobra.Command, status int) error {
	cmd.SilenceErrors = true
	err := caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })(cmd, nil)
	return cmp.Or(err, errFound)
}
