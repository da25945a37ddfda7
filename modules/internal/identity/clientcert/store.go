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

// Open reads the map in a file and begins to watch it. Events name entries
// such as "dns orders.example.com".
func Open(path string, report func(filewatch.Event)) (*Store, error) {
	kept, err := filewatch.Keep(path, MaxSize, ParseTable, func(before, after *Table, err error) {
		e := diff(before, after)
		e.Err = err
		report(e)
	})
	if err != nil {
		return nil, err
	}
	return &Store{kept}, nil
}

// Len returns the number of entries, the disabled ones included.
func (s *Store) Len() int { return s.Value().Len() }

// Table returns the map that is in force.
func (s *Store) Table() *Table { return s.Value() }

func diff(before, after *Table) (e filewatch.Event) {
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

// String names what an entry applies to.
func (k key) String() string {
	if k.issuer != "" {
		return k.sort + " " + k.value + " of " + k.issuer
	}
	return k.sort + " " + k.value
}
