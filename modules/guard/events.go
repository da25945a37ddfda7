package guard

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
)

// maxEvents is how many events wait for their handlers at most.
const maxEvents = 256

// events hands alarms to Caddy's event handlers, which may run programs: no request
// waits for them.
type events struct {
	ctx    caddy.Context
	app    *caddyevents.App
	queue  chan event
	done   chan struct{}
	lost   atomic.Int64
	logger *zap.Logger

	mu     sync.RWMutex
	closed bool
}

type event struct {
	name string
	data map[string]any
}

func newEvents(ctx caddy.Context, logger *zap.Logger) (*events, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	e := &events{ctx: ctx, app: app.(*caddyevents.App), queue: make(chan event, maxEvents), done: make(chan struct{}), logger: logger}
	go e.run()
	return e, nil
}

func (e *events) run() {
	defer close(e.done)
	for ev := range e.queue {
		e.app.Emit(e.ctx, ev.name, ev.data)
		if n := e.lost.Swap(0); n > 0 {
			e.logger.Warn("alarms were not handed to event handlers, which are too slow", zap.Int64("alarms", n))
		}
	}
}

// emit queues an event, or counts it as lost if too many wait.
func (e *events) emit(ev event) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return
	}
	select {
	case e.queue <- ev:
	default:
		e.lost.Add(1)
	}
}

// closeWait is how long a configuration that ends waits for event handlers.
const closeWait = 5 * time.Second

// close ends the handing over, once what waits is handed over.
func (e *events) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	close(e.queue)
	select {
	case <-e.done:
	case <-time.After(closeWait):
	}
}
