package jwtauth

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// announcer hands what changed to the audit trails. Key sets, issuers and
// revocations outlive a configuration, so it is not one configuration that
// they tell but the one that was loaded last.
type announcer struct {
	mu        sync.Mutex
	listeners []listener
}

type listener struct {
	owner *Provider
	tell  func(lifecycle.Change)
}

// trails is the announcer of the process.
var trails announcer

func (a *announcer) enlist(l listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners = append(a.listeners, l)
}

func (a *announcer) drop(owner *Provider) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners = slices.DeleteFunc(a.listeners, func(l listener) bool { return l.owner == owner })
}

// announce tells one of those who listen: several sites share the trails of
// their configuration, and a reload has two configurations for a while.
func (a *announcer) announce(c lifecycle.Change) {
	c.Layer = Name
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.listeners); n > 0 {
		a.listeners[n-1].tell(c)
	}
}

// keysChanged returns what announces that keys came and left.
func keysChanged(what, source, issuer string) func(came, left []string) {
	return func(came, left []string) {
		detail := describeKeys(came, left)
		if issuer != "" {
			detail = "issuer: " + printable(issuer) + "\n" + detail
		}
		trails.announce(lifecycle.Change{What: what, Source: source, Detail: detail})
	}
}

func describeKeys(came, left []string) string {
	var lines []string
	for _, group := range []struct {
		what string
		ids  []string
	}{{"came: ", came}, {"left: ", left}} {
		if len(group.ids) > 0 {
			lines = append(lines, group.what+listIDs(group.ids))
		}
	}
	return strings.Join(lines, "\n")
}

// Bounds of what one record says of names that others have chosen.
const (
	maxListed = 50
	maxName   = 100
)

func listIDs(ids []string) string {
	more := ""
	if n := len(ids) - maxListed; n > 0 {
		ids, more = ids[:maxListed], fmt.Sprintf(" and %d more", n)
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = printable(id)
	}
	return strings.Join(names, ", ") + more
}

// printable cuts a name that is too long and quotes one that could be taken
// for more than one.
func printable(name string) string {
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	if strings.ContainsAny(name, ", ") || strconv.Quote(name) != `"`+name+`"` {
		return strconv.Quote(name)
	}
	return name
}

const (
	whatKeySet      = "key set"
	whatIssuerKeys  = "issuer keys"
	whatRevocations = "revocations"
)

// revocationsChanged says that a list is another.
func revocationsChanged(source, by string, c revocation.Change) lifecycle.Change {
	return lifecycle.Change{What: whatRevocations, Source: source, By: by, Detail: c.String()}
}
