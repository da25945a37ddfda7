package clientcertauth

import (
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
	"github.com/caddy-moat/caddy-moat/modules/internal/clientcert"
)

// pool holds the maps that are open. A reload keeps those it names again, and
// with them what was read last from a file that is bad now.
var pool = caddy.NewUsagePool() // *clients by path

// clients is a map with who wants to know of its changes.
type clients struct {
	*clientcert.Store
	*adapter.Announcer
}

func (p *Provider) openMap(ctx caddy.Context) error {
	path, err := adapter.Resolve(Name, "map", p.Map)
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	c, err := adapter.Share(&p.held, pool, abs, func() (*clients, func(), error) {
		c := &clients{Announcer: adapter.NewAnnouncer(Name, "the map of client certificates", "clients", path)}
		store, err := clientcert.Open(abs, c.report)
		if err != nil {
			return nil, nil, err
		}
		c.Store = store
		return c, store.Close, nil
	})
	if err == nil {
		// What is in force may be what was read before the file went bad.
		// A configuration that is loaded now must not begin with that.
		err = c.Verify()
	}
	if err != nil {
		p.held.Release()
		return fmt.Errorf("%s: map %s: %w", Name, p.Map, adapter.OneLine(err))
	}
	p.held.Add(c.Enlist(ctx, p))
	p.clients = c
	p.verifier.Table = c.Table
	return nil
}

func (c *clients) report(e clientcert.Event) {
	if e.Err != nil {
		c.Refused(e.Err)
		return
	}
	c.InForce(e.Added, e.Removed, e.Changed)
}
