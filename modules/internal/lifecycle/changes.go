package lifecycle

import (
	"time"

	"github.com/caddyserver/caddy/v2"
)

// AuditApp is the ID of the Caddy app that keeps the audit trails of a
// configuration. It needs no configuration of its own.
const AuditApp = "moat_audit"

// Change is something that changed what the modules decide: a configuration
// or policy file loaded, a key set rotated, a credential revoked. The audit
// trails record it.
type Change struct {
	Layer  string    // the directive whose decisions change: rbac, jwt_auth, …
	What   string    // one or two words: policy loaded, policy refused, key set, revocation
	Source string    // the file, URL or API it came from, without credentials
	By     string    // who asked for it, where that is known: an admin API client
	Old    string    // what it was: a hash or a version; empty if there was none
	New    string    // what it is
	Detail string    // the difference in words, one line each; no secrets
	Time   time.Time // zero: now
}

// ChangeRecorder is what the audit app is to other modules.
type ChangeRecorder interface {
	RecordChange(Change)
}

// Changes returns the function that announces changes to the audit trails of
// the configuration that ctx belongs to. Modules call Changes while they are
// being provisioned and keep the function; it may then be called at any time,
// from any goroutine, and does not block. What is announced before the
// configuration has started is recorded once it has, and never if it does
// not. Without an audit trail, or in a build without audit, the function does
// nothing.
func Changes(ctx caddy.Context) func(Change) {
	if r := changeRecorder(ctx); r != nil {
		return r.RecordChange
	}
	return func(Change) {}
}

func changeRecorder(ctx caddy.Context) (r ChangeRecorder) {
	// A context that was not made from a configuration, as in tests, has no
	// apps, and asking it for one panics.
	defer func() {
		if recover() != nil {
			r = nil
		}
	}()
	app, err := ctx.App(AuditApp)
	if err != nil {
		return nil
	}
	r, _ = app.(ChangeRecorder)
	return r
}
