package contract

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// router finds the operations of a path. A segment that is written out wins over one
// with a parameter, from left to right, as most servers do it.
type router struct {
	root  *segment
	paths []*endpoint
}

// segment is a place in the tree of paths.
type segment struct {
	static   map[string]*segment
	dynamic  []*branch // the most specific first
	endpoint *endpoint
}

// branch is a segment that is a parameter, with what is written round it.
type branch struct {
	prefix, suffix string
	next           *segment
}

// endpoint is a path that is documented.
type endpoint struct {
	path       string // with the base
	template   string
	node       *node
	operations map[string]*Operation
	allow      string // the methods, for Allow
}

func newRouter() *router { return &router{root: new(segment)} }

// templateNames returns the names of the parameters in a template.
func templateNames(template string) (names []string, err error) {
	for part := range strings.SplitSeq(template, "/") {
		_, name, _, err := splitSegment(part)
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		if slices.Contains(names, name) {
			return nil, errors.New("{" + name + "} is there twice")
		}
		names = append(names, name)
	}
	return names, nil
}

// several is between the names of parameters that share a segment, of which nobody
// knows where one ends.
const several = "}"

// splitSegment takes a segment of a template apart. The name is that of its parameter,
// or all from the first to the last, with what is between them.
func splitSegment(part string) (prefix, name, suffix string, err error) {
	start, end := strings.IndexByte(part, '{'), strings.LastIndexByte(part, '}')
	if start < 0 && end < 0 {
		return part, "", "", nil
	}
	if start < 0 || end < start+2 || strings.Count(part, "{") != strings.Count(part, "}") || strings.Contains(part, "{}") || strings.Contains(part, "}{") {
		return "", "", "", errors.New("the braces of a parameter do not go together")
	}
	return part[:start], part[start+1 : end], part[end+1:], nil
}

// add has the router know one more operation.
func (r *router) add(l *loader, n *node, path string, op *Operation) error {
	at := r.root
	for part := range strings.SplitSeq(path[1:], "/") {
		prefix, name, suffix, err := splitSegment(part)
		if err != nil {
			return n.errorf("the path %s: %w", path, err)
		}
		at = at.child(prefix, suffix, name != "")
	}
	e := at.endpoint
	if e == nil {
		e = &endpoint{path: path, template: op.Template, node: n, operations: make(map[string]*Operation)}
		at.endpoint = e
		r.paths = append(r.paths, e)
	}
	switch other := e.operations[op.Method]; {
	case other != nil && e.path != path:
		return n.errorf("the paths %s and %s are the same but for the names of their parameters", e.path, path)
	case other != nil:
		return n.errorf("%s %s is there twice", op.Method, path)
	case e.path != path:
		l.unenforced(n, "the paths %s and %s are the same but for the names of their parameters, which OpenAPI forbids: with unenforced warn the method decides", e.path, path)
	}
	e.operations[op.Method] = op
	names := slices.Collect(maps.Keys(e.operations))
	if e.operations[http.MethodGet] != nil && e.operations[http.MethodHead] == nil {
		names = append(names, http.MethodHead)
	}
	slices.Sort(names)
	e.allow = strings.Join(names, ", ")
	return nil
}

func (s *segment) child(prefix, suffix string, dynamic bool) *segment {
	if !dynamic {
		if s.static == nil {
			s.static = make(map[string]*segment)
		}
		if s.static[prefix] == nil {
			s.static[prefix] = new(segment)
		}
		return s.static[prefix]
	}
	for _, b := range s.dynamic {
		if b.prefix == prefix && b.suffix == suffix {
			return b.next
		}
	}
	b := &branch{prefix, suffix, new(segment)}
	s.dynamic = append(s.dynamic, b)
	slices.SortStableFunc(s.dynamic, func(a, b *branch) int { return len(b.prefix) + len(b.suffix) - len(a.prefix) - len(a.suffix) })
	return b.next
}

// maxParameters is how many parameters a path can have.
const maxParameters = 16

// match is where a path leads.
type match struct {
	endpoint *endpoint
	values   [maxParameters]string // of the parameters in the path
	count    int
}

// find finds the endpoint of a path, which begins with a slash.
func (r *router) find(path string, m *match) bool {
	return r.root.find(path[1:], m)
}

func (s *segment) find(rest string, m *match) bool {
	part, after, more := strings.Cut(rest, "/")
	try := func(next *segment) bool {
		if more {
			return next.find(after, m)
		}
		m.endpoint = next.endpoint
		return next.endpoint != nil
	}
	if next := s.static[part]; next != nil && try(next) {
		return true
	}
	for _, b := range s.dynamic {
		if len(part) <= len(b.prefix)+len(b.suffix) || !strings.HasPrefix(part, b.prefix) || !strings.HasSuffix(part, b.suffix) || m.count == maxParameters {
			continue
		}
		m.values[m.count] = part[len(b.prefix) : len(part)-len(b.suffix)]
		m.count++
		if try(b.next) {
			return true
		}
		m.count--
	}
	return false
}

// check finds paths of which a request can have two, though neither is the more
// specific one: servers do not agree on which that is.
func (r *router) check(l *loader) error {
	for i, a := range r.paths {
		if strings.Count(a.path, "{") > maxParameters {
			return a.node.errorf("the path %s has more than %d parameters", a.path, maxParameters)
		}
		for _, b := range r.paths[:i] {
			if crossing(a.path, b.path) {
				l.unenforced(a.node, "a request can have both the paths %s and %s, and servers do not agree on which it is", b.path, a.path)
			}
		}
	}
	return nil
}

// crossing reports whether a path can be that of two templates of which each is more
// specific than the other somewhere.
func crossing(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	if len(x) != len(y) {
		return false
	}
	left, right := false, false
	for i := range x {
		p, pName, pEnd, _ := splitSegment(x[i])
		q, qName, qEnd, _ := splitSegment(y[i])
		switch {
		case pName == "" && qName == "":
			if p != q {
				return false
			}
		case pName == "":
			if !strings.HasPrefix(p, q) || !strings.HasSuffix(p, qEnd) || len(p) <= len(q)+len(qEnd) {
				return false
			}
			left = true
		case qName == "":
			if !strings.HasPrefix(q, p) || !strings.HasSuffix(q, pEnd) || len(q) <= len(p)+len(pEnd) {
				return false
			}
			right = true
		default:
			// What is written before and behind has to go together.
			if !strings.HasPrefix(p, q) && !strings.HasPrefix(q, p) || !strings.HasSuffix(pEnd, qEnd) && !strings.HasSuffix(qEnd, pEnd) {
				return false
			}
			left = left || len(p) > len(q) || len(pEnd) > len(qEnd)
			right = right || len(q) > len(p) || len(qEnd) > len(pEnd)
		}
	}
	return left && right
}
