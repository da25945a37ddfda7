package mask

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Generalizer makes a value less exact. It reports false if text is not of its
// kind. Where number is set, text is a JSON number, and so is what it appends.
type Generalizer func(dst, text []byte, number bool) ([]byte, bool)

var generalizers = map[string]Generalizer{
	"region": region(2),
	"city":   region(4),
	"day":    calendar(3),
	"month":  calendar(2),
	"year":   calendar(1),
	"ip24":   network(24, 48),
	"ip16":   network(16, 32),
}

// Generalizations returns the names that Generalize knows, sorted.
func Generalizations() []string {
	return slices.Sorted(maps.Keys(generalizers))
}

// Generalize returns the generalization called name:
//
//	region  a code of GB/T 2260, of 6, 9 or 12 digits, becomes that of the
//	        province: 440305 → 440000
//	city    the same, of the prefecture: 440305 → 440300
//	day     a date as [ShiftDate] and [ShiftUnix] know them loses its time of day
//	month   2024-05-17T10:00:00Z → 2024-05; seconds and milliseconds since 1970
//	        become those in which the month began, in UTC
//	year    2024-05-17 → 2024
//	ip24    an address becomes its network: /24 of IPv4, /48 of IPv6
//	ip16    the same, /16 and /32
func Generalize(name string) (Generalizer, error) {
	f, ok := generalizers[name]
	if !ok {
		return nil, fmt.Errorf("unknown generalization '%s': write one of %s", name, strings.Join(Generalizations(), ", "))
	}
	return f, nil
}

func region(keep int) Generalizer {
	return func(dst, text []byte, _ bool) ([]byte, bool) {
		if n := len(text); n != 6 && n != 9 && n != 12 {
			return dst, false
		}
		if digits, rest := leadingDigits(text); len(rest) > 0 || !isProvince(digits) {
			return dst, false
		}
		return append(append(dst, text[:keep]...), bytes.Repeat([]byte{'0'}, len(text)-keep)...), true
	}
}

func isProvince(digits []byte) bool {
	return slices.Contains(provinces, (digits[0]-'0')*10+digits[1]-'0')
}

// calendar leaves the first parts of a date: year, month, day.
func calendar(parts int) Generalizer {
	return func(dst, text []byte, number bool) ([]byte, bool) {
		// A JSON number of more than the digits of a date is a time.
		if !number || len(text) == 8 {
			if out, ok := shortDate(dst, text, parts); ok {
				return out, true
			}
		}
		return shortUnix(dst, text, parts)
	}
}

// shortDate is for dates as they are written.
func shortDate(dst, text []byte, parts int) ([]byte, bool) {
	date, form, _, ok := parseDate(text)
	if !ok {
		return dst, false
	}
	layout := dateForms[form]
	for range 3 - parts { // from one part to the next is one verb
		layout = layout[:strings.LastIndexByte(layout, '%')]
	}
	layout = strings.TrimRight(layout, "-/")
	return fmt.Appendf(dst, layout, []any{date.Year(), int(date.Month()), date.Day()}[:parts]...), true
}

func shortUnix(dst, text []byte, parts int) ([]byte, bool) {
	v, unit, ok := parseUnix(text)
	if !ok {
		return dst, false
	}
	date := time.Unix(v/unit, 0).UTC()
	month, day := date.Month(), date.Day()
	if parts < 3 {
		day = 1
	}
	if parts < 2 {
		month = 1
	}
	return strconv.AppendInt(dst, time.Date(date.Year(), month, day, 0, 0, 0, 0, time.UTC).Unix()*unit, 10), true
}

func network(v4, v6 int) Generalizer {
	return func(dst, text []byte, _ bool) ([]byte, bool) {
		addr, err := netip.ParseAddr(string(text))
		if err != nil {
			return dst, false
		}
		addr = addr.Unmap().WithZone("")
		bits := v6
		if addr.Is4() {
			bits = v4
		}
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return dst, false
		}
		return prefix.AppendTo(dst), true
	}
}
