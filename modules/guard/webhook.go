package guard

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Webhook is where alarms are sent, signed as Standard Webhooks.
type Webhook struct {
	// The URL, https but for this machine. No placeholders.
	URL string `json:"url"`

	// The secret: whsec_ and Base64 of 24 to 64 bytes. Placeholders such as {env.X} are expanded
	// when the configuration is loaded.
	Secret string `json:"secret"`
}

const secretPrefix = "whsec_"

// check returns what is wrong with the URL.
func (w *Webhook) check() error {
	u, err := url.Parse(w.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("webhook takes a URL and a secret: webhook https://alarms.example.com/moat {env.ALARM_SECRET}")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return errors.New("webhook over http would show alarms to the network: write https")
	}
	if w.Secret == "" {
		return errors.New("webhook needs a secret, so that the receiver knows whose alarms they are: webhook https://alarms.example.com/moat {env.ALARM_SECRET}")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// key returns the bytes of the secret.
func (w *Webhook) key() ([]byte, error) {
	text, err := option.Resolve(Name, "webhook", w.Secret)
	if err != nil {
		return nil, err
	}
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("webhook: the secret must be whsec_ and Base64 of 24 to 64 bytes, as `echo whsec_$(openssl rand -base64 32)` makes one")
	}
	return key, nil
}

// senders are the webhooks in use. They outlive a configuration, so that what waits is sent.
var senders = caddy.NewUsagePool()

// Limits of what is sent.
const (
	maxMessages   = 256              // that wait
	maxPerMinute  = 60               // more are counted, and the next that is sent says how many
	quietFor      = time.Minute      // about the same rule, subject and action
	attemptLength = 10 * time.Second // of one attempt
)

// pauses are how long to wait before the second attempt, and so on.
var pauses = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute}

// sender sends alarms to one URL, one after the other.
type sender struct {
	url    string
	key    []byte
	client *http.Client
	pauses []time.Duration
	queue  chan event
	ctx    context.Context //nolint:containedctx // of the worker
	cancel context.CancelFunc
	quit   chan struct{}
	done   chan struct{}
	logger *zap.Logger

	// Of the worker alone.
	told    map[string]time.Time // what was sent last about whom
	minute  time.Time
	sent    int
	omitted int
}

// openSender returns the sender of a webhook.
func openSender(held *lifecycle.Held, w Webhook) (*sender, error) {
	key, err := w.key()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(key)
	return lifecycle.Share(held, senders, fmt.Sprintf("%s\n%x", w.URL, sum), func() (*sender, func(), error) {
		s := newSender(w.URL, key, pauses)
		go s.run()
		return s, s.close, nil
	})
}

func newSender(to string, key []byte, pauses []time.Duration) *sender {
	s := &sender{
		url: to, key: key, pauses: pauses, queue: make(chan event, maxMessages), quit: make(chan struct{}), done: make(chan struct{}),
		logger: caddy.Log().Named("http.handlers." + Name), told: make(map[string]time.Time),
		client: &http.Client{
			Timeout:       attemptLength,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// emit queues an alarm, unless too many wait.
func (s *sender) emit(e event) {
	select {
	case s.queue <- e:
	default:
		s.logger.Warn("an alarm was not sent, since too many wait", zap.String("webhook", s.url))
	}
}

// close ends the worker, once what is queued is sent if that takes no longer than closeWait.
func (s *sender) close() {
	close(s.quit)
	select {
	case <-s.done:
	case <-time.After(closeWait):
	}
	s.cancel()
	<-s.done
	s.client.CloseIdleConnections()
}

func (s *sender) run() {
	defer close(s.done)
	for {
		select {
		case e := <-s.queue:
			s.send(e)
			continue
		case <-s.quit:
		}
		// The queue is not closed: requests that are still served may have alarms.
		for {
			select {
			case e := <-s.queue:
				s.send(e)
				continue
			default:
			}
			return
		}
	}
}

func (s *sender) send(e event) {
	if !s.due(e, time.Now()) {
		return
	}
	if err := s.deliver(e); err != nil {
		s.logger.Warn("an alarm could not be sent", zap.String("webhook", s.url), zap.Error(err))
	}
}

// due reports whether an alarm is sent: not the same twice, and not too many.
func (s *sender) due(e event, now time.Time) bool {
	what := fmt.Sprint(e.name, "\n", e.data["rule"], "\n", e.data["who"])
	if last, ok := s.told[what]; ok && now.Sub(last) < quietFor {
		return false
	}
	if now.Sub(s.minute) >= time.Minute {
		s.minute, s.sent = now, 0
	}
	if s.sent++; s.sent > maxPerMinute {
		s.omitted++
		return false
	}
	for k, at := range s.told {
		if now.Sub(at) >= quietFor {
			delete(s.told, k)
		}
	}
	s.told[what] = now
	return true
}

// deliver sends an alarm, several times if it has to.
func (s *sender) deliver(e event) error {
	now := time.Now()
	body, err := json.Marshal(map[string]any{
		"type": "guard." + strings.TrimPrefix(e.name, "moat_"), "timestamp": now.UTC().Format(time.RFC3339Nano), "data": e.data, "omitted": s.omitted,
	})
	if err != nil {
		return err
	}
	id := "msg_" + rand.Text()
	for i := 0; ; i++ {
		if err = s.attempt(id, body); err == nil {
			s.omitted = 0
			return nil
		}
		if i >= len(s.pauses) {
			return err
		}
		select {
		case <-time.After(s.pauses[i]):
		case <-s.ctx.Done():
			return err
		}
	}
}

// attempt sends a message once, signed by the Standard Webhooks specification 1.0.0.
func (s *sender) attempt(id string, body []byte) error {
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(signature(s.key, id, at, body)))
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// signature is that of a message: HMAC-SHA-256 over its ID, the time and the body.
func signature(key []byte, id, at string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+at+".")
	_, _ = mac.Write(body)
	return mac.Sum(nil)
}
