package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caddy-moat/caddy-moat/modules/internal/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/export"
	"github.com/caddy-moat/caddy-moat/modules/internal/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/report"
	"github.com/caddy-moat/caddy-moat/modules/internal/trail"
)

// anyKind is what stands in filter.kind where intents count too: a summary
// needs them to tell which requests have no outcome.
const anyKind = "*"

// filter selects records. Its zero value selects all.
type filter struct {
	since, until          string
	user, role            string
	status, decision      string
	path, method, address string
	id, site, code, rule  string
	kind                  string

	from, to time.Time
	low      int // range of status
	high     int
	prefix   netip.Prefix
}

// flags adds the filter's flags to a command.
func (f *filter) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.since, "since", "", "records from that time on: RFC 3339, a date, or a duration ago such as 2h or 7d")
	fs.StringVar(&f.until, "until", "", "records before that time")
	fs.StringVarP(&f.user, "user", "u", "", "records of that user; - for anonymous requests")
	fs.StringVar(&f.role, "role", "", "records of users with that role")
	fs.StringVarP(&f.status, "status", "s", "", "status: 403, 4xx or 400-499")
	fs.StringVarP(&f.decision, "decision", "d", "", "allow, deny or error; with a layer: rbac=deny")
	fs.StringVarP(&f.path, "path", "p", "", "path, with * for anything but / and ** for anything")
	fs.StringVarP(&f.method, "method", "m", "", "request method")
	fs.StringVarP(&f.address, "address", "a", "", "client address or CIDR prefix")
	fs.StringVar(&f.id, "id", "", "request id or trace id")
	fs.StringVar(&f.site, "site", "", "site")
	fs.StringVar(&f.code, "code", "", "error code, such as rate_limited")
	fs.StringVar(&f.rule, "rule", "", "text in the rule that decided")
	fs.StringVar(&f.kind, "kind", "", "outcome, intent or change (default: outcome and change)")
}

// compile checks the flags and prepares them for matching.
func (f *filter) compile(now time.Time) (err error) {
	if f.since != "" {
		if f.from, err = parseTime(f.since, now); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
	}
	if f.until != "" {
		if f.to, err = parseTime(f.until, now); err != nil {
			return fmt.Errorf("--until: %w", err)
		}
	}
	if f.low, f.high, err = parseStatus(f.status); err != nil {
		return fmt.Errorf("--status: %w", err)
	}
	if f.decision != "" {
		_, result, found := strings.Cut(f.decision, "=")
		if !found {
			result = f.decision
		}
		if !slices.Contains([]string{decision.Allow, decision.Deny, decision.Skip, decision.Error}, result) {
			return fmt.Errorf("--decision %s: must be allow, deny, skip or error, or <layer>=<one of them>", f.decision)
		}
	}
	if f.address != "" {
		if f.prefix, err = parsePrefix(f.address); err != nil {
			return fmt.Errorf("--address: %w", err)
		}
	}
	if f.kind != "" && !slices.Contains([]string{record.Intent, record.Outcome, record.Change}, f.kind) {
		return fmt.Errorf("--kind %s: must be outcome, intent or change", f.kind)
	}
	return nil
}

func parseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	days, found := strings.CutSuffix(s, "d")
	if n, err := strconv.ParseFloat(days, 64); found && err == nil && n >= 0 {
		return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-11-22, 2026-11-22T10:00:00Z or a duration ago such as 2h", s)
}

func parseStatus(s string) (low, high int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	if len(s) == 3 && strings.HasSuffix(strings.ToLower(s), "xx") && s[0] >= '1' && s[0] <= '9' {
		low = int(s[0]-'0') * 100
		return low, low + 99, nil
	}
	a, b, ranged := strings.Cut(s, "-")
	if low, err = strconv.Atoi(a); err == nil {
		if high = low; ranged {
			high, err = strconv.Atoi(b)
		}
	}
	if err != nil || low > high {
		return 0, 0, fmt.Errorf("%q is not a status: write 403, 4xx or 400-499", s)
	}
	return low, high, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix", s)
	}
	return a.Prefix(a.BitLen())
}

// literals are texts that a line must contain to match, so that most lines
// need not be read. Each is written as the record package writes it.
func (f *filter) literals() [][]byte {
	var out [][]byte
	member := func(name, value string) {
		if value != "" {
			out = append(out, append([]byte(`"`+name+`":`), record.AppendString(nil, value)...))
		}
	}
	if f.user != "-" && f.user != "" {
		out = append(out, append([]byte(`"user":{"id":`), record.AppendString(nil, f.user)...))
	}
	member("method", f.method)
	member("site", f.site)
	member("code", f.code)
	if f.kind != anyKind {
		member("kind", f.kind)
	}
	if f.low == f.high && f.low != 0 {
		out = append(out, []byte(`"status":`+strconv.Itoa(f.low)))
	}
	for _, text := range []string{f.id, f.role} {
		if text != "" {
			out = append(out, record.AppendString(nil, text))
		}
	}
	if f.prefix.IsValid() && f.prefix.IsSingleIP() {
		out = append(out, []byte(`"client":"`+f.prefix.Addr().String()))
	}
	if _, result, found := strings.Cut(f.decision, "="); found {
		out = append(out, []byte(`"result":"`+result+`"`))
	} else if f.decision != "" {
		out = append(out, []byte(`"result":"`+f.decision+`"`))
	}
	// The part of a path before the first wildcard.
	if head, _, _ := strings.Cut(f.path, "*"); head != "" {
		quoted := record.AppendString(nil, head)
		out = append(out, append([]byte(`"path":`), quoted[:len(quoted)-1]...))
	}
	return out
}

// match reports whether r is selected.
func (f *filter) match(r *record.Record) bool {
	switch {
	case f.kind == "" && r.Kind == record.Intent,
		f.kind != "" && f.kind != anyKind && r.Kind != f.kind,
		!f.from.IsZero() && r.Time.Before(f.from),
		!f.to.IsZero() && !r.Time.Before(f.to),
		f.user == "-" && (r.User.ID != "" || r.Kind == record.Change),
		f.user != "" && f.user != "-" && r.User.ID != f.user,
		f.role != "" && !slices.Contains(r.Roles, f.role),
		f.low != 0 && (r.Status < f.low || r.Status > f.high),
		f.method != "" && r.Method != f.method,
		f.site != "" && r.Site != f.site,
		f.code != "" && r.Code != f.code,
		f.id != "" && r.ID != f.id && r.Trace != f.id,
		f.path != "" && !glob(f.path, r.Path) && !glob(f.path, r.Upstream.Path):
		return false
	}
	if f.prefix.IsValid() {
		a, err := netip.ParseAddr(r.Client)
		if err != nil || !f.prefix.Contains(a.WithZone("")) {
			return false
		}
	}
	return (f.decision == "" || slices.ContainsFunc(r.Decisions, f.decided)) &&
		(f.rule == "" || slices.ContainsFunc(r.Decisions, func(d record.Decision) bool { return strings.Contains(d.Rule, f.rule) }))
}

func (f *filter) decided(d record.Decision) bool {
	layer, result, found := strings.Cut(f.decision, "=")
	if !found {
		return d.Result == f.decision
	}
	return d.Layer == layer && d.Result == result
}

// glob matches a path: ** is anything, * anything without a slash.
func glob(pattern, path string) bool {
	for pattern != "" {
		i := strings.IndexByte(pattern, '*')
		if i < 0 {
			return pattern == path
		}
		if !strings.HasPrefix(path, pattern[:i]) {
			return false
		}
		path, pattern = path[i:], pattern[i+1:]
		deep := strings.HasPrefix(pattern, "*")
		if deep {
			pattern = pattern[1:]
		}
		for n := 0; ; n++ {
			if glob(pattern, path[n:]) {
				return true
			}
			if n == len(path) || !deep && path[n] == '/' {
				return false
			}
		}
	}
	return path == ""
}

// walk calls f for the records of a trail that are selected.
func (f *filter) walk(ctx context.Context, dir string, o trail.ScanOptions, fn func(index int64, line []byte, r *record.Record) error) error {
	o.Contains = append(o.Contains, f.literals()...)
	// A segment closed before the time holds nothing since; requests may
	// take long, so some hours are added.
	if !f.from.IsZero() {
		o.ClosedBefore = f.from.Add(-time.Hour)
	}
	var r record.Record
	_, err := trail.Scan(ctx, dir, o, func(rec trail.Record) error {
		if err := record.Decode(rec.Line, &r); err != nil {
			return fmt.Errorf("record %d: %w", rec.Index, err)
		}
		if !f.match(&r) {
			return nil
		}
		return fn(rec.Index, rec.Line, &r)
	})
	return err
}

// formats are the forms in which records are printed.
const formats = "json, text, ocsf, ecs or cef"

// printer returns the function that prints records in a form.
func printer(w io.Writer, format, log string) (func(index int64, line []byte, r *record.Record) error, error) {
	var buf []byte
	switch format {
	case "json":
		return func(_ int64, line []byte, _ *record.Record) error {
			buf = append(append(buf[:0], line...), '\n')
			_, err := w.Write(buf)
			return err
		}, nil
	case "text":
		return func(index int64, _ []byte, r *record.Record) error {
			_, err := fmt.Fprintln(w, textLine(index, r))
			return err
		}, nil
	}
	convert, err := export.Format(format)
	if err != nil {
		return nil, fmt.Errorf("--format %s: must be %s", format, formats)
	}
	return func(index int64, line []byte, _ *record.Record) error {
		if buf, err = convert(buf[:0], log, index, line); err != nil {
			return err
		}
		buf = append(buf, '\n')
		_, err := w.Write(buf)
		return err
	}, nil
}

// textLine is one record for people.
func textLine(index int64, r *record.Record) string {
	when := r.Time.UTC().Format("2006-01-02 15:04:05.000")
	if r.Kind == record.Change {
		return printable(strings.TrimRight(fmt.Sprintf("%s  #%d  %s: %s %s %s", when, index, r.Layer, r.What, r.Source, strings.ReplaceAll(r.Detail, "\n", "; ")), " "))
	}
	user := r.User.ID
	if user == "" {
		user = "-"
	}
	line := fmt.Sprintf("%s  #%d  %d  %s %s", when, index, r.Status, r.Method, r.Path)
	if r.Kind == record.Intent {
		line = fmt.Sprintf("%s  #%d  …    %s %s", when, index, r.Method, r.Path)
	}
	line += fmt.Sprintf("  %s  %s  %v", user, r.Client, r.Duration().Round(10*time.Microsecond))
	if d, ok := r.Refused(); ok {
		line += fmt.Sprintf("  %s: %s", d.Layer, r.Code)
		if d.Rule != "" {
			line += " (" + d.Rule + ")"
		}
	}
	if r.Redacted > 0 {
		line += fmt.Sprintf("  %d masked", r.Redacted)
	}
	if r.End != "" {
		line += "  " + r.End
	}
	return printable(line)
}

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

func tailCommand() *cobra.Command {
	var f filter
	var format string
	var last int
	var follow bool
	cmd := &cobra.Command{
		Use:   "tail [-f] [<filters>] <trail>",
		Short: "Prints the newest records, and those to come",
		Args:  cobra.ExactArgs(1),
	}
	f.flags(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "text", formats)
	cmd.Flags().IntVarP(&last, "lines", "n", 10, "how many records to print")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := trailDir(args[0])
		if err != nil {
			return err
		}
		if err := f.compile(time.Now()); err != nil {
			return err
		}
		if last < 0 {
			return errors.New("--lines must not be negative")
		}
		print, err := printer(cmd.OutOrStdout(), format, dir)
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		err = tail(ctx, dir, &f, last, follow, print)
		if errors.Is(err, context.Canceled) {
			return nil // Ctrl-C is how one leaves
		}
		return err
	}
	return cmd
}

// kept is a record that tail holds until it knows that it is among the last.
type kept struct {
	index int64
	line  []byte
	rec   record.Record
}

func tail(ctx context.Context, dir string, f *filter, last int, follow bool, print func(int64, []byte, *record.Record) error) error {
	ring := make([]kept, 0, last)
	n := 0
	o := trail.ScanOptions{Contains: f.literals()}
	if !f.from.IsZero() {
		o.ClosedBefore = f.from.Add(-time.Hour)
	}
	var r record.Record
	at, err := trail.Scan(ctx, dir, o, func(rec trail.Record) error {
		if last == 0 {
			return nil
		}
		if err := record.Decode(rec.Line, &r); err != nil {
			return fmt.Errorf("record %d: %w", rec.Index, err)
		}
		if !f.match(&r) {
			return nil
		}
		k := kept{rec.Index, bytes.Clone(rec.Line), r}
		if len(ring) < last {
			ring = append(ring, k)
		} else {
			ring[n%last] = k
		}
		n++
		return nil
	})
	if err != nil {
		return err
	}
	for i := range ring {
		k := &ring[(n+i)%len(ring)]
		if n <= last {
			k = &ring[i]
		}
		if err := print(k.index, k.line, &k.rec); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	return f.walk(ctx, dir, trail.ScanOptions{From: at, Follow: true}, print)
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

func statsCommand() *cobra.Command {
	var f filter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats [<filters>] <trail>",
		Short: "Counts requests, refusals, users and rules",
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
	dir, err := trailDir(path)
	if err != nil {
		return nil, err
	}
	if err := f.compile(time.Now()); err != nil {
		return nil, err
	}
	ctx, stop := interruptible(cmd)
	defer stop()
	progress := newProgress(cmd.ErrOrStderr())
	defer progress.done()
	c := report.NewCounter()
	all := *f
	if all.kind == "" {
		all.kind = anyKind
	}
	err = all.walk(ctx, dir, trail.ScanOptions{Progress: progress.at}, func(index int64, _ []byte, r *record.Record) error {
		c.Add(index, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := c.Summary()
	s.Title, s.Made = dir, time.Now()
	return s, nil
}
