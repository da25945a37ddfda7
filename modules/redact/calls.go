package redact

import (
	"bytes"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// textBlocks are where results of the Model Context Protocol have text for people
// and models: of tools, of resources, and of prompts. A server that has structured
// content repeats it there as JSON (MCP, "Tools", "Structured Content").
var textBlocks = []string{
	"$.result.content[*].text",
	"$.result.content[*].resource.text",
	"$.result.contents[*].text",
	"$.result.messages[*].content.text",
	"$.result.messages[*].content.resource.text",
}

// schemas are where lists of tools say what arguments and results are like. A rule
// for phone is not about the member phone there, whose value is a schema: a client
// would reject the whole list.
var schemas = []string{"$.result.tools[*].inputSchema", "$.result.tools[*].outputSchema"}

// textBlockRule is what the record calls the redaction of JSON in such a text.
const textBlockRule = "json in text blocks"

// maxTextBlock is how long such a text can be that is looked into; a longer one is
// replaced, since it cannot be known what is in it.
const maxTextBlock = 1 << 20

// ofCalls returns the view for the responses of an MCP server: its rules apply to
// JSON in text blocks, too, counting from its root as from that of a document.
func (v *view) ofCalls() (*view, error) {
	if v == nil {
		return nil, nil
	}
	return v.calls()
}

// forCalls compiles the rules of a view for that.
func (v *view) forCalls(rules []redaction.Rule, o redaction.Options) (*view, error) {
	inside := v.program
	rewrite := redaction.Rewrite(func(text []byte) ([]byte, bool) { return redactText(inside, text) })
	rules = rules[:len(rules):len(rules)]
	for _, selector := range textBlocks {
		rules = append(rules, redaction.Rule{Name: textBlockRule, Selector: selector, Action: rewrite})
	}
	for _, selector := range schemas {
		rules = append(rules, redaction.Rule{Name: "schemas of tools", Selector: selector, Action: redaction.Spare()})
	}
	o.MaxValue = max(o.MaxValue, maxTextBlock)
	with := *v
	var err error
	with.program, err = redaction.Compile(rules, o)
	return &with, err
}

// redactText redacts a text that is itself JSON. Any other is for people, and
// stays, unless it begins with JSON in which there is something to redact: what
// follows may be more of it.
func redactText(p *redaction.Program, text []byte) ([]byte, bool) {
	if !looksLikeJSON(text) {
		return nil, false
	}
	var out bytes.Buffer
	w := p.Get(&out)
	defer p.Put(w)
	_, err := w.Write(text)
	if err == nil {
		err = w.Close()
	}
	switch {
	case w.Count() == 0:
		return nil, false
	case err != nil:
		return []byte("****"), true
	}
	return out.Bytes(), true
}
