package audit

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/deliver"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/export"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Values of Delivery.Sink.
const (
	SinkFile   = "file"
	SinkHTTP   = "http"
	SinkSyslog = "syslog"
)

// Delivery says where the records of a trail go besides the trail: at least
// once, in order, and without holding up any request. What has been delivered
// is kept in a file beside the trail, so that a restart goes on where it
// stopped.
type Delivery struct {
	// file, http or syslog.
	Sink string `json:"sink"`

	// The file's path, the URL to post to, or the address of the syslog
	// receiver. Global placeholders such as {env.X} are resolved at load.
	Target string `json:"target"`

	// tcp or tls, of syslog.
	Network string `json:"network,omitempty"`

	// Names the delivery in metrics and its cursor's file.
	// Default: the sink and the host or file name
	Name string `json:"name,omitempty"`

	// moat (the lines as they are in the trail), ocsf, ecs or cef.
	// Default: moat
	Format string `json:"format,omitempty"`

	// How many records are sent at once at most. Default: 500
	Batch int `json:"batch,omitempty"`

	// How long one attempt may take. Default: 30s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Header fields of the HTTP requests. Global placeholders in the values
	// are resolved at load.
	Headers map[string]string `json:"headers,omitempty"`

	// A PEM file of the certificate authorities to trust, instead of the
	// system's.
	CA string `json:"ca,omitempty"`

	// Where a new delivery begins: start (all that the trail still has) or
	// now. Default: start
	From string `json:"from,omitempty"`
}

// prepare checks the delivery and fills in its name.
func (d *Delivery) prepare() error {
	switch d.Sink {
	case SinkFile, SinkHTTP, SinkSyslog:
	default:
		return fmt.Errorf("unknown sink %q: must be file, http or syslog", d.Sink)
	}
	target, err := option.Resolve("audit", "deliver "+d.Sink, d.Target)
	if err != nil {
		return err
	}
	dest := filepath.Base(target)
	switch d.Sink {
	case SinkHTTP:
		u, err := url.Parse(target)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return errors.New("the target is not an http or https URL")
		}
		dest = u.Host
	case SinkSyslog:
		if d.Network != "tcp" && d.Network != "tls" {
			return fmt.Errorf("network %q: must be tcp or tls", d.Network)
		}
		if _, _, err := net.SplitHostPort(target); err != nil {
			return errors.New("the target is not a host:port")
		}
		dest = target
	}
	if len(d.Headers) > 0 && d.Sink != SinkHTTP {
		return errors.New("header is for deliver http")
	}
	if d.CA != "" && (d.Sink == SinkFile || d.Sink == SinkSyslog && d.Network == "tcp") {
		return errors.New("ca is for connections over TLS")
	}
	if err := cmp.Or(
		option.CheckWord("format", d.Format, deliveryFormats...), option.CheckWord("from", d.From, froms...),
		records.Check("batch", d.Batch), durations.Check("timeout", d.Timeout),
	); err != nil {
		return err
	}
	if d.Name == "" {
		d.Name = d.Sink + "-" + dest
	}
	d.Name = storageSafe(d.Name)
	return nil
}

// equal reports whether two deliveries of one name are the same.
func (d Delivery) equal(e Delivery) bool {
	headers := maps.Equal(d.Headers, e.Headers)
	d.Headers, e.Headers = nil, nil
	return headers && fmt.Sprint(d) == fmt.Sprint(e)
}

// sink makes the sink.
func (d *Delivery) sink() (deliver.Sink, error) {
	target, err := option.Resolve("audit", "deliver "+d.Sink, d.Target)
	if err != nil {
		return nil, err
	}
	var format deliver.Format
	if d.Format != "" && d.Format != "moat" {
		convert, err := export.Format(d.Format)
		if err != nil {
			return nil, err
		}
		format = func(dst []byte, log string, r deliver.Record) ([]byte, error) {
			return convert(dst, log, r.Index, r.Line)
		}
	}
	var roots *tls.Config
	if d.CA != "" {
		pem, err := os.ReadFile(d.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca %s: no certificate in it", d.CA)
		}
		roots = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	switch d.Sink {
	case SinkHTTP:
		header := make(http.Header)
		for name, value := range d.Headers {
			v, err := option.Resolve("audit", "deliver http header "+name, value)
			if err != nil {
				return nil, err
			}
			header.Set(name, v)
		}
		return deliver.NewHTTP(target, header, roots, format)
	case SinkSyslog:
		s := &deliver.Syslog{Address: target, Format: format}
		s.Hostname, _ = os.Hostname()
		if d.Network == "tls" {
			if s.TLS = roots; roots == nil {
				s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			}
		}
		return s, nil
	}
	return &deliver.File{Path: target, Format: format}, nil
}

// workers are the deliveries of one trail that are under way.
type workers struct {
	list map[string]*deliver.Worker
}

func (c *workers) stop() error {
	if c == nil {
		return nil
	}
	// All at once: each may have to be waited for.
	errs := make(chan error, len(c.list))
	for _, worker := range c.list {
		go func() { errs <- worker.Stop() }()
	}
	var all []error
	for range c.list {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// deliver begins the deliveries of a configuration and ends those of the one
// before. Callers hold mu.
func (s *store) deliver(o trailOptions) error {
	// All sinks are made before any old one is stopped: a mistake leaves
	// the running deliveries alone.
	sinks := make([]deliver.Sink, len(o.deliver))
	for i := range o.deliver {
		sink, err := o.deliver[i].sink()
		if err != nil {
			return fmt.Errorf("deliver %s: %w", o.deliver[i].Name, err)
		}
		sinks[i] = sink
	}
	// A cursor belongs to one worker at a time, except where one hangs.
	if err := s.workers.stop(); err != nil {
		s.logger.Warn("ending a delivery", zap.Error(err))
	}
	s.workers = nil
	if len(sinks) == 0 {
		return nil
	}
	c := &workers{list: make(map[string]*deliver.Worker)}
	for i, d := range o.deliver {
		worker, err := deliver.Start(&source{trail: s.trail.Load()}, sinks[i], deliver.Options{
			Cursor:   filepath.Join(s.path+".delivery", d.Name+".cursor"),
			FromNow:  d.From == "now",
			Batch:    d.Batch,
			Timeout:  time.Duration(d.Timeout),
			Observer: s.observer(d.Name),
		})
		if err != nil {
			_ = c.stop()
			return fmt.Errorf("deliver %s: %w", d.Name, err)
		}
		c.list[d.Name] = worker
	}
	s.workers = c
	return nil
}

// observer counts and logs what happens to one delivery.
func (s *store) observer(name string) deliver.Observer {
	logger := s.logger.With(zap.String("delivery", name))
	return deliver.Observer{
		Sent: func(n int) { metrics.sent.WithLabelValues(s.path, name).Add(float64(n)) },
		Failed: func(err error, attempts int) {
			metrics.retries.WithLabelValues(s.path, name).Inc()
			// The first failure and then ever fewer: a sink may be down
			// for days.
			if attempts&(attempts-1) == 0 {
				logger.Warn("delivery failed and will be tried again", zap.Error(err), zap.Int("attempts", attempts))
			}
		},
		Gap: func(from, missing int64) {
			logger.Error("records were removed from the trail before they could be delivered",
				zap.Int64("first", from), zap.Int64("missing", missing))
		},
	}
}

// lags calls f with the lag of each delivery.
func (s *store) lags(f func(sink string, lag int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers == nil {
		return
	}
	for name, c := range s.workers.list {
		f(name, c.Lag())
	}
}

// source lets a worker read a trail.
type source struct {
	trail *trail.Trail
	at    trail.Cursor // where the last batch ended
}

func (s *source) Name() string { return s.trail.Origin() }

func (s *source) Size() int64 {
	n, _ := s.trail.Size()
	return n
}

// Read reads durable records only: what a crash can take back must not have
// been delivered.
func (s *source) Read(ctx context.Context, index int64, limit int, f func(deliver.Record) error) error {
	from := s.at
	if from.Index != index {
		from, _ = trail.ParseCursor(fmt.Sprint(index))
	}
	if index >= s.Size() {
		return nil
	}
	n := 0
	var stop error
	_, err := trail.Scan(ctx, s.trail.Dir(), trail.ScanOptions{
		From:  from,
		Limit: s.Size,
		Gap: func(first, to int64) error {
			stop = f(deliver.Record{Index: first, Missing: to - first})
			return stop
		},
	}, func(r trail.Record) error {
		if n == limit {
			return trail.ErrStop
		}
		n++
		s.at = r.Next
		stop = f(deliver.Record{Index: r.Index, Line: r.Line})
		return stop
	})
	if stop != nil {
		return stop
	}
	return err
}
