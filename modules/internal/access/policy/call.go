package policy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
)

// Call is what a rule for the Model Context Protocol is for.
type Call string

// The calls that rules are for.
const (
	Tool     Call = "tool"     // tools/call, and what tools/list shows
	Resource Call = "resource" // resources/read and its like, by the URI
	Prompt   Call = "prompt"   // prompts/get
)

func (c Call) known() bool { return c == Tool || c == Resource || c == Prompt }

// parseCall reads a rule for calls that has been split into its parts.
func parseCall(args []string) (Line, error) {
	l := Line{Call: Call(args[0])}
	if len(args) < 2 || args[1] == "" || args[1] == "when" && len(args) > 2 {
		return Line{}, fmt.Errorf("'%s' needs a name: %s orders_* when mcp.arguments.total < 100, or %s * for all", l.Call, l.Call, l.Call)
	}
	l.Name = args[1]
	if err := checkRuleName(l.Call, l.Name); err != nil {
		return Line{}, fmt.Errorf("%s '%s' would never be matched: %w", l.Call, l.Name, err)
	}
	if len(args) == 2 {
		return l, nil
	}
	if args[2] != "when" {
		return Line{}, fmt.Errorf("'%s' where only 'when' and a condition may follow the name; one name a rule", args[2])
	}
	l.When = strings.Trim(strings.Join(args[3:], " "), space)
	if l.When == "" {
		return Line{}, errors.New("'when' needs a condition, such as: when mcp.arguments.total < 100")
	}
	return l, nil
}

// checkRuleName is CheckCallName for the name in a rule, of which an asterisk may
// stand for the scheme and the host.
func checkRuleName(c Call, name string) error {
	err := CheckCallName(c, strings.ReplaceAll(name, "*", "x"))
	if begin, rest, ok := strings.Cut(name, "*"); ok && err != nil && c == Resource && strings.Count(begin, "/") < 3 {
		return CheckCallName(c, "x:x"+strings.ReplaceAll(rest, "*", "x"))
	}
	return err
}

// Errors of CheckCallName.
var (
	errNoName     = errors.New("the name is empty")
	errNameText   = errors.New("the name has control characters, spaces or characters that are not shown")
	errNameForms  = errors.New("the name has characters with more than one form, such as full-width letters")
	errURIReading = errors.New("the URI has more than one reading: dot segments, empty segments, backslashes or encoded slashes, dots and controls")
	errURIScheme  = errors.New("the URI has no scheme: write one such as file:///docs/a.md")
	errURIEncoded = errors.New("the URI has letters or digits that are encoded: write them as they are")
	errURIHost    = errors.New("the URI has a host in another spelling: write file:///path and no host for files, and no user, final dot or default port")
)

// CheckCallName says why a name cannot be decided on: it looks like another, or
// a server may take it for another. A rule that denies would not be met by it.
func CheckCallName(c Call, name string) error {
	if name == "" {
		return errNoName
	}
	ascii := true
	for _, r := range name {
		if r >= utf8.RuneSelf {
			ascii = false
		} else if r > ' ' && r < 0x7f {
			continue
		}
		if r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.IsSpace(r) && r != ' ' || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			return errNameText
		}
	}
	if name[0] == ' ' || name[len(name)-1] == ' ' {
		return errNameText
	}
	if !ascii && !norm.NFKC.IsNormalString(name) {
		return errNameForms
	}
	if c == Resource {
		return checkURI(name)
	}
	return nil
}

// checkURI refuses a URI whose path a server may read as another. Everything
// behind ? or # is for the server to read.
func checkURI(uri string) error {
	path, _, _ := strings.Cut(uri, "#")
	path, _, _ = strings.Cut(path, "?")
	if strings.ContainsAny(path, `\ `) {
		return errURIReading
	}
	// file:///etc has an empty authority: the slashes before it are no segments.
	scheme, path, ok := strings.Cut(path, ":")
	if !ok || scheme == "" || strings.ContainsAny(scheme, "/%") {
		return errURIScheme
	}
	rest, hier := strings.CutPrefix(path, "//")
	if !hostOnce(strings.ToLower(scheme), rest, hier) {
		return errURIHost
	}
	path = rest
	for i := range len(path) {
		if path[i] != '%' {
			continue
		}
		if i+2 >= len(path) {
			return errURIReading
		}
		hi, lo := unhex(path[i+1]), unhex(path[i+2])
		if hi < 0 || lo < 0 {
			return errURIReading
		}
		switch c := hi<<4 | lo; {
		case c == '-', c == '_', c == '~', c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z':
			return errURIEncoded
		case c < 0x20, c == 0x7f, strings.IndexByte(`/\.%;?#`, byte(c)) >= 0: //nolint:gosec // below 256
			return errURIReading
		}
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		if s == "." || s == ".." || s == "" && i > 0 && i < len(segments)-1 {
			return errURIReading
		}
	}
	return nil
}

// hostOnce reports whether the authority of a URI, with which rest begins where
// it is hierarchical, is as everybody would write it.
func hostOnce(scheme, rest string, hier bool) bool {
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case scheme == "file":
		host = strings.ToLower(host)
		return hier && (host == "" || !strings.ContainsAny(host, ":@%") && host != "localhost" && !strings.HasPrefix(host, "127."))
	case !hier:
		return scheme != "http" && scheme != "https"
	case strings.Contains(host, "@") && (scheme == "http" || scheme == "https"):
		return false
	}
	name, port, has := host, "", false
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name, port, has = host[:i], host[i+1:], true
	}
	if strings.HasSuffix(name, ".") {
		return false
	}
	return !has || port != "" && port[0] != '0' && (scheme != "http" || port != "80") && (scheme != "https" || port != "443")
}

// deniable returns the names by which a rule that denies is looked for: how a
// server may read the name of a call, in whichever case.
func deniable(c Call, name string, room []string) []string {
	names := append(room, foldCase(name))
	if c != Resource {
		return names
	}
	path, _, _ := strings.Cut(name, "#")
	path, _, _ = strings.Cut(path, "?")
	for _, n := range []string{name, path, strings.TrimRight(path, "/")} {
		if n = foldCase(decoded(n)); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// decoded decodes percent-encoding, in one pass, and leaves what is none.
func decoded(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

func unhex(c byte) int {
	switch {
	case c-'0' <= 9:
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// calls are the rules for one kind of call.
type calls struct {
	exact  map[string][]uint32 // rules that allow, by the name
	denied map[string][]uint32 // rules that deny, by the name as it is folded
	globs  []uint32            // rules with an asterisk
}

// addCall enters a rule for calls.
func (p *Policy) addCall(r *Rule, number uint32) {
	if p.calls == nil {
		p.calls = make(map[Call]*calls)
	}
	c := p.calls[r.Line.Call]
	if c == nil {
		c = &calls{exact: make(map[string][]uint32), denied: make(map[string][]uint32)}
		p.calls[r.Line.Call] = c
	}
	switch {
	case strings.Contains(r.Line.Name, "*"):
		r.parts = strings.Split(r.Line.Name, "*")
		if !r.Allow {
			r.parts = strings.Split(foldCase(r.deniedName()), "*")
		}
		c.globs = append(c.globs, number)
	case r.Allow:
		c.exact[r.Line.Name] = append(c.exact[r.Line.Name], number)
	default:
		name := foldCase(r.deniedName())
		c.denied[name] = append(c.denied[name], number)
	}
}

// Calls reports whether the policy has rules for calls of the Model Context
// Protocol. Without any it decides about methods and paths alone.
func (p *Policy) Calls() bool { return p.calls != nil }

// deniedName is the name in a rule as those of deniable are compared with it.
func (r *Rule) deniedName() string {
	if r.Line.Call == Resource {
		return decoded(r.Line.Name)
	}
	return r.Line.Name
}

// forCall reports whether a rule with an asterisk is for a name. One that denies
// does not care about case, since a server may not.
func (r *Rule) forCall(name string, deniable []string) bool {
	if r.Allow {
		return partsMatch(r.parts, name)
	}
	return slices.ContainsFunc(deniable, func(n string) bool { return partsMatch(r.parts, n) })
}

// globMatches matches a name, in which an asterisk stands for any run of
// characters, empty ones included.
func globMatches(glob, name string) bool { return partsMatch(strings.Split(glob, "*"), name) }

// partsMatch is globMatches for what stands between the asterisks.
func partsMatch(parts []string, name string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return first == name
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}

// DecideCall decides about a call: of q, what says who is calling and the
// conditions' environment, whose Call is what is called. A name with more than
// one reading is not allowed.
func (p *Policy) DecideCall(c Call, name string, q *Request) Decision {
	return p.call(c, name, q, false)
}

// ListCall decides whether a list that the caller gets shows a name. The
// arguments of a call are not known: a rule whose condition reads them counts
// as one that allows, and does not as one that denies.
func (p *Policy) ListCall(c Call, name string, q *Request) Decision {
	return p.call(c, name, q, true)
}

func (p *Policy) call(c Call, name string, q *Request, list bool) Decision {
	if p.calls[c] == nil || CheckCallName(c, name) != nil {
		return Decision{Reason: NoRule}
	}
	var who numbers
	p.addSubjects(&who, q)
	subjects := who.list()
	var deny, allow numbers
	p.eachForCall(c, name, func(n uint32) {
		switch r := p.rules[n]; {
		case !p.has(subjects, r):
		case r.Allow:
			allow.add(n)
		default:
			deny.add(n)
		}
	})
	return p.settle(p.plainFirst(deny.list()), p.plainFirst(allow.list()), q.Env, list)
}

// eachForCall calls f with the number of every rule for a call, whoever has it.
func (p *Policy) eachForCall(c Call, name string, f func(number uint32)) {
	known := p.calls[c]
	if known == nil {
		return
	}
	for _, n := range known.exact[name] {
		f(n)
	}
	var room [1]string
	other := deniable(c, name, room[:0])
	for _, folded := range other {
		for _, n := range known.denied[folded] {
			f(n)
		}
	}
	for _, n := range known.globs {
		if p.rules[n].forCall(name, other) {
			f(n)
		}
	}
}

// rulesForCall returns the rules for a call, in the order in which rules are named.
func (p *Policy) rulesForCall(c Call, name string) []*Rule {
	var found []uint32
	p.eachForCall(c, name, func(n uint32) { found = append(found, n) })
	found = inOrder(found)
	rules := make([]*Rule, 0, len(found))
	for _, n := range found {
		rules = append(rules, p.rules[n])
	}
	return rules
}

// has reports whether one of the subjects has a rule.
func (p *Policy) has(subjects []uint32, r *Rule) bool {
	return slices.ContainsFunc(p.heirs[r.subject], func(heir uint32) bool { return slices.Contains(subjects, heir) })
}

// plainFirst sorts rules without a condition before those with one.
func (p *Policy) plainFirst(rules []uint32) []uint32 {
	if len(rules) < 2 {
		return rules
	}
	slices.SortFunc(rules, func(a, b uint32) int {
		if x, y := p.rules[a].when != nil, p.rules[b].when != nil; x != y {
			if y {
				return -1
			}
			return 1
		}
		return int(a) - int(b)
	})
	return rules
}

// settle makes the decision of the rules that are for a call.
func (p *Policy) settle(deny, allow []uint32, env *condition.Env, list bool) Decision {
	for _, n := range deny {
		r := p.rules[n]
		if r.when == nil {
			return Decision{Rule: r, Reason: RuleDenies}
		}
		if list && r.when.ReadsCall() {
			continue
		}
		if holds, err := r.holds(env); err != nil {
			return Decision{Rule: r, Reason: ConditionFails, Err: err, Failed: r}
		} else if holds {
			return Decision{Rule: r, Reason: RuleDenies}
		}
	}
	d := Decision{Reason: NoRule}
	for _, n := range allow {
		r := p.rules[n]
		if r.when == nil || list && r.when.ReadsCall() {
			return Decision{Allow: true, Rule: r, Reason: RuleAllows}
		}
		holds, err := r.holds(env)
		if holds && err == nil {
			return Decision{Allow: true, Rule: r, Reason: RuleAllows}
		}
		if err != nil && d.Err == nil {
			d.Err, d.Failed = err, r
		}
	}
	return d
}
