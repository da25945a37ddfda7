package audit

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/report"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func statsCommand() *cobra.Command {
	var f filter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats [<filters>] <trail>",
		Short: "Counts requests, rejections, users and rules",
		Args:  cobra.ExactArgs(1),
	}
	f.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := summarize(cmd, &f, args[0])
		if err != nil {
			return err
		}
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(s)
		}
		return s.WriteText(cmd.OutOrStdout())
	}
	return cmd
}

// summarize reads a trail into a summary.
func summarize(cmd *cobra.Command, f *filter, path string) (*report.Summary, error) {
	dir, err := f.open(path)
	if err != nil {
		return nil, err
	}
	ctx, stop := interruptible(cmd)
	defer stop()
	progress := newProgress(cmd.ErrOrStderr())
	defer progress.done()
	c := report.NewCounter()
	c.List = f.ofRequests()
	all := *f
	if all.kind == "" {
		all.kind = anyKind
	}
	o := trail.ScanOptions{Progress: progress.at}
	err = all.walk(ctx, dir, o, func(index int64, _ []byte, r *record.Record) error {
		c.Add(index, r)
		return nil
	})
	if err == nil && f.ofRequests() && f.kind == "" {
		// A filter of requests selects no change. Changes of that period
		// belong to the result all the same.
		changes := filter{from: f.from, to: f.to, kind: record.Change}
		err = changes.walk(ctx, dir, o, func(_ int64, _ []byte, r *record.Record) error {
			c.AddChange(r)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	s := c.Summary()
	s.Title, s.Made = dir, time.Now()
	s.ChangesHidden = f.kind != "" && f.kind != record.Change
	return s, nil
}
