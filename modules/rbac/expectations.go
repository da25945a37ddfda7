package rbac

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// expectations is a table of what a policy is expected to decide:
//
//	config: Caddyfile                # relative to this file; or --config
//	rbac: 1                          # which one, where there are several
//	tests:
//	  - name: clerks read orders
//	    roles: [clerk]
//	    request: GET /orders/1
//	    expect: allow
//	    rule: "role clerk: allow GET /orders/*"   # optional
//	  - request: GET /orders/1
//	    expect: 401
//
// Beside roles a test may have user, issuer, kind, scopes, claims, app, headers,
// body, client_ip and now, and tool, resource or prompt with arguments. Without any of user, roles, scopes and claims the request is
// anonymous. What is expected is allow, deny, or a rejection's status.
type expectations struct {
	Config string        `yaml:"config" json:"config"`
	RBAC   int           `yaml:"rbac" json:"rbac"`
	Tests  []expectation `yaml:"tests" json:"tests"`
}

type expectation struct {
	Name   string `yaml:"name" json:"name"`
	probe  `yaml:",inline"`
	Expect outcome `yaml:"expect" json:"expect"`
	Rule   string  `yaml:"rule" json:"rule"`
}

// outcome is allow, deny, 400, 401, 403 or, of a call, -32602.
type outcome string

// UnmarshalJSON takes a status as a number too.
func (o *outcome) UnmarshalJSON(text []byte) error {
	*o = outcome(strings.Trim(string(text), `"`))
	return nil
}

// outcomeDenied is deniedCall as it is expected.
const outcomeDenied outcome = "-32602"

func (o outcome) valid() bool {
	switch o {
	case "allow", "deny", "400", "401", "403", outcomeDenied:
		return true
	}
	return false
}

// met reports whether v is as expected.
func (o outcome) met(v verdict) bool {
	switch o {
	case "allow":
		return v.allow
	case "deny":
		return !v.allow
	}
	return !v.allow && string(o) == fmt.Sprint(v.status)
}

// readExpectations reads a table. Unknown and repeated members are errors.
func readExpectations(file string) (*expectations, error) {
	content, err := filewatch.Read(file, policy.MaxFile)
	if err != nil {
		return nil, err
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")) // a byte order mark
	e := new(expectations)
	if filepath.Ext(file) == ".json" {
		d := json.NewDecoder(bytes.NewReader(content))
		d.DisallowUnknownFields()
		d.UseNumber()
		err = d.Decode(e)
	} else {
		d := yaml.NewDecoder(bytes.NewReader(content))
		d.KnownFields(true)
		err = d.Decode(e)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(e.Tests) == 0 {
		return nil, fmt.Errorf("%s: it has no tests", file)
	}
	for i, t := range e.Tests {
		if !t.Expect.valid() {
			return nil, fmt.Errorf("%s: test %d: expect '%s' is not allow, deny, 400, 401, 403 or -32602", file, i+1, t.Expect)
		}
		if kind, _ := t.kind(); kind == "" && t.Expect == outcomeDenied {
			return nil, fmt.Errorf("%s: test %d: %s is the JSON-RPC error of a call: name a tool, resource or prompt", file, i+1, t.Expect)
		}
	}
	return e, nil
}

func testCommand() *cobra.Command {
	var config string
	var number int
	cmd := &cobra.Command{
		Use:   "test [--config FILE] EXPECTATIONS",
		Short: "Runs a table of expectations against a policy",
		Long: `Runs a table of expectations, in YAML or JSON, against the rbac policy of a
configuration:

  config: Caddyfile                # relative to this file; or --config
  rbac: 1                          # which one, where there are several
  tests:
    - name: clerks read orders
      roles: [clerk]
      request: GET /orders/1
      expect: allow
      rule: "role clerk: allow GET /orders/*"   # optional
    - request: GET /orders/1
      expect: 401

Beside roles a test may have user, issuer, kind, scopes, claims, app, headers,
body, client_ip and now. app is the application that sends the request beside
its user: an id, or id, issuer, kind, roles, scopes, plan and claims.
Without any of user, roles, scopes and claims the request is anonymous. What is
expected is allow, deny, or the status of the response: 400, 401 or 403.

A test of a call to an MCP server has tool, resource or prompt, and arguments;
its request may be a path alone, for POST. A call that is denied, in a request
that is allowed, is -32602, the JSON-RPC error in its response:

    - scopes: [orders:write]
      request: /mcp
      tool: refund
      arguments: {amount: 500}
      expect: -32602

The exit code is 0 if all expectations are met, 1 if one is not, and 2 if they
could not be tried.`,
		Args: cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			e, err := readExpectations(args[0])
			if err != nil {
				return err
			}
			if config == "" && e.Config != "" {
				config = e.Config
				if !filepath.IsAbs(config) {
					config = filepath.Join(filepath.Dir(args[0]), config)
				}
			}
			if config == "" {
				return errors.New("name the configuration, with --config or as config in the file")
			}
			if number == 0 {
				number = e.RBAC
			}
			l, err := choose(config, number)
			if err != nil {
				return err
			}
			return tryAll(cmd.OutOrStdout(), config, l, e)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "", "the configuration: a Caddyfile, or JSON if its name ends in .json")
	f.IntVar(&number, "rbac", 0, "which rbac directive, where the configuration has several, from 1")
	return cmd
}

// tryAll tries every expectation and prints those that are not met.
func tryAll(w io.Writer, config string, l *loaded, e *expectations) error {
	failed := 0
	for i := range e.Tests {
		t := &e.Tests[i]
		t.front = l.front
		v, err := t.decide(l.policy)
		if err != nil {
			return fmt.Errorf("test %d: %w", i+1, err)
		}
		if t.Expect.met(v) && (t.Rule == "" || t.Rule == v.rule) {
			continue
		}
		failed++
		got := "allow"
		if !v.allow {
			got = fmt.Sprint(v.status)
		}
		name := t.Name
		if name == "" {
			name = t.Request
		}
		request := t.target()
		if kind, _ := t.kind(); kind != "" {
			request += " for " + t.calling.String()
		}
		fmt.Fprintf(w, "FAILED test %d, %s\n  %s, for %s\n  got  %s by %s\n  want %s", i+1, name, request, t.caller(), got, place(v.d.Rule, v.rule), t.Expect)
		if t.Rule != "" {
			fmt.Fprintf(w, " by %s", t.Rule)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d of %d expectations met by %s (%d rules, %s)\n", len(e.Tests)-failed, len(e.Tests), config, len(l.policy.Rules()), l.digest)
	if failed > 0 {
		return errNo
	}
	return nil
}
