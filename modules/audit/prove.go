package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func proveCommand() *cobra.Command {
	var out, plain string
	var consistency int64
	cmd := &cobra.Command{
		Use:   "prove [-o <file>] [--proof <file>] <trail> <record number or ID>",
		Short: "Proves that one record is in a trail, without showing the others",
		Long: `
Writes the record on one line and, below it, the proof that it is in the
trail: hashes and a signed checkpoint (C2SP tlog-proof). Whoever has the
verifier key can check it with "caddy moat audit check-proof". The ID of a
request, as "caddy moat ban explain" shows it, stands for its outcome.

With --proof the proof alone is written to a file, as other tools for C2SP
tlog-proof read it, and --output has the record alone, without a newline, of
which the proof is.

With --consistency, and no record number, prints the proof that the trail of
its last checkpoint begins with so many records that an older checkpoint has
(RFC 6962 section 2.1.2): the line "old <size>", a hash a line, and below an
empty line the checkpoint, as witnesses take it (C2SP tlog-witness).
`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.Flags().StringVar(&plain, "proof", "", "file for the proof alone, such as 4711.tlog-proof")
	cmd.Flags().Int64Var(&consistency, "consistency", 0, "prove that the trail began with so many records")
	cmd.Flags().StringVarP(&out, "output", "o", "", "file for the proof (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := trailDir(args[0])
		if err != nil {
			return err
		}
		emit := func(write func(io.Writer) error) error {
			if out == "" {
				return write(cmd.OutOrStdout())
			}
			return writeFile(out, write)
		}
		if cmd.Flags().Changed("consistency") {
			if len(args) == 2 || plain != "" {
				return errors.New("--consistency proves no record: leave out its number and --proof")
			}
			text, err := trail.ProveGrowth(dir, consistency)
			if err != nil {
				return err
			}
			return emit(func(w io.Writer) error { _, err := w.Write(text); return err })
		}
		if len(args) < 2 {
			return errors.New("give the number of a record, or --consistency")
		}
		index, err := recordNumber(cmd.Context(), dir, args[1])
		if err != nil {
			return err
		}
		rec, proof, err := trail.ProveRecord(dir, index)
		if err != nil {
			return err
		}
		if plain != "" {
			if err := writeFile(plain, func(w io.Writer) error { _, err := w.Write(proof); return err }); err != nil {
				return err
			}
			return emit(func(w io.Writer) error { _, err := w.Write(rec); return err })
		}
		return emit(func(w io.Writer) error {
			_, err := w.Write(append(append(bytes.Clone(rec), '\n'), proof...))
			return err
		})
	}
	return cmd
}

// recordNumber returns the number of a record: it is given, or that of the outcome of
// the request with this ID.
func recordNumber(ctx context.Context, dir, text string) (int64, error) {
	index, err := strconv.ParseInt(text, 10, 64)
	if err == nil && index >= 0 {
		return index, nil
	}
	if !requestID.MatchString(text) {
		return 0, fmt.Errorf("%q is not the number of a record, nor the ID of a request", text)
	}
	if ctx == nil {
		ctx = context.Background()
	}
	index = -1
	var r record.Record
	_, err = trail.Scan(ctx, dir, trail.ScanOptions{Contains: [][]byte{[]byte(`"id":"` + text + `"`)}}, func(rec trail.Record) error {
		if record.Decode(rec.Line, &r) == nil && r.ID == text && r.Kind == record.Outcome {
			index = rec.Index
		}
		return nil
	})
	if err == nil && index < 0 {
		err = fmt.Errorf("the trail has no outcome of a request with the ID %s", text)
	}
	return index, err
}

// requestID is the form of the ID of a request (RFC 9562 section 4).
var requestID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func checkProofCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "check-proof --key <verifier key|file> <file>",
		Short: "Checks what prove wrote and prints the record",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "verifier key, or a file of them (repeatable)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		known, err := readVerifiers(keys)
		if err != nil {
			return err
		}
		if known == nil {
			return errors.New("give the verifier key: a proof brings none that could be trusted")
		}
		data, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		rec, proof, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return errors.New("not a record and its proof")
		}
		c, index, err := trail.CheckRecord(rec, proof, known)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\nrecord %d of %d of %s\n", printable(string(rec)), index, c.Size, printable(c.Origin))
		return err
	}
	return cmd
}

func tilesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tiles <trail> <directory>",
		Short: "Writes a trail as tiles that other tools for transparency logs read",
		Long: `
Writes the trail of its last checkpoint to a directory in the form of C2SP
tlog-tiles: checkpoint, tile/<level>/<n> and tile/entries/<n>. Any web server
can serve it, and monitors that know nothing of this product verify it.

Run it again to add what is new: what is there already is not written again,
and stays when the trail removes its records because of their age. The option
"tiles <directory>" of the audit directive does the same at each checkpoint.

The entry of a record of more than 65535 bytes is its beginning and the SHA-256
hash of the rest.
`,
		Args: cobra.ExactArgs(2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := trailDir(args[0])
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd)
		defer stop()
		size, err := trail.WriteTiles(ctx, dir, args[1], nil)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the tiles of %d records\n", args[1], size)
		return err
	}
	return cmd
}
