package watched

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// announcer says what becomes of a file that several configurations may share:
// in the log, and to one of their audit trails.
type announcer struct {
	kind *Kind
	path string
	log  *zap.Logger

	mu        sync.Mutex
	listeners []*listener // of the configurations that use the file, latest last
}

type listener struct{ tell func(lifecycle.Change) }

func newAnnouncer(kind *Kind, path string) *announcer {
	return &announcer{kind: kind, path: path, log: caddy.Log().Named(cmp.Or(kind.Logger, "http.authentication.providers."+kind.Layer))}
}

// enlist has an audit trail hear of changes, until leave is called.
func (a *announcer) enlist(tell func(lifecycle.Change)) (leave func()) {
	l := &listener{tell}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners = append(a.listeners, l)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.listeners = slices.DeleteFunc(a.listeners, func(o *listener) bool { return o == l })
	}
}

// report says that the file is in force, and which of its entries are new,
// gone or others than before; or that it cannot be used.
func (a *announcer) report(e filewatch.Event) {
	if e.Err != nil {
		err := oneLine(e.Err)
		a.log.Error(a.kind.Subject+" cannot be used; what was read last stays in force", zap.String("file", a.path), zap.Error(err))
		a.tell(a.kind.What+" refused", err.Error())
		return
	}
	a.log.Info(a.kind.Subject+" is in force", zap.String("file", a.path),
		zap.Int("added", len(e.Added)), zap.Int("removed", len(e.Removed)), zap.Int("changed", len(e.Changed)))
	if a.kind.Describe != nil {
		a.tell(a.kind.Describe(e))
		return
	}
	a.tell(a.kind.What+" changed", describe(e))
}

func (a *announcer) tell(what, detail string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// One of those who listen is enough: a reload has two for a while, and
	// several sites may share one trail.
	if n := len(a.listeners); n > 0 {
		a.listeners[n-1].tell(lifecycle.Change{Layer: a.kind.Layer, What: what, Source: a.path, Detail: detail})
	}
}

// maxDescribed bounds how many entries one record names.
const maxDescribed = 50

func describe(e filewatch.Event) string {
	lines := make([]string, 0, maxDescribed+1)
	more := 0
	for _, group := range []struct {
		what  string
		names []string
	}{{"added", e.Added}, {"removed", e.Removed}, {"changed", e.Changed}} {
		for _, name := range group.names {
			if len(lines) == maxDescribed {
				more++
				continue
			}
			what := group.what
			if how := e.How[name]; how != "" {
				what = how
			}
			lines = append(lines, what+" "+name)
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// oneLine keeps an error to one line.
func oneLine(err error) error {
	if !strings.ContainsAny(err.Error(), "\n\r\t") {
		return err
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
