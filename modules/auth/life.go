package auth

import (
	"context"
	"sync"
)

// life is the context of a request that may end before its client ends it. It is
// context.WithCancel, made only once somebody waits for it to be done: most
// handlers but reverse_proxy never do, and need not pay for it.
type life struct {
	context.Context // the request's own

	mu     sync.Mutex
	over   bool
	waited context.Context // nil until it is waited for
	cancel context.CancelFunc
}

// Done returns the channel that is closed at the end.
func (l *life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waited == nil {
		l.waited, l.cancel = context.WithCancel(l.Context)
		if l.over {
			l.cancel()
		}
	}
	return l.waited.Done()
}

// Err says whether it has ended.
func (l *life) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.waited != nil:
		return l.waited.Err()
	case l.over && l.Context.Err() == nil:
		return context.Canceled
	}
	return l.Context.Err()
}

// Value is that of the request's own context, or of the one that is waited for:
// contexts made from this one find by it whose children they are.
func (l *life) Value(key any) any {
	l.mu.Lock()
	waited := l.waited
	l.mu.Unlock()
	if waited != nil {
		return waited.Value(key)
	}
	return l.Context.Value(key)
}

// end ends it.
func (l *life) end() {
	l.mu.Lock()
	l.over = true
	cancel := l.cancel
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
