// Package watched holds the files that an administrator names and may edit
// while the server runs: key sets, revocations, policies, stores of API keys.
//
// All of them behave alike. A file that is missing or wrong when a
// configuration is loaded is an error, at start and at reload. One that goes
// wrong later leaves in force what was read last; the log and the audit trail
// say so, once, and a gauge is 1 until it is mended. Configurations share a
// file that they name alike, so a reload forgets nothing.
package watched

import (
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Kind is what files have in common that are named by one option.
type Kind struct {
	// Layer and Option name the directive and its option, such as
	// signature_auth and keys.
	Layer, Option string

	// Logger is the name of the logger. Default: that of the authentication
	// provider that the layer is.
	Logger string

	// Subject is what the log calls the file, such as "the file of keys".
	Subject string

	// What is what records of changes say of it, followed by "changed" or
	// "refused", such as "keys".
	What string

	// Describe makes the record of a change of entries, where it is not to
	// name each as added, removed or changed.
	Describe func(filewatch.Event) (what, detail string)

	// Metrics are the gauges of the files.
	Metrics Metrics
}

// File is what an engine makes of a file.
type File interface {
	Verify() error // what is wrong with the file now
	Fault() error  // why what was read last is in force
	Len() int      // entries in force
	Close()
}

// key tells files apart. A file that is read in two ways is two.
type key struct {
	layer, path string
	variant     any
}

// pool has the files that are open.
var pool = caddy.NewUsagePool() // *shared by key

// shared is a file with who wants to know of its changes.
type shared struct {
	file      File
	announcer *announcer
}

// Open opens the file that the option names with the text written, in which
// global placeholders are expanded, or takes the one that is open already;
// variant tells those apart that open would read in another way. held closes
// it. The audit trails of the configuration hear of its changes, and its
// metrics show it.
func Open[F File](ctx caddy.Context, held *lifecycle.Held, kind *Kind, written string, variant any,
	open func(path string, report func(filewatch.Event)) (F, error),
) (F, error) {
	var none F
	path, err := option.Resolve(kind.Layer, kind.Option, written)
	if err != nil {
		return none, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return none, err
	}
	fresh := false
	s, err := lifecycle.Share(held, pool, key{kind.Layer, abs, variant}, func() (*shared, func(), error) {
		fresh = true
		a := newAnnouncer(kind, path)
		f, err := open(abs, a.report)
		if err != nil {
			return nil, nil, err
		}
		return &shared{f, a}, f.Close, nil
	})
	if err == nil && !fresh {
		// What is in force may be what was read before the file went bad.
		// A configuration that is loaded now must not begin with that.
		err = s.file.Verify()
	}
	if err != nil {
		return none, fmt.Errorf("%s %s: %w", kind.Option, written, oneLine(err))
	}
	announce, err := lifecycle.Changes(ctx)
	if err != nil {
		return none, err
	}
	held.Add(s.announcer.enlist(announce))
	return s.file.(F), kind.Metrics.Add(ctx, written, s.file)
}

// All returns the files of that type that are open.
func All[F File]() (files []F) {
	for _, s := range lifecycle.Shared[*shared](pool) {
		if f, ok := s.file.(F); ok {
			files = append(files, f)
		}
	}
	return files
}
