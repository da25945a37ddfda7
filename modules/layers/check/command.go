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
	var file, adapter, format, failOn string
	var list bool
	cmd := &cobra.Command{
		Use:   "check [--config <file>] [--adapter <name>] [--format table|json] [--fail-on error|warning|note]",
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
			write, ok := map[string]func(io.Writer, findings.Result) error{"table": findings.WriteTable, "json": findings.WriteJSON}[format]
			if !ok {
				return fmt.Errorf("--format must be table or json, not %q", format)
			}
			body, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			r, err := examine(file, body, load, options{adapter: adapter, now: time.Now()})
			if err != nil {
				return err
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
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	cmd.Flags().StringVar(&failOn, "fail-on", "warning", "least severity with which the exit code is 2: error, warning or note")
	cmd.Flags().BoolVar(&list, "rules", false, "print the rules, and check nothing")
	return cmd
}

// errFound ends a command whose result has been printed.
var errFound = errors.New("found")

// exit makes a command end with a status and no message.
func exit(cmd *cobra.Command, status int) error {
	cmd.SilenceErrors = true
	err := caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })(cmd, nil)
	return cmp.Or(err, errFound)
}
