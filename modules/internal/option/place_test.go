package option

import (
	"encoding/json"
	"fmt"
	"testing"
)

type written struct {
	Placed
	Providers []json.RawMessage `json:"providers,omitempty"`
	N         int64             `json:"n,omitempty"`
}

// TestPlaceOutlivesTheWayThroughCaddy sorts members, as Caddy does.
func TestPlaceOutlivesTheWayThroughCaddy(t *testing.T) {
	h := written{Providers: []json.RawMessage{[]byte(`{"provider":"x","a":"<b>"}`)}, N: 1<<62 + 1}
	RememberPlace(h, "Caddyfile", 12)
	var plain any
	text, _ := json.Marshal(h)
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	loaded := &written{Providers: []json.RawMessage{[]byte(`{"a":"\u003cb\u003e","provider":"x"}`)}, N: h.N}
	loaded.Locate(loaded)
	if got := loaded.Place(); got != "Caddyfile:12" {
		t.Errorf("got %q", got)
	}
	other := &written{N: 1 << 62}
	other.Locate(other)
	if got := other.Place(); got != "" {
		t.Errorf("another handler stands at %q", got)
	}
	RememberPlace(h, "Caddyfile", 30)
	if got := PlaceOf(loaded); got != "Caddyfile:12 or Caddyfile:30" {
		t.Errorf("written twice: got %q", got)
	}
}

func TestPlacesAreBounded(t *testing.T) {
	for i := range int64(2 * maxPlaces) {
		RememberPlace(written{N: i + 1}, fmt.Sprint("f", i), 1)
	}
	if len(places.of) > maxPlaces {
		t.Errorf("%d places are remembered", len(places.of))
	}
}
