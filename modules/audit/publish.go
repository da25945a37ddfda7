package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/witness"
)

const (
	// witnessTimeout bounds asking the witnesses about one checkpoint, and
	// witnessRetry is when those that did not cosign are asked again if
	// there is no newer one.
	witnessTimeout = 10 * time.Second
	witnessRetry   = 30 * time.Second

	// lastPublish bounds what is done with the last checkpoint of a trail
	// that is closed.
	lastPublish = 3 * time.Second
)

// Witness has the checkpoints of a trail cosigned (C2SP tlog-witness).
type Witness struct {
	// The submission prefix of the witness, an http or https URL.
	URL string `json:"url"`

	// The verifier key of its Ed25519 cosignatures: name+hash+key.
	Key string `json:"key"`
}

// parse checks the witness.
func (w Witness) parse() (witness.Witness, error) {
	parsed, err := witness.Parse(w.URL + " " + w.Key)
	if err == nil && parsed.URL == "" {
		err = errors.New("the URL of the witness is missing")
	}
	return parsed, err
}

// publisher does with the checkpoints of a trail what takes others: it has
// them cosigned, and writes the tiles that a web server serves. Requests never
// wait for it.
type publisher struct {
	dir    string
	tiles  string
	quorum int
	group  witness.Group
	logger *zap.Logger
	path   string // label of the metrics

	latest atomic.Pointer[[]byte]
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc

	said map[string]string // of each witness what the log said last
	bad  string            // the same of the tiles
}

// newPublisher returns nil where there is nothing to publish.
func newPublisher(s *store, o trailOptions) (*publisher, error) {
	if len(o.witnesses) == 0 && o.tiles == "" {
		return nil, nil
	}
	p := &publisher{
		dir: s.path, tiles: o.tiles, quorum: o.quorum, logger: s.logger, path: s.path,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), said: make(map[string]string),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.group.Now = time.Now
	p.group.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, w := range o.witnesses {
		parsed, err := w.parse()
		if err != nil {
			return nil, err
		}
		p.group.Witnesses = append(p.group.Witnesses, parsed)
	}
	if p.quorum == 0 {
		p.quorum = len(o.witnesses)/2 + 1
	}
	return p, nil
}

// offer hands over the newest checkpoint. It does not block.
func (p *publisher) offer(msg []byte) {
	if p == nil {
		return
	}
	p.latest.Store(&msg)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *publisher) run() {
	defer close(p.done)
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		stopped := false
		select {
		case <-p.wake:
		case <-retry.C:
		case <-p.stop:
			stopped = true
		}
		msg := p.latest.Load()
		whole := true
		if msg != nil {
			whole = p.publish(*msg)
		}
		if stopped {
			return
		}
		retry.Reset(time.Hour)
		if !whole {
			retry.Reset(witnessRetry)
		}
	}
}

// end publishes the last checkpoint and ends the publisher. It does not wait
// long for others.
func (p *publisher) end() {
	if p == nil {
		return
	}
	defer time.AfterFunc(lastPublish, p.cancel).Stop()
	close(p.stop)
	<-p.done
	p.cancel()
}

// publish reports whether nothing is left to do about a checkpoint.
func (p *publisher) publish(msg []byte) bool {
	ctx, cancel := context.WithTimeout(p.ctx, witnessTimeout)
	defer cancel()
	cp, err := trail.PeekCheckpoint(msg)
	if err != nil {
		return true // nobody else signs here
	}
	whole := true
	if len(p.group.Witnesses) > 0 && cp.Size > 0 {
		msg, whole = p.cosign(ctx, cp.Size, msg)
	}
	if p.tiles == "" {
		return whole
	}
	_, err = trail.WriteTiles(p.ctx, p.dir, p.tiles, msg)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != p.bad && err != nil {
		p.logger.Error("writing the tiles of the trail", zap.String("tiles", p.tiles), zap.Error(err))
	}
	p.bad = text
	return whole && err == nil
}

// cosign asks the witnesses and keeps the checkpoint if enough have cosigned.
func (p *publisher) cosign(ctx context.Context, size int64, msg []byte) ([]byte, bool) {
	with := slices.Clone(msg)
	n := 0
	for _, r := range p.group.Ask(ctx, witness.Checkpoint{
		Note: msg, Size: size,
		Body: func(old int64) ([]byte, error) { return trail.Growth(p.dir, msg, old) },
	}) {
		p.tell(r)
		if r.Err == nil {
			with = append(with, r.Line...)
			n++
		}
	}
	if n >= p.quorum {
		if err := trail.WriteCosigned(p.dir, with); err != nil {
			p.logger.Error("keeping a cosigned checkpoint", zap.Error(err))
			return with, false
		}
		metrics.cosigned.WithLabelValues(p.path).Set(float64(size))
	}
	return with, n == len(p.group.Witnesses)
}

// tell counts what a witness said, and logs it when it is news.
func (p *publisher) tell(r witness.Result) {
	result, text := "ok", ""
	var ahead *witness.AheadError
	if r.Err != nil {
		result, text = "failed", r.Err.Error()
		if errors.As(r.Err, &ahead) || errors.Is(r.Err, witness.ErrFork) {
			result = "conflict"
		}
	}
	metrics.cosignatures.WithLabelValues(p.path, r.Name, result).Inc()
	before := p.said[r.Name]
	p.said[r.Name] = result
	if before == result {
		return
	}
	log := p.logger.With(zap.String("witness", r.Name))
	switch {
	case result == "conflict":
		log.Error("a witness refuses to cosign the trail, which is not what it has seen before", zap.String("reason", text))
	case result == "failed":
		log.Warn("a witness does not cosign; requests are served and recorded all the same", zap.String("reason", text))
	case before != "":
		log.Info("the witness cosigns again")
	}
}

// mergeWitnesses adds those of another site.
func mergeWitnesses(a, b []Witness) []Witness {
	a = slices.Clip(a)
	for _, w := range b {
		if !slices.Contains(a, w) {
			a = append(a, w)
		}
	}
	return a
}

// checkQuorum refuses a quorum that no number of witnesses can reach.
func (o trailOptions) checkQuorum() error {
	if o.quorum > len(o.witnesses) {
		return fmt.Errorf("quorum %d: there are %d witnesses", o.quorum, len(o.witnesses))
	}
	return nil
}
