// Package cli is what the commands of `caddy moat` share: their root, and ways
// to find in a configuration what they work on.
package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

var (
	commandOnce sync.Once
	commands    []func() *cobra.Command
)

// RegisterCommand adds a subcommand to `caddy moat`. Modules call it in
// init; the root itself is registered with the first of them.
func RegisterCommand(make func() *cobra.Command) {
	commands = append(commands, make)
	commandOnce.Do(func() {
		caddycmd.RegisterCommand(caddycmd.Command{
			Name:  "moat",
			Short: "API security: tokens, policies, redaction and the audit trail",
			CobraFunc: func(root *cobra.Command) {
				root.Args = NoCommand
				root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
				// Caddy's own template, which the root of all commands
				// has, sends the reader to Caddy's manual.
				root.SetHelpTemplate(root.HelpTemplate() + "\nFull documentation is available at:\n" + manual() + "\n")
				for _, make := range commands {
					root.AddCommand(make())
				}
			},
		})
	})
}

// NoCommand is for a command that has others below it: what stands in the
// place of the name of one is an error, which suggests the one that was probably
// meant.
func NoCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	slices.Sort(names)
	return fmt.Errorf("unknown command %q for %q%s %s has %s", args[0], cmd.CommandPath(), cmp.Or(suggest.DidYouMean(args[0], names), ";"), cmd.CommandPath(), strings.Join(names, ", "))
}

// mark is a type of this package, which knows the path of the module.
type mark struct{}

// manual is the address of the manual: the page on the commands in the
// repository that this module's path names.
func manual() string {
	path, _, _ := strings.Cut(reflect.TypeFor[mark]().PkgPath(), "/modules/")
	return "https://" + path + "/blob/main/docs/commands.md"
}

// LoadConfig reads a configuration file and returns it as Caddy's JSON. A
// file whose name ends in .json is JSON already; anything else is a Caddyfile.
func LoadConfig(file string) ([]byte, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(file) == ".json" {
		return body, nil
	}
	return Adapt(file, body, "")
}

// Adapt turns the content of a configuration file into Caddy's JSON by the
// adapter of that name; "" is that of Caddyfiles.
func Adapt(file string, body []byte, name string) ([]byte, error) {
	name = cmp.Or(name, "caddyfile")
	adapter := caddyconfig.GetAdapter(name)
	if adapter == nil {
		return nil, fmt.Errorf("this binary has no adapter %q", name)
	}
	cfg, _, err := adapter.Adapt(body, map[string]any{"filename": file})
	if err != nil {
		return nil, fmt.Errorf("adapting %s: %w", file, err)
	}
	return cfg, nil
}

// FindModules returns every object in a JSON configuration whose member key
// (such as "handler" or "provider") has the value name, in the order of the
// document.
func FindModules(config []byte, key, name string) ([]json.RawMessage, error) {
	var found []json.RawMessage
	var walk func(raw json.RawMessage) error
	walk = func(raw json.RawMessage) error {
		raw = bytes.TrimSpace(raw)
		if len(raw) == 0 {
			return nil
		}
		switch raw[0] {
		case '[':
			var elems []json.RawMessage
			if err := json.Unmarshal(raw, &elems); err != nil {
				return err
			}
			for _, e := range elems {
				if err := walk(e); err != nil {
					return err
				}
			}
		case '{':
			d := json.NewDecoder(bytes.NewReader(raw))
			if _, err := d.Token(); err != nil {
				return err
			}
			var members []json.RawMessage
			for d.More() {
				k, err := d.Token()
				if err != nil {
					return err
				}
				var v json.RawMessage
				if err := d.Decode(&v); err != nil {
					return err
				}
				var s string
				if k == key && json.Unmarshal(v, &s) == nil && s == name {
					found = append(found, raw)
				}
				members = append(members, v)
			}
			for _, m := range members {
				if err := walk(m); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(config); err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	return found, nil
}
