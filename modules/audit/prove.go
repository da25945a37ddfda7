package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/trail"
)

func proveCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "prove [-o <file>] <trail> <record number>",
		Short: "Proves that one record is in a trail, without showing the others",
		Long: `
Writes the record on one line and, below it, the proof that it is in the
trail: hashes and a signed checkpoint (C2SP tlog-proof). Whoever has the
verifier key can check it with "caddy moat audit check-proof".
`,
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file for the proof (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := trailDir(args[0])
		if err != nil {
			return err
		}
		index, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil || index < 0 {
			return fmt.Errorf("%q is not the number of a record", args[1])
		}
		rec, proof, err := trail.ProveRecord(dir, index)
		if err != nil {
			return err
		}
		write := func(w io.Writer) error {
			_, err := w.Write(append(append(bytes.Clone(rec), '\n'), proof...))
			return err
		}
		if out == "" {
			return write(cmd.OutOrStdout())
		}
		return writeFile(out, write)
	}
	return cmd
}

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
