package layers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Severity says what comes of a finding.
type Severity string

// The severities.
const (
	// Refused: the configuration does not load.
	Refused Severity = "refused"
	// Warning: it loads, and the log says what is wrong.
	Warning Severity = "warning"
)

// Finding is something in a configuration that cannot work as written.
type Finding struct {
	// What kind of finding it is: a name that stays the same from version to
	// version, such as layer_unreachable.
	ID string `json:"id"`

	// Whether the configuration is refused.
	Severity Severity `json:"severity"`

	// What is wrong, and what to write instead.
	Text string `json:"text"`

	// Where: the file and line of the directive where they are known, else
	// nothing.
	Place string `json:"place,omitempty"`

	// What it concerns: the name of the server, and whatever else distinguishes
	// it from other findings of its kind, such as the zone of a rate limit.
	About map[string]string `json:"about,omitempty"`
}

// String returns what an administrator reads where the configuration is refused.
func (f Finding) String() string {
	about := make([]string, 0, len(f.About))
	for _, name := range slices.Sorted(maps.Keys(f.About)) {
		about = append(about, name+" "+f.About[name])
	}
	text := f.Text
	if len(about) > 0 {
		text = strings.Join(about, ", ") + ": " + text
	}
	if f.Place != "" {
		text = f.Place + ": " + text
	}
	return text
}

// log writes the finding as a warning.
func (f Finding) log(logger *zap.Logger) {
	fields := []zap.Field{zap.String("id", f.ID)}
	if f.Place != "" {
		fields = append(fields, zap.String("place", f.Place))
	}
	for _, name := range slices.Sorted(maps.Keys(f.About)) {
		fields = append(fields, zap.String(name, f.About[name]))
	}
	logger.Warn(f.Text, fields...)
}

// RememberPlace notes where in a Caddyfile the directive stands that adapts to
// a handler, so that findings name file and line.
func RememberPlace(handler any, file string, line int) {
	option.RememberPlace(handler, file, line)
}

// placeOf returns where a handler is written, "" if that is not known.
func placeOf(h caddyhttp.MiddlewareHandler) string {
	if p, ok := h.(interface{ Place() string }); ok {
		return p.Place()
	}
	return option.PlaceOf(h)
}

// nameOf returns the directive of a handler, or else the name of its module.
func nameOf(h caddyhttp.MiddlewareHandler) string {
	if n, ok := h.(interface{ LayerName() string }); ok {
		return n.LayerName()
	}
	if m, ok := h.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return fmt.Sprintf("%T", h)
}

// refusal returns the error of the findings that are refused, nil if there are
// none.
func refusal(findings []Finding) error {
	for _, f := range findings {
		if f.Severity == Refused {
			return fmt.Errorf("%s (%s)", f, f.ID)
		}
	}
	return nil
}
