package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

func parseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	days, found := strings.CutSuffix(s, "d")
	if n, err := strconv.ParseFloat(days, 64); found && err == nil && n >= 0 {
		return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-11-22, 2026-11-22T10:00:00Z or a duration ago such as 2h", s)
}
