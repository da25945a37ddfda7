package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	engine "github.com/caddy-moat/caddy-moat/modules/internal/access/guard"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// What outlives a configuration: zones by their names, and counters by zone and rule.
var (
	zones    = caddy.NewUsagePool()
	counters = caddy.NewUsagePool()
)

// saveEvery is how often bans are stored that have changed. A process that is killed
// forgets at most so much.
const saveEvery = time.Second

// sweepEvery is how often what is over is forgotten.
const sweepEvery = time.Minute

var started = time.Now()

// now is the present moment. The difference of two readings of the clock does not see
// that the time of day was set.
func now() engine.Moment {
	t := time.Now()
	return engine.Moment{Since: t.Sub(started), Wall: t.UTC().Round(0)}
}

// zone has the bans of the handlers that name it. They are kept in Caddy's storage.
type zone struct {
	name    string
	bans    *engine.Book
	slowed  *engine.Book
	storage certmagic.Storage

	mu        sync.Mutex
	listeners []*func(lifecycle.Change)

	saving sync.Mutex
	quit   chan struct{}
	done   chan struct{}
}

// openZone returns the zone of that name, loaded from the storage if nobody has it yet.
func openZone(ctx caddy.Context, held *lifecycle.Held, name string) (*zone, error) {
	return lifecycle.Share(held, zones, name, func() (*zone, func(), error) {
		z := &zone{
			name: name, bans: engine.NewBook(maxBans), slowed: engine.NewBook(maxBans), storage: ctx.Storage(),
			quit: make(chan struct{}), done: make(chan struct{}),
		}
		if err := z.load(ctx); err != nil {
			return nil, nil, err
		}
		go z.run()
		return z, z.close, nil
	})
}

// openCounter returns the counter of a rule, that of the configuration before if the
// rule was the same there.
func openCounter(held *lifecycle.Held, zone string, rule engine.Rule, maxKeys int) (*engine.Counter, error) {
	key := fmt.Sprintf("%s\n%d\n%t\n%s", zone, maxKeys, rule.Reset, rule.Identity())
	return lifecycle.Share(held, counters, key, func() (*engine.Counter, func(), error) {
		c, quit := engine.NewCounter(rule, maxKeys), make(chan struct{})
		go func() {
			tick := time.NewTicker(sweepEvery)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					c.Sweep(now())
				case <-quit:
					return
				}
			}
		}()
		return c, func() { close(quit) }, nil
	})
}

// openTrapAlarms returns what raises an alarm an hour of each address that requests traps
// without being banned.
func openTrapAlarms(held *lifecycle.Held, zone string) (*engine.Counter, error) {
	r, err := engine.ParseCount([]string{"trap", "by", "address"})
	if err != nil {
		return nil, err
	}
	r.Name, r.In = trapRule, time.Hour // more than none
	return openCounter(held, zone, r, defaultMaxKeys)
}

// key is where the bans stand in the storage.
func (z *zone) key() string { return path.Join("moat", Name, z.name+".json") }

func (z *zone) load(ctx context.Context) error {
	body, err := z.storage.Load(ctx, z.key())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("zone %s: the bans cannot be loaded from the storage: %w", z.name, err)
	}
	if err := z.bans.Load(now(), body); err != nil {
		return fmt.Errorf("zone %s: %s in the storage cannot be read as bans: %w; remove it to begin without any", z.name, z.key(), err)
	}
	return nil
}

// run stores bans that have changed, until the zone is closed.
func (z *zone) run() {
	defer close(z.done)
	save, sweep := time.NewTicker(saveEvery), time.NewTicker(sweepEvery)
	defer save.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-save.C:
			z.saveAndLog()
		case <-sweep.C:
			z.bans.Sweep(now())
			z.slowed.Sweep(now())
		case <-z.quit:
			z.saveAndLog()
			return
		}
	}
}

func (z *zone) close() {
	close(z.quit)
	<-z.done
}

func (z *zone) saveAndLog() {
	if err := z.save(); err != nil {
		caddy.Log().Named("http.handlers."+Name).Warn("bans cannot be stored, and are forgotten if the process ends",
			zap.String("zone", z.name), zap.Error(err))
	}
}

// save stores the bans if they have changed.
func (z *zone) save() error {
	z.saving.Lock()
	defer z.saving.Unlock()
	body, err := z.bans.Changes()
	if body == nil && err == nil {
		return nil
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = z.storage.Store(ctx, z.key(), body)
	}
	if err != nil {
		z.bans.Unsaved()
	}
	return err
}

// enlist has the audit trails of a configuration hear of bans, until leave is called.
func (z *zone) enlist(tell func(lifecycle.Change)) (leave func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.listeners = append(z.listeners, &tell)
	return func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.listeners = slices.DeleteFunc(z.listeners, func(o *func(lifecycle.Change)) bool { return o == &tell })
	}
}

// announce tells the audit trails of the configuration that was loaded last.
func (z *zone) announce(c lifecycle.Change) {
	c.Layer = Name
	z.mu.Lock()
	defer z.mu.Unlock()
	if n := len(z.listeners); n > 0 {
		(*z.listeners[n-1])(c)
	}
}
