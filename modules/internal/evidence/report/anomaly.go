package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

// Anomaly is something that a person should look at. It is not proof of
// anything.
type Anomaly struct {
	Kind   string
	Who    string
	Detail string
	At     time.Time // when it was first seen

	weight int64
}

// Thresholds, within one window for one caller.
const (
	window       = 10 * time.Minute
	windowText   = "10 min"
	walkSteps    = 20 // ids one after another on one route
	manyIDs      = 200
	manyRefusals = 30
	manyNotFound = 50
	maxCallers   = 20_000
	maxIDs       = 400 // remembered per caller and route
	maxRoutes    = 20  // per caller
	maxFound     = 100
	maxOfKind    = 15

	// A share of rejections is worth a look from so many requests on.
	minShared      = 10
	callerShare    = 50 // percent
	minSharedAll   = 20
	overallShare   = 20 // percent
	maxShareCaller = 20_000
)

// walks watches callers for signs of trying out: one identifier after
// another, many rejected requests, many paths that do not exist.
type walks struct {
	callers map[string]*caller
	order   []string // callers in the order of their windows' beginning
	alarms  map[string]*Anomaly

	shares map[string]*share // of callers
	all    share
}

// share counts requests and rejections.
type share struct {
	total, refused int64
	first          time.Time // rejection
}

func (s *share) add(r *record.Record) {
	s.total++
	if _, refused := r.Refused(); refused {
		if s.refused == 0 {
			s.first = r.Time
		}
		s.refused++
	}
}

// stands tells whether the share of rejections is large.
func (s *share) stands(least, percent int64) bool {
	return s.total >= least && s.refused*100 >= s.total*percent
}

// share counts a request for the share of rejections.
func (w *walks) share(who string, r *record.Record) {
	w.all.add(r)
	s := w.shares[who]
	if s == nil {
		if len(w.shares) >= maxShareCaller {
			return
		}
		s = new(share)
		w.shares[strings.Clone(who)] = s
	}
	s.add(r)
}

// refusedChange notes a policy or another file that could not be used.
func (w *walks) refusedChange(r *record.Record) {
	key := r.What + "\x00" + r.Source
	a, ok := w.alarms[key]
	if !ok {
		if len(w.alarms) >= 10*maxFound {
			return
		}
		a = &Anomaly{Kind: r.What, Who: cmp.Or(r.Source, r.Layer), At: r.Time}
		w.alarms[key] = a
	}
	a.weight++
	a.Detail = fmt.Sprintf("%d times, the last because: %s", a.weight, r.Detail)
}

// sharesFound returns where the share of rejections is large: of callers of whom
// nothing worse is known, and of all together unless one of them makes it.
func (w *walks) sharesFound() (out []Anomaly) {
	found := func(who string, s *share) {
		out = append(out, Anomaly{
			Kind: "share of rejected requests", Who: who, At: s.first, weight: s.refused,
			Detail: fmt.Sprintf("%d of %d requests rejected (%s)", s.refused, s.total, percent(s.refused, s.total)),
		})
	}
	var most int64
	for who, s := range w.shares {
		known := w.alarms["many rejected requests\x00"+who] != nil
		if stands := s.stands(minShared, callerShare); stands && !known {
			found(who, s)
		} else if !known {
			continue
		}
		most = max(most, s.refused)
	}
	if w.all.stands(minSharedAll, overallShare) && most*10 < w.all.refused*8 {
		found("all callers", &w.all)
	}
	return out
}

type caller struct {
	start    time.Time
	routes   map[string]*ids
	refused  int
	notFound int
	addr     map[string]bool
}

// ids are the identifiers of one route that a caller asked for.
type ids struct {
	seen map[string]bool
	last int64
	run  int // numbers in ascending or descending order with small steps
}

func newWalks() *walks {
	return &walks{callers: make(map[string]*caller), alarms: make(map[string]*Anomaly), shares: make(map[string]*share)}
}

func (w *walks) add(who string, r *record.Record) {
	c, ok := w.callers[who]
	if !ok || r.Time.Sub(c.start) > window {
		if !ok {
			if len(w.callers) >= maxCallers {
				// The one whose window began longest ago makes room.
				delete(w.callers, w.order[0])
				w.order = w.order[1:]
			}
			who = strings.Clone(who)
			w.order = append(w.order, who)
		}
		c = &caller{start: r.Time, routes: make(map[string]*ids), addr: make(map[string]bool)}
		w.callers[who] = c
	}
	if d, ok := r.Refused(); ok {
		if c.refused++; c.refused >= manyRefusals {
			w.alarm("many rejected requests", who, r, int64(c.refused), fmt.Sprintf("%d requests rejected within %s, the last by %s", c.refused, windowText, d.Layer))
		}
	}
	if r.Status == 404 {
		if c.notFound++; c.notFound >= manyNotFound {
			w.alarm("looking for paths", who, r, int64(c.notFound), fmt.Sprintf("%d responses with 404 within %s", c.notFound, windowText))
		}
	}
	if r.User.ID != "" && r.Client != "" && len(c.addr) < 64 {
		c.addr[r.Client] = true
		if len(c.addr) >= 8 {
			w.alarm("many addresses", who, r, int64(len(c.addr)), fmt.Sprintf("one user from %d addresses within %s", len(c.addr), windowText))
		}
	}
	w.walk(c, who, r)
}

// walk looks at the identifiers in the path.
func (w *walks) walk(c *caller, who string, r *record.Record) {
	route := Route(r.Path)
	if !strings.Contains(route, "{id}") {
		return
	}
	id := lastID(r.Path)
	key := r.Method + " " + route
	s := c.routes[key]
	if s == nil {
		if len(c.routes) >= maxRoutes {
			return
		}
		s = &ids{seen: make(map[string]bool)}
		c.routes[key] = s
	}
	if len(s.seen) < maxIDs && !s.seen[id] {
		s.seen[strings.Clone(id)] = true
		if len(s.seen) >= manyIDs {
			w.alarm("many ids", who, r, int64(len(s.seen)), fmt.Sprintf("%d different ids of %s within %s", len(s.seen), key, windowText))
		}
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return
	}
	step := n - s.last
	if s.run > 0 && step != 0 && step >= -3 && step <= 3 {
		s.run++
	} else if step != 0 {
		s.run = 1
	}
	s.last = n
	if s.run >= walkSteps {
		w.alarm("walking ids", who, r, int64(s.run), fmt.Sprintf("%d ids of %s one after another, up to %s", s.run, key, id))
	}
}

// lastID returns the last segment that looks like an identifier.
func lastID(path string) string {
	segments := strings.Split(path, "/")
	for _, s := range slices.Backward(segments) {
		if isID(s) {
			return s
		}
	}
	return ""
}

// alarm notes an anomaly, or that one goes on.
func (w *walks) alarm(kind, who string, r *record.Record, weight int64, detail string) {
	key := kind + "\x00" + who
	a, ok := w.alarms[key]
	if !ok {
		if len(w.alarms) >= 10*maxFound {
			return
		}
		a = &Anomaly{Kind: kind, Who: strings.Clone(who), At: r.Time}
		w.alarms[key] = a
	}
	if weight >= a.weight {
		a.weight, a.Detail = weight, detail
	}
}

// found returns the anomalies, the heaviest first.
func (w *walks) found() []Anomaly {
	out := make([]Anomaly, 0, len(w.alarms))
	for _, a := range w.alarms {
		out = append(out, *a)
	}
	out = append(out, w.sharesFound()...)
	slices.SortFunc(out, func(a, b Anomaly) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), a.At.Compare(b.At), cmp.Compare(a.Who, b.Who))
	})
	// One kind must not crowd out the others.
	kinds := make(map[string]int)
	out = slices.DeleteFunc(out, func(a Anomaly) bool {
		kinds[a.Kind]++
		return kinds[a.Kind] > maxOfKind
	})
	return out[:min(len(out), maxFound)]
}
