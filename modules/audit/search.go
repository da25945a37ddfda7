package audit

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/export"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func searchCommand() *cobra.Command {
	var f filter
	var format string
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
	f.flags(cmd.Flags())
	cmd.Flags().StringVarP(&format, "format", "f", "json", formats)
	cmd.Flags().Int64VarP(&limit, "limit", "n", 0, "stop after so many records (0: all)")
	cmd.Flags().BoolVar(&count, "count", false, "print only how many there are")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := trailDir(args[0])
		if err != nil {
			return err
		}
		if err := f.compile(time.Now()); err != nil {
			return err
		}
		out := newBuffered(cmd.OutOrStdout())
		print, err := printer(out, format, dir)
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		progress := newProgress(cmd.ErrOrStderr())
		var n int64
		err = f.walk(ctx, dir, trail.ScanOptions{Progress: progress.at}, func(index int64, line []byte, r *record.Record) error {
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
		progress.done()
		if count && err == nil {
			fmt.Fprintln(out, n)
		}
		return errors.Join(err, out.Flush())
	}
	return cmd
}

func exportCommand() *cobra.Command {
	var f filter
	var format string
	cmd := &cobra.Command{
		Use:   "export --format ocsf|ecs|cef [<filters>] <trail>",
		Short: "Writes records in the form that another tool reads",
		Long: `
Writes one record a line: OCSF API Activity (class 6003) or Elastic Common
Schema as JSON, or ArcSight CEF.
`,
		Args: cobra.ExactArgs(1),
	}
	f.flags(cmd.Flags())
	cmd.Flags().StringVarP(&format, "format", "f", "", "ocsf, ecs or cef")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := trailDir(args[0])
		if err != nil {
			return err
		}
		if err := f.compile(time.Now()); err != nil {
			return err
		}
		if !slices.Contains(export.Names, format) {
			return fmt.Errorf("--format %q: must be ocsf, ecs or cef", format)
		}
		out := newBuffered(cmd.OutOrStdout())
		print, err := printer(out, format, dir)
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		progress := newProgress(cmd.ErrOrStderr())
		err = f.walk(ctx, dir, trail.ScanOptions{Progress: progress.at}, print)
		progress.done()
		return errors.Join(err, out.Flush())
	}
	return cmd
}
