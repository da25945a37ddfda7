package apikeyauth

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// flushEvery is how often times of last use are written.
const flushEvery = time.Minute

// stores are the stores of API keys.
var stores = watched.Kind{
	Layer: Name, Option: "store", Subject: "the store of API keys", What: "keys",
	Metrics: watched.Metrics{
		Entries:  prometheus.NewDesc("caddy_moat_api_keys", "API keys in the store, whatever their state.", []string{"store"}, nil),
		Unusable: prometheus.NewDesc("caddy_moat_api_key_store_unusable", watched.UnusableHelp, []string{"store"}, nil),
	},
}

// variant tells stores apart that have one file. A store is not shared with
// who names another pepper.
type variant struct {
	pepper     string
	noLastUsed bool
}

// store is a store that writes now and then when its keys were last used.
type store struct {
	*apikey.Store
	path string
	stop chan struct{}
	done sync.WaitGroup
}

func (p *Provider) open(ctx caddy.Context, pepper *apikey.Pepper) (err error) {
	p.store, err = watched.Open(ctx, &p.held, &stores, p.Store, variant{pepper.Check(), p.NoLastUsed},
		func(path string, report func(filewatch.Event)) (*store, error) {
			keys, err := apikey.Open(path, pepper, report)
			if err != nil {
				return nil, err
			}
			s := &store{Store: keys, path: path, stop: make(chan struct{})}
			if !p.NoLastUsed {
				s.done.Go(s.flush)
			}
			return s, nil
		})
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return nil
}

// Close ends the watch and writes what is not yet written.
func (s *store) Close() {
	close(s.stop)
	s.done.Wait()
	s.Store.Close()
}

// flush writes the times of last use every now and then, and in the end.
func (s *store) flush() {
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
			caddy.Log().Named("http.authentication.providers."+Name).
				Warn("the times at which API keys were last used cannot be written", zap.String("file", apikey.UsedPath(s.path)), zap.Error(err))
		}
		said = err != nil
	}
}
