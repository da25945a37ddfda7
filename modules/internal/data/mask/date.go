package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// ShiftDays derives from key by how many days dates are shifted: at least one
// and at most most, to either side. It is one number for a key, so the time
// between two dates stays what it was.
func ShiftDays(key []byte, most int) int {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("moat shift 1\x00"))
	v := binary.BigEndian.Uint64(mac.Sum(nil))
	days := int(v>>1%uint64(max(most, 1))) + 1
	if v&1 == 1 {
		return -days
	}
	return days
}

// datePattern is a date, alone or with a time of day, whose parts stand in the
// order of ISO 8601.
var datePattern = regexp.MustCompile(`^(?:(\d{4})-(\d\d)-(\d\d)|(\d{4})/(\d\d)/(\d\d)|(\d{4})(\d\d)(\d\d)|(\d{4})年(\d\d?)月(\d\d?)日)` +
	`(?:[T ]?\d\d:?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?$`)

var dateForms = [...]string{"%04d-%02d-%02d", "%04d/%02d/%02d", "%04d%02d%02d", "%04d年%d月%d日"}

// parseDate reads a date and where in text it ends. It reports false if text is not a
// date, alone or with a time of day.
func parseDate(text []byte) (date time.Time, form, end int, ok bool) {
	m := datePattern.FindSubmatchIndex(text)
	if m == nil {
		return date, 0, 0, false
	}
	for form = range dateForms {
		at := 2 + form*6
		if m[at] < 0 {
			continue
		}
		part := func(i int) int {
			v, _ := strconv.Atoi(string(text[m[at+2*i]:m[at+2*i+1]]))
			return v
		}
		year, month, day := part(0), part(1), part(2)
		date = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		if date.Year() != year || int(date.Month()) != month || date.Day() != day {
			return date, 0, 0, false // such as 30 February
		}
		end = m[at+5]
		if form == 3 {
			end += len("日")
		}
		return date, form, end, true
	}
	return date, 0, 0, false
}

// ShiftDate appends text with its date shifted by that many days. All else,
// the time of day and the time zone, stays as it is written. It reports false if
// text is not a date, or the result is not within the years 1 to 9999.
func ShiftDate(dst, text []byte, days int) ([]byte, bool) {
	date, form, end, ok := parseDate(text)
	if !ok {
		return dst, false
	}
	date = date.AddDate(0, 0, days)
	if date.Year() < 1 || date.Year() > 9999 {
		return dst, false
	}
	dst = fmt.Appendf(dst, dateForms[form], date.Year(), date.Month(), date.Day())
	return append(dst, text[end:]...), true
}

// parseUnix reads a number of seconds or milliseconds since 1970, and how many
// of them are in a second. It reports false if text is neither: seconds have 9 or 10
// digits, milliseconds 12 or 13.
func parseUnix(text []byte) (v, unit int64, ok bool) {
	v, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || v < 0 {
		return 0, 0, false
	}
	switch len(text) {
	case 9, 10:
		return v, 1, true
	case 12, 13:
		return v, 1000, true
	}
	return 0, 0, false
}

// ShiftUnix appends a number of seconds or milliseconds since 1970 shifted by
// that many days. It reports false if text is neither: seconds have 9 or 10
// digits, milliseconds 12 or 13.
func ShiftUnix(dst, text []byte, days int) ([]byte, bool) {
	v, unit, ok := parseUnix(text)
	if !ok {
		return dst, false
	}
	return strconv.AppendInt(dst, v+24*60*60*unit*int64(days), 10), true
}
