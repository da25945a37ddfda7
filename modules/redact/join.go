package redact

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// A language model responds in events with a few letters each, so what detect
// looks for stands in none of them. joiner puts together what comes at one location
// of such events, and keeps an event, and those that follow it, only while the
// end of the text may be the beginning of something. All leave in their order,
// and as they came but for what was found.
type joiner struct {
	texts map[string]*joinedText
	queue []*heldEvent
	bytes int // of the queue
}

// maxHeld is how many events are kept at most, and how many texts are: then
// what there is decides.
const maxHeld = 256

// joinedText is the text at one location.
type joinedText struct {
	tail   *redaction.Tail
	pieces []*heldPiece // that are not decided
}

// heldPiece is a string of an event.
type heldPiece struct {
	redaction.Piece
	event *heldEvent
	at    int // where it begins in what is not decided
	edits []redaction.Edit
}

// heldEvent is an event that is not sent yet.
type heldEvent struct {
	raw     []byte // as it came
	data    []byte // of it, redacted but for the pieces
	changed bool
	fields  []changedField
	pieces  []*heldPiece
	open    int // pieces that are not decided
}

// isDelta reports whether the string at a pointer continues one in an earlier
// event, by the names that services of language models use.
func isDelta(pointer string) bool {
	tokens := strings.Split(pointer, "/")[1:]
	for len(tokens) > 0 && isPosition(tokens[len(tokens)-1]) {
		tokens = tokens[:len(tokens)-1]
	}
	if len(tokens) == 0 {
		return false
	}
	last := tokens[len(tokens)-1]
	switch last {
	case "delta", "content", "text", "arguments", "partial_json", "input", "thinking", "reasoning", "reasoning_content", "reasoning_text",
		"refusal", "answer", "completion", "generated_text", "output_text", "transcript", "response":
	default:
		return false
	}
	if len(tokens) == 1 {
		return last != "content" && last != "text" && last != "input"
	}
	return slices.ContainsFunc(tokens, func(name string) bool {
		return name == "choices" || name == "candidates" || name == "message" || name == "token" || strings.HasSuffix(strings.ToLower(name), "delta")
	})
}

func isPosition(token string) bool {
	_, err := strconv.Atoi(token)
	return err == nil
}

// locationOf is the pointer of a string in an event, with what says of the values
// round it which of several they are: choices can come in any order.
func locationOf(event any, pointer string) string {
	var at strings.Builder
	for _, token := range strings.Split(pointer, "/")[1:] {
		numbered := false
		if o, ok := event.(map[string]any); ok {
			for _, name := range [...]string{"index", "output_index", "content_index", "item_id"} {
				if v, ok := o[name]; ok {
					b, _ := json.Marshal(v)
					at.WriteString("[" + name + string(b[:min(len(b), 64)]) + "]")
				}
			}
			event = o[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
		} else if list, ok := event.([]any); ok {
			i, _ := strconv.Atoi(token)
			event = nil
			if i < len(list) {
				event = list[i]
			}
			if o, ok := event.(map[string]any); ok {
				_, numbered = o["index"]
			}
		}
		if !numbered {
			at.WriteString("/" + token)
		}
	}
	return at.String()
}

// join takes the pieces of an event whose data has just been redacted.
func (s *eventStream) join(event *heldEvent, pieces []redaction.Piece) {
	var doc any
	if json.Unmarshal(event.data, &doc) != nil {
		doc = nil
	}
	var touched []*joinedText
	for i := range pieces {
		p := &heldPiece{Piece: pieces[i], event: event}
		event.pieces = append(event.pieces, p)
		if len(p.Text) == 0 {
			continue
		}
		at := locationOf(doc, p.Pointer)
		t := s.joiner.texts[at]
		if t == nil {
			t = &joinedText{tail: s.rw.NewTail(&p.Piece)}
			if s.joiner.texts == nil {
				s.joiner.texts = map[string]*joinedText{}
			}
			s.joiner.texts[at] = t
		}
		p.at = t.tail.Len()
		t.tail.Add(p.Text)
		t.pieces = append(t.pieces, p)
		event.open++
		touched = append(touched, t)
	}
	for _, t := range touched {
		s.decide(t, false)
	}
}

// decide settles what can be settled of a text.
func (s *eventStream) decide(t *joinedText, end bool) {
	edits, n := t.tail.Decide(end)
	for _, e := range edits {
		s.count++
		if !slices.Contains(s.fired, e.Rule) {
			s.fired = append(s.fired, e.Rule)
		}
		for _, p := range t.pieces {
			from, to := max(e.From-p.at, 0), min(e.To-p.at, len(p.Text))
			if from >= to {
				continue
			}
			part := redaction.Edit{From: from, To: to}
			if e.From >= p.at { // it begins here
				part.Text = e.Text
			}
			p.edits = append(p.edits, part)
		}
	}
	t.pieces = slices.DeleteFunc(t.pieces, func(p *heldPiece) bool {
		p.at -= n
		if p.at+len(p.Text) > 0 {
			return false
		}
		p.event.open--
		return true
	})
}

// decideAll settles everything: the texts have ended.
func (s *eventStream) decideAll() {
	for _, t := range s.joiner.texts {
		s.decide(t, true)
	}
	s.joiner.texts = nil
}

// send sends an event, or keeps it until it is its turn and it is decided.
func (s *eventStream) send(event *heldEvent) error {
	j := &s.joiner
	if len(j.texts) > maxHeld {
		s.decideAll()
	}
	if len(j.queue) == 0 && event.open == 0 {
		return s.emit(event)
	}
	j.queue = append(j.queue, event)
	j.bytes += len(event.raw)
	if j.bytes > s.max || len(j.queue) > maxHeld {
		s.decideAll()
	}
	return s.release()
}

// release sends what is decided and whose turn it is.
func (s *eventStream) release() error {
	j := &s.joiner
	for len(j.queue) > 0 && j.queue[0].open == 0 {
		event := j.queue[0]
		j.queue = j.queue[1:]
		j.bytes -= len(event.raw)
		if err := s.emit(event); err != nil {
			return err
		}
	}
	return nil
}

// emit writes an event.
func (s *eventStream) emit(event *heldEvent) error {
	changed := event.changed
	s.out.Reset()
	from := 0
	for _, p := range event.pieces {
		if len(p.edits) == 0 {
			continue
		}
		changed = true
		s.out.Write(event.data[from:p.From])
		s.out.Write(redaction.AppendString(nil, p.edited()))
		from = p.To
	}
	s.out.Write(event.data[from:])
	raw := event.raw
	if s.fields = event.fields; changed || len(s.fields) > 0 {
		raw = s.rebuild(raw, changed)
	}
	s.fields = nil
	_, err := s.dst.Write(raw)
	return err
}

// edited is the text of the piece with its edits.
func (p *heldPiece) edited() []byte {
	var b bytes.Buffer
	from := 0
	for _, e := range p.edits {
		b.Write(p.Text[from:e.From])
		b.Write(e.Text)
		from = e.To
	}
	b.Write(p.Text[from:])
	return b.Bytes()
}
