package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// parseJSON reads a file that is JSON. ok is false for others, which are YAML: that
// takes most of JSON too, but not escapes of characters beyond U+FFFF.
func (fs *files) parseJSON(f *file, text []byte) (root *node, ok bool, err error) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, false, nil
	}
	var tape strictjson.Tape
	if err := tape.Read(text, strictjson.Limits{Depth: maxDepth, Values: maxNodes, Twins: true}); err != nil {
		if errors.Is(err, strictjson.ErrSyntax) {
			return nil, false, nil // YAML in braces, or somebody who says in which line
		}
		at := max(tape.Fault(), 0)
		line := 1 + bytes.Count(text[:tape.Offset(at)], []byte("\n"))
		return nil, true, fmt.Errorf("%s:%d: %w", f.name, line, err)
	}
	if fs.nodes += len(tape.Values); fs.nodes > maxNodes {
		return nil, true, fmt.Errorf("%s: the document has more than %d values", f.name, maxNodes)
	}
	r := jsonReader{file: f, text: text, tape: &tape, line: 1}
	return r.node(0), true, nil
}

// jsonReader makes nodes of values, in the order of the text.
type jsonReader struct {
	file   *file
	text   []byte
	tape   *strictjson.Tape
	offset int
	line   int
}

func (r *jsonReader) node(at int) *node {
	start := r.tape.Offset(at)
	r.line += bytes.Count(r.text[r.offset:start], []byte("\n"))
	r.offset = start
	n := &node{file: r.file, line: r.line}
	v := &r.tape.Values[at]
	switch v.Kind {
	case strictjson.KindObject:
		n.kind, n.named = mapNode, make(map[string]*node, v.Len)
		for m := at + 1; m < int(v.Next); m = int(r.tape.Values[m].Next) {
			name := string(r.tape.Name(m))
			n.names = append(n.names, name)
			n.named[name] = r.node(m)
		}
	case strictjson.KindArray:
		n.kind = listNode
		for m := at + 1; m < int(v.Next); m = int(r.tape.Values[m].Next) {
			n.items = append(n.items, r.node(m))
		}
	case strictjson.KindString:
		n.text = string(r.tape.String(at, nil))
		n.value = n.text
	case strictjson.KindNumber:
		n.text = string(r.tape.Text(at))
		n.value = json.Number(n.text)
	case strictjson.KindTrue, strictjson.KindFalse:
		n.text = string(r.tape.Text(at))
		n.value = v.Kind == strictjson.KindTrue
	}
	return n
}
