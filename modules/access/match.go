package access

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

func init() {
	caddy.RegisterModule(new(MatchAddressList))
}

// MatchAddressList matches requests by the address that they come from: what
// access decides by, for matchers. A request without an address, and one whose
// country or network cannot be looked up since the database is damaged, is
// rejected with 403, whatever the matcher is for.
type MatchAddressList struct {
	Entries

	// Which address of a request counts: `client`, Caddy's {client_ip}, or
	// `peer`, the other end of the connection. Default: client
	By string `json:"by,omitempty"`

	// Files in the MaxMind DB format, as in access.
	Databases []string `json:"databases,omitempty"`

	list  *list
	where *locator
	held  lifecycle.Held
}

// CaddyModule returns the Caddy module information.
func (*MatchAddressList) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.address_list",
		New: func() caddy.Module { return new(MatchAddressList) },
	}
}

// Provision opens the list.
func (m *MatchAddressList) Provision(ctx caddy.Context) (err error) {
	if err = m.check(); err == nil {
		m.list, err = newList(ctx, &m.held, "list", &m.Entries)
	}
	if err == nil {
		m.where, err = newLocator(ctx, &m.held, m.Databases, &m.Entries)
	}
	if err != nil {
		return fmt.Errorf("address_list: %w", err)
	}
	return nil
}

func (m *MatchAddressList) check() error {
	if m.empty() {
		return errors.New("nothing is listed: write an address, a range or the path of a file")
	}
	if err := option.CheckWord("by", m.By, byClient, byPeer); err != nil {
		return err
	}
	return checkEntries(m.Databases, &m.Entries)
}

// Cleanup gives the files back.
func (m *MatchAddressList) Cleanup() error {
	m.held.Release()
	return nil
}

// MatchWithError reports whether the request comes from a listed address.
func (m *MatchAddressList) MatchWithError(r *http.Request) (bool, error) {
	a, known := addressOf(r, m.By)
	if !known {
		return false, caddyhttp.Error(http.StatusForbidden, errNoAddress)
	}
	rule, _, err := m.list.find(a, m.where)
	if err != nil {
		return false, caddyhttp.Error(http.StatusForbidden, err)
	}
	return rule != "", nil
}

var errNoAddress = errors.New("address_list: the request has no address")

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchAddressList)(nil)
	_ caddy.CleanerUpper                = (*MatchAddressList)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchAddressList)(nil)
)
