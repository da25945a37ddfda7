package rbac

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/casbin"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Makes a policy file of another system's policy",
		Args:  cli.NoCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(importCasbinCommand())
	return cmd
}

func importCasbinCommand() *cobra.Command {
	var subjects string
	cmd := &cobra.Command{
		Use:   "casbin [--subjects users|roles] MODEL POLICY",
		Short: "Makes a policy file of a Casbin model and policy",
		Long: `Reads a Casbin model (model.conf) and policy (policy.csv) and prints a policy
file in YAML that decides the same. Differences that remain are printed as
comments.

Supported are requests of subject, object and action, where the matcher compares
the subject by == or g, the object by ==, keyMatch, keyMatch2 or keyMatch3, and
the action by == or regexMatch, joined by &&; and the effects allow, and allow
unless denied. Everything else is an error.

Subjects are users, whose id is compared, unless --subjects roles says that the
application passes roles. Names to which g gives members are roles.`,
		Example: `  caddy moat policy import casbin model.conf policy.csv > policy.yaml`,
		Args:    cobra.ExactArgs(2),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			kind, ok := map[string]casbin.Subjects{"users": casbin.Users, "roles": casbin.Roles}[subjects]
			if !ok {
				return fmt.Errorf("--subjects is users or roles, and not '%s'", subjects)
			}
			var texts [2][]byte
			for i, file := range args {
				var err error
				if texts[i], err = filewatch.Read(file, policy.MaxFile); err != nil {
					return err
				}
				if len(texts[i]) > policy.MaxFile {
					return fmt.Errorf("%s is too large", file)
				}
			}
			doc, notes, err := casbin.Import(texts[0], texts[1], kind)
			if err != nil {
				return err
			}
			return writeYAML(cmd.OutOrStdout(), doc, notes)
		}),
	}
	cmd.Flags().StringVar(&subjects, "subjects", "users", "what the subject of a request is: users or roles")
	return cmd
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Prints the JSON Schema of policy files",
		Args:  cobra.NoArgs,
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(policy.Schema)
			return err
		}),
	}
}

// writeYAML prints a policy file. Every text is in double quotes, written as
// in JSON, which YAML reads the same.
func writeYAML(w io.Writer, doc *policy.Document, notes []string) error {
	var b strings.Builder
	for _, n := range notes {
		fmt.Fprintf(&b, "# %s\n", oneLine(n))
	}
	writeBlocks(&b, "roles", doc.Roles)
	writeBlocks(&b, "scopes", doc.Scopes)
	if len(doc.Users) > 0 {
		b.WriteString("users:\n")
		for _, id := range slices.Sorted(maps.Keys(doc.Users)) {
			fmt.Fprintf(&b, "  %s: [%s]\n", quoted(id), quotedList(doc.Users[id][0].Roles))
		}
	}
	// Whoever starts the server with it must find what is meant.
	again, err := policy.ReadFile("policy.yaml", []byte(b.String()))
	if err != nil || again.Digest() != doc.Digest() {
		return errors.Join(errors.New("the policy cannot be written as YAML"), err)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func writeBlocks(b *strings.Builder, kind string, blocks map[string]*policy.Block) {
	if len(blocks) == 0 {
		return
	}
	fmt.Fprintf(b, "%s:\n", kind)
	for _, name := range slices.Sorted(maps.Keys(blocks)) {
		fmt.Fprintf(b, "  %s:\n", quoted(name))
		if in := blocks[name].Inherits; len(in) > 0 {
			fmt.Fprintf(b, "    inherits: [%s]\n", quotedList(in))
		}
		writeRules(b, "allow", blocks[name].Allow)
		writeRules(b, "deny", blocks[name].Deny)
	}
}

func writeRules(b *strings.Builder, effect string, rules []string) {
	if len(rules) == 0 {
		return
	}
	fmt.Fprintf(b, "    %s:\n", effect)
	for _, r := range rules {
		fmt.Fprintf(b, "      - %s\n", quoted(r))
	}
}

func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

func quotedList(list []string) string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = quoted(s)
	}
	return strings.Join(all, ", ")
}
