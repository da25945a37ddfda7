package rbac

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
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
		h.activate(now)
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

// activate puts a policy in force and says what it changes.
func (h *Handler) activate(now *loaded) {
	before := h.active.Swap(now)
	if before == nil {
		before = h.recall()
	}
	h.remember(now)
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

// last keeps the policy that was last made of each policy file, so that a
// reload of the configuration can say what it changed in the policy.
var last = caddy.NewUsagePool()

// memory is an entry of last.
type memory struct {
	mu     sync.Mutex
	policy *loaded
}

// Destruct implements caddy.Destructor.
func (*memory) Destruct() error { return nil }

// recall returns the policy that a handler of the running configuration made
// of the same file, or nil.
func (h *Handler) recall() *loaded {
	m := h.memorize()
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.policy
}

func (h *Handler) remember(now *loaded) {
	if h.memory == nil {
		return
	}
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	h.memory.policy = now
}

func (h *Handler) memorize() *memory {
	if h.PolicyFile == "" {
		return nil
	}
	key, err := filepath.Abs(h.PolicyFile)
	if err != nil {
		key = h.PolicyFile
	}
	v, _ := last.LoadOrStore(key, new(memory))
	h.memory, h.memoryKey = v.(*memory), key
	return h.memory
}

// forget gives up the handler's hold on its memory.
func (h *Handler) forget() {
	if h.memory != nil {
		_, _ = last.Delete(h.memoryKey)
		h.memory = nil
	}
}
