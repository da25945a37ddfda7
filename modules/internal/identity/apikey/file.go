package apikey

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Bounds of a store.
const (
	MaxSize    = 64 << 20 // bytes
	MaxKeys    = 200_000
	maxLine    = 16 << 10
	MaxSecrets = 2 // of one key, alive at once
)

// File is the content of a store: one JSON object a line. The first line says
// what it is,
//
//	{"moat_api_keys":1,"prefix":"moat","pepper_check":"0123456789abcdef"}
//
// and each of the others is a key, with these members in any order, of which
// id, owner, created and secrets are required:
//
//	{"id":"7GhX2kQz9LmA","owner":"acme","roles":["partner"],"scopes":["orders:read"],"plan":"gold",
//	 "created":"2026-11-22T10:00:00Z","not_before":"…","expires":"…",
//	 "addresses":["203.0.113.0/24"],"methods":["GET"],"disabled":true,"revoked":"…",
//	 "secrets":[{"hmac":"<64 hex digits>","created":"…","expires":"…"}]}
//
// Anything else, members that are unknown or given twice included, is an
// error: a restriction that is not understood must not be passed over.
type File struct {
	Prefix string

	// PepperCheck is the Check of the pepper of all hashes.
	PepperCheck string

	Entries []Entry
}

// Entry is one key.
type Entry struct {
	ID    string
	Owner string

	// What the key grants.
	Roles  []string
	Scopes []string
	Plan   string

	// When. Zero means no bound.
	Created   time.Time
	NotBefore time.Time
	Expires   time.Time

	// From where and how it may be used. Empty means no restriction.
	Addresses []netip.Prefix
	Methods   []string

	// Disabled is undone by enabling; a revoked key stays so.
	Disabled bool
	Revoked  time.Time

	Secrets []Secret
}

// Secret is what is kept of one secret of a key.
type Secret struct {
	MAC     [32]byte
	Created time.Time
	Expires time.Time // zero: when the key does
}

// Find returns the key of that id, nil if there is none.
func (f *File) Find(id string) *Entry {
	if i := slices.IndexFunc(f.Entries, func(e Entry) bool { return e.ID == id }); i >= 0 {
		return &f.Entries[i]
	}
	return nil
}

// State says in a word what may become of e at that time: revoked, disabled,
// expired, pending or active.
func (e *Entry) State(now time.Time) string {
	switch {
	case !e.Revoked.IsZero():
		return "revoked"
	case e.Disabled:
		return "disabled"
	case e.Live(now) == 0:
		return "expired"
	case now.Before(e.NotBefore):
		return "pending"
	}
	return "active"
}

// Live returns how many secrets of e have not expired.
func (e *Entry) Live(now time.Time) (n int) {
	if !e.Expires.IsZero() && !now.Before(e.Expires) {
		return 0
	}
	for _, s := range e.Secrets {
		if s.Expires.IsZero() || now.Before(s.Expires) {
			n++
		}
	}
	return n
}

// Append prints the file.
func (f *File) Append(b []byte) []byte {
	b = append(b, `{"moat_api_keys":1,"prefix":`...)
	b = strictjson.AppendString(b, f.Prefix)
	b = append(b, `,"pepper_check":`...)
	b = strictjson.AppendString(b, f.PepperCheck)
	b = append(b, "}\n"...)
	for i := range f.Entries {
		b = append(f.Entries[i].append(b), '\n')
	}
	return b
}

func (e *Entry) append(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = strictjson.AppendString(b, e.ID)
	b = append(b, `,"owner":`...)
	b = strictjson.AppendString(b, e.Owner)
	b = strictjson.AppendList(b, "roles", e.Roles)
	b = strictjson.AppendList(b, "scopes", e.Scopes)
	if e.Plan != "" {
		b = append(b, `,"plan":`...)
		b = strictjson.AppendString(b, e.Plan)
	}
	b = strictjson.AppendTime(b, "created", e.Created)
	b = strictjson.AppendTime(b, "not_before", e.NotBefore)
	b = strictjson.AppendTime(b, "expires", e.Expires)
	ranges := make([]string, 0, len(e.Addresses))
	for _, a := range e.Addresses {
		ranges = append(ranges, a.String())
	}
	b = strictjson.AppendList(b, "addresses", ranges)
	b = strictjson.AppendList(b, "methods", e.Methods)
	if e.Disabled {
		b = append(b, `,"disabled":true`...)
	}
	b = strictjson.AppendTime(b, "revoked", e.Revoked)
	return append(AppendSecrets(b, e.Secrets), '}')
}

// AppendSecrets appends the member secrets of an entry, of a store or of another
// file that has MACs of secrets.
func AppendSecrets(b []byte, secrets []Secret) []byte {
	b = append(b, `,"secrets":[`...)
	for i, s := range secrets {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"hmac":"`...)
		b = hex.AppendEncode(b, s.MAC[:])
		b = append(b, '"')
		b = strictjson.AppendTime(b, "created", s.Created)
		b = strictjson.AppendTime(b, "expires", s.Expires)
		b = append(b, '}')
	}
	return append(b, ']')
}

// ParseFile reads a store. The error says which line is wrong.
func ParseFile(text []byte) (*File, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("it is empty")
	}
	var f *File
	ids := make(map[string]bool)
	lines := strictjson.Lines{Size: MaxSize, Line: maxLine, Count: 1 + MaxKeys, Of: "lines"}
	err := lines.Each(text, func(s *strictjson.Scanner, line []byte) (err error) {
		if f == nil {
			f, err = parseHeader(s, line)
			return err
		}
		e, err := parseEntry(s, line)
		if err == nil && ids[e.ID] {
			err = fmt.Errorf("the key %s is given twice", e.ID)
		}
		ids[e.ID] = true
		f.Entries = append(f.Entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func parseHeader(s *strictjson.Scanner, line []byte) (*File, error) {
	f := new(File)
	version := false
	err := s.Fields(line, func(name string, value []byte) (err error) {
		switch name {
		case "moat_api_keys":
			if version = string(value) == "1"; !version {
				err = errors.New("only version 1 is known")
			}
		case "prefix":
			if f.Prefix, err = strictjson.String(value); err == nil {
				err = CheckPrefix(f.Prefix)
			}
		case "pepper_check":
			f.PepperCheck, err = strictjson.String(value)
			if b, hexErr := hex.DecodeString(f.PepperCheck); hexErr != nil || len(b) != 8 || hex.EncodeToString(b) != f.PepperCheck {
				err = errors.New("16 hex digits are expected")
			}
		default:
			err = strictjson.ErrUnknown
		}
		return err
	})
	if err == nil && (!version || f.Prefix == "" || f.PepperCheck == "") {
		err = errors.New("not the first line of a store of API keys")
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func parseEntry(s *strictjson.Scanner, line []byte) (e Entry, err error) {
	err = s.Fields(line, func(name string, value []byte) (err error) {
		switch name {
		case "id":
			if e.ID, err = strictjson.String(value); err == nil {
				err = CheckID(e.ID)
			}
		case "owner":
			if e.Owner, err = strictjson.String(value); err == nil {
				err = CheckName(e.Owner)
			}
		case "plan":
			if e.Plan, err = strictjson.String(value); err == nil {
				err = CheckWord(e.Plan)
			}
		case "roles":
			e.Roles, err = strictjson.List(value, role)
		case "scopes":
			e.Scopes, err = strictjson.List(value, word)
		case "addresses":
			e.Addresses, err = strictjson.List(value, ParseRange)
		case "methods":
			e.Methods, err = strictjson.List(value, ParseMethod)
		case "created":
			e.Created, err = strictjson.Moment(value)
		case "not_before":
			e.NotBefore, err = strictjson.Moment(value)
		case "expires":
			e.Expires, err = strictjson.Moment(value)
		case "revoked":
			e.Revoked, err = strictjson.Moment(value)
		case "disabled":
			e.Disabled, err = strictjson.Bool(value)
		case "secrets":
			e.Secrets, err = ParseSecrets(value)
		default:
			err = strictjson.ErrUnknown
		}
		return err
	})
	if err != nil {
		return e, err
	}
	return e, e.Validate()
}

// Validate says what is wrong with an entry as a whole.
func (e *Entry) Validate() error {
	switch {
	case e.ID == "" || e.Owner == "" || e.Created.IsZero():
		return errors.New("id, owner and created are required")
	case len(e.Secrets) == 0 || len(e.Secrets) > MaxSecrets:
		return fmt.Errorf("a key has 1 to %d secrets", MaxSecrets)
	case len(e.Secrets) == MaxSecrets && e.Secrets[0].MAC == e.Secrets[1].MAC:
		return errors.New("a secret is given twice")
	case !e.NotBefore.IsZero() && !e.Expires.IsZero() && !e.NotBefore.Before(e.Expires):
		return errors.New("it expires before it begins")
	}
	return nil
}

// ParseSecrets reads a list of secrets, of which there may be one more than
// MaxSecrets, for the caller to refuse.
func ParseSecrets(value []byte) ([]Secret, error) {
	var out []Secret
	elements, ok := strictjson.Array(value)
	if !ok {
		return nil, errors.New("a list is expected")
	}
	var s strictjson.Scanner
	for v, ok := elements.Next(); ok; v, ok = elements.Next() {
		var sec Secret
		var known bool
		err := s.Fields(v, func(name string, value []byte) (err error) {
			switch name {
			case "hmac":
				var digits string
				if digits, err = strictjson.String(value); err != nil {
					return err
				}
				b, hexErr := hex.DecodeString(digits)
				if known = hexErr == nil && copy(sec.MAC[:], b) == len(sec.MAC) && hex.EncodeToString(sec.MAC[:]) == digits; !known {
					err = errors.New("64 hex digits are expected")
				}
			case "created":
				sec.Created, err = strictjson.Moment(value)
			case "expires":
				sec.Expires, err = strictjson.Moment(value)
			default:
				err = strictjson.ErrUnknown
			}
			return err
		})
		if err == nil && (!known || sec.Created.IsZero()) {
			err = errors.New("hmac and created are required")
		}
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", strconv.Itoa(len(out)+1), err)
		}
		if out = append(out, sec); len(out) > MaxSecrets {
			break // Validate refuses it
		}
	}
	return out, nil
}

// Rotate gives e another secret and returns the text of the key with it. The
// secret there was stays good for overlap, and for no longer than it was.
func (e *Entry) Rotate(pepper *Pepper, prefix string, now time.Time, overlap time.Duration) (string, error) {
	if state := e.State(now); state == "revoked" || state == "expired" {
		return "", fmt.Errorf("the key %s is %s: make a new one", e.ID, state)
	}
	now = now.UTC().Truncate(time.Second)
	end := now.Add(overlap)
	alive := slices.DeleteFunc(slices.Clone(e.Secrets), func(s Secret) bool {
		return overlap <= 0 || !s.Expires.IsZero() && !now.Before(s.Expires)
	})
	if len(alive) == MaxSecrets {
		return "", fmt.Errorf("two secrets of the key %s are good already, one of them until %s: wait, or end both at once with an overlap of 0s",
			e.ID, alive[0].Expires.Format(time.RFC3339))
	}
	for i := range alive {
		if alive[i].Expires.IsZero() || end.Before(alive[i].Expires) {
			alive[i].Expires = end
		}
	}
	text, mac, err := Mint(pepper, prefix, e.ID)
	if err != nil {
		return "", err
	}
	e.Secrets = append(alive, Secret{MAC: mac, Created: now})
	return text, nil
}
