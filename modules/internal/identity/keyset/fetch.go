package keyset

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

const (
	maxBody      = 1 << 20 // bytes of a key set or a discovery document
	maxRedirects = 3
	fetchTimeout = 10 * time.Second

	// rediscoverEvery is how often the discovery document is read again
	// even though the key set it names can be fetched.
	rediscoverEvery = 24 * time.Hour
)

// fetched is a key set as a provider gave it.
type fetched struct {
	keys    []*jwk.Key
	skipped []error
	life    time.Duration
}

// fetcher gets the key set of one source. It is used by one goroutine at a
// time.
type fetcher struct {
	source Source
	client http.Client
	own    *http.Transport // to be closed
	now    func() time.Time
	expand func(string) (string, error)
	read   func([]byte, http.Header) ([]*jwk.Key, []error, error)
	accept string

	jwksURL    string // from discovery
	discovered time.Time
}

func newFetcher(source Source, opts Options) *fetcher {
	f := &fetcher{source: source, now: opts.Now, expand: opts.Expand, read: opts.Read, accept: opts.Accept}
	if f.read == nil {
		f.read = func(doc []byte, _ http.Header) ([]*jwk.Key, []error, error) { return jwk.ParseSet(doc) }
	}
	if f.accept == "" {
		f.accept = "application/jwk-set+json, application/json"
	}
	f.client = http.Client{Transport: opts.Transport, CheckRedirect: checkRedirect, Timeout: fetchTimeout}
	if opts.Direct {
		f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirect refused") }
	}
	if opts.Transport == nil {
		f.own = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  8 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConns:           2,
			ForceAttemptHTTP2:      true,
		}
		if source.CA != "" {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM([]byte(source.CA))
			f.own.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		}
		f.client.Transport = f.own
	}
	return f
}

func (f *fetcher) close() {
	if f.own != nil {
		f.own.CloseIdleConnections()
	}
}

// checkRedirect keeps a redirect within the host the administrator named, and
// within TLS: who can answer for that host cannot hand over to another
// host that publishes the keys.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case req.URL.Host != first.Host:
		return errors.New("redirect to another host rejected")
	case req.URL.Scheme != first.Scheme && req.URL.Scheme != "https":
		return errors.New("redirect away from https rejected")
	}
	return nil
}

func (f *fetcher) fetch(ctx context.Context) (*fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	where := f.source.URL
	if where == "" {
		var err error
		if where, err = f.discover(ctx); err != nil {
			return nil, err
		}
	}
	body, header, err := f.get(ctx, where)
	if err != nil {
		f.discovered = time.Time{} // perhaps it has moved
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys, skipped, err := f.read(body, header)
	if err != nil {
		f.discovered = time.Time{}
		return nil, err
	}
	return &fetched{keys: keys, skipped: skipped, life: life(header)}, nil
}

// discover returns the address of the issuer's key set.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	if f.jwksURL != "" && f.now().Sub(f.discovered) < rediscoverEvery {
		return f.jwksURL, nil
	}
	urls, err := discoveryURLs(f.source.Issuer)
	if err != nil {
		return "", err
	}
	var body []byte
	for _, u := range urls {
		if body, _, err = f.get(ctx, u); err == nil {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("discovery: %w", err)
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", errors.New("discovery: the document is not JSON as RFC 8414 has it")
	}
	// OpenID Connect Discovery section 4.3, RFC 8414 section 3.3: exactly
	// the same, or another issuer could pass off its keys as this one's.
	if doc.Issuer != f.source.Issuer {
		return "", fmt.Errorf("discovery: the document is of the issuer %s, and %q is configured: write it exactly so, up to the slash at its end",
			shown(doc.Issuer), f.source.Issuer)
	}
	if err := CheckDiscovered(f.source.Issuer, doc.JWKSURI); err != nil {
		return "", fmt.Errorf("discovery: jwks_uri: %w", err)
	}
	f.jwksURL, f.discovered = doc.JWKSURI, f.now()
	return f.jwksURL, nil
}

// shown quotes a name that somebody else has chosen, and cuts it.
func shown(name string) string {
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "") + "…"
	}
	return strconv.Quote(name)
}

func (f *fetcher) get(ctx context.Context, where string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, nil, errors.New("not a URL")
	}
	req.Header.Set("Accept", f.accept)
	req.Header.Set("User-Agent", "caddy-moat")
	if err := f.addHeader(req); err != nil {
		return nil, nil, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, &statusError{req.URL.Redacted(), resp.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxBody {
		return nil, nil, fmt.Errorf("the response of %s is larger than %d bytes", req.URL.Redacted(), maxBody)
	}
	return body, resp.Header, nil
}

// statusError is a response that has no key set in it.
type statusError struct {
	url  string
	code int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s responds with status %d", e.url, e.code) }

// addHeader adds the fields that the administrator has written, unless another
// host is asked: a discovery document may name any, and they hold credentials.
func (f *fetcher) addHeader(req *http.Request) error {
	if f.source.Header == "" || req.URL.Host != f.source.host() {
		return nil
	}
	for line := range strings.Lines(f.source.Header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if f.expand != nil {
			var err error
			if value, err = f.expand(value); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		}
		req.Header.Set(name, strings.TrimSpace(value))
	}
	return nil
}

// life is how long a response says it may be used, RFC 9111 section 4.2,
// within our bounds.
func life(h http.Header) time.Duration {
	d := defaultLife
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return minLife
			case "max-age":
				n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 64)
				switch {
				case errors.Is(err, strconv.ErrRange) || err == nil && n > uint64(maxLife/time.Second):
					d = maxLife
				case err == nil:
					d = time.Duration(n) * time.Second
				}
			}
		}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		d -= time.Duration(age) * time.Second
	}
	return min(max(d, minLife), maxLife)
}

// CheckDiscovered checks the address that a discovery document names. The
// document is trusted to name any host, but not to leave TLS: plain http is
// for this machine, or for the very host that the administrator wrote with
// http himself.
func CheckDiscovered(issuer, where string) error {
	u, err := url.Parse(where)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("not a URL of a key set")
	}
	if u.Scheme == "https" {
		return nil
	}
	i, err := url.Parse(issuer)
	if err != nil || u.Scheme != "http" || i.Scheme != "http" {
		return errors.New("https is needed")
	}
	if u.Host != i.Host && !loopback(u.Hostname()) {
		return errors.New("https is needed on another host than the issuer's")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
