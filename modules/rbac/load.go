package rbac

import (
	"fmt"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// loaded is a policy in force.
type loaded struct {
	policy *policy.Policy
	doc    *policy.Document
	digest string
	front  front // what stands before the handler, for commands
}

// policyFiles are the gauges of policy files.
var policyFiles = watched.Metrics{
	Unusable: prometheus.NewDesc("caddy_moat_policy_file_unusable", watched.UnusableHelp, []string{"policy"}, nil),
}

// policyFile is a policy file, which is watched, with what is written in the
// configuration.
type policyFile struct{ *filewatch.Kept[loaded] }

// Len returns the number of rules in force.
func (f policyFile) Len() int { return len(f.Value().policy.Rules()) }

// load reads the policy once, for commands.
func (h *Handler) load() (*loaded, error) {
	if h.PolicyFile == "" {
		return compile(&h.Document)
	}
	content, err := filewatch.Read(h.PolicyFile, policy.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	l, err := h.merge(content)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return l, nil
}

// open puts the policy in force and begins to watch its file, if there is one.
func (h *Handler) open(ctx caddy.Context) error {
	if h.PolicyFile == "" {
		now, err := compile(&h.Document)
		if err == nil {
			h.activate(now, h.predecessor(now))
		}
		return err
	}
	// The file may change before the policy is in force.
	h.reloading.Lock()
	defer h.reloading.Unlock()
	kept, err := filewatch.Keep(h.PolicyFile, policy.MaxFile, h.merge, h.reload)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	h.file = kept
	h.activate(kept.Value(), h.predecessor(kept.Value()))
	return policyFiles.Add(ctx, h.PolicyFile, policyFile{kept})
}

// merge compiles the content of the policy file with what is written in the
// configuration.
func (h *Handler) merge(content []byte) (*loaded, error) {
	fromFile, err := policy.ReadFile(h.PolicyFile, content)
	if err != nil {
		return nil, err
	}
	doc, err := policy.Merge(&h.Document, fromFile)
	if err != nil {
		return nil, err
	}
	l, err := compile(doc)
	if err != nil {
		return nil, err
	}
	if sources := h.sources.Load(); sources != nil {
		// What may not be loaded may not be reloaded either.
		if place, err := principal.CheckNaming(l.policy, *sources); err != nil {
			return nil, &policy.Error{Place: place, Err: err}
		}
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

// reload is called when the file has changed, or cannot be used.
func (h *Handler) reload(_, now *loaded, err error) {
	h.reloading.Lock()
	defer h.reloading.Unlock()
	before := h.active.Load()
	switch {
	case err != nil:
		h.refuse(fmt.Errorf("policy: %w", err))
	case now.digest != before.digest:
		h.activate(now, before)
	}
}

// refuse keeps the policy in force and says why. Callers hold reloading.
func (h *Handler) refuse(err error) {
	digest := h.active.Load().digest
	h.logger.Error("policy refused; the one before it stays in force", zap.String("file", h.PolicyFile), zap.Error(err))
	h.changes(lifecycle.Change{Layer: layer, What: "policy refused", Source: h.PolicyFile, Old: digest, New: digest, Detail: err.Error()})
}

// activate puts a policy in force, in place of the one before, and says what that
// changes. Without before, it is the first of its kind.
func (h *Handler) activate(now, before *loaded) {
	h.active.Store(now)
	for _, w := range now.policy.Warnings() {
		h.logger.Warn("policy: " + w)
	}
	change := lifecycle.Change{Layer: layer, What: "policy loaded", Source: h.PolicyFile, New: now.digest}
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
