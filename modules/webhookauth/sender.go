package webhookauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/webhook"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Sender is one sender of webhooks.
type Sender struct {
	// How it signs: github, stripe, slack, shopify, standard (Standard Webhooks)
	// or svix (the same in fields that begin with Svix-).
	Sender string `json:"sender"`

	// The secrets, as the sender shows them, each as one placeholder:
	// `{env.NAME}` or `{file./path}`, which is resolved at load. They must not
	// stand in the configuration. A line break at the end does not count. Each
	// has at least 16 bytes. There may be up to 8, of which any is accepted: to
	// change a secret, add the new one, and remove the old one later.
	Secrets []string `json:"secrets,omitempty"`

	// Whom the webhooks are of, which is `{http.auth.user.id}`. Default: the name
	// of the sender
	User string `json:"user,omitempty"`

	// What that grants.
	Roles  []string `json:"roles,omitempty"`
	Scopes []string `json:"scopes,omitempty"`
	Plan   string   `json:"plan,omitempty"`

	scheme     *webhook.Scheme
	secrets    [][]byte
	principals []*principal.Principal // one for each secret
}

func (s *Sender) user() string {
	if s.User != "" {
		return s.User
	}
	return s.Sender
}

// errSecret does not repeat what was written, since it may be the secret.
var errSecret = errors.New("a secret is {env.NAME} or {file./path} and nothing around it: it must not stand in the configuration")

func (s *Sender) check() error {
	switch {
	case webhook.Named(s.Sender) == nil:
		return fmt.Errorf("%.40q is not a sender that is known: write %s", s.Sender, strings.Join(names(), ", "))
	case len(s.Secrets) == 0:
		return fmt.Errorf("%s has no secret: write %s {env.NAME}", s.Sender, s.Sender)
	case len(s.Secrets) > webhook.MaxSecrets:
		return fmt.Errorf("%s has more than %d secrets", s.Sender, webhook.MaxSecrets)
	}
	for _, text := range s.Secrets {
		if !option.IsPlaceholder(text) || !strings.HasPrefix(text, "{env.") && !strings.HasPrefix(text, "{file.") {
			return fmt.Errorf("%s: %w", s.Sender, errSecret)
		}
	}
	return principal.CheckID(s.user())
}

// names are those of all senders.
func names() []string {
	all := make([]string, 0, len(webhook.Schemes))
	for _, s := range webhook.Schemes {
		all = append(all, s.Name)
	}
	return all
}

// loadSenders makes the senders ready.
func (p *Provider) loadSenders() error {
	p.schemes = nil
	for i, s := range p.Senders {
		if err := s.load(); err != nil {
			return err
		}
		for _, other := range p.Senders[:i] {
			if slices.ContainsFunc(s.secrets, other.has) {
				// Whose a webhook is would depend on the order, and what one
				// scheme has signed could be read by the rules of another.
				return fmt.Errorf("%s: the users %s and %s have the same secret", s.Sender, other.user(), s.user())
			}
		}
		if !slices.Contains(p.schemes, s.scheme) {
			p.schemes = append(p.schemes, s.scheme)
		}
	}
	return nil
}

func (s *Sender) has(secret []byte) bool {
	return slices.ContainsFunc(s.secrets, func(own []byte) bool { return bytes.Equal(own, secret) })
}

func (s *Sender) load() error {
	s.scheme, s.secrets, s.principals = webhook.Named(s.Sender), nil, nil
	for i, text := range s.Secrets {
		value, err := option.Resolve(Name, s.Sender, text)
		if err != nil {
			return err
		}
		secret, err := s.scheme.Secret(strings.TrimRight(value, "\r\n"))
		if err != nil {
			return fmt.Errorf("%s: the secret %s: %w", s.Sender, text, err)
		}
		if s.has(secret) {
			return fmt.Errorf("%s: the secret %s is given twice", s.Sender, text)
		}
		who, err := s.principal(strconv.Itoa(i + 1))
		if err != nil {
			return err
		}
		s.secrets, s.principals = append(s.secrets, secret), append(s.principals, who)
	}
	return nil
}

// principal is whom a webhook is of that was signed with the secret of that
// number, by which an administrator sees when an old one is not used any more.
func (s *Sender) principal(number string) (*principal.Principal, error) {
	claims, err := json.Marshal(struct {
		Subject string   `json:"sub"`
		Sender  string   `json:"sender"`
		KeyID   string   `json:"key_id"`
		Roles   []string `json:"roles,omitempty"`
		Scopes  []string `json:"scopes,omitempty"`
		Plan    string   `json:"plan,omitempty"`
	}{s.user(), s.Sender, number, s.Roles, s.Scopes, s.Plan})
	if err != nil {
		return nil, err
	}
	return &principal.Principal{
		ID: s.user(), Kind: principal.KindWebhook, KeyID: number,
		Roles: slices.Clone(s.Roles), Scopes: slices.Clone(s.Scopes), Plan: s.Plan,
		Claims: principal.NewClaims(claims),
	}, nil
}
