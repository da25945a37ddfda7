package schema

import (
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Direction is where a value goes: some members are for one direction alone.
type Direction uint8

// The directions.
const (
	Both     Direction = iota // readOnly and writeOnly mean nothing
	Request                   // readOnly members must not be there, and are not required
	Response                  // writeOnly members must not be there, and are not required
)

// MaxFaults is how many faults a Validator keeps.
const MaxFaults = 10

// Fault is one thing that is wrong with a value.
type Fault struct {
	At       int    // the value in the Tape
	Keyword  string // of JSON Schema, or a word of ours for what it has none for
	Expected string // what a value needs to be; nothing of the one that is there
}

// Keywords of faults that JSON Schema has no keyword for.
const (
	KeywordUnknown = "unknown_member" // no schema names it
	KeywordTwin    = "member_case"    // it is named in another case
	KeywordWork    = "complexity"     // it takes too long to tell
	KeywordFalse   = "false"          // nothing is valid there
)

// flags of a value.
const (
	seen   uint8 = 1 << iota // a schema has described the member or item
	exact                    // one of its properties or patterns has its name
	twin                     // one of its properties has the name in another case
	named                    // an object: a schema has named members of it
	within                   // for unevaluated…
)

// entry is what was set of the flags of a value.
type entry struct {
	at    int32
	flags uint8 // that were not set before
	all   uint8
}

// Validator checks values. Get one from a pool, and put it back.
type Validator struct {
	tape      *strictjson.Tape
	direction Direction
	flags     []uint8
	log       []entry // what was set since it may have to be undone
	branch    int     // above 0: in a schema whose failure is no fault of the value
	tracking  int     // above 0: in a schema that asks what has been evaluated
	steps     int
	outer     *Schema // what describes the value, of which others may be a part
	parent    *discriminator
	parentAt  int
	room      []byte

	// Faults are those that were found, MaxFaults at most.
	Faults []Fault
}

var validators = sync.Pool{New: func() any { return new(Validator) }}

// Get returns a Validator.
func Get() *Validator { return validators.Get().(*Validator) }

// Put gives it back.
func (v *Validator) Put() {
	v.tape, v.outer, v.parent = nil, nil, nil
	if cap(v.flags) > 4096 || cap(v.room) > 4096 {
		*v = Validator{}
	}
	validators.Put(v)
}

// Bounds of the work for one value, in schemas that are looked at. Compositions
// inside each other could cost any amount.
const (
	leastSteps = 20_000
	stepsEach  = 1000
	mostSteps  = 5_000_000
)

// Validate checks value at of a Tape, and reports whether it is valid. Faults has
// why not.
func (v *Validator) Validate(s *Schema, tape *strictjson.Tape, at int, direction Direction) bool {
	v.tape, v.direction = tape, direction
	v.branch, v.tracking, v.log, v.Faults = 0, 0, v.log[:0], v.Faults[:0]
	v.parent, v.parentAt = nil, -1
	v.steps = min(leastSteps+stepsEach*len(tape.Values), mostSteps)
	if cap(v.flags) < len(tape.Values) {
		v.flags = make([]uint8, len(tape.Values)+len(tape.Values)/2)
	}
	v.flags = v.flags[:len(tape.Values)]
	clear(v.flags)
	return v.child(s, at)
}

// Closed reports whether the value that was validated is free of members that no
// schema names where schemas name members, and of those that a schema names in
// another case. With open, only of the latter. What no schema describes at all, such
// as an object without properties, can have any members.
func (v *Validator) Closed(at int, open bool) bool {
	closed := true
	end := int(v.tape.Values[at].Next)
	for i := at + 1; i < end; {
		f := v.flags[i]
		parent := v.tape.Values[i].Parent
		switch {
		case f&twin != 0 && f&exact == 0:
			closed = false
			v.fault(i, KeywordTwin, "the name in the case in which it is documented")
		case !open && f&seen == 0 && v.flags[parent]&named != 0:
			closed = false
			v.fault(i, KeywordUnknown, "no member of this name")
			i = int(v.tape.Values[i].Next)
			continue
		}
		i++
		if !closed && len(v.Faults) >= MaxFaults {
			return false
		}
	}
	return closed
}

func (v *Validator) fault(at int, keyword, expected string) {
	f := Fault{at, keyword, expected}
	if len(v.Faults) < MaxFaults && !slices.Contains(v.Faults, f) {
		v.Faults = append(v.Faults, f)
	}
}

// enough reports whether no more need be found once something is wrong.
func (v *Validator) enough() bool {
	return v.branch > 0 || len(v.Faults) >= MaxFaults || v.steps < 0
}

// mark sets flags of a value, so that they can be undone.
func (v *Validator) mark(at int, flags uint8) {
	fresh := flags &^ v.flags[at]
	if v.branch == 0 && v.tracking == 0 {
		v.flags[at] |= flags
		return
	}
	if fresh == 0 && v.tracking == 0 {
		return
	}
	v.flags[at] |= flags
	// What others have set too is kept on undoing it, and yet in the log, which
	// says what a schema has evaluated.
	v.log = append(v.log, entry{int32(at), fresh, flags}) //nolint:gosec // bounded by the Tape
}

func (v *Validator) undo(length int) {
	for i := len(v.log) - 1; i >= length; i-- {
		v.flags[v.log[i].at] &^= v.log[i].flags
	}
	v.log = v.log[:length]
}

// try checks a schema whose failure is no fault of the value by itself. What it has
// said of the value counts if it holds.
func (v *Validator) try(s *Schema, at int) bool {
	v.branch++
	length := len(v.log)
	ok := v.check(s, at)
	v.branch--
	if !ok {
		v.undo(length)
	}
	return ok
}

// tryInside is try for a value inside of the one that is looked at.
func (v *Validator) tryInside(s *Schema, at int) bool {
	outer := v.outer
	v.outer = s
	ok := v.try(s, at)
	v.outer = outer
	return ok
}

// child checks a value by what describes it.
func (v *Validator) child(s *Schema, at int) bool {
	outer := v.outer
	v.outer = s
	ok := v.check(s, at)
	v.outer = outer
	return ok
}

// check checks a value by one schema.
func (v *Validator) check(s *Schema, at int) bool {
	if s.always {
		return true
	}
	if v.steps--; v.steps < 0 {
		if len(v.Faults) == 0 || v.Faults[len(v.Faults)-1].Keyword != KeywordWork {
			v.fault(at, KeywordWork, "a value that takes less work to check")
		}
		return false
	}
	if ok, fine := v.assertions(s, at); !fine {
		return ok
	}
	start := len(v.log)
	tracks := s.unevaluatedProperties != nil || s.unevaluatedItems != nil
	if tracks {
		v.tracking++
	}
	ok := s.ref == nil || v.check(s.ref, at)
	if ok || !v.enough() {
		switch v.tape.Values[at].Kind {
		case strictjson.KindObject:
			ok = (s.object == nil || v.object(s.object, at)) && ok
		case strictjson.KindArray:
			ok = (s.array == nil || v.array(s.array, at)) && ok
		case strictjson.KindString:
			ok = (s.text == nil || v.text(s.text, at)) && ok
		case strictjson.KindNumber:
			ok = (s.number == nil || v.number(s.number, at)) && ok
		}
	}
	if ok || !v.enough() {
		ok = v.compositions(s, at) && ok
	}
	if tracks {
		if ok {
			ok = v.unevaluated(s, at, start)
		}
		v.tracking--
	}
	return ok
}

// assertions checks what holds for values of all types. Without fine there is
// nothing more to be checked.
func (v *Validator) assertions(s *Schema, at int) (ok, fine bool) {
	wrong := func(keyword, expected string) (bool, bool) {
		if v.branch == 0 {
			v.fault(at, keyword, expected)
		}
		return false, false
	}
	switch {
	case s.never:
		return wrong(KeywordFalse, "nothing in this place")
	case s.readOnly && v.direction == Request:
		return wrong("readOnly", "no member that only the server sets")
	case s.writeOnly && v.direction == Response:
		return wrong("writeOnly", "no member that only clients send")
	case s.types != 0 && !s.types.has(v.tape, at):
		return wrong("type", s.types.String())
	case s.constant != nil && !s.constant.equals(v, at):
		return wrong("const", string(s.constant.text))
	case s.enum != nil && !s.enum.has(v, at):
		return wrong("enum", "one of "+s.enum.shown)
	case s.format != nil && !s.format.holds(v, at):
		return wrong("format", s.format.Expected)
	}
	return true, true
}

// compositions checks what is made of other schemas for the same value.
func (v *Validator) compositions(s *Schema, at int) bool {
	ok := true
	for _, sub := range s.allOf {
		if !v.check(sub, at) {
			if ok = false; v.enough() {
				return false
			}
		}
	}
	switch d := s.discriminator; {
	case d != nil && v.tape.Values[at].Kind == strictjson.KindObject:
		ok = v.discriminated(d, s, at) && ok
	default:
		if s.anyOf != nil {
			ok = v.any(s, at) && ok
		}
		if s.oneOf != nil && (ok || !v.enough()) {
			ok = v.one(s, at) && ok
		}
	}
	if s.not != nil {
		length := len(v.log)
		if v.try(s.not, at) {
			v.undo(length)
			if v.branch == 0 {
				v.fault(at, "not", "a value of another form")
			}
			ok = false
		}
	}
	if s.ifs != nil {
		sub := s.otherwise
		if v.try(s.ifs, at) {
			sub = s.then
		}
		if sub != nil {
			ok = v.check(sub, at) && ok
		}
	}
	return ok
}

// any checks anyOf. All that holds counts for what is evaluated.
func (v *Validator) any(s *Schema, at int) bool {
	scalar := v.tape.Values[at].Kind < strictjson.KindArray
	found := false
	for _, sub := range s.anyOf {
		if v.try(sub, at) {
			if found = true; scalar {
				break
			}
		}
	}
	if !found {
		v.noBranch(s.anyOf, at, "anyOf", "a value of one of the documented forms")
	}
	return found
}

// one checks oneOf.
func (v *Validator) one(s *Schema, at int) bool {
	found := false
	for _, sub := range s.oneOf {
		length := len(v.log)
		if !v.try(sub, at) {
			continue
		}
		if found {
			v.undo(length)
			if v.branch == 0 {
				v.fault(at, "oneOf", "a value of exactly one of the documented forms; it has several")
			}
			return false
		}
		found = true
	}
	if !found {
		v.noBranch(s.oneOf, at, "oneOf", "a value of exactly one of the documented forms")
	}
	return found
}

// noBranch says why none of several schemas holds. Where only one of them is for
// values of this type, it says what is wrong by that one.
func (v *Validator) noBranch(list []*Schema, at int, keyword, expected string) {
	if v.branch > 0 {
		return
	}
	var only *Schema
	for _, sub := range list {
		if t := sub.typesInPlace(16); t != 0 && !t.has(v.tape, at) {
			continue
		}
		if only != nil {
			only = nil
			break
		}
		only = sub
	}
	before := len(v.Faults)
	if only != nil {
		v.check(only, at)
	}
	if len(v.Faults) == before {
		v.fault(at, keyword, expected)
	}
}

// typesInPlace returns the types that a schema and what always applies with it
// allow, 0 for all.
func (s *Schema) typesInPlace(steps int) types {
	t := s.types
	if steps == 0 {
		return t
	}
	meet := func(sub *Schema) {
		if other := sub.typesInPlace(steps - 1); other != 0 {
			if t == 0 {
				t = other
			} else {
				t &= other
			}
		}
	}
	if s.ref != nil {
		meet(s.ref)
	}
	for _, sub := range s.allOf {
		meet(sub)
	}
	return t
}

// discriminated checks an object by the schema that one of its members names.
func (v *Validator) discriminated(d *discriminator, s *Schema, at int) bool {
	if v.parent == d && v.parentAt == at {
		return true // the schema that was named is made of this one
	}
	wrong := func(at int, keyword, expected string) bool {
		if v.branch == 0 {
			v.fault(at, keyword, expected)
		}
		return false
	}
	member := v.tape.Find(at, d.property)
	if member < 0 {
		return wrong(at, "required", "a member "+quote(d.property))
	}
	var target *Schema
	if v.tape.Values[member].Kind == strictjson.KindString {
		target = d.targets[string(v.string(member))]
	}
	if target == nil {
		return wrong(member, "discriminator", "one of "+quoteAll(d.names))
	}
	v.mark(member, seen)
	if target == s {
		return true
	}
	parent, parentAt := v.parent, v.parentAt
	v.parent, v.parentAt = d, at
	ok := v.check(target, at)
	v.parent, v.parentAt = parent, parentAt
	return ok
}

// object checks the members of an object.
func (v *Validator) object(o *objectRules, at int) bool {
	ok := true
	val := v.tape.Values[at]
	wrong := func(keyword, expected string) {
		ok = false
		if v.branch == 0 {
			v.fault(at, keyword, expected)
		}
	}
	if o.least >= 0 && int(val.Len) < o.least {
		wrong("minProperties", "at least "+plural(o.least, "member"))
	}
	if o.most >= 0 && int(val.Len) > o.most {
		wrong("maxProperties", "at most "+plural(o.most, "member"))
	}
	if o.namesMembers {
		v.mark(at, named)
	}
	found := 0
	if o.properties != nil || o.patterns != nil || o.additional != nil {
		for m := at + 1; m < int(val.Next) && (ok || !v.enough()); m = int(v.tape.Values[m].Next) {
			good, required := v.member(o, m)
			ok = ok && good
			if required {
				found++
			}
		}
	}
	if !ok && v.enough() {
		return false
	}
	if len(o.required) > 0 && (found < o.needed || o.needed < len(o.required)) {
		ok = v.required(o.required, at) && ok
	}
	if o.names != nil {
		ok = v.names(o.names, at) && ok
	}
	for _, d := range o.dependent {
		if v.tape.Find(at, d.name) < 0 {
			continue
		}
		if d.schema != nil {
			ok = v.check(d.schema, at) && ok
		} else {
			ok = v.required(d.required, at) && ok
		}
	}
	return ok
}

// member checks a member by the schemas for its name.
func (v *Validator) member(o *objectRules, m int) (ok, required bool) {
	name := v.tape.Name(m)
	described := false
	ok = true
	if p := o.properties[string(name)]; p != nil {
		described, required = true, p.required
		ok = v.child(p.schema, m)
	} else if o.folded != nil && o.folded[fold(name)] {
		v.mark(m, twin)
	}
	for _, p := range o.patterns {
		v.steps--
		if p.re.Match(name) {
			described = true
			ok = v.child(p.schema, m) && ok
		}
	}
	switch {
	case described:
		v.mark(m, seen|exact)
	case o.additional != nil:
		if o.additional.never {
			if v.branch == 0 {
				v.fault(m, KeywordUnknown, "no member of this name")
			}
			return false, false
		}
		v.mark(m, seen)
		ok = v.child(o.additional, m)
	}
	return ok, required
}

// required finds the members that are missing.
func (v *Validator) required(names []string, at int) bool {
	ok := true
	for _, name := range names {
		v.steps--
		if v.tape.Find(at, name) >= 0 || v.direction == Request && v.outer.readOnlyNames[name] || v.direction == Response && v.outer.writeOnlyNames[name] {
			continue
		}
		ok = false
		if v.branch > 0 {
			return false
		}
		v.fault(at, "required", "a member "+quote(name))
	}
	return ok
}

// names checks the names of members.
func (v *Validator) names(s *Schema, at int) bool {
	ok := true
	inner := Get()
	defer inner.Put()
	var tape strictjson.Tape
	for m := at + 1; m < int(v.tape.Values[at].Next); m = int(v.tape.Values[m].Next) {
		text := appendQuoted(nil, v.tape.Name(m))
		if err := tape.Read(text, strictjson.Limits{Depth: 1}); err != nil || !inner.Validate(s, &tape, 0, Both) {
			if ok = false; v.branch > 0 {
				return false
			}
			expected := "another name"
			if len(inner.Faults) > 0 {
				expected = "a name that is " + inner.Faults[0].Expected
			}
			v.fault(m, "propertyNames", expected)
		}
		v.steps -= 10
	}
	return ok
}

// array checks the items of an array.
func (v *Validator) array(a *arrayRules, at int) bool {
	ok := true
	val := v.tape.Values[at]
	wrong := func(keyword, expected string) {
		ok = false
		if v.branch == 0 {
			v.fault(at, keyword, expected)
		}
	}
	if a.least >= 0 && int(val.Len) < a.least {
		wrong("minItems", "at least "+plural(a.least, "item"))
	}
	if a.most >= 0 && int(val.Len) > a.most {
		wrong("maxItems", "at most "+plural(a.most, "item"))
	}
	if a.unique && !v.unique(at) {
		wrong("uniqueItems", "items that are all different")
	}
	if !ok && v.enough() {
		return false
	}
	if a.prefix != nil || a.items != nil {
		n := 0
		for i := at + 1; i < int(val.Next); i = int(v.tape.Values[i].Next) {
			s := a.items
			if n < len(a.prefix) {
				s = a.prefix[n]
			}
			if n++; s == nil {
				break
			}
			if v.tracking > 0 {
				v.mark(i, seen)
			}
			if !v.child(s, i) {
				if ok = false; v.enough() {
					return false
				}
			}
		}
	}
	if a.contains != nil {
		ok = v.contains(a, at) && ok
	}
	return ok
}

func (v *Validator) contains(a *arrayRules, at int) bool {
	found := 0
	for i := at + 1; i < int(v.tape.Values[at].Next); i = int(v.tape.Values[i].Next) {
		if v.tryInside(a.contains, i) {
			found++
			if v.tracking > 0 {
				v.mark(i, seen)
			}
		}
	}
	switch {
	case found < a.leastContained:
		if v.branch == 0 {
			v.fault(at, "contains", "at least "+plural(a.leastContained, "item")+" of the documented form")
		}
		return false
	case a.mostContained >= 0 && found > a.mostContained:
		if v.branch == 0 {
			v.fault(at, "maxContains", "at most "+plural(a.mostContained, "item")+" of the documented form")
		}
		return false
	}
	return true
}

func (v *Validator) text(t *textRules, at int) bool {
	text := v.string(at)
	ok := true
	wrong := func(keyword, expected string) {
		ok = false
		if v.branch == 0 {
			v.fault(at, keyword, expected)
		}
	}
	if t.least > 0 || t.most >= 0 {
		n := utf8.RuneCount(text)
		if n < t.least {
			wrong("minLength", "at least "+plural(t.least, "character"))
		}
		if t.most >= 0 && n > t.most {
			wrong("maxLength", "at most "+plural(t.most, "character"))
		}
	}
	// What is too long is not matched: it could be a megabyte.
	if ok && t.pattern != nil && !t.pattern.Match(text) {
		wrong("pattern", "a text that matches "+t.written)
	}
	return ok
}

func (v *Validator) number(n *numberRules, at int) bool {
	var room [40]byte
	d := parseDecimal(v.tape.Text(at), room[:0])
	ok := true
	wrong := func(keyword, expected string) {
		ok = false
		if v.branch == 0 {
			v.fault(at, keyword, expected)
		}
	}
	if n.minimum != nil && d.compare(n.minimum) < 0 {
		wrong("minimum", "at least "+n.writtenMin)
	}
	if n.maximum != nil && d.compare(n.maximum) > 0 {
		wrong("maximum", "at most "+n.writtenMax)
	}
	if n.above != nil && d.compare(n.above) <= 0 {
		wrong("exclusiveMinimum", "more than "+n.writtenAbove)
	}
	if n.below != nil && d.compare(n.below) >= 0 {
		wrong("exclusiveMaximum", "less than "+n.writtenBelow)
	}
	if n.multipleOf != nil && !d.multipleOf(n.multipleOf) {
		wrong("multipleOf", "a multiple of "+n.writtenMultiple)
	}
	return ok
}

// unevaluated checks what is left of an object or array by the schemas that s is
// made of, whose log begins at start.
func (v *Validator) unevaluated(s *Schema, at, start int) bool {
	val := v.tape.Values[at]
	var rest *Schema
	switch val.Kind {
	case strictjson.KindObject:
		rest = s.unevaluatedProperties
	case strictjson.KindArray:
		rest = s.unevaluatedItems
	}
	if rest == nil {
		return true
	}
	v.steps -= (len(v.log) - start) / 8
	for _, e := range v.log[start:] {
		if e.all&seen != 0 && v.tape.Values[e.at].Parent == int32(at) { //nolint:gosec // bounded by the Tape
			v.flags[e.at] |= within
		}
	}
	ok := true
	for m := at + 1; m < int(val.Next); m = int(v.tape.Values[m].Next) {
		if v.flags[m]&within != 0 {
			v.flags[m] &^= within
			continue
		}
		if !ok && v.enough() {
			continue // the flag is to be taken back from all
		}
		if rest.never {
			ok = false
			switch {
			case v.branch > 0:
			case val.Kind == strictjson.KindObject:
				v.fault(m, KeywordUnknown, "no member of this name")
			default:
				v.fault(m, "unevaluatedItems", "no more items")
			}
			continue
		}
		v.mark(m, seen)
		ok = v.child(rest, m) && ok
	}
	return ok
}

// string returns what a string stands for, until it is called again.
func (v *Validator) string(at int) []byte {
	text := v.tape.String(at, v.room)
	if cap(text) > cap(v.room) && len(text) <= 4096 && v.tape.Escaped(at) {
		v.room = text[:0]
	}
	return text
}
