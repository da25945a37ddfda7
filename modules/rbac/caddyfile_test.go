package rbac

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfileMistakesSayWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"rbac":                        "rbac: the policy is empty",
		"rbac {\n}":                   "rbac: the policy is empty",
		"rbac x {\n}":                 "rbac: unexpected 'x'; rules are written in a block",
		"rbac {\n roles a\n}":         "unrecognized subdirective 'roles' in rbac; did you mean 'role'? It has role, scope",
		"rbac {\n allow GET /\n}":     "rbac: allow must stand inside a role, scope, anyone or authenticated block",
		"rbac {\n role\n}":            "role takes a name",
		"rbac {\n role a\n}":          "rbac: role a: it has no rules",
		"rbac {\n role a {\n}\n}":     "rbac: role a: it has no rules",
		"rbac {\n role a b {\n}\n}":   "rbac: role a: unexpected 'b'; write: role a inherits <role>... { … }",
		"rbac {\n role a inherits\n}": "rbac: role a: inherits needs the name of a role",
		"rbac {\n role a {\n allow GET /\n}\n role b inherits c\n}":          "rbac: role b: it inherits 'c', which is not a role of this policy, at Testfile:5",
		"rbac {\n role a inherits b\n role b inherits a\n}":                  "rbac: role a: it inherits itself: a inherits b inherits a, at Testfile:2",
		"rbac {\n role a {\n allow GET /\n}\n role a {\n allow GET /\n}\n}":  "rbac: role a already specified; write all its rules in one block, at Testfile:5",
		"rbac {\n role a {\n allow GET orders\n}\n}":                         "rbac: role a: allow: path 'orders' must begin with '/', at Testfile:3",
		"rbac {\n role a {\n allow\n}\n}":                                    "rbac: role a: allow: the rule needs a method and a path",
		"rbac {\n role a {\n allow GET\n}\n}":                                "rbac: role a: allow: the rule needs a method and a path",
		"rbac {\n role a {\n deny get /a\n}\n}":                              "rbac: role a: deny: method 'get': methods are case-sensitive; write 'GET'",
		"rbac {\n role a {\n permit GET /a\n}\n}":                            "rbac: role a: unrecognized subdirective 'permit'; a rule is written as: allow GET /path",
		"rbac {\n role a {\n allow GET /a\n allow GET /a\n}\n}":              "rbac: role a: allow: GET /a is repeated, at Testfile:4",
		"rbac {\n role a {\n allow GET /a when\n}\n}":                        "rbac: role a: allow: 'when' needs a condition",
		"rbac {\n role a {\n allow GET /{t} when `tm == 1`\n}\n}":            "rbac: role a: allow: when tm == 1: at character 1: undeclared reference to 'tm'",
		"rbac {\n anyone x {\n}\n}":                                          "anyone takes no arguments",
		"rbac {\n anyone {\n}\n}":                                            "rbac: anyone: it has no rules",
		"rbac {\n anyone\n}":                                                 "rbac: anyone: it has no rules",
		"rbac {\n anyone {\n allow GET /\n}\n anyone {\n allow GET /a\n}\n}": "rbac: anyone already specified",
		"rbac {\n policy\n}":                                                 "policy takes one argument",
		"rbac {\n policy a b\n}":                                             "policy takes one argument",
		"rbac {\n policy \"\"\n}":                                            "policy takes one argument",
		"rbac {\n policy a\n policy b\n}":                                    "policy already specified",
		"rbac {\n dry_run yes\n}":                                            "dry_run takes no arguments",
		"rbac {\n dry_run\n dry_run\n}":                                      "dry_run already specified",
		"rbac {\n ignore_case on\n}":                                         "ignore_case takes no arguments",
		"rbac {\n user bob clerk\n}":                                         "user takes <id> roles <role>...",
		"rbac {\n user bob roles a\n user bob roles b\n}":                    "rbac: user bob already specified",
		"rbac {\n anyone {\n allow GET /\n}\n user bob roles a\n}":           "rbac: user bob: 'a' is not a role of this policy, at Testfile:5",
	} {
		h := new(Handler)
		err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
			continue
		}
		if !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%s\ngot %v, without a line", text, err)
		}
	}
}

func TestConditionsInTheCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"allow GET /a when `user == \"x\"`":      `user == "x"`,
		"allow GET /a when user == \"x\"":        `user == "x"`,
		"allow GET /a when \"user == 'x'\"":      `user == 'x'`,
		"allow GET /a when claims.admin":         `claims.admin`,
		"allow GET /{t} when t in claims.teams":  `t in claims.teams`,
		"allow GET /a when `user ==\n\t\t\"x\"`": "user ==\n\t\t\"x\"",
	} {
		h := new(Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("rbac {\n anyone {\n" + text + "\n}\n}")); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if rule := h.Anyone.Allow[0]; !strings.HasSuffix(rule, " when "+want) {
			t.Errorf("%s: got %q; want %q", text, rule, want)
		}
	}
}

func TestPolicyFileAndCaddyfileInherit(t *testing.T) {
	// What the file has is not known when the Caddyfile is read.
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("rbac {\n policy p.yaml\n role a inherits b\n user bob roles c\n dry_run\n ignore_case\n}")); err != nil {
		t.Error(err)
	}
	if h.PolicyFile != "p.yaml" || !h.DryRun || !h.IgnoreCase || len(h.Roles) != 1 || len(h.Users) != 1 {
		t.Errorf("got %+v", h)
	}
}
