package condition

import (
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/caddy-moat/caddy-moat/modules/internal/query"
)

// The maps of this file hold what a client has sent. A name that somebody
// behind may read in what is spelled otherwise is neither there nor absent:
// asking for it is an error, so that has(query.admin) is no more false for
// ?Admin=1 than query.admin is "1".

// parameters are the parameters of a query.
type parameters struct {
	traits.Mapper
	query *query.Query
}

// Find implements traits.Mapper.
func (p *parameters) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return p.Mapper.Find(key)
	}
	switch value, count := p.query.Get(string(name)); count {
	case query.One:
		return types.String(value), true
	case query.Many:
		return many, true
	}
	return nil, false
}

// Get implements traits.Indexer.
func (p *parameters) Get(key ref.Val) ref.Val { return get(p, key) }

// Contains implements traits.Container.
func (p *parameters) Contains(key ref.Val) ref.Val { return contains(p, key) }

// fields are header fields. Their names have no case.
type fields struct {
	traits.Mapper
}

// Find implements traits.Mapper.
func (f *fields) Find(key ref.Val) (ref.Val, bool) {
	if name, ok := key.(types.String); ok {
		key = types.String(strings.ToLower(string(name)))
	}
	return f.Mapper.Find(key)
}

// Get implements traits.Indexer.
func (f *fields) Get(key ref.Val) ref.Val { return get(f, key) }

// Contains implements traits.Container. A field that was sent twice is there.
func (f *fields) Contains(key ref.Val) ref.Val {
	_, found := f.Find(key)
	return types.Bool(found)
}

// object is an object of a JSON body.
type object struct {
	traits.Mapper
	spellings map[string]int // of its members, without regard to case and underscores
}

// oneReading returns a value of a JSON body as expressions see it.
func oneReading(v any) any {
	switch v := v.(type) {
	case map[string]any:
		o := &object{spellings: make(map[string]int, len(v))}
		m := make(map[string]any, len(v))
		for name, member := range v {
			m[name] = oneReading(member)
			o.spellings[query.Squash(name)]++
		}
		o.Mapper = types.NewStringInterfaceMap(adapter{types.DefaultTypeAdapter}, m)
		return o
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = oneReading(e)
		}
		return list
	}
	return v
}

// Find implements traits.Mapper.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	value, found := o.Mapper.Find(key)
	if name, ok := key.(types.String); ok {
		others := o.spellings[query.Squash(string(name))]
		if found {
			others--
		}
		if others > 0 {
			return many, true
		}
	}
	return value, found
}

// Get implements traits.Indexer.
func (o *object) Get(key ref.Val) ref.Val { return get(o, key) }

// Contains implements traits.Container.
func (o *object) Contains(key ref.Val) ref.Val { return contains(o, key) }

func get(m traits.Mapper, key ref.Val) ref.Val {
	value, found := m.Find(key)
	if !found {
		return types.ValOrErr(value, "no such key")
	}
	return value
}

func contains(m traits.Mapper, key ref.Val) ref.Val {
	value, found := m.Find(key)
	if found && types.IsError(value) {
		return value
	}
	return types.Bool(found)
}
