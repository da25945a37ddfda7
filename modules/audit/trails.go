package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.OnExit(func(context.Context) { closeDraining() })
}

// trails holds the open trails by their path, so that a trail survives a
// reload without a gap and several sites can share one.
var trails = caddy.NewUsagePool()

// maxChanges bounds the changes that wait for a configuration to start.
const maxChanges = 256

// App keeps the audit trails of one configuration. It is made by the first
// audit handler that is provisioned and needs no configuration.
//
// Trails are opened when the configuration starts, not while it is
// provisioned: `caddy validate` must neither fail because a running server
// holds the trail nor leave anything in it.
type App struct {
	ctx    caddy.Context
	logger *zap.Logger

	mu      sync.Mutex
	claims  map[string]*claim
	started bool
	changes []lifecycle.Change // announced before the start
}

// claim is what one configuration wants of one trail.
type claim struct {
	*store
	options trailOptions
	from    string // the site whose options they are, for messages
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  lifecycle.AuditApp,
		New: func() caddy.Module { return new(App) },
	}
}

// Provision sets up the app.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.claims = make(map[string]*claim)
	if reg := ctx.GetMetricsRegistry(); reg != nil {
		if err := metrics.register(reg); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// claim returns the trail at path for a site that wants it with options.
// Options that the site leaves open are decided by the others.
func (a *App) claim(path, site string, o trailOptions) (*claim, error) {
	path, err := cleanPath(path)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.claims[path]; ok {
		merged, err := c.options.merge(o)
		if err != nil {
			return nil, fmt.Errorf("the trail %s is shared with another audit directive with different options: %w; write the option in one of them, or the same in both", path, err)
		}
		c.options = merged
		return c, nil
	}
	val, _, err := trails.LoadOrNew(path, func() (caddy.Destructor, error) {
		if s := revive(path); s != nil {
			return s, nil
		}
		return newStore(path, a.logger), nil
	})
	if err != nil {
		return nil, err
	}
	c := &claim{store: val.(*store), options: o, from: site}
	a.claims[path] = c
	return c, nil
}

// Start opens the trails, or applies this configuration's options to those
// that are open. A trail that cannot be opened refuses the configuration.
func (a *App) Start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, path := range a.paths() {
		c := a.claims[path]
		if err := c.apply(a, c.options); err != nil {
			return fmt.Errorf("audit %s: %w", path, err)
		}
	}
	a.started = true
	for _, change := range a.changes {
		a.record(change)
	}
	a.changes = nil
	return nil
}

// paths returns the trails' paths in order. Callers hold mu.
func (a *App) paths() []string {
	paths := make([]string, 0, len(a.claims))
	for path := range a.claims {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// Stop leaves the trails open, since requests may still be in flight: see
// Cleanup. What is known of those is recorded now, in case the process is not
// given the time to let them end.
func (a *App) Stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.claims {
		if t := c.trail.Load(); t != nil {
			c.sweep(t, 0)
		}
	}
	return nil
}

// Cleanup lets go of the trails. The last configuration to do so closes them.
func (a *App) Cleanup() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = false
	var errs []error
	for _, path := range a.paths() {
		a.claims[path].withdraw(a)
		if _, err := trails.Delete(path); err != nil {
			errs = append(errs, err)
		}
	}
	a.claims = nil
	return errors.Join(errs...)
}

// RecordChange writes a change to every trail of the configuration.
func (a *App) RecordChange(c lifecycle.Change) {
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started {
		a.record(c)
	} else if len(a.changes) < maxChanges {
		a.changes = append(a.changes, c)
	}
}

// record writes a change to every trail. Callers hold mu.
func (a *App) record(c lifecycle.Change) {
	line := appendChange(nil, c)
	for _, path := range a.paths() {
		s := a.claims[path].store
		t := s.trail.Load()
		if t == nil {
			continue
		}
		if err := t.Append(line); err != nil {
			s.failed(kindChange, err)
		} else {
			s.metrics.records[kindChange].Inc()
		}
	}
}

// store is one trail of the process with all who use it.
type store struct {
	path   string
	logger *zap.Logger
	trail  atomic.Pointer[trail.Trail] // nil until a configuration has started, and once it is closed
	wait   atomic.Pointer[wait]

	lifetime
	flights flights

	mu        sync.Mutex
	users     []holder // configurations, the one whose options hold last
	workers   *workers
	publisher atomic.Pointer[publisher]
	lastPause time.Time     // when a failure was last logged
	stop      chan struct{} // closed to end watch

	metrics storeMetrics
}

// wait bounds the waiting of all requests that begin to wait within one step,
// which spares each a timer of its own.
type wait struct {
	context.Context
	cancel context.CancelFunc
	begun  time.Time
}

// patience returns the context in which a request waits for the disk.
func (s *store) patience() context.Context {
	now := time.Now()
	w := s.wait.Load()
	if w != nil && now.Sub(w.begun) < syncStep {
		return w
	}
	next := &wait{begun: now}
	next.Context, next.cancel = context.WithTimeout(context.Background(), syncWait+syncStep)
	if !s.wait.CompareAndSwap(w, next) {
		next.cancel() // another request was faster
		return s.wait.Load()
	}
	return next
}

type holder struct {
	app     *App
	options trailOptions
}

func newStore(path string, logger *zap.Logger) *store {
	s := &store{path: path, logger: logger.With(zap.String("trail", path)), metrics: metrics.of(path)}
	metrics.watch(s)
	return s
}

// apply opens the trail for app, or gives it app's options.
func (s *store) apply(app *App, o trailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.indexOf(app); i >= 0 {
		return nil // a request was faster than Start
	}
	if err := s.set(app, o); err != nil {
		return err
	}
	s.users = append(s.users, holder{app, o})
	return nil
}

func (s *store) indexOf(app *App) int {
	return slices.IndexFunc(s.users, func(u holder) bool { return u.app == app })
}

// set makes the options hold. Callers hold mu.
func (s *store) set(app *App, o trailOptions) error {
	if err := o.checkQuorum(); err != nil {
		return err
	}
	publisher, err := newPublisher(s, o)
	if err != nil {
		return err
	}
	opt, err := o.build(app, s)
	if err != nil {
		return err
	}
	if t := s.trail.Load(); t != nil {
		if err := t.Reconfigure(opt); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(s.path, 0o700); err != nil {
			return fmt.Errorf("making the trail's directory: %w", err)
		}
		t, err := trail.Open(s.path, opt)
		if errors.Is(err, trail.ErrLocked) {
			return fmt.Errorf("%w: another process, perhaps another Caddy with the same configuration, writes to it; two writers would fork the chain", err)
		}
		if err != nil {
			return err
		}
		s.trail.Store(t)
		s.stop = make(chan struct{})
		go s.watch(t, s.stop)
		s.reopened()
		metrics.watch(s)
	}
	if t := s.trail.Load(); o.origin != "" && t.Origin() != o.origin {
		s.logger.Warn("the trail keeps the origin that it has; begin a new trail for another", zap.String("origin", t.Origin()), zap.String("written", o.origin))
	}
	before := s.publisher.Swap(publisher)
	publisher.offer(s.trail.Load().Checkpoint())
	go func() { // both would write the same files
		before.end()
		if publisher != nil {
			publisher.run()
		}
	}()
	return s.deliver(o)
}

// withdraw forgets app. If its options held, those of the configuration
// before it hold again: it runs on when a new one fails to start.
func (s *store) withdraw(app *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.indexOf(app)
	if i < 0 {
		return
	}
	last := i == len(s.users)-1
	s.users = slices.Delete(s.users, i, i+1)
	if last && len(s.users) > 0 {
		u := s.users[len(s.users)-1]
		if err := s.set(u.app, u.options); err != nil {
			s.logger.Error("going back to the options of the running configuration", zap.Error(err))
		}
	}
}

// open returns the trail, which a request may need before Start has run, or
// after the trail of a configuration that was replaced has been closed.
func (c *claim) open(app *App) (*trail.Trail, error) {
	if t := c.trail.Load(); t != nil {
		return t, nil
	}
	if c.over.Load() {
		return nil, errNotOpen
	}
	if err := c.apply(app, c.options); err != nil {
		return nil, err
	}
	return c.trail.Load(), nil
}

// counted counts a record, or that it could not be written.
func (s *store) counted(kind int, err error) error {
	if err != nil {
		s.failed(kind, err)
		return err
	}
	s.metrics.records[kind].Inc()
	return nil
}

// failed notes that a record could not be written. The log says so at most
// once in ten seconds, the metrics every time.
func (s *store) failed(kind int, err error) {
	metrics.failures.WithLabelValues(s.path, recordKinds[kind]).Inc()
	s.mu.Lock()
	now := time.Now()
	quiet := now.Sub(s.lastPause) < 10*time.Second
	if !quiet {
		s.lastPause = now
	}
	s.mu.Unlock()
	if !quiet {
		s.logger.Error("recording failed; further failures are counted in caddy_moat_audit_failures_total",
			zap.String("record", recordKinds[kind]), zap.Error(err))
	}
}

// trailOptions are the options that belong to a trail and not to a site.
// Zero stands for "not written".
type trailOptions struct {
	sync       string
	batch      time.Duration
	rollSize   int64
	rollEvery  time.Duration
	keep       time.Duration
	checkpoint time.Duration
	sign       string
	origin     string
	tiles      string
	quorum     int
	witnesses  []Witness
	deliver    []Delivery
}

// merge combines what two sites wrote about one trail.
func (o trailOptions) merge(p trailOptions) (trailOptions, error) {
	for _, err := range []error{
		mergeOption("sync", &o.sync, p.sync),
		mergeOption("sync batch", &o.batch, p.batch),
		mergeOption("roll <size>", &o.rollSize, p.rollSize),
		mergeOption("roll <duration>", &o.rollEvery, p.rollEvery),
		mergeOption("keep", &o.keep, p.keep),
		mergeOption("checkpoint", &o.checkpoint, p.checkpoint),
		mergeOption("sign", &o.sign, p.sign),
		mergeOption("origin", &o.origin, p.origin),
		mergeOption("tiles", &o.tiles, p.tiles),
		mergeOption("quorum", &o.quorum, p.quorum),
	} {
		if err != nil {
			return o, err
		}
	}
	o.witnesses = mergeWitnesses(o.witnesses, p.witnesses)
	for _, d := range p.deliver {
		i := slices.IndexFunc(o.deliver, func(e Delivery) bool { return e.Name == d.Name })
		if i < 0 {
			o.deliver = append(slices.Clip(o.deliver), d)
		} else if !o.deliver[i].equal(d) {
			return o, fmt.Errorf("deliver %s is written twice with different options", d.Name)
		}
	}
	return o, nil
}

func mergeOption[T comparable](name string, to *T, v T) error {
	var zero T
	switch {
	case v == zero || v == *to:
	case *to == zero:
		*to = v
	default:
		return fmt.Errorf("%s is %v there and %v here", name, *to, v)
	}
	return nil
}

// build makes the engine's options.
func (o trailOptions) build(app *App, s *store) (trail.Options, error) {
	signer, vkey, err := loadSigner(context.Background(), app.ctx.Storage(), s.path, o.sign, true)
	if err != nil {
		return trail.Options{}, err
	}
	opt := trail.Options{
		Interval: o.batch, RollSize: o.rollSize, RollEvery: o.rollEvery, Keep: o.keep, Checkpoint: o.checkpoint,
		Signer: signer, VerifierKey: vkey, Origin: o.origin,
		Logf: s.logger.Sugar().Warnf,
		Observer: trail.Observer{
			Signed:    func(msg []byte) { s.publisher.Load().offer(msg) },
			Fsync:     s.metrics.fsync,
			Failed:    func(err error) { s.logger.Error("the trail is unavailable", zap.Error(err)) },
			Recovered: func() { s.logger.Info("the trail is available again") },
			Lost: func(n int64) {
				s.metrics.lose(n)
				s.logger.Error("records were lost", zap.Int64("records", n))
			},
		},
	}
	switch o.sync {
	case SyncAlways:
		opt.Sync = trail.Always
	case SyncOff:
		opt.Sync = trail.Off
	default:
		opt.Sync = trail.Batch
	}
	return opt, nil
}

// cleanPath returns the one name of a directory: absolute, without links as
// far as it exists.
func cleanPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	// The end of the path may be still to be made.
	for head, tail := abs, ""; ; {
		real, err := filepath.EvalSymlinks(head)
		if err == nil {
			return filepath.Join(real, tail), nil
		}
		parent, last := filepath.Split(strings.TrimRight(head, string(filepath.Separator)))
		if last == "" || parent == head {
			return abs, nil
		}
		head, tail = parent, filepath.Join(last, tail)
	}
}

// Interface guards
var (
	_ caddy.App                = (*App)(nil)
	_ caddy.Provisioner        = (*App)(nil)
	_ caddy.CleanerUpper       = (*App)(nil)
	_ lifecycle.ChangeRecorder = (*App)(nil)
)
