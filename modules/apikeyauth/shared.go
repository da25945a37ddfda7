package apikeyauth

import (
	"path/filepath"
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
	*adapter.Announcer
	path string
	log  *zap.Logger
	stop chan struct{}
	done sync.WaitGroup
}

func (p *Provider) open(ctx caddy.Context, path string, pepper *apikey.Pepper) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	key := storeKey{abs, pepper.Check(), p.NoLastUsed}
	v, loaded, err := stores.LoadOrNew(key, func() (caddy.Destructor, error) {
		s := &shared{Announcer: adapter.NewAnnouncer(Name, "the store of API keys", "keys", path), path: path, stop: make(chan struct{}), log: caddy.Log().Named("http.authentication.providers." + Name)}
		store, err := apikey.Open(abs, pepper, s.reportFile)
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
	leave := s.Enlist(ctx, p)
	p.store = s.Store
	p.release = func() {
		leave()
		_, _ = stores.Delete(key)
	}
	return nil
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

func (s *shared) reportFile(e apikey.Event) {
	if e.Err != nil {
		s.Refused(e.Err)
		return
	}
	s.InForce(e.Added, e.Removed, e.Changed)
}
