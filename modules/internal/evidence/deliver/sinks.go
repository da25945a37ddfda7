package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Format writes one record in the form that a receiver wants, without
// newline. A nil Format leaves the line as it is in the log, so that the
// receiver can check it against the log's proofs.
type Format func(dst []byte, log string, r Record) ([]byte, error)

func (f Format) append(dst []byte, log string, r Record) ([]byte, error) {
	if f == nil || r.Missing > 0 {
		return append(dst, r.Line...), nil
	}
	return f(dst, log, r)
}

// File appends lines to a file, which other programs may rotate: it is opened
// again when its name no longer leads to it.
type File struct {
	Path   string
	Format Format

	f *os.File
}

// Send appends the batch and syncs it.
func (s *File) Send(_ context.Context, log string, batch []Record) error {
	if err := s.open(); err != nil {
		return err
	}
	var buf []byte
	for _, r := range batch {
		var err error
		if buf, err = s.Format.append(buf, log, r); err != nil {
			return err
		}
		buf = append(buf, '\n')
	}
	if err := s.write(buf); err != nil {
		// Half a line would spoil the next one.
		_ = s.Close()
		return err
	}
	return nil
}

func (s *File) write(buf []byte) error {
	end, err := s.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if n, err := s.f.Write(buf); err != nil {
		// Unless somebody else has written behind it, as the next worker
		// may have if this one was given up.
		if info, serr := s.f.Stat(); serr == nil && info.Size() == end+int64(n) {
			_ = s.f.Truncate(end)
		}
		return err
	}
	return s.f.Sync()
}

// open makes sure that s.f is the file of that name.
func (s *File) open() error {
	if s.f != nil {
		have, err1 := s.f.Stat()
		want, err2 := os.Stat(s.Path)
		if err1 == nil && err2 == nil && os.SameFile(have, want) {
			return nil
		}
		_ = s.Close()
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	// A crash in the middle of a line: end it, so that nothing is glued to
	// it. The record will be there again, whole.
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			if _, err := f.Write([]byte("\n")); err != nil {
				f.Close()
				return err
			}
		}
	}
	s.f = f
	return nil
}

// Close closes the file.
func (s *File) Close() error {
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}

// HTTP posts batches as newline-delimited JSON. Any 2xx response acknowledges
// the batch. The header fields Moat-Trail, Moat-First and Moat-Last tell which
// records a request carries, so that a receiver can leave out what it has.
type HTTP struct {
	URL    string
	Header http.Header
	Format Format
	Client *http.Client
}

// NewHTTP returns a sink for a URL of scheme http or https.
func NewHTTP(target string, header http.Header, roots *tls.Config, format Format) (*HTTP, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("not an http or https URL")
	}
	return &HTTP{
		URL: target, Header: header, Format: format,
		Client: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				TLSClientConfig:     roots,
				MaxIdleConnsPerHost: 1,
				IdleConnTimeout:     90 * time.Second,
				ForceAttemptHTTP2:   true,
			},
			// Records go where the administrator said and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Send posts the batch.
func (s *HTTP) Send(ctx context.Context, log string, batch []Record) error {
	var buf []byte
	for _, r := range batch {
		var err error
		if buf, err = s.Format.append(buf, log, r); err != nil {
			return err
		}
		buf = append(buf, '\n')
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(buf))
	if err != nil {
		return err
	}
	for name, values := range s.Header {
		req.Header[name] = values
	}
	last := batch[len(batch)-1]
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Moat-Trail", log)
	req.Header.Set("Moat-First", strconv.FormatInt(batch[0].Index, 10))
	req.Header.Set("Moat-Last", strconv.FormatInt(last.Index+max(last.Missing-1, 0), 10))
	resp, err := s.Client.Do(req)
	if err != nil {
		// The URL may hold a password or token, and the error repeats it.
		var uerr *url.Error
		if errors.As(err, &uerr) {
			err = uerr.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the receiver responded with %s", strconv.Itoa(resp.StatusCode))
	}
	return nil
}

// Close closes idle connections.
func (s *HTTP) Close() error {
	s.Client.CloseIdleConnections()
	return nil
}

// Syslog sends RFC 5424 messages over TCP or TLS (RFC 5425), framed by their
// length (RFC 6587 section 3.4.1).
//
// The protocol knows no acknowledgement: a batch counts as delivered when the
// operating system has taken it all and the receiver has not closed the
// connection. What was on its way when a connection breaks is sent again; what
// a receiver has read and lost is not. Prefer HTTP where that matters.
type Syslog struct {
	Address  string
	TLS      *tls.Config // nil: plain TCP
	Hostname string
	Format   Format

	conn net.Conn
}

// priority is facility 13 (log audit) and severity 6 (informational),
// RFC 5424 section 6.2.1.
const priority = 13*8 + 6

// Send writes the batch to the connection.
func (s *Syslog) Send(ctx context.Context, log string, batch []Record) error {
	if err := s.dial(ctx); err != nil {
		return err
	}
	var out, msg []byte
	for _, r := range batch {
		var err error
		if msg, err = s.message(msg[:0], log, r); err != nil {
			return err
		}
		out = strconv.AppendInt(out, int64(len(msg)), 10)
		out = append(append(out, ' '), msg...)
	}
	deadline, _ := ctx.Deadline()
	_ = s.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := s.conn.Write(out); err != nil {
		_ = s.Close()
		return err
	}
	return nil
}

// message writes one message, RFC 5424 section 6. The name of the trail is the
// PROCID, which section 6.2.6 has for messages that belong together. The structured
// data are of the elements that the RFC registers: origin (section 7.2) names the
// software, and the sequenceId of meta (section 7.3) is the number of the record
// plus 1. We have none of our own, which would need a private enterprise
// number.
func (s *Syslog) message(dst []byte, log string, r Record) ([]byte, error) {
	dst = fmt.Appendf(dst, "<%d>1 %s %s caddy-moat %s audit [origin software=\"caddy-moat\"][meta sequenceId=\"%d\"] ",
		priority, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), orNil(s.Hostname), orNil(procID(log)), r.Index%maxSequence+1)
	return s.Format.append(dst, log, r)
}

const (
	// maxSequence is the last sequenceId; 1 follows it.
	maxSequence = 1<<31 - 1
	maxProcID   = 128
)

// procID writes a name in the printable ASCII that a PROCID consists of.
func procID(name string) string {
	id := []byte(name)
	for i, c := range id {
		if c <= ' ' || c > '~' {
			id[i] = '_'
		}
	}
	return string(id[:min(len(id), maxProcID)])
}

func orNil(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// dial connects, or makes sure that the receiver has not gone away.
func (s *Syslog) dial(ctx context.Context) error {
	if s.conn != nil {
		if s.alive() {
			return nil
		}
		_ = s.Close()
	}
	d := net.Dialer{KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	if s.TLS != nil {
		cfg := s.TLS.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName, _, _ = net.SplitHostPort(s.Address)
		}
		tc := tls.Client(conn, cfg)
		if err := tc.HandshakeContext(ctx); err != nil {
			conn.Close()
			return err
		}
		conn = tc
	}
	s.conn = conn
	return nil
}

// alive reports whether the receiver keeps the connection open. Receivers
// send nothing, so a read either waits or tells that the end has come.
func (s *Syslog) alive() bool {
	_ = s.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := s.conn.Read(make([]byte, 1))
	var timeout net.Error
	return err == nil || errors.As(err, &timeout) && timeout.Timeout()
}

// Close closes the connection.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// Interface guards
var (
	_ Sink = (*File)(nil)
	_ Sink = (*HTTP)(nil)
	_ Sink = (*Syslog)(nil)
)
