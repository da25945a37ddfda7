package signatureauth

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// failed is a flag that is set from the goroutine that reads a body.
type failed struct{ atomic.Bool }

func (f *failed) note()       { f.Store(true) }
func (f *failed) noted() bool { return f.Load() }

// memories are what has been used: one for all signatures and nonces, whatever the
// options of the sites, and one for idempotency keys. A reload forgets nothing.
var memories = caddy.NewUsagePool() // *sharedMemory and *replay.Memory, by name

// sharedMemory is a memory as large as the largest that one of those who share it
// asks for.
type sharedMemory struct {
	*replay.Memory
	mu    sync.Mutex
	sizes map[*Provider]int
}

// want makes room for n entries as long as p is there.
func (s *sharedMemory) want(p *Provider, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes[p] = n
	s.resize()
}

func (s *sharedMemory) leave(p *Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sizes, p)
	s.resize()
}

// resize is called with mu held.
func (s *sharedMemory) resize() {
	largest := 0
	for _, n := range s.sizes {
		largest = max(largest, n)
	}
	if largest > 0 { // with the last, the pool drops it
		s.Resize(largest)
	}
}

func (p *Provider) openReplay() error {
	if p.Replay == ReplayOff {
		return nil
	}
	n := p.Remember
	if n == 0 {
		n = defaultRemember
	}
	shared, err := lifecycle.Share(&p.held, memories, "signatures", func() (*sharedMemory, func(), error) {
		return &sharedMemory{Memory: replay.NewMemory(n, p.now()), sizes: make(map[*Provider]int)}, func() {}, nil
	})
	if err != nil {
		return err
	}
	shared.want(p, n)
	p.held.Add(func() { shared.leave(p) })
	p.memory = shared.Memory
	// A signature that was used and forgotten where they are good for a minute
	// would be good again where they are for five, or after a reload.
	p.memory.Widen(p.span, p.now())
	p.used = p.memory
	if p.Replay == ReplayIdempotencyKey {
		p.keysUsed, err = lifecycle.Share(&p.held, memories, "idempotency keys", func() (*replay.Memory, func(), error) {
			return replay.NewMemory(rememberedKeys, p.now()), func() {}, nil
		})
		p.delivered = p.keysUsed
	}
	return err
}

// rememberedKeys is how many idempotency keys all sites remember together. It
// cannot be set: a memory of another size would be another one, and keys do not
// say when they were made, so that it could refuse those from before it.
const rememberedKeys = 2_000_000

func (p *Provider) measure(ctx caddy.Context) error {
	if p.memory != nil {
		if err := lifecycle.MeasureReplays(ctx, "signature", p.memory); err != nil {
			return err
		}
	}
	if p.keysUsed != nil {
		return lifecycle.MeasureReplays(ctx, "idempotency_key", p.keysUsed)
	}
	return nil
}

// signed is a signature that verified, of either kind.
type signed struct {
	key            *httpsig.Key
	user           string
	nonce          string
	fingerprint    [32]byte
	created, until time.Time
	covers         func(field string) bool
	cavage         bool
}

// sameSecond is for how long a signature of draft-cavage may be used again. It has
// no nonce, and its date is in seconds, so two equal requests in one second have
// the same. Two seconds, as the second request may take longer than the first.
const sameSecond = 2 * time.Second

// scopeSignature is that of signatures. The fingerprint has all in it that tells
// them apart.
const scopeSignature = "signature"

// scopeOfNonce: nonces are those of a key. Another site may have another key
// with the same id, whose owner must not use them up.
func scopeOfNonce(k *httpsig.Key) string { return "nonce\x00" + k.Thumbprint() + "\x00" + k.ID }

// scopeOfIdempotency: an event that is delivered again after the sender has
// changed its key is still the same. What is of the same name at another host
// is not, since that may be somebody else's.
func scopeOfIdempotency(r *http.Request, user string) string {
	return "idempotency-key\x00" + strings.ToLower(reqctx.TargetOf(r).Host) + "\x00" + user
}

// use notes what may be used once. It is the last of all checks, so that only
// who has a key can fill the memory.
func (p *Provider) use(r *http.Request, s *signed, now time.Time) *credential.Error {
	if p.used == nil {
		return nil
	}
	// The signature itself in every mode: a reload may change the mode, and
	// must not make good again what has been used.
	uses := []replay.Entry{{Scope: scopeSignature, Value: string(s.fingerprint[:]), Made: s.created, Until: s.until}}
	if s.cavage && p.Replay != ReplaySignature {
		uses[0].Again = sameSecond
	}
	if p.Replay == ReplayNonce {
		uses = append(uses, replay.Entry{Scope: scopeOfNonce(s.key), Value: s.nonce, Made: s.created, Until: s.until})
	}
	for _, e := range uses {
		if err := p.used.Use(r.Context(), e, now); err != nil {
			return explainUse(err, time.Minute, &credential.Error{
				Kind: credential.Bad, Code: CodeReplayed, Detail: "the signature has been used before", Cause: err,
			})
		}
	}
	if p.Replay != ReplayIdempotencyKey || repeatable(r.Method) && repeatable(reqctx.TargetOf(r).Method) {
		return nil
	}
	field := r.Header["Idempotency-Key"]
	if len(field) != 1 || field[0] == "" || !s.covers("idempotency-key") {
		return &credential.Error{
			Kind: credential.Bad, Code: CodeInvalid, Detail: httpsig.ErrRefused.Error(),
			Cause: errors.New("there is not one Idempotency-Key that the signature covers"),
		}
	}
	keep := time.Duration(p.Retention)
	if keep == 0 {
		keep = defaultRetention
	}
	e := replay.Entry{Scope: scopeOfIdempotency(r, s.user), Value: field[0], Made: now, Until: now.Add(keep)}
	if err := p.delivered.Use(r.Context(), e, now); err != nil {
		return explainUse(err, time.Minute, &credential.Error{
			Kind: credential.Conflict, Code: CodeKeyUsed, Detail: "a request with this Idempotency-Key has been accepted before", Cause: err,
		})
	}
	return nil
}

// defaultRetention is how long idempotency keys are remembered.
const defaultRetention = 24 * time.Hour

// repeatable reports whether a request with this method may be repeated anyway
// (RFC 9110 sections 9.2.1 and 9.2.2).
func repeatable(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// explainUse is what the client is told where the memory refuses: used, or that
// it cannot be known.
func explainUse(err error, again time.Duration, used *credential.Error) *credential.Error {
	switch {
	case errors.Is(err, replay.ErrReplayed), errors.Is(err, replay.ErrOlder):
		return used
	case errors.Is(err, replay.ErrFull):
		return &credential.Error{Kind: credential.Unavailable, Code: CodeFull, Detail: "the signature cannot be remembered", RetryAfter: again, Cause: err}
	}
	return &credential.Error{Kind: credential.Unavailable, Code: credential.CodeUnavailable, Detail: "it cannot be known whether the signature has been used before", Cause: err}
}
