package audit

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// closeWait is how long a process that ends waits for requests that have
// still something to record: upgraded connections, whose handlers are ended
// after the servers. What is known of those that last longer is recorded then.
const closeWait = time.Second

// draining are the trails that no configuration names any more and that
// requests still need, by path. Its lock guards the decision to close one.
var draining = struct {
	sync.Mutex
	stores map[string]*store
}{stores: make(map[string]*store)}

// lifetime says who still needs a trail.
type lifetime struct {
	busy    atomic.Int64  // requests that have still to be recorded
	leaving atomic.Bool   // no configuration names the trail any more
	over    atomic.Bool   // the process has closed it
	closing chan struct{} // closed when the trail is; nil unless it is being closed. Guarded by draining
}

// enter notes that a request has something to record. It may come from a
// configuration that was replaced while its connection was being accepted.
func (s *store) enter() {
	s.busy.Add(1)
	if !s.leaving.Load() {
		return
	}
	// Whoever is closing the trail has not seen this request.
	draining.Lock()
	done := s.closing
	draining.Unlock()
	if done != nil {
		<-done
	}
}

// leave is the end of enter. The last request closes the trail that no
// configuration names.
func (s *store) leave() {
	if s.busy.Add(-1) > 0 || !s.leaving.Load() {
		return
	}
	go func() { // the end of the response does not wait for it
		if err := s.finish(); err != nil {
			s.logger.Error("closing the trail", zap.Error(err))
		}
	}()
}

// reopened notes that a request has opened the trail once more.
func (s *store) reopened() {
	if s.leaving.Load() {
		draining.Lock()
		draining.stores[s.path] = s
		draining.Unlock()
	}
}

// Destruct closes the trail, since no configuration uses it any more, or
// leaves that to the last request that needs it, which may be a stream of
// days. Only the end of the process is not put off: see closeDraining.
func (s *store) Destruct() error {
	draining.Lock()
	draining.stores[s.path] = s
	s.leaving.Store(true)
	draining.Unlock()
	if s.busy.Load() > 0 {
		return nil
	}
	return s.finish()
}

// revive returns the trail at a path that is open although no configuration
// has named it. It waits for one that is being closed.
func revive(path string) *store {
	draining.Lock()
	s := draining.stores[path]
	if s == nil {
		draining.Unlock()
		return nil
	}
	if done := s.closing; done != nil {
		draining.Unlock()
		<-done
		return nil
	}
	delete(draining.stores, path)
	s.leaving.Store(false)
	draining.Unlock()
	return s
}

// finish closes the trail unless somebody needs it after all.
func (s *store) finish() error {
	draining.Lock()
	if !s.leaving.Load() || s.busy.Load() > 0 || s.closing != nil {
		draining.Unlock()
		return nil
	}
	return s.shut()
}

// shut closes the trail. Callers hold the lock of draining, which is let go.
func (s *store) shut() error {
	done := make(chan struct{})
	s.closing = done
	draining.Unlock()
	err := s.close()
	draining.Lock()
	if draining.stores[s.path] == s {
		delete(draining.stores, s.path)
	}
	s.closing = nil
	draining.Unlock()
	close(done)
	return err
}

// close ends the deliveries and closes the trail.
func (s *store) close() error {
	s.mu.Lock()
	c := s.workers
	s.workers = nil
	t := s.trail.Swap(nil)
	s.users = nil
	if t != nil {
		close(s.stop)
	}
	s.mu.Unlock()
	if err := c.stop(); err != nil {
		s.logger.Warn("ending a delivery", zap.Error(err))
	}
	metrics.forget(s)
	var err error
	if t != nil {
		err = t.Close()
	}
	s.publisher.Swap(nil).end()
	if w := s.wait.Swap(nil); w != nil {
		w.cancel()
	}
	return err
}

// closeDraining closes what is still open when the process ends.
func closeDraining() {
	draining.Lock()
	left := make([]*store, 0, len(draining.stores))
	for _, s := range draining.stores {
		left = append(left, s)
	}
	draining.Unlock()
	var all sync.WaitGroup
	for _, s := range left {
		all.Go(s.closeInTime)
	}
	all.Wait()
}

// closeInTime closes the trail when its last request has ended, or when
// closeWait is over.
func (s *store) closeInTime() {
	for deadline := time.Now().Add(closeWait); s.busy.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	draining.Lock()
	s.over.Store(true)
	if done := s.closing; done != nil { // by its last request
		draining.Unlock()
		<-done
		return
	}
	if t := s.trail.Load(); t != nil {
		s.abandon(t)
	}
	if err := s.shut(); err != nil {
		s.logger.Error("closing the trail", zap.Error(err))
	}
}

// Interface guards
var _ caddy.Destructor = (*store)(nil)
