package tokenserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
)

func init() {
	cli.RegisterCommand(userCommand)
}

// userFlags are the flags of `caddy moat user` and its subcommands.
type userFlags struct {
	config, users, id string
	roles             []string
	remove            bool

	now func() time.Time
}

func userCommand() *cobra.Command {
	f := &userFlags{now: time.Now}
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Makes, lists and disables users of the token server",
		Long: `Make, list, disable and enable the users of a token_server, and set their passwords
and one-time codes.

The file of users is that of the token_server in a configuration (--config), which
"user new" makes if it is not there. A running server notices every change within a
second. Passwords are kept as argon2id hashes, and read from the terminal or, as one
line, from standard input.`,
		Args: cli.NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p := cmd.PersistentFlags()
	p.StringVarP(&f.config, "config", "c", "Caddyfile", "configuration file, Caddyfile or JSON, with a token_server")
	p.StringVar(&f.users, "users", "", "file of users, where the configuration has several")
	cmd.AddCommand(f.newCommand(), f.listCommand(), f.passwdCommand(), f.totpCommand(),
		f.stateCommand("disable", "Disables a user until enabled again", true),
		f.stateCommand("enable", "Enables a user who was disabled", false))
	return cmd
}

func (f *userFlags) newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new --id <name> [--role <role>]...",
		Short: "Makes a user, whose password is read from the terminal or standard input",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			u := &oauth.User{ID: f.id, Roles: f.roles, Created: f.now().UTC().Truncate(time.Second)}
			if f.id == "" {
				return errors.New("--id is required: the name of the user")
			}
			if err := cmpErr(each("id", []string{f.id}, oauth.CheckUser), each("role", f.roles, apikey.CheckRole)); err != nil {
				return err
			}
			p, file, err := f.locate()
			if err != nil {
				return err
			}
			if err := p.notAClient(f.id); err != nil {
				return err
			}
			if u.Password, err = readPassword(cmd); err != nil {
				return err
			}
			u.Changed = u.Created
			err = oauth.EditUsers(file, func(all *oauth.UserFile) error {
				if all.Find(u.ID) != nil {
					return fmt.Errorf("there is a user %s already", u.ID)
				}
				all.Users = append(all.Users, u)
				return nil
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The user %s can log in.\n", u.ID)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.id, "id", "", "name of the user, in small letters")
	fl.StringArrayVar(&f.roles, "role", nil, "role of the user's tokens, repeatable")
	return cmd
}

// notAClient refuses the name of a client: nobody could tell their tokens apart.
func (p *place) notAClient(id string) error {
	file, err := path("clients", p.handler.Clients, "")
	if err != nil {
		return err
	}
	all, err := oauth.LoadClients(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && all.Find(id) != nil {
		err = fmt.Errorf("a client has the ID %s: choose another name", id)
	}
	return err
}

// readPassword reads a password from the terminal, twice, or a line of standard
// input.
func readPassword(cmd *cobra.Command) (oauth.Password, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return oauth.Password{}, err
		}
		return oauth.NewPassword(strings.TrimRight(line, "\r\n"))
	}
	var texts [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		text, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return oauth.Password{}, err
		}
		texts[i] = string(text)
	}
	if texts[0] != texts[1] {
		return oauth.Password{}, errors.New("the two differ")
	}
	return oauth.NewPassword(texts[0])
}

func (f *userFlags) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Lists the users",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			_, file, err := f.locate()
			if err != nil {
				return err
			}
			all, err := oauth.LoadUsers(file)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "USER\tSTATE\tROLES\tONE-TIME CODES\tPASSWORD OF")
			for _, u := range all.Users {
				totp := "no"
				if u.TOTP != nil {
					totp = "yes"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.ID, stateOf(u), dash(u.Roles), totp, date(u.Changed))
			}
			return w.Flush()
		},
	}
}

func stateOf(u *oauth.User) string {
	if u.Disabled {
		return "disabled"
	}
	return "active"
}

func (f *userFlags) passwdCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd <name>",
		Short: "Gives a user another password, which ends all logins",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			_, file, err := f.locate()
			if err != nil {
				return err
			}
			hash, err := readPassword(cmd)
			if err != nil {
				return err
			}
			return f.change(cmd, file, args[0], func(u *oauth.User) (string, error) {
				// The next second: no login before it is as late as that.
				u.Password, u.Changed = hash, f.now().UTC().Truncate(time.Second).Add(time.Second)
				return "has another password", nil
			})
		},
	}
}

func (f *userFlags) totpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "totp <name> [--remove]",
		Short: "Gives a user one-time codes and recovery codes, and prints them, once",
		Long: `Give a user a secret for one-time codes (RFC 6238) and ten recovery codes, each good
once. What the user had before is not accepted any more. The secret is printed as
authenticators take it, as a text and as an address for a QR code.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			p, file, err := f.locate()
			if err != nil {
				return err
			}
			if f.remove {
				return f.change(cmd, file, args[0], func(u *oauth.User) (string, error) {
					u.TOTP, u.Recovery = nil, nil
					return "needs no one-time code", nil
				})
			}
			return f.printTOTP(cmd, p, file, args[0])
		},
	}
	cmd.Flags().BoolVar(&f.remove, "remove", false, "the user needs no one-time code any more")
	return cmd
}

func (f *userFlags) printTOTP(cmd *cobra.Command, p *place, file, name string) error {
	vault, err := p.vault(contextOf(cmd))
	if err != nil {
		return err
	}
	var secret string
	var recovery []string
	err = f.change(cmd, file, name, func(u *oauth.User) (_ string, err error) {
		secret, recovery, err = vault.NewTOTP(u)
		return "needs a one-time code to log in", err
	})
	if err != nil {
		return err
	}
	address := url.URL{Scheme: "otpauth", Host: "totp", Path: "/caddy-moat:" + name, RawQuery: "issuer=caddy-moat&secret=" + secret}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\nrecovery codes, each good once:\n%s\n", secret, address.String(), strings.Join(recovery, "\n"))
	return err
}

// stateCommand is a command that disables or enables a user.
func (f *userFlags) stateCommand(name, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:   name + " <name>",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			_, file, err := f.locate()
			if err != nil {
				return err
			}
			return f.change(cmd, file, args[0], func(u *oauth.User) (string, error) {
				u.Disabled = disabled
				return "is " + stateOf(u), nil
			})
		},
	}
}

// locate returns the token_server and the path of its file of users.
func (f *userFlags) locate() (*place, string, error) {
	p, err := find(f.config, "", f.users)
	if err != nil {
		return nil, "", err
	}
	file, err := path("users", p.handler.Users, f.users)
	return p, file, err
}

// change changes one user of a file that is there, and says what became of him.
func (f *userFlags) change(cmd *cobra.Command, file, name string, change func(*oauth.User) (string, error)) error {
	state := ""
	err := oauth.EditUsers(file, func(all *oauth.UserFile) (err error) {
		u := all.Find(name)
		if u == nil {
			return errors.New("there is no such user: `caddy moat user list` shows them")
		}
		state, err = change(u)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "The user %s %s.\n", name, state)
	return err
}
