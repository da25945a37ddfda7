package lists

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Kinds of entries for callers.
const (
	KindCaller      = "caller"      // who vouches, and the ID
	KindAPIKey      = "api_key"     // the ID of a key
	KindCertificate = "certificate" // the SHA-256 of a key, in base64
)

// Caller is an entry for callers.
type Caller struct {
	Kind string
	From string // of a caller: an issuer, or a kind of credential
	ID   string
}

// ParseCaller reads the words of an entry.
func ParseCaller(words []string) (Caller, error) {
	if len(words) == 0 {
		return Caller{}, errCaller
	}
	e := Caller{Kind: words[0]}
	switch rest := words[1:]; {
	case e.Kind == KindCaller && len(rest) == 2:
		e.From, e.ID = rest[0], rest[1]
	case e.Kind == KindCaller:
		return Caller{}, errors.New("caller takes an issuer, or a kind of credential, and an ID: caller https://id.example.com alice, or caller basic alice")
	case (e.Kind == KindAPIKey || e.Kind == KindCertificate) && len(rest) == 1:
		e.ID = rest[0]
	case e.Kind == KindAPIKey:
		return Caller{}, errors.New("api_key takes the ID of a key, as caddy moat apikey list prints it")
	case e.Kind == KindCertificate:
		return Caller{}, errors.New("certificate takes the hash of a key, as caddy moat cert prints it")
	default:
		return Caller{}, errCaller
	}
	if e.Kind == KindCertificate && len(e.ID) != 44 {
		return Caller{}, fmt.Errorf("'%s' is not the base64 of a SHA-256: write spki of the certificate, as caddy moat cert prints it", shown(e.ID))
	}
	for _, text := range []string{e.From, e.ID} {
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }) || e.ID == "" {
			return Caller{}, errCaller
		}
	}
	if e.Kind == KindCaller && e.From == "" {
		return Caller{}, errCaller
	}
	return e, nil
}

var errCaller = errors.New("write caller <issuer> <id>, api_key <id> or certificate <hash>")

// String prints the entry as it is written in a file.
func (e Caller) String() string {
	if e.Kind == KindCaller {
		return e.Kind + " " + quoted(e.From) + " " + quoted(e.ID)
	}
	return e.Kind + " " + quoted(e.ID)
}

// quoted writes a word, in quotes if it has white space, quotes or what begins a
// comment in it.
func quoted(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\"\\#") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// words splits a line. Words with white space stand in quotes; in those, a
// backslash stands before a quote or a backslash.
func words(line string) ([]string, error) {
	var all []string
	for {
		line = strings.TrimLeft(line, " \t")
		switch {
		case line == "" || line[0] == '#':
			return all, nil
		case line[0] != '"':
			end := strings.IndexAny(line, " \t")
			if end < 0 {
				end = len(line)
			}
			if strings.ContainsAny(line[:end], `"\#`) {
				return nil, errors.New(`a word with ", \ or # in it stands in quotes`)
			}
			all, line = append(all, line[:end]), line[end:]
		default:
			word, rest, err := unquote(line[1:])
			if err != nil {
				return nil, err
			}
			all, line = append(all, word), rest
		}
	}
}

func unquote(text string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' && (i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\t'):
			return b.String(), text[i+1:], nil
		case c == '"':
			return "", "", errors.New("white space is missing behind a quote")
		case c == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
			i++
			b.WriteByte(text[i])
		case c == '\\':
			return "", "", errors.New(`a backslash stands before a quote or a backslash`)
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("a quote is not closed")
}

// Callers is a set of entries for callers. It must not change once it is used.
type Callers struct {
	entries []Caller
	callers map[string][]Caller // by ID
	keys    map[Caller]bool     // of the other kinds
}

// NewCallers returns the set of the entries.
func NewCallers(entries []Caller) *Callers {
	s := &Callers{callers: make(map[string][]Caller), keys: make(map[Caller]bool)}
	for _, e := range entries {
		if slices.Contains(s.callers[e.ID], e) || s.keys[e] {
			continue
		}
		s.entries = append(s.entries, e)
		if e.Kind == KindCaller {
			s.callers[e.ID] = append(s.callers[e.ID], e)
			continue
		}
		s.keys[e] = true
	}
	return s
}

// Len returns the number of entries.
func (s *Callers) Len() int { return len(s.entries) }

// Find returns the entry that lists p, or the application that sends p's request.
func (s *Callers) Find(p *principal.Principal) (e Caller, ok bool) {
	for ; p != nil; p = p.App {
		for _, e := range s.callers[p.ID] {
			if p.Source().Is(e.From) {
				return e, true
			}
		}
		e := Caller{ID: p.KeyID}
		switch p.Kind {
		case principal.KindAPIKey:
			e.Kind = KindAPIKey
		case principal.KindCertificate:
			e.Kind = KindCertificate
		}
		if s.keys[e] {
			return e, true
		}
	}
	return Caller{}, false
}

// ParseCallers reads the content of a file: an entry a line. Blank lines and
// comments behind # are skipped. An empty file is no list.
func ParseCallers(text []byte) (*Callers, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errEmpty
	}
	var entries []Caller
	at := 0
	for line := range bytes.Lines(text) {
		at++
		words, err := words(strings.TrimRight(string(line), "\r\n"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", at, err)
		}
		if len(words) == 0 {
			continue
		}
		e, err := ParseCaller(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", at, err)
		}
		entries = append(entries, e)
	}
	return NewCallers(entries), nil
}

// CallersFile is a list of callers in a file, which is watched as File is.
type CallersFile struct{ *filewatch.Kept[Callers] }

// OpenCallers reads a list of callers and begins to watch its file.
func OpenCallers(path string, report func(filewatch.Event)) (*CallersFile, error) {
	kept, err := filewatch.Keep(path, MaxSize, ParseCallers, func(before, after *Callers, err error) {
		e := filewatch.Event{Err: err}
		for _, entry := range after.entries {
			if !slices.Contains(before.entries, entry) {
				e.Added = append(e.Added, entry.String())
			}
		}
		for _, entry := range before.entries {
			if !slices.Contains(after.entries, entry) {
				e.Removed = append(e.Removed, entry.String())
			}
		}
		report(e)
	})
	if err != nil {
		return nil, err
	}
	return &CallersFile{kept}, nil
}

// Set returns the list that is in force.
func (f *CallersFile) Set() *Callers { return f.Value() }

// Len returns the number of entries.
func (f *CallersFile) Len() int { return f.Value().Len() }
