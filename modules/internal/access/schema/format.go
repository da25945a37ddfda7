package schema

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"math/big"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Format is a format of strings or numbers that is checked.
type Format struct {
	Name     string
	Expected string

	text   func([]byte) bool // nil: strings are not looked at
	number func(*decimal) bool
	slow   func(any) error // asked where text says no
}

// holds reports whether a value has the format. Values of other types have.
func (f *Format) holds(v *Validator, at int) bool {
	switch v.tape.Values[at].Kind {
	case strictjson.KindString:
		if f.text == nil && f.slow == nil {
			return true
		}
		text := v.string(at)
		if f.text != nil && f.text(text) {
			return true
		}
		return f.slow != nil && f.slow(string(text)) == nil
	case strictjson.KindNumber:
		if f.number == nil {
			return true
		}
		var room [40]byte
		d := parseDecimal(v.tape.Text(at), room[:0])
		return f.number(&d)
	}
	return true
}

// foreignFormat is a format of the library.
func foreignFormat(from *jsonschema.Format) *Format {
	f := &Format{Name: from.Name, Expected: "a text of the format " + from.Name, slow: from.Validate}
	switch from.Name {
	case "date-time":
		f.text, f.Expected = dateTime, "a date and time such as 2026-11-30T10:00:00Z"
	case "date":
		f.text, f.Expected = date, "a date such as 2026-11-30"
	case "uuid":
		f.text, f.Expected = uuid, "a UUID"
	}
	return f
}

// Formats are those beside the ones of JSON Schema: the registry of OpenAPI.
var Formats = formats(
	integerFormat("int8", math.MinInt8, math.MaxInt8),
	integerFormat("int16", math.MinInt16, math.MaxInt16),
	integerFormat("int32", math.MinInt32, math.MaxInt32),
	integerFormat("int64", math.MinInt64, math.MaxInt64),
	integerFormat("uint8", 0, math.MaxUint8),
	integerFormat("uint16", 0, math.MaxUint16),
	integerFormat("uint32", 0, math.MaxUint32),
	&Format{Name: "uint64", Expected: "an integer from 0 to 18446744073709551615", number: within64},
	&Format{Name: "float", Expected: "a number within single precision", number: single},
	&Format{Name: "double", Expected: "a number within double precision", number: func(*decimal) bool { return true }},
	&Format{Name: "byte", Expected: "a text in base64", text: base64Text(base64.StdEncoding)},
	&Format{Name: "base64url", Expected: "a text in base64url", text: func(text []byte) bool {
		return base64Text(base64.RawURLEncoding)(text) || base64Text(base64.URLEncoding)(text)
	}},
	&Format{Name: "binary"}, &Format{Name: "password"},
)

func formats(list ...*Format) map[string]*Format {
	m := make(map[string]*Format, len(list))
	for _, f := range list {
		m[f.Name] = f
	}
	return m
}

// IsFormat reports whether a format is checked.
func IsFormat(name string) bool {
	if Formats[name] != nil {
		return true
	}
	switch name {
	case "date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference",
		"uri-template", "uuid", "json-pointer", "relative-json-pointer", "regex":
		return true
	}
	return false
}

func integerFormat(name string, least, most int64) *Format {
	return &Format{
		Name: name, Expected: "an integer from " + big.NewInt(least).String() + " to " + big.NewInt(most).String(),
		number: func(d *decimal) bool {
			if d.whole {
				return d.small >= least && d.small <= most
			}
			if !d.integer() || d.exp > 19 {
				return false
			}
			n := d.large(0)
			if d.negative {
				n.Neg(n)
			}
			return n.IsInt64() && n.Int64() >= least && n.Int64() <= most
		},
	}
}

func within64(d *decimal) bool {
	if d.whole {
		return d.small >= 0
	}
	return d.integer() && !d.negative && d.exp <= 20 && d.large(0).IsUint64()
}

// single reports whether a number has a finite value in single precision.
func single(d *decimal) bool {
	var room [20]byte
	s := d.spread(room[:])
	if s.exp < 38 {
		return true
	}
	limit := parseDecimal([]byte("3.40282346638528859811704183484516925440e+38"), nil)
	s.negative = false
	return s.compare(&limit) <= 0
}

func base64Text(encoding *base64.Encoding) func([]byte) bool {
	return func(text []byte) bool {
		for _, c := range text {
			if c == '\n' || c == '\r' { // which the decoder skips
				return false
			}
		}
		_, err := encoding.Strict().AppendDecode(nil, text)
		return err == nil
	}
}

// register has the library know formats, for those who ask it.
func register(c *jsonschema.Compiler, list map[string]*Format) {
	for name, f := range list {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: f.validate})
	}
}

var errFormat = errors.New("not of the format")

// validate checks a value of encoding/json.
func (f *Format) validate(value any) error {
	switch x := value.(type) {
	case string:
		if f.text != nil && !f.text([]byte(x)) {
			return errFormat
		}
	case json.Number:
		d := parseDecimal([]byte(x), nil)
		if f.number != nil && !f.number(&d) {
			return errFormat
		}
	}
	return nil
}

// The functions below know the usual forms, and leave all others to the library.

func digits(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

var daysOf = [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func date(text []byte) bool {
	if len(text) != 10 || text[4] != '-' || text[7] != '-' {
		return false
	}
	year, ok1 := digits(text[:4])
	month, ok2 := digits(text[5:7])
	day, ok3 := digits(text[8:])
	if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 {
		return false
	}
	leap := month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0)
	return day <= daysOf[month-1] || leap && day == 29
}

func dateTime(text []byte) bool {
	if len(text) < 20 || !date(text[:10]) || text[10] != 'T' || text[13] != ':' || text[16] != ':' {
		return false
	}
	hour, ok1 := digits(text[11:13])
	minute, ok2 := digits(text[14:16])
	second, ok3 := digits(text[17:19])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return false
	}
	zone := text[19:]
	if zone[0] == '.' {
		n := 1
		for n < len(zone) && zone[n]-'0' <= 9 {
			n++
		}
		if n == 1 {
			return false
		}
		zone = zone[n:]
	}
	return len(zone) == 1 && zone[0] == 'Z'
}

func uuid(text []byte) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range text {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if c-'0' > 9 && (c|0x20)-'a' > 5 {
				return false
			}
		}
	}
	return true
}
