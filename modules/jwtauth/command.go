package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
)

func init() {
	cli.RegisterCommand(tokenCommand)
}

// tokenFlags are the flags of `caddy moat token`.
type tokenFlags struct {
	config, subject, issuer, typ string
	roles, scopes, claims        []string
	audience                     []string
	ttl                          string
	newKey                       bool
}

func tokenCommand() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token --config <file> --sub <subject> [--role <role>]... [--scope <scope>]... [--claim <name>=<value>]... [--ttl <duration>] [--aud <audience>]...",
		Short: "Mints a token of the internal issuer",
		Long: `Mint a token of the internal issuer and print it.

The storage, the issuer, the audience and the claims of roles and scopes come
from the configuration, where some jwt_auth has a line "issuer internal". The
server need not run; if it does, it accepts the token at once. The token goes to
standard output; standard error names the key that signed it, and its storage.

The key is the one that the server has made. If there is none, because the server
has never run or runs as another user with another storage, the command does not
make one: run it as the server's user, or write --new-key to make the first key of
a server that has not run yet. If a server responds at the admin endpoint of the
configuration, its keys are compared, and a token that it would reject causes a
warning.

The value of a claim is taken as JSON if it is JSON, else as text. The name is
a claim's name or a JSON Pointer.

Whoever can read Caddy's storage can mint tokens. Keep it as safe as the keys of
your certificates, which are in the same storage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			raw, used, err := f.mint(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), used)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), raw)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.config, "config", "c", "Caddyfile", "configuration file, Caddyfile or JSON")
	fl.StringVar(&f.subject, "sub", "", "subject: who the token is for")
	fl.StringVar(&f.issuer, "issuer", "", "name of the internal issuer, where there are several")
	fl.StringArrayVar(&f.roles, "role", nil, "role to grant, repeatable")
	fl.StringArrayVar(&f.scopes, "scope", nil, "scope to grant, repeatable")
	fl.StringArrayVar(&f.claims, "claim", nil, "further claim as name=value, repeatable")
	fl.StringArrayVar(&f.audience, "aud", nil, "audience, repeatable (default: as configured)")
	fl.StringVar(&f.typ, "typ", "", "type of the token (default: as configured)")
	fl.BoolVar(&f.newKey, "new-key", false, "make the issuer's first key if it has no key yet")
	fl.StringVar(&f.ttl, "ttl", "15m", "how long the token is valid, such as 90s, 15m or 7d")
	return cmd
}

func (f *tokenFlags) mint(ctx context.Context) (raw, used string, err error) {
	if ctx == nil {
		ctx = context.Background()
	}
	if f.subject == "" {
		return "", "", errors.New("--sub is required: who is the token for?")
	}
	ttl, err := caddy.ParseDuration(f.ttl)
	if err != nil {
		return "", "", fmt.Errorf("--ttl: '%s' is not a duration such as 90s, 15m or 7d", f.ttl)
	}
	config, err := cli.LoadConfig(f.config)
	if err != nil {
		return "", "", err
	}
	i, err := f.find(config)
	if err != nil {
		return "", "", err
	}
	claims, err := f.payload(i)
	if err != nil {
		return "", "", err
	}
	storage, done, err := cli.OpenStorage(ctx, config)
	if err != nil {
		return "", "", err
	}
	defer done()
	name, err := resolve("issuer", i.name())
	if err != nil {
		return "", "", err
	}
	own, err := issuer.Open(ctx, storage, issuer.Options{Name: name, Rotate: time.Duration(i.Internal.Rotate), Existing: !f.newKey})
	server, answers := askServer(ctx, config, f.config, name)
	if errors.Is(err, issuer.ErrNoKey) {
		todo := "start the server first, run this as the user whom the server runs as (sudo -u caddy …), or write --new-key to make the key here"
		if answers {
			todo = "the server at " + server.address + " has keys of this issuer (" + strings.Join(server.keys, ", ") + ") in another storage: run this as the user whom it runs as (sudo -u caddy …)"
		}
		return "", "", fmt.Errorf("no key of issuer %s is in %s (%s), which is the storage of user %s: %s",
			name, ownissuer.Identity(storage), issuer.StorageKey(name), currentUser(), todo)
	}
	if err != nil {
		return "", "", err
	}
	typ := f.typ
	if typ == "" {
		typ = first(i.Type, "")
	}
	raw, err = own.Mint(claims, typ, ttl)
	used = fmt.Sprintf("signed with key %s of %s", own.Signing(), ownissuer.Identity(storage))
	if answers {
		if warning := server.rejects(own.Signing()); warning != "" {
			used += "\n" + warning
		}
	}
	return raw, used, err
}

// currentUser names whoever runs the command.
func currentUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// find returns the internal issuer that the configuration names.
func (f *tokenFlags) find(config []byte) (*Issuer, error) {
	raws, err := cli.FindModules(config, "provider", Name)
	if err != nil {
		return nil, err
	}
	var found []*Issuer
	for _, raw := range raws {
		var p Provider
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("reading %s: %w", Name, err)
		}
		for _, i := range p.Issuers {
			if p.Resource != nil && len(i.Audience) == 0 {
				i.Audience = []string{p.Resource.ID}
			}
			if i.Internal != nil && (f.issuer == "" || f.issuer == i.name()) {
				found = append(found, i)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no jwt_auth with a line 'issuer internal'", f.config)
	}
	for _, i := range found[1:] {
		if i.name() != found[0].name() {
			return nil, fmt.Errorf("%s has several internal issuers: choose one with --issuer", f.config)
		}
		if len(f.audience) == 0 && !slices.Equal(i.Audience, found[0].Audience) {
			return nil, fmt.Errorf("%s has several audiences: choose with --aud", f.config)
		}
	}
	return found[0], nil
}

// payload makes the claims, each where the configuration looks for it.
func (f *tokenFlags) payload(i *Issuer) (map[string]any, error) {
	claims := make(map[string]any)
	for _, c := range f.claims {
		name, text, ok := strings.Cut(c, "=")
		if !ok {
			return nil, fmt.Errorf("--claim %s: write name=value", c)
		}
		var value any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(&value) != nil || d.More() {
			value = text
		}
		if err := put(claims, name, value); err != nil {
			return nil, fmt.Errorf("--claim: %w", err)
		}
	}
	if err := put(claims, first(i.Subject, "/sub"), f.subject); err != nil {
		return nil, fmt.Errorf("--sub: %w", err)
	}
	if len(f.roles) > 0 {
		if err := put(claims, first(plain(i.Roles), "/roles"), f.roles); err != nil {
			return nil, fmt.Errorf("--role: %w", err)
		}
	}
	if len(f.scopes) > 0 {
		// RFC 8693 section 4.2: one text, separated by spaces.
		if err := put(claims, first(i.Scopes, "/scope"), strings.Join(f.scopes, " ")); err != nil {
			return nil, fmt.Errorf("--scope: %w", err)
		}
	}
	audience := f.audience
	if len(audience) == 0 && !slices.Contains(i.Audience, "*") {
		audience = slices.Clone(i.Audience)
		for n, a := range audience {
			var err error
			if audience[n], err = resolve("audience", a); err != nil {
				return nil, err
			}
		}
	}
	switch len(audience) {
	case 0:
	case 1:
		claims["aud"] = audience[0]
	default:
		claims["aud"] = audience
	}
	return claims, nil
}

func first(list []string, or string) string {
	if len(list) == 0 || list[0] == "" {
		return or
	}
	return list[0]
}

// plain returns the pointers without a wildcard, or all if there is none.
func plain(pointers []string) []string {
	var list []string
	for _, text := range pointers {
		if p, err := principal.ParsePointer(text); err == nil && !p.HasWildcard() {
			list = append(list, text)
		}
	}
	if list == nil {
		return pointers
	}
	return list
}

// put sets the claim that a pointer points at, with objects on the way.
func put(claims map[string]any, pointer string, value any) error {
	p, err := principal.ParsePointer(pointer)
	if err != nil {
		return err
	}
	if p.HasWildcard() {
		return fmt.Errorf("%s has a wildcard: write the claim with --claim", pointer)
	}
	at := claims
	for _, name := range p[:len(p)-1] {
		next, ok := at[name].(map[string]any)
		if !ok {
			if _, taken := at[name]; taken {
				return fmt.Errorf("%s goes through a claim that is not an object", pointer)
			}
			next = make(map[string]any)
			at[name] = next
		}
		at = next
	}
	last := p[len(p)-1]
	if _, taken := at[last]; taken {
		return fmt.Errorf("the claim %s is set twice", pointer)
	}
	at[last] = value
	return nil
}
