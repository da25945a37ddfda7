package conceal

import (
	"fmt"
	"strings"
)

// PathPattern says where in a path a secret stands. Its segments match exactly,
// {name} hides a segment, or the part of one that follows what stands before the
// brace, * matches any segment and a last /* everything below: /bot{token}/*. In a
// pattern without braces it is the asterisks that hide: /share/*.
type PathPattern struct {
	segments []patternSegment
	below    bool // there may be more
	hides    bool // what is more is hidden
}

type patternSegment struct {
	prefix string // what the segment begins with, or is if it hides nothing
	hides  bool
	any    bool
}

// ParsePathPattern reads a pattern.
func ParsePathPattern(text string) (*PathPattern, error) {
	p := &PathPattern{}
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return nil, fmt.Errorf("%q: a pattern begins with /", text)
	}
	hides := false
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		if part == "*" {
			if i == len(parts)-1 {
				p.below = true
				break
			}
			p.segments = append(p.segments, patternSegment{any: true})
			continue
		}
		open := strings.IndexByte(part, '{')
		seg := patternSegment{prefix: part}
		if open >= 0 {
			if len(part) < open+3 || strings.IndexAny(part[open+1:], "{}") != len(part)-open-2 || part[len(part)-1] != '}' {
				return nil, fmt.Errorf("%q: write {name} for what is hidden, as a whole segment or at the end of one", text)
			}
			seg = patternSegment{prefix: part[:open], hides: true}
			hides = true
		} else if strings.ContainsAny(part, "*}") {
			return nil, fmt.Errorf("%q: * stands for a whole segment", text)
		}
		p.segments = append(p.segments, seg)
	}
	if hides {
		return p, nil
	}
	p.hides = p.below
	for i := range p.segments {
		hides = hides || p.segments[i].any
		p.segments[i].hides, p.segments[i].any = p.segments[i].any, false
	}
	if !hides && !p.hides {
		return nil, fmt.Errorf("%q hides nothing: write {name} instead of the secret, such as /hooks/{token}", text)
	}
	return p, nil
}

// match returns where in s, a path that begins at the slash at i and ends at
// end, the pattern hides something.
func (p *PathPattern) match(s string, i, end int, hide func(from, to int)) bool {
	type piece struct{ from, to int }
	var space [4]piece
	hidden := space[:0]
	for _, seg := range p.segments {
		if i >= end || s[i] != '/' {
			return false
		}
		i++
		to := i + untilAny(s[i:end], "/")
		text := s[i:to]
		switch {
		case seg.any:
			if text == "" {
				return false
			}
		case seg.hides:
			if len(text) <= len(seg.prefix) || text[:len(seg.prefix)] != seg.prefix {
				return false
			}
			hidden = append(hidden, piece{i + len(seg.prefix), to})
		case text != seg.prefix:
			return false
		}
		i = to
	}
	if i < end && !p.below && s[i:end] != "/" {
		return false
	}
	if p.hides {
		hide(min(i+1, end), end)
	}
	for _, h := range hidden {
		hide(h.from, h.to)
	}
	return true
}

// AddPath hides in paths what a pattern says.
func (m *Text) AddPath(p *PathPattern) { m.patterns = append(m.patterns, p) }

// pathEnds end a path in a text.
const pathEnds = "?#&; \t\r\n\"'<>,)"

var endsPath = func() (ends [256]bool) {
	for _, c := range []byte(pathEnds) {
		ends[c] = true
	}
	return ends
}()

// paths hides the secrets that stand in paths: where the patterns say, and
// where it is known that they do, in the paths of bots and webhooks and in links
// that reset passwords and activate accounts. A path begins at the first slash
// of a text, or of a URL after its host.
func (m *Text) paths(s string) string {
	var spans []span
	hide := func(from, to int) {
		if from < to && !hiddenAlready(s[from:to]) {
			spans = append(spans, span{from, to})
		}
	}
	for i := strings.IndexByte(s, '/'); i >= 0 && i < len(s); i++ {
		if s[i] != '/' {
			continue
		}
		if strings.HasPrefix(s[i:], "//") && i > 0 && s[i-1] == ':' {
			// The path of a URL follows its host.
			i += 2
			i += untilAny(s[i:], "/"+pathEnds)
			if i == len(s) || s[i] != '/' {
				continue
			}
		}
		end := i
		for end < len(s) && !endsPath[s[end]] {
			end++
		}
		matched := false
		for _, p := range m.patterns {
			matched = matched || p.match(s, i, end, hide)
		}
		if !matched {
			knownPath(s, i, end, hide)
		}
		i = end
	}
	if len(spans) == 0 {
		return s
	}
	n := 0
	spans = outermost(spans)
	return hideAll(s, func(int) (int, int) {
		if n == len(spans) {
			return 0, -1
		}
		n++
		return spans[n-1].from, spans[n-1].to
	})
}

func hiddenAlready(s string) bool { return s == Redacted || s == Masked }

// knownPath hides what stands in s[i:end], a path, where everybody knows that
// secrets stand.
func knownPath(s string, i, end int, hide func(from, to int)) {
	var last sort // of the segment before
	for i < end {
		i++ // the slash
		to := i
		for to < end && s[to] != '/' {
			to++
		}
		seg := s[i:to]
		kind := sortOf(seg)
		hidden := last.before(seg)
		switch {
		case seg == "":
		case telegram(seg) > 0:
			hide(i+telegram(seg), to)
		case hidden:
			hide(i, to)
		case kind&hook != 0:
			hideHook(s, lower(seg), to, end, hide)
		}
		// There may be two, and words before: /reset/password/{uid}/{token}.
		if seg != "" && !hidden && (kind&between == 0 || last&(reset|invite) == 0) {
			last = kind
		}
		i = to
	}
}

// sort says what a segment of a path tells of those behind it.
type sort uint8

const (
	hook    sort = 1 << iota // a webhook, whose path has a secret
	reset                    // a link: whatever follows is its secret if it is not a plain word
	invite                   // the same, if it looks like one, since it might be an ID
	between                  // may stand between these and the secret
)

// sorts are the segments that tell something, in small letters.
var sorts = func() map[string]sort {
	m := make(map[string]sort)
	for s, words := range map[sort]string{hook: hooks, reset: resets, invite: invites, between: betweens} {
		for _, w := range strings.Fields(words) {
			m[w] |= s
		}
	}
	return m
}()

const longestSegment = 24

func sortOf(seg string) sort {
	if len(seg) < 4 || len(seg) > longestSegment || seg[0] < 'A' {
		return 0
	}
	return sorts[lower(seg)]
}

// before reports whether a segment behind one of that sort is a secret.
func (s sort) before(seg string) bool {
	switch {
	case s&reset != 0:
		return !plainWord(seg, 0) && (len(seg) >= 6 || !digits(seg))
	case s&invite != 0:
		return opaque(seg)
	}
	return false
}

// telegram returns where in a segment such as bot123456:AAE… the secret
// begins, 0 if it is none. The colon may be encoded.
func telegram(seg string) int {
	if len(seg) < 8 || seg[:3] != "bot" || seg[3]-'0' > 9 {
		return 0
	}
	i := 3
	for i < len(seg) && seg[i]-'0' <= 9 {
		i++
	}
	switch {
	case i < len(seg) && seg[i] == ':':
		i++
	case len(seg) > i+3 && strings.EqualFold(seg[i:i+3], "%3a"):
		i += 3
	default:
		return 0
	}
	if i == len(seg) {
		return 0
	}
	return i
}

const (
	// Slack; Discord and Home Assistant; n8n; Teams; Mattermost and Zapier;
	// Lark; PagerDuty; IFTTT, as /trigger/{event}/with/key/{key}.
	hooks = `services workflows triggers webhooks webhook webhook-test webhookb2 incomingwebhook hooks hook integration with`

	resets = `reset reset-password reset_password resetpassword password-reset password_reset passwordreset password-resets password_resets resets
		forgot-password forgot_password forgotpassword set-password set_password new-password change-password recover recover-password
		account-recovery activate activation activations account-activation account-activations account_activations activate-account activate_account
		email-verification verify-email verify_email verifyemail email_confirmations email-confirmations
		confirm-email confirm_email confirmemail email-confirmation confirm-account confirm-registration
		magic magic-link magic_link magiclink magic-login passwordless
		accept-invite accept-invitation accept_invitation unlock-account unlock_account otp-login login-link one-time-login`
	invites  = `verify verification confirm confirmation invite invites invitation invitations unsubscribe recovery unlock join`
	betweens = `password email e-mail account user token confirm verify code link`
)

// hideHook hides the secret of a webhook whose path goes on at i behind the
// segment word.
func hideHook(s, word string, i, end int, hide func(from, to int)) {
	type piece struct{ from, to int }
	var space [8]piece
	parts := space[:0]
	for i < end && len(parts) < len(space) {
		i++
		to := i + untilAny(s[i:end], "/")
		if to > i {
			parts = append(parts, piece{i, to})
		}
		i = to
	}
	part := func(n int) string { return s[parts[n].from:parts[n].to] }
	switch word {
	case "services", "workflows", "triggers":
		// /services/T…/B…/secret, /workflows/T…/A…/number/secret, /triggers/T…/number/secret
		if len(parts) >= 3 && slackTeam(part(0)) {
			for _, p := range parts[2:] {
				hide(p.from, p.to)
			}
		}
	case "webhooks":
		// /api/webhooks/number/secret
		if len(parts) >= 2 && digits(part(0)) && !plainWord(part(1), 0) {
			hide(parts[1].from, parts[1].to)
		}
	case "webhookb2", "incomingwebhook":
		for _, p := range parts {
			if !strings.EqualFold(s[p.from:p.to], "incomingwebhook") {
				hide(p.from, p.to)
			}
		}
	case "with":
		if len(parts) >= 2 && part(0) == "key" {
			hide(parts[1].from, parts[1].to)
		}
	default: // what looks like a secret
		for n, p := range parts {
			if opaque(part(n)) || n == 2 && part(0) == "catch" {
				hide(p.from, p.to)
			}
		}
	}
}

// slackTeam reports whether s is the ID of a team: T or E, capitals and digits.
func slackTeam(s string) bool {
	if len(s) < 2 || s[0] != 'T' && s[0] != 'E' || !strings.ContainsAny(s, "0123456789") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'A' || c > 'Z') && c-'0' > 9 {
			return false
		}
	}
	return true
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return s != ""
}

// plainWord reports whether a segment is a word, or some joined by hyphens,
// with at most so many digits.
func plainWord(seg string, most int) bool {
	if len(seg) > 24 {
		return false
	}
	for i := 0; i < len(seg); i++ {
		c := seg[i]
		if c-'0' <= 9 {
			most--
		} else if (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return most >= 0
}

// opaque reports whether a segment looks like a secret: at least 8 characters,
// digits among letters, or capitals among small ones. A number is an ID.
func opaque(seg string) bool {
	if len(seg) < 8 || digits(seg) || plainWord(seg, 2) {
		return false
	}
	var digit, upper, lower bool
	for i := 0; i < len(seg); i++ {
		switch c := seg[i]; {
		case c-'0' <= 9:
			digit = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= 'A' && c <= 'Z':
			upper = true
		}
	}
	return digit && (upper || lower) || upper && (lower || len(seg) >= 16)
}
