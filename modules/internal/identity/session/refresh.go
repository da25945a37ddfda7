package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Refresh has the tokens of the session renewed if they have expired: by one
// request, on one server, while the others wait for it. Where the provider cannot
// be asked, the session goes on and it is tried again later: nobody is logged out
// because a provider is away. An error of renew that is ErrEnded ends it.
//
// What is renewed is stored even if the request ends meanwhile: the provider may
// never give the successor of a refresh token a second time.
func (l *Live) Refresh(ctx context.Context, renew func(context.Context, *Session) (*Session, error)) error {
	now := l.store.opts.Now()
	if s := l.session.Load(); s.Private.Refresh == "" || s.Private.Expires.IsZero() || now.Before(s.Private.Expires) {
		return nil
	}
	l.mu.Lock()
	if now.Before(l.retry) {
		l.mu.Unlock()
		return l.ended()
	}
	done := l.refreshing
	if done == nil {
		done = make(chan struct{})
		l.refreshing = done
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
			defer cancel()
			err := l.refresh(ctx, renew)
			l.mu.Lock()
			if err != nil && !errors.Is(err, ErrEnded) {
				l.retry = l.store.opts.Now().Add(retryAfter)
				l.store.opts.Report("a session cannot be refreshed, and goes on for now", err)
			}
			l.refreshing = nil
			l.mu.Unlock()
			close(done)
		}()
	}
	l.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	case <-time.After(storageTimeout):
		// The user need not wait for a provider that takes its time.
	}
	return l.ended()
}

func (l *Live) ended() error {
	if l.over.Load() {
		return ErrEnded
	}
	return nil
}

// refresh renews the session for all servers on the storage.
func (l *Live) refresh(ctx context.Context, renew func(context.Context, *Session) (*Session, error)) error {
	storage := l.store.storage
	if err := storage.Lock(ctx, l.key()); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), l.key()) }()
	// Another server may have done it, or have ended the session.
	fresh := l.unwritten
	if err := l.read(ctx); err != nil {
		return err
	}
	if fresh != nil {
		if err := l.write(ctx, fresh); err != nil {
			l.session.Store(fresh)
			return err
		}
		l.unwritten = nil
	}
	s := l.session.Load()
	if l.store.opts.Now().Before(s.Private.Expires) {
		return nil
	}
	fresh, err := renew(ctx, s)
	if errors.Is(err, ErrEnded) {
		l.over.Store(true)
		_ = storage.Delete(ctx, l.key())
		return ErrEnded
	}
	if err != nil {
		return err
	}
	fresh.Created, fresh.Until = s.Created, s.Until
	if err := l.write(ctx, fresh); err != nil {
		// This server at least can go on, and must not use the old token again.
		l.session.Store(fresh)
		l.unwritten = fresh
		return err
	}
	return nil
}
