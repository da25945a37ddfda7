// Package check holds the rules of `caddy moat check`: what makes a
// configuration weaker than it looks, and where in the Caddyfile it stands.
//
// Most rules look at the JSON that the Caddyfile adapts to, and so need neither
// keys nor environment. What Caddy's modules find when they are loaded is added
// to that.
package check

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/findings"
)

// Loaded is what is found when a configuration is loaded.
type Loaded struct {
	Name  string // of the rule
	Error bool   // the server refuses to start
	Place string // "file:line" where it is known
	About map[string]string
	Text  string
}

// Load loads a configuration without starting it, and returns what is found.
// The error is why it does not load.
type Load func(*caddy.Config) ([]Loaded, error)

// checker looks at one configuration.
type checker struct {
	config *config
	src    *source
	sites  []*site
	now    time.Time
	found  []findings.Finding
}

// add keeps a finding of a rule.
func (c *checker) add(name string, at spot, s *site, text string, write ...string) {
	rule, ok := byName(name)
	if !ok {
		// A layer that is newer than the table: better without a number than
		// not at all.
		rule = findings.Rule{ID: "MOAT-000", Name: name, Severity: findings.Warning}
	}
	f := findings.Finding{Rule: rule.ID, Name: rule.Name, Severity: rule.Severity, Text: text, Write: write}
	if len(write) == 0 {
		f.Write = rule.Write
	}
	if s != nil {
		f.Site = s.name()
	}
	c.keep(f, c.src.locate(at))
}

func (c *checker) keep(f findings.Finding, at location) {
	f.File, f.Line = at.file, at.line
	f.Code = c.src.code(at)
	c.found = append(c.found, f)
}

// examine returns all that is found in a configuration file.
func examine(file string, body []byte, load Load, o options) (findings.Result, error) {
	src, err := parse(file, body)
	c := &checker{src: src, now: o.now}
	text := body
	if !isJSON(file, o.adapter) {
		if err == nil {
			text, err = cli.Adapt(file, body, o.adapter)
		}
		if err != nil {
			c.refused(err)
			return c.result(o)
		}
	} else {
		src.blocks = nil
	}
	if c.config, err = readConfig(text); err != nil {
		c.refused(err)
		return c.result(o)
	}
	c.sites = c.config.sites()
	for _, look := range []func(){c.identity, c.secrets, c.access, c.data, c.limits, c.evidence, c.logs, c.server, c.order} {
		look()
	}
	c.load(text, load)
	return c.result(o)
}

// refused keeps an error with which the server does not start.
func (c *checker) refused(err error) {
	rule, _ := byName("start_refused")
	at := c.src.errorAt(err)
	text := err.Error()
	if _, rest, ok := strings.Cut(text, fmt.Sprintf("%s:%d: ", at.file, at.line)); ok {
		text = rest // without the names of the modules round it
	}
	c.keep(findings.Finding{Rule: rule.ID, Name: rule.Name, Severity: rule.Severity, Text: text}, at)
}

// result sorts what was found and leaves out what comments and the baseline
// name.
func (c *checker) result(o options) (findings.Result, error) {
	comments, err := c.src.ignores(c.now)
	if err != nil {
		comments = nil // the file is refused, which is among the findings
	}
	left, removed := findings.Apply(findings.Sort(c.found), comments, c.now)
	c.found = left
	for _, comment := range comments {
		problem, text := comment.Problem(c.now)
		if problem == "" {
			continue
		}
		rule, _ := byName("ignore_" + string(problem))
		c.keep(findings.Finding{Rule: rule.ID, Name: rule.Name, Severity: rule.Severity, Text: text, Write: rule.Write}, location{comment.File, comment.Line})
	}
	for i := range c.found {
		c.found[i].File = relative(c.found[i].File)
	}
	return findings.Result{Findings: findings.Sort(c.found), Ignored: removed}, nil
}

// relative returns the name of a file below the working directory as it is seen
// from there: files that are imported have their whole path.
func relative(file string) string {
	dir, err := os.Getwd()
	if err != nil || !filepath.IsAbs(file) {
		return file
	}
	if short, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(short) {
		return short
	}
	return file
}

// load has Caddy's modules look.
func (c *checker) load(text []byte, load Load) {
	config, err := quiet(text)
	if err != nil {
		c.refused(err)
		return
	}
	all, err := load(config)
	refusing := false
	for _, l := range all {
		refusing = refusing || l.Error
		c.loaded(l)
	}
	if err != nil && !refusing {
		c.refused(err)
	}
}

// loaded keeps what was found when the configuration was loaded.
func (c *checker) loaded(l Loaded) {
	at := spot{places: c.src.ours(l.Place)}
	s := c.concerned(l)
	if s != nil {
		at.hosts = s.where()
	}
	if len(at.places) == 0 {
		at.directives, at.words = hints(l)
	}
	before := len(c.found)
	c.add(l.Name, at, s, l.Text)
	f := &c.found[before]
	switch {
	case l.Error:
		f.Severity = findings.Error
	case f.Severity == findings.Error:
		f.Severity = findings.Warning
	}
	if len(l.About) > 0 {
		var about []string
		for _, name := range slices.Sorted(maps.Keys(l.About)) {
			if name != "server" {
				about = append(about, name+" "+l.About[name])
			}
		}
		if len(about) > 0 {
			f.Text = strings.Join(about, ", ") + ": " + f.Text
		}
	}
	// Directives that are written alike have one finding each.
	if len(at.places) > 1 {
		first := *f
		c.found = c.found[:before]
		for _, place := range at.places {
			if file, line, ok := position(place); ok {
				c.keep(first, location{file, line})
			}
		}
	}
}

// concerned returns the one site of the server that a finding is about, nil if
// there are several.
func (c *checker) concerned(l Loaded) *site {
	server := c.config.Apps.HTTP.Servers[l.About["server"]]
	var found *site
	for _, s := range c.sites {
		if s.server != server {
			continue
		}
		if found != nil {
			return nil
		}
		found = s
	}
	return found
}

// hints returns where to look for what a finding without a place is about: the
// directives, and words on the line.
func hints(l Loaded) (directives, words []string) {
	switch l.Name {
	case "rate_limit_one_key", "rate_limit_unknown_key", "rate_limit_shared_by_anonymous", "rate_limit_unauthenticated", "rate_limit_counts_discovery":
		zone, flood := strings.CutPrefix(l.About["zone"], "flood:")
		if flood {
			return []string{"flood_limit"}, []string{"zone", zone}
		}
		return []string{"rate_limit"}, []string{"zone", zone}
	case "rate_limit_without_zone":
		return []string{"rate_limit"}, nil
	case "header_spoofable":
		return []string{"auth", "jwt_auth", "api_key_auth", "signature_auth", "client_cert_auth", "webhook_auth", "trusted_header_auth"}, []string{"forward", l.About["header"]}
	case "optional_undecided":
		return []string{"auth", "jwt_auth", "api_key_auth", "signature_auth", "client_cert_auth", "webhook_auth", "trusted_header_auth"}, []string{"optional"}
	case "credentials_logged":
		return []string{"from"}, nil
	case "client_cert_connections":
		return []string{"client_cert_auth"}, nil
	case "error_route_bypass":
		return []string{"handle_errors"}, nil
	case "matcher_before_identity":
		return []string{"@"}, []string{l.About["matcher"]}
	case "matcher_unknown_name":
		_, name, _ := strings.Cut(l.About["name"], " ")
		return []string{"@"}, []string{"role", name}
	case "named_route_dropped":
		return []string{"invoke"}, []string{l.About["route"]}
	case "foreign_authenticator":
		return []string{l.About["handler"]}, nil
	case "mcp_without_rules":
		return []string{"mcp"}, nil
	case "rewrite_behind_rbac":
		return []string{"rewrite", "uri", "method"}, nil
	case "redact_over_files":
		return []string{"file_server"}, nil
	case "two_identities":
		return []string{"basic_auth"}, nil
	}
	return nil, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func isJSON(file, adapter string) bool {
	return adapter == "" && strings.HasSuffix(file, ".json")
}

// options are what the command line says.
type options struct {
	adapter string
	now     time.Time
}

// resolved returns what a text stands for: placeholders of the environment and
// of files are replaced where they are known here.
func resolved(text string) string {
	return cmp.Or(caddy.NewReplacer().ReplaceAll(text, ""), text)
}
