package contract

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
)

// LoadOptions are how a document is read.
type LoadOptions struct {
	// Bases are the paths before those of the document. Without any they are those
	// of its servers.
	Bases []string

	// Unenforced has what cannot be enforced be listed in Document.Unenforced, where
	// it is an error otherwise.
	Unenforced bool
}

// Document is a contract that was loaded. It does not change.
type Document struct {
	Version string // of OpenAPI: 3.1.1
	Title   string

	// Digest tells contents apart.
	Digest string

	// Unenforced is what the document says and nobody checks, with file and line.
	Unenforced []string

	// Operations are those that are documented, in the order of the document.
	Operations []*Operation

	routes *router
}

// Operation is one method of one path.
type Operation struct {
	ID       string // operationId, or method and path where there is none
	Method   string
	Template string // the path as it is documented
	Secured  bool   // its security requirements demand a credential

	parameters []*parameter // but those of the path
	inPath     []*parameter // by the order of the names in the template
	body       *body
	responses  map[string]*response // by status, 2XX or default
}

// loader reads one document.
type loader struct {
	LoadOptions
	files   *files
	root    *node
	version string
	schemas *schemas
	doc     *Document

	// compile is what is left to do when all schemas are known.
	compile []func(*schema.Compiler) error
}

// Load reads the document that is in the file called name, which has the text.
func Load(name string, text []byte, options LoadOptions) (*Document, error) {
	fs, f, err := newFiles(name, text)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	l := &loader{LoadOptions: options, files: fs, root: f.root, doc: &Document{Digest: "sha256:" + hex.EncodeToString(sum[:8])}}
	l.schemas = newSchemas(l)
	if err := l.load(); err != nil {
		return nil, err
	}
	if !options.Unenforced && len(l.doc.Unenforced) > 0 {
		more := ""
		if n := len(l.doc.Unenforced); n > 1 {
			more = fmt.Sprintf(" (and %d more)", n-1)
		}
		return nil, errors.New(l.doc.Unenforced[0] + "; change the document, or write unenforced warn" + more)
	}
	return l.doc, nil
}

func (l *loader) is30() bool { return strings.HasPrefix(l.version, "3.0") }

// unenforced notes what cannot be enforced.
func (l *loader) unenforced(n *node, format string, args ...any) {
	l.doc.Unenforced = append(l.doc.Unenforced, n.errorf(format, args...).Error())
}

func (l *loader) load() error {
	if l.root.kind != mapNode {
		return l.root.errorf("not an OpenAPI document: it must be an object")
	}
	if l.root.get("swagger") != nil {
		return l.root.get("swagger").errorf("Swagger 2.0 is not read: convert the document to OpenAPI 3")
	}
	l.version = l.root.str("openapi")
	if len(l.version) < 4 || !slices.Contains([]string{"3.0.", "3.1.", "3.2."}, l.version[:4]) {
		return l.root.errorf("openapi must be 3.0.x, 3.1.x or 3.2.x")
	}
	if d := l.root.get("jsonSchemaDialect"); d != nil && !knownDialect(d.text) {
		return d.errorf("jsonSchemaDialect %s is not supported: schemas are of draft 2020-12", d.text)
	}
	l.doc.Version, l.doc.Title = l.version, l.root.get("info").str("title")
	bases, err := l.bases(l.root, l.Bases)
	if err != nil {
		return err
	}
	l.doc.routes = newRouter()
	paths := l.root.get("paths")
	if paths == nil || len(paths.names) == 0 {
		return l.root.errorf("the document has no paths: every request would be rejected")
	}
	for _, template := range paths.names {
		if strings.HasPrefix(template, "x-") {
			continue
		}
		if err := l.path(template, paths.named[template], bases); err != nil {
			return err
		}
	}
	if len(l.doc.Operations) == 0 {
		return paths.errorf("the document has no operations: every request would be rejected")
	}
	if err := l.compileAll(); err != nil {
		return err
	}
	return l.doc.routes.check(l)
}

// compileAll compiles each schema once, and finishes what waits for them.
func (l *loader) compileAll() error {
	if err := l.schemas.convertAll(); err != nil {
		return err
	}
	c, err := schema.NewCompiler(base, map[string]any{"$defs": l.schemas.defs}, nil)
	if err != nil {
		return l.located(err)
	}
	c.Discriminators = l.schemas.discriminators
	for _, do := range l.compile {
		if err := do(c); err != nil {
			return l.located(err)
		}
	}
	return nil
}

// located says in which line an error of the compiler is.
func (l *loader) located(err error) error {
	var e *schema.Error
	if !errors.As(err, &e) {
		return err
	}
	return l.schemas.locate(e.Location).errorf("%s", e.Reason)
}

// schemaOf has a schema be compiled, and put where it belongs.
func (l *loader) schemaOf(n *node, to **schema.Schema) error {
	if n == nil {
		return nil
	}
	location, err := l.schemas.add(n)
	if err != nil {
		return err
	}
	l.compile = append(l.compile, func(c *schema.Compiler) error {
		*to, err = c.Compile(location)
		return err
	})
	return nil
}

// bases returns the paths of the servers in n, or those before.
func (l *loader) bases(n *node, before []string) ([]string, error) {
	if len(l.Bases) > 0 {
		list := make([]string, len(l.Bases))
		for i, b := range l.Bases {
			list[i] = strings.TrimSuffix(b, "/")
		}
		return list, nil
	}
	servers := n.get("servers")
	if servers == nil || len(servers.items) == 0 {
		if before == nil {
			before = []string{""}
		}
		return before, nil
	}
	var list []string
	for _, server := range servers.items {
		urls, err := l.serverURLs(server)
		if err != nil {
			return nil, err
		}
		for _, text := range urls {
			u, err := url.Parse(text)
			if err != nil {
				return nil, server.errorf("the url of the server cannot be read: write base with the paths of the API")
			}
			p := strings.TrimSuffix(u.Path, "/")
			if p != "" && p[0] != '/' || p != "" && path.Clean(p) != p {
				return nil, server.errorf("the url %s is not below the root of the site: write base with the paths of the API", text)
			}
			if !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list, nil
}

// serverURLs returns the URLs of a server with the values that its variables have.
func (l *loader) serverURLs(server *node) ([]string, error) {
	urls := []string{server.str("url")}
	variables := server.get("variables")
	if variables == nil {
		return urls, nil
	}
	for _, name := range variables.names {
		v := variables.named[name]
		values := []string{v.str("default")}
		if enum := v.get("enum"); enum != nil {
			values = values[:0]
			for _, item := range enum.items {
				values = append(values, item.text)
			}
		}
		var next []string
		for _, u := range urls {
			if !strings.Contains(u, "{"+name+"}") {
				next = append(next, u)
				continue
			}
			for _, value := range values {
				next = append(next, strings.ReplaceAll(u, "{"+name+"}", value))
			}
		}
		if urls = next; len(urls) > 100 {
			return nil, server.errorf("the server has more than 100 urls: write base with the paths of the API")
		}
	}
	return urls, nil
}

// methods of path items.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}

// path reads a path item.
func (l *loader) path(template string, item *node, bases []string) error {
	if !strings.HasPrefix(template, "/") {
		return item.errorf("the path %s must begin with a slash", template)
	}
	item, err := l.files.follow(item)
	if err != nil {
		return err
	}
	if bases, err = l.bases(item, bases); err != nil {
		return err
	}
	shared, err := l.parameters(item.get("parameters"))
	if err != nil {
		return err
	}
	for _, method := range methods {
		n := item.get(method)
		if n == nil {
			continue
		}
		if method == "query" && !strings.HasPrefix(l.version, "3.2") {
			l.unenforced(n, "the method query is not part of OpenAPI %s", l.version)
			continue
		}
		if err := l.operation(template, strings.ToUpper(method), n, shared, bases); err != nil {
			return err
		}
	}
	if more := item.get("additionalOperations"); more != nil {
		for _, method := range more.names {
			if err := l.operation(template, method, more.named[method], shared, bases); err != nil {
				return err
			}
		}
	}
	return nil
}

// operation reads one operation.
func (l *loader) operation(template, method string, n *node, shared []*parameter, bases []string) error {
	op := &Operation{ID: n.str("operationId"), Method: method, Template: template, Secured: l.secured(n), responses: make(map[string]*response)}
	if op.ID == "" {
		op.ID = method + " " + template
	}
	for _, other := range l.doc.Operations {
		if other.ID == op.ID {
			return n.errorf("the operationId %s is there twice", op.ID)
		}
	}
	own, err := l.parameters(n.get("parameters"))
	if err != nil {
		return err
	}
	for _, p := range shared {
		if !slices.ContainsFunc(own, func(o *parameter) bool { return o.name == p.name && o.in == p.in }) {
			own = append(own, p)
		}
	}
	if err := l.assign(op, n, own); err != nil {
		return err
	}
	if err := l.requestBody(op, n.get("requestBody")); err != nil {
		return err
	}
	if err := l.responses(op, n.get("responses")); err != nil {
		return err
	}
	if bases, err = l.bases(n, bases); err != nil {
		return err
	}
	l.doc.Operations = append(l.doc.Operations, op)
	for _, b := range bases {
		if err := l.doc.routes.add(l, n, b+template, op); err != nil {
			return err
		}
	}
	return nil
}

// secured reports whether a request needs a credential.
func (l *loader) secured(n *node) bool {
	security := n.get("security")
	if security == nil {
		security = l.root.get("security")
	}
	if security == nil || len(security.items) == 0 {
		return false
	}
	return !slices.ContainsFunc(security.items, func(requirement *node) bool { return len(requirement.names) == 0 })
}

// assign checks the parameters of an operation, and brings those of the path into
// the order of the template.
func (l *loader) assign(op *Operation, n *node, list []*parameter) error {
	names, err := templateNames(op.Template)
	if err != nil {
		return n.errorf("the path %s: %w", op.Template, err)
	}
	op.inPath = make([]*parameter, len(names))
	forms := 0
	for _, p := range list {
		if p.in == inQuery && p.takesAny {
			forms++
		}
		if p.in != inPath {
			op.parameters = append(op.parameters, p)
			continue
		}
		i := slices.IndexFunc(names, func(name string) bool {
			return name == p.name || strings.Contains(name, several) && strings.Contains("{"+name+"}", "{"+p.name+"}")
		})
		if i < 0 {
			return p.node.errorf("the path %s has no {%s}", op.Template, p.name)
		}
		if op.inPath[i] = p; names[i] != p.name {
			l.unenforced(p.node, "the parameter %s shares a segment of the path %s with others: nobody knows where one ends, and none is checked", p.name, op.Template)
			op.inPath[i] = new(parameter)
		}
	}
	if i := slices.Index(op.inPath, nil); i >= 0 {
		return n.errorf("the parameter %s of the path %s is not described", names[i], op.Template)
	}
	if forms > 1 {
		return n.errorf("two parameters of the query are objects whose members are not known: a member could belong to either")
	}
	return nil
}
