package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// credentials compares how callers are known.
func (p *planner) credentials(a, b *site) {
	old, now := a.named("auth", "authentication"), b.named("auth", "authentication")
	for i := range min(len(old), len(now)) {
		p.handler(old[i], now[i])
	}
	x, y := methods(old), methods(now)
	for _, name := range sortedKeys(y) {
		if _, known := x[name]; !known {
			if len(x) > 0 {
				p.add(loosens, "credentials", "%s is accepted too", name)
			} else {
				p.add(tightens, "credentials", "%s asks who is calling", name)
			}
			continue
		}
		if len(x[name]) != len(y[name]) {
			p.add(unclear, "credentials", "there are more or fewer %s than before", name)
			continue
		}
		for i := range x[name] {
			if !same(x[name][i], y[name][i]) {
				p.members(name, x[name][i], y[name][i])
			}
		}
	}
	for _, name := range sortedKeys(x) {
		if _, known := y[name]; !known {
			if len(y) == 0 {
				p.add(loosens, "credentials", "%s is gone: nothing asks who is calling", name)
			} else {
				p.add(tightens, "credentials", "%s is not accepted any more", name)
			}
		}
	}
}

// methods returns the credential methods of handlers by their names.
func methods(handlers []*handler) map[string][]json.RawMessage {
	all := map[string][]json.RawMessage{}
	for _, h := range handlers {
		for _, m := range h.providers {
			all[m.name] = append(all[m.name], m.raw)
		}
	}
	return all
}

// handler compares what stands beside the methods.
func (p *planner) handler(a, b *handler) {
	without := func(h *handler) map[string]json.RawMessage {
		m := into[map[string]json.RawMessage](h.raw)
		delete(m, "providers")
		delete(m, "app_providers")
		delete(m, "name")
		return m
	}
	p.compare("auth", without(a), without(b))
}

func (p *planner) members(name string, a, b json.RawMessage) {
	p.compare(name, into[map[string]json.RawMessage](a), into[map[string]json.RawMessage](b))
}

// direction is what a member of a configuration means for how strict it is. Of
// others than these a change is unclear.
type direction int

const (
	bound    direction = iota + 1 // a greater number is looser, and none the loosest
	grace                         // a greater number is looser, and none the default
	yes                           // true is looser
	no                            // false is looser
	wanted                        // of a list of what is accepted, each more is looser, and an empty one the loosest
	accepted                      // of a list of what is accepted, each more is looser
	demanded                      // of a list of what is asked for, each less is looser
	harmless                      // neither way
)

// directions are of the members whose meaning is known.
var directions = map[string]direction{
	"max_age": bound, "max_body": bound, "body": bound, "leeway": grace,
	"optional": yes, "preflight": yes, "keep_streams": yes, "replay_off": yes, "dpop_nonce": no,
	"audience": wanted, "algorithms": wanted, "typ": wanted,
	"origins": accepted, "from": accepted, "keys": accepted, "jwks": accepted, "senders": accepted, "directories": accepted,
	"require": demanded, "bind": demanded, "components": demanded, "parameters": demanded, "prohibit": demanded,
	"realm": harmless, "cache": harmless,
}

// compare compares the members of two objects.
func (p *planner) compare(name string, a, b map[string]json.RawMessage) {
	members := map[string]bool{}
	for m := range a {
		members[m] = true
	}
	for m := range b {
		members[m] = true
	}
	for _, m := range sortedKeys(members) {
		x, y := a[m], b[m]
		if same(x, y) {
			continue
		}
		if m == "issuers" {
			p.issuers(name, x, y)
			continue
		}
		p.member(name, m, x, y)
	}
}

func (p *planner) member(name, m string, x, y json.RawMessage) {
	e := unclear
	var text string
	switch d := directions[m]; d {
	case bound, grace:
		old, now := number(x), number(y)
		e = tightens
		if d == bound && (now == 0 || old != 0 && now > old) || d == grace && now > old {
			e = loosens
		}
		text = fmt.Sprintf("%s: %s is %s, not %s", name, m, amount(m, y), amount(m, x))
		if d == grace && (len(x) == 0 || len(y) == 0) {
			e = unclear
		}
	case yes, no:
		e = tightens
		if (string(y) == "true") == (d == yes) {
			e = loosens
		}
		text = fmt.Sprintf("%s: %s is %s", name, m, cmp.Or(string(y), "off"))
	case wanted, accepted, demanded:
		p.list(name, m, d, x, y)
		return
	case harmless:
		return
	default:
		text = fmt.Sprintf("%s: %s is another", name, m)
	}
	p.add(e, "credentials", "%s", text)
}

// list compares what is in two lists. Entries are not shown: they may be keys.
func (p *planner) list(name, m string, d direction, x, y json.RawMessage) {
	old, now := entries(x), entries(y)
	came := slices.DeleteFunc(slices.Clone(now), func(s string) bool { return slices.Contains(old, s) })
	went := slices.DeleteFunc(slices.Clone(old), func(s string) bool { return slices.Contains(now, s) })
	show := func(list []string) string {
		if m == "keys" || m == "senders" || m == "jwks" || m == "directories" {
			return fmt.Sprintf("%d %s", len(list), m)
		}
		return m + " " + strings.Join(list, " ")
	}
	switch {
	case d == wanted && len(now) == 0:
		p.add(loosens, "credentials", "%s: no %s is asked for any more", name, m)
		return
	case d == wanted && len(old) == 0:
		p.add(tightens, "credentials", "%s: %s is asked for", name, show(now))
		return
	}
	plus, minus := loosens, tightens
	if d == demanded {
		plus, minus = tightens, loosens
	}
	if len(came) > 0 {
		p.add(plus, "credentials", "%s: %s came", name, show(came))
	}
	if len(went) > 0 {
		p.add(minus, "credentials", "%s: %s went", name, show(went))
	}
}

// entries returns the members of a list as texts, or the one that stands for a
// list of one.
func entries(raw json.RawMessage) []string {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil && len(raw) > 0 {
		list = []json.RawMessage{raw}
	}
	all := make([]string, 0, len(list))
	for _, e := range list {
		var s string
		if json.Unmarshal(e, &s) != nil {
			text, _ := canonical(e)
			s = string(text)
		}
		all = append(all, s)
	}
	return all
}

// issuers compares the issuers of jwt_auth one by one.
func (p *planner) issuers(name string, x, y json.RawMessage) {
	read := func(raw json.RawMessage) map[string]map[string]json.RawMessage {
		all := map[string]map[string]json.RawMessage{}
		for _, i := range into[[]map[string]json.RawMessage](raw) {
			var iss string
			_ = json.Unmarshal(i["issuer"], &iss) // none is ""
			if iss == "" {
				iss = "any"
				if len(i["internal"]) > 0 {
					iss = "internal"
				}
			}
			delete(i, "issuer")
			for all[iss] != nil {
				iss += " (another)"
			}
			all[iss] = i
		}
		return all
	}
	old, now := read(x), read(y)
	for _, iss := range sortedKeys(now) {
		if old[iss] == nil {
			p.add(loosens, "credentials", "%s: tokens of issuer %s are accepted", name, iss)
			continue
		}
		p.compare(name+" issuer "+iss, old[iss], now[iss])
	}
	for _, iss := range sortedKeys(old) {
		if now[iss] == nil {
			p.add(tightens, "credentials", "%s: tokens of issuer %s are not accepted any more", name, iss)
		}
	}
}

func number(raw json.RawMessage) float64 {
	var n float64
	_ = json.Unmarshal(raw, &n) // none is 0
	return n
}

// amount shows a number, which is a time where the member is one.
func amount(m string, raw json.RawMessage) string {
	n := number(raw)
	switch {
	case len(raw) == 0:
		return "none"
	case m == "max_age" || m == "leeway" || m == "keep" || m == "retention":
		return time.Duration(n).String()
	}
	return string(raw)
}

// redactRule is a rule of redact.
type redactRule struct {
	Action    string          `json:"action"`
	Args      []string        `json:"args"`
	Kinds     []string        `json:"kinds"`
	Then      json.RawMessage `json:"then"`
	Selectors []string        `json:"selectors"`
}

// hides returns what redact hides: for whom and what, to how.
func hides(handlers []*handler) map[[2]string]string {
	type config struct {
		Rules  []redactRule `json:"rules"`
		Groups []struct {
			Mode  string       `json:"mode"`
			Of    string       `json:"of"`
			From  string       `json:"from"`
			Names []string     `json:"names"`
			Rules []redactRule `json:"rules"`
		} `json:"groups"`
	}
	all := map[[2]string]string{}
	add := func(where, whom string, rules []redactRule) {
		for _, r := range rules {
			then, _ := canonical(r.Then)
			how := strings.TrimSpace(r.Action + " " + strings.Join(slices.Concat(r.Args, []string{string(then)}), " "))
			for _, s := range slices.Concat(r.Selectors, r.Kinds) {
				key := [2]string{whom, where + s}
				for all[key] != "" && all[key] != how {
					key[1] += " (again)"
				}
				all[key] = how
			}
		}
	}
	read := func(where string, c config) {
		add(where, "everybody", c.Rules)
		for _, g := range c.Groups {
			names := slices.Sorted(slices.Values(g.Names))
			whom := g.Of + " " + strings.Join(names, " ")
			if g.From != "" {
				whom += " from " + g.From
			}
			if g.Mode == "except" {
				whom = "everybody but " + whom
			}
			add(where, whom, g.Rules)
		}
	}
	for _, h := range handlers {
		read("", into[config](h.raw))
		if r := into[struct {
			Requests *config `json:"requests"`
		}](h.raw).Requests; r != nil {
			read("request ", *r)
		}
	}
	return all
}

// fields compares which fields callers see.
func (p *planner) fields(a, b *site) {
	old, now := hides(a.named("redact")), hides(b.named("redact"))
	keys := map[string][2]string{}
	for k := range old {
		keys[k[0]+"\x00"+k[1]] = k
	}
	for k := range now {
		keys[k[0]+"\x00"+k[1]] = k
	}
	for _, name := range sortedKeys(keys) {
		k := keys[name]
		x, y := old[k], now[k]
		switch {
		case x == y:
		case y == "":
			p.add(loosens, "fields", "%s becomes visible to %s (it was: %s)", k[1], k[0], x)
		case x == "":
			p.add(tightens, "fields", "%s is hidden from %s: %s", k[1], k[0], y)
		case x == "remove" || y != "remove":
			e := unclear
			if x == "remove" {
				e = loosens
			}
			p.add(e, "fields", "%s: %s for %s, not %s", k[1], y, k[0], x)
		default:
			p.add(tightens, "fields", "%s: %s for %s, not %s", k[1], y, k[0], x)
		}
	}
	rest := func(s *site) json.RawMessage {
		handlers := s.named("redact")
		all := make([]map[string]json.RawMessage, 0, len(handlers))
		for _, h := range handlers {
			m := into[map[string]json.RawMessage](h.raw)
			for _, known := range []string{"rules", "groups"} {
				delete(m, known)
			}
			if r := into[map[string]json.RawMessage](m["requests"]); r != nil {
				delete(r, "rules")
				delete(r, "groups")
				m["requests"], _ = json.Marshal(r)
			}
			all = append(all, m)
		}
		text, _ := json.Marshal(all)
		return text
	}
	if len(a.named("redact")) == len(b.named("redact")) && !same(rest(a), rest(b)) {
		p.add(unclear, "fields", "options of redact are others: read them")
	}
}

// zone is a limit.
type zone struct {
	Key    string        `json:"key"`
	Events int           `json:"max_events"`
	Window time.Duration `json:"window"`
	Match  any           `json:"match"`
}

// rates compares how often callers may ask.
func (p *planner) rates(a, b *site) {
	read := func(s *site) map[string]json.RawMessage {
		all := map[string]json.RawMessage{}
		for _, h := range s.named("rate_limit") {
			zones := into[struct {
				Zones map[string]json.RawMessage `json:"rate_limits"`
			}](h.raw).Zones
			for name, z := range zones {
				all[name] = z
			}
		}
		return all
	}
	old, now := read(a), read(b)
	for _, name := range sortedKeys(old) {
		if now[name] == nil {
			p.add(loosens, "limits", "zone %s is gone", name)
			continue
		}
		if same(old[name], now[name]) {
			continue
		}
		x, y := into[zone](old[name]), into[zone](now[name])
		before, after := float64(x.Events)/x.Window.Seconds(), float64(y.Events)/y.Window.Seconds()
		text := fmt.Sprintf("zone %s: %d in %s, not %d in %s", name, y.Events, y.Window, x.Events, x.Window)
		switch {
		case x.Key != y.Key:
			p.add(unclear, "limits", "zone %s counts by another key: %s, not %s", name, y.Key, x.Key)
		case after > before || y.Events > x.Events:
			p.add(loosens, "limits", "%s", text)
		case after < before || y.Events < x.Events:
			p.add(tightens, "limits", "%s", text)
		default:
			p.add(unclear, "limits", "zone %s is for other requests", name)
		}
	}
	for _, name := range sortedKeys(now) {
		if old[name] == nil {
			p.add(tightens, "limits", "zone %s is new", name)
		}
	}
	x, y := a.named("token_budget"), b.named("token_budget")
	if len(x) == len(y) && !same(raws(x), raws(y)) {
		p.add(unclear, "limits", "token_budget is another: read it")
	}
}

// records compares what remains of requests.
func (p *planner) records(a, b *site) {
	x, y := a.named("audit"), b.named("audit")
	for i := range min(len(x), len(y)) {
		old, now := into[map[string]json.RawMessage](x[i].raw), into[map[string]json.RawMessage](y[i].raw)
		members := map[string]bool{}
		for m := range old {
			members[m] = true
		}
		for m := range now {
			members[m] = true
		}
		for _, m := range sortedKeys(members) {
			if !same(old[m], now[m]) {
				p.record(m, old[m], now[m])
			}
		}
	}
}

// defaultKeep is how long audit keeps records where nothing is said.
const defaultKeep = float64(180 * 24 * time.Hour)

func (p *planner) record(m string, x, y json.RawMessage) {
	switch m {
	case "keep":
		old, now := cmp.Or(number(x), defaultKeep), cmp.Or(number(y), defaultKeep)
		e := tightens
		if now < old {
			e = loosens
		}
		p.add(e, "records", "records are kept for %s, not %s", days(time.Duration(now)), days(time.Duration(old)))
	case "witnesses", "deliver", "hash", "mask", "remove", "record_headers":
		if n, o := len(entries(y)), len(entries(x)); n < o {
			p.add(loosens, "records", "audit: %s has %d entries, not %d", m, n, o)
			return
		}
		p.add(unclear, "records", "audit: %s is another", m)
	default:
		p.add(unclear, "records", "audit: %s is another", m)
	}
}
