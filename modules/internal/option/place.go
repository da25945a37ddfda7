package option

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Placed is embedded by handlers that know where in a Caddyfile they are
// written, so that errors name file and line.
type Placed struct{ place string }

// Locate finds out where the configuration of a handler is written. It must be
// called before anything of the configuration is loaded.
func (p *Placed) Locate(handler any) { p.place = PlaceOf(handler) }

// Place returns the file and line of the handler's directive, as in
// "Caddyfile:12", or "" where that is not known: in a configuration that came
// as JSON, or was adapted by another process.
func (p *Placed) Place() string { return p.place }

// At prefixes an error with the position, if it is known.
func (p *Placed) At(err error) error {
	if err == nil || p.place == "" {
		return err
	}
	return fmt.Errorf("%s: %w", p.place, err)
}

// places are where directives stand in the Caddyfiles that this process has
// adapted. JSON has no room for that, so it is found by what they adapt to.
var places = struct {
	sync.Mutex
	of map[[sha256.Size]byte][]string
}{of: map[[sha256.Size]byte][]string{}}

// maxPlaces bounds what is remembered, for a server whose admin endpoint is
// sent Caddyfiles.
const maxPlaces = 4096

// RememberPlace notes that the configuration of a handler was written there.
func RememberPlace(handler any, file string, line int) {
	key, err := placeKey(handler)
	if err != nil {
		return
	}
	place := fmt.Sprintf("%s:%d", file, line)
	places.Lock()
	defer places.Unlock()
	if len(places.of) >= maxPlaces {
		clear(places.of)
	}
	known := places.of[key]
	for i, p := range known {
		if p == place {
			// The latest is what is about to be loaded.
			known = append(known[:i], known[i+1:]...)
			break
		}
	}
	// Directives that are written alike cannot be told apart.
	if known = append(known, place); len(known) > maxAlike {
		known = known[len(known)-maxAlike:]
	}
	places.of[key] = known
}

// maxAlike bounds the places of directives that are written alike, and
// shownAlike how many of them an error names.
const (
	maxAlike   = 256
	shownAlike = 3
)

// Alike returns the places of all directives that are written like the one at a
// place that PlaceOf has returned.
func Alike(place string) []string {
	places.Lock()
	defer places.Unlock()
	for _, known := range places.of {
		if len(known) > 0 && shown(known) == place {
			return slices.Clone(known)
		}
	}
	return nil
}

func shown(known []string) string { return strings.Join(known[max(0, len(known)-shownAlike):], " or ") }

// PlaceOf returns where the configuration of a handler is written, "" if that
// is not known.
func PlaceOf(handler any) string {
	key, err := placeKey(handler)
	if err != nil {
		return ""
	}
	places.Lock()
	defer places.Unlock()
	return shown(places.of[key])
}

// placeKey is the same for a handler before and after its way through Caddy's
// configuration, which sorts the members of objects.
func placeKey(handler any) (key [sha256.Size]byte, err error) {
	text, err := json.Marshal(handler)
	if err != nil {
		return key, err
	}
	var plain any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&plain); err != nil {
		return key, err
	}
	if text, err = json.Marshal(plain); err != nil {
		return key, err
	}
	return sha256.Sum256([]byte(strings.TrimPrefix(fmt.Sprintf("%T %s", handler, text), "*"))), nil
}
