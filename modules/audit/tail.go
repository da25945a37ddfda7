package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func tailCommand() *cobra.Command {
	var l listing
	var last int
	var follow bool
	cmd := &cobra.Command{
		Use:   "tail [-f] [<filters>] <trail>",
		Short: "Prints the newest records, and those to come",
		Args:  cobra.ExactArgs(1),
	}
	l.flags(cmd.Flags())
	cmd.Flags().StringVar(&l.format, "format", "text", formats)
	cmd.Flags().IntVarP(&last, "lines", "n", 10, "how many records to print")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if last < 0 {
			return errors.New("--lines must not be negative")
		}
		print, err := l.open(args, cmd.OutOrStdout())
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		err = tail(ctx, l.dir, &l.filter, last, follow, print)
		if errors.Is(err, context.Canceled) {
			return nil // Ctrl-C is how one leaves
		}
		return err
	}
	return cmd
}

// kept is a record that tail holds until it knows those before it.
type kept struct {
	index int64
	line  []byte
	rec   record.Record
}

// tail prints the last records that f selects, for which it reads the trail
// from its end, and then those to come if it is to follow.
func tail(ctx context.Context, dir string, f *filter, last int, follow bool, print func(int64, []byte, *record.Record) error) error {
	var found []kept
	o := trail.ScanOptions{Contains: f.literals()}
	if !f.from.IsZero() {
		o.ClosedBefore = f.from.Add(-time.Hour)
	}
	var r record.Record
	at, err := trail.ScanBackward(ctx, dir, o, func(rec trail.Record) error {
		if len(found) == last {
			return trail.ErrStop
		}
		if err := record.Decode(rec.Line, &r); err != nil {
			return fmt.Errorf("record %d: %w", rec.Index, err)
		}
		if f.match(&r) {
			found = append(found, kept{rec.Index, bytes.Clone(rec.Line), r})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range slices.Backward(found) {
		k := &found[i]
		if err := print(k.index, k.line, &k.rec); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	return f.walk(ctx, dir, trail.ScanOptions{From: at, Follow: true}, print)
}
