package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest policy file that is read, in bytes.
const MaxFile = 16 << 20

// ReadFile reads a policy file that has the given name and content: JSON if
// the name ends in .json, YAML otherwise. Unknown and repeated members are
// errors, and so is text where a list belongs. Errors say the file and line.
//
// Nothing is expanded: neither placeholders nor YAML's aliases, merge keys
// and tags.
func ReadFile(name string, content []byte) (*Document, error) {
	if len(content) > MaxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, MaxFile)
	}
	read := readYAML
	if filepath.Ext(name) == ".json" {
		read = readJSON
	}
	top, err := read(content)
	r := reader{name: name, doc: new(Document)}
	if err == nil {
		err = r.document(top)
	}
	if err != nil {
		var at *lineError
		if errors.As(err, &at) {
			return nil, fmt.Errorf("%s:%d: %w", name, at.line, at.err)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r.doc, nil
}

// item is a value of a file, whichever its format.
type item struct {
	line   int
	what   string // one of the constants below, or in words what it is
	text   string
	values []*item
	keys   []*item // of a mapping, beside values
}

type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }

func (it *item) errorf(format string, args ...any) error {
	return &lineError{it.line, fmt.Errorf(format, args...)}
}

const (
	isText    = "text"
	isList    = "a list"
	isMapping = "a mapping"
	notText   = "not text: put it in quotes: " // followed by item.text
)

var indentedByTab = regexp.MustCompile(`(?m)^ *\t`)

func readYAML(content []byte) (*item, error) {
	d := yaml.NewDecoder(bytes.NewReader(content))
	var n yaml.Node
	if err := d.Decode(&n); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty")
		}
		text := "not YAML: " + strings.TrimPrefix(oneLine(err.Error()), "yaml: ")
		if indentedByTab.Match(content) {
			text += "; a line begins with a tab: YAML is indented with spaces"
		}
		return nil, errors.New(text)
	}
	var more yaml.Node
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one YAML document")
	}
	if len(n.Content) != 1 {
		return nil, errors.New("the file is empty")
	}
	return fromYAML(n.Content[0])
}

func fromYAML(n *yaml.Node) (*item, error) {
	it := &item{line: n.Line}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return nil, it.errorf("anchors and aliases are not supported: write it out")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		it.what, it.text = isText, n.Value
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		it.what = "nothing"
	case n.Kind == yaml.ScalarNode:
		it.what, it.text = notText, n.Value
	case n.Kind == yaml.SequenceNode && n.ShortTag() == "!!seq":
		it.what = isList
		for _, c := range n.Content {
			v, err := fromYAML(c)
			if err != nil {
				return nil, err
			}
			it.values = append(it.values, v)
		}
	case n.Kind == yaml.MappingNode && n.ShortTag() == "!!map":
		it.what = isMapping
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, err := fromYAML(n.Content[i])
			if err != nil {
				return nil, err
			}
			v, err := fromYAML(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			it.keys, it.values = append(it.keys, k), append(it.values, v)
		}
	default:
		return nil, it.errorf("the tag %s is not supported", n.Tag)
	}
	return it, nil
}

// readJSON reads JSON as RFC 8259 has it; encoding/json would keep the last
// of two members with one name.
func readJSON(content []byte) (*item, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, errors.New("the file is empty")
	}
	j := &jsonReader{d: json.NewDecoder(bytes.NewReader(content)), content: content, line: 1}
	j.d.UseNumber()
	it, err := j.value(0)
	if err != nil {
		var at *lineError
		if errors.As(err, &at) {
			return nil, err
		}
		return nil, &lineError{j.at(), fmt.Errorf("not JSON: %w", err)}
	}
	if _, err := j.d.Token(); !errors.Is(err, io.EOF) {
		return nil, &lineError{j.at(), errors.New("something follows the end of the JSON text")}
	}
	return it, nil
}

type jsonReader struct {
	d       *json.Decoder
	content []byte
	line    int
	counted int // bytes of content whose lines are in line
}

// at returns the line that has been read to.
func (j *jsonReader) at() int {
	end := min(int(j.d.InputOffset()), len(j.content))
	j.line += bytes.Count(j.content[j.counted:end], []byte("\n"))
	j.counted = end
	return j.line
}

func (j *jsonReader) value(depth int) (*item, error) {
	tok, err := j.d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	it := &item{line: j.at()}
	if depth > 8 {
		return nil, it.errorf("nested too deeply")
	}
	switch tok := tok.(type) {
	case string:
		it.what, it.text = isText, tok
	case nil:
		it.what = "nothing"
	case json.Delim:
		it.what = isList
		if tok == '{' {
			it.what = isMapping
		}
		for j.d.More() {
			if tok == '{' {
				k, err := j.value(depth + 1)
				if err != nil {
					return nil, err
				}
				it.keys = append(it.keys, k)
			}
			v, err := j.value(depth + 1)
			if err != nil {
				return nil, err
			}
			it.values = append(it.values, v)
		}
		if _, err := j.d.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	default:
		it.what, it.text = notText, fmt.Sprint(tok)
	}
	return it, nil
}

// reader makes a Document of a file's items.
type reader struct {
	name string
	doc  *Document
}

// mark notes the line of something.
func (r *reader) mark(where, rule string, it *item) {
	r.doc.Mark(where, rule, fmt.Sprintf("%s:%d", r.name, it.line))
}

// members calls f for every member of a mapping.
func members(it *item, where string, f func(key *item, value *item) error) error {
	if it.what != isMapping {
		return it.errorf("%s must be a mapping and is %s%s", where, it.what, it.text)
	}
	seen := make(map[string]int, len(it.keys))
	for i, k := range it.keys {
		if k.what != isText {
			return k.errorf("%s: a name is %s%s", where, k.what, k.text)
		}
		if first, ok := seen[k.text]; ok {
			return k.errorf("%s: '%s' is already there in line %d", where, k.text, first)
		}
		seen[k.text] = k.line
		if err := f(k, it.values[i]); err != nil {
			return err
		}
	}
	return nil
}

// yes reads true or false.
func yes(it *item) (bool, error) {
	if it.what != notText || it.text != "true" && it.text != "false" {
		return false, it.errorf("ignore_case is true or false")
	}
	return it.text == "true", nil
}

// texts reads a list of texts.
func texts(it *item, where, of string) ([]string, error) {
	if it.what != isList {
		return nil, it.errorf("%s must be a list of %s and is %s%s", where, of, it.what, it.text)
	}
	list := make([]string, 0, len(it.values))
	for _, v := range it.values {
		if v.what != isText {
			return nil, v.errorf("%s must be a list of %s and has an element that is %s%s", where, of, v.what, v.text)
		}
		list = append(list, v.text)
	}
	return list, nil
}

func (r *reader) document(top *item) error {
	return members(top, "the policy", func(k, v *item) (err error) {
		switch k.text {
		case "roles":
			r.doc.Roles, err = r.blocks(v, "role")
		case "scopes":
			r.doc.Scopes, err = r.blocks(v, "scope")
		case "anyone":
			r.doc.Anyone, err = r.block(v, k, "anyone")
		case "authenticated":
			r.doc.Authenticated, err = r.block(v, k, "authenticated")
		case "users":
			err = r.users(v)
		case "ignore_case":
			r.doc.IgnoreCase, err = yes(v)
		default:
			err = k.errorf("unknown member '%s'; a policy has roles, scopes, anyone, authenticated, users and ignore_case", k.text)
		}
		return err
	})
}

func (r *reader) blocks(it *item, kind string) (map[string]*Block, error) {
	blocks := make(map[string]*Block)
	err := members(it, kind+"s", func(k, v *item) (err error) {
		blocks[k.text], err = r.block(v, k, Who(kind, k.text))
		return err
	})
	return blocks, err
}

func (r *reader) block(it, key *item, where string) (*Block, error) {
	b := new(Block)
	r.mark(where, "", key)
	err := members(it, where, func(k, v *item) (err error) {
		inside := where + ": " + k.text
		switch k.text {
		case "inherits":
			b.Inherits, err = texts(v, inside, "names")
		case "allow":
			b.Allow, err = r.rules(v, inside)
		case "deny":
			b.Deny, err = r.rules(v, inside)
		default:
			err = k.errorf("%s: unknown member '%s'; it has inherits, allow and deny", where, k.text)
		}
		return err
	})
	return b, err
}

func (r *reader) rules(it *item, where string) ([]string, error) {
	list, err := texts(it, where, `rules such as "GET /orders/*"`)
	for i, text := range list {
		r.mark(where, text, it.values[i])
	}
	return list, err
}

func (r *reader) users(it *item) error {
	r.doc.Users = make(map[string]Grants)
	return members(it, "users", func(k, v *item) (err error) {
		r.mark(Who("user", k.text), "", k)
		r.doc.Users[k.text], err = grants(v, Who("user", k.text))
		return err
	})
}

// grants reads what a user is given: a list of roles, a mapping with roles and
// from, or a list of such mappings.
func grants(it *item, where string) (Grants, error) {
	if it.what == isList && len(it.values) > 0 && it.values[0].what == isMapping {
		var all Grants
		for _, v := range it.values {
			g, err := grant(v, where)
			if err != nil {
				return nil, err
			}
			all = append(all, g)
		}
		return all, nil
	}
	if it.what == isMapping {
		g, err := grant(it, where)
		return Grants{g}, err
	}
	roles, err := texts(it, where, "roles")
	return Grants{{Roles: roles}}, err
}

func grant(it *item, where string) (g Grant, err error) {
	err = members(it, where, func(k, v *item) (err error) {
		switch k.text {
		case "roles":
			g.Roles, err = texts(v, where+": roles", "roles")
		case "from":
			if g.From = v.text; v.what != isText || v.text == "" {
				err = v.errorf("%s: from must be the name of an issuer or a kind of credential and is %s%s", where, v.what, v.text)
			}
		default:
			err = k.errorf("%s: unknown member '%s'; it has roles and from", where, k.text)
		}
		return err
	})
	return g, err
}
