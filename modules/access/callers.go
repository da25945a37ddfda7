package access

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/lists"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

func init() {
	caddy.RegisterModule(CallerHandler{})
}

const (
	// CallerName is the name of the directive for callers.
	CallerName = "caller_access"

	// CodeCallerDenied is the code of a request of a caller that is not let in.
	CodeCallerDenied = "caller_denied"
)

// callerKinds are the words that begin an entry for callers.
var callerKinds = []string{lists.KindCaller, lists.KindAPIKey, lists.KindCertificate}

// CallerHandler lets verified callers in or rejects them, by who they are, by
// their API key, or by their client certificate. It stands behind
// authentication, since nobody is known before; where nothing authenticates
// before it, the configuration is refused.
//
// deny is stronger than everything else. With allow, every caller is rejected that is in neither
// allow nor exempt. Where an application sends the request for a user, either of them counts.
//
// Callers that allow or exempt list are left alone by layers that ban or
// challenge callers.
//
// A caller that is denied gets 403 caller_denied. With allow, a request without an identity gets 401
// missing_credentials with the challenges of the authenticators. The responses do not say why;
// the record does.
type CallerHandler struct {
	// Who is rejected.
	Deny *CallerEntries `json:"deny,omitempty"`

	// Who is let in. If anybody is listed here, everybody else is rejected.
	Allow *CallerEntries `json:"allow,omitempty"`

	// Who is let in and left alone by layers that ban or challenge, while others
	// are let in too.
	Exempt *CallerEntries `json:"exempt,omitempty"`

	deny, allow, exempt *callerList
	held                lifecycle.Held
	decided             *prometheus.CounterVec
	allowed             prometheus.Counter
	memo                *decision.Memo
	option.Placed
}

// CallerEntries is who is listed.
type CallerEntries struct {
	// Entries as lists of words: `caller`, an issuer or a kind of credential (such as
	// basic), and an ID; `api_key` and the ID of a key; or `certificate` and the hash of a
	// client certificate's key, as `caddy moat cert` prints it.
	Callers [][]string `json:"callers,omitempty"`

	// Files with such an entry a line, its words separated by spaces. Words with
	// spaces stand in quotes. Blank lines and comments behind # are skipped. They
	// are watched as those of access are. Global placeholders are replaced at load.
	Files []string `json:"files,omitempty"`
}

func (e *CallerEntries) empty() bool { return e == nil || len(e.Callers)+len(e.Files) == 0 }

// CaddyModule returns the Caddy module information.
func (CallerHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.caller_access",
		New: func() caddy.Module { return new(CallerHandler) },
	}
}

// callerFiles are files of callers.
var callerFiles = watched.Kind{
	Layer: CallerName, Option: "file", Logger: "http.handlers." + CallerName, Subject: "the list of callers", What: "callers",
	Metrics: watched.Metrics{
		Entries:  prometheus.NewDesc("caddy_moat_caller_access_list_entries", "Entries in the file of callers.", []string{"file"}, nil),
		Unusable: prometheus.NewDesc("caddy_moat_caller_access_list_unusable", watched.UnusableHelp, []string{"file"}, nil),
	},
}

// callerList is callers as they are looked up.
type callerList struct {
	verb    string
	written *lists.Callers
	files   []callerFile
}

type callerFile struct {
	path string
	file *lists.CallersFile
}

func newCallerList(ctx caddy.Context, held *lifecycle.Held, verb string, e *CallerEntries) (*callerList, error) {
	if e.empty() {
		return nil, nil
	}
	written, err := e.parse()
	if err != nil {
		return nil, err
	}
	l := &callerList{verb: verb, written: lists.NewCallers(written)}
	for _, path := range e.Files {
		f, err := watched.Open(ctx, held, &callerFiles, path, nil, lists.OpenCallers)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, callerFile{path, f})
	}
	return l, nil
}

func (e *CallerEntries) parse() ([]lists.Caller, error) {
	if e == nil {
		return nil, nil
	}
	var all []lists.Caller
	for _, words := range e.Callers {
		entry, err := lists.ParseCaller(words)
		if err != nil {
			return nil, err
		}
		all = append(all, entry)
	}
	return all, nil
}

// find returns the rule that lists p, "" if none does.
func (l *callerList) find(p *principal.Principal) string {
	if l == nil || p == nil {
		return ""
	}
	if e, ok := l.written.Find(p); ok {
		return l.verb + " " + e.String()
	}
	for _, f := range l.files {
		if e, ok := f.file.Set().Find(p); ok {
			return l.verb + " " + f.path + ": " + e.String()
		}
	}
	return ""
}

// Provision opens the lists.
func (h *CallerHandler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	if err := h.provision(ctx); err != nil {
		return h.At(fmt.Errorf("%s: %w", CallerName, err))
	}
	return nil
}

func (h *CallerHandler) provision(ctx caddy.Context) error {
	err := h.check()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		to      **callerList
		verb    string
		entries *CallerEntries
	}{{&h.deny, "deny", h.Deny}, {&h.allow, "allow", h.Allow}, {&h.exempt, "exempt", h.Exempt}} {
		if *l.to, err = newCallerList(ctx, &h.held, l.verb, l.entries); err != nil {
			return err
		}
	}
	if h.allow != nil && h.allow.written.Len() == 0 && len(h.allow.emptyFiles()) == len(h.allow.files) {
		return errors.New("allow lists nobody, since its files have no entries, so that every request would be rejected: write a caller into one, or remove allow")
	}
	h.memo = new(decision.Memo)
	if h.decided, err = lifecycle.Decided(ctx); err != nil {
		return err
	}
	h.allowed = h.decided.WithLabelValues(CallerName, decision.Allow, "")
	return nil
}

func (h *CallerHandler) check() error {
	if h.Deny.empty() && h.Allow.empty() && h.Exempt.empty() {
		return errors.New("nobody is listed: write deny, allow or exempt with caller <issuer> <id>, api_key <id>, certificate <hash> or file <path>")
	}
	for _, e := range []*CallerEntries{h.Deny, h.Allow, h.Exempt} {
		if _, err := e.parse(); err != nil {
			return err
		}
	}
	return nil
}

// Cleanup gives the files back.
func (h *CallerHandler) Cleanup() error {
	h.held.Release()
	return nil
}

// ServeHTTP lets the request in or rejects it.
func (h *CallerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	c := reqctx.Of(r)
	p := c.Principal()
	if rule := h.deny.find(p); rule != "" {
		return h.reject(w, r, denied(CodeCallerDenied), rule)
	}
	rule := h.exempt.find(p)
	if rule == "" {
		rule = h.allow.find(p)
	}
	switch {
	case rule != "":
		c.Exempt()
	case h.allow != nil && p == nil:
		return h.reject(w, r, unknown(c), "default: deny")
	case h.allow != nil:
		return h.reject(w, r, denied(CodeCallerDenied), "default: deny")
	}
	h.allowed.Inc()
	c.Decisions().Note(h.memo.Of(decision.Decision{Layer: CallerName, Result: decision.Allow, Rule: rule}))
	return next.ServeHTTP(w, r)
}

// unknown rejects a request without an identity: RFC 9110 section 15.5.2 wants a
// challenge, which is that of the authenticators that have let it pass.
func unknown(c *reqctx.Context) *problem.Problem {
	challenges := c.Challenges()
	if len(challenges) == 0 {
		challenges = []string{"Bearer"}
	}
	return &problem.Problem{
		Status: http.StatusUnauthorized, Code: "missing_credentials",
		Detail: "this request needs credentials", Challenges: challenges,
	}
}

func (h *CallerHandler) reject(w http.ResponseWriter, r *http.Request, p *problem.Problem, rule string) error {
	h.decided.WithLabelValues(CallerName, decision.Deny, p.Code).Inc()
	reqctx.Decisions(r).Note(h.memo.Of(decision.Decision{Layer: CallerName, Result: decision.Deny, Rule: rule, Code: p.Code}))
	return reqctx.Refuse(w, r, p)
}

// NeedsIdentity says that nobody can be listed before anything authenticates.
func (*CallerHandler) NeedsIdentity() bool { return true }

func (l *callerList) emptyFiles() (paths []string) {
	if l == nil {
		return nil
	}
	for _, f := range l.files {
		if f.file.Len() == 0 {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// Doubts returns what is doubtful about the lists.
func (h *CallerHandler) Doubts() (doubts []credential.Doubt) {
	for _, l := range []*callerList{h.deny, h.allow, h.exempt} {
		for _, path := range l.emptyFiles() {
			doubts = append(doubts, credential.Doubt{ID: "access_empty_list", Text: l.verb + " " + path + ": the file has no entries, so that it lists nobody"})
		}
	}
	return doubts
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	caller_access [<matcher>] {
//		deny   caller <issuer>|<kind> <id> | api_key <id>... | certificate <hash>... | file <path>...
//		allow  caller <issuer>|<kind> <id> | api_key <id>... | certificate <hash>... | file <path>...
//		exempt caller <issuer>|<kind> <id> | api_key <id>... | certificate <hash>... | file <path>...
//	}
//
// All of them may be repeated, and one is required.
func (h *CallerHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if err := option.NoArgs(d); err != nil {
		return err
	}
	if err := option.Block(d, []string{"deny", "allow", "exempt"}, h.unmarshalOption); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return d.Errf("%s: %v", CallerName, err)
	}
	return nil
}

func (h *CallerHandler) unmarshalOption(d *caddyfile.Dispenser) error {
	to, ok := map[string]**CallerEntries{"deny": &h.Deny, "allow": &h.Allow, "exempt": &h.Exempt}[d.Val()]
	if !ok {
		return option.Unrecognized(d, CallerName, []string{"deny", "allow", "exempt"})
	}
	name, args := d.Val(), d.RemainingArgs()
	if len(args) < 2 {
		return option.Takes(d, name, "caller <issuer> <id>, api_key <id>..., certificate <hash>... or file <path>...")
	}
	if *to == nil {
		*to = new(CallerEntries)
	}
	if err := (*to).add(args); err != nil {
		return d.Errf("%s: %v", name, err)
	}
	return option.NoBlock(d)
}

func (e *CallerEntries) add(args []string) error {
	entries := make([][]string, 0, len(args))
	if args[0] == lists.KindCaller {
		entries = append(entries, args)
	} else {
		for _, id := range args[1:] {
			entries = append(entries, []string{args[0], id})
		}
	}
	for _, words := range entries {
		if words[0] == "file" {
			if err := addOnce(&e.Files, words[1], words[1]); err != nil {
				return err
			}
			continue
		}
		entry, err := lists.ParseCaller(words)
		if err != nil {
			return fmt.Errorf("%w; addresses are for %s, and file <path> is for files", err, Name)
		}
		for _, other := range e.Callers {
			if strings.Join(other, "\x00") == strings.Join(words, "\x00") {
				return fmt.Errorf("'%s' already specified", entry)
			}
		}
		e.Callers = append(e.Callers, words)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*CallerHandler)(nil)
	_ caddy.CleanerUpper          = (*CallerHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*CallerHandler)(nil)
	_ caddyfile.Unmarshaler       = (*CallerHandler)(nil)
)
