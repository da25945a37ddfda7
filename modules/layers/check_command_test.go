package layers_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/caddy-moat/caddy-moat/modules/internal/findings"
)

// TestEveryRuleIsDocumented compares docs/check.md with the rules.
func TestEveryRuleIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), "\r\n", "\n")
	seen := map[string]bool{}
	for _, rule := range allRules(t) {
		if seen[rule.ID] || seen[rule.Name] {
			t.Errorf("%s %s is there twice", rule.ID, rule.Name)
		}
		seen[rule.ID], seen[rule.Name] = true, true
		row := fmt.Sprintf("\n| %s | `%s` | %s | %s |", rule.ID, rule.Name, rule.Severity, rule.Summary)
		if !strings.Contains(text, row) {
			t.Errorf("docs/check.md has no row %s", row)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (MOAT-[0-9]+) \|`).FindAllStringSubmatch(text, -1) {
		if !seen[m[1]] {
			t.Errorf("docs/check.md has a row for %s, which is no rule", m[1])
		}
	}
	if !strings.Contains(text, "MOAT-") {
		t.Error("docs/check.md has no rules")
	}
}

const weak = `api.example.com {
	jwt_auth {
		issuer https://id.example.com {
			key HS256 {env.MOAT_TEST_SECRET}
			max_age 1h
		}
	}
	rbac {
		role clerk {
			allow GET /orders/*
		}
	}
	reverse_proxy app:8080
}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCheckExitsByWhatItFinds(t *testing.T) {
	t.Setenv("MOAT_TEST_SECRET", "r4Qz9VbN2kLx7TfWc5YhJm8PsDg3RaEu6XoKtCvB1nHiZyMw")
	dir := t.TempDir()
	bad := write(t, filepath.Join(dir, "bad"), weak)
	clean := write(t, filepath.Join(dir, "clean"), "api.example.com {\n\treverse_proxy app:8080\n}\n")
	noted := write(t, filepath.Join(dir, "noted"), "api.example.com {\n\taudit /var/log/moat/x.audit\n\treverse_proxy app:8080\n}\n")
	garbled := write(t, filepath.Join(dir, "garbled"), "api.example.com {\n\trbac {\n")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{bad, 2, ":3: warning MOAT-112 audience_missing (api.example.com)"},
		{bad + " --fail-on note", 2, "MOAT-112"},
		{bad + " --fail-on error", 0, "MOAT-112"},
		{clean, 0, "0 errors, 0 warnings, 0 notes"},
		{noted, 0, "MOAT-172"},
		{noted + " --fail-on note", 2, "MOAT-172"},
		{garbled, 2, "error MOAT-100"},
		{filepath.Join(dir, "none"), 1, "no such file"},
		{bad + " --fail-on all", 1, "--fail-on must be"},
		{bad + " --format xml", 1, "--format must be"},
		{bad + " --adapter none", 2, "no adapter"},
	} {
		out, err := run(t, append([]string{"--config"}, strings.Fields(c.args)...)...)
		if got := exitCode(err); got != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d, want %d; %s", c.args, got, c.code, out)
		}
	}
}

// exitCode is what Caddy's main function makes of a command's error.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if m := regexp.MustCompile(`ExitCode:(\d+)`).FindStringSubmatch(fmt.Sprintf("%+v %#v", e, e)); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
	}
	return 1
}

func at(r findings.Result, rule string) []string {
	var all []string
	for _, f := range r.Findings {
		if f.Rule == rule {
			all = append(all, fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line))
		}
	}
	return all
}

func TestCheckFindsLinesThroughImportsAndSnippets(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "auth.caddy"), "# who is calling\njwt_auth {\n\tissuer https://id.example.com {\n\t\tkey HS256 {env.MOAT_TEST_SECRET}\n\t}\n}\n")
	text := `(rules) {
	rbac {
		dry_run
		role {args[0]} {
			allow GET /*
		}
	}
}
a.example.com {
	import ` + dir + `/auth.caddy
	import rules clerk
	reverse_proxy app:8080
}
b.example.com {
	handle /x/* {
		import rules clerk
		import ` + dir + `/auth.caddy
		reverse_proxy app:8080
	}
	redact {
		remove x
		unreadable pass
	}
}
c.example.com {
	redact {
		remove x
		unreadable pass
	}
}
`
	r := inspect(t, "Caddyfile", text)
	for rule, want := range map[string][]string{
		"MOAT-112": {"auth.caddy:3"},
		"MOAT-145": {"Caddyfile:3"},
		"MOAT-151": {"Caddyfile:22", "Caddyfile:28"},
	} {
		if got := at(r, rule); !slices.Equal(got, want) {
			t.Errorf("%s at %v, want %v", rule, got, want)
		}
	}
}

func TestCommentsIgnoreWhatTheyName(t *testing.T) {
	redact := "\tredact {\n\t\tremove x\n\t\tunreadable pass\n\t}\n"
	site := func(body string) string { return "api.example.com {\n" + body + "\treverse_proxy app:8080\n}\n" }
	day := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	past := time.Now().Format(time.DateOnly)
	for name, c := range map[string]struct {
		text  string
		rules string // what is left, besides notes
	}{
		"above the directive":         {site("\t# moat:ignore MOAT-151 pages\n" + redact), ""},
		"above other comments":        {site("\t# moat:ignore MOAT-151 pages\n\t# more\n\n" + redact), ""},
		"on the line":                 {site(strings.Replace(redact, "pass", "pass # moat:ignore MOAT-151 pages", 1)), ""},
		"behind the directive's name": {site(strings.Replace(redact, "redact {", "redact { # moat:ignore MOAT-151 pages", 1)), ""},
		"above the site":              {"# moat:ignore MOAT-151 pages\n" + site(redact), ""},
		"until tomorrow":              {site("\t# moat:ignore MOAT-151 pages until=" + day + "\n" + redact), ""},
		"several rules":               {site("\t# moat:ignore MOAT-151, MOAT-150 pages\n" + redact), ""},
		"until today":                 {site("\t# moat:ignore MOAT-151 pages until=" + past + "\n" + redact), "MOAT-151 MOAT-191"},
		"without a reason":            {site("\t# moat:ignore MOAT-151\n" + redact), "MOAT-151 MOAT-190"},
		"a date alone is no reason":   {site("\t# moat:ignore MOAT-151 until=2999-01-01\n" + redact), "MOAT-151 MOAT-190"},
		"without a rule":              {site("\t# moat:ignore pages\n" + redact), "MOAT-151 MOAT-190"},
		"an unknown rule":             {site("\t# moat:ignore MOAT-999 pages\n" + redact), "MOAT-151 MOAT-190"},
		"a date that is none":         {site("\t# moat:ignore MOAT-151 pages until=soon\n" + redact), "MOAT-151 MOAT-190"},
		"another rule":                {site("\t# moat:ignore MOAT-150 pages\n" + redact), "MOAT-151 MOAT-192"},
		"another directive":           {site(redact + "\t# moat:ignore MOAT-151 pages\n\theader X y\n"), "MOAT-151 MOAT-192"},
		"at the end of the block":     {site(strings.Replace(redact, "pass\n", "pass\n\t\t# moat:ignore MOAT-151 pages\n", 1)), "MOAT-151 MOAT-192"},
		"in a text":                   {site("\theader X \"a # moat:ignore MOAT-151 pages\"\n" + redact), "MOAT-151"},
		"in a heredoc":                {site("\theader X <<END\n\t# moat:ignore MOAT-151 pages\n\tEND\n" + redact), "MOAT-151"},
		"what start refuses":          {site("\t# moat:ignore MOAT-140 later\n\trbac {\n\t\trole a {\n\t\t\tallow GET /\n\t\t}\n\t}\n"), "MOAT-140 MOAT-192"},
	} {
		var got []string
		for _, f := range inspect(t, "Caddyfile", c.text).Findings {
			if f.Severity != findings.Note {
				got = append(got, f.Rule)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.rules {
			t.Errorf("%s: got %v, want %q", name, got, c.rules)
		}
	}
}

func TestCheckShowsNoSecret(t *testing.T) {
	const secret = "a-string-secret-at-least-256-bits-long"
	t.Setenv("MOAT_TEST_PUBLISHED", secret)
	text := strings.Replace(weak, "MOAT_TEST_SECRET", "MOAT_TEST_PUBLISHED", 1)
	for _, format := range []string{"table", "json"} {
		file := write(t, filepath.Join(t.TempDir(), "Caddyfile"), text)
		out, _ := run(t, "--config", file, "--format", format)
		if strings.Contains(out, secret) || !strings.Contains(out, "MOAT-122") {
			t.Errorf("%s: %s", format, out)
		}
	}
}

func TestThousandLinesTakeLessThanASecond(t *testing.T) {
	var text strings.Builder
	text.WriteString("{\n\tadmin off\n}\n")
	for i := 0; strings.Count(text.String(), "\n") < 1000; i++ {
		text.WriteString(strings.Replace(weak, "api.", fmt.Sprintf("api%d.", i), 1))
	}
	begin := time.Now()
	r := inspect(t, "Caddyfile", text.String())
	took := time.Since(begin)
	t.Logf("%d lines, %d findings, %s", strings.Count(text.String(), "\n"), len(r.Findings), took)
	if len(at(r, "MOAT-112")) < 70 {
		t.Errorf("%d findings", len(at(r, "MOAT-112")))
	}
	if took > 10*time.Second { // the goal is one; a busy machine has its own mind
		t.Errorf("took %s", took)
	}
}

// TestSARIFFollowsItsSchema validates what the command writes by the schema of
// OASIS, and compares where it says that things are.
func TestSARIFFollowsItsSchema(t *testing.T) {
	t.Setenv("MOAT_TEST_SECRET", "r4Qz9VbN2kLx7TfWc5YhJm8PsDg3RaEu6XoKtCvB1nHiZyMw")
	schema, err := jsonschema.NewCompiler().Compile("testdata/sarif/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, filepath.Join(dir, "a b", "Caddyfile"), weak)
	write(t, filepath.Join(dir, "clean"), "api.example.com {\n\treverse_proxy app:8080\n}\n")
	for _, file := range []string{"a b/Caddyfile", filepath.Join(dir, "a b", "Caddyfile"), "clean"} {
		out, _ := run(t, "--config", file, "--format", "sarif")
		log, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
		if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if err := schema.Validate(log); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if file != "clean" && (!strings.Contains(out, `"uri": "a%20b/Caddyfile"`) || !strings.Contains(out, `"startLine": 3`)) {
			t.Errorf("%s: no location in %s", file, out)
		}
	}
	if log, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"version":"2.1.0","runs":[{"results":[]}]}`)); err != nil || schema.Validate(log) == nil {
		t.Error("the schema accepts a log without a tool")
	}
}

func TestBaselineLeavesOutWhatIsKnown(t *testing.T) {
	t.Setenv("MOAT_TEST_SECRET", "r4Qz9VbN2kLx7TfWc5YhJm8PsDg3RaEu6XoKtCvB1nHiZyMw")
	dir := t.TempDir()
	known := filepath.Join(dir, "baseline.json")
	file := write(t, filepath.Join(dir, "Caddyfile"), weak)
	if out, err := run(t, "--config", file, "--baseline", known); exitCode(err) != 1 || !strings.Contains(out, "--write-baseline") {
		t.Errorf("a baseline that is not there: %v %s", err, out)
	}
	if out, err := run(t, "--config", file, "--write-baseline"); exitCode(err) != 1 || !strings.Contains(out, "needs --baseline") {
		t.Errorf("no file to write: %v %s", err, out)
	}
	if out, err := run(t, "--config", file, "--baseline", known, "--write-baseline"); err != nil {
		t.Fatal(err, out)
	}
	check := func(what, text string, code int, wants ...string) {
		t.Helper()
		write(t, file, text)
		out, err := run(t, "--config", file, "--baseline", known, "--fail-on", "note")
		if exitCode(err) != code {
			t.Errorf("%s: %v, want %d\n%s", what, err, code, out)
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", what, want, out)
			}
		}
	}
	check("nothing new", weak, 0, "in the baseline")
	check("lines above", "# moved\n\n\n"+weak, 0)
	check("a new finding", strings.Replace(weak, "rbac {", "rbac {\n\t\tdry_run", 1), 2, "MOAT-145")
	check("the same line twice in the site", strings.Replace(weak, "\trbac", "\tredact {\n\t\tremove x\n\t\tunreadable pass\n\t}\n\trbac", 1), 2, "MOAT-151")
	check("what start refuses", "api.example.com {\n\trbac {\n", 2, "MOAT-100")
	check("what is gone", "api.example.com {\n\treverse_proxy app:8080\n}\n", 0, "not found any more")
	for _, text := range []string{"", "{}", `{"version":2}`, "[]"} {
		write(t, known, text)
		check("baseline "+text, weak, 1)
	}
}
