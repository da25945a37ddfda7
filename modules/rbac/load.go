package rbac

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
	"github.com/caddy-moat/caddy-moat/modules/internal/policy"
)

// loaded is a policy in force.
type loaded struct {
	policy *policy.Policy
	doc    *policy.Document
	digest string
}

// load reads the policy file, if there is one, and compiles it with what is
// written in the configuration.
func (h *Handler) load() (*loaded, error) {
	if h.PolicyFile == "" {
		return compile(&h.Document)
	}
	content, err := readFile(h.PolicyFile)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	h.seen = sha256.Sum256(content)
	return h.merge(content)
}

// merge compiles the content of the policy file with what is written in the
// configuration.
func (h *Handler) merge(content []byte) (*loaded, error) {
	fromFile, err := policy.ReadFile(h.PolicyFile, content)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	doc, err := policy.Merge(&h.Document, fromFile)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	l, err := compile(doc)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return l, nil
}

func compile(doc *policy.Document) (*loaded, error) {
	p, err := policy.Compile(doc)
	if err != nil {
		return nil, err
	}
	return &loaded{policy: p, doc: doc, digest: doc.Digest()}, nil
}

// readFile reads a file that is not too large.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, policy.MaxFile+1))
}

// reload is called when the policy file may have changed. A fault is said
// once, not whenever the file is looked at.
func (h *Handler) reload() {
	h.reloading.Lock()
	defer h.reloading.Unlock()
	content, err := readFile(h.PolicyFile)
	if err != nil {
		h.seen = [sha256.Size]byte{}
		h.refuse(fmt.Errorf("policy: %w", err))
		return
	}
	sum := sha256.Sum256(content)
	if sum == h.seen {
		return
	}
	h.seen = sum
	now, err := h.merge(content)
	if err != nil {
		h.refuse(err)
		return
	}
	h.fault = ""
	if now.digest != h.active.Load().digest {
		h.activate(now, h.active.Load())
	}
}

// refuse keeps the policy in force and says why. Callers hold reloading.
func (h *Handler) refuse(err error) {
	text := err.Error()
	if text == h.fault {
		return
	}
	h.fault = text
	digest := h.active.Load().digest
	h.logger.Error("policy refused; the one before it stays in force", zap.String("file", h.PolicyFile), zap.Error(err))
	h.changes(adapter.Change{Layer: layer, What: "policy refused", Source: h.PolicyFile, Old: digest, New: digest, Detail: text})
}

// activate puts a policy in force, in the place of before, and says what that
// changes. Without before, it is the first of its kind.
func (h *Handler) activate(now, before *loaded) {
	h.active.Store(now)
	for _, w := range now.policy.Warnings() {
		h.logger.Warn("policy: " + w)
	}
	change := adapter.Change{Layer: layer, What: "policy loaded", Source: h.PolicyFile, New: now.digest}
	if before != nil {
		if before.digest == now.digest {
			return
		}
		change.Old = before.digest
		change.Detail = strings.Join(policy.Diff(before.doc, now.doc), "\n")
	}
	h.logger.Info("policy loaded", zap.String("file", h.PolicyFile), zap.Int("rules", len(now.policy.Rules())),
		zap.String("digest", now.digest), zap.String("difference", change.Detail))
	h.changes(change)
}

// live are the handlers of all configurations that are loaded: of the one
// that runs, and of the one that is about to take its place.
var live = struct {
	sync.Mutex
	handlers map[*Handler]bool
}{handlers: make(map[*Handler]bool)}

// enlist makes h known to the handlers of the next configuration.
func (h *Handler) enlist() {
	live.Lock()
	defer live.Unlock()
	live.handlers[h] = true
}

// forget ends that.
func (h *Handler) forget() {
	live.Lock()
	defer live.Unlock()
	delete(live.handlers, h)
}

// predecessor returns the policy of the running configuration that now takes
// the place of: of those that use the same policy file, the one that says the
// most of the same. Nothing else relates the handlers of two configurations.
func (h *Handler) predecessor(now *loaded) *loaded {
	live.Lock()
	defer live.Unlock()
	var best *loaded
	most := 0
	for o := range live.handlers {
		old := o.active.Load()
		if o == h || old == nil || o.PolicyFile != h.PolicyFile || o.config == h.config {
			continue
		}
		if old.digest == now.digest {
			return old
		}
		if n := policy.Common(old.doc, now.doc); n > most || best == nil && h.PolicyFile != "" {
			best, most = old, n
		}
	}
	return best
}
