package redact

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Rule is one action on the values that its selectors find.
type Rule struct {
	// What happens to the value:
	//
	//   - remove: the member or element disappears
	//   - null: it becomes null
	//   - replace: it becomes the string in args
	//   - mask: it is masked by the preset in args: last4, first3last4,
	//     mobile, landline, id_card, bank_card, name, address, email, plate, ip
	//   - keep: as many first and last characters are kept as args specify; the
	//     others become a star, or the third of args
	//   - hash: it becomes a pseudonym, keyed HMAC-SHA-256, or HMAC-SM3 if args
	//     has sm3 (see hash_key); equal values have equal pseudonyms
	//   - encrypt: it is encrypted with AES-256-GCM (see encrypt_keys), or with
	//     SM4-GCM if args has sm4 (see sm4_keys), for this position and this
	//     caller; `caddy moat decrypt` reverses it
	//   - tokenize: it becomes a token of the format in args (digits, bank_card,
	//     bank_card_bin, mobile, id_card, letters, alphanumeric or
	//     alphabet=<characters>) by FF1 (NIST SP 800-38G) with AES-256, under the
	//     first of tokenize_keys or that of the ID in args (key=<id>);
	//     `caddy moat detokenize` reverses it. What is not of the format is
	//     replaced by ****
	//   - truncate: it keeps as many first characters as args specify
	//   - round: a number keeps as many digits after the decimal point as
	//     args specify; a negative number zeroes as many digits before it
	//   - shift_dates: a date moves by a number of days derived from hash_key, at
	//     most as many as args specify: the time between two dates stays
	//   - fake: it becomes a made-up value of the kind in args, always the same
	//     for the same value (see hash_key): name, name_en, email, mobile,
	//     id_card, bank_card, uscc, date or ip. It cannot be undone
	//   - bucket: a number becomes its bucket, such as [30,40): args are the width
	//     of the buckets, or their bounds
	//   - generalize: a value becomes less exact: a region code that of its
	//     province (region) or prefecture (city), a date its day, month or
	//     year, an IP address its network (ip24: /24, and /48 of IPv6; ip16: /16
	//     and /32)
	//   - noise: to a number is added at most as much, to either side, as args
	//     specify: always the same for a caller and a number (see hash_key)
	//   - placeholder: in requests alone, it becomes a name such as
	//     <EMAIL_1_K7Q2ZD>, which becomes the value again in the response
	//   - detect: every string value is searched for the kinds listed, and
	//     each match is treated by the action in then
	//
	// If several rules match one value, the strictest action applies, in
	// this order: remove, null, replace, hash, encrypt, fake and placeholder,
	// tokenize, mask and keep, round, shift_dates, bucket, generalize and noise,
	// truncate, detect; among those of one place the rule that is written first.
	Action string `json:"action"`

	// The arguments of the action.
	Args []string `json:"args,omitempty"`

	// For detect: pan, id_card, mobile, email, jwt, api_key.
	Kinds []string `json:"kinds,omitempty"`

	// For detect: the action, and its arguments.
	Then *Rule `json:"then,omitempty"`

	// Which values: a member's name, at any depth, or a path of RFC 9535.
	// detect needs none: it looks at every value.
	Selectors []string `json:"selectors,omitempty"`
}

// Group is rules that only apply to some callers.
type Group struct {
	// Whether the rules apply to all but the named callers ("except") or to
	// them alone ("only"). They apply to anonymous callers in either case.
	Mode string `json:"mode"`

	// What the names are: role, scope, user (the ID of the caller) or kind (of
	// the credential: jwt, basic, …).
	Of string `json:"of"`

	// With user: the issuer of the caller, by its exact name, internal, or a
	// kind of credential. A user ID is unique only within its issuer: it is
	// required if several issuers or kinds can authenticate callers.
	From string `json:"from,omitempty"`

	// The names. Any one of them suffices.
	Names []string `json:"names"`

	// The rules.
	Rules []Rule `json:"rules"`
}

// title is how the group begins in a Caddyfile.
func (g *Group) title() string {
	title := g.Mode + " " + g.Of + " " + principal.QuoteAll(g.Names)
	if g.From != "" {
		title += " from " + principal.Quote(g.From)
	}
	return title
}

// Requests is what is done to request bodies. What cannot be read is refused
// with HTTP 400, code invalid_request_body, or, for a media type, charset or
// coding that is not read at all, HTTP 415, code unsupported_request_body; a
// Content-Encoding other than gzip, deflate, br or zstd is refused whatever
// may pass, and so is more than one. Bodies
// longer than `hold` may have partly reached the upstream when a fault is
// found in them; the upstream then sees an aborted request, never one that
// looks complete.
//
// The rules apply to JSON, to the fields of forms (x-www-form-urlencoded and
// multipart/form-data), and to the locations that a JSON Patch names.
//
// The client spells the names in a request, and many upstreams (Go's
// encoding/json, the web defaults of .NET) read a name whatever its case. So
// names in selectors match here whatever their case, by Unicode's simple case
// folding: is_admin is also Is_Admin, and with U+017F for its s. A single "_" or
// "-" between two other characters does not count: isAdmin and is-admin are
// is_admin as well (protobuf's JSON mapping, converters between camel and snake case).
type Requests struct {
	// Rules for every caller.
	Rules []Rule `json:"rules,omitempty"`

	// Rules that depend on the caller.
	Groups []Group `json:"groups,omitempty"`

	// Media types that pass unread, such as application/xml. A body that
	// looks like JSON is redacted even so.
	Pass []string `json:"pass,omitempty"`

	// Makes names match only as they are spelled. It is for an upstream to
	// which names that differ in case, or in how their words are joined, are
	// different members. Default: false.
	MatchCase bool `json:"match_case,omitempty"`

	// The largest body in bytes, after the rules, for an upstream that must be
	// told its length before it, as those of php_fastcgi. It is kept in memory;
	// a larger one is 413 request_body_too_large. Other upstreams take bodies
	// of any size as they come. Default: 10485760
	MaxBody int `json:"max_body,omitempty"`
}

// namesPaths reports whether a selector is a path, and not the name of a member
// wherever it stands.
func (r *Requests) namesPaths() bool {
	path := func(rule Rule) bool {
		return slices.ContainsFunc(rule.Selectors, func(s string) bool {
			name, anywhere := strings.CutPrefix(s, "$..")
			return strings.HasPrefix(s, "$") && (!anywhere || strings.ContainsAny(name, ".[*"))
		})
	}
	return slices.ContainsFunc(r.Rules, path) ||
		slices.ContainsFunc(r.Groups, func(g Group) bool { return slices.ContainsFunc(g.Rules, path) })
}

// parseRule reads a rule from the words of one line, the action first.
func parseRule(words []string) (Rule, error) {
	if words[0] == "detect" {
		return parseDetect(words)
	}
	rule, selectors, err := parseAction(words, false)
	if err != nil {
		return rule, err
	}
	if len(selectors) == 0 {
		err := fmt.Errorf("%s needs a selector: write %s", rule.Action, actions[rule.Action].usage())
		if rule.Action == "mask" {
			err = fmt.Errorf("%w, such as mask mobile phone; the presets are %s", err, strings.Join(mask.Presets(), ", "))
		}
		return rule, err
	}
	rule.Selectors = selectors
	return rule, nil
}

// parseAction reads an action with its arguments and returns the words that
// follow them, which may be none if it can stand alone.
func parseAction(words []string, alone bool) (rule Rule, rest []string, err error) {
	// `mask keep 3 4` is another way to write `keep 3 4`.
	if words[0] == "mask" && len(words) > 1 && words[1] == "keep" {
		words = words[1:]
	}
	a := actions[words[0]]
	rule = Rule{Action: words[0]}
	if len(words) < 1+a.args {
		return rule, nil, fmt.Errorf("too few arguments: write %s", a.usage())
	}
	rule.Args, rest = words[1:1+a.args:1+a.args], words[1+a.args:]
	if len(rule.Args) == 0 {
		rule.Args = nil
	}
	if rule.Action == "keep" {
		var char string
		if char, rest, err = takeChar(rest, alone); err != nil {
			return rule, nil, err
		}
		if char != "" {
			rule.Args = append(rule.Args, char)
		}
	}
	if a.more != nil {
		n, err := a.more(rest, alone)
		if err != nil {
			return rule, nil, err
		}
		rule.Args, rest = append(rule.Args, rest[:n]...), rest[n:]
	}
	if slices.Contains(rest, "") {
		return rule, nil, fmt.Errorf("empty selector: write %s", a.usage())
	}
	return rule, rest, nil
}

// takeChar takes the character of `keep` from the words behind its numbers:
// char=x, or a single one that is not a letter or digit, which could be the name
// of a member.
func takeChar(words []string, alone bool) (char string, rest []string, err error) {
	if len(words) == 0 {
		return "", words, nil
	}
	word := words[0]
	if named, ok := strings.CutPrefix(word, "char="); ok {
		if utf8.RuneCountInString(named) != 1 {
			return "", nil, fmt.Errorf("'%s': write one character, such as char=x", word)
		}
		return named, words[1:], nil
	}
	c, size := utf8.DecodeRuneInString(word)
	switch {
	case size != len(word) || c == utf8.RuneError || c <= ' ' || c == '$':
		return "", words, nil
	case c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c):
		return word, words[1:], nil
	case len(words) > 1 || alone:
		return "", nil, fmt.Errorf("'%s' may be a character or a selector: write char=%s for the character, or $..%s for members of that name", word, word, word)
	}
	return "", words, nil
}

// algorithm takes the name of an algorithm. By itself it could as well be the
// name of a member.
func algorithm(names ...string) func([]string, bool) (int, error) {
	return func(words []string, alone bool) (int, error) {
		switch {
		case len(words) == 0 || !slices.Contains(names, words[0]):
			return 0, nil
		case len(words) == 1 && !alone:
			return 0, fmt.Errorf("'%s' is the algorithm, and a selector must follow it: write $..%s for members of that name", words[0], words[0])
		}
		return 1, nil
	}
}

// keyPrefix begins the argument that names a key.
const keyPrefix = "key="

func keyID(words []string, _ bool) (int, error) {
	if len(words) > 0 && strings.HasPrefix(words[0], keyPrefix) {
		if words[0] == keyPrefix {
			return 0, fmt.Errorf("'%s': write the ID of a tokenize_key behind it, such as key=2", words[0])
		}
		return 1, nil
	}
	return 0, nil
}

// numbers takes all numbers at the beginning.
func numbers(words []string, _ bool) (n int, err error) {
	for n < len(words) && n < mask.MaxBounds {
		if _, ok := mask.ParseDecimal([]byte(words[n])); !ok {
			break
		}
		n++
	}
	return n, nil
}

func parseDetect(words []string) (Rule, error) {
	rule := Rule{Action: "detect"}
	rest := words[1:]
	for len(rest) > 0 {
		if _, ok := actions[rest[0]]; ok {
			break
		}
		rule.Kinds, rest = append(rule.Kinds, rest[0]), rest[1:]
	}
	if len(rule.Kinds) == 0 || len(rest) == 0 || rest[0] == "detect" {
		return rule, fmt.Errorf("write %s, such as detect pan mobile mask last4", actions["detect"].usage())
	}
	then, selectors, err := parseAction(rest, true)
	if err != nil {
		return rule, err
	}
	rule.Then, rule.Selectors = &then, selectors
	return rule, nil
}

// String is the rule without its selectors, as it is written in a Caddyfile.
func (r *Rule) String() string {
	words := append([]string{r.Action}, r.Kinds...)
	for i, a := range r.Args {
		if c, _ := utf8.DecodeRuneInString(a); r.Action == "keep" && i == 2 && (c == '_' || c == '$' || unicode.IsLetter(c) || unicode.IsDigit(c)) {
			a = "char=" + a
		}
		words = append(words, quoted(a))
	}
	if r.Then != nil {
		words = append(words, r.Then.String())
	}
	return strings.Join(words, " ")
}

// does reports whether the rule has that action, or does it to what it detects.
func (r *Rule) does(action string) bool {
	return r.Action == action || r.Then != nil && r.Then.Action == action
}

func quoted(word string) string {
	if word == "" || strings.ContainsAny(word, " \t\n\"{}") {
		return strconv.Quote(word)
	}
	return word
}
