package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/report"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func newBuffered(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, 64<<10) }

func reportCommand() *cobra.Command {
	var f filter
	var out, csv string
	var keys []string
	var skip bool
	cmd := &cobra.Command{
		Use:   "report --output <file.html> [--csv <file.csv>] [<filters>] <trail>",
		Short: "Writes a report as one HTML page, and as CSV",
		Long: `
Writes one self-contained HTML page with charts: requests and rejections over
time, users, rules that refused, masked fields, and what is worth a look. The
trail is verified first and the page says what came of it.
`,
		Args: cobra.ExactArgs(1),
	}
	f.flags(cmd.Flags())
	cmd.Flags().StringVarP(&out, "output", "o", "", "file for the page")
	cmd.Flags().StringVar(&csv, "csv", "", "file for the figures as CSV")
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "verifier key, or a file of them (repeatable)")
	cmd.Flags().BoolVar(&skip, "no-verify", false, "do not verify the trail")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if out == "" && csv == "" {
			return errors.New("give --output or --csv")
		}
		s, err := summarize(cmd, &f, args[0])
		if err != nil {
			return err
		}
		s.Filter = spelled(cmd.Flags())
		if !skip {
			if err := integrity(cmd, s, args[0], keys); err != nil {
				return err
			}
		}
		if out != "" {
			if err := writeFile(out, s.WriteHTML); err != nil {
				return err
			}
		}
		if csv != "" {
			if err := writeFile(csv, s.WriteCSV); err != nil {
				return err
			}
		}
		if s.Problem != "" {
			return errTampered
		}
		return nil
	}
	return cmd
}

// integrity verifies the trail for the report.
func integrity(cmd *cobra.Command, s *report.Summary, dir string, keys []string) error {
	known, err := readVerifiers(keys)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(cmd)
	defer stop()
	progress := newProgress(cmd.ErrOrStderr())
	r, err := trail.Verify(ctx, dir, trail.VerifyOptions{Known: known, MaxProblems: 5, Progress: progress.at})
	progress.done()
	if err != nil {
		return err
	}
	if !r.OK() {
		s.Problem = fmt.Sprintf("The trail does NOT verify: %s", r.Problems[0])
		if n := len(r.Problems) + r.Omitted - 1; n > 0 {
			s.Problem += fmt.Sprintf(", and %d more problems", n)
		}
		return nil
	}
	by := "by the given key"
	if r.OwnKeys {
		by = "by the keys noted in the trail's own directory"
	}
	s.Integrity = fmt.Sprintf("The trail %s verifies %s: %d records, root %v.", r.Origin, by, r.Size, r.Root)
	if r.Unsigned > 0 {
		s.Integrity += fmt.Sprintf(" The last %d are newer than the last checkpoint.", r.Unsigned)
	}
	return nil
}

// spelled says which filters were given.
func spelled(fs *pflag.FlagSet) string {
	var given []string
	fs.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "output", "csv", "key", "no-verify":
		default:
			given = append(given, f.Name+" "+f.Value.String())
		}
	})
	return strings.Join(given, ", ")
}

// writeFile writes a file that only its owner reads: it tells who did what.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := newBuffered(f)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
