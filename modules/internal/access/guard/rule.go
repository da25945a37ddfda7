package guard

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// What a rule may count distinct values of, besides variables of paths.
const (
	distinctPath   = "path"
	distinctCaller = "caller"
	distinctToken  = "token"
)

// Limits of what can be counted.
const (
	MaxDistinct = 1000
	maxCount    = 1 << 31
	MinWindow   = time.Second
	MaxWindow   = 7 * 24 * time.Hour
)

// Where a rule says nothing else.
const (
	learnFloor  = 20 // of what is normal nobody is accused
	learnWindow = 10 * time.Minute
	learnFactor = 3
)

// Rule is what is counted, by what, and how many are too many.
type Rule struct {
	Name     string
	Distinct string // "", path, caller, token, or a variable such as {id}
	Bytes    bool
	By       By
	Paths    []*Template
	Over     int64 // more than this are too many; 0 with Learn alone
	In       time.Duration
	Learn    bool

	// Who is not counted.
	ExceptRoles, ExceptUsers []string

	// Whoever is too many begins anew, since something was done about it.
	Reset bool

	all      bool // requests
	success  bool
	signals  Signals
	statuses []int // 4 stands for all of 4xx
	text     string
}

// ParseCount reads what follows count in a rule: what, by, whom.
func ParseCount(args []string) (Rule, error) {
	at := slices.Index(args, "by")
	if at < 1 || at+1 >= len(args) {
		return Rule{}, errors.New("count takes what to count and by what: count failed_credentials by address, count distinct {id} by caller")
	}
	var r Rule
	var err error
	if r.By, err = ParseBy(args[at+1:]); err != nil {
		return r, err
	}
	what := args[:at]
	r.text = strings.Join(args, " ")
	if what[0] == "distinct" {
		if len(what) < 2 || what[1] != distinctPath && what[1] != distinctCaller && what[1] != distinctToken && !isVariable(what[1]) {
			return r, errors.New("count distinct takes path, caller, token or a variable of the path in braces, such as {id}")
		}
		if r.Distinct, what = what[1], what[2:]; len(what) == 0 {
			what = []string{"success"}
		}
	}
	for _, word := range what {
		if err := r.add(word); err != nil {
			return r, err
		}
	}
	if r.Bytes && (r.Distinct != "" || len(what) > 1) {
		return r, errors.New("count bytes counts nothing else: write the other signals in a rule of their own")
	}
	return r, nil
}

func (r *Rule) add(word string) error {
	switch word {
	case "requests":
		r.all = true
		return nil
	case "success":
		r.success = true
		return nil
	case "bytes":
		r.Bytes = true
		return nil
	}
	if s, ok := words[word]; ok {
		r.signals |= s
		return nil
	}
	if s := OfCode(word); s != 0 {
		r.signals |= s
		return nil
	}
	if len(word) == 3 && word[0] >= '2' && word[0] <= '5' {
		if word[1:] == "xx" {
			r.statuses = append(r.statuses, int(word[0]-'0'))
			return nil
		}
		if n, err := strconv.Atoi(word); err == nil {
			r.statuses = append(r.statuses, n)
			return nil
		}
	}
	return fmt.Errorf("'%s' is no signal: count takes a status such as 401 or 4xx, %s, or an error code of the layers", word, strings.Join(Words(), ", "))
}

// Check returns what is wrong with a rule, and sets what it leaves open.
func (r *Rule) Check() error {
	if r.Learn && r.By.Kind == 0 {
		return errors.New("learn compares callers with one another: count by address, network, caller or key")
	}
	if r.Learn && r.Bytes {
		return errors.New("learn is for counts, not for bytes: write over")
	}
	if r.In == 0 && r.Learn {
		r.In = learnWindow
	}
	switch {
	case r.Over == 0 && !r.Learn:
		return errors.New("how many are too many is missing: write over <number> in <duration>, or learn")
	case r.In < MinWindow || r.In > MaxWindow:
		return errors.New("over takes a duration between 1s and 7d: over 20 in 1m")
	case r.Over < 0 || r.Over > maxCount && !r.Bytes || r.Over > math.MaxInt64>>1:
		return errors.New("over takes a number above 0: over 20 in 1m")
	case r.usesSet() && r.Over > MaxDistinct:
		return fmt.Errorf("distinct values and failed credentials are counted to %d: write a smaller number, or count requests", MaxDistinct)
	}
	if isVariable(r.Distinct) {
		for _, p := range r.Paths {
			if !p.Has(r.Distinct) {
				return fmt.Errorf("path %s has no variable %s", p, r.Distinct)
			}
		}
	}
	return nil
}

// Identity is the same for two rules that count alike, so that a reload goes on with
// what was counted.
func (r *Rule) Identity() string {
	parts := []string{r.Name, r.text, strconv.FormatInt(r.Over, 10), r.In.String(), strconv.FormatBool(r.Learn)}
	for _, p := range r.Paths {
		parts = append(parts, p.text)
	}
	parts = append(parts, r.ExceptRoles...)
	parts = append(append(parts, ""), r.ExceptUsers...)
	return strings.Join(parts, "\n")
}

// What returns what is counted, by what, as it is written.
func (r *Rule) What() string { return r.text }

// usesSet reports whether values are told apart.
func (r *Rule) usesSet() bool {
	return r.Distinct != "" || r.signals&(Credentials|missing) != 0 || slices.Contains(r.statuses, 401) || slices.Contains(r.statuses, 4) || r.Learn
}

// meant reports whether the rule counts the request.
func (r *Rule) meant(q *Request) bool {
	if r.all || r.signals&q.Signals != 0 || r.success && (q.Status/100 == 2 || q.Status == 304) {
		return true
	}
	for _, s := range r.statuses {
		if s == q.Status || s == q.Status/100 {
			return true
		}
	}
	return false
}

// excepts reports whether a caller is not to be counted.
func (r *Rule) excepts(p *principal.Principal) bool {
	if p == nil {
		return false
	}
	return slices.Contains(r.ExceptUsers, p.ID) || slices.ContainsFunc(r.ExceptRoles, p.HasRole)
}

// value finds what a request is counted as. route is the pattern that it belongs to,
// which rules for variables count apart. It returns false for a request that does not
// count.
func (r *Rule) value(t *table, q *Request) (value uint32, route string, ok bool) {
	if isVariable(r.Distinct) {
		v, route, ok := r.variable(q)
		return t.hashText(v), route, ok
	}
	if len(r.Paths) > 0 && !slices.ContainsFunc(r.Paths, func(p *Template) bool { _, ok := p.Match(q.Path, ""); return ok }) {
		return 0, "", false
	}
	switch r.Distinct {
	case distinctPath:
		return t.hashText(q.Path), "", true
	case distinctCaller:
		return t.hashCaller(q.Principal), "", q.Principal != nil
	case distinctToken:
		if q.Principal == nil || q.Principal.TokenID == "" && !ownKey(q.Principal) {
			return 0, "", false
		}
		return t.hashText(q.Principal.Kind, q.Principal.Issuer, q.Principal.KeyID, q.Principal.TokenID), "", true
	}
	switch {
	case q.Credential != 0:
		return fold(q.Credential), "", true
	case q.Signals&missing != 0:
		// Nobody guesses without a credential. Many paths without one are a scan.
		return t.hashText(q.Path), "", true
	}
	return t.unique(), "", true
}

// variable returns the value of the rule's variable, and the pattern.
func (r *Rule) variable(q *Request) (value, route string, ok bool) {
	for _, p := range r.Paths {
		if v, ok := p.Match(q.Path, r.Distinct); ok {
			return v, p.text, true
		}
	}
	if len(r.Paths) > 0 || q.Route == "" {
		return "", "", false
	}
	t := templates.of(q.Route)
	if t == nil || !t.Has(r.Distinct) {
		return "", "", false
	}
	v, ok := t.Match(q.RoutePath, r.Distinct)
	return v, t.text, ok
}

// explain says what was counted: "37 {id} of /orders/{id} in 10m0s".
func (r *Rule) explain(n int64, route string) string {
	what, _, _ := strings.Cut(r.text, " by ")
	what = strings.TrimPrefix(what, "distinct ")
	if r.Bytes {
		what = "bytes"
	}
	count := strconv.FormatInt(n, 10)
	if r.Distinct != "" {
		count += " distinct"
	}
	if route != "" {
		what += " of " + route
	}
	return count + " " + what + " in " + short(r.In)
}

// short prints a duration without zero parts: 10m, not 10m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
