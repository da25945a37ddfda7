package contract

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/schema"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/query"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Codes of rejections.
const (
	CodePath     = "undocumented_path"
	CodeMethod   = "undocumented_method"
	CodeMedia    = "unsupported_media_type"
	CodeInvalid  = "invalid_request"
	CodeTooLarge = "request_too_large"
)

// Limits bound what is read, and say what is let pass.
type Limits struct {
	Open    bool // what the document does not name may be sent
	MaxBody int64
	JSON    strictjson.Limits
}

// ErrTooLarge is what Request.Content returns for content that is too large.
var ErrTooLarge = errors.New("the content is too large")

// Request is a request that is checked.
type Request struct {
	Method   string
	Path     string // the one reading of it
	RawQuery string
	Header   http.Header
	Body     Body
}

// Body is the content of a request, which is only read where that is needed.
type Body interface {
	HasContent() bool

	// Content returns all of it, or ErrTooLarge. It must not be changed.
	Content(max int64) ([]byte, error)
}

// Verdict is what came of a request.
type Verdict struct {
	Operation *Operation // nil where none is documented
	Problem   *problem.Problem
	Allow     string // the methods of the path, where the method is not one
}

// check holds what checking a request takes. It is used again.
type check struct {
	doc    *Document
	limits *Limits
	r      *Request
	match  match
	pairs  []pair
	w      written
	tape   strictjson.Tape
	text   []byte
	faults []problem.Fault
}

var checks = sync.Pool{New: func() any { return new(check) }}

// Check checks a request.
func (d *Document) Check(r *Request, limits *Limits) Verdict {
	c := checks.Get().(*check)
	c.doc, c.limits, c.r, c.faults = d, limits, r, nil
	v := c.run()
	c.release()
	return v
}

// release gives back what checking took.
func (c *check) release() {
	c.doc, c.limits, c.r, c.faults = nil, nil, nil, nil
	c.tape.Release()
	if cap(c.pairs) > 64 || cap(c.text) > 4096 || cap(c.w.texts) > 256 {
		*c = check{}
	}
	checks.Put(c)
}

// operation returns the one of a method: a HEAD is a GET where that is documented.
func (e *endpoint) operation(method string) *Operation {
	if op := e.operations[method]; op != nil {
		return op
	}
	if method == http.MethodHead {
		return e.operations[http.MethodGet]
	}
	return nil
}

func (c *check) run() Verdict {
	c.match.endpoint, c.match.count = nil, 0
	if !c.doc.routes.find(c.r.Path, &c.match) {
		if c.limits.Open {
			return Verdict{}
		}
		return Verdict{Problem: &problem.Problem{Status: http.StatusNotFound, Code: CodePath, Detail: "the API has no such path"}}
	}
	op := c.match.endpoint.operation(c.r.Method)
	if op == nil {
		if c.limits.Open {
			return Verdict{}
		}
		return Verdict{Allow: c.match.endpoint.allow, Problem: &problem.Problem{
			Status: http.StatusMethodNotAllowed, Code: CodeMethod, Detail: "the path does not have this method",
		}}
	}
	c.overrides(op)
	c.path(op)
	c.query(op)
	c.headers(op)
	c.cookies(op)
	if len(c.faults) < schema.MaxFaults {
		if p := c.content(op); p != nil {
			return Verdict{Operation: op, Problem: p}
		}
	}
	if len(c.faults) == 0 {
		return Verdict{Operation: op}
	}
	return Verdict{Operation: op, Problem: &problem.Problem{
		Status: http.StatusBadRequest, Code: CodeInvalid, Detail: "the request is not as the API documents it", Faults: c.faults,
	}}
}

func (c *check) fault(f problem.Fault) {
	if len(c.faults) < schema.MaxFaults {
		c.faults = append(c.faults, f)
	}
}

// overriding are header fields by which many frameworks take another method or path
// for that of the request.
var overriding = [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"}

// overrides rejects a request that may be another one for who serves it.
func (c *check) overrides(op *Operation) {
	for name := range c.r.Header {
		if len(name) < 2 || name[0]|0x20 != 'x' {
			continue
		}
		plain := http.CanonicalHeaderKey(strings.ReplaceAll(strings.ReplaceAll(name, "_", "-"), ".", "-"))
		if !slices.Contains(overriding[:], plain) || slices.ContainsFunc(op.parameters, func(p *parameter) bool { return p.in == inHeader && p.name == name }) {
			continue
		}
		if values := c.r.Header[name]; strings.Contains(plain, "Method") && len(values) == 1 && values[0] == c.r.Method {
			continue
		}
		c.fault(problem.Fault{In: inHeader, Name: plain, Keyword: "override", Expected: "no field that names another method or path"})
	}
}

// path checks the parameters of the path.
func (c *check) path(op *Operation) {
	for i, p := range op.inPath {
		if p.schema == nil {
			continue
		}
		if err := p.fromText(c.match.values[i], &c.w); err != nil {
			c.fault(problem.Fault{In: inPath, Name: p.name, Keyword: "style", Expected: err.Error()})
			continue
		}
		c.value(p)
	}
}

// query checks the parameters of the query.
func (c *check) query(op *Operation) {
	var err error
	c.pairs, err = parsePairs(c.pairs[:0], c.r.RawQuery)
	if err != nil {
		c.fault(problem.Fault{In: inQuery, Keyword: "syntax", Expected: err.Error()})
		return
	}
	c.named(op.parameters, inQuery)
	for i := range c.pairs {
		pr := &c.pairs[i]
		switch {
		case pr.used:
		case !c.limits.Open:
			c.fault(problem.Fault{In: inQuery, Name: cut(pr.name), Keyword: "unknown_parameter", Expected: "no parameter of this name"})
		case slices.ContainsFunc(op.parameters, func(p *parameter) bool { return p.in == inQuery && query.CanMean(pr.name, p.name) }):
			c.fault(problem.Fault{In: inQuery, Name: cut(pr.name), Keyword: "parameter_case", Expected: "the name as it is documented"})
		}
	}
}

// named checks the parameters in one place that are in c.pairs: those with names of
// their own first, since an object may take any.
func (c *check) named(list []*parameter, in string) {
	for _, any := range [...]bool{false, true} {
		for _, p := range list {
			if p.in != in || p.takesAny != any {
				continue
			}
			found, err := p.fromPairs(c.pairs, &c.w)
			switch {
			case err != nil:
				c.fault(problem.Fault{In: in, Name: p.name, Keyword: keywordOf(err), Expected: err.Error()})
			case found && p.allowEmpty && len(c.w.texts) == 1 && c.w.texts[0] == "":
			case found:
				c.value(p)
			case p.required:
				c.fault(problem.Fault{In: in, Name: p.name, Keyword: "required", Expected: "to be sent"})
			}
		}
	}
}

func keywordOf(err error) string {
	if errors.Is(err, errTwice) {
		return "repeated"
	}
	return "style"
}

// headers checks the header fields that are parameters.
func (c *check) headers(op *Operation) {
	for _, p := range op.parameters {
		if p.in == inHeader {
			c.header(p, c.r.Header)
		}
	}
}

func (c *check) header(p *parameter, h http.Header) {
	values := h[p.name]
	switch {
	case len(values) == 0 && p.required:
		c.fault(problem.Fault{In: inHeader, Name: p.name, Keyword: "required", Expected: "to be sent"})
		return
	case len(values) == 0:
		return
	case len(values) > 1 && (p.json || p.shape == nil || !p.shape.IsArray()):
		c.fault(problem.Fault{In: inHeader, Name: p.name, Keyword: "repeated", Expected: errTwice.Error()})
		return
	}
	text := values[0]
	if len(values) > 1 {
		text = strings.Join(values, ",")
	}
	if err := p.fromText(text, &c.w); err != nil {
		c.fault(problem.Fault{In: inHeader, Name: p.name, Keyword: "style", Expected: err.Error()})
		return
	}
	c.value(p)
}

// cookies checks the cookies that are parameters. Others are nobody's matter here.
func (c *check) cookies(op *Operation) {
	if !slices.ContainsFunc(op.parameters, func(p *parameter) bool { return p.in == inCookie }) {
		return
	}
	for _, p := range op.parameters {
		if p.in != inCookie {
			continue
		}
		text, count := "", 0
		for _, line := range c.r.Header["Cookie"] {
			for part := range strings.SplitSeq(line, ";") {
				name, value, _ := strings.Cut(part, "=")
				if strings.Trim(name, " \t") == p.name {
					text, count = strings.Trim(value, " \t"), count+1
				}
			}
		}
		switch {
		case count > 1:
			c.fault(problem.Fault{In: inCookie, Name: p.name, Keyword: "repeated", Expected: errTwice.Error()})
		case count == 0 && p.required:
			c.fault(problem.Fault{In: inCookie, Name: p.name, Keyword: "required", Expected: "to be sent"})
		case count == 1:
			if err := p.fromText(text, &c.w); err != nil {
				c.fault(problem.Fault{In: inCookie, Name: p.name, Keyword: "style", Expected: err.Error()})
				continue
			}
			c.value(p)
		}
	}
}

// value checks what was written for a parameter by its schema.
func (c *check) value(p *parameter) {
	if p.schema != nil {
		c.valueAs(p, false)
	}
}

// valueAs checks a value in one reading. A text that may be a number or a boolean is
// right if one reading of it is.
func (c *check) valueAs(p *parameter, otherwise bool) bool {
	at := problem.Fault{In: p.in, Name: p.name}
	var ok bool
	c.text, ok = p.appendJSON(c.text[:0], &c.w, otherwise)
	if !ok {
		at.Keyword, at.Expected = "encoding", errEncoding.Error()
		c.fault(at)
		return false
	}
	if err := c.tape.Read(c.text, c.limits.JSON); err != nil {
		c.unreadable(at, err, c.text)
		return false
	}
	v := schema.Get()
	defer v.Put()
	if v.Validate(p.schema, &c.tape, 0, schema.Request) && v.Closed(0, c.limits.Open) {
		return true
	}
	if !otherwise && p.shape != nil && p.shape.Ambiguous() {
		before := len(c.faults)
		if c.valueAs(p, true) {
			return true
		}
		c.faults = c.faults[:before]
		return c.retold(at, p)
	}
	c.tell(v, at)
	return false
}

// retold says what is wrong with a value that has several readings, by the first.
func (c *check) retold(at problem.Fault, p *parameter) bool {
	c.text, _ = p.appendJSON(c.text[:0], &c.w, false)
	if c.tape.Read(c.text, c.limits.JSON) == nil {
		v := schema.Get()
		defer v.Put()
		_ = v.Validate(p.schema, &c.tape, 0, schema.Request) && v.Closed(0, c.limits.Open)
		c.tell(v, at)
	}
	return false
}

// tell takes over what is wrong with a value.
func (c *check) tell(v *schema.Validator, at problem.Fault) {
	for _, f := range v.Faults {
		at.Pointer, at.Keyword, at.Expected = schema.Pointer(&c.tape, f.At), f.Keyword, f.Expected
		c.fault(at)
	}
}

// unreadable says why JSON is not read.
func (c *check) unreadable(at problem.Fault, err error, text []byte) {
	at.Pointer = schema.Pointer(&c.tape, c.tape.Fault())
	at.Keyword, at.Expected = "syntax", "JSON (RFC 8259)"
	switch {
	case errors.Is(err, strictjson.ErrDuplicate):
		at.Keyword, at.Expected = "duplicate_member", "every member once"
	case errors.Is(err, strictjson.ErrTwin):
		at.Keyword, at.Expected = schema.KeywordTwin, "names that differ in more than case"
	case errors.Is(err, strictjson.ErrNumber):
		at.Keyword, at.Expected = "number", "numbers within double precision"
	case errors.Is(err, strictjson.ErrDepth), errors.Is(err, strictjson.ErrValues), errors.Is(err, strictjson.ErrMembers),
		errors.Is(err, strictjson.ErrItems), errors.Is(err, strictjson.ErrString):
		at.Keyword, at.Expected = "limit", "less than "+err.Error()
	case !utf8.Valid(text):
		at.Keyword, at.Expected = "encoding", "UTF-8"
	}
	c.fault(at)
}

// maxName is how much of a name is shown, in bytes.
const maxName = 100

func cut(name string) string {
	name = strings.ToValidUTF8(name, "\ufffd")
	if len(name) <= maxName {
		return name
	}
	end := maxName
	for !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + "…"
}
