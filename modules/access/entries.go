package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/geo"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/lists"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// Entries is what is listed.
type Entries struct {
	// Addresses, ranges in CIDR form, and `private_ranges`, which stands for
	// the private and loopback ranges as in Caddy's own options. IPv4 is not written as IPv6,
	// and ranges have no bits set behind their length.
	Addresses []string `json:"addresses,omitempty"`

	// Files with an address or a range a line. Blank lines and what stands
	// behind # or ; are skipped. They are watched: a change is in force within a
	// second as a whole, and a file that is missing, empty or has an error leaves
	// in force what was read last. At load, it is an error. Global placeholders
	// are replaced at load. At most 64 MiB each.
	Files []string `json:"files,omitempty"`

	// Numbers of autonomous systems, such as 64500. 0 is the addresses that the
	// database does not have. They need a database that has them.
	ASNs []uint32 `json:"asns,omitempty"`

	// Countries, by their codes of ISO 3166-1, such as DE, and `unknown` for the
	// addresses that the database does not have. They need a database that has them.
	Countries []string `json:"countries,omitempty"`
}

// privateRanges stands for the private ranges.
const privateRanges = "private_ranges"

func errKindAlone(kind string) error {
	return fmt.Errorf("%s takes one or more: write %s", kind, map[string]string{
		"file": "file <path>...", "asn": "asn <number>..., such as asn 64500", "country": "country <code>..., such as country DE",
	}[kind])
}

// addOnce appends what is not there yet.
func addOnce[T comparable](to *[]T, value T, written string) error {
	if slices.Contains(*to, value) {
		return fmt.Errorf("'%s' already specified", written)
	}
	*to = append(*to, value)
	return nil
}

// empty reports whether nothing is listed.
func (e *Entries) empty() bool {
	return e == nil || len(e.Addresses)+len(e.Files)+len(e.ASNs)+len(e.Countries) == 0
}

// located reports whether a database is needed.
func (e *Entries) located() (countries, networks bool) {
	if e == nil {
		return false, false
	}
	return len(e.Countries) > 0, len(e.ASNs) > 0
}

// ranges returns the entries that stand in the configuration.
func (e *Entries) ranges() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range e.Addresses {
		if text == privateRanges {
			for _, text := range caddyhttp.PrivateRangesCIDR() {
				// One is 127.0.0.1/8, and one ::1.
				r, err := netip.ParsePrefix(text)
				if err != nil {
					r, err = lists.ParseEntry(text)
				}
				if err != nil {
					return nil, err
				}
				all = append(all, r.Masked())
			}
			continue
		}
		r, err := lists.ParseEntry(text)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	for _, code := range e.Countries {
		if _, err := geo.ParseCountry(code); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// list is entries as they are looked up.
type list struct {
	verb    string // deny, allow or exempt
	written *lists.Set
	rules   map[netip.Prefix]string // as they are written
	files   []listFile
	asns    map[uint32]string
	country map[string]string
}

// listFile is a file of a list.
type listFile struct {
	rule string
	file *lists.File
}

// files are files of addresses.
var files = watched.Kind{
	Layer: Name, Option: "file", Logger: "http.handlers." + Name, Subject: "the list of addresses", What: "addresses",
	Describe: func(e filewatch.Event) (what, detail string) { return "addresses changed", e.Detail },
	Metrics: watched.Metrics{
		Entries:  prometheus.NewDesc("caddy_moat_access_list_entries", "Addresses and ranges in the file.", []string{"file"}, nil),
		Unusable: prometheus.NewDesc("caddy_moat_access_list_unusable", watched.UnusableHelp, []string{"file"}, nil),
	},
}

// databases are files that know where addresses are.
var databases = watched.Kind{
	Layer: Name, Option: "database", Logger: "http.handlers." + Name, Subject: "the database of addresses", What: "database",
	Describe: func(e filewatch.Event) (what, detail string) { return "database changed", e.Detail },
	Metrics: watched.Metrics{
		Unusable: prometheus.NewDesc("caddy_moat_access_database_unusable", watched.UnusableHelp, []string{"database"}, nil),
	},
}

// newList opens what is listed, nil if nothing is.
func newList(ctx caddy.Context, held *lifecycle.Held, verb string, e *Entries) (*list, error) {
	if e.empty() {
		return nil, nil
	}
	ranges, err := e.ranges()
	if err != nil {
		return nil, err
	}
	l := &list{
		verb: verb, written: lists.NewSet(ranges), rules: make(map[netip.Prefix]string, len(ranges)),
		asns: make(map[uint32]string), country: make(map[string]string),
	}
	for _, r := range ranges {
		l.rules[r] = verb + " " + lists.Format(r)
	}
	for _, n := range e.ASNs {
		l.asns[n] = fmt.Sprintf("%s asn %d", verb, n)
	}
	for _, code := range e.Countries {
		code, _ = geo.ParseCountry(code) // checked above
		l.country[code] = verb + " country " + code
	}
	for _, path := range e.Files {
		f, err := watched.Open(ctx, held, &files, path, "addresses", lists.OpenFile)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, listFile{verb + " " + path, f})
	}
	return l, nil
}

// find returns the rule by which an address in its normal form is listed, "" if
// it is not. exact is false for a rule that says where the address is and not
// which.
func (l *list) find(a netip.Addr, where *locator) (rule string, exact bool, err error) {
	if l == nil {
		return "", false, nil
	}
	if l.written.Contains(a) {
		entry, _ := l.written.Find(a)
		return l.rules[entry], true, nil
	}
	for i := range l.files {
		if f := &l.files[i]; f.file.Set().Contains(a) {
			return f.rule, true, nil
		}
	}
	if len(l.asns) > 0 {
		n, err := where.network(a)
		if rule := l.asns[n]; err != nil || rule != "" {
			return rule, false, err
		}
	}
	if len(l.country) > 0 {
		code, err := where.country(a)
		return l.country[code], false, err
	}
	return "", false, nil
}

// detailed returns the rule of an address with the entry of its file.
func (l *list) detailed(a netip.Addr, rule string) string {
	for _, f := range l.files {
		if entry, ok := f.file.Set().Find(a); ok && f.rule == rule {
			return rule + ": " + lists.Format(entry)
		}
	}
	return rule
}

// entries returns how many entries are in force; those of a place count.
func (l *list) entries() int {
	n := l.written.Len() + len(l.asns) + len(l.country)
	for _, f := range l.files {
		n += f.file.Len()
	}
	return n
}

// covers reports whether the entry that is written is as a whole in the list.
func (l *list) covers(r netip.Prefix) (by string, ok bool) {
	if l == nil {
		return "", false
	}
	if l.written.Covers(r) {
		return l.verb + " of a range that has it", true
	}
	for _, f := range l.files {
		if f.file.Set().Covers(r) {
			return f.rule, true
		}
	}
	return "", false
}

// locator says where addresses are.
type locator struct{ files []*geo.File }

// newLocator opens the databases, which must have what the entries need.
func newLocator(ctx caddy.Context, held *lifecycle.Held, paths []string, all ...*Entries) (*locator, error) {
	l := new(locator)
	countries, networks := needed(all)
	for _, path := range paths {
		f, err := watched.Open(ctx, held, &databases, path, "database", geo.OpenFile)
		if err != nil {
			return nil, err
		}
		d := f.Database()
		if useful := countries && d.HasCountries() || networks && d.HasNetworks(); !useful {
			return nil, fmt.Errorf("database %s (%s) has nothing that an entry needs: write the one that has, or remove it", path, d)
		}
		l.files = append(l.files, f)
	}
	if countries && l.with((*geo.Database).HasCountries) == nil {
		return nil, errors.New("no database has countries: write database <file> with the path of one that has, such as GeoLite2-Country.mmdb")
	}
	if networks && l.with((*geo.Database).HasNetworks) == nil {
		return nil, errors.New("no database has the numbers of networks: write database <file> with the path of one that has, such as GeoLite2-ASN.mmdb")
	}
	return l, nil
}

// needed returns what the entries need of databases.
func needed(all []*Entries) (countries, networks bool) {
	for _, e := range all {
		c, n := e.located()
		countries, networks = countries || c, networks || n
	}
	return countries, networks
}

func (l *locator) with(has func(*geo.Database) bool) *geo.Database {
	for _, f := range l.files {
		if d := f.Database(); has(d) {
			return d
		}
	}
	return nil
}

func (l *locator) country(a netip.Addr) (string, error) {
	return l.with((*geo.Database).HasCountries).Country(a)
}

func (l *locator) network(a netip.Addr) (uint32, error) {
	return l.with((*geo.Database).HasNetworks).Network(a)
}

// checkEntries checks what can be checked without files.
func checkEntries(paths []string, all ...*Entries) error {
	for _, e := range all {
		if e == nil {
			continue
		}
		if _, err := e.ranges(); err != nil {
			return err
		}
	}
	countries, networks := needed(all)
	switch {
	case (countries || networks) && len(paths) == 0:
		return errors.New("asn and country need a database that says where addresses are: write database <file> with the path of a MaxMind DB, such as GeoLite2-Country.mmdb")
	case len(paths) > 0 && !countries && !networks:
		return errors.New("database has no effect without asn or country: write deny country <code>, or remove it")
	}
	return nil
}
