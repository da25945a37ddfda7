package webhookauth

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/webhook"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

var (
	errTooLarge = errors.New("the content is larger than max_body")
	errContent  = errors.New("the content cannot be read")
)

// readContent reads the content and puts it back.
func (p *Provider) readContent(r *http.Request) ([]byte, error) {
	body, err := reqctx.ReadContent(r, p.MaxBody)
	switch {
	case errors.Is(err, reqctx.ErrTooLarge) || reqctx.Limited(err):
		return nil, errTooLarge // than max_body, or than request_body max_size
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errContent, err)
	}
	return body, nil
}

// memories has one memory, that of all sites. A reload forgets nothing.
var memories = caddy.NewUsagePool()

const (
	// remembered is how many MACs are remembered. It cannot be set: a memory of
	// another size would be another one, and not all webhooks say when they were
	// signed, so that it could refuse those from before it.
	remembered = 1_000_000

	// maxFailed is how many webhooks may wait to be sent again.
	maxFailed = 10_000
)

// used is what has been accepted, and what of it may be accepted again because it
// came to nothing.
type used struct {
	memory *replay.Memory

	mu     sync.Mutex
	failed map[string]time.Time // until when
}

func (p *Provider) openReplay(ctx caddy.Context) error {
	if p.ReplayOff {
		return nil
	}
	var err error
	p.used, err = lifecycle.Share(&p.held, memories, "webhooks", func() (*used, func(), error) {
		return &used{memory: replay.NewMemory(remembered, p.now()), failed: make(map[string]time.Time)}, func() {}, nil
	})
	if err != nil {
		return err
	}
	p.used.memory.Widen(time.Duration(p.Leeway), p.now())
	return lifecycle.MeasureReplays(ctx, "webhook", p.used.memory)
}

// use notes the MACs of a webhook. It is the last of all checks, so that only who
// has a secret can fill the memory. It returns nil where nothing is remembered.
//
// It does not matter to which site or path a webhook was sent: it is not signed.
func (p *Provider) use(r *http.Request, s *webhook.Scheme, macs [][]byte, made, now time.Time) (*delivery, error) {
	if p.used == nil {
		return nil, nil //nolint:nilnil // as said
	}
	until := made.Add(time.Duration(p.Leeway))
	if !s.Timed {
		until = now.Add(time.Duration(p.Replay))
	}
	d := &delivery{used: p.used, now: p.now, until: until}
	for _, mac := range macs {
		err := p.used.memory.Use(r.Context(), replay.Entry{Scope: "webhook", Value: string(mac), Made: made, Until: until}, now)
		if errors.Is(err, replay.ErrReplayed) && p.used.again(string(mac), now) {
			err = nil
		}
		if err != nil {
			d.release(now)
			return nil, err
		}
		d.macs = append(d.macs, string(mac))
	}
	return d, nil
}

// explainUse is what the client is told where the memory refuses: used, or that
// it cannot be known.
func explainUse(err error) *credential.Error {
	switch {
	case errors.Is(err, replay.ErrReplayed), errors.Is(err, replay.ErrOlder):
		return &credential.Error{Kind: credential.Bad, Code: CodeReplayed, Detail: "the webhook has been accepted before", Cause: err}
	case errors.Is(err, replay.ErrFull):
		return &credential.Error{Kind: credential.Unavailable, Code: CodeFull, Detail: "the webhook cannot be remembered", RetryAfter: time.Minute, Cause: err}
	}
	return &credential.Error{Kind: credential.Unavailable, Code: credential.CodeUnavailable, Detail: "it cannot be known whether the webhook has been accepted before", Cause: err}
}

// again reports whether a webhook that was accepted before is accepted again, for
// this once.
func (u *used) again(mac string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, ok := u.failed[mac]
	delete(u.failed, mac)
	return ok && now.Before(until)
}

// fail notes that a webhook came to nothing. Where too many do, it stays used.
func (u *used) fail(mac string, until, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.failed) >= maxFailed {
		for m, t := range u.failed {
			if !now.Before(t) {
				delete(u.failed, m)
			}
		}
	}
	if len(u.failed) < maxFailed {
		u.failed[mac] = until
	}
}

// delivery is one webhook that was accepted, and how the request ended.
type delivery struct {
	used   *used
	now    func() time.Time
	macs   []string
	until  time.Time
	status int // 0: not yet
}

// serve implements credential.Grant.Wrap: a webhook whose response is not
// success may be sent again.
func (d *delivery) serve(w http.ResponseWriter, r *http.Request, next credential.Next) error {
	err := next(&watching{&caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, d}, r)
	if err != nil || d.status >= http.StatusMultipleChoices || r.Context().Err() != nil {
		d.release(d.now())
	}
	return err
}

// release lets the webhook be sent again.
func (d *delivery) release(now time.Time) {
	for _, mac := range d.macs {
		d.used.fail(mac, d.until, now)
	}
}

// watching notes the final status.
type watching struct {
	*caddyhttp.ResponseWriterWrapper
	delivery *delivery
}

func (w *watching) WriteHeader(status int) {
	if w.delivery.status == 0 && status >= http.StatusOK {
		w.delivery.status = status
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}
