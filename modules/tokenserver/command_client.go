package tokenserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
)

func init() {
	cli.RegisterCommand(clientCommand)
}

// clientFlags are the flags of `caddy moat client` and its subcommands.
type clientFlags struct {
	config, clients                                          string
	id, name, lifetime, expires, bound, overlap              string
	jwks, certificate                                        string
	grants, scopes, audiences, roles, introspects, redirects []string
	asJSON, public                                           bool

	now func() time.Time
}

func clientCommand() *cobra.Command {
	f := &clientFlags{now: time.Now}
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Makes, lists, rotates and disables clients of the token server",
		Long: `Make, list, rotate, disable and enable the clients of a token_server.

The file of clients is that of the token_server in a configuration (--config), which
"client new" makes if it is not there. A running server notices every change within
a second.

The file has the HMAC of each secret, made with a pepper in Caddy's storage, and
never a secret. Run the commands as the user whom the server runs as, since another
user has another storage.`,
		Args: cli.NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p := cmd.PersistentFlags()
	p.StringVarP(&f.config, "config", "c", "Caddyfile", "configuration file, Caddyfile or JSON, with a token_server")
	p.StringVar(&f.clients, "clients", "", "file of clients, where the configuration has several")
	cmd.AddCommand(f.newCommand(), f.listCommand(), f.rotateCommand(),
		f.stateCommand("disable", "Disables a client until it is enabled again", true),
		f.stateCommand("enable", "Enables a client that was disabled", false))
	return cmd
}

func (f *clientFlags) newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new --id <id> --audience <audience>... [--scope <scope>]... [--role <role>]...",
		Short: "Registers a client and prints its secret, once",
		Long: `Register a client. Its secret goes to standard output, once.

A client with --redirect sends users to log in, and comes back to that address; with
--public it has no secret, and PKCE alone.

A client with --jwks authenticates with assertions that its private key signs
(private_key_jwt), one with --certificate with its TLS client certificate; neither has
a secret.

Tokens are for the audiences given. A client with several says in each request which
it means (resource). --introspects makes it a resource server that may ask about tokens
for that audience.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			secret, err := f.make(contextOf(cmd))
			if err != nil {
				return err
			}
			if secret == "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "The client %s is registered.\n", f.id)
				return nil
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "The client %s is registered. Its secret is shown this once:\n", f.id)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.id, "id", "", "client_id: letters, digits and -._~:/")
	fl.StringVar(&f.name, "name", "", "name for people")
	fl.StringArrayVar(&f.grants, "grant", nil, "grant type, repeatable (default client_credentials, or with --redirect authorization_code and refresh_token)")
	fl.StringArrayVar(&f.audiences, "audience", nil, "service that its tokens are for, repeatable")
	fl.StringArrayVar(&f.scopes, "scope", nil, "scope that it may ask for, repeatable")
	fl.StringArrayVar(&f.roles, "role", nil, "role of tokens that it gets for itself, repeatable")
	fl.StringArrayVar(&f.introspects, "introspects", nil, "audience whose tokens it may ask about, repeatable")
	fl.StringArrayVar(&f.redirects, "redirect", nil, "address that browsers are sent back to after a login, repeatable; exactly as the client sends it")
	fl.BoolVar(&f.public, "public", false, "the client cannot keep a secret: an application in a browser or on a phone")
	fl.StringVar(&f.lifetime, "lifetime", "", "lifetime of its access tokens, such as 5m (default: the server's)")
	fl.StringVar(&f.expires, "expires", "", "when the client expires: a duration such as 90d, or a time (default: never)")
	fl.StringVar(&f.bound, "bound", "", "what its tokens must be bound to: dpop or tls")
	fl.StringVar(&f.jwks, "jwks", "", "file with its public keys (JWK Set), for private_key_jwt")
	fl.StringVar(&f.certificate, "certificate", "", "its TLS client certificate: sha256:<base64url>, dns:<name>, uri:<uri> or subject:<RFC 4514>")
	return cmd
}

// make registers a client.
func (f *clientFlags) make(ctx context.Context) (secret string, err error) {
	c, err := f.client()
	if err != nil {
		return "", err
	}
	p, file, err := f.locate()
	if err != nil {
		return "", err
	}
	pepper, err := p.pepper(ctx)
	if err != nil {
		return "", err
	}
	err = oauth.EditClients(file, func(all *oauth.ClientFile) (*oauth.ClientFile, error) {
		if all == nil {
			all = &oauth.ClientFile{PepperCheck: pepper.Check()}
		}
		switch {
		case all.PepperCheck != pepper.Check():
			return nil, fmt.Errorf("%s: %w: run this as the user whom the server runs as", file, oauth.ErrPepper)
		case all.Find(c.ID) != nil:
			return nil, fmt.Errorf("there is a client %s already", c.ID)
		}
		if c.JWKS == nil && c.Certificate.Sort == "" && !c.Public {
			if secret, err = c.NewSecret(pepper, c.Created, 0); err != nil {
				return nil, err
			}
		}
		if err := c.Validate(); err != nil {
			return nil, err
		}
		all.Clients = append(all.Clients, c)
		return all, nil
	})
	return secret, err
}

// client makes the entry that the flags describe, without a secret.
func (f *clientFlags) client() (c *oauth.Client, err error) {
	c = &oauth.Client{
		ID: f.id, Name: f.name, Bound: f.bound, Created: f.now().UTC().Truncate(time.Second),
		Grants: f.grants, Scopes: f.scopes, Audiences: f.audiences, Roles: f.roles, Introspects: f.introspects, Redirects: f.redirects, Public: f.public,
	}
	if f.id == "" {
		return nil, errors.New("--id is required: the client_id, such as billing")
	}
	if len(c.Grants) == 0 && len(c.Redirects) > 0 {
		c.Grants = []string{oauth.GrantCode, oauth.GrantRefresh}
	}
	if len(c.Grants) == 0 && len(c.Introspects) == 0 || len(c.Grants) == 0 && len(c.Audiences) > 0 {
		c.Grants = []string{oauth.GrantClientCredentials}
	}
	if len(c.Grants) > 0 && len(c.Audiences) == 0 {
		return nil, errors.New("--audience is required: the service that its tokens are for, such as https://api.example.com")
	}
	for _, check := range []struct {
		flag   string
		values []string
		check  func(string) error
	}{
		{"id", []string{f.id}, oauth.CheckID},
		{"grant", c.Grants, oauth.CheckGrant},
		{"audience", c.Audiences, oauth.CheckAudience},
		{"introspects", c.Introspects, oauth.CheckAudience},
		{"redirect", c.Redirects, oauth.CheckRedirect},
		{"scope", c.Scopes, oauth.CheckScope},
		{"role", c.Roles, apikey.CheckRole},
	} {
		if err := each(check.flag, check.values, check.check); err != nil {
			return nil, err
		}
	}
	if f.name != "" {
		if err := apikey.CheckName(f.name); err != nil {
			return nil, fmt.Errorf("--name: %w", err)
		}
	}
	if f.bound != "" && f.bound != oauth.BoundDPoP && f.bound != oauth.BoundTLS {
		return nil, fmt.Errorf("--bound '%s': write dpop or tls", f.bound)
	}
	return c, cmpErr(f.times(c), f.keys(c))
}

// times reads the flags that are durations and times.
func (f *clientFlags) times(c *oauth.Client) (err error) {
	if f.lifetime != "" {
		if c.Lifetime, err = caddy.ParseDuration(f.lifetime); err != nil {
			return fmt.Errorf("--lifetime: '%s' is not a duration such as 15m", f.lifetime)
		}
		if err := oauth.CheckLifetime(c.Lifetime); err != nil {
			return fmt.Errorf("--lifetime: %w", err)
		}
	}
	if f.expires == "" || f.expires == "never" {
		return nil
	}
	if c.Expires, err = time.Parse(time.RFC3339, f.expires); err != nil {
		d, err := caddy.ParseDuration(f.expires)
		if err != nil {
			return fmt.Errorf("--expires: '%s' is neither a duration such as 90d nor a time such as 2027-01-31T00:00:00Z", f.expires)
		}
		c.Expires = f.now().Add(d)
	}
	c.Expires = c.Expires.UTC().Truncate(time.Second)
	if !c.Expires.After(c.Created) {
		return errors.New("--expires: that has passed")
	}
	return nil
}

// keys reads the flags that say how the client authenticates.
func (f *clientFlags) keys(c *oauth.Client) (err error) {
	if f.jwks != "" {
		text, err := filewatch.Read(f.jwks, oauth.MaxKeys)
		if err == nil {
			err = c.SetKeys(text)
		}
		if err != nil {
			return fmt.Errorf("--jwks %s: %w", f.jwks, err)
		}
	}
	if f.certificate != "" {
		if c.Certificate, err = oauth.ParseCertificate(f.certificate); err != nil {
			return fmt.Errorf("--certificate: %w", err)
		}
	}
	return nil
}

// cmpErr returns the first error.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// each checks the values of a flag that may be repeated.
func each(flag string, values []string, check func(string) error) error {
	for i, v := range values {
		err := check(v)
		if err == nil && slices.Contains(values[:i], v) {
			err = errors.New("it is given twice")
		}
		if err != nil {
			return fmt.Errorf("--%s %q: %w", flag, v, err)
		}
	}
	return nil
}

func (f *clientFlags) listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [--json]",
		Short: "Lists the clients, without secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			_, file, err := f.locate()
			if err != nil {
				return err
			}
			all, err := oauth.LoadClients(file)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if f.asJSON {
				return f.listJSON(cmd.OutOrStdout(), all)
			}
			return f.listTable(cmd.OutOrStdout(), all)
		},
	}
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object a line")
	return cmd
}

func (f *clientFlags) listTable(out io.Writer, all *oauth.ClientFile) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tAUTHENTICATION\tGRANTS\tAUDIENCES\tSCOPES\tEXPIRES")
	for _, c := range all.Clients {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.State(f.now()), strings.Join(c.Methods(), ","),
			dash(c.Grants), dash(c.Audiences), dash(c.Scopes), date(c.Expires))
	}
	return w.Flush()
}

func (f *clientFlags) listJSON(out io.Writer, all *oauth.ClientFile) error {
	e := json.NewEncoder(out)
	for _, c := range all.Clients {
		expires := ""
		if !c.Expires.IsZero() {
			expires = date(c.Expires)
		}
		err := e.Encode(struct {
			ID          string   `json:"id"`
			Name        string   `json:"name,omitempty"`
			State       string   `json:"state"`
			Methods     []string `json:"authentication"`
			Grants      []string `json:"grants,omitempty"`
			Audiences   []string `json:"audiences,omitempty"`
			Scopes      []string `json:"scopes,omitempty"`
			Roles       []string `json:"roles,omitempty"`
			Introspects []string `json:"introspects,omitempty"`
			Bound       string   `json:"bound,omitempty"`
			Created     string   `json:"created"`
			Expires     string   `json:"expires,omitempty"`
		}{
			c.ID, c.Name, c.State(f.now()), c.Methods(), c.Grants, c.Audiences, c.Scopes, c.Roles, c.Introspects, c.Bound, date(c.Created), expires,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func dash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}

func (f *clientFlags) rotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate <id> [--overlap <duration>]",
		Short: "Gives a client another secret and prints it, once",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			overlap, err := caddy.ParseDuration(f.overlap)
			if err != nil || overlap < 0 {
				return fmt.Errorf("--overlap: '%s' is not a duration such as 24h or 7d", f.overlap)
			}
			p, file, err := f.locate()
			if err != nil {
				return err
			}
			pepper, err := p.pepper(contextOf(cmd))
			if err != nil {
				return err
			}
			var text string
			err = edit(file, args[0], func(all *oauth.ClientFile, c *oauth.Client) (err error) {
				switch {
				case all.PepperCheck != pepper.Check():
					return fmt.Errorf("%w: run this as the user whom the server runs as", oauth.ErrPepper)
				case len(c.Secrets) == 0:
					return fmt.Errorf("the client %s has no secret: it authenticates by %s", c.ID, strings.Join(c.Methods(), ", "))
				}
				text, err = c.NewSecret(pepper, f.now(), overlap)
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "The client %s has another secret. It is shown this once:\n", args[0])
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&f.overlap, "overlap", "24h", "how long the secret there was stays good; 0s ends it at once")
	return cmd
}

// stateCommand is a command that disables or enables a client.
func (f *clientFlags) stateCommand(name, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:   name + " <id>",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			_, file, err := f.locate()
			if err != nil {
				return err
			}
			state := ""
			err = edit(file, args[0], func(_ *oauth.ClientFile, c *oauth.Client) error {
				c.Disabled = disabled
				state = c.State(f.now())
				return nil
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The client %s is %s.\n", args[0], state)
			return err
		},
	}
}

// locate returns the token_server and the path of its file of clients.
func (f *clientFlags) locate() (*place, string, error) {
	p, err := find(f.config, f.clients, "")
	if err != nil {
		return nil, "", err
	}
	file, err := path("clients", p.handler.Clients, f.clients)
	return p, file, err
}

// edit changes one client of a file that is there.
func edit(file, id string, change func(*oauth.ClientFile, *oauth.Client) error) error {
	return oauth.EditClients(file, func(all *oauth.ClientFile) (*oauth.ClientFile, error) {
		if all == nil {
			return nil, fmt.Errorf("there is no file %s", file)
		}
		c := all.Find(id)
		if c == nil {
			return nil, errors.New("there is no such client: `caddy moat client list` shows them") // it may be a secret
		}
		return all, change(all, c)
	})
}
