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
// nothing. An audit app that cannot be loaded is an error.
func Changes(ctx caddy.Context) (func(Change), error) {
	a, err := app(ctx, AuditApp)
	if err != nil {
		return nil, err
	}
	if r, ok := a.(ChangeRecorder); ok {
		return r.RecordChange, nil
	}
	return func(Change) {}, nil
}

// app returns one of our apps, nil in a build without it and for a context that
// was not made from a configuration, as in tests.
func app(ctx caddy.Context, id string) (any, error) {
	if _, err := caddy.GetModule(id); err != nil || !configured(ctx) {
		return nil, nil
	}
	return ctx.App(id)
}

// configured reports whether ctx was made from a configuration. Caddy cannot be
// asked: a context without one panics. What is called here runs no module, so
// that nothing else can be taken for that panic, such as a bug in a check.
func configured(ctx caddy.Context) (yes bool) {
	defer func() { yes = recover() == nil }()
	_ = ctx.Storage()
	return
}
