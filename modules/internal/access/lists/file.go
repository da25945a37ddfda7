package lists

import (
	"fmt"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// MaxSize is the largest file of addresses that is read: some two million ranges.
const MaxSize = 64 << 20

// File is a list of addresses in a file, which is watched. A file that is missing
// or wrong is an error when it is opened; later it is reported, and what was read
// last stays in force, so that a list that vanishes opens nothing.
type File struct{ *filewatch.Kept[Set] }

// OpenFile reads a list and begins to watch its file.
func OpenFile(path string, report func(filewatch.Event)) (*File, error) {
	kept, err := filewatch.Keep(path, MaxSize, Parse, func(before, after *Set, err error) {
		report(filewatch.Event{Err: err, Detail: difference(before, after)})
	})
	if err != nil {
		return nil, err
	}
	return &File{kept}, nil
}

// Set returns the list that is in force.
func (f *File) Set() *Set { return f.Value() }

// Len returns the number of entries.
func (f *File) Len() int { return f.Value().Len() }

// maxNamed bounds how many entries one record names.
const maxNamed = 20

// difference says which entries are new and which are gone.
func difference(before, after *Set) string {
	if before == after {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d entries", after.Len())
	for _, d := range []struct {
		what     string
		in, from *bart.Lite
	}{{"added", after.table, before.table}, {"removed", before.table, after.table}} {
		n := 0
		for entry := range d.in.All() {
			if d.from.Get(entry) {
				continue
			}
			if n++; n <= maxNamed {
				fmt.Fprintf(&b, "\n%s %s", d.what, Format(entry))
			}
		}
		if n > maxNamed {
			fmt.Fprintf(&b, "\nand %d more %s", n-maxNamed, d.what)
		}
	}
	return b.String()
}
