// Package filewatch keeps the content of files that may change while they are
// used: edited in place, replaced by a rename, or reached through a symbolic
// link that now points elsewhere, as mounted configuration volumes do it.
package filewatch

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// poll is how often the file is looked at even if nothing was
	// notified: network file systems notify nothing, and the watched
	// directory may itself be replaced.
	poll = 500 * time.Millisecond

	// settle is how long to wait after a notification, since an editor
	// makes several.
	settle = 20 * time.Millisecond

	// young is the age below which a modification time says little: the
	// next write may get the same one.
	young = 2 * time.Second
)

// Watcher watches one file.
type Watcher struct {
	stop chan struct{}
	once sync.Once
	done chan struct{}
}

// Start begins to watch the file at path, which need not exist. changed is
// called from one goroutine, never twice at once, whenever the content may be
// another than before; it may be called too often and must compare. Where it
// returns false it is called again soon.
func Start(path string, changed func() bool) *Watcher {
	w := &Watcher{stop: make(chan struct{}), done: make(chan struct{})}
	var events <-chan fsnotify.Event
	// The directory is watched, not the file: a watch on the file would
	// stay with what an atomic rename has replaced. Without notifications
	// (no descriptors left, no such directory) polling does the work.
	notify, err := fsnotify.NewWatcher()
	if err == nil {
		if notify.Add(filepath.Dir(path)) == nil {
			events = notify.Events
		}
	}
	last := look(path)
	go func() {
		defer close(w.done)
		if notify != nil {
			defer notify.Close()
			go func() {
				for range notify.Errors { // unread errors would block its reader
				}
			}()
		}
		w.run(path, events, last, changed)
	}()
	return w
}

func (w *Watcher) run(path string, events <-chan fsnotify.Event, last state, changed func() bool) {
	var again <-chan time.Time
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		force := false
		select {
		case <-w.stop:
			return
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			time.Sleep(settle)
			drain(events)
			force = filepath.Clean(e.Name) == filepath.Clean(path)
		case <-tick.C:
		case <-again:
			force = true
		}
		now := look(path)
		if !force && now.same(last) && !now.young() {
			continue
		}
		last, again = now, nil
		if !changed() {
			again = time.After(quiet)
		}
	}
}

func drain(events <-chan fsnotify.Event) {
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// Stop ends the watch. changed is not running and will not be called again
// once Stop has returned.
func (w *Watcher) Stop() {
	w.once.Do(func() { close(w.stop) })
	<-w.done
}

// state is what can be seen of a file without reading it.
type state struct {
	info os.FileInfo // nil if it cannot be seen
}

func look(path string) state {
	info, err := os.Stat(path)
	if err != nil {
		return state{}
	}
	return state{info}
}

func (s state) same(t state) bool {
	if s.info == nil || t.info == nil {
		return s.info == nil && t.info == nil
	}
	return os.SameFile(s.info, t.info) && s.info.Size() == t.info.Size() && s.info.ModTime().Equal(t.info.ModTime())
}

func (s state) young() bool { return s.info != nil && time.Since(s.info.ModTime()) < young }
