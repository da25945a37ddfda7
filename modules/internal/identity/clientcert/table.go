package clientcert

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Bounds of a map.
const (
	MaxSize    = 16 << 20 // bytes
	MaxEntries = 100_000
	maxLine    = 16 << 10
	maxList    = 256
)

// Entry is one line of a map: whom a certificate is known by, and what that
// grants.
type Entry struct {
	// Sort is what Value is: one of the sorts spki, serial, spiffe, uri, dns,
	// email and subject.
	Sort  string
	Value string

	// Issuer goes with the sort serial: a serial number is one of its
	// issuer's (RFC 5280 section 4.1.2.2).
	Issuer string

	User     string
	Roles    []string
	Scopes   []string
	Plan     string
	Disabled bool
}

// key is what no two entries have in common.
type key struct{ sort, value, issuer string }

func (e *Entry) key() key { return key{e.Sort, e.Value, e.Issuer} }

// Table is a map from certificates to users. It is immutable.
type Table struct {
	entries map[key]*Entry
	sorts   [len(entrySorts)]bool // that occur
}

// entrySorts are the sorts of an entry, those that are about a single
// certificate or key first.
var entrySorts = [...]string{SPKISort, SerialSort, SPIFFESort, URISort, DNSSort, EmailSort, SubjectSort}

// Len returns the number of entries.
func (t *Table) Len() int { return len(t.entries) }

// Entries returns the entries, the disabled ones too.
func (t *Table) Entries() iter.Seq[*Entry] { return maps.Values(t.entries) }

// ParseTable reads a map: JSON lines such as
//
//	{"spiffe":"spiffe://example.org/orders","user":"orders","roles":["clerk"],"scopes":["orders:read"],"plan":"gold"}
//	{"serial":"1A2B","issuer":"CN=Example CA,O=Example","user":"alice"}
//	{"spki":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","disabled":true}
//
// Blank lines and lines that begin with # are skipped. Anything else is an
// error, which says which line is wrong: a member that is unknown or given
// twice could be a restriction that is not understood.
func ParseTable(text []byte) (*Table, error) {
	t := &Table{entries: make(map[key]*Entry)}
	lines := strictjson.Lines{Size: MaxSize, Line: maxLine, Count: MaxEntries, Of: "certificates", Comments: true}
	if err := lines.Each(text, t.add); err != nil {
		return nil, err
	}
	if len(t.entries) == 0 {
		return nil, errors.New("it names no certificate")
	}
	return t, nil
}

func (t *Table) add(s *strictjson.Scanner, line []byte) error {
	e, err := parseEntry(s, line)
	if err != nil {
		return err
	}
	k := e.key()
	if t.entries[k] != nil {
		return fmt.Errorf("%s %s is given twice", e.Sort, e.Value)
	}
	t.entries[k] = e
	t.sorts[slices.Index(entrySorts[:], e.Sort)] = true
	return nil
}

var (
	errUnknown = errors.New("unknown member: write spki, serial and issuer, spiffe, uri, dns, email or subject; user, roles, scopes, plan, disabled")
	errSorts   = errors.New("one of spki, serial, spiffe, uri, dns, email and subject is needed, and one alone")
)

func parseEntry(s *strictjson.Scanner, line []byte) (*Entry, error) {
	if err := s.Object(line); err != nil {
		return nil, err
	}
	e := new(Entry)
	for i := range s.Len() {
		m := s.Member(i)
		if err := e.set(string(m.Name), m.Value); err != nil {
			return nil, fmt.Errorf("%.40q: %w", m.Name, err)
		}
	}
	switch {
	case e.Sort == "":
		return nil, errSorts
	case (e.Sort == SerialSort) != (e.Issuer != ""):
		return nil, errors.New("serial and issuer go together")
	case e.Disabled && (len(e.Roles) > 0 || len(e.Scopes) > 0 || e.Plan != ""):
		return nil, errors.New("what is disabled grants nothing")
	}
	return e, nil
}

func (e *Entry) set(name string, value []byte) (err error) {
	switch name {
	case "user":
		e.User, err = readText(value, apikey.CheckName)
	case "plan":
		e.Plan, err = readText(value, apikey.CheckWord)
	case "roles":
		e.Roles, err = readList(value, apikey.CheckRole)
	case "scopes":
		e.Scopes, err = readList(value, apikey.CheckWord)
	case "issuer":
		e.Issuer, err = readNormal(value, NormalDN)
	case "disabled":
		if e.Disabled = string(value) == "true"; !e.Disabled && string(value) != "false" {
			err = errors.New("true or false is expected")
		}
	default:
		normal, ok := normals[name]
		if !ok {
			return errUnknown
		}
		if e.Sort != "" {
			return errSorts
		}
		e.Sort = name
		e.Value, err = readNormal(value, normal)
	}
	return err
}

// normals are how the values of the sorts of an entry are spelled.
var normals = map[string]func(string) (string, error){
	SPKISort:    func(s string) (string, error) { return s, CheckPin(s) },
	SerialSort:  NormalSerial,
	SPIFFESort:  func(s string) (string, error) { return s, checkLeafID(s) },
	URISort:     func(s string) (string, error) { return s, CheckURI(s) },
	DNSSort:     NormalDNS,
	EmailSort:   NormalEmail,
	SubjectSort: NormalDN,
}

func checkLeafID(s string) error {
	id, err := ParseID(s)
	if err == nil && id.Path() == "" {
		err = errors.New("this is the SPIFFE ID of a trust domain, not of somebody in it")
	}
	return err
}

func readNormal(value []byte, normal func(string) (string, error)) (out string, err error) {
	text, err := readText(value, func(string) error { return nil })
	if err != nil {
		return "", err
	}
	return normal(text)
}

func readText(value []byte, check func(string) error) (string, error) {
	b, ok := strictjson.Text(value)
	if !ok {
		return "", errors.New("a text is expected")
	}
	return string(b), check(string(b))
}

// readList reads a list of roles or scopes.
func readList(value []byte, check func(string) error) ([]string, error) {
	elements, ok := strictjson.Array(value)
	if !ok {
		return nil, errors.New("a list is expected")
	}
	var out []string
	for v, ok := elements.Next(); ok; v, ok = elements.Next() {
		word, err := readText(v, check)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(out, word):
			return nil, errors.New("an element is given twice")
		case len(out) == maxList:
			return nil, fmt.Errorf("more than %d elements", maxList)
		}
		out = append(out, word)
	}
	if len(out) == 0 {
		return nil, errors.New("the list is empty: leave the member out")
	}
	return out, nil
}

// Find returns the entry that a certificate is known by, nil if there is none.
//
// An entry about the very key or the very certificate decides alone. Else
// the names of the certificate must lead to one entry: two of them are two
// users, of which one would be a guess. Whatever decides, one entry that is
// disabled disables the certificate.
func (t *Table) Find(n *Names) (*Entry, error) {
	var found *Entry
	several := false
	for i, sort := range entrySorts {
		if !t.sorts[i] {
			continue
		}
		for _, k := range n.keys(sort) {
			switch e := t.entries[k]; {
			case e == nil:
			case e.Disabled:
				return e, ErrDisabled
			case found == nil:
				found = e
			case found.Sort != SPKISort && found.Sort != SerialSort:
				several = true
			}
		}
	}
	if several {
		return nil, ErrSeveral
	}
	return found, nil
}

// keys returns under which keys of that sort an entry for n would stand.
func (n *Names) keys(sort string) []key {
	var values []string
	switch sort {
	case SPKISort:
		values = []string{n.SPKI}
	case SerialSort:
		return []key{{SerialSort, n.Serial, n.Issuer}}
	case SPIFFESort:
		if n.ID != "" {
			values = []string{string(n.ID)}
		}
	case URISort:
		values = n.URIs
	case DNSSort:
		values = n.DNS
	case EmailSort:
		values = n.Emails
	case SubjectSort:
		values = []string{n.Subject}
	}
	keys := make([]key, 0, len(values))
	for _, v := range values {
		keys = append(keys, key{sort: sort, value: v})
	}
	return keys
}
