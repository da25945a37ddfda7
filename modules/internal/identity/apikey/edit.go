package apikey

import (
	"fmt"

	"github.com/caddy-moat/caddy-moat/modules/internal/fileedit"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// Load reads a store once.
func Load(path string) (*File, error) {
	text, err := filewatch.Read(path, MaxSize)
	if err != nil {
		return nil, err
	}
	return ParseFile(text)
}

// Edit changes the store in a file: change gets what is there, nil where
// there is no file, and returns what shall be. See fileedit.Edit.
func Edit(path string, change func(*File) (*File, error)) error {
	return fileedit.Edit(path, MaxSize, func(text []byte) ([]byte, error) {
		var old *File
		var err error
		if text != nil {
			if old, err = ParseFile(text); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		f, err := change(old)
		if err != nil {
			return nil, err
		}
		after := f.Append(nil)
		// What cannot be read again must not be written.
		if _, err := ParseFile(after); err != nil {
			return nil, fmt.Errorf("%s would no longer be a store: %w", path, err)
		}
		return after, nil
	})
}
