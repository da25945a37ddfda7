package budget

import (
	"encoding/json"
	"fmt"
	"time"
)

// state is a ledger as it is stored.
type state struct {
	Version int                                   `json:"version"`
	Keys    map[string]map[string]map[int64]int64 `json:"keys"` // key, period, beginning of the window: tokens
}

// Changes returns the ledger as JSON if something was used since the last call,
// or nil. Windows that have ended are left out.
func (l *Ledger) Changes(now time.Time) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.changed {
		return nil, nil
	}
	s := state{Version: 1, Keys: make(map[string]map[string]map[int64]int64, len(l.entries))}
	for key, e := range l.entries {
		e.roll(now)
		windows := make(map[string]map[int64]int64, periods)
		for p, w := range e.windows {
			if w.used > 0 {
				windows[Period(p).String()] = map[int64]int64{w.from: w.used}
			}
		}
		if len(windows) > 0 {
			s.Keys[key] = windows
		} else if e.running == 0 {
			delete(l.entries, key)
		}
	}
	body, err := json.Marshal(s)
	if err == nil {
		l.changed = false
	}
	return body, err
}

// Unsaved says that what Changes returned last could not be stored.
func (l *Ledger) Unsaved() {
	l.mu.Lock()
	l.changed = true
	l.mu.Unlock()
}

// Load adds what Changes has returned, in another process or life.
func (l *Ledger) Load(body []byte) error {
	var s state
	if err := json.Unmarshal(body, &s); err != nil {
		return err
	}
	if s.Version != 1 {
		return fmt.Errorf("version %d is not known, only 1", s.Version)
	}
	loaded := make(map[string]*entry, len(s.Keys))
	for key, byPeriod := range s.Keys {
		e := new(entry)
		for name, used := range byPeriod {
			p, err := ParsePeriod(name)
			if err != nil {
				return err
			}
			for from, tokens := range used {
				if tokens < 0 || len(used) != 1 {
					return fmt.Errorf("the %s of a key is not one window with a count", name)
				}
				e.windows[p] = window{from: from, used: tokens}
			}
		}
		loaded[key] = e
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, e := range loaded {
		if l.entries[key] == nil {
			l.makeRoom()
			l.entries[key] = e
		}
	}
	return nil
}
