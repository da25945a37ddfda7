package tokenbudget

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/budget"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// zones are shared by all handlers that name them, and so survive a reload.
var zones = caddy.NewUsagePool()

// saveEvery is how often what was used is stored. A process that is killed
// forgets at most so much.
const saveEvery = 5 * time.Second

// zone is a ledger that is kept in Caddy's storage.
type zone struct {
	name    string
	ledger  *budget.Ledger
	storage certmagic.Storage
	saving  sync.Mutex
	quit    chan struct{}
	done    chan struct{}
}

// openZone returns the zone of that name, loaded from the storage if nobody has
// it yet.
func openZone(ctx caddy.Context, held *lifecycle.Held, name string, maxCallers int) (*zone, error) {
	return lifecycle.Share(held, zones, name, func() (*zone, func(), error) {
		z := &zone{
			name: name, ledger: budget.New(maxCallers), storage: ctx.Storage(),
			quit: make(chan struct{}), done: make(chan struct{}),
		}
		if err := z.load(ctx); err != nil {
			return nil, nil, err
		}
		go z.run()
		return z, z.close, nil
	})
}

// key is where the zone stands in the storage.
func (z *zone) key() string { return path.Join("moat", Name, z.name+".json") }

func (z *zone) load(ctx context.Context) error {
	body, err := z.storage.Load(ctx, z.key())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("zone %s: what was used cannot be loaded from the storage: %w", z.name, err)
	}
	if err := z.ledger.Load(body); err != nil {
		return fmt.Errorf("zone %s: %s in the storage is not what was used, as it was stored: %w; remove it to begin anew", z.name, z.key(), err)
	}
	return nil
}

// run stores what was used, until the zone is closed.
func (z *zone) run() {
	defer close(z.done)
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			z.save()
		case <-z.quit:
			z.save()
			return
		}
	}
}

func (z *zone) close() {
	close(z.quit)
	<-z.done
}

func (z *zone) save() {
	z.saving.Lock()
	defer z.saving.Unlock()
	body, err := z.ledger.Changes(time.Now())
	if body == nil && err == nil {
		return
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = z.storage.Store(ctx, z.key(), body)
	}
	if err != nil {
		z.ledger.Unsaved()
		caddy.Log().Named("http.handlers."+Name).Warn("what was used of the budgets of tokens cannot be stored, and is forgotten if the process ends",
			zap.String("zone", z.name), zap.Error(err))
	}
}
