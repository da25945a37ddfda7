package revocation

import (
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// File is a list in a file, which is watched.
type File struct{ *filewatch.Kept[List] }

// OpenFile reads the list in a file and begins to watch it. A file that is
// missing or garbled is an error now; later it is an event and the list that
// was read last stays in force. An empty file is an empty list. Events count
// entries and name none: the ID of a token may be a secret of its issuer.
func OpenFile(path string, report func(filewatch.Event)) (*File, error) {
	kept, err := filewatch.Keep(path, MaxSize, Parse, func(before, after *List, err error) {
		report(filewatch.Event{Err: err, Detail: difference(before, after).String()})
	})
	if err != nil {
		return nil, err
	}
	return &File{kept}, nil
}

// List returns the list that is in force.
func (f *File) List() *List { return f.Value() }

// Len returns the number of entries in force.
func (f *File) Len() int { return len(f.Value().entries) }

// String says what was added and what was removed, a line each.
func (c Change) String() string {
	var lines []string
	if c.Added != (Count{}) {
		lines = append(lines, "added: "+c.Added.String())
	}
	if c.Removed != (Count{}) {
		lines = append(lines, "removed: "+c.Removed.String())
	}
	return strings.Join(lines, "\n")
}
