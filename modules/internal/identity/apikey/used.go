package apikey

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/fileedit"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// UsedPath is where the times at which the keys of a store were last used are
// kept: beside it, so that the store itself changes by the command line alone.
func UsedPath(store string) string { return store + ".used" }

// flushing is held while such a file is written: during a reload, two stores
// may have the same one.
var flushing sync.Mutex

// Flush writes the times at which keys were last used into the file beside the
// store, together with those that are there. It writes nothing where nothing
// has changed. There is one entry a key of the store, so the file is bounded.
func (s *Store) Flush() error {
	flushing.Lock()
	defer flushing.Unlock()
	path := UsedPath(s.path)
	times, err := LoadUsed(path)
	if err != nil {
		times = make(map[string]time.Time) // it is only good to know: begin anew
	}
	changed := false
	s.mu.Lock()
	for id, used := range s.used {
		if t := used.Load(); t > 0 && (times[id].IsZero() || t > times[id].Unix()) {
			times[id] = time.Unix(t, 0).UTC()
			changed = true
		}
	}
	maps.DeleteFunc(times, func(id string, _ time.Time) bool { return s.used[id] == nil })
	s.mu.Unlock()
	if !changed {
		return nil
	}
	var b []byte
	for _, id := range slices.Sorted(maps.Keys(times)) {
		b = append(b, `{"id":`...)
		b = strictjson.AppendString(b, id)
		b = strictjson.AppendTime(b, "used", times[id])
		b = append(b, "}\n"...)
	}
	info, err := os.Stat(path)
	if err != nil {
		info = nil // a new file
	}
	return fileedit.Replace(path, b, info)
}

// LoadUsed reads the times at which keys were last used. A file that is not
// there has none.
func LoadUsed(path string) (map[string]time.Time, error) {
	times := make(map[string]time.Time)
	body, err := filewatch.Read(path, MaxSize)
	if os.IsNotExist(err) {
		return times, nil
	}
	if err != nil {
		return nil, err
	}
	lines := strictjson.Lines{Size: MaxSize, Line: maxLine, Count: MaxKeys, Of: "keys"}
	err = lines.Each(body, func(s *strictjson.Scanner, line []byte) error {
		var id string
		var used time.Time
		err := s.Fields(line, func(name string, value []byte) (err error) {
			switch name {
			case "id":
				if id, err = strictjson.String(value); err == nil {
					err = CheckID(id)
				}
			case "used":
				used, err = strictjson.Moment(value)
			default:
				err = strictjson.ErrUnknown
			}
			return err
		})
		times[id] = used
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return times, nil
}
