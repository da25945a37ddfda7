package apikeyauth

import (
	"testing"
	"time"
)

func TestDateIsTheMomentAtWhichThatDayBegins(t *testing.T) {
	here := time.FixedZone("here", 8*3600)
	f := &keyFlags{now: func() time.Time { return time.Date(2026, 11, 30, 12, 0, 0, 0, here) }}
	for text, want := range map[string]string{
		"2027-06-30": "2027-06-29T16:00:00Z", "2027-06-30T00:00:00Z": "2027-06-30T00:00:00Z", "1d": "2026-12-01T04:00:00Z",
	} {
		if got, err := f.moment("expires", text); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}
