// Package introspection resolves opaque OAuth 2.0 tokens by asking the server
// that has issued them: RFC 7662.
package introspection

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

const (
	maxBody     = 1 << 20
	maxToken    = 16 << 10
	askTimeout  = 5 * time.Second
	maxAsking   = 64 // requests at the same time
	maxInactive = 10 * time.Second
)

// Errors of Resolve. The text behind them is for the log.
var (
	// ErrInactive says that the server does not know the token, or not any longer.
	ErrInactive = errors.New("the token is not active")

	// ErrRejected says that the token is active and not accepted here.
	ErrRejected = errors.New("the token is not accepted here")
)

// ErrUnavailable says that nobody can tell, since the server does not respond
// as it should.
var ErrUnavailable = errors.New("the introspection endpoint is unavailable")

// Options configure a Client.
type Options struct {
	// Endpoint is asked, with ClientID and ClientSecret as HTTP Basic
	// credentials (RFC 6749 section 2.3.1).
	Endpoint, ClientID, ClientSecret string

	// Cache is how long a response is used again at most. An active token is
	// never used after its exp. 0 asks each time.
	Cache time.Duration

	// Entries is how many responses are remembered. Default: 10000
	Entries int

	// Rules are what an active token must fulfil.
	Rules Rules

	Transport http.RoundTripper // default: one with timeouts
	Now       func() time.Time  // default: time.Now

	// Report is told what the administrator should know, once for as long
	// as it stays so.
	Report func(message string, err error)
}

// Client resolves tokens. It may be used by many goroutines at once.
type Client struct {
	opts   Options
	client http.Client
	own    *http.Transport
	flight singleflight.Group
	slots  chan struct{}
	active *cache
	others *cache // inactive ones, apart: they cannot push active ones out

	mu     sync.Mutex
	failed bool
	stats  Stats
}

// Stats are counts for metrics.
type Stats struct {
	Hits, Asked, Failures uint64
}

// New returns a Client.
func New(o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Report == nil {
		o.Report = func(string, error) {}
	}
	if o.Entries == 0 {
		o.Entries = 10_000
	}
	c := &Client{opts: o, slots: make(chan struct{}, maxAsking), active: newCache(o.Entries), others: newCache(o.Entries/10 + 1)}
	c.client = http.Client{
		Transport: o.Transport, Timeout: askTimeout,
		// The request holds a token and a secret. They go nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirect rejected") },
	}
	if o.Transport == nil {
		c.own = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout:    3 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost:    maxAsking,
			IdleConnTimeout:        90 * time.Second,
			ForceAttemptHTTP2:      true,
		}
		c.client.Transport = c.own
	}
	return c
}

// Close closes idle connections.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Token is a resolved token. It is immutable.
type Token struct {
	Principal *principal.Principal
	Named     string    // the iss of the response, which nobody has compared
	IssuedAt  time.Time // zero if the server does not say
	Expires   time.Time // zero if the server does not say

	// Confirmation says which client the token is bound to (RFC 8705 section
	// 3.2, RFC 9449 section 6.2). It is nil for a token that is bound to none.
	Confirmation *token.Confirmation
}

// response is what the cache keeps of a response: a token, or the error.
type response struct {
	token *Token
	err   error
	until time.Time
}

// Resolve returns the token that raw is. The error wraps ErrInactive,
// ErrRejected or ErrUnavailable.
func (c *Client) Resolve(ctx context.Context, raw string) (*Token, error) {
	if raw == "" || len(raw) > maxToken {
		return nil, ErrInactive
	}
	key := sha256.Sum256([]byte(raw)) // tokens are not kept in memory
	now := c.opts.Now()
	for _, store := range []*cache{c.active, c.others} {
		if a := store.get(key, now); a != nil {
			c.count(func(s *Stats) { s.Hits++ })
			return a.token, a.err
		}
	}
	// One request for a token at a time, whoever is waiting.
	result := c.flight.DoChan(string(key[:]), func() (any, error) {
		// The request that asked first may end before the response comes.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		return c.ask(ctx, raw, key), nil
	})
	select {
	case r := <-result:
		a := r.Val.(*response)
		return a.token, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// ask asks the server and remembers the response.
func (c *Client) ask(ctx context.Context, raw string, key [32]byte) *response {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return &response{err: fmt.Errorf("%w: too many requests at once", ErrUnavailable)}
	}
	body, err := c.post(ctx, raw)
	now := c.opts.Now()
	var t *Token
	if err == nil {
		t, err = c.opts.Rules.read(body, now)
	}
	c.note(err)
	a := &response{token: t, err: err}
	switch {
	case c.opts.Cache <= 0 || errors.Is(err, ErrUnavailable):
	case err != nil:
		a.until = now.Add(min(c.opts.Cache, maxInactive))
		c.others.put(key, a, now)
	default:
		a.until = now.Add(c.opts.Cache)
		if !t.Expires.IsZero() && t.Expires.Before(a.until) {
			a.until = t.Expires
		}
		c.active.put(key, a, now)
	}
	return a
}

// note counts, and reports when the server goes and when it comes back.
func (c *Client) note(err error) {
	failed := errors.Is(err, ErrUnavailable)
	c.mu.Lock()
	c.stats.Asked++
	if failed {
		c.stats.Failures++
	}
	before := c.failed
	c.failed = failed
	c.mu.Unlock()
	switch {
	case failed && !before:
		c.opts.Report("introspection endpoint does not respond", err)
	case !failed && before:
		c.opts.Report("introspection endpoint responds again", nil)
	}
}

func (c *Client) count(f func(*Stats)) {
	c.mu.Lock()
	f(&c.stats)
	c.mu.Unlock()
}

// Stats returns counts since the Client was made.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// post asks the server, RFC 7662 section 2.1.
func (c *Client) post(ctx context.Context, raw string) ([]byte, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opts.Endpoint, strings.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", ErrUnavailable)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-moat")
	// RFC 6749 section 2.3.1: both are form-encoded first.
	basic := url.QueryEscape(c.opts.ClientID) + ":" + url.QueryEscape(c.opts.ClientSecret)
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(basic)))
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("%w: its response is larger than %d bytes", ErrUnavailable, maxBody)
	case resp.StatusCode == http.StatusOK:
		return body, nil
	case resp.StatusCode == http.StatusBadRequest && aboutToken(body):
		return nil, fmt.Errorf("%w: the endpoint rejects it as malformed", ErrInactive)
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		// Our own credentials, not the token (RFC 7662 section 2.3).
		return nil, fmt.Errorf("%w: it responds with status %d: check client_id and client_secret", ErrUnavailable, resp.StatusCode)
	}
	return nil, fmt.Errorf("%w: it responds with status %d", ErrUnavailable, resp.StatusCode)
}

// aboutToken reports whether an error response (RFC 6749 section 5.2) is about
// the token that was asked about. Some servers respond so where RFC 7662 section
// 2.2 has "active": false; an outage it is not, and anybody can send such a
// token.
func aboutToken(body []byte) bool {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return false
	}
	switch e.Error {
	case "unsupported_token_type", "invalid_token", "invalid_request", "invalid_grant":
		return true
	}
	return false
}

// Requirement is a claim that a token must have.
type Requirement = token.Requirement
