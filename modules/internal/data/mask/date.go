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

// ShiftDate appends text with its date shifted by that many days. All else,
// the time of day and the time zone, stays as it is written. It reports false if
// text is not a date, or the result is not within the years 1 to 9999.
func ShiftDate(dst, text []byte, days int) ([]byte, bool) {
	m := datePattern.FindSubmatchIndex(text)
	if m == nil {
		return dst, false
	}
	for form, layout := range dateForms {
		at := 2 + form*6
		if m[at] < 0 {
			continue
		}
		part := func(i int) int {
			v, _ := strconv.Atoi(string(text[m[at+2*i]:m[at+2*i+1]]))
			return v
		}
		year, month, day := part(0), part(1), part(2)
		date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		if date.Year() != year || int(date.Month()) != month || date.Day() != day {
			return dst, false // such as 30 February
		}
		date = date.AddDate(0, 0, days)
		if date.Year() < 1 || date.Year() > 9999 {
			return dst, false
		}
		end := m[at+5]
		if form == 3 {
			end += len("日")
		}
		dst = fmt.Appendf(dst, layout, date.Year(), date.Month(), date.Day())
		return append(dst, text[end:]...), true
	}
	return dst, false
}

// ShiftUnix appends a number of seconds or milliseconds since 1970 shifted by
// that many days. It reports false if text is neither: seconds have 9 or 10
// digits, milliseconds 12 or 13.
func ShiftUnix(dst, text []byte, days int) ([]byte, bool) {
	v, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || v < 0 {
		return dst, false
	}
	day := int64(24 * 60 * 60)
	switch len(text) {
	case 9, 10:
	case 12, 13:
		day *= 1000
	default:
		return dst, false
	}
	return strconv.AppendInt(dst, v+day*int64(days), 10), true
}
