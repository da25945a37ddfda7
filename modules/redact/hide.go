package redact

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
)

// maxLogged is how much of a hidden error goes to the log.
const maxLogged = 2 << 10

// revealing reports whether an error body shows the inside of an application:
// a stack trace, an error of a database, the page of a debugger. The body may
// be JSON, in which lines end with \n and quotes are escaped.
func revealing(body []byte) bool {
	for _, mark := range marks {
		if bytes.Contains(body, mark) {
			return true
		}
	}
	return traces.Match(body)
}

// marks are words that these bodies have and others have not.
var marks = split(`
Traceback (most recent call last)
Stack trace:
stack backtrace:
Exception in thread
Caused by: 
java.lang.
javax.servlet.
org.springframework.
org.hibernate.
Whitelabel Error Page
System.NullReferenceException
System.InvalidOperationException
Server Error in '/' Application
Microsoft.AspNetCore.
goroutine 1 [
runtime error: 
panic: 
runtime/panic.go
thread 'main' panicked at
node_modules/
node:internal/
ActionController::
ActiveRecord::
Werkzeug Debugger
You're seeing this error because you have <code>DEBUG = True</code>
DJANGO_SETTINGS_MODULE
Illuminate\\
Symfony\\Component
Illuminate\\\\
Symfony\\\\Component
Whoops, looks like something went wrong
Fatal error: Uncaught
SQLSTATE[
SQLSTATE:
syntax error at or near
SQL syntax
duplicate key value violates unique constraint
psycopg2.
sqlalchemy.
sqlite3.OperationalError
SQLITE_ERROR
SQLITE_CONSTRAINT
SequelizeDatabaseError
PrismaClient
MongoServerError
MongoError
E11000 duplicate key
com.mysql.
org.postgresql.
Microsoft OLE DB
ODBC Driver
Unclosed quotation mark
pq: 
Error 1062 (23000)
`)

// traces are lines whose form gives them away: frames of a stack, not a field
// that happens to be called stack, nor one file with a line number, which is
// what a compiler or linter prints.
var traces = regexp.MustCompile(`(?i:\bORA-\d{5}\b)|` + // Oracle
	traceLine + `at [\w$.<>\[\]/ ]+ ?\([^)]*:\d+(?::\d+)?\)|` + // Java, JavaScript
	traceLine + `at (?:async )?(?:file://)?[\w./@-]+\.\w+:\d+:\d+|` + // JavaScript, without a function
	traceLine + `at [\w.<>` + "`" + `\[\],]+\([^)]*\) in [^\r\n]+:line \d+|` + // .NET
	traceLine + `at [\w<>` + "`" + `]+(?:\.[\w<>` + "`" + `]+)+\([\w\s,.&\[\]` + "`" + `]*\)(?:\\[rn]|[\r\n"]|$)|` + // .NET, without files
	`(?:\\n|[\r\n])(?:\\t|\t| +)/?[\w./@-]+\.go:\d+|` + // Go: a tab and the file, below the function
	`/[\w./-]+\.r[bs]:\d+(?::\d+)?:in |` + // Ruby
	`#\d+ /[\w./-]+\.php\(\d+\)|` + // PHP
	`File \\?"[^"\r\n]+", line \d+|` + // Python
	`\bin /[\w./-]+\.php(?::| on line )\d+|` + // PHP
	`"(?i:stack_?trace|stack|frames|backtrace)"\s*:\s*\[\s*\{[^}]*"(?:methodName|lineNumber|lineno|line)"`) // frames as objects

// traceLine begins a line, in text, in a string of JSON or as one of a list of
// strings.
const traceLine = `(?:\\n|[\r\n"])(?:\\t|\s)*`

func split(text string) [][]byte {
	var list [][]byte
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		list = append(list, []byte(line))
	}
	return list
}

// errorMasker masks what of a hidden error goes to the log: JSON as the
// strictest caller would see it, and in any text what can be recognised as a
// secret, by its name or by its looks.
type errorMasker struct {
	strict *view
	text   *redaction.Program
	body   *conceal.Body
}

// mask returns the beginning of body, masked. Where the rules cannot be
// applied, because the body is not JSON or is too long, what they name cannot
// be found: then no more than the first line is logged, and even that only if
// the body is text.
func (m *errorMasker) mask(body []byte) string {
	text, kind := body, "application/json"
	if looksLikeJSON(body) {
		if m.strict != nil {
			var ok bool
			if text, ok = apply(m.strict.program, body); !ok {
				return "(malformed or too long to be masked)"
			}
		}
	} else {
		kind = "text/plain"
		text = bytes.TrimLeft(text, " \t\r\n")
		if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
			text = text[:i]
		}
		if !isText(text) {
			return "(not text)"
		}
	}
	whole := len(text) <= 8*maxLogged
	text, elided := m.body.Clean(text[:min(len(text), 8*maxLogged)], kind, "", !whole)
	if len(text) == 0 && elided {
		return "(not shown: it names a credential)"
	}
	quoted, err := json.Marshal(strings.ToValidUTF8(string(text), "\ufffd"))
	if err != nil {
		return "(not text)"
	}
	masked, ok := apply(m.text, quoted)
	var s string
	if !ok || json.Unmarshal(masked, &s) != nil {
		return "(not to be masked)"
	}
	if len(s) > maxLogged {
		s = strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}

// apply runs a program over a whole body.
func apply(p *redaction.Program, body []byte) ([]byte, bool) {
	var out bytes.Buffer
	rw := p.Get(&out)
	defer p.Put(rw)
	if _, err := rw.Write(body); err != nil {
		return nil, false
	}
	return out.Bytes(), rw.Close() == nil
}

// newErrorMasker prepares what masks the errors in the log.
func newErrorMasker(v *views) (*errorMasker, error) {
	found, err := redaction.Detect(mask.Kinds(), redaction.Replace("[masked]"))
	if err != nil {
		return nil, err
	}
	text, err := redaction.Compile([]redaction.Rule{{Name: "detect", Selector: "$", Action: found}}, redaction.Options{})
	if err != nil {
		return nil, err
	}
	return &errorMasker{strict: v.strict, text: text, body: conceal.NewBody(conceal.NewText(nil, nil), nil)}, nil
}
