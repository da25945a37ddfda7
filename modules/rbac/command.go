package rbac

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

func init() {
	cli.RegisterCommand(explainCommand)
	cli.RegisterCommand(policyCommand)
}

// errNo ends a command whose result is negative, with exit code 1 and no message:
// the result has been printed.
var errNo = errors.New("no")

// run makes a command's function one that exits with 0 for yes, 1 for no and
// 2 on an error.
func run(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		err := f(cmd, args)
		if err == nil || errors.Is(err, errNo) {
			cmd.SilenceErrors = true
			return err
		}
		// In the words of the other commands, and not as a line of the log.
		fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
		cmd.SilenceErrors = true
		return &statusError{err, caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return 2, nil })(cmd, args)}
	}
}

// statusError is an error that ends a command with the status of exit.
type statusError struct{ err, exit error }

func (e *statusError) Error() string   { return e.err.Error() }
func (e *statusError) Unwrap() []error { return []error{e.err, e.exit} }

// policies returns the rbac handlers of a configuration file, loaded.
func policies(file string) ([]*loaded, error) {
	if file == "" {
		return nil, errors.New("name the configuration: --config Caddyfile")
	}
	config, err := cli.LoadConfig(file)
	if err != nil {
		return nil, err
	}
	raws, err := cli.FindModules(config, "handler", "rbac")
	if err != nil {
		return nil, err
	}
	if len(raws) == 0 {
		return nil, fmt.Errorf("%s has no rbac directive", file)
	}
	before, err := fronts(config)
	if err != nil {
		return nil, fmt.Errorf("%s: following the routes: %w", file, err)
	}
	if len(before) != len(raws) {
		return nil, fmt.Errorf("%s: %d rbac handlers, of which %d are in routes", file, len(raws), len(before))
	}
	all := make([]*loaded, len(raws))
	for i, raw := range raws {
		h := new(Handler)
		if err := json.Unmarshal(raw, h); err != nil {
			return nil, fmt.Errorf("%s: rbac: %w", file, err)
		}
		if h.PolicyFile != "" {
			if h.PolicyFile, err = option.Resolve(layer, "policy", h.PolicyFile); err != nil {
				return nil, err
			}
		}
		if all[i], err = h.load(); err != nil {
			return nil, fmt.Errorf("%s: rbac: %w", file, err)
		}
		all[i].front = before[i]
	}
	return all, nil
}

// choose returns the policy that the flags name. The n-th of several is
// chosen by its number.
func choose(file string, n int) (*loaded, error) {
	all, err := policies(file)
	switch {
	case err != nil:
		return nil, err
	case n == 0 && same(all):
		return all[0], nil
	case n == 0:
		var list strings.Builder
		for i, l := range all {
			fmt.Fprintf(&list, "\n  --rbac %d: %d rules, the first is %s", i+1, len(l.policy.Rules()), place(l.policy.Rules()[0], l.policy.Rules()[0].String()))
		}
		return nil, fmt.Errorf("%s has %d rbac directives; choose one:%s", file, len(all), list.String())
	case n < 1 || n > len(all):
		return nil, fmt.Errorf("%s has %d rbac directives and no number %d", file, len(all), n)
	}
	return all[n-1], nil
}

// same reports whether all policies are one, behind the same authenticator: as
// where several sites use one file.
func same(all []*loaded) bool {
	return !slices.ContainsFunc(all[1:], func(l *loaded) bool { return l.digest != all[0].digest || l.front != all[0].front })
}

// probe is a request to try against a policy.
type probe struct {
	Request string         `yaml:"request" json:"request"` // "GET /orders/1?page=2"
	User    string         `yaml:"user" json:"user"`
	Issuer  string         `yaml:"issuer" json:"issuer"` // who vouches for the user
	Kind    string         `yaml:"kind" json:"kind"`     // and by what: jwt, api_key, …
	Roles   []string       `yaml:"roles" json:"roles"`
	Scopes  []string       `yaml:"scopes" json:"scopes"`
	Claims  map[string]any `yaml:"claims" json:"claims"`
	Headers []string       `yaml:"headers" json:"headers"` // "X-Tenant: acme"
	IP      string         `yaml:"client_ip" json:"client_ip"`
	Now     string         `yaml:"now" json:"now"` // RFC 3339
	Body    any            `yaml:"body" json:"body"`

	calling `yaml:",inline"`

	// The application that sends the request beside its user, where auth has
	// an `all` block.
	App *application `yaml:"app" json:"app"`

	front front // what stands before rbac
}

// application is who sends a request for its user: an id, or that and more.
type application struct {
	ID     string         `yaml:"id" json:"id"`
	Issuer string         `yaml:"issuer" json:"issuer"`
	Kind   string         `yaml:"kind" json:"kind"`
	Roles  []string       `yaml:"roles" json:"roles"`
	Scopes []string       `yaml:"scopes" json:"scopes"`
	Plan   string         `yaml:"plan" json:"plan"`
	Claims map[string]any `yaml:"claims" json:"claims"`
}

// UnmarshalYAML takes an id alone, too.
func (a *application) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&a.ID)
	}
	text, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	type plain application
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true) // which Node.Decode does not know of
	return d.Decode((*plain)(a))
}

// UnmarshalJSON takes an id alone, too.
func (a *application) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &a.ID) == nil {
		return nil
	}
	type plain application
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	d.UseNumber()
	return d.Decode((*plain)(a))
}

// principal makes what auth makes of an application's credential.
func (a *application) principal() (*principal.Principal, error) {
	if a.ID == "" {
		return nil, errors.New("app: it has no id")
	}
	s := (&probe{Issuer: a.Issuer, Kind: a.Kind}).source()
	p := &principal.Principal{ID: a.ID, Issuer: s.Issuer, Kind: s.Kind, Roles: a.Roles, Scopes: a.Scopes, Plan: a.Plan}
	if a.Claims != nil {
		claims, err := json.Marshal(a.Claims)
		if err != nil {
			return nil, fmt.Errorf("app: claims: %w", err)
		}
		p.Claims = principal.NewClaims(claims)
	}
	return p, nil
}

// readApp reads what stands after --app: an id, or a JSON object.
func readApp(text string) (*application, error) {
	if !strings.HasPrefix(text, "{") {
		return &application{ID: text}, nil
	}
	a := new(application)
	if err := a.UnmarshalJSON([]byte(text)); err != nil {
		return nil, fmt.Errorf("--app is neither an id nor a JSON object with id, issuer, kind, roles, scopes, plan and claims: %w", err)
	}
	return a, nil
}

// anonymous reports whether nothing says who asks.
func (q *probe) anonymous() bool {
	return q.User == "" && len(q.Roles) == 0 && len(q.Scopes) == 0 && len(q.Claims) == 0
}

// source is who vouches for the caller.
func (q *probe) source() principal.Source {
	s := principal.Source{Issuer: q.Issuer, Kind: q.Kind}
	if s.Issuer == principal.Internal {
		s.Issuer = principal.InternalIssuer
	}
	if s.Issuer != "" && s.Kind == "" {
		s.Kind = principal.KindJWT
	}
	return s
}

// caller says who asks, in words.
func (q *probe) caller() string {
	if q.anonymous() {
		return "an anonymous caller"
	}
	s := q.user()
	if q.App != nil {
		s += ", by application " + q.App.ID
	}
	return s
}

// user says which user asks.
func (q *probe) user() string {
	s := "a caller"
	if q.User != "" {
		s = "user " + q.User
	}
	if q.Issuer+q.Kind != "" {
		s += " from " + q.source().String()
	}
	if len(q.Roles) > 0 {
		s += " with role " + strings.Join(q.Roles, ", ")
	}
	if len(q.Scopes) > 0 {
		s += " with scope " + strings.Join(q.Scopes, ", ")
	}
	return s
}

// ask makes the policy's request of the probe. The error is that of a
// path with two readings is a requestpath.Error.
func (q *probe) ask(p *policy.Policy) (*policy.Request, error) {
	methodName, target, ok := strings.Cut(q.target(), " ")
	if !ok || !strings.HasPrefix(target, "/") {
		return nil, fmt.Errorf("'%s' is not a method and a path such as: GET /orders/1", q.Request)
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fmt.Errorf("'%s': not a path", target)
	}
	env := &condition.Env{
		Method: methodName, RawQuery: u.RawQuery, ClientIP: q.IP, Now: time.Now(), Header: make(http.Header),
	}
	if q.Now != "" {
		if env.Now, err = time.Parse(time.RFC3339, q.Now); err != nil {
			return nil, fmt.Errorf("'%s' is not a time such as 2026-11-22T10:00:00Z", q.Now)
		}
	}
	for _, field := range q.Headers {
		name, value, ok := strings.Cut(field, ":")
		if !ok {
			return nil, fmt.Errorf("'%s' is not a header field such as: X-Tenant: acme", field)
		}
		env.Header.Add(name, strings.TrimSpace(value))
	}
	if env.Path, err = requestpath.Of(methodName, u); err != nil {
		whole, errWhole := requestpath.Whole(methodName, u)
		if errWhole != nil || !p.Covers(whole) {
			return nil, err
		}
		env.Path = whole
	}
	if q.Body != nil {
		text, err := json.Marshal(q.Body)
		if err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
		env.Body = jsonText(text)
	}
	if err := q.addTo(env); err != nil {
		return nil, err
	}
	r := &policy.Request{Method: methodName, Path: env.Path, Env: env}
	if q.anonymous() {
		if q.App != nil {
			return nil, errors.New("an application sends requests for a user: name user, roles, scopes or claims beside app")
		}
		return r, nil
	}
	if q.App != nil {
		if env.App, err = q.App.principal(); err != nil {
			return nil, err
		}
	}
	r.Authenticated, r.User, r.Source, r.Roles, r.Scopes = true, q.User, q.source(), q.Roles, q.Scopes
	env.User, env.Source, env.Roles, env.Scopes = q.User, r.Source, slices.Clone(q.Roles), q.Scopes
	for _, role := range p.UserRoles(q.User, r.Source) {
		if !slices.Contains(env.Roles, role) {
			env.Roles = append(env.Roles, role)
		}
	}
	if q.Claims != nil {
		claims, err := json.Marshal(q.Claims)
		if err != nil {
			return nil, fmt.Errorf("claims: %w", err)
		}
		env.Claims = principal.NewClaims(claims)
	}
	return r, nil
}

// verdict is what a policy decides about a probe.
type verdict struct {
	allow  bool
	status int // of the rejection
	rule   string
	d      policy.Decision
	r      *policy.Request
	front  bool           // it is the authenticator before rbac that refuses
	stepUp *policy.StepUp // the authentication that would have it allowed, if one would
	called bool           // it is about the call that the request carries
	scopes []string       // of which each would have the call allowed
}

func (q *probe) decide(p *policy.Policy) (verdict, error) {
	r, err := q.ask(p)
	var two requestpath.Error
	if method, _, _ := strings.Cut(q.target(), " "); q.anonymous() && q.front.rejects(method) && (err == nil || errors.As(err, &two)) {
		return verdict{status: http.StatusUnauthorized, rule: q.front.String(), r: r, front: true}, nil
	}
	if errors.As(err, &two) {
		return verdict{status: http.StatusBadRequest, rule: "the path itself: " + two.Error()}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	d := decideAll(p, r)
	v := verdict{allow: d.Allow, rule: d.RuleText(), d: d, r: r}
	switch {
	case d.Allow:
	case r.Authenticated:
		v.status = http.StatusForbidden
		if up, ok := q.needed(p, r); ok {
			v.status, v.stepUp = http.StatusUnauthorized, &up
		}
	default:
		v.status = http.StatusUnauthorized
	}
	return q.decideCall(p, v), nil
}

// decideAll decides about a request whose path may have encoded slashes.
func decideAll(p *policy.Policy, r *policy.Request) policy.Decision {
	d := p.Decide(r)
	for _, path := range slashed(r.Path) {
		env := *r.Env
		env.Path = path
		other := *r
		other.Path, other.Env = path, &env
		if o := p.Decide(&other); d.Allow && (o.Reason == policy.RuleDenies || o.Reason == policy.ConditionFails) {
			d = o
		}
	}
	return d
}

// needed returns the authentication with which the request would be allowed.
// Where nothing says what the credential is, it is a token.
func (q *probe) needed(p *policy.Policy, r *policy.Request) (policy.StepUp, bool) {
	if s := q.source(); s.Kind != "" && !steps(&principal.Principal{Kind: s.Kind}) {
		return policy.StepUp{}, false
	}
	return p.NeededStepUp(r, r.Env.Claims, r.Env.Now, func(claims *principal.Claims, scopes []string) bool {
		env := *r.Env
		env.Claims, env.Scopes = claims, scopes
		other := *r
		other.Scopes, other.Env = scopes, &env
		return decideAll(p, &other).Allow
	})
}

func explainCommand() *cobra.Command {
	var q probe
	var config, claims, app, body, arguments string
	var each []string
	var number int
	var why bool
	cmd := &cobra.Command{
		Use:   "explain --config FILE [--why-not] [--role ROLE]... [--scope SCOPE]... [--user ID] [--claims JSON] [--tool NAME|--resource URI|--prompt NAME] [METHOD] PATH",
		Short: "Says what rbac decides about a request, and by which rule",
		Long: `Shows how the rbac policy of a configuration decides about a request, which
rule decided, and which other rules apply to this method and path.

With --why-not a rejected request is followed by what is missing: each role, scope
or identity that would be enough, each condition that does not hold, and what the
caller may do with this path instead.

Without --user, --role, --scope and --claims the request is anonymous. PATH may
have a query.

With --tool, --resource or --prompt the request is one to an MCP server, POST
where no method is named, and the decision is about this call, if the request
itself is allowed. --argument and --arguments are what conditions see of
mcp.arguments.

The exit code is 0 if the request is allowed, 1 if it is rejected
and 2 on an error.`,
		Example: `  caddy moat explain --config Caddyfile --role clerk GET /orders/1
  caddy moat explain --config Caddyfile --role manager --claims '{"teams":["red"]}' GET /teams/red/report
  caddy moat explain --config Caddyfile --scope orders:write --tool refund --argument amount=50 /mcp`,
		Args: cobra.RangeArgs(1, 2),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			if claims != "" {
				d := json.NewDecoder(strings.NewReader(claims))
				d.UseNumber() // no digit is lost
				if err := d.Decode(&q.Claims); err != nil {
					return fmt.Errorf("--claims is not a JSON object: %w", err)
				}
			}
			if body != "" {
				if _, err := parseBody([]byte(body)); err != nil {
					return fmt.Errorf("--body: %w", err)
				}
				q.Body = json.RawMessage(body)
			}
			if app != "" {
				var err error
				if q.App, err = readApp(app); err != nil {
					return err
				}
			}
			var err error
			if q.Arguments, err = readArguments(arguments, each); err != nil {
				return err
			}
			l, err := choose(config, number)
			if err != nil {
				return err
			}
			q.Request, q.front = strings.Join(args, " "), l.front
			return explain(cmd.OutOrStdout(), l.policy, &q, why)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "", "the configuration: a Caddyfile, or JSON if its name ends in .json")
	f.IntVar(&number, "rbac", 0, "which rbac directive, where the configuration has several, from 1")
	f.BoolVar(&why, "why-not", false, "say what is missing if the request is rejected")
	f.StringVar(&q.User, "user", "", "the caller's id")
	f.StringVar(&q.Issuer, "issuer", "", "the issuer of the caller's credential: its name, or internal")
	f.StringVar(&q.Kind, "kind", "", "kind of the credential: jwt, opaque, api_key, client_cert, signature, webhook, trusted_header, session, basic or other")
	f.StringArrayVar(&q.Roles, "role", nil, "a role of the caller; repeatable")
	f.StringArrayVar(&q.Scopes, "scope", nil, "a scope of the caller; repeatable")
	f.StringVar(&claims, "claims", "", "the caller's claims, as JSON")
	f.StringVar(&app, "app", "", "the application that sends the request beside its user: its id, or a JSON object with id, issuer, kind, roles, scopes, plan and claims")
	f.StringArrayVar(&q.Headers, "header", nil, "a header field of the request; repeatable")
	f.StringVar(&body, "body", "", "the request's body, as JSON")
	f.StringVar(&q.Tool, "tool", "", "the tool of an MCP server that the request calls")
	f.StringVar(&q.Resource, "resource", "", "the resource of an MCP server that the request reads, by its URI")
	f.StringVar(&q.Prompt, "prompt", "", "the prompt of an MCP server that the request gets")
	f.StringArrayVar(&each, "argument", nil, "an argument of the call, name=value; a value that is JSON is what it says; repeatable")
	f.StringVar(&arguments, "arguments", "", "the arguments of the call, as one JSON object")
	cmd.MarkFlagsMutuallyExclusive("tool", "resource", "prompt")
	cmd.MarkFlagsMutuallyExclusive("argument", "arguments")
	f.StringVar(&q.IP, "ip", "", "the client's address")
	f.StringVar(&q.Now, "now", "", "the time of the request, in RFC 3339 form (default: now)")
	return cmd
}

// explain prints the decision and what led to it.
func explain(w io.Writer, p *policy.Policy, q *probe, why bool) error {
	v, err := q.decide(p)
	if err != nil {
		return err
	}
	what := q.target()
	if kind, _ := q.kind(); kind != "" {
		what += " for " + q.calling.String()
	}
	fmt.Fprintf(w, "%s: %s, for %s\n", v.outcome(), what, q.caller())
	fmt.Fprintf(w, "by %s\n", place(v.d.Rule, v.rule))
	for _, s := range unknownNames(p, q) {
		fmt.Fprintln(w, "note:", s)
	}
	q.aboutCall(w, p, v)
	switch {
	case v.front && v.r != nil:
		q.considered(w, p, v)
	case v.r != nil:
		fmt.Fprintf(w, "because %s\n", because(v.d))
		if v.stepUp != nil {
			fmt.Fprintf(w, "step-up: it would be allowed after %s\n", login(v.stepUp))
		}
		q.considered(w, p, v)
	}
	if v.allow {
		return nil
	}
	if why {
		if err := whyNot(w, p, q, v); err != nil {
			return err
		}
	}
	return errNo
}

// unknownNames says which roles and scopes of the caller mean nothing here:
// they are likely mistyped.
func unknownNames(p *policy.Policy, q *probe) []string {
	var all []string
	look := func(kind string, given, known []string) {
		for _, name := range given {
			switch {
			case slices.Contains(known, name):
			case len(known) == 0:
				all = append(all, fmt.Sprintf("no rule of this policy is for %s, or any %s", policy.Who(kind, name), kind))
			default:
				all = append(all, fmt.Sprintf("no rule of this policy is for %s; it has rules for %s", policy.Who(kind, name), principal.QuoteAll(known)))
			}
		}
	}
	look("role", q.Roles, p.Roles())
	look("scope", q.Scopes, p.Scopes())
	return all
}

// place adds where a rule is written to its text.
func place(r *policy.Rule, text string) string {
	if r != nil && r.Place != "" {
		return text + " (" + r.Place + ")"
	}
	return text
}

func because(d policy.Decision) string {
	switch {
	case d.Reason == policy.RuleAllows:
		return "the rule allows it and no rule denies it"
	case d.Reason == policy.RuleDenies:
		return "a rule that denies beats every rule that allows"
	case d.Reason == policy.ConditionFails:
		return fmt.Sprintf("its condition has no result, which denies: %v", d.Err)
	case d.Err != nil:
		return fmt.Sprintf("no rule allows it; the condition of %s has no result: %v", d.Failed, d.Err)
	}
	return "no rule allows it"
}

// considered lists the rules that are for the method and path, or for the call.
func (q *probe) considered(w io.Writer, p *policy.Policy, v verdict) {
	all := q.rulesFor(p, v)
	if len(all) == 0 {
		fmt.Fprintf(w, "\nno rule is for %s\n", v.subject())
		return
	}
	fmt.Fprintf(w, "\nrules for %s:\n", v.subject())
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range all {
		what := "applies"
		switch {
		case !c.Applies && c.Rule.Who == "authenticated":
			what = "does not apply: the caller is anonymous"
		case !c.Applies:
			what = "does not apply: the caller does not have " + c.Rule.Who
		case c.Err != nil:
			what = "its condition has no result: " + c.Err.Error()
		case !c.Holds:
			what = "its condition does not hold"
		}
		fmt.Fprintf(tw, "  %s\t%s\n", oneLine(place(c.Rule, c.Rule.String())), what)
	}
	tw.Flush()
}
