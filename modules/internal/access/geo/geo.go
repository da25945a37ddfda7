// Package geo says in which country and network an address is, by databases in
// the MaxMind DB format that an administrator has.
package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// MaxSize is the largest database that is read.
const MaxSize = 512 << 20

// Unknown is the country, and 0 the network, of addresses that are not in a
// database.
const Unknown = "unknown"

// errNothing is of databases about something else.
var errNothing = errors.New("the database has neither countries nor networks (ASN)")

// Database is what one file says.
type Database struct {
	reader       *maxminddb.Reader
	country, asn []any // where they stand in a record, nil where they do not
}

// paths are where databases have what is looked for: those of MaxMind and
// DB-IP, and then those of IPinfo.
var (
	countryPaths = [][]any{{"country", "iso_code"}, {"country_code"}, {"country"}}
	asnPaths     = [][]any{{"autonomous_system_number"}, {"asn"}}
)

// Parse opens a database and checks all of it.
func Parse(data []byte) (*Database, error) {
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("no MaxMind DB: %w", err)
	}
	if err := reader.Verify(); err != nil {
		return nil, fmt.Errorf("the database is damaged: %w", err)
	}
	d := &Database{reader: reader}
	d.learn()
	if d.country == nil && d.asn == nil {
		return nil, errNothing
	}
	return d, nil
}

// maxSampled is in how many networks to look for what a database has.
const maxSampled = 10_000

// learn finds out where records have what is looked for.
func (d *Database) learn() {
	n := 0
	for result := range d.reader.Networks() {
		if n++; n > maxSampled || d.country != nil && d.asn != nil {
			return
		}
		for _, path := range countryPaths {
			if code, ok := countryOf(result, path); d.country == nil && ok && code != "" {
				d.country = path
			}
		}
		for _, path := range asnPaths {
			if number, ok := asnOf(result, path); d.asn == nil && ok && number != 0 {
				d.asn = path
			}
		}
	}
}

// HasCountries reports whether the database knows countries.
func (d *Database) HasCountries() bool { return d.country != nil }

// HasNetworks reports whether the database knows the numbers of networks.
func (d *Database) HasNetworks() bool { return d.asn != nil }

// Country returns the ISO 3166-1 code of an address in its normal form, in
// capitals, and Unknown where the database does not have it.
func (d *Database) Country(a netip.Addr) (code string, err error) {
	result := d.reader.Lookup(a)
	if err := result.Err(); err != nil {
		return Unknown, ignoreVersion(a, err)
	}
	if !result.Found() {
		return Unknown, nil
	}
	code, ok := countryOf(result, d.country)
	if !ok {
		return Unknown, errRecord
	}
	if code == "" {
		return Unknown, nil
	}
	return code, nil
}

// Network returns the number of the autonomous system that announces an address,
// 0 where the database does not have it.
func (d *Database) Network(a netip.Addr) (number uint32, err error) {
	result := d.reader.Lookup(a)
	if err := result.Err(); err != nil {
		return 0, ignoreVersion(a, err)
	}
	if !result.Found() {
		return 0, nil
	}
	number, ok := asnOf(result, d.asn)
	if !ok {
		return 0, errRecord
	}
	return number, nil
}

var errRecord = errors.New("a record of the database cannot be read")

// ignoreVersion passes over that a database for IPv4 has no IPv6.
func ignoreVersion(a netip.Addr, err error) error {
	if a.Is6() {
		return nil
	}
	return err
}

func countryOf(result maxminddb.Result, path []any) (code string, ok bool) {
	err := result.DecodePath(&code, path...)
	if err != nil {
		return "", false
	}
	// country is the name of the country in some databases, beside country_code.
	if len(code) != 0 && len(code) != 2 {
		return "", false
	}
	return strings.ToUpper(code), true
}

func asnOf(result maxminddb.Result, path []any) (number uint32, ok bool) {
	if err := result.DecodePath(&number, path...); err == nil {
		return number, true
	}
	var text string
	if err := result.DecodePath(&text, path...); err != nil {
		return 0, false
	}
	if text == "" {
		return 0, true
	}
	number, err := ParseASN(text)
	return number, err == nil
}

// ParseASN reads the number of an autonomous system, with or without AS before
// it (RFC 5396: asplain).
func ParseASN(text string) (uint32, error) {
	digits := text
	if len(text) > 2 && strings.EqualFold(text[:2], "AS") {
		digits = text[2:]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || digits[0] == '+' || len(digits) > 1 && digits[0] == '0' {
		return 0, fmt.Errorf("'%s' is not the number of a network: write one such as 64500 or AS64500", text)
	}
	return uint32(n), nil
}

// ParseCountry reads the code of a country, or Unknown.
func ParseCountry(text string) (string, error) {
	if text == Unknown {
		return Unknown, nil
	}
	code := strings.ToUpper(text)
	if len(code) != 2 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "", fmt.Errorf("'%s' is not the code of a country: write two letters of ISO 3166-1, such as DE, or %s", text, Unknown)
	}
	if code == "UK" {
		return "", errors.New("'UK' is no code of ISO 3166-1: write GB")
	}
	return code, nil
}

// File is a database in a file, which is watched.
type File struct{ *filewatch.Kept[Database] }

// OpenFile reads a database and begins to watch its file. It must go on having
// what it has when it is opened.
func OpenFile(path string, report func(filewatch.Event)) (*File, error) {
	var first atomic.Pointer[Database]
	parse := func(data []byte) (*Database, error) {
		d, err := Parse(data)
		if err != nil || first.CompareAndSwap(nil, d) {
			return d, err
		}
		if had := first.Load(); had.HasCountries() && !d.HasCountries() || had.HasNetworks() && !d.HasNetworks() {
			return nil, fmt.Errorf("%s lacks what %s had", d, had)
		}
		return d, nil
	}
	kept, err := filewatch.Keep(path, MaxSize, parse, func(before, after *Database, err error) {
		e := filewatch.Event{Err: err}
		if before != after {
			e.Detail = after.String()
		}
		report(e)
	})
	if err != nil {
		return nil, err
	}
	return &File{kept}, nil
}

// Database returns what is in force.
func (f *File) Database() *Database { return f.Value() }

// Len returns the size of the search tree.
func (f *File) Len() int { return int(f.Value().reader.Metadata.NodeCount) } //nolint:gosec // at most 2^32

// String names the database and when it was made.
func (d *Database) String() string {
	m := d.reader.Metadata
	return m.DatabaseType + " of " + m.BuildTime().UTC().Format("2006-01-02")
}
