// Package export writes audit records in the forms that security tools read:
// OCSF API Activity, the Elastic Common Schema and ArcSight's Common Event
// Format. What a record does not say is left out, never made up.
package export

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

// Func appends one record, given as the line of the trail, to dst in another
// form, without newline. log is the trail's name, index the record's number.
type Func func(dst []byte, log string, index int64, line []byte) ([]byte, error)

// formats are the forms, each with what writes it.
var formats = map[string]func(dst []byte, e *entry) []byte{
	"cef":  appendCEF,
	"ecs":  ecs.append,
	"ocsf": ocsf.append,
}

// Names are the forms that Format knows.
var Names = slices.Sorted(maps.Keys(formats))

// Format returns the function for a form: ocsf, ecs or cef.
func Format(name string) (Func, error) {
	write, ok := formats[name]
	if !ok {
		return nil, fmt.Errorf("unknown format %q: must be %s", name, strings.Join(Names, ", "))
	}
	return func(dst []byte, log string, index int64, line []byte) ([]byte, error) {
		var r record.Record
		if err := record.Decode(line, &r); err != nil {
			return dst, fmt.Errorf("record %d: %w", index, err)
		}
		return write(dst, newEntry(log, index, &r)), nil
	}, nil
}

// hostPort splits an address as far as it is one.
func hostPort(s string) (host string, port int64) {
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		return s, 0
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return h, 0
	}
	return h, int64(n)
}

// failed reports whether the request was refused or went wrong.
func failed(r *record.Record) bool {
	_, refused := r.Refused()
	return refused || r.Status >= 400 || r.End == record.EndPanic
}

// activity names the API operation: the method and the path.
func activity(r *record.Record) string { return r.Method + " " + r.Path }

// message is a sentence for people.
func message(r *record.Record) string {
	switch r.Kind {
	case record.Change:
		return strings.TrimSpace(r.Layer + ": " + r.What)
	case record.Intent:
		return activity(r) + " begun"
	}
	if d, ok := r.Refused(); ok {
		return fmt.Sprintf("%s refused by %s with %d", activity(r), d.Layer, r.Status)
	}
	return fmt.Sprintf("%s: status %d", activity(r), r.Status)
}

// scheme of the URL that was asked for.
func scheme(r *record.Record) string {
	if r.TLS != "" {
		return "https"
	}
	return "http"
}

// rule is the rule that decided: of the rejection, or of the last layer that
// allowed by one.
func rule(r *record.Record) (decision.Decision, bool) {
	if d, ok := r.Refused(); ok {
		return d, true
	}
	for _, d := range slices.Backward(r.Decisions) {
		if d.Rule != "" {
			return d, true
		}
	}
	return decision.Decision{}, false
}
