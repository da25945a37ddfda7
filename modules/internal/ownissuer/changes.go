package ownissuer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

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
	owner any
	tell  func(lifecycle.Change)
}

// trails is the announcer of the process.
var trails announcer

// Enlist has tell hear of changes, until Drop is called with the same owner.
func Enlist(owner any, tell func(lifecycle.Change)) {
	trails.mu.Lock()
	defer trails.mu.Unlock()
	trails.listeners = append(trails.listeners, listener{owner, tell})
}

// Drop has an owner hear of nothing more.
func Drop(owner any) {
	trails.mu.Lock()
	defer trails.mu.Unlock()
	trails.listeners = slices.DeleteFunc(trails.listeners, func(l listener) bool { return l.owner == owner })
}

// Announce tells one of those who listen: several sites share the trails of
// their configuration, and a reload has two configurations for a while.
func Announce(c lifecycle.Change) {
	if c.Layer == "" {
		c.Layer = jwtAuth
	}
	trails.mu.Lock()
	defer trails.mu.Unlock()
	if n := len(trails.listeners); n > 0 {
		trails.listeners[n-1].tell(c)
	}
}

// KeysChanged returns what announces that keys came and left.
func KeysChanged(what, source, issuer string) func(came, left []string) {
	return func(came, left []string) {
		detail := DescribeKeys(came, left)
		if issuer != "" {
			detail = "issuer: " + Printable(issuer) + "\n" + detail
		}
		Announce(lifecycle.Change{What: what, Source: source, Detail: detail})
	}
}

// DescribeKeys says in words which keys came and left.
func DescribeKeys(came, left []string) string {
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
		names[i] = Printable(id)
	}
	return strings.Join(names, ", ") + more
}

// Printable cuts a name that is too long and quotes one that could be taken
// for more than one.
func Printable(name string) string {
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	if strings.ContainsAny(name, ", ") || strconv.Quote(name) != `"`+name+`"` {
		return strconv.Quote(name)
	}
	return name
}

// What has changed.
const (
	WhatKeySet      = "key set"
	WhatIssuerKeys  = "issuer keys"
	WhatRevocations = "revocations"
)
