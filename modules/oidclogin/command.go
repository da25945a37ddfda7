package oidclogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/session"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

func init() {
	cli.RegisterCommand(sessionCommand)
}

func sessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Lists and revokes the sessions of oidc_login",
		Long: `Works on the sessions of the browsers that have logged in by oidc_login, in the
storage that the configuration names. No server needs to run.`,
		Args: cli.NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listCommand(), revokeCommand())
	return cmd
}

// folder is where the sessions of one oidc_login are.
type folder struct{ issuer, client string }

func (f folder) prefix() string { return session.Prefix(f.issuer, f.client) }

// openFolders opens the storage of a configuration and says where the sessions of
// each oidc_login are.
func openFolders(ctx context.Context, file string) (certmagic.Storage, []folder, func(), error) {
	if file == "" {
		return nil, nil, nil, errors.New("name the configuration: --config Caddyfile")
	}
	config, err := cli.LoadConfig(file)
	if err != nil {
		return nil, nil, nil, err
	}
	raws, err := cli.FindModules(config, "provider", Name)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(raws) == 0 {
		return nil, nil, nil, fmt.Errorf("%s has no oidc_login", file)
	}
	var all []folder
	seen := make(map[folder]bool)
	for _, raw := range raws {
		var p Provider
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %s: %w", file, Name, err)
		}
		issuer, err := option.Resolve(Name, "issuer", p.Issuer)
		if err != nil {
			return nil, nil, nil, err
		}
		client, err := option.Resolve(Name, "client_id", p.ClientID)
		if err != nil {
			return nil, nil, nil, err
		}
		if f := (folder{issuer, client}); !seen[f] {
			seen[f] = true
			all = append(all, f)
		}
	}
	storage, done, err := cli.OpenStorage(ctx, config)
	return storage, all, done, err
}

func listCommand() *cobra.Command {
	var config, user string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list --config FILE [--user SUB] [--json]",
		Short:   "Lists the sessions that have not ended",
		Example: "  caddy moat session list --config Caddyfile --user alice",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			storage, folders, done, err := openFolders(cmd.Context(), config)
			if err != nil {
				return err
			}
			defer done()
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			if !asJSON {
				fmt.Fprintln(tw, "USER\tISSUER\tCREATED\tENDS\tSESSION")
			}
			for _, f := range folders {
				entries, err := session.List(cmd.Context(), storage, f.prefix(), time.Now())
				if err != nil {
					return err
				}
				for _, e := range entries {
					if user != "" && e.Subject != user {
						continue
					}
					if asJSON {
						line, err := json.Marshal(struct {
							session.Entry
							Issuer string `json:"iss"`
						}{e, f.issuer})
						if err != nil {
							return err
						}
						fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
						continue
					}
					fmt.Fprintf(tw, "%q\t%s\t%s\t%s\t%s\n", e.Subject, f.issuer, e.Created.UTC().Format(time.RFC3339), e.Until.UTC().Format(time.RFC3339), e.Name)
				}
			}
			return tw.Flush()
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "", "the configuration: a Caddyfile, or JSON if its name ends in .json")
	f.StringVar(&user, "user", "", "the sessions of this user alone: the claim sub")
	f.BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func revokeCommand() *cobra.Command {
	var config, user, name string
	var every bool
	cmd := &cobra.Command{
		Use:   "revoke --config FILE (--user SUB | --session SESSION | --all)",
		Short: "Ends sessions",
		Long: `Ends sessions: those of a user, one as it is listed, or all of them. Servers on
the same storage notice within 5 seconds, and end streams too.`,
		Example: "  caddy moat session revoke --config Caddyfile --user alice",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			which := 0
			for _, given := range []bool{user != "", name != "", every} {
				if given {
					which++
				}
			}
			if which != 1 {
				return errors.New("say which sessions: one of --user, --session and --all")
			}
			storage, folders, done, err := openFolders(cmd.Context(), config)
			if err != nil {
				return err
			}
			defer done()
			n := 0
			for _, f := range folders {
				entries, err := session.List(cmd.Context(), storage, f.prefix(), time.Now())
				if err != nil {
					return err
				}
				for _, e := range entries {
					if user != "" && e.Subject != user || name != "" && e.Name != name {
						continue
					}
					if err := session.Delete(cmd.Context(), storage, path.Join(f.prefix(), e.Name)); err != nil {
						return err
					}
					n++
				}
			}
			s := "s"
			if n == 1 {
				s = ""
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d session%s revoked\n", n, s)
			if n == 0 {
				return errors.New("there is no such session")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "", "the configuration: a Caddyfile, or JSON if its name ends in .json")
	f.StringVar(&user, "user", "", "the sessions of this user: the claim sub")
	f.StringVar(&name, "session", "", "one session, as `caddy moat session list` names it")
	f.BoolVar(&every, "all", false, "all sessions")
	return cmd
}
