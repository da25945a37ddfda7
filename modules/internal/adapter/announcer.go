package adapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// Announcer says what becomes of a watched file that several configurations
// may share: in the log, and to one of their audit trails.
type Announcer struct {
	subject string // such as "the store of API keys"
	change  Change // what is the same in all of them; What is such as "keys"
	log     *zap.Logger

	mu        sync.Mutex
	listeners []listener // of the configurations that use the file, latest last
}

type listener struct {
	owner any
	tell  func(Change)
}

// NewAnnouncer makes the announcer of a file. what is what the file holds, for
// records: they say that it changed, or was refused.
func NewAnnouncer(layer, subject, what, path string) *Announcer {
	return &Announcer{
		subject: subject, change: Change{Layer: layer, What: what, Source: path},
		log: caddy.Log().Named("http.authentication.providers." + layer),
	}
}

// Enlist has the audit trails of the configuration that ctx belongs to hear of
// changes, until leave is called.
func (a *Announcer) Enlist(ctx caddy.Context, owner any) (leave func()) {
	tell := Changes(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners = append(a.listeners, listener{owner, tell})
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.listeners = slices.DeleteFunc(a.listeners, func(l listener) bool { return l.owner == owner })
	}
}

// InForce says that the file is in force, and which of its entries are new,
// gone or others than before.
func (a *Announcer) InForce(added, removed, changed []string) {
	a.log.Info(a.subject+" is in force", zap.String("file", a.change.Source),
		zap.Int("added", len(added)), zap.Int("removed", len(removed)), zap.Int("changed", len(changed)))
	a.tell("changed", describe(added, removed, changed))
}

// Refused says that the file cannot be used.
func (a *Announcer) Refused(err error) {
	err = OneLine(err)
	a.log.Error(a.subject+" cannot be used; what was read last stays in force", zap.String("file", a.change.Source), zap.Error(err))
	a.tell("refused", err.Error())
}

func (a *Announcer) tell(happened, detail string) {
	c := a.change
	c.What, c.Detail = c.What+" "+happened, detail
	a.mu.Lock()
	defer a.mu.Unlock()
	// One of those who listen is enough: a reload has two for a while, and
	// several sites may share one trail.
	if n := len(a.listeners); n > 0 {
		a.listeners[n-1].tell(c)
	}
}

// maxDescribed bounds how many entries one record names.
const maxDescribed = 50

func describe(added, removed, changed []string) string {
	lines := make([]string, 0, maxDescribed+1)
	more := 0
	for _, group := range []struct {
		what  string
		names []string
	}{{"added", added}, {"removed", removed}, {"changed", changed}} {
		for _, name := range group.names {
			if len(lines) == maxDescribed {
				more++
				continue
			}
			lines = append(lines, group.what+" "+name)
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// OneLine keeps an error to one line.
func OneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
