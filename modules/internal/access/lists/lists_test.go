package lists

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEntriesThatWouldNeverBeFoundAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3/8":              "'10.1.2.3/8' has bits set behind its first 8: write 10.0.0.0/8 for the range, or 10.1.2.3 for the one address",
		"2001:db8::1/32":          "write 2001:db8::/32 for the range, or 2001:db8::1 for",
		"::ffff:10.1.2.3":         "is IPv4 written as IPv6: write 10.1.2.3",
		"::ffff:10.0.0.0/104":     "is IPv4 written as IPv6: write 10.0.0.0/8",
		"::ffff:10.1.2.3/104":     "is IPv4 written as IPv6: write 10.0.0.0/8",
		"::ffff:10.1.2.3/80":      "write ranges of IPv4 and of IPv6 apart",
		"fe80::1%eth0":            "has a zone, which no request has: write fe80::1",
		"fe80::%eth0/64":          "has a zone, which no request has: write fe80::/64",
		"10.0.0.1-10.0.0.9":       "write ranges in CIDR form",
		"10.0.0.1,10.0.0.2":       "write one a line",
		"010.0.0.1":               "not an address or a range",
		"10.0.0.0/08":             "not an address or a range",
		"10.0.0.0/+8":             "not an address or a range",
		"10.0.0.0/33":             "not an address or a range",
		"10.0.0":                  "not an address or a range",
		"10.0.0.0/255.0.0.0":      "not an address or a range",
		"1.2.3.4/":                "not an address or a range",
		"":                        "not an address or a range",
		"a\nb\x1b[31m":            "'a?b?[31m'",
		strings.Repeat("1", 1000): strings.Repeat("1", 64) + "…'",
	} {
		if r, err := ParseEntry(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: got %v %v, want %q", text, r, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	s, err := Parse([]byte("\xef\xbb\xbf# blocked\r\n\r\n10.0.0.0/8 ; SBL1\n2001:db8::/32#x\n 192.0.2.7\t\n10.0.0.0/8\n10.1.0.0/16"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(s.Text()), "# addresses and ranges\n10.0.0.0/8\n10.1.0.0/16\n192.0.2.7\n2001:db8::/32\n"; got != want {
		t.Errorf("got %q", got)
	}
	for address, want := range map[string]string{
		"10.255.0.1": "10.0.0.0/8", "10.1.2.3": "10.1.0.0/16", "::ffff:10.1.2.3": "10.1.0.0/16", "192.0.2.7": "192.0.2.7/32",
		"192.0.2.8": "", "2001:db8::1%eth0": "2001:db8::/32", "11.0.0.0": "", "::10.0.0.1": "",
	} {
		a := Normal(netip.MustParseAddr(address))
		entry, ok := s.Find(a)
		if ok != (want != "") || ok && entry.String() != want || s.Contains(a) != ok {
			t.Errorf("%s: %v %v", address, entry, ok)
		}
	}
	if s.Contains(netip.Addr{}) {
		t.Error("no address is in the list")
	}
}

func TestFilesThatAreNoListAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "the file is empty",
		"\xef\xbb\xbf":                  "the file is empty",
		" \n\n":                         "the file is empty",
		"10.0.0.0/8\n0.0.0.0/0\n":       "line 2: 0.0.0.0/0 covers every address",
		"::/0":                          "line 1: ::/0 covers every address",
		"# x\n10.0.0.1 10.0.0.2":        "line 2: '10.0.0.1 10.0.0.2' is not an address",
		"<!DOCTYPE html>":               "line 1: '<!DOCTYPE html>' is not an address",
		"10.0.0.0/8\n\x00\x00\x00\x00":  "line 2: '????' is not an address",
		"10.0.0.0/8\n// comment\n1.1.1": "line 2: '// comment'",
	} {
		if s, err := Parse([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v %v, want %q", text, s, err, want)
		}
	}
	if s, err := Parse([]byte("# none\n")); err != nil || s.Len() != 0 {
		t.Errorf("a list that is meant to be empty: %v", err)
	}
}

func TestDifferenceNamesEntries(t *testing.T) {
	set := func(text string) *Set {
		s, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got, want := difference(set("10.0.0.0/8\n1.1.1.1"), set("10.0.0.0/8\n10.0.0.1\n")), "2 entries\nadded 10.0.0.1\nremoved 1.1.1.1"; got != want {
		t.Errorf("got %q", got)
	}
	if got := difference(set("# none"), NewSet(manyRanges(100))); !strings.HasSuffix(got, "\nand 80 more added") {
		t.Errorf("got %q", got)
	}
}

// FuzzParse holds two laws: what is printed and read again is the same list, and
// the table finds what a search of all entries finds.
func FuzzParse(f *testing.F) {
	f.Add([]byte("10.0.0.0/8\n2001:db8::/32 # x\n192.0.2.7"), []byte{10, 0, 0, 1})
	f.Add([]byte("0.0.0.0/1\n128.0.0.0/1\n::/1\n8000::/1\n"), []byte("0123456789abcdef"))
	f.Add([]byte("::ffff:10.0.0.0/104\nfe80::1%eth0\n10.1.2.3/8"), []byte{})
	f.Fuzz(func(t *testing.T, text, address []byte) {
		ranges, err := parseRanges(text)
		set, again := Parse(text)
		if (err == nil) != (again == nil) {
			t.Fatal(err, again)
		}
		if err != nil {
			return
		}
		printed := set.Text()
		second, err := Parse(printed)
		if err != nil {
			t.Fatalf("%q: %v", printed, err)
		}
		if got := second.Text(); string(got) != string(printed) || second.Len() != set.Len() {
			t.Fatalf("%q became %q", printed, got)
		}
		var probes []netip.Addr
		if a, ok := netip.AddrFromSlice(address); ok {
			probes = append(probes, a)
		}
		for _, r := range ranges[:min(len(ranges), 100)] {
			probes = append(probes, r.Addr(), r.Addr().Prev(), r.Addr().Next(), last(r), last(r).Next(), r.Addr().WithZone("a"))
			if r.Addr().Is4() {
				probes = append(probes, netip.AddrFrom16(r.Addr().As16()))
			}
		}
		for _, a := range probes {
			if !a.IsValid() {
				continue
			}
			a = Normal(a)
			want := slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(a) })
			if set.Contains(a) != want {
				t.Fatalf("%s in %q: %v", a, printed, !want)
			}
			if entry, ok := set.Find(a); ok != want || ok && !entry.Contains(a) {
				t.Fatalf("%s in %q: %v %v", a, printed, entry, ok)
			}
		}
	})
}

// last returns the last address of a range.
func last(r netip.Prefix) netip.Addr {
	b := r.Addr().AsSlice()
	for i := r.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// manyRanges returns n ranges as lists of the Internet have them: two thirds of
// IPv4, from single addresses to /16.
func manyRanges(n int) []netip.Prefix {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a fixed sequence
	seen := make(map[netip.Prefix]bool, n)
	for len(seen) < n {
		var a netip.Addr
		bits := 32 - int(min(random.ExpFloat64()*4, 16))
		if len(seen)%3 == 2 {
			var b [16]byte
			binary.BigEndian.PutUint64(b[:], random.Uint64())
			b[0], b[1] = 0x20, b[1]%64
			a, bits = netip.AddrFrom16(b), bits*2
		} else {
			a = netip.AddrFrom4([4]byte{byte(1 + random.IntN(222)), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
		}
		r, _ := a.Prefix(bits)
		seen[r] = true
	}
	ranges := make([]netip.Prefix, 0, n)
	for r := range seen {
		ranges = append(ranges, r)
	}
	slices.SortFunc(ranges, netip.Prefix.Compare)
	return ranges
}

func millionText() []byte {
	var b strings.Builder
	for _, r := range manyRanges(1_000_000) {
		b.WriteString(Format(r) + "\n")
	}
	return []byte(b.String())
}

// BenchmarkParse reads a file of a million ranges:
//
//	go test ./modules/internal/access/lists -bench Parse -benchtime 3x
func BenchmarkParse(b *testing.B) {
	text := millionText()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if s, err := Parse(text); err != nil || s.Len() != 1_000_000 {
			b.Fatal(s.Len(), err)
		}
	}
}

// BenchmarkContains looks addresses up among a million ranges, every second one
// in one of them. The more callers there are, the fewer of their nodes are in the
// processor's cache.
func BenchmarkContains(b *testing.B) {
	ranges := manyRanges(1_000_000)
	s := NewSet(ranges)
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a fixed sequence
	for _, callers := range []int{1 << 10, 1 << 16} {
		probes := make([]netip.Addr, callers)
		for i := range probes {
			if i%2 == 0 {
				probes[i] = ranges[random.IntN(len(ranges))].Addr()
			} else {
				probes[i] = netip.AddrFrom4([4]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
			}
		}
		b.Run(strconv.Itoa(callers)+" callers", func(b *testing.B) {
			b.ReportAllocs()
			found, i := 0, 0
			for b.Loop() {
				if s.Contains(Normal(probes[i%callers])) {
					found++
				}
				i++
			}
			if found == 0 && i >= callers {
				b.Fatal("nothing found")
			}
		})
	}
}

func TestLookUpsAllocateNothing(t *testing.T) {
	ranges := manyRanges(10_000)
	s, i := NewSet(ranges), 0
	if n := testing.AllocsPerRun(1000, func() {
		a := Normal(ranges[i].Addr())
		if entry, ok := s.Find(a); !s.Contains(a) || !ok || !entry.IsValid() {
			t.Error(a)
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Text prints the set as a file, an entry a line in their order. What Parse
// makes of it is the same set.
func (s *Set) Text() []byte {
	var b bytes.Buffer
	b.WriteString("# addresses and ranges\n")
	for entry := range s.table.AllSorted() {
		b.WriteString(Format(entry))
		b.WriteByte('\n')
	}
	return b.Bytes()
}
