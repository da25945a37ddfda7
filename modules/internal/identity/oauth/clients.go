package oauth

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/fileedit"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Bounds of a file of clients.
const (
	MaxSize    = 16 << 20 // bytes
	MaxClients = 20_000
	maxLine    = 64 << 10
)

// SecretPrefix is what client secrets begin with, which are written like API keys.
const SecretPrefix = "moatcs"

// ClientFile is the content of a file of clients: one JSON object a line. The
// first line says what it is,
//
//	{"moat_clients":1,"pepper_check":"0123456789abcdef"}
//
// and each of the others is a client. Anything else, members that are unknown or
// given twice included, is an error: a restriction that is not understood must
// not be passed over.
type ClientFile struct {
	// PepperCheck is the Check of the pepper of all secrets.
	PepperCheck string

	Clients []*Client
}

// Find returns the client of that ID, nil if there is none.
func (f *ClientFile) Find(id string) *Client {
	if i := slices.IndexFunc(f.Clients, func(c *Client) bool { return c.ID == id }); i >= 0 {
		return f.Clients[i]
	}
	return nil
}

// Append prints the file.
func (f *ClientFile) Append(b []byte) []byte {
	b = append(b, `{"moat_clients":1,"pepper_check":`...)
	b = strictjson.AppendString(b, f.PepperCheck)
	b = append(b, "}\n"...)
	for _, c := range f.Clients {
		b = append(c.append(b), '\n')
	}
	return b
}

// ParseClients reads a file of clients. The error says which line is wrong.
func ParseClients(text []byte) (*ClientFile, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("it is empty")
	}
	var f *ClientFile
	ids := make(map[string]bool)
	lines := strictjson.Lines{Size: MaxSize, Line: maxLine, Count: 1 + MaxClients, Of: "lines"}
	err := lines.Each(text, func(s *strictjson.Scanner, line []byte) (err error) {
		if f == nil {
			f, err = parseHeader(s, line)
			return err
		}
		c, err := parseClient(s, line)
		if err != nil {
			return err
		}
		if ids[c.ID] {
			return fmt.Errorf("the client %s is given twice", c.ID)
		}
		ids[c.ID] = true
		f.Clients = append(f.Clients, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func parseHeader(s *strictjson.Scanner, line []byte) (*ClientFile, error) {
	f, version := new(ClientFile), false
	err := s.Fields(line, func(name string, value []byte) (err error) {
		switch name {
		case "moat_clients":
			if version = string(value) == "1"; !version {
				err = errors.New("only version 1 is known")
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
	if err == nil && (!version || f.PepperCheck == "") {
		err = errors.New("not the first line of a file of clients: make it with `caddy moat client new`")
	}
	return f, err
}

// EditClients changes the clients in a file: change gets what is there, nil where
// there is no file, and returns what shall be. See fileedit.Edit.
func EditClients(path string, change func(*ClientFile) (*ClientFile, error)) error {
	return fileedit.Edit(path, MaxSize, func(text []byte) ([]byte, error) {
		var old *ClientFile
		var err error
		if text != nil {
			if old, err = ParseClients(text); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		f, err := change(old)
		if err != nil {
			return nil, err
		}
		after := f.Append(nil)
		// What cannot be read again must not be written.
		if _, err := ParseClients(after); err != nil {
			return nil, fmt.Errorf("%s would no longer be a file of clients: %w", path, err)
		}
		return after, nil
	})
}

// LoadClients reads a file of clients once.
func LoadClients(path string) (*ClientFile, error) {
	text, err := filewatch.Read(path, MaxSize)
	if err != nil {
		return nil, err
	}
	return ParseClients(text)
}

// ErrPepper says that the secrets of a file were made with another pepper.
var ErrPepper = errors.New("the secrets were made with another pepper, that of another storage")

// NewSecret gives the client another secret and returns its text. The one it has
// stays good for overlap, and for no longer than it was.
func (c *Client) NewSecret(pepper *apikey.Pepper, now time.Time, overlap time.Duration) (string, error) {
	now = now.UTC().Truncate(time.Second)
	end := now.Add(overlap)
	alive := slices.DeleteFunc(slices.Clone(c.Secrets), func(s apikey.Secret) bool {
		return overlap <= 0 || !s.Expires.IsZero() && !now.Before(s.Expires)
	})
	if len(alive) == apikey.MaxSecrets {
		return "", fmt.Errorf("two secrets of the client %s are good already, one of them until %s: wait, or end both at once with an overlap of 0s",
			c.ID, alive[0].Expires.Format(time.RFC3339))
	}
	for i := range alive {
		if alive[i].Expires.IsZero() || end.Before(alive[i].Expires) {
			alive[i].Expires = end
		}
	}
	text, mac, err := apikey.Mint(pepper, SecretPrefix, apikey.NewID())
	if err != nil {
		return "", err
	}
	c.Secrets = append(alive, apikey.Secret{MAC: mac, Created: now})
	return text, nil
}

// registered is a client made ready.
type registered struct {
	*Client
	verifier *token.Verifier // of its assertions, nil without keys
}

type clientTable struct {
	clients map[string]*registered
	lines   map[string]string // by ID, to tell what has changed
}

// Clients is a file of clients, which is watched.
type Clients struct {
	*filewatch.Kept[clientTable]
	pepper    *apikey.Pepper
	audiences []string
}

// OpenClients reads a file of clients and begins to watch it. A file that is
// missing or garbled, or that was made with another pepper, is an error now; later
// it is an event, and what was read last stays in force. Events name clients by
// their IDs. The audiences are those that the assertions of clients may name.
func OpenClients(path string, pepper *apikey.Pepper, audiences []string, report func(filewatch.Event)) (*Clients, error) {
	c := &Clients{pepper: pepper, audiences: audiences}
	kept, err := filewatch.Keep(path, MaxSize, c.parse, func(before, after *clientTable, err error) {
		e := difference(before.lines, after.lines)
		e.Err = err
		report(e)
	})
	if err != nil {
		return nil, err
	}
	c.Kept = kept
	return c, nil
}

// Len returns the number of clients, whatever their state.
func (c *Clients) Len() int { return len(c.Value().clients) }

// Find returns the client of that ID, or nil.
func (c *Clients) Find(id string) *Client {
	if r := c.Value().clients[id]; r != nil {
		return r.Client
	}
	return nil
}

// All calls f with every client.
func (c *Clients) All(f func(*Client)) {
	for _, r := range c.Value().clients {
		f(r.Client)
	}
}

func (c *Clients) parse(text []byte) (*clientTable, error) {
	f, err := ParseClients(text)
	if err != nil {
		return nil, err
	}
	if f.PepperCheck != c.pepper.Check() {
		return nil, ErrPepper
	}
	t := &clientTable{make(map[string]*registered, len(f.Clients)), make(map[string]string, len(f.Clients))}
	for _, client := range f.Clients {
		r := &registered{Client: client}
		if client.keys != nil {
			r.verifier, err = token.NewVerifier([]token.Issuer{{
				Name: client.ID, Keys: token.StaticKeys(client.keys...), Audience: c.audiences,
			}}, token.Options{Leeway: Leeway})
			if err != nil {
				return nil, fmt.Errorf("client %s: %w", client.ID, err)
			}
		}
		t.clients[client.ID] = r
		t.lines[client.ID] = string(client.append(nil))
	}
	return t, nil
}

// difference tells which entries are new, gone or others than before.
func difference(before, after map[string]string) (e filewatch.Event) {
	for id, line := range after {
		switch old, ok := before[id]; {
		case !ok:
			e.Added = append(e.Added, id)
		case old != line:
			e.Changed = append(e.Changed, id)
		}
	}
	for id := range before {
		if _, ok := after[id]; !ok {
			e.Removed = append(e.Removed, id)
		}
	}
	slices.Sort(e.Added)
	slices.Sort(e.Changed)
	slices.Sort(e.Removed)
	return e
}
