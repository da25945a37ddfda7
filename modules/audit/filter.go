package audit

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// anyKind is what stands in filter.kind where intents count too: a summary
// needs them to tell which requests have no outcome.
const anyKind = "*"

// toolsCall is the method by which a tool is called.
const toolsCall = "tools/call"

// filter selects records. Its zero value selects all.
type filter struct {
	since, until          string
	user, app, role       string
	issuer                string
	status, decision      string
	path, method, address string
	id, site, code, rule  string
	kind                  string
	call, called, tool    string // of an MCP server

	from, to time.Time
	low      int // range of status
	high     int
	prefix   netip.Prefix
}

// flags adds the filter's flags to a command.
func (f *filter) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.since, "since", "", "records from that time on: today, yesterday, a date or a time (local unless it has an offset), or a duration ago such as 2h or 7d")
	fs.StringVar(&f.until, "until", "", "records before that time; a date, today and yesterday include that day")
	fs.StringVarP(&f.user, "user", "u", "", "records of that user; - for anonymous requests")
	fs.StringVar(&f.issuer, "issuer", "", "records of users of that issuer, or of that kind of credential: internal, api_key, …")
	fs.StringVar(&f.app, "app", "", "records of requests that were sent by that application")
	fs.StringVar(&f.role, "role", "", "records of users with that role")
	fs.StringVarP(&f.status, "status", "s", "", "status: 403, 4xx or 400-499")
	fs.StringVarP(&f.decision, "decision", "d", "", "allow, deny or error; with a layer: rbac=deny")
	fs.StringVarP(&f.path, "path", "p", "", "path, with * for anything but / and ** for anything")
	fs.StringVarP(&f.method, "method", "m", "", "request method")
	fs.StringVarP(&f.address, "address", "a", "", "client address or CIDR prefix")
	fs.StringVar(&f.id, "id", "", "request id or trace id")
	fs.StringVar(&f.site, "site", "", "site")
	fs.StringVar(&f.code, "code", "", "error code, such as rate_limited")
	fs.StringVar(&f.rule, "rule", "", "text in the rule that decided")
	fs.StringVar(&f.call, "mcp-method", "", "method of a call to an MCP server, such as tools/call")
	fs.StringVar(&f.called, "mcp-name", "", "tool, prompt or URI of a resource of a call to an MCP server, with * for anything but / and ** for anything")
	fs.StringVar(&f.tool, "tool", "", "tool that was called, or denied, with * for anything but / and ** for anything")
	fs.StringVar(&f.kind, "kind", "", "outcome, intent or change (default: outcome and change)")
}

// open checks that a directory holds a trail, and reads the flags.
func (f *filter) open(path string) (dir string, err error) {
	if dir, err = trailDir(path); err != nil {
		return "", err
	}
	return dir, f.compile(time.Now())
}

// compile checks the flags and prepares them for matching.
func (f *filter) compile(now time.Time) (err error) {
	if f.since != "" {
		if f.from, _, err = parseTime(f.since, now); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
	}
	if f.until != "" {
		if _, f.to, err = parseTime(f.until, now); err != nil {
			return fmt.Errorf("--until: %w", err)
		}
	}
	if f.since != "" && f.until != "" && !f.to.After(f.from) {
		return fmt.Errorf("--until %s is not after --since %s", f.until, f.since)
	}
	if f.low, f.high, err = parseStatus(f.status); err != nil {
		return fmt.Errorf("--status: %w", err)
	}
	if f.decision != "" {
		_, result, found := strings.Cut(f.decision, "=")
		if !found {
			result = f.decision
		}
		if !slices.Contains([]string{decision.Allow, decision.Deny, decision.Skip, decision.Error}, result) {
			return fmt.Errorf("--decision %s: must be allow, deny, skip or error, or <layer>=<one of them>", f.decision)
		}
	}
	if f.address != "" {
		if f.prefix, err = parsePrefix(f.address); err != nil {
			return fmt.Errorf("--address: %w", err)
		}
	}
	if f.kind != "" && !slices.Contains([]string{record.Intent, record.Outcome, record.Change}, f.kind) {
		return fmt.Errorf("--kind %s: must be outcome, intent or change", f.kind)
	}
	return nil
}

func parseStatus(s string) (low, high int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	if len(s) == 3 && strings.HasSuffix(strings.ToLower(s), "xx") && s[0] >= '1' && s[0] <= '9' {
		low = int(s[0]-'0') * 100
		return low, low + 99, nil
	}
	a, b, ranged := strings.Cut(s, "-")
	if low, err = strconv.Atoi(a); err == nil {
		if high = low; ranged {
			high, err = strconv.Atoi(b)
		}
	}
	if err != nil || low > high {
		return 0, 0, fmt.Errorf("%q is not a status: write 403, 4xx or 400-499", s)
	}
	return low, high, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix", s)
	}
	return a.Prefix(a.BitLen())
}

// ofRequests reports whether the filter looks at what changes do not have.
func (f *filter) ofRequests() bool {
	g := *f
	g.since, g.until, g.from, g.to, g.kind = "", "", time.Time{}, time.Time{}, ""
	return g != filter{}
}

// literals are texts that a line must contain to match, so that most lines
// need not be read. Each is written as the record package writes it.
func (f *filter) literals() [][]byte {
	var out [][]byte
	member := func(name, value string) {
		if value != "" {
			out = append(out, append([]byte(`"`+name+`":`), record.AppendString(nil, value)...))
		}
	}
	if f.user != "-" && f.user != "" {
		out = append(out, append([]byte(`"user":{"id":`), record.AppendString(nil, f.user)...))
	}
	if f.app != "" {
		out = append(out, append([]byte(`"app":{"id":`), record.AppendString(nil, f.app)...))
	}
	member("method", f.method)
	member("site", f.site)
	member("code", f.code)
	member("method", f.call)
	if f.call != "" || f.called != "" || f.tool != "" {
		out = append(out, []byte(`"mcp":{`))
	}
	if f.kind != anyKind {
		member("kind", f.kind)
	}
	if f.low == f.high && f.low != 0 {
		out = append(out, []byte(`"status":`+strconv.Itoa(f.low)))
	}
	for _, text := range []string{f.id, f.role} {
		if text != "" {
			out = append(out, record.AppendString(nil, text))
		}
	}
	if f.prefix.IsValid() && f.prefix.IsSingleIP() {
		out = append(out, []byte(`"client":"`+f.prefix.Addr().String()))
	}
	if _, result, found := strings.Cut(f.decision, "="); found {
		out = append(out, []byte(`"result":"`+result+`"`))
	} else if f.decision != "" {
		out = append(out, []byte(`"result":"`+f.decision+`"`))
	}
	// The part of a path before the first wildcard.
	if head, _, _ := strings.Cut(f.path, "*"); head != "" {
		quoted := record.AppendString(nil, head)
		out = append(out, append([]byte(`"path":`), quoted[:len(quoted)-1]...))
	}
	return out
}

// match reports whether r is selected.
func (f *filter) match(r *record.Record) bool {
	switch {
	case f.kind == "" && r.Kind == record.Intent,
		f.kind != "" && f.kind != anyKind && r.Kind != f.kind,
		!f.from.IsZero() && r.Time.Before(f.from),
		!f.to.IsZero() && !r.Time.Before(f.to),
		f.user == "-" && (r.User.ID != "" || r.Kind == record.Change),
		f.user != "" && f.user != "-" && r.User.ID != f.user,
		f.issuer != "" && (r.User.ID == "" || !principal.Source{Issuer: r.User.Issuer, Kind: r.User.Kind}.Is(f.issuer)),
		f.app != "" && r.App.ID != f.app,
		f.role != "" && !slices.Contains(r.Roles, f.role),
		f.low != 0 && (r.Status < f.low || r.Status > f.high),
		f.method != "" && r.Method != f.method,
		f.site != "" && r.Site != f.site,
		f.code != "" && r.Code != f.code,
		f.id != "" && r.ID != f.id && r.Trace != f.id,
		f.call != "" && r.MCP.Method != f.call,
		f.called != "" && (r.MCP.Name == "" || !glob(f.called, r.MCP.Name)),
		f.tool != "" && (r.MCP.Method != toolsCall || !glob(f.tool, r.MCP.Name)),
		f.path != "" && !glob(f.path, r.Path) && !glob(f.path, r.Upstream.Path):
		return false
	}
	if f.prefix.IsValid() {
		a, err := netip.ParseAddr(r.Client)
		if err != nil || !f.prefix.Contains(a.WithZone("")) {
			return false
		}
	}
	return (f.decision == "" || slices.ContainsFunc(r.Decisions, f.decided)) &&
		(f.rule == "" || slices.ContainsFunc(r.Decisions, func(d record.Decision) bool { return strings.Contains(d.Rule, f.rule) }))
}

func (f *filter) decided(d record.Decision) bool {
	layer, result, found := strings.Cut(f.decision, "=")
	if !found {
		return d.Result == f.decision
	}
	return d.Layer == layer && d.Result == result
}

// glob matches a path: ** is anything, * anything without a slash.
func glob(pattern, path string) bool {
	for pattern != "" {
		i := strings.IndexByte(pattern, '*')
		if i < 0 {
			return pattern == path
		}
		if !strings.HasPrefix(path, pattern[:i]) {
			return false
		}
		path, pattern = path[i:], pattern[i+1:]
		deep := strings.HasPrefix(pattern, "*")
		if deep {
			pattern = pattern[1:]
		}
		for n := 0; ; n++ {
			if glob(pattern, path[n:]) {
				return true
			}
			if n == len(path) || !deep && path[n] == '/' {
				return false
			}
		}
	}
	return path == ""
}

// walk calls f for the records of a trail that are selected.
func (f *filter) walk(ctx context.Context, dir string, o trail.ScanOptions, fn func(index int64, line []byte, r *record.Record) error) error {
	o.Contains = append(o.Contains, f.literals()...)
	// A segment closed before the time holds nothing since; requests may
	// take long, so some hours are added.
	if !f.from.IsZero() {
		o.ClosedBefore = f.from.Add(-time.Hour)
	}
	var r record.Record
	_, err := trail.Scan(ctx, dir, o, func(rec trail.Record) error {
		if err := record.Decode(rec.Line, &r); err != nil {
			return fmt.Errorf("record %d: %w", rec.Index, err)
		}
		if !f.match(&r) {
			return nil
		}
		return fn(rec.Index, rec.Line, &r)
	})
	return err
}
