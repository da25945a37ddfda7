package redact

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// patchRewriter redacts a JSON Patch (RFC 6902), which names members in
// values: the rules apply to its operations as to any JSON, and to the
// locations that they name as if the members stood there. What a rule takes away
// there takes the operation with it.
//
// A patch is held as a whole, and left as it came if no rule applies.
type patchRewriter struct {
	fields
	dst  io.Writer
	most int  // bytes of a patch
	sure bool // it is labelled as one, so what is not a patch is a fault
	path bool // a rule names a path, which a value can be moved to in pieces

	text []byte
}

// Write takes bytes of the patch.
func (p *patchRewriter) Write(b []byte) (int, error) {
	if len(p.text)+len(b) > p.most {
		return 0, formFault("a JSON Patch that is longer than max_event")
	}
	p.text = append(p.text, b...)
	return len(b), nil
}

// Close ends the patch.
func (p *patchRewriter) Close() error {
	var out bytes.Buffer
	texts, err := p.run(&out, p.text)
	if err != nil {
		return err
	}
	text := out.Bytes()
	ops, ok := operations(text)
	switch {
	case texts != 1 || !ok && p.sure:
		return formFault("not a JSON Patch")
	case ok:
		if text, err = p.redact(text, ops); err != nil {
			return err
		}
	}
	_, err = p.dst.Write(text)
	return err
}

// run applies the rules to JSON, and returns how many texts there are.
func (f *fields) run(dst io.Writer, text []byte) (texts int64, err error) {
	w := f.view.program.Get(dst)
	defer f.view.program.Put(w)
	w.SetCaller(f.caller)
	if _, err = w.Write(text); err == nil {
		err = w.Close()
	}
	f.note(w)
	return w.Texts(), err
}

// operation is one of a patch.
type operation struct {
	raw        json.RawMessage
	op         string          // in lower case
	value      json.RawMessage // nil if it has none, or none that counts
	path, from *string
}

// moves reports whether the operation puts a value somewhere that stands
// elsewhere.
func (o *operation) moves() bool { return o.op == "move" || o.op == "copy" }

// operations reads a patch. It reports false if text is not a patch: an
// array of operations with one path each.
func operations(text []byte) ([]operation, bool) {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil || list == nil {
		return nil, false
	}
	ops := make([]operation, len(list))
	for i, raw := range list {
		if !ops[i].read(raw) {
			return nil, false
		}
	}
	return ops, true
}

// read reads an operation. Its members are taken whatever their case, as some
// libraries do; one that stands twice is not taken at all.
func (o *operation) read(raw json.RawMessage) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	o.raw = raw
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var v json.RawMessage
		if err != nil || !ok || d.Decode(&v) != nil {
			return false
		}
		name = redaction.FoldName(name)
		if seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "op":
			ok = json.Unmarshal(v, &o.op) == nil
			o.op = strings.ToLower(strings.TrimSpace(o.op))
		case "path":
			ok = json.Unmarshal(v, &o.path) == nil
		case "from":
			ok = json.Unmarshal(v, &o.from) == nil
		case "value":
			o.value = v
		}
		if !ok {
			return false
		}
	}
	if o.moves() {
		o.value = nil // what moves is what stands at from (RFC 6902 section 4.4)
	}
	return o.path != nil && seen["op"]
}

// redact applies the rules to the locations that the operations name.
func (p *patchRewriter) redact(text []byte, ops []operation) ([]byte, error) {
	var kept [][]byte
	changed := false
	for i := range ops {
		out, err := p.apply(&ops[i])
		if err != nil {
			return nil, err
		}
		changed = changed || !bytes.Equal(out, ops[i].raw)
		if out != nil {
			kept = append(kept, out)
		}
	}
	if !changed {
		return text, nil
	}
	return append(append([]byte("["), bytes.Join(kept, []byte(","))...), ']'), nil
}

// apply returns what is left of an operation, nil for nothing.
func (p *patchRewriter) apply(o *operation) ([]byte, error) {
	if o.from != nil {
		for _, path := range pointers(*o.from) {
			if _, hit, err := p.at(path, []byte(`""`)); err != nil || hit {
				return nil, err
			}
		}
	}
	value := []byte(o.value)
	for _, path := range pointers(*o.path) {
		if o.value == nil {
			if _, hit, err := p.at(path, []byte(`""`)); err != nil || hit {
				return nil, err
			}
			continue
		}
		out, hit, err := p.at(path, value)
		if err != nil || hit && out == nil {
			return nil, err
		}
		value = out
	}
	switch {
	case o.moves() && p.path:
		// What moves may have been put together elsewhere, out of parts that
		// no rule names there.
		return nil, formFault("a JSON Patch that moves or copies a value, where a rule names a path")
	case bytes.Equal(value, o.value):
		return o.raw, nil
	}
	return replaceValue(o.raw, value)
}

// replaceValue puts another value into an operation.
func replaceValue(raw json.RawMessage, value []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	_, err := d.Token()
	for err == nil && d.More() {
		var t json.Token
		var v json.RawMessage
		if t, err = d.Token(); err == nil {
			err = d.Decode(&v)
		}
		name, _ := t.(string)
		if err == nil && redaction.FoldName(name) == "value" {
			end := int(d.InputOffset())
			return slices.Concat(raw[:end-len(v)], value, raw[end:]), nil
		}
	}
	return nil, err
}

// at applies the rules to a value at a location. out is nil if nothing of it is
// left.
func (f *fields) at(path []step, value []byte) (out []byte, hit bool, err error) {
	var b bytes.Buffer
	w := f.view.program.Get(&b)
	defer f.view.program.Put(w)
	w.SetCaller(f.caller)
	if _, err = w.Write(placed(path, value)); err == nil {
		err = w.Close()
	}
	if err != nil || w.Count() == 0 {
		return value, false, err
	}
	f.note(w)
	return dig(b.Bytes(), len(path)), true, nil
}

// step is one step of a JSON Pointer.
type step struct {
	name    string
	element bool
}

// pointers returns the paths that a JSON Pointer (RFC 6901) can stand for: a
// number is the name of a member or an element. Pointers without a slash, and
// those in the form of a URI fragment, are read as some libraries do.
func pointers(pointer string) [][]step {
	pointer = strings.TrimPrefix(pointer, "#")
	var all [][]step
	for _, p := range slices.Compact([]string{pointer, lenientUnescape(pointer)}) {
		var members, elements []step
		numbers := false
		if p != "" {
			for token := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
				name := strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
				element := name == "-" || name != "" && isIndex(name)
				numbers = numbers || element
				members = append(members, step{name: name})
				elements = append(elements, step{name, element})
			}
		}
		all = append(all, members)
		if numbers {
			all = append(all, elements)
		}
	}
	return all
}

// placed is the document that has value at path.
func placed(path []step, value []byte) []byte {
	var open, end []byte
	for _, p := range path {
		if p.element {
			open, end = append(open, '['), append(end, ']')
			continue
		}
		quoted, _ := json.Marshal(p.name)
		open = append(append(append(open, '{'), quoted...), ':')
		end = append(end, '}')
	}
	slices.Reverse(end)
	return slices.Concat(open, value, end)
}

// dig returns the value that placed has put n steps deep, or what has taken the
// location of something around it; nil if that is gone.
func dig(text []byte, n int) []byte {
	for range n {
		var object map[string]json.RawMessage
		var array []json.RawMessage
		switch {
		case json.Unmarshal(text, &object) == nil && object != nil:
			if len(object) == 0 {
				return nil
			}
			for _, text = range object {
			}
		case json.Unmarshal(text, &array) == nil && array != nil:
			if len(array) == 0 {
				return nil
			}
			text = array[0]
		default:
			return text
		}
	}
	return text
}
