package check

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/findings"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// node is a line of a Caddyfile, with the lines of its block. Imports and
// snippets are expanded, and each token knows the file and line it is from.
type node struct {
	words    []caddyfile.Token
	children []node
}

func (n *node) name() string { return n.words[0].Text }

// block is a block of a Caddyfile: a site, the global options, a named route.
type block struct {
	keys  []caddyfile.Token
	hosts []string // of a site; empty for all hosts
	nodes []node
}

func (b *block) global() bool { return len(b.keys) == 0 }

// source is a Caddyfile, as it was written.
type source struct {
	file   string
	blocks []block
	lines  map[string][]string // the files that are known, by name
	names  []string            // of the files, once they are asked for
}

// parse reads a Caddyfile, with what it imports. Without blocks, as of JSON,
// findings are about the file alone.
func parse(file string, body []byte) (*source, error) {
	s := &source{file: file, lines: map[string][]string{}}
	// Named as the adapter names it, so that places agree.
	parsed, err := caddyfile.Parse(file, body)
	if err != nil {
		return s, err
	}
	for _, b := range parsed {
		next := block{keys: b.Keys}
		for _, key := range b.Keys {
			next.hosts = append(next.hosts, hostOf(key.Text))
		}
		for _, segment := range b.Segments {
			d := caddyfile.NewDispenser(segment)
			for d.Next() {
				next.nodes = append(next.nodes, read(d))
			}
		}
		s.blocks = append(s.blocks, next)
	}
	return s, nil
}

// read reads the line on whose first token the dispenser stands.
func read(d *caddyfile.Dispenser) node {
	n := node{words: []caddyfile.Token{d.Token()}}
	for d.NextArg() {
		n.words = append(n.words, d.Token())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		n.children = append(n.children, read(d))
	}
	return n
}

// hostOf returns the host of a site's address, "" for all.
func hostOf(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	return strings.ToLower(strings.Trim(address, "[]"))
}

// spot says what a finding is about, so that its line is found: the handler's
// place where it is known, or else the names of directives; and within it the
// first line that has all the words.
type spot struct {
	hosts      []string // of the site; nil for any
	places     []string // "Caddyfile:12"
	directives []string
	words      []string
	global     bool // in the global options
}

// location is where something is written.
type location struct {
	file string
	line int
}

// locate returns where a finding belongs: the line with all the words, or else
// the directive, or else the address of the site, or else the file.
func (s *source) locate(at spot) location {
	blocks := s.blocksFor(at)
	for _, words := range [][]string{at.words, nil} {
		if found, ok := s.directive(at, words, blocks); ok {
			return found
		}
		if found, ok := s.directive(at, words, s.all()); ok {
			return found
		}
	}
	for _, place := range at.places {
		if file, line, ok := position(place); ok {
			return location{file, line}
		}
	}
	for _, b := range blocks {
		if len(b.keys) > 0 {
			return location{b.keys[0].File, b.keys[0].Line}
		}
		if len(b.nodes) > 0 {
			return location{b.nodes[0].words[0].File, b.nodes[0].words[0].Line}
		}
	}
	return location{s.file, 0}
}

// directive returns the line with the words within the directives that fit, or
// the first of them where there are no words.
func (s *source) directive(at spot, words []string, blocks []*block) (location, bool) {
	var found *node
	for _, b := range blocks {
		if each(b.nodes, func(n *node) bool {
			if !at.fits(n) {
				return false
			}
			if found = n; words != nil {
				found = containing(n, words)
			}
			return found != nil
		}) {
			return location{found.words[0].File, found.words[0].Line}, true
		}
	}
	return location{}, false
}

// fits reports whether a line is the directive that is meant.
func (at spot) fits(n *node) bool {
	if len(at.places) > 0 {
		return slices.ContainsFunc(at.places, func(place string) bool {
			file, line, ok := position(place)
			return ok && n.words[0].File == file && n.words[0].Line == line
		})
	}
	return slices.Contains(at.directives, n.name()) || strings.HasPrefix(n.name(), "@") && slices.Contains(at.directives, "@")
}

// each calls f for every line until it returns true, outer lines first.
func each(nodes []node, f func(*node) bool) bool {
	for i := range nodes {
		if f(&nodes[i]) || each(nodes[i].children, f) {
			return true
		}
	}
	return false
}

// containing returns the innermost line that has all the words, nil if none has.
func containing(n *node, words []string) *node {
	for i := range n.children {
		if found := containing(&n.children[i], words); found != nil {
			return found
		}
	}
	for _, word := range words {
		if !slices.ContainsFunc(n.words, func(t caddyfile.Token) bool { return strings.EqualFold(t.Text, word) }) {
			return nil
		}
	}
	return n
}

func (s *source) all() []*block {
	all := make([]*block, 0, len(s.blocks))
	for i := range s.blocks {
		all = append(all, &s.blocks[i])
	}
	return all
}

// blocksFor returns the blocks that a finding may be in.
func (s *source) blocksFor(at spot) []*block {
	var found []*block
	for i := range s.blocks {
		b := &s.blocks[i]
		switch {
		case at.global != b.global():
		case at.global, at.hosts == nil:
			found = append(found, b)
		case slices.ContainsFunc(at.hosts, func(h string) bool { return slices.Contains(b.hosts, strings.ToLower(h)) }),
			len(at.hosts) == 0 && slices.Contains(b.hosts, ""):
			found = append(found, b)
		}
	}
	return found
}

// ours returns the places of directives that are written like the one at a
// place, in this configuration: others were adapted by the same process.
func (s *source) ours(place string) []string {
	all := option.Alike(place)
	if all == nil {
		all = []string{place}
	}
	files := s.files()
	return slices.DeleteFunc(all, func(place string) bool {
		file, _, ok := position(place)
		return !ok || !slices.Contains(files, file)
	})
}

// holds reports whether one of the places is in the blocks that a spot may be
// in.
func (s *source) holds(at spot) bool {
	return slices.ContainsFunc(s.blocksFor(at), func(b *block) bool { return each(b.nodes, at.fits) })
}

// position reads "file:line".
func position(place string) (file string, line int, ok bool) {
	i := strings.LastIndexByte(place, ':')
	if i <= 0 {
		return "", 0, false
	}
	for _, c := range place[i+1:] {
		if c < '0' || c > '9' || line > 1<<24 {
			return "", 0, false
		}
		line = line*10 + int(c-'0')
	}
	return place[:i], line, line > 0
}

// code returns the text of a line, without spaces round it.
func (s *source) code(at location) string {
	lines := s.read(at.file)
	if at.line < 1 || at.line > len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[at.line-1])
}

// read returns the lines of a file of the configuration, none if it cannot be
// read.
func (s *source) read(file string) []string {
	lines, known := s.lines[file]
	if !known {
		if body, err := os.ReadFile(file); err == nil {
			lines = strings.Split(string(body), "\n")
		}
		s.lines[file] = lines
	}
	return lines
}

// files returns the files of the configuration.
func (s *source) files() []string {
	if s.names != nil {
		return s.names
	}
	files := []string{s.file}
	add := func(t caddyfile.Token) {
		if t.File != "" && !slices.Contains(files, t.File) {
			files = append(files, t.File)
		}
	}
	for i := range s.blocks {
		for _, key := range s.blocks[i].keys {
			add(key)
		}
		each(s.blocks[i].nodes, func(n *node) bool {
			for _, w := range n.words {
				add(w)
			}
			return false
		})
	}
	s.names = files
	return files
}

var comment = regexp.MustCompile(`^(.*\s)?#\s*moat:ignore(?:\s(.*))?$`)

// ignores returns the comments that say what is meant, in all files.
func (s *source) ignores(now time.Time) ([]findings.Ignore, error) {
	var all []findings.Ignore
	for _, file := range s.files() {
		lines := s.read(file)
		text := strings.Join(lines, "\n")
		if !strings.Contains(text, "moat:ignore") {
			continue
		}
		tokens, err := caddyfile.Tokenize([]byte(text), file)
		if err != nil {
			return nil, err
		}
		for i, line := range lines {
			m := comment.FindStringSubmatch(strings.TrimRight(line, "\r"))
			if m == nil || quoted(tokens, i+1) {
				continue
			}
			c := findings.ParseIgnore(m[2], known, now.Location())
			c.File, c.Line = file, i+1
			c.From, c.To = reach(tokens, i+1)
			all = append(all, c)
		}
	}
	return all, nil
}

// quoted reports whether what looks like a comment on a line is in a token.
func quoted(tokens []caddyfile.Token, line int) bool {
	return slices.ContainsFunc(tokens, func(t caddyfile.Token) bool {
		return strings.Contains(t.Text, "moat:ignore") && t.Line <= line && line <= t.Line+t.NumLineBreaks()+1
	})
}

// reach returns the lines that a comment is for: those of the directive on its
// line or else the next one below, with the block that it opens.
func reach(tokens []caddyfile.Token, line int) (from, to int) {
	first := slices.IndexFunc(tokens, func(t caddyfile.Token) bool { return t.Line+t.NumLineBreaks() >= line })
	if first < 0 {
		return line, line
	}
	from = tokens[first].Line
	to = max(from, line)
	depth := 0
	for _, t := range tokens[first:] {
		if depth == 0 && t.Line > to {
			break
		}
		to = max(to, t.Line+t.NumLineBreaks())
		switch t.Text {
		case "{":
			depth++
		case "}":
			if depth--; depth < 0 {
				return from, to
			}
		}
	}
	return from, to
}

// place returns the position that an error of a Caddyfile names.
var errorPlace = regexp.MustCompile(`(?:^|[\s"'(])([^\s"'(]+):([0-9]+)(?:[\s:,)'"]|$)`)

// errorAt returns where an error says that something is wrong.
func (s *source) errorAt(err error) location {
	files := s.files()
	for _, m := range errorPlace.FindAllStringSubmatch(err.Error(), -1) {
		for _, file := range files {
			if m[1] == file || filepath.Base(m[1]) == filepath.Base(file) {
				if _, line, ok := position(m[1] + ":" + m[2]); ok {
					return location{file, line}
				}
			}
		}
	}
	return location{s.file, 0}
}
