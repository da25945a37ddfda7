package apikeyauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

func init() {
	cli.RegisterCommand(keyCommand)
}

// defaultPepper is where the commands look for the pepper if nothing else is
// said.
const defaultPepper = "{env.API_KEY_PEPPER}"

// keyFlags are the flags of `caddy moat key` and its subcommands.
type keyFlags struct {
	config, store, pepper         string
	owner, plan, prefix           string
	expires, notBefore, overlap   string
	roles, scopes, cidrs, methods []string

	now func() time.Time
}

func keyCommand() *cobra.Command {
	f := &keyFlags{now: time.Now}
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Makes, lists, rotates and revokes API keys",
		Long: `Make, list, show, rotate, disable, enable and revoke API keys.

The store is that of the api_key_auth in a configuration (--config), or a file
(--store), which "key new" makes if it is not there. A running server notices
every change within a second. Run the commands as a user who may write the
store; its owner and its permissions stay as they are.

The pepper, from which the hashes in the store are made, comes from the
configuration, or from --pepper '{env.NAME}' or '{file./path}', by default
` + defaultPepper + `. Only new and rotate need it.`,
		Args: cli.NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p := cmd.PersistentFlags()
	p.StringVarP(&f.config, "config", "c", "", "configuration file, Caddyfile or JSON, with one api_key_auth")
	p.StringVar(&f.store, "store", "", "file with the keys")
	p.StringVar(&f.pepper, "pepper", "", "{env.NAME} or {file./path} (default "+defaultPepper+")")
	cmd.AddCommand(f.newCommand(), f.listCommand(), f.showCommand(), f.rotateCommand(),
		f.stateCommand("revoke", "Revokes a key for good", func(e *apikey.Entry, now time.Time) error {
			if e.Revoked.IsZero() {
				e.Revoked = now
			}
			return nil
		}),
		f.stateCommand("disable", "Disables a key until it is enabled again", func(e *apikey.Entry, _ time.Time) error {
			e.Disabled = true
			return nil
		}),
		f.stateCommand("enable", "Enables a key that was disabled", func(e *apikey.Entry, _ time.Time) error {
			if !e.Revoked.IsZero() {
				return fmt.Errorf("the key %s is revoked: make a new one", e.ID)
			}
			e.Disabled = false
			return nil
		}))
	return cmd
}

func (f *keyFlags) newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new --owner <name> --expires <duration>|<time>|never",
		Short: "Makes a key and prints it, once",
		Long: `Make a key and print it. This is the only time that it is shown: the store
keeps a hash. What is not restricted by --cidr or --method is not restricted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, id, err := f.mint()
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "The key %s is made. It is shown this once:\n", id)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.owner, "owner", "", "who the key is for: the user id of its requests (required)")
	fl.StringVar(&f.expires, "expires", "", "how long or until when the key is good: 90d, 2027-01-31 (until that day begins here), 2027-01-31T00:00:00Z, or never (required)")
	fl.StringVar(&f.notBefore, "not-before", "", "when the key begins to be good, such as 2027-01-01T00:00:00Z")
	fl.StringArrayVar(&f.roles, "role", nil, "role to grant, repeatable")
	fl.StringArrayVar(&f.scopes, "scope", nil, "scope to grant, repeatable")
	fl.StringVar(&f.plan, "plan", "", "rate plan: {http.auth.user.plan}")
	fl.StringArrayVar(&f.cidrs, "cidr", nil, "address or range from which the key may be used, repeatable")
	fl.StringArrayVar(&f.methods, "method", nil, "method with which the key may be used, repeatable; GET does not include HEAD")
	fl.StringVar(&f.prefix, "prefix", "", "prefix of the keys of a new store (default "+apikey.DefaultPrefix+")")
	return cmd
}

func (f *keyFlags) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Lists the keys",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, used, err := f.load(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tOWNER\tSTATE\tEXPIRES\tLAST USED\tPLAN\tROLES\tSCOPES\tONLY")
			for i := range file.Entries {
				e := &file.Entries[i]
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Owner, e.State(f.now()),
					date(e.Expires), date(used[e.ID]), dash(e.Plan), dash(strings.Join(e.Roles, ",")), dash(strings.Join(e.Scopes, ",")), restrictions(e))
			}
			return w.Flush()
		},
	}
}

// restrictions says what a key is bound to: `key show` has the ranges and the
// methods.
func restrictions(e *apikey.Entry) string {
	var all []string
	if len(e.Addresses) > 0 {
		all = append(all, "addresses")
	}
	if len(e.Methods) > 0 {
		all = append(all, "methods")
	}
	return dash(strings.Join(all, ","))
}

func (f *keyFlags) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show <id>",
		Short: "Shows what is known of a key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, used, err := f.load(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			e, err := find(file, args[0])
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), e, used[e.ID], f.now())
		},
	}
}

func show(out io.Writer, e *apikey.Entry, used, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	ranges := make([]string, 0, len(e.Addresses))
	for _, a := range e.Addresses {
		ranges = append(ranges, a.String())
	}
	for _, line := range [][2]string{
		{"id", e.ID},
		{"owner", e.Owner},
		{"state", e.State(now)},
		{"roles", dash(strings.Join(e.Roles, ","))},
		{"scopes", dash(strings.Join(e.Scopes, ","))},
		{"plan", dash(e.Plan)},
		{"created", date(e.Created)},
		{"not before", date(e.NotBefore)},
		{"expires", date(e.Expires)},
		{"revoked", date(e.Revoked)},
		{"addresses", dash(strings.Join(ranges, ","))},
		{"methods", dash(strings.Join(e.Methods, ","))},
		{"last used", date(used)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	for i, s := range e.Secrets {
		fmt.Fprintf(w, "secret %d\tcreated %s, expires %s\n", i+1, date(s.Created), date(s.Expires))
	}
	return w.Flush()
}

func (f *keyFlags) rotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate <id> [--overlap <duration>]",
		Short: "Gives a key another secret and prints it, once",
		Long: `Give a key another secret and print the key with it, once. The secret there
was stays good for the overlap, so that who uses the key can change over.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			overlap, err := caddy.ParseDuration(f.overlap)
			if err != nil || overlap < 0 {
				return fmt.Errorf("--overlap: '%s' is not a duration such as 24h or 7d", f.overlap)
			}
			path, pepper, err := f.locate(true)
			if err != nil {
				return err
			}
			var text string
			err = f.edit(path, args[0], func(file *apikey.File, e *apikey.Entry) (err error) {
				if file.PepperCheck != pepper.Check() {
					return apikey.ErrPepper
				}
				text, err = e.Rotate(pepper, file.Prefix, f.now(), overlap)
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "The key %s has another secret. It is shown this once:\n", args[0])
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&f.overlap, "overlap", "24h", "how long the secret there was stays good; 0s ends it at once")
	return cmd
}

// stateCommand is a command that changes one key and needs no pepper.
func (f *keyFlags) stateCommand(name, short string, change func(*apikey.Entry, time.Time) error) *cobra.Command {
	return &cobra.Command{
		Use:   name + " <id>",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, _, err := f.locate(false)
			if err != nil {
				return err
			}
			state := ""
			err = f.edit(path, args[0], func(_ *apikey.File, e *apikey.Entry) error {
				now := f.now().UTC().Truncate(time.Second)
				if err := change(e, now); err != nil {
					return err
				}
				state = e.State(now)
				return nil
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The key %s is %s.\n", args[0], state)
			return err
		},
	}
}

// locate returns the path of the store, and its pepper where it is needed.
func (f *keyFlags) locate(needed bool) (string, *apikey.Pepper, error) {
	p := &Provider{Store: f.store, Pepper: f.pepper}
	switch {
	case f.config != "":
		if f.store != "" || f.pepper != "" {
			return "", nil, errors.New("--config says where the store and the pepper are: leave out --store and --pepper, or --config")
		}
		var err error
		if p, err = configured(f.config); err != nil {
			return "", nil, err
		}
	case f.store == "":
		return "", nil, errors.New("--config or --store is required: where are the keys?")
	case f.pepper == "":
		p.Pepper = defaultPepper
	}
	path := p.Store
	if f.config != "" {
		var err error
		if path, err = option.Resolve(Name, "store", p.Store); err != nil {
			return "", nil, err
		}
	}
	if !needed {
		return path, nil, nil
	}
	pepper, err := loadPepper(p.Pepper)
	return path, pepper, err
}

// configured returns the one api_key_auth of a configuration, by its store.
func configured(file string) (*Provider, error) {
	config, err := cli.LoadConfig(file)
	if err != nil {
		return nil, err
	}
	raws, err := cli.FindModules(config, "provider", Name)
	if err != nil {
		return nil, err
	}
	var found *Provider
	for _, raw := range raws {
		p := new(Provider)
		if err := json.Unmarshal(raw, p); err != nil {
			return nil, fmt.Errorf("reading %s: %w", Name, err)
		}
		if found != nil && (found.Store != p.Store || found.Pepper != p.Pepper) {
			return nil, fmt.Errorf("%s has several stores: choose one with --store and --pepper", file)
		}
		found = p
	}
	if found == nil {
		return nil, fmt.Errorf("%s has no %s", file, Name)
	}
	return found, nil
}

// load reads the store and the times of last use. Those are only good to
// know: what is wrong with them is said and not an error.
func (f *keyFlags) load(warn io.Writer) (*apikey.File, map[string]time.Time, error) {
	path, _, err := f.locate(false)
	if err != nil {
		return nil, nil, err
	}
	file, err := apikey.Load(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	used, err := apikey.LoadUsed(apikey.UsedPath(path))
	if err != nil {
		fmt.Fprintf(warn, "The times of last use cannot be read: %v\n", err)
	}
	return file, used, nil
}

// edit changes one key of a store that is there.
func (f *keyFlags) edit(path, id string, change func(*apikey.File, *apikey.Entry) error) error {
	return apikey.Edit(path, func(file *apikey.File) (*apikey.File, error) {
		if file == nil {
			return nil, fmt.Errorf("there is no store %s", path)
		}
		e, err := find(file, id)
		if err != nil {
			return nil, err
		}
		return file, change(file, e)
	})
}

func find(file *apikey.File, id string) (*apikey.Entry, error) {
	if apikey.CheckID(id) != nil {
		// It may be a whole key, which must not be repeated.
		return nil, errors.New("that is not the id of a key: `caddy moat key list` shows them")
	}
	if e := file.Find(id); e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("there is no key %s", id)
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
