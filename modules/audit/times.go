package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeFormat is how commands print a time for people: where they are, with
// the offset from UTC.
const timeFormat = "2006-01-02 15:04:05.000 -07:00"

// parseTime reads a time as people write it. A date, today, yesterday and a
// time without offset are meant where the reader is: in the location of now.
// The span is what is meant, from its beginning to before its end; a point in
// time has no length.
func parseTime(s string, now time.Time) (from, to time.Time, err error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", timeFormat} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, t, nil
		}
	}
	day := func(t time.Time, ago int) (time.Time, time.Time, error) {
		year, month, d := t.Date()
		// Not 24 hours: a day of the clock's change has 23 or 25.
		return time.Date(year, month, d-ago, 0, 0, 0, 0, now.Location()), time.Date(year, month, d-ago+1, 0, 0, 0, 0, now.Location()), nil
	}
	switch strings.ToLower(s) {
	case "now":
		return now, now, nil
	case "today":
		return day(now, 0)
	case "yesterday":
		return day(now, 1)
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return day(t, 0)
	}
	ago := func(d time.Duration) (time.Time, time.Time, error) { return now.Add(-d), now.Add(-d), nil }
	days, found := strings.CutSuffix(s, "d")
	if n, err := strconv.ParseFloat(days, 64); found && err == nil && n >= 0 && n < 100_000 {
		return ago(time.Duration(n * 24 * float64(time.Hour)))
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return ago(d)
	}
	return time.Time{}, time.Time{}, fmt.Errorf("%q is not a time: write yesterday, 2026-11-22, '2026-11-22 10:00', 2026-11-22T10:00:00Z or a duration ago such as 2h or 7d", s)
}
