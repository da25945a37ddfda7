package rbac

import (
	"cmp"
	"html/template"
	"io"
	"maps"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// matrixPage is one page with nothing outside it: no script, no image, no
// font. The browser is told so too.
var matrixPage = template.Must(template.New("matrix").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Who may do what</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em; color: #1b1b1b; background: #fff }
table { border-collapse: collapse; margin: 1em 0 2em }
th, td { border: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top }
thead th { position: sticky; top: 0; background: #eef2f5 }
tbody th { font: 13px/1.5 ui-monospace, monospace; background: #f7f9fa }
td { background: #e6f4e6 }
td.never { background: #fff; color: #999 }
td.may { background: #fdf3d8 }
code { font: 13px/1.5 ui-monospace, monospace }
@media (prefers-color-scheme: dark) {
body { color: #ddd; background: #181a1b }
th, td { border-color: #444 }
thead th, tbody th { background: #24282a }
td { background: #1e3a22 }
td.never { background: #181a1b; color: #777 }
td.may { background: #453a17 }
}
</style>
</head>
<body>
<h1>Who may do what</h1>
<p>Policy <code>{{.Digest}}</code>, {{len .Rules}} rules. A row stands for the requests that match its path and no more
specific path of another row; a column has what its role inherits and what everybody may do. <code>*</code> is every
method, <code>(other)</code> those that no rule names, and <code>?</code> stands behind what a condition decides about.
HEAD is not listed where GET is.{{if .Calls}} Rows that begin with tool, resource or prompt stand for calls of an MCP
server, by those who may send the request.{{end}}</p>
<table>
<thead><tr>{{range .Head}}<th scope="col">{{.}}</th>{{end}}</tr></thead>
<tbody>
{{range .Rows}}<tr><th scope="row">{{.Path}}</th>{{range .Cells}}<td class="{{.Class}}">{{.Text}}</td>{{end}}</tr>
{{end}}</tbody>
</table>
<h2>Rules</h2>
<table>
<thead><tr><th scope="col">rule</th><th scope="col">written in</th></tr></thead>
<tbody>
{{range .Rules}}<tr><td><code>{{.Text}}</code></td><td>{{.Place}}</td></tr>
{{end}}</tbody>
</table>
{{if .Users}}<h2>Users</h2>
<p>Whom the policy itself gives roles, beside those of the credential.</p>
<table>
<thead><tr><th scope="col">user</th><th scope="col">from</th><th scope="col">roles</th></tr></thead>
<tbody>
{{range .Users}}<tr><td><code>{{.ID}}</code></td><td>{{.From}}</td><td>{{.Roles}}</td></tr>
{{end}}</tbody>
</table>
{{end}}</body>
</html>
`))

type htmlCell struct{ Class, Text string }

type htmlRow struct {
	Path  string
	Cells []htmlCell
}

type htmlRule struct{ Text, Place string }

type htmlUser struct{ ID, From, Roles string }

// matrixHTML writes the table as a page.
func matrixHTML(w io.Writer, l *loaded) error {
	m, err := l.matrix()
	if err != nil {
		return err
	}
	rows := matrixRows(m)
	page := struct {
		Digest string
		Head   []string
		Rows   []htmlRow
		Rules  []htmlRule
		Users  []htmlUser
		Calls  bool
	}{Digest: l.digest, Head: rows[0], Calls: l.policy.Calls()}
	for _, row := range rows[1:] {
		r := htmlRow{Path: row[0]}
		for _, text := range row[1:] {
			r.Cells = append(r.Cells, cellHTML(text))
		}
		page.Rows = append(page.Rows, r)
	}
	for _, r := range l.policy.Rules() {
		page.Rules = append(page.Rules, htmlRule{oneLine(r.String()), r.Place})
	}
	for _, id := range slices.Sorted(maps.Keys(l.doc.Users)) {
		for _, g := range l.doc.Users[id] {
			page.Users = append(page.Users, htmlUser{id, cmp.Or(g.From, "anywhere"), principal.QuoteAll(g.Roles)})
		}
	}
	return matrixPage.Execute(w, page)
}

func cellHTML(text string) htmlCell {
	switch {
	case text == "":
		return htmlCell{"never", "–"}
	case text[len(text)-1] == '?':
		return htmlCell{"may", text}
	}
	return htmlCell{"always", text}
}
