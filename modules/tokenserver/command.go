package tokenserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
)

// place is where a configuration has what commands work on.
type place struct {
	config  []byte
	handler *Handler
}

// find returns the one token_server of a configuration, by its files.
func find(file, clients, users string) (*place, error) {
	if file == "" {
		return nil, errors.New("--config is required: the configuration with the token_server")
	}
	config, err := cli.LoadConfig(file)
	if err != nil {
		return nil, err
	}
	raws, err := cli.FindModules(config, "handler", Name)
	if err != nil {
		return nil, err
	}
	var found *Handler
	for _, raw := range raws {
		h := new(Handler)
		if err := json.Unmarshal(raw, h); err != nil {
			return nil, fmt.Errorf("reading %s: %w", Name, err)
		}
		if found != nil && found.Clients != h.Clients && clients == "" && users == "" {
			return nil, fmt.Errorf("%s has several files of clients: name one of them with --clients", file)
		}
		if found != nil && found.Users != h.Users && users == "" && clients == "" {
			return nil, fmt.Errorf("%s has several files of users: name one of them with --users", file)
		}
		found = h
	}
	if users != "" && found != nil {
		found.Users = users
	}
	if found == nil {
		return nil, fmt.Errorf("%s has no %s", file, Name)
	}
	return &place{config, found}, nil
}

// pepper returns that of the secrets.
func (p *place) pepper(ctx context.Context) (*apikey.Pepper, error) {
	secret, err := p.secret(ctx)
	if err != nil {
		return nil, err
	}
	return apikey.NewPepper(secret)
}

// vault returns that of second factors.
func (p *place) vault(ctx context.Context) (*oauth.Vault, error) {
	secret, err := p.secret(ctx)
	if err != nil {
		return nil, err
	}
	return oauth.NewVault(secret)
}

// secret returns the secret in the storage of the configuration.
func (p *place) secret(ctx context.Context) ([]byte, error) {
	storage, done, err := cli.OpenStorage(ctx, p.config)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	secret, err := ownissuer.Secret(ctx, storage, pepperKey)
	if err != nil {
		return nil, fmt.Errorf("the pepper of client secrets: %w", err)
	}
	return secret, nil
}

// path resolves the path of a file.
func path(name, written, flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if written == "" {
		return "", fmt.Errorf("%s has no %s", Name, name)
	}
	return option.Resolve(Name, name, written)
}

// contextOf returns the context of a command, which is nil in tests of cobra.
func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
