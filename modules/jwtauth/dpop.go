package jwtauth

import (
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const (
	// proofAge is how long a proof is accepted. Each is remembered that long.
	proofAge = 60 * time.Second

	// maxProofs is how many proofs are remembered within that time, some
	// 30 bytes each. When there are more, requests are refused.
	maxProofs = 500_000

	// noncePeriod is how long a nonce is given out; it is accepted for as
	// long again.
	noncePeriod = 5 * time.Minute
)

// Codes of RFC 9449 sections 7.1 and 9.
const (
	codeProof = "invalid_dpop_proof"
	codeNonce = "use_dpop_nonce"
)

// proofs is what all checkers of the process share: a proof that was used at
// one site is used, and a reload forgets none.
type proofs struct {
	used   *replay.Memory
	nonces *dpop.Nonces
}

var proofPool = caddy.NewUsagePool() // there is one

// openDPoP prepares the checks of proofs.
func (p *Provider) openDPoP(ctx caddy.Context, leeway time.Duration) error {
	shared, err := lifecycle.Share(&p.held, proofPool, "dpop", func() (*proofs, func(), error) {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, nil, err
		}
		nonces, err := dpop.NewNonces(key, noncePeriod)
		if err != nil {
			return nil, nil, err
		}
		return &proofs{replay.NewMemory(maxProofs, p.now()), nonces}, func() {}, nil
	})
	if err != nil {
		return err
	}
	shared.used.Widen(proofAge+leeway, p.now())
	p.proofs = &dpop.Checker{MaxAge: proofAge, Leeway: leeway, Used: shared.used}
	if p.DPoPNonce {
		p.proofs.Nonces = shared.nonces
	}
	p.nonces = shared.nonces
	return lifecycle.MeasureReplays(ctx, "dpop", shared.used)
}

// checkProof checks that the request proves possession of the key that the
// token is bound to.
func (p *Provider) checkProof(r *http.Request, raw, thumbprint string) error {
	fields := r.Header["Dpop"]
	if len(fields) != 1 { // RFC 9449 section 4.3, number 1
		return badProof("one proof is needed", nil)
	}
	now := p.now()
	target := reqctx.TargetOf(r)
	err := p.proofs.Check(r.Context(), fields[0], dpop.Request{
		Method: target.Method, URL: address(target), Token: raw, Thumbprint: thumbprint,
	}, now)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dpop.ErrNonce):
		return &credential.Error{
			Kind: credential.Bad, Code: codeNonce, Detail: "the proof needs a nonce of this server",
			Header: http.Header{"Dpop-Nonce": {p.nonces.Current(now)}},
		}
	}
	var why *dpop.Error
	if errors.As(err, &why) {
		return badProof("the proof is not accepted", errors.New(why.Reason))
	}
	// What cannot be remembered could be used again and again.
	return &credential.Error{
		Kind: credential.Unavailable, Code: "too_many_proofs", Detail: "the proof cannot be remembered",
		RetryAfter: proofAge, Cause: err,
	}
}

func badProof(detail string, cause error) error {
	return &credential.Error{Kind: credential.Bad, Code: codeProof, Detail: detail, Cause: cause}
}

// address returns the address that the client has asked for, without its
// query.
func address(t reqctx.Target) string {
	return t.Scheme + "://" + t.Host + t.URL.EscapedPath()
}
