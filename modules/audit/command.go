package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/term"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func init() {
	cli.RegisterCommand(command)
}

// command is `caddy moat audit`.
func command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Verifies, searches and reports on audit trails",
		Long: `
Works on the trail of an audit directive: the directory that was written in
the Caddyfile. The server may be running; nothing is locked or changed.
`,
		Args: cli.NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verifyCommand(), searchCommand(), tailCommand(), statsCommand(), reportCommand(), exportCommand(), keyCommand(), proveCommand(), checkProofCommand(), tilesCommand())
	for _, sub := range cmd.Commands() {
		sub.SilenceUsage = true
	}
	return cmd
}

// interruptible returns a context that ends with Ctrl-C.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return signal.NotifyContext(ctx, os.Interrupt)
}

// checkpointOf is where a trail has its last checkpoint.
func checkpointOf(dir string) string { return filepath.Join(dir, "checkpoint") }

// trailDir checks that a directory holds a trail.
func trailDir(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory: name the directory that the audit directive names", dir)
	}
	return dir, nil
}

func verifyCommand() *cobra.Command {
	var keys, remembered, witnesses []string
	var memory string
	var max, quorum int
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "verify [--key <verifier key|file>]... [--checkpoint <file>]... [--remember <file>] <trail>",
		Short: "Checks that nothing in a trail was edited, deleted, inserted or moved",
		Long: `
Reads the whole trail, computes its Merkle tree and compares it with every
signature. Prints what is wrong and where, and exits with status 1 if anything
is.

Give the verifier key that "caddy moat audit key" printed when the trail was
set up. Without --key the keys noted in the directory are used, and whoever
could write the directory could have chosen those.

A checkpoint that was kept elsewhere (--checkpoint) also shows that the newest
records were not cut off together with everything that vouched for them. It is
the file "checkpoint" of the trail; --remember keeps one from each good run
for the next, best on another machine.

Witnesses keep such checkpoints for you. With --witness the trail must have a
checkpoint that they have cosigned, and everything that it covers; where the
URL of a witness is given besides its key it is asked what it has seen last,
so that a trail that was put back to an older state as a whole is found too.
`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringArrayVarP(&keys, "key", "k", nil, "verifier key, or a file of them (repeatable)")
	f.StringArrayVarP(&remembered, "checkpoint", "c", nil, "file of a checkpoint kept elsewhere (repeatable)")
	f.StringVar(&memory, "remember", "", "file that holds the checkpoint of the last good run, and gets that of this one")
	f.StringArrayVarP(&witnesses, "witness", "w", nil, "verifier key of a witness, or \"<url> <key>\" (repeatable)")
	f.IntVar(&quorum, "quorum", 0, "how many witnesses must have cosigned (default: more than half of those given)")
	f.IntVar(&max, "max", 100, "how many problems to print at most")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	f.BoolVarP(&quiet, "quiet", "q", false, "print problems only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := trailDir(args[0])
		if err != nil {
			return err
		}
		o := trail.VerifyOptions{MaxProblems: max}
		if o.Known, err = readVerifiers(keys); err != nil {
			return err
		}
		for _, file := range remembered {
			msg, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			o.Remembered = append(o.Remembered, msg)
		}
		// Read before verifying: the server may sign a newer one meanwhile,
		// which this run would not have looked at.
		latest, err := os.ReadFile(checkpointOf(dir))
		if memory != "" {
			if err != nil {
				return fmt.Errorf("--remember: %w", err)
			}
			last, err := os.ReadFile(memory)
			if err == nil {
				o.Remembered = append(o.Remembered, last)
			} else if !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("--remember: %w", err)
			}
		}
		progress := newProgress(cmd.ErrOrStderr())
		o.Progress = progress.at
		ctx, stop := interruptible(cmd)
		defer stop()
		seen, err := readWitnesses(dir, witnesses, quorum, &o)
		if err != nil {
			return err
		}
		r, err := trail.Verify(ctx, dir, o)
		progress.done()
		if err != nil {
			return err
		}
		seen.report(ctx, dir, r)
		if err := printReport(cmd.OutOrStdout(), dir, r, asJSON, quiet); err != nil || memory == "" {
			return err
		}
		return writeFile(memory, func(w io.Writer) error { _, err := w.Write(latest); return err })
	}
	return cmd
}

// readVerifiers reads keys given on the command line, nil without any.
func readVerifiers(keys []string) (note.Verifiers, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var all strings.Builder
	for _, k := range keys {
		if strings.Count(k, "+") >= 2 && !strings.ContainsRune(k, os.PathSeparator) || strings.Count(k, "+") >= 2 && !exists(k) {
			all.WriteString(k + "\n")
			continue
		}
		data, err := os.ReadFile(k)
		if err != nil {
			return nil, fmt.Errorf("--key: neither a verifier key nor a file of them: %w", err)
		}
		all.Write(data)
		all.WriteByte('\n')
	}
	known, err := trail.ParseKeys([]byte(all.String()))
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	return known, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// errTampered makes the command exit with status 1.
var errTampered = errors.New("the trail does not verify")

func printReport(w io.Writer, dir string, r *trail.Report, asJSON, quiet bool) error {
	if asJSON {
		out := struct {
			OK bool `json:"ok"`
			*trail.Report
		}{r.OK(), r}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(out); err != nil {
			return err
		}
	} else {
		for _, p := range r.Problems {
			fmt.Fprintln(w, printable(p.String()))
		}
		if r.Omitted > 0 {
			fmt.Fprintf(w, "… and %d more problems\n", r.Omitted)
		}
		for _, warning := range r.Warnings {
			fmt.Fprintln(w, "warning:", printable(warning))
		}
		if !quiet {
			summary(w, dir, r)
		}
	}
	if !r.OK() {
		return errTampered
	}
	return nil
}

func summary(w io.Writer, dir string, r *trail.Report) {
	speed := ""
	if s := r.Took.Seconds(); s > 0 {
		speed = fmt.Sprintf(", %.0f MB/s", float64(r.Bytes)/1e6/s)
	}
	fmt.Fprintf(w, "%s: %d records in %d segments, %d bytes, read in %v%s\n", dir, r.Records, r.Segments, r.Bytes, r.Took.Round(time.Millisecond), speed)
	if r.Pruned > 0 {
		fmt.Fprintf(w, "the first %d records were removed because of their age, which is signed\n", r.Pruned)
	}
	if !r.OK() {
		return
	}
	fmt.Fprintf(w, "origin %s\nroot of %d records: %v\n", printable(r.Origin), r.Size, r.Root)
	if r.Unsigned > 0 {
		fmt.Fprintf(w, "the last %d records are newer than the last checkpoint and not vouched for yet\n", r.Unsigned)
	}
	for _, by := range r.Witnessed {
		fmt.Fprintf(w, "cosigned by %s\n", printable(by))
	}
	if r.OwnKeys {
		fmt.Fprintln(w, "OK by the keys noted in the directory itself; use --key to check against one that you kept")
	} else {
		fmt.Fprintln(w, "OK")
	}
}

// printable keeps what came from a file from being understood by a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\ufffd'
		}
		return r
	}, s)
}

// progress shows how far a long read has come, on a terminal only.
type progress struct {
	w     io.Writer
	start time.Time
	last  time.Time
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &progress{}
	}
	return &progress{w: w, start: time.Now(), last: time.Now()}
}

func (p *progress) at(bytes int64) {
	if p.w == nil || time.Since(p.last) < 200*time.Millisecond {
		return
	}
	p.last = time.Now()
	mb := float64(bytes) / 1e6
	fmt.Fprintf(p.w, "\r%.0f MB, %.0f MB/s ", mb, mb/time.Since(p.start).Seconds())
}

func (p *progress) done() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\033[K")
	}
}

func keyCommand() *cobra.Command {
	var config, make, name string
	cmd := &cobra.Command{
		Use:   "key (--config <file> [<trail>] | --make <file> [--name <name>])",
		Short: "Prints the key that verifies a trail, or makes one that signs it",
		Long: `
Prints the public verifier key of each trail of a configuration, in the form
that "caddy moat audit verify --key" and other tools for C2SP signed notes
read. Keep it where nobody who can write to the trail can change it.

With --make, writes a new signing key for the option "sign <key file>" and
prints its verifier key.
`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVarP(&config, "config", "c", "", "configuration file")
	cmd.Flags().StringVar(&make, "make", "", "file for a new signing key")
	cmd.Flags().StringVar(&name, "name", "", "name of the new key in the trail's signatures")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case make != "" && config == "" && len(args) == 0:
			return writeKey(cmd.OutOrStdout(), make, name)
		case config != "" && make == "" && name == "":
			return printKeys(cmd.OutOrStdout(), config, args)
		}
		return errors.New("give either --config or --make")
	}
	return cmd
}

// writeKey makes a signing key. It never overwrites one.
func writeKey(w io.Writer, file, name string) error {
	if name == "" {
		name = newName(strings.TrimSuffix(file, filepath.Ext(file)))
	}
	data, key, err := makeKey(name)
	if err != nil {
		return err
	}
	_, vkey, err := trail.NewSigner(name, key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		fmt.Fprintln(w, vkey)
	}
	return err
}

// printKeys prints the verifier keys of the trails in a configuration.
func printKeys(w io.Writer, config string, args []string) error {
	raw, err := cli.LoadConfig(config)
	if err != nil {
		return err
	}
	found, err := cli.FindModules(raw, "handler", "audit")
	if err != nil {
		return err
	}
	storage, cancel, err := cli.OpenStorage(context.Background(), raw)
	if err != nil {
		return err
	}
	defer cancel()
	// Sites that share a trail share its key, which one of them may name.
	var paths []string
	keys := make(map[string]string)
	for _, msg := range found {
		var h Handler
		if err := json.Unmarshal(msg, &h); err != nil {
			return err
		}
		path, err := cleanPath(h.Path)
		if err != nil {
			return err
		}
		if _, ok := keys[path]; !ok {
			paths = append(paths, path)
		}
		if h.Sign != "" || keys[path] == "" {
			keys[path] = h.Sign
		}
	}
	printed := 0
	for _, path := range paths {
		if len(args) == 1 && !samePath(args[0], path) {
			continue
		}
		_, vkey, err := loadSigner(context.Background(), storage, path, keys[path], false)
		if err != nil {
			return fmt.Errorf("audit %s: %w", path, err)
		}
		fmt.Fprintf(w, "# %s\n%s\n", path, vkey)
		printed++
	}
	if printed == 0 {
		return fmt.Errorf("%s has no such audit directive", config)
	}
	return nil
}

func samePath(a, b string) bool {
	a, err := cleanPath(a)
	return err == nil && filepath.Clean(a) == b
}
