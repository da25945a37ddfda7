package clientcertauth

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
	"github.com/caddy-moat/caddy-moat/modules/internal/clientcert"
)

// pool holds the maps that are open. A reload keeps those it names again, and
// with them what was read last from a file that is bad now.
var pool = caddy.NewUsagePool() // *clients by path

// clients is a map with who wants to know of its changes.
type clients struct {
	*clientcert.Store
	path string
	log  *zap.Logger

	mu      sync.Mutex
	changes []listener // of the configurations that use it, latest last
}

type listener struct {
	owner *Provider
	tell  func(adapter.Change)
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
		c := &clients{path: path, log: caddy.Log().Named("http.authentication.providers." + Name)}
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
		return fmt.Errorf("%s: map %s: %w", Name, p.Map, clean(err))
	}
	c.mu.Lock()
	c.changes = append(c.changes, listener{p, adapter.Changes(ctx)})
	c.mu.Unlock()
	p.held.Add(func() { c.forget(p) })
	p.clients = c
	p.verifier.Table = c.Table
	return nil
}

func (c *clients) forget(p *Provider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, l := range c.changes {
		if l.owner == p {
			c.changes = append(c.changes[:i:i], c.changes[i+1:]...)
			return
		}
	}
}

// report logs what became of the file and tells the audit trails.
func (c *clients) report(e clientcert.Event) {
	change := adapter.Change{Layer: Name, What: "clients changed", Source: c.path, Detail: describe(e)}
	if e.Err != nil {
		change.What = "clients refused"
		c.log.Error("the map of client certificates cannot be used; what was read last stays in force", zap.String("map", c.path), zap.Error(clean(e.Err)))
	} else {
		c.log.Info("the map of client certificates is in force", zap.String("map", c.path),
			zap.Int("added", len(e.Added)), zap.Int("removed", len(e.Removed)), zap.Int("changed", len(e.Changed)))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// One of those who listen is enough: a reload has two for a while, and
	// several sites may share one trail.
	if n := len(c.changes); n > 0 {
		c.changes[n-1].tell(change)
	}
}

// maxDescribed bounds how many entries one record names.
const maxDescribed = 50

func describe(e clientcert.Event) string {
	if e.Err != nil {
		return clean(e.Err).Error()
	}
	lines := make([]string, 0, maxDescribed+1)
	more := 0
	for _, group := range []struct {
		what  string
		names []string
	}{{"added", e.Added}, {"removed", e.Removed}, {"changed", e.Changed}} {
		for _, name := range group.names {
			if len(lines) == maxDescribed {
				more++
				continue
			}
			lines = append(lines, group.what+" "+name)
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// clean keeps an error to one line.
func clean(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
