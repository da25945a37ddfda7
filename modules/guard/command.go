package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	engine "github.com/caddy-moat/caddy-moat/modules/internal/access/guard"
	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
)

func init() {
	cli.RegisterCommand(banCommand)
}

func banCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ban",
		Short: "Lists, explains, adds and removes bans of a running server",
		Long: `
Lists, explains, adds and removes the bans of the guard layer of a running server, through its
admin endpoint. A subject is an address, a network such as 203.0.113.0/24, caller:<caller> as
{http.moat.caller} has it, or key:<kind>|<key ID>. An address of IPv6 stands for its /64.
`,
		Args: cli.NoCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(banListCommand(), banExplainCommand(), banAddCommand(), banRemoveCommand())
	return cmd
}

// endpoint is where the admin endpoint is.
type endpoint struct{ config, address string }

func (e *endpoint) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&e.config, "config", "c", "", "configuration file that has the address of the admin endpoint")
	cmd.Flags().StringVar(&e.address, "address", "", "address of the admin endpoint (default: that of the configuration, or localhost:2019)")
}

// ask sends a request to the admin endpoint, and returns the body of its response.
func (e *endpoint) ask(method string, in any) ([]byte, error) {
	var config []byte
	var err error
	if e.config != "" {
		if config, err = cli.LoadConfig(e.config); err != nil {
			return nil, err
		}
	}
	address, err := caddycmd.DetermineAdminAPIAddress(e.address, config, "", "")
	if err != nil {
		return nil, err
	}
	var body io.Reader
	header := http.Header{}
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
		header.Set("Content-Type", "application/json")
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, bansPath, header, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 1<<30))
}

// list returns the bans in force.
func (e *endpoint) list() ([]shown, error) {
	body, err := e.ask(http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	var all []shown
	for d := json.NewDecoder(bytes.NewReader(body)); d.More(); {
		var b shown
		if err := d.Decode(&b); err != nil {
			return nil, fmt.Errorf("reading the response: %w", err)
		}
		all = append(all, b)
	}
	return all, nil
}

func banListCommand() *cobra.Command {
	var e endpoint
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [--json]",
		Short: "Lists the bans in force",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			if asJSON {
				body, err := e.ask(http.MethodGet, nil)
				if err == nil {
					_, err = cmd.OutOrStdout().Write(body)
				}
				return err
			}
			all, err := e.list()
			if err != nil {
				return err
			}
			for _, b := range all {
				fmt.Fprintf(cmd.OutOrStdout(), "%s until %s, %s, zone %s\n", b.Subject, b.Until.Format(time.RFC3339), b.because(), b.Zone)
			}
			return nil
		},
	}
	e.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object a line, with the evidence")
	return cmd
}

// because says what a ban comes of.
func (b *shown) because() string {
	why := "by " + b.By
	if b.Rule != "" {
		why = "rule " + b.Rule
	}
	if b.Reason != "" {
		why += ": " + b.Reason
	}
	return why
}

func banExplainCommand() *cobra.Command {
	var e endpoint
	cmd := &cobra.Command{
		Use:   "explain <subject>",
		Short: "Explains why somebody is banned, and how to prove it",
		Long: `
Explains the bans of a subject and, of an address, those of networks that it is in: the
rule, what was counted, and the IDs of the records of requests that are the evidence.
"caddy moat audit prove <trail> <ID>" proves that such a record is in the audit trail.

Ends with status 1 where the subject is not banned.
`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			want, err := engine.ParseSubject(args[0])
			if err != nil {
				return fmt.Errorf("%q: %w", args[0], err)
			}
			all, err := e.list()
			if err != nil {
				return err
			}
			n := 0
			for i := range all {
				if concerns(&all[i], want) {
					explain(cmd.OutOrStdout(), &all[i])
					n++
				}
			}
			if n == 0 {
				return fmt.Errorf("%s is not banned", want)
			}
			return nil
		},
	}
	e.flags(cmd)
	return cmd
}

// concerns reports whether a ban is of a subject, or of a network that it is in.
func concerns(b *shown, want engine.Subject) bool {
	s, err := engine.ParseSubject(b.Subject)
	if err != nil {
		return false
	}
	s.Foreign = want.Foreign
	if s == want {
		return true
	}
	return s.Kind == engine.Network && want.Kind == engine.Network && s.Net.Bits() <= want.Net.Bits() && s.Net.Contains(want.Net.Addr())
}

func explain(w io.Writer, b *shown) {
	fmt.Fprintf(w, "%s is banned in zone %s\n", b.Subject, b.Zone)
	fmt.Fprintf(w, "  because   %s\n", b.because())
	fmt.Fprintf(w, "  since     %s\n", b.Since.Format(time.RFC3339))
	fmt.Fprintf(w, "  until     %s\n", b.Until.Format(time.RFC3339))
	fmt.Fprintf(w, "  level     %d\n", b.Level)
	for _, id := range b.Evidence {
		fmt.Fprintf(w, "  evidence  %s\n", id)
	}
	if len(b.Evidence) > 0 {
		fmt.Fprintf(w, "To prove it: caddy moat audit prove <trail> %s\n", b.Evidence[len(b.Evidence)-1])
	}
}

func banAddCommand() *cobra.Command {
	var e endpoint
	in := asked{}
	cmd := &cobra.Command{
		Use:   "add <subject> [--for <duration>] [--reason <text>] [--zone <zone>]",
		Short: "Bans an address, a network, a caller or a key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			in.Subject = args[0]
			if _, err := engine.ParseSubject(in.Subject); err != nil {
				return fmt.Errorf("%q: %w", in.Subject, err)
			}
			if n, err := caddy.ParseDuration(in.Duration); err != nil || n <= 0 {
				return fmt.Errorf("--for '%s': write %s", in.Duration, banTimes)
			}
			if in.Reason == "" {
				in.Reason = "by " + userName()
			}
			if _, err := e.ask(http.MethodPost, in); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is banned for %s\n", in.Subject, in.Duration)
			return err
		},
	}
	e.flags(cmd)
	cmd.Flags().StringVar(&in.Duration, "for", "1h", "how long, such as 30m, 24h or 7d")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for the list and the audit trail (default: the user who runs the command)")
	cmd.Flags().StringVar(&in.Zone, "zone", "", "the zone (default: all zones)")
	return cmd
}

func banRemoveCommand() *cobra.Command {
	var e endpoint
	in := asked{}
	cmd := &cobra.Command{
		Use:   "remove <subject> [--reason <text>] [--zone <zone>]",
		Short: "Lifts a ban, and forgets that there was one",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			in.Subject = args[0]
			body, err := e.ask(http.MethodDelete, in)
			if err != nil {
				return err
			}
			if strings.Contains(string(body), `{"bans":0}`) {
				return errors.New(in.Subject + " is not banned")
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is not banned any more\n", in.Subject)
			return err
		},
	}
	e.flags(cmd)
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for the audit trail")
	cmd.Flags().StringVar(&in.Zone, "zone", "", "the zone (default: all zones)")
	return cmd
}

// userName is who runs the command, as far as the environment tells.
func userName() string {
	for _, name := range []string{"SUDO_USER", "USER", "USERNAME"} {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return "an administrator"
}
