package geo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// text, number and record encode values as the MaxMind DB format has them.
func text(s string) []byte { return append([]byte{2<<5 | byte(len(s))}, s...) }

func number(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{6<<5 | 4}, n) }

func record(members ...[]byte) []byte {
	return append([]byte{7<<5 | byte(len(members)/2)}, bytes.Join(members, nil)...)
}

// database builds a database of ranges of IPv4 in a tree for IPv6.
func database(kind string, records map[string][]byte) []byte {
	const none = ^uint32(0)
	nodes := [][2]uint32{{none, none}}
	var data []byte
	leaves := map[[2]int]uint32{} // offsets of data
	for written, value := range records {
		r := netip.MustParsePrefix(written)
		bits := make([]byte, 12, 16)
		bits = append(bits, r.Addr().AsSlice()...)
		at, length := 0, 96+r.Bits()
		for i := range length {
			bit := int(bits[i/8] >> (7 - i%8) & 1)
			if i == length-1 {
				leaves[[2]int{at, bit}] = uint32(len(data))
				break
			}
			if nodes[at][bit] == none {
				nodes[at][bit] = uint32(len(nodes))
				nodes = append(nodes, [2]uint32{none, none})
			}
			at = int(nodes[at][bit])
		}
		data = append(data, value...)
	}
	var out []byte
	count := uint32(len(nodes))
	for i, node := range nodes {
		for bit, next := range node {
			if offset, ok := leaves[[2]int{i, bit}]; ok {
				next = count + 16 + offset
			} else if next == none {
				next = count
			}
			out = binary.BigEndian.AppendUint32(out, next)
		}
	}
	out = append(out, make([]byte, 16)...)
	out = append(out, data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return append(out, record(
		text("binary_format_major_version"), []byte{5<<5 | 1, 2},
		text("binary_format_minor_version"), []byte{5 << 5},
		text("build_epoch"), append([]byte{4, 2}, 0x6a, 0x00, 0x00, 0x00),
		text("database_type"), text(kind),
		text("description"), record(text("en"), text("test")),
		text("ip_version"), []byte{5<<5 | 1, 6},
		text("languages"), []byte{1, 4, 2<<5 | 2, 'e', 'n'},
		text("node_count"), number(count),
		text("record_size"), []byte{5<<5 | 1, 32},
	)...)
}

func country(code string) []byte {
	return record(text("country"), record(text("iso_code"), text(code)))
}

func asn(n uint32) []byte { return record(text("autonomous_system_number"), number(n)) }

func maxmindCountries() []byte {
	return database("GeoLite2-Country", map[string][]byte{"203.0.113.0/24": country("DE"), "198.51.100.0/25": country("CN")})
}

func TestCountriesAndNetworks(t *testing.T) {
	for name, data := range map[string][]byte{
		"MaxMind": maxmindCountries(),
		"IPinfo": database("ipinfo lite", map[string][]byte{
			"203.0.113.0/24":  record(text("country_code"), text("DE"), text("country"), text("Germany"), text("asn"), text("AS64500")),
			"198.51.100.0/25": record(text("country_code"), text("cn"), text("asn"), text("")),
		}),
	} {
		d, err := Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !d.HasCountries() || d.HasNetworks() != (name == "IPinfo") {
			t.Errorf("%s: %v %v", name, d.HasCountries(), d.HasNetworks())
		}
		for address, want := range map[string]string{"203.0.113.9": "DE", "198.51.100.1": "CN", "198.51.100.200": Unknown, "2001:db8::1": Unknown, "10.0.0.1": Unknown} {
			if got, err := d.Country(netip.MustParseAddr(address)); got != want || err != nil {
				t.Errorf("%s: %s: %s %v", name, address, got, err)
			}
		}
	}
	d, err := Parse(database("GeoLite2-ASN", map[string][]byte{"203.0.113.0/24": asn(64500)}))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]uint32{"203.0.113.9": 64500, "198.51.100.1": 0} {
		if got, err := d.Network(netip.MustParseAddr(address)); got != want || err != nil {
			t.Errorf("%s: %d %v", address, got, err)
		}
	}
}

func TestDatabasesThatSayNothingAreRefused(t *testing.T) {
	good := maxmindCountries()
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":   {nil, "no MaxMind DB"},
		"text":    {[]byte("10.0.0.0/8"), "no MaxMind DB"},
		"cut":     {good[:len(good)/2], "no MaxMind DB"},
		"damaged": {append(bytes.Repeat([]byte{0xff}, 64), good[64:]...), "damaged"},
		"cities":  {database("X", map[string][]byte{"203.0.113.0/24": record(text("city"), text("Ulm"))}), errNothing.Error()},
	} {
		if d, err := Parse(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v %v", name, d, err)
		}
	}
}

func TestARecordThatCannotBeReadIsAnError(t *testing.T) {
	d, err := Parse(database("X", map[string][]byte{"203.0.113.0/24": country("DE"), "198.51.100.0/24": record(text("country"), record(text("iso_code"), number(1)))}))
	if err != nil {
		t.Fatal(err)
	}
	if code, err := d.Country(netip.MustParseAddr("198.51.100.1")); err == nil {
		t.Errorf("got %s", code)
	}
}

func TestADatabaseIsReplacedByOneOfItsKindAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, maxmindCountries(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path, func(filewatch.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Verify(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, database("ASN", map[string][]byte{"203.0.113.0/24": asn(64500)}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(); err == nil || !strings.Contains(err.Error(), "lacks what GeoLite2-Country of") {
		t.Errorf("got %v", err)
	}
}

func TestParseNames(t *testing.T) {
	for text, want := range map[string]uint32{"AS64500": 64500, "as1": 1, "0": 0, "4294967295": 4294967295} {
		if got, err := ParseASN(text); got != want || err != nil {
			t.Errorf("%s: %d %v", text, got, err)
		}
	}
	for _, text := range []string{"", "AS", "+1", "01", "-1", "4294967296", "1.10", "AS AS1"} {
		if got, err := ParseASN(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
	for text, want := range map[string]string{"de": "DE", "unknown": Unknown, "UK": "", "DEU": "", "D1": "", "": "", "Unknown": ""} {
		if got, err := ParseCountry(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}

func TestWriteSample(t *testing.T) {
	path := os.Getenv("MOAT_SAMPLE_DATABASE")
	if path == "" {
		t.Skip("writes the database of the integration tests to MOAT_SAMPLE_DATABASE")
	}
	if err := os.WriteFile(path, maxmindCountries(), 0o600); err != nil {
		t.Fatal(err)
	}
}
