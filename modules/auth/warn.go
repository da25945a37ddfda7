package auth

import (
	"sync"
	"time"
)

const (
	// warnEvery is how often one cause of rejections is worth a line in the
	// log: a flood of bad tokens must not become a flood of lines.
	warnEvery = time.Minute

	// maxCauses bounds the causes that are remembered. There are a few dozen:
	// none is made of what a client sends.
	maxCauses = 1000
)

// causes remembers when each was logged. It outlives a configuration.
type causes struct {
	mu   sync.Mutex
	last map[string]time.Time
}

var warned = causes{last: make(map[string]time.Time)}

// due reports whether the cause is to be logged now.
func (c *causes) due(cause string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.last[cause]
	if known && now.Sub(last) < warnEvery || !known && len(c.last) >= maxCauses {
		return false
	}
	c.last[cause] = now
	return true
}
