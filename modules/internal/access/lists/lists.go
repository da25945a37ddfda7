// Package lists holds lists of addresses, of networks and of callers, and says
// whether one is listed.
//
// An address is looked up in one form, Normal: IPv4 in IPv6 is IPv4 (RFC 4291
// section 2.5.5.2), and a zone, which names a link of this machine, counts for
// nothing. Entries are written in that form alone, since one that is written
// otherwise would never be found.
package lists

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// Normal returns the form of an address in which it is looked up.
func Normal(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Set is a set of addresses, as addresses and ranges. It must not change once
// it is used.
type Set struct{ table *bart.Lite }

// NewSet returns the set of what is in the ranges.
func NewSet(ranges []netip.Prefix) *Set {
	// Sorted, neighbours share nodes of the table while those are in the cache.
	if !slices.IsSortedFunc(ranges, netip.Prefix.Compare) {
		ranges = slices.SortedFunc(slices.Values(ranges), netip.Prefix.Compare)
	}
	var table bart.Lite
	for _, r := range ranges {
		table.Insert(r)
	}
	// What was built in steps is spread over memory; its copy is not, and found
	// in half the time where the list is larger than the cache.
	return &Set{table.Clone()}
}

// Contains reports whether an address in its normal form is in the set.
func (s *Set) Contains(a netip.Addr) bool { return s.table.Contains(a) }

// Find returns the narrowest entry that has the address.
func (s *Set) Find(a netip.Addr) (entry netip.Prefix, ok bool) {
	if !a.IsValid() {
		return netip.Prefix{}, false
	}
	return s.table.LookupPrefixLPM(netip.PrefixFrom(a, a.BitLen()))
}

// Covers reports whether the whole range is in one entry of the set.
func (s *Set) Covers(r netip.Prefix) bool { return s.table.LookupPrefix(r) }

// Len returns the number of entries.
func (s *Set) Len() int { return s.table.Size() }

// Format writes an entry as it is written in a list: one address without its length.
func Format(entry netip.Prefix) string {
	if entry.IsSingleIP() {
		return entry.Addr().String()
	}
	return entry.String()
}

// ParseEntry reads an address or a range. Errors say what to write instead.
func ParseEntry(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, notAnEntry(text)
		}
		return checked(text, netip.PrefixFrom(a, a.BitLen()), a.Zone())
	}
	r, err := netip.ParsePrefix(text)
	if err != nil {
		if address, bits, ok := strings.Cut(text, "/"); ok {
			if bare, _, zoned := strings.Cut(address, "%"); zoned {
				return netip.Prefix{}, zoneError(text, bare+"/"+bits)
			}
		}
		return netip.Prefix{}, notAnEntry(text)
	}
	return checked(text, r, "")
}

// checked refuses an entry that is not what it looks like.
func checked(text string, r netip.Prefix, zone string) (netip.Prefix, error) {
	a := r.Addr()
	switch {
	case zone != "":
		return netip.Prefix{}, zoneError(text, a.WithZone("").String())
	case a.Is4In6() && r.Bits() >= 96:
		plain := netip.PrefixFrom(a.Unmap(), r.Bits()-96).Masked()
		return netip.Prefix{}, fmt.Errorf("'%s' is IPv4 written as IPv6: write %s", shown(text), Format(plain))
	case r.Masked() != r:
		whole := r.Masked()
		if whole.Addr().Is4In6() || a.Is4In6() {
			return netip.Prefix{}, fmt.Errorf("'%s' is wider than IPv4 written as IPv6: write ranges of IPv4 and of IPv6 apart", shown(text))
		}
		return netip.Prefix{}, fmt.Errorf("'%s' has bits set behind its first %d: write %s for the range, or %s for the one address", shown(text), r.Bits(), whole, a)
	}
	return r, nil
}

func zoneError(text, plain string) error {
	return fmt.Errorf("'%s' has a zone, which no request has: write %s", shown(text), shown(plain))
}

func notAnEntry(text string) error {
	switch {
	case strings.Contains(text, "-"):
		return fmt.Errorf("'%s' is not an address or a range: write ranges in CIDR form, such as 192.0.2.0/24", shown(text))
	case strings.ContainsAny(text, ",;"):
		return fmt.Errorf("'%s' is not an address or a range: write one a line, and comments behind # or ;", shown(text))
	}
	return fmt.Errorf("'%s' is not an address or a range: write one such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", shown(text))
}

// shown cuts what is quoted in an error, and takes out of it what is no text.
func shown(text string) string {
	const most = 64
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return '?'
		}
		return c
	}, text)
}

// Why a file is no list.
var (
	errEmpty = errors.New("the file is empty, as one is that was cut short: a list that is to have no entries has a comment in it, such as # none")
	errAll   = errors.New("covers every address, so that it is no list")
)

// Parse reads the content of a file: an address or a range a line. Blank lines,
// and what stands behind # or ;, are skipped. An empty file, and one with an
// entry for every address, are no lists.
func Parse(text []byte) (*Set, error) {
	ranges, err := parseRanges(text)
	if err != nil {
		return nil, err
	}
	return NewSet(ranges), nil
}

func parseRanges(text []byte) ([]netip.Prefix, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errEmpty
	}
	ranges := make([]netip.Prefix, 0, bytes.Count(text, []byte{'\n'})+1)
	for at := 1; len(text) > 0; at++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		if i := bytes.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		r, err := ParseEntry(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", at, err)
		}
		if r.Bits() == 0 {
			return nil, fmt.Errorf("line %d: %s %w", at, r, errAll)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}
