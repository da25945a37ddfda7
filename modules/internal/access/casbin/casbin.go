// Package casbin reads the models and policies of Casbin
// (https://casbin.org/docs/syntax-for-models) and writes those that it can
// carry over without a change of meaning as a policy of ours. Everything else
// is an error that names the line: a policy that means nearly the same is worse
// than none.
package casbin

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
)

// Subjects says what the subject of a request is, which a model does not.
type Subjects int

// What subjects are. Names to which g gives members are roles in either case.
const (
	Users Subjects = iota // the id of the user
	Roles                 // a role of the caller
)

// Import reads a model and a policy. The notes are what the reader should
// know about differences that remain.
func Import(model, rules []byte, subjects Subjects) (doc *policy.Document, notes []string, err error) {
	m, err := parseModel(model)
	if err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	im := &importer{model: m, subjects: subjects, doc: new(policy.Document), noted: make(map[string]bool)}
	if err := im.read(rules); err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	if err := im.build(); err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	// What comes out must be a policy.
	if _, err := policy.Compile(im.doc); err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	return im.doc, im.notes, nil
}

// model is what of a model matters.
type model struct {
	columns          []string // of p
	sub, obj, act    int      // which column they are
	eft              int      // or -1
	groups           bool     // the subject is compared by g
	object           string   // ==, keyMatch, keyMatch2, keyMatch3
	action           string   // == or regexMatch
	anyAction        bool     // p.act == "*" is every action
	denies           bool     // the effect looks at deny
	requestVariables [3]string
}

// sections reads the INI form of a model.
func sections(text []byte) (map[string]map[string]string, error) {
	all := make(map[string]map[string]string)
	var section map[string]string
	joined := ""
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			joined += strings.TrimSpace(rest) + " "
			continue
		}
		line, joined = joined+line, ""
		if line[0] == '[' && line[len(line)-1] == ']' {
			section = make(map[string]string)
			name := line[1 : len(line)-1]
			if all[name] != nil {
				return nil, fmt.Errorf("line %d: section %s is repeated", i+1, name)
			}
			all[name] = section
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !ok || section == nil {
			return nil, fmt.Errorf("line %d is not a section or a definition", i+1)
		}
		if _, again := section[key]; again {
			return nil, fmt.Errorf("line %d: %s is repeated", i+1, key)
		}
		// A comment may follow. No text in what we support has a #.
		value, _, _ = strings.Cut(value, "#")
		section[key] = strings.TrimSpace(value)
	}
	if joined != "" {
		return nil, errors.New("the last line is not finished")
	}
	return all, nil
}

func parseModel(text []byte) (*model, error) {
	all, err := sections(text)
	if err != nil {
		return nil, err
	}
	for name, section := range all {
		want := map[string]string{"request_definition": "r", "policy_definition": "p", "role_definition": "g", "policy_effect": "e", "matchers": "m"}[name]
		if want == "" {
			return nil, fmt.Errorf("section %s is not supported", name)
		}
		for key := range section {
			if key != want {
				return nil, fmt.Errorf("section %s: %s is not supported; only %s is", name, key, want)
			}
		}
	}
	m := &model{eft: -1}
	request := list(all["request_definition"]["r"])
	if len(request) != 3 {
		return nil, fmt.Errorf("r = %s: a request of subject, object and action is supported", strings.Join(request, ", "))
	}
	copy(m.requestVariables[:], request)
	m.columns = list(all["policy_definition"]["p"])
	for i, at := range []*int{&m.sub, &m.obj, &m.act} {
		if *at = slices.Index(m.columns, request[i]); *at < 0 {
			return nil, fmt.Errorf("p = %s: it has no %s", strings.Join(m.columns, ", "), request[i])
		}
	}
	m.eft = slices.Index(m.columns, "eft")
	if want := 3; len(m.columns) != want && (m.eft < 0 || len(m.columns) != want+1) {
		return nil, fmt.Errorf("p = %s: only subject, object, action and eft are supported", strings.Join(m.columns, ", "))
	}
	if g, ok := all["role_definition"]["g"]; ok && plain(g) != "_,_" {
		return nil, fmt.Errorf("g = %s: only _, _ is supported", g)
	}
	switch e := all["policy_effect"]["e"]; plain(e) {
	case "some(where(p.eft==allow))":
	case "some(where(p.eft==allow))&&!some(where(p.eft==deny))", "!some(where(p.eft==deny))&&some(where(p.eft==allow))":
		m.denies = true
	default:
		return nil, fmt.Errorf("e = %s: only allow, and allow unless denied, are supported: what no rule allows is rejected here", e)
	}
	return m, m.matcher(all["matchers"]["m"], all["role_definition"] != nil)
}

// plain returns s without spaces.
func plain(s string) string { return strings.Join(strings.Fields(s), "") }

func list(s string) []string {
	all := strings.Split(s, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// matcher reads a conjunction of one clause for each of subject, object and
// action.
func (m *model) matcher(text string, groups bool) error {
	v := m.requestVariables
	seen := make(map[string]bool)
	for _, clause := range strings.Split(plain(text), "&&") {
		clause = unwrapped(clause)
		var about string
		equal := func(name string) bool {
			return clause == "r."+name+"==p."+name || clause == "p."+name+"==r."+name
		}
		call := func(f, name string) bool { return clause == f+"(r."+name+",p."+name+")" }
		switch {
		case groups && call("g", v[0]):
			about, m.groups = "subject", true
		case equal(v[0]):
			about = "subject"
		case equal(v[1]):
			about, m.object = "object", "=="
		case call("keyMatch", v[1]), call("keyMatch2", v[1]), call("keyMatch3", v[1]):
			about, m.object = "object", clause[:strings.IndexByte(clause, '(')]
		case equal(v[2]):
			about, m.action = "action", "=="
		case call("regexMatch", v[2]):
			about, m.action = "action", "regexMatch"
		case clause == `r.`+v[2]+`==p.`+v[2]+`||p.`+v[2]+`=="*"`, clause == `p.`+v[2]+`=="*"||r.`+v[2]+`==p.`+v[2]:
			about, m.action, m.anyAction = "action", "==", true
		default:
			return fmt.Errorf("m: '%s' is not supported; write it as a condition in a rule", clause)
		}
		if seen[about] {
			return fmt.Errorf("m: it looks at the %s twice", about)
		}
		seen[about] = true
	}
	for _, about := range []string{"subject", "object", "action"} {
		if !seen[about] {
			return fmt.Errorf("m: it does not look at the %s", about)
		}
	}
	return nil
}

// unwrapped removes parentheses round the whole of s.
func unwrapped(s string) string {
	for len(s) > 1 && s[0] == '(' && s[len(s)-1] == ')' {
		depth := 0
		for _, c := range s[:len(s)-1] {
			switch c {
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth == 0 {
				return s
			}
		}
		s = s[1 : len(s)-1]
	}
	return s
}

// rule is one line of p.
type rule struct {
	line     int
	sub      string
	text     string // as we write it
	deny     bool
	original string
}

type importer struct {
	model    *model
	subjects Subjects
	rules    []rule
	members  [][2]string // of g: who, of what
	doc      *policy.Document
	notes    []string
	noted    map[string]bool
}

// note says something once.
func (im *importer) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !im.noted[s] {
		im.noted[s] = true
		im.notes = append(im.notes, s)
	}
}

// read reads the lines of p and g.
func (im *importer) read(text []byte) error {
	d := csv.NewReader(bytes.NewReader(text))
	d.Comment, d.FieldsPerRecord, d.TrimLeadingSpace = '#', -1, true
	for {
		fields, err := d.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := d.FieldPos(0)
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		switch {
		case fields[0] == "p":
			err = im.permission(line, fields[1:])
		case fields[0] == "g" && im.model.groups && len(fields) == 3 && fields[1] != "" && fields[2] != "":
			im.members = append(im.members, [2]string{fields[1], fields[2]})
		case fields[0] == "g" && !im.model.groups:
			err = errors.New("the matcher does not use g")
		default:
			err = fmt.Errorf("'%s' is not supported", strings.Join(fields, ", "))
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

func (im *importer) permission(line int, fields []string) error {
	m := im.model
	if len(fields) != len(m.columns) && (m.eft != len(m.columns)-1 || len(fields) != len(m.columns)-1) {
		return fmt.Errorf("it has %d fields, where p has %d", len(fields), len(m.columns))
	}
	r := rule{line: line, sub: fields[m.sub], original: strings.Join(fields, ", ")}
	if r.sub == "" {
		return errors.New("the subject is empty")
	}
	if m.eft >= 0 && m.eft < len(fields) {
		switch fields[m.eft] {
		case "allow":
		case "deny":
			if !m.denies {
				im.note("line %d denies, which has no effect in this model: left out", line)
				return nil
			}
			r.deny = true
		default:
			return fmt.Errorf("the effect '%s' is neither allow nor deny", fields[m.eft])
		}
	}
	path, err := im.path(fields[m.obj])
	if err != nil {
		return err
	}
	methods, err := im.methods(fields[m.act])
	if err != nil {
		return err
	}
	r.text = methods + " " + path
	if _, err := policy.ParseLine(r.text); err != nil {
		return err
	}
	if r.deny {
		im.note("a rule that denies a path denies it with a slash at the end too, and its method in any letters")
	}
	im.rules = append(im.rules, r)
	return nil
}

// methods translates an action.
func (im *importer) methods(act string) (string, error) {
	var all []string
	switch {
	case act == "*" && im.model.anyAction, act == ".*" && im.model.action == "regexMatch":
		return "*", nil
	case im.model.action == "==":
		all = []string{act}
	default:
		s := strings.TrimSuffix(strings.TrimPrefix(act, "^"), "$")
		for _, m := range strings.Split(unwrapped(s), "|") {
			all = append(all, unwrapped(m))
		}
	}
	for _, m := range all {
		if !method.MatchString(m) {
			return "", fmt.Errorf("the action '%s' is not a list of HTTP methods in capitals", act)
		}
	}
	if slices.Contains(all, "GET") {
		im.note("a rule for GET is one for HEAD too")
	}
	return strings.Join(all, ","), nil
}

var (
	method   = regexp.MustCompile(`^[A-Z][A-Z-]*$`)
	variable = regexp.MustCompile(`^(:[^/:{}*]+|\{[^/:{}*]+\})$`)
	name     = regexp.MustCompile(`[^A-Za-z0-9_]`)
)

// path translates an object.
func (im *importer) path(obj string) (string, error) {
	how := im.model.object
	if how != "==" && obj == "*" && how == "keyMatch" {
		return "/*", nil
	}
	if !strings.HasPrefix(obj, "/") {
		return "", fmt.Errorf("the object '%s' is not a path", obj)
	}
	if how == "keyMatch2" || how == "keyMatch3" {
		if strings.ContainsAny(obj, `\^$()[]+?|`) {
			return "", fmt.Errorf("the object '%s' is a regular expression", obj)
		}
		if strings.Contains(obj, ".") {
			im.note("a dot in a path stands for itself here, and for any character in %s", how)
		}
	}
	segments := strings.Split(obj[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case how == "==":
			segments[i] = literal(s)
		case s == "*" && last:
		case strings.Contains(s, "*"):
			return "", fmt.Errorf("the object '%s' has an asterisk that is not the whole of the last segment", obj)
		case how == "keyMatch2" && variable.MatchString(s) && s[0] == ':', how == "keyMatch3" && variable.MatchString(s) && s[0] == '{':
			segments[i] = fmt.Sprintf("{p%d_%s}", i+1, name.ReplaceAllString(strings.Trim(s, ":{}"), "_"))
		case how == "keyMatch2" && strings.Contains(s, ":"), how == "keyMatch3" && strings.ContainsAny(s, "{}"):
			return "", fmt.Errorf("the object '%s' has a variable that is not a whole segment", obj)
		default:
			segments[i] = literal(s)
		}
	}
	return "/" + strings.Join(segments, "/"), nil
}

// literal writes text so that a rule takes it for itself.
func literal(s string) string {
	return strings.NewReplacer("%", "%25", "*", "%2A", "{", "%7B", "}", "%7D", " ", "%20", "?", "%3F", "#", "%23").Replace(s)
}

// build makes roles and users of the lines.
func (im *importer) build() error {
	roles := make(map[string]bool)
	for _, g := range im.members {
		roles[g[1]] = true
	}
	if im.subjects == Roles {
		for _, r := range im.rules {
			roles[r.sub] = true
		}
	}
	im.doc.Roles, im.doc.Users = make(map[string]*policy.Block), make(map[string]policy.Grants)
	role := func(name string) *policy.Block {
		if im.doc.Roles[name] == nil {
			im.doc.Roles[name] = new(policy.Block)
		}
		return im.doc.Roles[name]
	}
	give := func(user, role string) {
		given := im.doc.Users[user]
		if len(given) == 0 {
			given = policy.Grants{{}}
		}
		if !slices.Contains(given[0].Roles, role) {
			given[0].Roles = append(given[0].Roles, role)
		}
		im.doc.Users[user] = given
	}
	for _, r := range im.rules {
		owner := r.sub
		if !roles[r.sub] {
			// The rules of a user are those of a role that it alone has.
			owner = "user:" + r.sub
			if roles[owner] {
				return fmt.Errorf("line %d: '%s' is a role already", r.line, owner)
			}
			give(r.sub, owner)
			im.note("the rules of a user stand under a role user:<id>: no credential may carry a role of such a name")
		}
		b := role(owner)
		rules := &b.Allow
		if r.deny {
			rules = &b.Deny
		}
		if slices.Contains(*rules, r.text) {
			im.note("line %d says what another says: left out", r.line)
			continue
		}
		*rules = append(*rules, r.text)
	}
	im.group(roles, role, give)
	return nil
}

// group makes members of roles: roles inherit, users are given.
func (im *importer) group(roles map[string]bool, role func(string) *policy.Block, give func(user, role string)) {
	for _, g := range im.members {
		if !im.useful(g[1], nil) {
			im.note("role %s has no rules and inherits none: left out", g[1])
			continue
		}
		if !roles[g[0]] {
			give(g[0], g[1])
			continue
		}
		role(g[1])
		if b := role(g[0]); !slices.Contains(b.Inherits, g[1]) {
			b.Inherits = append(b.Inherits, g[1])
		}
	}
}

// useful reports whether a role has rules, or inherits some.
func (im *importer) useful(name string, seen []string) bool {
	if slices.Contains(seen, name) {
		return false
	}
	if slices.ContainsFunc(im.rules, func(r rule) bool { return r.sub == name }) {
		return true
	}
	return slices.ContainsFunc(im.members, func(g [2]string) bool { return g[0] == name && im.useful(g[1], append(seen, name)) })
}
