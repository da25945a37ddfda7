// Package schema validates JSON against JSON Schema (draft 2020-12) as it was read
// by strictjson, without building the document: a few microseconds for a usual
// request, and no memory that grows with what a client sends.
//
// Schemas are compiled once, by github.com/santhosh-tekuri/jsonschema/v6, whose
// result is translated. Its own validator is the slow twin of this one in tests. It
// is not used for requests, since it keeps every error of a document, reads numbers
// of any size, and knows neither directions nor closed worlds.
//
// Beside the verdict of JSON Schema it can say which members no schema has named,
// across references and compositions: see Validator.Closed.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"sort"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/caddy-moat/caddy-moat/modules/internal/query"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Schema is a compiled schema. It does not change once it is compiled, and can be
// used by any number of Validators.
type Schema struct {
	location string

	always, never bool // a boolean schema

	types    types
	constant *constant
	enum     *enum
	format   *Format

	ref                 *Schema
	allOf, anyOf        []*Schema
	oneOf               []*Schema
	not, ifs            *Schema
	then, otherwise     *Schema
	discriminator       *discriminator
	readOnly, writeOnly bool

	object *objectRules
	array  *arrayRules
	text   *textRules
	number *numberRules

	unevaluatedProperties *Schema
	unevaluatedItems      *Schema

	// Members that are not to be sent in a request, or not in a response, of
	// objects that are described by this schema and what it is composed of.
	readOnlyNames, writeOnlyNames map[string]bool
}

type objectRules struct {
	properties   map[string]*property
	folded       map[string]bool // the names of properties, folded
	needed       int             // properties that are required
	required     []string
	patterns     []patternRule
	additional   *Schema
	names        *Schema
	least, most  int // -1: any
	dependent    []dependentRule
	namesMembers bool
}

type property struct {
	schema   *Schema
	required bool
}

type patternRule struct {
	re     *regexp.Regexp
	schema *Schema
}

type dependentRule struct {
	name     string
	required []string
	schema   *Schema
}

type arrayRules struct {
	prefix         []*Schema
	items          *Schema
	contains       *Schema
	leastContained int
	mostContained  int // -1: any
	least, most    int
	unique         bool
}

type textRules struct {
	least, most int
	pattern     *regexp.Regexp
	written     string // the pattern as it is in the schema
}

type numberRules struct {
	minimum, maximum *decimal
	above, below     *decimal // exclusive
	multipleOf       *decimal
	writtenMin       string
	writtenMax       string
	writtenAbove     string
	writtenBelow     string
	writtenMultiple  string
}

type discriminator struct {
	property string
	targets  map[string]*Schema
	names    []string
	inherits bool // the schema has neither oneOf nor anyOf: those that inherit from it are meant
}

type enum struct {
	strings map[string]bool
	others  []*constant
	shown   string
}

// Error says what is wrong with a schema, and where.
type Error struct {
	Location string
	Reason   string
}

func (e *Error) Error() string { return e.Location + ": " + e.Reason }

// Discriminator is the keyword of OpenAPI: the member whose value says which of
// several schemas an object has.
type Discriminator struct {
	Property string
	Targets  map[string]string // value of the member → location of the schema
}

// Compiler compiles schemas. It is for one goroutine.
type Compiler struct {
	c     *jsonschema.Compiler
	known map[*jsonschema.Schema]*Schema

	reached map[*Schema]bool
	state   map[*Schema]int

	// Formats are those that are checked.
	Formats map[string]*Format

	// Discriminators by the location of their schema.
	Discriminators map[string]Discriminator
}

// NewCompiler returns a Compiler of schemas that are in doc, which is JSON as
// encoding/json reads it with UseNumber. Their locations begin with url. Nothing is
// ever loaded from elsewhere, but by load where that is not nil.
func NewCompiler(url string, doc any, load func(url string) (any, error)) (*Compiler, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(loader(load))
	c.AssertFormat()
	register(c, Formats)
	c.UseRegexpEngine(func(text string) (jsonschema.Regexp, error) {
		re, err := Regexp(text)
		if err != nil {
			return nil, err
		}
		return &ecma{re, text}, nil
	})
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	return &Compiler{
		c: c, known: make(map[*jsonschema.Schema]*Schema), reached: make(map[*Schema]bool), state: make(map[*Schema]int), Formats: Formats,
	}, nil
}

// ecma is a regular expression that remembers how it was written.
type ecma struct {
	*regexp.Regexp
	written string
}

func (e *ecma) String() string { return e.written }

type loader func(url string) (any, error)

// Load implements jsonschema.URLLoader.
func (l loader) Load(url string) (any, error) {
	if l == nil {
		return nil, errors.New("it is outside of the document")
	}
	return l(url)
}

// Compile compiles the schema at a location. Schemas that refer to each other are
// compiled once, however often they are asked for.
func (c *Compiler) Compile(location string) (*Schema, error) {
	compiled, err := c.c.Compile(location)
	if err != nil {
		return nil, explain(location, err)
	}
	s, err := c.translate(compiled)
	if err != nil {
		return nil, err
	}
	if err := c.attach(); err != nil {
		return nil, err
	}
	return s, c.settle(s)
}

// explain finds the place that an error of the library is about.
func explain(location string, err error) error {
	var invalid *jsonschema.SchemaValidationError
	if errors.As(err, &invalid) {
		var v *jsonschema.ValidationError
		if errors.As(invalid.Err, &v) {
			for len(v.Causes) > 0 {
				v = v.Causes[0]
			}
			at := invalid.URL
			for _, name := range v.InstanceLocation {
				at += "/" + escapePointer(name)
			}
			return &Error{at, "not a valid schema: " + fmt.Sprint(v.ErrorKind.KeywordPath()) + " of the specification does not hold"}
		}
	}
	var re *jsonschema.InvalidRegexError
	if errors.As(err, &re) {
		return &Error{re.URL, re.Err.Error()}
	}
	return &Error{location, err.Error()}
}

// translate makes a Schema of what the library has compiled.
func (c *Compiler) translate(from *jsonschema.Schema) (*Schema, error) {
	if from == nil {
		return nil, nil
	}
	if s, ok := c.known[from]; ok {
		return s, nil
	}
	s := &Schema{location: from.Location}
	c.known[from] = s
	if from.Bool != nil {
		s.always, s.never = *from.Bool, !*from.Bool
		return s, nil
	}
	t := translation{c: c}
	t.assertions(s, from)
	t.compositions(s, from)
	t.objects(s, from)
	t.arrays(s, from)
	t.texts(s, from)
	t.numbers(s, from)
	if t.err == nil && (from.RecursiveRef != nil || from.DynamicRef != nil && from.DynamicRef.Anchor != "" && from.DynamicRef.Ref.DynamicAnchor != "") {
		t.err = errors.New("$dynamicRef cannot be checked: write $ref")
	}
	if t.err != nil {
		var located *Error
		if errors.As(t.err, &located) {
			return nil, t.err
		}
		return nil, &Error{from.Location, t.err.Error()}
	}
	return s, nil
}

// translation keeps the first error.
type translation struct {
	c   *Compiler
	err error
}

func (t *translation) one(from *jsonschema.Schema) *Schema {
	s, err := t.c.translate(from)
	if err != nil && t.err == nil {
		t.err = err
	}
	return s
}

func (t *translation) all(from []*jsonschema.Schema) []*Schema {
	if len(from) == 0 {
		return nil
	}
	list := make([]*Schema, len(from))
	for i := range from {
		list[i] = t.one(from[i])
	}
	return list
}

func (t *translation) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
}

func (t *translation) assertions(s *Schema, from *jsonschema.Schema) {
	if from.Types != nil {
		for _, name := range from.Types.ToStrings() {
			s.types |= typeNamed(name)
		}
	}
	if from.Const != nil {
		s.constant = t.constant(*from.Const)
	}
	if from.Enum != nil {
		s.enum = t.enum(from.Enum.Values)
	}
	if from.Format != nil {
		if s.format = t.c.Formats[from.Format.Name]; s.format == nil {
			s.format = foreignFormat(from.Format)
		}
	}
	s.readOnly, s.writeOnly = from.ReadOnly, from.WriteOnly
}

func (t *translation) constant(v any) *constant {
	text, err := json.Marshal(v)
	if err != nil {
		t.fail("%v", err)
		return nil
	}
	k := &constant{text: text, tape: new(strictjson.Tape)}
	if err := k.tape.Read(text, strictjson.Limits{Depth: 64}); err != nil {
		t.fail("a value that cannot be compared: %v", err)
	}
	return k
}

func (t *translation) enum(values []any) *enum {
	e := new(enum)
	const shown = 12
	for i, v := range values {
		k := t.constant(v)
		if k == nil {
			return e
		}
		switch {
		case i < shown && i > 0:
			e.shown += ", " + string(k.text)
		case i < shown:
			e.shown = string(k.text)
		case i == shown:
			e.shown += ", …"
		}
		if text, ok := v.(string); ok {
			if e.strings == nil {
				e.strings = make(map[string]bool)
			}
			e.strings[text] = true
			continue
		}
		e.others = append(e.others, k)
	}
	return e
}

func (t *translation) compositions(s *Schema, from *jsonschema.Schema) {
	s.ref = t.one(from.Ref)
	if s.ref == nil && from.DynamicRef != nil {
		s.ref = t.one(from.DynamicRef.Ref)
	}
	s.allOf, s.anyOf, s.oneOf = t.all(from.AllOf), t.all(from.AnyOf), t.all(from.OneOf)
	s.not, s.ifs, s.then, s.otherwise = t.one(from.Not), t.one(from.If), t.one(from.Then), t.one(from.Else)
	s.unevaluatedProperties, s.unevaluatedItems = t.one(from.UnevaluatedProperties), t.one(from.UnevaluatedItems)
}

func (t *translation) objects(s *Schema, from *jsonschema.Schema) {
	if from.Properties == nil && from.PatternProperties == nil && from.AdditionalProperties == nil && from.PropertyNames == nil &&
		from.MinProperties == nil && from.MaxProperties == nil && len(from.Required) == 0 && from.DependentRequired == nil &&
		from.DependentSchemas == nil && from.Dependencies == nil {
		return
	}
	o := &objectRules{
		required: from.Required, names: t.one(from.PropertyNames), least: bound(from.MinProperties), most: bound(from.MaxProperties),
		namesMembers: len(from.Properties) > 0 || len(from.PatternProperties) > 0,
	}
	if len(from.Properties) > 0 {
		o.properties = make(map[string]*property, len(from.Properties))
		o.folded = make(map[string]bool, len(from.Properties))
	}
	for name, sub := range from.Properties {
		p := &property{schema: t.one(sub), required: slices.Contains(from.Required, name)}
		if p.required {
			o.needed++
		}
		o.properties[name] = p
		o.folded[query.Fold(name)] = true
	}
	for re, sub := range from.PatternProperties {
		o.patterns = append(o.patterns, patternRule{re.(*ecma).Regexp, t.one(sub)})
	}
	sort.Slice(o.patterns, func(i, j int) bool { return o.patterns[i].re.String() < o.patterns[j].re.String() })
	switch a := from.AdditionalProperties.(type) {
	case bool:
		o.additional = &Schema{location: from.Location + "/additionalProperties", always: a, never: !a}
	case *jsonschema.Schema:
		o.additional = t.one(a)
	}
	for name, names := range from.DependentRequired {
		o.dependent = append(o.dependent, dependentRule{name: name, required: names})
	}
	for name, sub := range from.DependentSchemas {
		o.dependent = append(o.dependent, dependentRule{name: name, schema: t.one(sub)})
	}
	sort.Slice(o.dependent, func(i, j int) bool { return o.dependent[i].name < o.dependent[j].name })
	if from.Dependencies != nil {
		t.fail("dependencies is a keyword of older drafts: write dependentRequired or dependentSchemas")
	}
	s.object = o
}

func (t *translation) arrays(s *Schema, from *jsonschema.Schema) {
	if from.PrefixItems == nil && from.Items2020 == nil && from.Contains == nil && from.MinItems == nil && from.MaxItems == nil && !from.UniqueItems {
		return
	}
	s.array = &arrayRules{
		prefix: t.all(from.PrefixItems), items: t.one(from.Items2020), contains: t.one(from.Contains),
		leastContained: 1, mostContained: bound(from.MaxContains),
		least: bound(from.MinItems), most: bound(from.MaxItems), unique: from.UniqueItems,
	}
	if from.MinContains != nil {
		s.array.leastContained = *from.MinContains
	}
}

func (t *translation) texts(s *Schema, from *jsonschema.Schema) {
	if from.MinLength == nil && from.MaxLength == nil && from.Pattern == nil {
		return
	}
	s.text = &textRules{least: bound(from.MinLength), most: bound(from.MaxLength)}
	if from.Pattern != nil {
		re := from.Pattern.(*ecma)
		s.text.pattern, s.text.written = re.Regexp, re.written
	}
}

func (t *translation) numbers(s *Schema, from *jsonschema.Schema) {
	if from.Minimum == nil && from.Maximum == nil && from.ExclusiveMinimum == nil && from.ExclusiveMaximum == nil && from.MultipleOf == nil {
		return
	}
	n := new(numberRules)
	n.minimum, n.writtenMin = t.rational(from.Minimum)
	n.maximum, n.writtenMax = t.rational(from.Maximum)
	n.above, n.writtenAbove = t.rational(from.ExclusiveMinimum)
	n.below, n.writtenBelow = t.rational(from.ExclusiveMaximum)
	n.multipleOf, n.writtenMultiple = t.rational(from.MultipleOf)
	s.number = n
}

func (t *translation) rational(r *big.Rat) (*decimal, string) {
	if r == nil {
		return nil, ""
	}
	digits, exact := r.FloatPrec()
	if !exact || digits > maxExponent {
		t.fail("a number that cannot be compared")
		return nil, ""
	}
	text := r.FloatString(digits)
	d := parseDecimal([]byte(text), nil)
	return &d, text
}

func bound(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

// attach gives schemas their discriminators.
func (c *Compiler) attach() error {
	for from, s := range c.known {
		d, ok := c.Discriminators[from.Location]
		if !ok || s.discriminator != nil {
			continue
		}
		made := &discriminator{property: d.Property, targets: make(map[string]*Schema, len(d.Targets)), inherits: s.oneOf == nil && s.anyOf == nil}
		s.discriminator = made
		for value, location := range d.Targets {
			compiled, err := c.c.Compile(location)
			if err != nil {
				return explain(location, err)
			}
			target, err := c.translate(compiled)
			if err != nil {
				return err
			}
			made.targets[value] = target
			made.names = append(made.names, value)
		}
		slices.Sort(made.names)
		// Its targets may have discriminators too.
		return c.attach()
	}
	return nil
}

// inPlace calls f with the schemas that s applies to the same value.
func (s *Schema) inPlace(f func(*Schema)) {
	for _, sub := range [...]*Schema{s.ref, s.not, s.ifs, s.then, s.otherwise} {
		if sub != nil {
			f(sub)
		}
	}
	for _, list := range [...][]*Schema{s.allOf, s.anyOf, s.oneOf} {
		for _, sub := range list {
			f(sub)
		}
	}
	if s.object != nil {
		for _, d := range s.object.dependent {
			if d.schema != nil {
				f(d.schema)
			}
		}
	}
}

// inside calls f with the schemas that s applies to what is in a value.
func (s *Schema) inside(f func(*Schema)) {
	list := []*Schema{s.unevaluatedProperties, s.unevaluatedItems}
	if o := s.object; o != nil {
		for _, p := range o.properties {
			list = append(list, p.schema)
		}
		for _, p := range o.patterns {
			list = append(list, p.schema)
		}
		list = append(list, o.additional, o.names)
	}
	if a := s.array; a != nil {
		list = append(append(list, a.prefix...), a.items, a.contains)
	}
	if s.discriminator != nil {
		for _, target := range s.discriminator.targets {
			list = append(list, target)
		}
	}
	for _, sub := range list {
		if sub != nil {
			f(sub)
		}
	}
}

// settle looks at all schemas that s leads to. It refuses those that come back to
// themselves without going into the value, since no value could ever be checked, and
// finds the members that have a direction.
func (c *Compiler) settle(s *Schema) error {
	if c.reached[s] {
		return nil
	}
	c.reached[s] = true
	var err error
	next := func(sub *Schema) {
		if err == nil {
			err = c.settle(sub)
		}
	}
	if err = c.acyclic(s); err != nil {
		return err
	}
	s.inPlace(next)
	s.inside(next)
	return err
}

// States of schemas that acyclic looks at.
const (
	looking = 1 + iota
	looked
)

// acyclic goes through what s applies to the same value.
func (c *Compiler) acyclic(s *Schema) (err error) {
	switch c.state[s] {
	case looking:
		return &Error{s.location, "the schema refers to itself without end"}
	case looked:
		return nil
	}
	c.state[s] = looking
	s.inPlace(func(sub *Schema) {
		if err == nil {
			err = c.acyclic(sub)
		}
	})
	c.state[s] = looked
	if err == nil {
		s.noteDirections()
	}
	return err
}

// noteDirections finds the members that have a direction, for required. Those of
// the schemas that s is composed of are known.
func (s *Schema) noteDirections() {
	note := func(to *map[string]bool, name string) {
		if *to == nil {
			*to = make(map[string]bool)
		}
		(*to)[name] = true
	}
	if s.object != nil {
		for name, p := range s.object.properties {
			if p.schema.has(func(s *Schema) bool { return s.readOnly }) {
				note(&s.readOnlyNames, name)
			}
			if p.schema.has(func(s *Schema) bool { return s.writeOnly }) {
				note(&s.writeOnlyNames, name)
			}
		}
	}
	s.inPlace(func(sub *Schema) {
		if sub == s.not {
			return
		}
		for name := range sub.readOnlyNames {
			note(&s.readOnlyNames, name)
		}
		for name := range sub.writeOnlyNames {
			note(&s.writeOnlyNames, name)
		}
	})
}

// has reports whether a schema, or what always applies with it, has a property.
func (s *Schema) has(property func(*Schema) bool) bool { return s.hasWithin(property, 64) }

// hasWithin ends in schemas that refer to themselves without end, which are refused
// elsewhere.
func (s *Schema) hasWithin(property func(*Schema) bool, steps int) bool {
	if steps == 0 {
		return false
	}
	return property(s) || s.ref != nil && s.ref.hasWithin(property, steps-1) ||
		slices.ContainsFunc(s.allOf, func(sub *Schema) bool { return sub.hasWithin(property, steps-1) })
}
