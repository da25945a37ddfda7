package rbac

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// calling is the call of a probe, which a request to an MCP server carries.
type calling struct {
	Tool     string `yaml:"tool" json:"tool"`
	Resource string `yaml:"resource" json:"resource"` // its URI
	Prompt   string `yaml:"prompt" json:"prompt"`

	// What the tool or prompt is called with: an object.
	Arguments any `yaml:"arguments" json:"arguments"`
}

// deniedCall stands for the status of a call that is denied: its response is 200
// with this code of a JSON-RPC error.
const deniedCall = -32602

// methodsOfCalls are the methods that call each kind.
var methodsOfCalls = map[policy.Call]string{
	policy.Tool: "tools/call", policy.Resource: "resources/read", policy.Prompt: "prompts/get",
}

// kind returns what is called and its name; nothing for a request alone.
func (c *calling) kind() (policy.Call, string) {
	switch {
	case c.Tool != "":
		return policy.Tool, c.Tool
	case c.Resource != "":
		return policy.Resource, c.Resource
	case c.Prompt != "":
		return policy.Prompt, c.Prompt
	}
	return "", ""
}

// String says what is called, as a rule would.
func (c *calling) String() string {
	kind, name := c.kind()
	return fmt.Sprintf("%s %s", kind, oneLine(name))
}

// check refuses a call with two readings.
func (c *calling) check() error {
	n := 0
	for _, name := range []string{c.Tool, c.Resource, c.Prompt} {
		if name != "" {
			n++
		}
	}
	switch kind, _ := c.kind(); {
	case n > 1:
		return errors.New("a request calls one thing: name a tool, a resource or a prompt")
	case c.Arguments == nil:
	case n == 0:
		return errors.New("arguments are those of a call: name a tool or a prompt beside them")
	case kind == policy.Resource:
		return errors.New("a resource is read without arguments")
	}
	return nil
}

// target is the request of a probe: with a call, a path alone is that of the server,
// to which messages are posted.
func (q *probe) target() string {
	request := strings.TrimSpace(q.Request)
	if kind, _ := q.kind(); kind != "" && strings.HasPrefix(request, "/") {
		return "POST " + request
	}
	return request
}

// addTo puts the call into what conditions see, as the handler mcp does, and, where
// nothing else is its body, the message that carries it.
func (c *calling) addTo(env *condition.Env) error {
	if err := c.check(); err != nil {
		return err
	}
	kind, name := c.kind()
	if kind == "" {
		return nil
	}
	var text []byte
	if c.Arguments != nil {
		var err error
		if text, err = json.Marshal(c.Arguments); err != nil {
			return fmt.Errorf("arguments: %w", err)
		}
		var s strictjson.Scanner
		if err := s.Object(text); err != nil {
			return errors.New("arguments must be one JSON object with one reading")
		}
	}
	method := methodsOfCalls[kind]
	env.Call = &condition.Call{Method: method, Name: name, Arguments: func() (any, error) { return condition.DecodeArguments(text) }}
	if env.Body == nil {
		body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": c.params(name, text)})
		if err != nil {
			return err
		}
		env.Body = jsonText(body)
	}
	return nil
}

func (c *calling) params(name string, arguments []byte) map[string]any {
	if c.Resource != "" {
		return map[string]any{"uri": name}
	}
	params := map[string]any{"name": name}
	if arguments != nil {
		params["arguments"] = json.RawMessage(arguments)
	}
	return params
}

// decideCall decides about the call of a request that is allowed.
func (q *probe) decideCall(p *policy.Policy, v verdict) verdict {
	kind, name := q.kind()
	if kind == "" || !v.allow || !p.Calls() {
		return v // without rules for calls who may send the request may call every name
	}
	d := p.DecideCall(kind, name, v.r)
	called := verdict{allow: d.Allow, rule: d.RuleText(), d: d, r: v.r, called: true}
	if !d.Allow {
		called.status = deniedCall
		called.scopes = p.NeededCallScopes(kind, name, v.r)
	}
	return called
}

// ruleOf returns the rule that decides about the same with another caller.
func (q *probe) ruleOf(p *policy.Policy, v verdict, r *policy.Request) *policy.Rule {
	if v.called {
		kind, name := q.kind()
		return p.DecideCall(kind, name, r).Rule
	}
	return p.Decide(r).Rule
}

// rulesFor returns the rules that are for what has been decided.
func (q *probe) rulesFor(p *policy.Policy, v verdict) []policy.Considered {
	if v.called {
		kind, name := q.kind()
		return p.ExplainCall(kind, name, v.r)
	}
	return p.Explain(v.r)
}

// subject is what rules were looked for.
func (v verdict) subject() string {
	if v.called {
		return "this name"
	}
	return "this method and path"
}

// outcome says what comes of the request.
func (v verdict) outcome() string {
	switch {
	case v.allow:
		return "ALLOWED"
	case v.called:
		return fmt.Sprintf("REFUSED with 200 and the JSON-RPC error %d", deniedCall)
	}
	return fmt.Sprintf("REFUSED with %d", v.status)
}

// aboutCall prints what is said of a call alone.
func (q *probe) aboutCall(w io.Writer, p *policy.Policy, v verdict) {
	kind, name := q.kind()
	switch {
	case kind == "":
	case v.called && policy.CheckCallName(kind, name) != nil:
		fmt.Fprintln(w, "note: no rule can be for this call:", policy.CheckCallName(kind, name))
	case v.called && len(v.scopes) > 0:
		fmt.Fprintln(w, "note: data.scope of the error asks for", strings.Join(v.scopes, " "))
	case !v.called && v.allow && !p.Calls():
		fmt.Fprintln(w, "note: the policy has no rule for a tool, resource or prompt: who may send the request may call every name")
	case !v.called && !v.allow:
		fmt.Fprintln(w, "note: it is the request that is rejected, whatever it calls")
	}
}

// readArguments makes the arguments of a call of those of the command line: one
// JSON object, or name=value for each, where a value that is JSON is what it says
// and any other is text.
func readArguments(text string, each []string) (any, error) {
	if text != "" {
		if err := new(strictjson.Scanner).Object([]byte(text)); err != nil {
			return nil, fmt.Errorf("--arguments is not one JSON object with one reading: %w", err)
		}
		return json.RawMessage(text), nil
	}
	if len(each) == 0 {
		return nil, nil
	}
	all := make(map[string]any, len(each))
	for _, a := range each {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--argument '%s' is not name=value, such as amount=50", a)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("--argument '%s' is there twice", name)
		}
		all[name] = value
		if _, err := parseBody([]byte(value)); err == nil {
			all[name] = json.RawMessage(value)
		}
	}
	return all, nil
}
