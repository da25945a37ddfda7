package audit

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/export"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

// listing is what the commands that print records have in common: which of
// them, and in which form.
type listing struct {
	filter
	format string
	dir    string
}

// open reads the arguments of a command, and returns what prints a record.
func (l *listing) open(args []string, out io.Writer) (print func(int64, []byte, *record.Record) error, err error) {
	if l.dir, err = l.filter.open(args[0]); err != nil {
		return nil, err
	}
	return printer(out, l.format, l.dir)
}

// all prints the records of the whole trail, and shows how far it is.
func (l *listing) all(cmd *cobra.Command, print func(int64, []byte, *record.Record) error) error {
	ctx, stop := interruptible(cmd)
	defer stop()
	progress := newProgress(cmd.ErrOrStderr())
	defer progress.done()
	return l.walk(ctx, l.dir, trail.ScanOptions{Progress: progress.at}, print)
}

func searchCommand() *cobra.Command {
	var l listing
	var limit int64
	var count bool
	cmd := &cobra.Command{
		Use:   "search [<filters>] <trail>",
		Short: "Finds records",
		Long: `
Prints the records that all given filters select, oldest first, as they stand
in the trail or in another form. Signatures are not checked: see verify.
`,
		Example: `  caddy moat audit search --user alice --status 4xx --since 24h /var/log/moat/api.audit
  caddy moat audit search --decision rbac=deny --path '/orders/**' --format text /var/log/moat/api.audit`,
		Args: cobra.ExactArgs(1),
	}
	l.flags(cmd.Flags())
	cmd.Flags().StringVarP(&l.format, "format", "f", "json", formats)
	cmd.Flags().Int64VarP(&limit, "limit", "n", 0, "stop after so many records (0: all)")
	cmd.Flags().BoolVar(&count, "count", false, "print only how many there are")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out := newBuffered(cmd.OutOrStdout())
		print, err := l.open(args, out)
		if err != nil {
			return err
		}
		var n int64
		err = l.all(cmd, func(index int64, line []byte, r *record.Record) error {
			n++
			if !count {
				if err := print(index, line, r); err != nil {
					return err
				}
			}
			if n == limit {
				return trail.ErrStop
			}
			return nil
		})
		if count && err == nil {
			fmt.Fprintln(out, n)
		}
		return errors.Join(err, out.Flush())
	}
	return cmd
}

func exportCommand() *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use:   "export --format ocsf|ecs|cef [<filters>] <trail>",
		Short: "Writes records in the form that another tool reads",
		Long: `
Writes one record a line: OCSF API Activity (class 6003) or Elastic Common
Schema as JSON, or ArcSight CEF.
`,
		Args: cobra.ExactArgs(1),
	}
	l.flags(cmd.Flags())
	cmd.Flags().StringVarP(&l.format, "format", "f", "", "ocsf, ecs or cef")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(export.Names, l.format) {
			return fmt.Errorf("--format %q: must be ocsf, ecs or cef", l.format)
		}
		out := newBuffered(cmd.OutOrStdout())
		print, err := l.open(args, out)
		if err != nil {
			return err
		}
		return errors.Join(l.all(cmd, print), out.Flush())
	}
	return cmd
}
