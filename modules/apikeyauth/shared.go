package apikeyauth

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
	"github.com/caddy-moat/caddy-moat/modules/internal/apikey"
)

// flushEvery is how often times of last use are written.
const flushEvery = time.Minute

// stores are the stores that are open. A reload keeps those it names again.
var stores = caddy.NewUsagePool() // by storeKey

// storeKey tells stores apart. A store is not shared with who names another
// pepper.
type storeKey struct {
	path, pepper string
	noLastUsed   bool
}

// shared is a store with its background work, as a caddy.Destructor.
type shared struct {
	*apikey.Store
	path string
	log  *zap.Logger
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	changes []listener // of the configurations that use it, latest last
}

type listener struct {
	owner *Provider
	tell  func(adapter.Change)
}

func (p *Provider) open(ctx caddy.Context, path string, pepper *apikey.Pepper) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	key := storeKey{abs, pepper.Check(), p.NoLastUsed}
	v, loaded, err := stores.LoadOrNew(key, func() (caddy.Destructor, error) {
		s := &shared{path: path, stop: make(chan struct{}), log: caddy.Log().Named("http.authentication.providers." + Name)}
		store, err := apikey.Open(abs, pepper, s.report)
		if err != nil {
			return nil, err
		}
		s.Store = store
		if !p.NoLastUsed {
			s.done.Go(s.flush)
		}
		return s, nil
	})
	if err != nil {
		return err
	}
	s := v.(*shared)
	if loaded {
		// What is in force may be what was read before the file went bad.
		// A configuration that is loaded now must not begin with that.
		if err := s.Verify(); err != nil {
			_, _ = stores.Delete(key)
			return err
		}
	}
	s.mu.Lock()
	s.changes = append(s.changes, listener{p, adapter.Changes(ctx)})
	s.mu.Unlock()
	p.store = s.Store
	p.release = func() {
		s.forget(p)
		_, _ = stores.Delete(key)
	}
	return nil
}

func (s *shared) forget(p *Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.changes {
		if l.owner == p {
			s.changes = append(s.changes[:i:i], s.changes[i+1:]...)
			return
		}
	}
}

// Destruct ends the background work.
func (s *shared) Destruct() error {
	close(s.stop)
	s.done.Wait()
	s.Close()
	return nil
}

// flush writes the times of last use every now and then, and in the end.
func (s *shared) flush() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	said := false
	for end := false; !end; {
		select {
		case <-tick.C:
		case <-s.stop:
			end = true
		}
		err := s.Flush()
		if err != nil && !said {
			s.log.Warn("the times at which API keys were last used cannot be written", zap.String("file", apikey.UsedPath(s.path)), zap.Error(err))
		}
		said = err != nil
	}
}

// report logs what became of the file and tells the audit trails.
func (s *shared) report(e apikey.Event) {
	change := adapter.Change{Layer: Name, What: "keys changed", Source: s.path, Detail: describe(e)}
	if e.Err != nil {
		change.What = "keys refused"
		s.log.Error("the store of API keys cannot be used; what was read last stays in force", zap.String("store", s.path), zap.Error(clean(e.Err)))
	} else {
		s.log.Info("the store of API keys is in force", zap.String("store", s.path),
			zap.Int("added", len(e.Added)), zap.Int("removed", len(e.Removed)), zap.Int("changed", len(e.Changed)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// One of those who listen is enough: a reload has two for a while, and
	// several sites may share one trail.
	if n := len(s.changes); n > 0 {
		s.changes[n-1].tell(change)
	}
}

// maxDescribed bounds how many keys one record names.
const maxDescribed = 50

func describe(e apikey.Event) string {
	if e.Err != nil {
		return clean(e.Err).Error()
	}
	lines := make([]string, 0, maxDescribed+1)
	more := 0
	for _, group := range []struct {
		what string
		ids  []string
	}{{"added", e.Added}, {"removed", e.Removed}, {"changed", e.Changed}} {
		for _, id := range group.ids {
			if len(lines) == maxDescribed {
				more++
				continue
			}
			lines = append(lines, group.what+" "+id)
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
