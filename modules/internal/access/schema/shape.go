package schema

import "github.com/caddy-moat/caddy-moat/modules/internal/strictjson"

// Shape is what values of a schema can look like, for reading them where their type
// is not written: in a query, a header, or a form.
type Shape struct {
	types   types
	items   *Shape
	members map[string]*Shape
	any     *Shape // members of other names
}

// Shape returns the shape of the schema.
func (s *Schema) Shape() *Shape { return s.shape(3) }

func (s *Schema) shape(depth int) *Shape {
	sh := &Shape{types: s.possible(16)}
	if depth == 0 {
		return sh
	}
	s.collect(sh, depth, 16)
	return sh
}

// possible returns the types that a schema allows, 0 where it does not say.
func (s *Schema) possible(steps int) types {
	if steps == 0 {
		return s.types
	}
	t := s.types
	meet := func(other types) {
		switch {
		case other == 0:
		case t == 0:
			t = other
		default:
			both := t & other
			if t&typeNumber != 0 && other&typeInteger != 0 || other&typeNumber != 0 && t&typeInteger != 0 {
				both |= typeInteger
			}
			t = both
		}
	}
	if s.ref != nil {
		meet(s.ref.possible(steps - 1))
	}
	for _, sub := range s.allOf {
		meet(sub.possible(steps - 1))
	}
	for _, list := range [...][]*Schema{s.anyOf, s.oneOf} {
		union := types(0)
		for _, sub := range list {
			p := sub.possible(steps - 1)
			if union |= p; p == 0 {
				union = 0
				break
			}
		}
		meet(union)
	}
	if t != 0 {
		return t
	}
	if s.constant != nil {
		t |= kindType(s.constant)
	}
	if s.enum != nil {
		for _, k := range s.enum.others {
			t |= kindType(k)
		}
		if s.enum.strings != nil {
			t |= typeString
		}
	}
	return t
}

func kindType(k *constant) types {
	switch k.tape.Values[0].Kind {
	case strictjson.KindNull:
		return typeNull
	case strictjson.KindFalse, strictjson.KindTrue:
		return typeBoolean
	case strictjson.KindNumber:
		return typeNumber
	case strictjson.KindString:
		return typeString
	case strictjson.KindArray:
		return typeArray
	}
	return typeObject
}

// collect adds what is in values by s and by what it is made of.
func (s *Schema) collect(sh *Shape, depth, steps int) {
	if steps == 0 {
		return
	}
	if o := s.object; o != nil {
		for name, p := range o.properties {
			if sh.members == nil {
				sh.members = make(map[string]*Shape)
			}
			if sh.members[name] == nil || sh.members[name].types == 0 {
				sh.members[name] = p.schema.shape(depth - 1)
			}
		}
		if o.additional != nil && !o.additional.never && sh.any == nil {
			sh.any = o.additional.shape(depth - 1)
		}
		for _, p := range o.patterns {
			if sh.any == nil {
				sh.any = p.schema.shape(depth - 1)
			}
		}
	}
	if a := s.array; a != nil && sh.items == nil {
		switch {
		case a.items != nil:
			sh.items = a.items.shape(depth - 1)
		case len(a.prefix) > 0:
			sh.items = a.prefix[0].shape(depth - 1)
		}
	}
	s.inPlace(func(sub *Schema) {
		if sub != s.not {
			sub.collect(sh, depth, steps-1)
		}
	})
}

// IsArray reports whether values are arrays.
func (sh *Shape) IsArray() bool { return sh.types&typeArray != 0 }

// IsObject reports whether values are objects.
func (sh *Shape) IsObject() bool { return sh.types&typeObject != 0 && sh.types&typeArray == 0 }

// IsString reports whether values can be texts.
func (sh *Shape) IsString() bool { return sh.types == 0 || sh.types&typeString != 0 }

// IsComplex reports whether values can be arrays or objects, or nobody knows.
func (sh *Shape) IsComplex() bool { return sh.types&(typeArray|typeObject) != 0 }

// Items returns the shape of items.
func (sh *Shape) Items() *Shape {
	if sh.items == nil {
		return unknown
	}
	return sh.items
}

// Member returns the shape of a member, and whether there is one of that name.
func (sh *Shape) Member(name string) (*Shape, bool) {
	if m := sh.members[name]; m != nil {
		return m, true
	}
	if sh.any != nil {
		return sh.any, false
	}
	return unknown, false
}

// TakesAny reports whether an object can have members of names that nobody knows.
func (sh *Shape) TakesAny() bool {
	return sh.any != nil || len(sh.members) == 0
}

// Members returns the shapes of the members that are known.
func (sh *Shape) Members() map[string]*Shape { return sh.members }

var unknown = new(Shape)

// Ambiguous reports whether a text could be one of several types.
func (sh *Shape) Ambiguous() bool {
	return sh.types&typeString != 0 && sh.types&(typeInteger|typeNumber|typeBoolean) != 0
}

// AppendScalar appends a text as the value it stands for: as a string where there
// can be one, or else as a number or boolean if it is written like one. With
// otherwise a string is the last choice. It is false for what is not UTF-8.
func (sh *Shape) AppendScalar(dst []byte, text string, otherwise bool) ([]byte, bool) {
	if !sh.IsString() || otherwise {
		switch {
		case sh.types&(typeInteger|typeNumber) != 0 && isNumber(text):
			return append(dst, text...), true
		case sh.types&typeBoolean != 0 && (text == "true" || text == "false"):
			return append(dst, text...), true
		}
	}
	return AppendString(dst, []byte(text))
}

// isNumber reports whether a text is a number of JSON.
func isNumber(text string) bool {
	i := 0
	digits := func() bool {
		start := i
		for i < len(text) && text[i]-'0' <= 9 {
			i++
		}
		return i > start
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	switch start := i; {
	case !digits(), text[start] == '0' && i > start+1:
		return false
	}
	if i < len(text) && text[i] == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(text)
}

// OnlyString reports whether values are texts, and nothing else.
func (sh *Shape) OnlyString() bool { return sh.types == typeString }

// IsBinary reports whether a schema is for bytes that are no text: those with the
// format binary, and strings of a media type of their own.
func (s *Schema) IsBinary() bool {
	return s.has(func(s *Schema) bool { return s.format != nil && s.format.Name == "binary" })
}

// MemberIsBinary reports whether that is so for a member of objects, or for its
// items.
func (s *Schema) MemberIsBinary(name string) bool {
	found := false
	s.visit(16, func(sub *Schema) {
		if sub.object == nil || sub.object.properties[name] == nil {
			return
		}
		member := sub.object.properties[name].schema
		found = found || member.IsBinary() || member.has(func(s *Schema) bool {
			return s.array != nil && s.array.items != nil && s.array.items.IsBinary()
		})
	})
	return found
}

// visit calls f with a schema and with what always applies with it.
func (s *Schema) visit(steps int, f func(*Schema)) {
	if steps == 0 {
		return
	}
	f(s)
	if s.ref != nil {
		s.ref.visit(steps-1, f)
	}
	for _, sub := range s.allOf {
		sub.visit(steps-1, f)
	}
}

// Anything reports whether a schema has no say in what is valid.
func (s *Schema) Anything() bool { return s.always }
