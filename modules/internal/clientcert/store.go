package clientcert

import (
	"reflect"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// Store is a map in a file, which is watched. A file that is missing or wrong
// is an error when it is opened; later it is reported, and what was read last
// stays in force.
type Store struct{ *filewatch.Kept[Table] }

// Event is something that became of the file.
type Event struct {
	// Err is why the file cannot be used, nil where it is in force.
	Err error
	// Added, Removed and Changed are what the map names, such as
	// "dns orders.example.com".
	Added, Removed, Changed []string
}

// Open reads the map in a file and begins to watch it.
func Open(path string, report func(Event)) (*Store, error) {
	kept, err := filewatch.Keep(path, MaxSize, ParseTable, func(before, after *Table, err error) {
		if err != nil {
			report(Event{Err: err})
			return
		}
		report(diff(before, after))
	})
	if err != nil {
		return nil, err
	}
	return &Store{kept}, nil
}

// Table returns the map that is in force.
func (s *Store) Table() *Table { return s.Value() }

func diff(before, after *Table) (e Event) {
	for k, entry := range after.entries {
		if old, ok := before.entries[k]; !ok {
			e.Added = append(e.Added, k.String())
		} else if !reflect.DeepEqual(old, entry) {
			e.Changed = append(e.Changed, k.String())
		}
	}
	for k := range before.entries {
		if _, ok := after.entries[k]; !ok {
			e.Removed = append(e.Removed, k.String())
		}
	}
	slices.Sort(e.Added)
	slices.Sort(e.Removed)
	slices.Sort(e.Changed)
	return e
}

// String names what an entry is about.
func (k key) String() string {
	if k.issuer != "" {
		return k.sort + " " + k.value + " of " + k.issuer
	}
	return k.sort + " " + k.value
}
