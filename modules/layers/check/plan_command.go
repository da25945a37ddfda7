package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// PlanCommand is `caddy moat plan`.
func PlanCommand() *cobra.Command {
	var adapter, format string
	cmd := &cobra.Command{
		Use:   "plan [--adapter <name>] [--format text|markdown|json] <old> <new>",
		Short: "Says what a new configuration changes: who gains, who loses, and what gets looser",
		Long: `
Compares two configuration files, site by site: who may do what that was
forbidden before, and the other way round, each with one request that shows it;
which credentials are accepted, which fields become visible, which limits are
higher, and which records are kept for less long.

The comparison of rbac is complete: it looks at every kind of path and method
that the rules of either tell apart, and at all that callers may have. No change
means that both decide alike about every request, whatever conditions say. A
condition is taken for something of which nothing is known, so that a change may
be shown that no request meets.

What it cannot judge, such as a layer that is configured in another way, is
unclear, and counts as one that loosens. Where requests go, files and headers are
not compared.

Exit codes: 0 nothing gets looser, 1 the files cannot be compared, 2 something
gets looser or is unclear.
`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			write, ok := planFormats[format]
			if !ok {
				return fmt.Errorf("--format must be text, markdown or json, not %q", format)
			}
			var sides [2]map[string]*site
			for i, file := range args {
				body, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				if sides[i], err = loadSites(file, adapter, body); err != nil {
					return err
				}
			}
			changes, err := compare(sides[0], sides[1])
			if err != nil {
				return err
			}
			if err := write(cmd.OutOrStdout(), changes); err != nil {
				return err
			}
			if slices.ContainsFunc(changes, func(c planned) bool { return c.Effect != tightens }) {
				return exit(cmd, 2)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&adapter, "adapter", "a", "", "config adapter of the files, if they are no Caddyfiles")
	cmd.Flags().StringVar(&format, "format", "text", "text, markdown or json")
	return cmd
}

// planFormats are the forms of the output.
var planFormats = map[string]func(io.Writer, []planned) error{
	"text": func(w io.Writer, all []planned) error {
		return writePlan(w, all, "%s:\n", "  %-8s %s\n", "           %s\n")
	},
	"markdown": func(w io.Writer, all []planned) error {
		return writePlan(w, all, "### %s\n\n", "- **%s** %s\n", "  - `%s`\n")
	},
	"json": func(w io.Writer, all []planned) error {
		if all == nil {
			all = []planned{}
		}
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Loosens bool      `json:"loosens"`
			Changes []planned `json:"changes"`
		}{slices.ContainsFunc(all, func(c planned) bool { return c.Effect != tightens }), all})
	},
}

// writePlan writes what changes for people, with the forms of a site, a change
// and a request.
func writePlan(w io.Writer, all []planned, site, change, show string) error {
	var out strings.Builder
	if len(all) == 0 {
		out.WriteString("No change: both decide alike about every request, and accept, hide, limit and record the same.\n")
	}
	last := ""
	for _, c := range fold(all) {
		if c.Site != last || out.Len() == 0 {
			if out.Len() > 0 {
				out.WriteString("\n")
			}
			fmt.Fprintf(&out, site, c.Site)
			last = c.Site
		}
		fmt.Fprintf(&out, change, c.Effect, c.Area+": "+strings.TrimSpace(c.Who+" "+c.Text))
		if c.Show != nil {
			fmt.Fprintf(&out, show, c.Show)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// fold leaves out, of rights that change for somebody, those for kinds of paths
// that lie below one that is shown, and for the same path those for further
// methods, and says how many they are.
func fold(all []planned) []planned {
	type group struct {
		shown   planned
		methods []string
		below   int
	}
	var groups []*group
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b planned) int { return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.depth(), b.depth())) })
	for _, c := range order {
		i := slices.IndexFunc(groups, func(g *group) bool { return g.shown.covers(c, g.methods) })
		if i < 0 {
			g := &group{shown: c}
			if c.Show != nil {
				g.methods = []string{c.Show.Method}
			}
			groups = append(groups, g)
			continue
		}
		g := groups[i]
		switch {
		case c.Show.Like != g.shown.Show.Like:
			g.below++
		case c.Show.Method == strings.ToUpper(c.Show.Method):
			g.methods = append(g.methods, c.Show.Method)
		}
	}
	folded := make([]planned, 0, len(groups))
	for _, g := range groups {
		c := g.shown
		if c.Show != nil {
			verb, _, _ := strings.Cut(c.Text, " ")
			c.Text = verb + " " + strings.Join(g.methods, ",") + " " + c.Show.Like
			if g.below > 0 {
				c.Text += fmt.Sprintf(", and %d kinds of requests below", g.below)
			}
			if c.Opened {
				c.Text += " (opened: nobody was allowed to)"
			} else if c.Closed {
				c.Text += " (closed: nobody is allowed to)"
			}
		}
		folded = append(folded, c)
	}
	return folded
}

// depth sorts rights before all else, short paths first.
func (c planned) depth() int {
	if c.Show == nil {
		return 1000
	}
	n := 2 * strings.Count(c.Show.Like, "/")
	if strings.HasSuffix(c.Show.Like, "*") {
		n--
	}
	return n
}

// covers reports whether another change is one for the same callers at the same
// path, or below it by one of the methods.
func (c planned) covers(o planned, methods []string) bool {
	if c.Show == nil || o.Show == nil || c.Effect != o.Effect || c.Site != o.Site || c.Who != o.Who || c.Opened != o.Opened || c.Closed != o.Closed ||
		!slices.Equal(c.Show.Holds, o.Show.Holds) || !slices.Equal(c.Show.Fails, o.Show.Fails) {
		return false
	}
	if c.Show.Like == o.Show.Like {
		return true
	}
	if !slices.ContainsFunc(methods, func(m string) bool { return strings.EqualFold(m, o.Show.Method) }) {
		return false
	}
	if strings.TrimSuffix(o.Show.Like, "/") == c.Show.Like {
		return true // with a slash more
	}
	pattern, path := strings.Split(c.Show.Like, "/"), strings.Split(o.Show.Like, "/")
	if pattern[len(pattern)-1] != "*" || len(path) < len(pattern) {
		return false
	}
	for i, s := range pattern {
		if s != "*" && s != path[i] {
			return false
		}
	}
	return true
}

// String shows a request as the flags of caddy moat explain ask for it, with
// its conditions behind.
func (r *request) String() string {
	var words []string
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, quote(value))
		}
	}
	user := r.User
	if r.Known && user == "" && len(r.Roles)+len(r.Scopes) == 0 {
		user = "somebody"
	}
	add("--user", user)
	add("--issuer", r.Issuer)
	add("--kind", r.Kind)
	for _, role := range r.Roles {
		add("--role", role)
	}
	for _, scope := range r.Scopes {
		add("--scope", scope)
	}
	words = append(words, r.Method, quote(r.Path))
	if len(r.Holds) > 0 {
		words = append(words, "where", strings.Join(r.Holds, " and "), "holds")
	}
	if len(r.Fails) > 0 {
		words = append(words, "where", strings.Join(r.Fails, " and "), "does not hold")
	}
	return strings.Join(words, " ")
}

// quote quotes a word that a shell would read as several.
func quote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(c rune) bool {
		return !strings.ContainsRune("-_./:%@+,=", c) && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
