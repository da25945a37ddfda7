package apikeyauth

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
)

// mint makes a key and puts it into the store.
func (f *keyFlags) mint() (text, id string, err error) {
	e, err := f.entry()
	if err != nil {
		return "", "", err
	}
	path, pepper, err := f.locate(true)
	if err != nil {
		return "", "", err
	}
	err = apikey.Edit(path, func(file *apikey.File) (*apikey.File, error) {
		if file == nil {
			file = &apikey.File{Prefix: f.prefix, PepperCheck: pepper.Check()}
			if f.prefix == "" {
				file.Prefix = apikey.DefaultPrefix
			}
		}
		if f.prefix != "" && f.prefix != file.Prefix {
			return nil, fmt.Errorf("the keys of %s have the prefix %s: one store has one", path, file.Prefix)
		}
		if file.PepperCheck != pepper.Check() {
			return nil, fmt.Errorf("%s: %w", path, apikey.ErrPepper)
		}
		var mac [32]byte
		var err error
		if text, mac, err = apikey.Mint(pepper, file.Prefix, e.ID); err != nil {
			return nil, err
		}
		e.Secrets = []apikey.Secret{{MAC: mac, Created: e.Created}}
		file.Entries = append(file.Entries, e)
		return file, nil
	})
	return text, e.ID, err
}

// entry makes the entry that the flags describe, without a secret.
func (f *keyFlags) entry() (e apikey.Entry, err error) {
	e = apikey.Entry{ID: apikey.NewID(), Owner: f.owner, Plan: f.plan, Created: f.now().UTC().Truncate(time.Second)}
	if f.owner == "" {
		return e, errors.New("--owner is required: who is the key for?")
	}
	if err := apikey.CheckName(f.owner); err != nil {
		return e, fmt.Errorf("--owner: %w", err)
	}
	if f.plan != "" {
		if err := apikey.CheckWord(f.plan); err != nil {
			return e, fmt.Errorf("--plan: %w", err)
		}
	}
	if e.Roles, err = each("role", f.roles, role); err != nil {
		return e, err
	}
	if e.Scopes, err = each("scope", f.scopes, word); err != nil {
		return e, err
	}
	if e.Addresses, err = each[netip.Prefix]("cidr", f.cidrs, apikey.ParseRange); err != nil {
		return e, err
	}
	if e.Methods, err = each("method", f.methods, apikey.ParseMethod); err != nil {
		return e, err
	}
	switch f.expires {
	case "":
		return e, errors.New("--expires is required: a duration such as 90d, a date such as 2027-01-31, a time such as 2027-01-31T00:00:00Z, or never")
	case "never":
	default:
		if e.Expires, err = f.moment("expires", f.expires); err != nil {
			return e, err
		}
		if !e.Expires.After(e.Created) {
			return e, errors.New("--expires: that has passed")
		}
	}
	if f.notBefore != "" {
		if e.NotBefore, err = f.moment("not-before", f.notBefore); err != nil {
			return e, err
		}
		if !e.Expires.IsZero() && !e.NotBefore.Before(e.Expires) {
			return e, errors.New("--not-before: the key would expire before it begins")
		}
	}
	return e, nil
}

func word(s string) (string, error) { return s, apikey.CheckWord(s) }

func role(s string) (string, error) { return s, apikey.CheckRole(s) }

// each reads the values of a flag that may be repeated.
func each[T comparable](flag string, values []string, read func(string) (T, error)) ([]T, error) {
	var out []T
	seen := make(map[T]bool)
	for _, v := range values {
		item, err := read(v)
		if err == nil && seen[item] {
			err = errors.New("it is given twice")
		}
		if err != nil {
			return nil, fmt.Errorf("--%s %q: %w", flag, v, err)
		}
		seen[item] = true
		out = append(out, item)
	}
	return out, nil
}

// moment reads a time, or a duration from now.
func (f *keyFlags) moment(flag, text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Truncate(time.Second), nil
	}
	// A date is the moment at which that day begins, where the command runs.
	if t, err := time.ParseInLocation(time.DateOnly, text, f.now().Location()); err == nil {
		return t.UTC(), nil
	}
	d, err := caddy.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--%s: '%s' is neither a duration such as 90d, nor a date such as 2027-01-31, nor a time such as 2027-01-31T00:00:00Z", flag, text)
	}
	return f.now().Add(d).UTC().Truncate(time.Second), nil
}
