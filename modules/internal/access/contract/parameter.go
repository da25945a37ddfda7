package contract

import (
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
)

// Where parameters are.
const (
	inPath   = "path"
	inQuery  = "query"
	inHeader = "header"
	inCookie = "cookie"
	inBody   = "body"
)

// Styles of parameters.
const (
	styleSimple = "simple"
	styleLabel  = "label"
	styleForm   = "form"
	styleSpace  = "spaceDelimited"
	stylePipe   = "pipeDelimited"
	styleDeep   = "deepObject"
)

// parameter is one of path, query, header or cookies; a member of a form; or a header
// field of a response.
type parameter struct {
	node       *node
	name       string
	in         string
	style      string
	explode    bool
	required   bool
	allowEmpty bool
	json       bool // the value is JSON
	schema     *schema.Schema
	shape      *schema.Shape
	takesAny   bool // an object whose members are parameters of the query, of any names
}

// parameters reads a list of parameters.
func (l *loader) parameters(list *node) ([]*parameter, error) {
	if list == nil {
		return nil, nil
	}
	var all []*parameter
	for _, item := range list.items {
		n, err := l.files.follow(item)
		if err != nil {
			return nil, err
		}
		p, err := l.parameter(n)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		if slices.ContainsFunc(all, func(o *parameter) bool { return o.name == p.name && o.in == p.in }) {
			return nil, item.errorf("the parameter %s in %s is there twice", p.name, p.in)
		}
		all = append(all, p)
	}
	return all, nil
}

// stylesOf are those of each place, the default first.
var stylesOf = map[string][]string{
	inPath:   {styleSimple, styleLabel},
	inQuery:  {styleForm, styleSpace, stylePipe, styleDeep},
	inHeader: {styleSimple},
	inCookie: {styleForm, "cookie"},
}

// parameter reads one parameter. It is nil for those that the specification has
// nobody look at.
func (l *loader) parameter(n *node) (*parameter, error) {
	p := &parameter{node: n, name: n.str("name"), in: n.str("in"), required: n.flag("required"), allowEmpty: n.flag("allowEmptyValue")}
	if p.name == "" {
		return nil, n.errorf("a parameter needs a name")
	}
	if p.in == "querystring" {
		l.unenforced(n, "the parameter %s is the whole query, which is not checked: describe its parameters", p.name)
		return nil, nil
	}
	if stylesOf[p.in] == nil {
		return nil, n.errorf("the parameter %s must be in path, query, header or cookie", p.name)
	}
	if p.in == inPath && !p.required {
		return nil, n.errorf("the parameter %s in path must be required", p.name)
	}
	if p.in == inHeader {
		switch p.name = textproto.CanonicalMIMEHeaderKey(p.name); p.name {
		case "Accept", "Content-Type", "Authorization": // described elsewhere in a document
			return nil, nil
		}
	}
	return p, l.describe(p, n)
}

// describe reads how a parameter is written and what its values are.
func (l *loader) describe(p *parameter, n *node) error {
	if content := n.get("content"); content != nil {
		return l.content(p, content)
	}
	styles := stylesOf[p.in]
	p.style = styles[0]
	if style := n.get("style"); style != nil {
		p.style = style.text
		if p.style == "matrix" {
			return style.errorf("the style matrix has semicolons in the path, which is rejected since programs read it in two ways")
		}
		if !slices.Contains(styles, p.style) {
			return style.errorf("the style %s is none of parameters in %s: %s", p.style, p.in, strings.Join(styles, ", "))
		}
	}
	p.explode = p.style == styleForm || p.style == "cookie"
	if explode := n.get("explode"); explode != nil {
		p.explode, _ = explode.value.(bool)
	}
	s := n.get("schema")
	if s == nil {
		l.unenforced(n, "the parameter %s has no schema", p.name)
	}
	if err := l.schemaOf(s, &p.schema); err != nil {
		return err
	}
	l.compile = append(l.compile, func(*schema.Compiler) error { return l.shape(p) })
	return nil
}

// content reads a parameter whose value is of a media type.
func (l *loader) content(p *parameter, content *node) error {
	if len(content.names) != 1 {
		return content.errorf("the parameter %s must have one media type", p.name)
	}
	media := content.names[0]
	if !isJSON(media) {
		l.unenforced(content, "the parameter %s is of the media type %s, which is not read", p.name, media)
		return nil
	}
	p.json, p.style = true, stylesOf[p.in][0]
	return l.schemaOf(content.named[media].get("schema"), &p.schema)
}

// shape finds out how values are read, and refuses what has no one reading.
func (l *loader) shape(p *parameter) error {
	if p.schema == nil {
		p.shape = new(schema.Shape)
		return nil
	}
	p.shape = p.schema.Shape()
	array, object := p.shape.IsArray(), p.shape.IsObject()
	switch {
	case p.style == styleDeep && !object:
		l.unenforced(p.node, "the parameter %s has the style deepObject and is no object", p.name)
	case (p.style == styleSpace || p.style == stylePipe) && (!array || p.explode):
		l.unenforced(p.node, "the parameter %s has the style %s, which is for arrays with explode: false", p.name, p.style)
	case p.in == inCookie && p.explode && (array || object):
		l.unenforced(p.node, "the parameter %s would be several cookies: write explode: false", p.name)
	case p.in == inPath && p.style == styleLabel && p.explode && object, p.in == inPath && p.style == styleLabel && object:
		l.unenforced(p.node, "the parameter %s is an object in the style label, which is not read", p.name)
	}
	if object {
		p.takesAny = p.in == inQuery && p.style == styleForm && p.explode && p.shape.TakesAny()
		for name, member := range p.shape.Members() {
			if member.IsObject() || member.IsArray() && (p.style != styleDeep || member.Items().IsComplex()) {
				l.unenforced(p.node, "the member %s of the parameter %s is itself an array or object, for which there is no one way to write it", name, p.name)
			}
		}
	}
	if array && p.shape.Items().IsComplex() {
		l.unenforced(p.node, "the items of the parameter %s are themselves arrays or objects, for which there is no one way to write them", p.name)
	}
	return nil
}
