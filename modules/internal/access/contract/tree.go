package contract

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFile is how large one file of a document can be, in bytes.
const MaxFile = 16 << 20

// Bounds of a document in all its files.
const (
	maxNodes = 2_000_000
	maxDepth = 200
	maxFiles = 200
)

// nodeKind is the type of a node.
type nodeKind uint8

const (
	scalarNode nodeKind = iota
	listNode
	mapNode
)

// node is a value of a document, which knows where it is written. It is read from
// YAML, of which JSON is a part.
type node struct {
	kind  nodeKind
	file  *file
	line  int
	value any // of a scalar: string, json.Number, bool or nil
	text  string
	items []*node
	names []string // of members, in the order of the file
	named map[string]*node
}

// get returns a member, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	return n.named[name]
}

// str returns the text of a member that is a string.
func (n *node) str(name string) string {
	m := n.get(name)
	if m == nil {
		return ""
	}
	s, _ := m.value.(string)
	return s
}

func (n *node) flag(name string) bool {
	m := n.get(name)
	if m == nil {
		return false
	}
	b, _ := m.value.(bool)
	return b
}

// place is file and line, for errors.
func (n *node) place() string { return n.file.name + ":" + strconv.Itoa(n.line) }

func (n *node) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", n.place(), fmt.Errorf(format, args...))
}

// plain returns a node as encoding/json would have read it.
func (n *node) plain() any {
	switch n.kind {
	case listNode:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.plain()
		}
		return list
	case mapNode:
		m := make(map[string]any, len(n.names))
		for _, name := range n.names {
			m[name] = n.named[name].plain()
		}
		return m
	}
	return n.value
}

// file is one file of a document.
type file struct {
	name string // as errors show it
	path string // inside of the folder, with slashes
	root *node
}

// files reads the files of a document: those in the folder of its first one, and
// nothing else.
type files struct {
	folder string
	first  string
	read   map[string]*file
	nodes  int
}

// newFiles returns the files round the one that has the text.
func newFiles(name string, text []byte) (*files, *file, error) {
	fs := &files{folder: filepath.Dir(name), first: filepath.Base(name), read: make(map[string]*file)}
	f, err := fs.parse(fs.first, text)
	return fs, f, err
}

// open returns the file that a reference in from names.
func (fs *files) open(from *node, ref string) (*file, error) {
	if strings.Contains(ref, ":") || strings.HasPrefix(ref, "/") || strings.Contains(ref, `\`) {
		return nil, from.errorf("$ref %s: only files in the folder of the document are read, by a relative path", ref)
	}
	name := path.Join(path.Dir(from.file.path), ref)
	if name == ".." || strings.HasPrefix(name, "../") {
		return nil, from.errorf("$ref %s leads out of the folder of the document", ref)
	}
	if f, ok := fs.read[name]; ok {
		return f, nil
	}
	if len(fs.read) >= maxFiles {
		return nil, from.errorf("the document has more than %d files", maxFiles)
	}
	text, err := fs.text(name)
	if err != nil {
		return nil, from.errorf("$ref %s: %w", ref, err)
	}
	return fs.parse(name, text)
}

// text reads a file inside of the folder, which no symbolic link leaves.
func (fs *files) text(name string) ([]byte, error) {
	root, err := os.OpenRoot(fs.folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", name, MaxFile)
	}
	return root.ReadFile(filepath.FromSlash(name))
}

func (fs *files) parse(name string, text []byte) (*file, error) {
	f := &file{name: filepath.Join(fs.folder, filepath.FromSlash(name)), path: name}
	if root, ok, err := fs.parseJSON(f, text); ok {
		f.root = root
		fs.read[name] = f
		return f, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %s", f.name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) != 1 {
		return nil, fmt.Errorf("%s: the file is empty", f.name)
	}
	root, err := fs.convert(f, doc.Content[0], 0)
	if err != nil {
		return nil, err
	}
	f.root = root
	fs.read[name] = f
	return f, nil
}

func (fs *files) convert(f *file, y *yaml.Node, depth int) (*node, error) {
	n := &node{file: f, line: y.Line}
	if fs.nodes++; fs.nodes > maxNodes {
		return nil, n.errorf("the document has more than %d values", maxNodes)
	}
	if depth > maxDepth {
		return nil, n.errorf("the document is nested more than %d times", maxDepth)
	}
	switch y.Kind {
	case yaml.AliasNode:
		return fs.convert(f, y.Alias, depth+1)
	case yaml.SequenceNode:
		n.kind = listNode
		for _, item := range y.Content {
			sub, err := fs.convert(f, item, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, sub)
		}
		return n, nil
	case yaml.MappingNode:
		return n, fs.members(n, y, depth)
	case yaml.ScalarNode:
		return n, n.scalar(y)
	}
	return nil, n.errorf("not a value")
}

func (fs *files) members(n *node, y *yaml.Node, depth int) error {
	n.kind = mapNode
	n.named = make(map[string]*node, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		at := &node{file: n.file, line: key.Line}
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return at.errorf("merge keys and keys that are no texts are not read")
		}
		if n.named[key.Value] != nil {
			return at.errorf("%s is there twice", key.Value)
		}
		sub, err := fs.convert(n.file, y.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		sub.line = key.Line
		n.named[key.Value] = sub
		n.names = append(n.names, key.Value)
	}
	return nil
}

// resolve returns what a reference names: "#/a/b", "file.yaml", "file.yaml#/a/b".
func (fs *files) resolve(from *node, ref string) (*node, error) {
	name, fragment, _ := strings.Cut(ref, "#")
	f := from.file
	if name != "" {
		var err error
		if f, err = fs.open(from, name); err != nil {
			return nil, err
		}
	}
	at := f.root
	if fragment == "" {
		return at, nil
	}
	pointer, err := unescape(fragment)
	if err != nil || !strings.HasPrefix(pointer, "/") {
		return nil, from.errorf("$ref %s: write a JSON Pointer behind #, such as #/components/schemas/Order; anchors are not read", ref)
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		next := at.named[token]
		if i, err := strconv.Atoi(token); err == nil && at.kind == listNode && i >= 0 && i < len(at.items) {
			next = at.items[i]
		}
		if next == nil {
			return nil, from.errorf("$ref %s: there is no %s", ref, token)
		}
		at = next
	}
	return at, nil
}

// follow goes along references, and returns what is at their end.
func (fs *files) follow(n *node) (*node, error) {
	for range 32 {
		ref := n.get("$ref")
		if ref == nil {
			return n, nil
		}
		text, ok := ref.value.(string)
		if !ok {
			return nil, ref.errorf("$ref must be a text")
		}
		next, err := fs.resolve(ref, text)
		if err != nil {
			return nil, err
		}
		n = next
	}
	return nil, n.errorf("$ref refers to itself")
}

var errEscape = errors.New("not percent-encoded")

// unescape decodes what is percent-encoded in a fragment.
func unescape(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", errEscape
		}
		c, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		if err != nil {
			return "", errEscape
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}
