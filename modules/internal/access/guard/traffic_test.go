package guard

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// arrival is a request and when it comes.
type arrival struct {
	at time.Duration
	q  Request
}

// traffic makes requests as different callers send them, the same ones for the same seed.
type traffic struct {
	r   *rand.Rand
	all []arrival
}

func newTraffic(seed uint64) *traffic { return &traffic{r: rand.New(rand.NewPCG(seed, 17))} } //nolint:gosec // to be repeated

func (t *traffic) add(at time.Duration, q Request) { t.all = append(t.all, arrival{at, q}) }

// within returns a time in the first d.
func (t *traffic) within(d time.Duration) time.Duration { return time.Duration(t.r.Int64N(int64(d))) }

func person(name string) *principal.Principal {
	return &principal.Principal{ID: name, Issuer: "https://id.example", Kind: principal.KindJWT, TokenID: "t-" + name}
}

func customer(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0xc6120000+uint32(i)) //nolint:gosec // 198.18.0.0/15
	return netip.AddrFrom4(a)
}

// visit is what a person does in ten minutes: lists, a few orders, some of them again, a
// page that is not there, now and then a mistyped password.
func (t *traffic) visit(i int, from netip.Addr) {
	p := person(fmt.Sprintf("user-%d", i))
	begin := t.within(7 * time.Minute)
	step := func() time.Duration { begin += time.Second + t.within(15*time.Second); return begin }
	if t.r.IntN(20) == 0 {
		for range 1 + t.r.IntN(3) {
			t.add(step(), Request{Address: from, Status: 401, Path: "/session", Signals: OfCode("invalid_credentials") | Rejected, Credential: t.r.Uint64() | 1})
		}
	}
	known := make([]int, 1+t.r.IntN(8))
	for j := range known {
		known[j] = t.r.IntN(100000)
	}
	for range 5 + t.r.IntN(15) {
		q := Request{Address: from, Principal: p, Method: "GET", Status: 200, Bytes: 2000, Path: "/orders"}
		switch t.r.IntN(8) {
		case 0:
			q.Path = "/orders?page=" // the query is no part of a path
		case 1:
			q.Status, q.Path = 404, "/favicon.ico"
		case 2:
			q.Status, q.Signals, q.Path = 403, OfCode("forbidden")|Rejected, "/admin"
		default:
			q.Path = fmt.Sprintf("/orders/%d", known[t.r.IntN(len(known))])
		}
		t.add(step(), q)
	}
}

// honest is ten minutes of mixed traffic with nothing wrong in it.
func (t *traffic) honest() {
	for i := range 400 {
		from := customer(i)
		if i < 60 {
			from = customer(9999) // all of a company, behind one address
		}
		t.visit(i, from)
	}
	for i := range 10 { // applications that go on with a token that has expired
		for j := range 120 {
			t.add(time.Duration(j)*5*time.Second, Request{Address: customer(1000 + i), Status: 401, Path: fmt.Sprintf("/orders/%d", j%3), Signals: OfCode("invalid_token") | Rejected, Credential: uint64(i)<<8 | 1})
		}
	}
	for i := range 10 { // clients of the Model Context Protocol: two requests a connection
		for j := range 20 {
			for range 2 {
				t.add(time.Duration(j)*30*time.Second, Request{Address: customer(1100 + i), Status: 401, Method: "POST", Path: "/mcp", Signals: OfCode("missing_credentials") | Rejected})
			}
		}
	}
	for j := range 300 { // a page that polls without being logged in
		t.add(time.Duration(j)*2*time.Second, Request{Address: customer(1200), Status: 401, Path: "/session", Signals: OfCode("missing_credentials") | Rejected})
	}
	for j := range 500 { // an export, page by page, and one order by order of a role that may
		t.add(time.Duration(j)*time.Second, Request{Address: customer(1300), Principal: person("reports"), Status: 200, Bytes: 500_000, Path: "/orders"})
		robot := person("robot")
		robot.Roles = []string{"exporter"}
		t.add(time.Duration(j)*time.Second, Request{Address: customer(1301), Principal: robot, Status: 200, Bytes: 5000, Path: fmt.Sprintf("/orders/%d", j)})
	}
}

// recommended are rules as the manual shows them.
func recommended(t testing.TB) []*Counter {
	named := func(name string) func(*Rule) { return func(r *Rule) { r.Name = name } }
	except := func(r *Rule) { r.ExceptRoles = []string{"exporter"} }
	return []*Counter{
		counter(t, "failed_credentials by address", 10, time.Minute, named("guessing")),
		counter(t, "401 by address", 20, time.Minute, named("unauthorized")),
		counter(t, "failed_credentials by site", 100, 10*time.Minute, named("spraying")),
		counter(t, "distinct path 404 by address", 30, 5*time.Minute, named("scanning")),
		counter(t, "distinct {id} by caller", 15, 10*time.Minute, named("walking"), paths(t, "/orders/{id}"), except),
		counter(t, "distinct {id} by caller", 300, 24*time.Hour, named("scraping"), paths(t, "/orders/{id}"), except),
		counter(t, "403 by caller", 30, time.Minute, named("probing")),
		counter(t, "bytes by caller", 1<<30, time.Hour, named("copying")),
	}
}

// play counts the requests in their order, and returns how often each rule raised an alarm,
// and with which of the requests that mark selects first.
func (t *traffic) play(rules []*Counter, mark func(*Request) bool) (alarms map[string]int, first map[string]int, texts []string) {
	slices.SortStableFunc(t.all, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	alarms, first = map[string]int{}, map[string]int{}
	n := 0
	for i := range t.all {
		a := &t.all[i]
		a.q.Proven = true
		if mark(&a.q) {
			n++
		}
		for _, c := range rules {
			for _, ended := range []bool{false, true} {
				alarm, ok := c.Observe(at(a.at), &a.q, ended)
				if !ok {
					continue
				}
				if alarms[alarm.Rule]++; alarms[alarm.Rule] == 1 {
					first[alarm.Rule] = n
				}
				texts = append(texts, alarm.Rule+" of "+alarm.Subject.String()+": "+alarm.Text)
			}
		}
	}
	return alarms, first, texts
}

func TestTenMinutesOfHonestTrafficRaiseNoAlarm(t *testing.T) {
	for seed := range uint64(5) {
		tr := newTraffic(seed)
		tr.honest()
		if _, _, texts := tr.play(recommended(t), func(*Request) bool { return false }); len(texts) > 0 {
			t.Errorf("seed %d, %d requests: %v", seed, len(tr.all), texts)
		}
	}
}

// TestAbuseAmongHonestTrafficIsFound has each kind of abuse among ten minutes of honest
// traffic, and wants the rule for it to find it, and no other.
func TestAbuseAmongHonestTrafficIsFound(t *testing.T) {
	mallory := person("mallory")
	for name, test := range map[string]struct {
		rule   string
		within int // of its requests
		play   func(*traffic)
		mark   func(*Request) bool
	}{
		"a walk of 200 IDs": {"walking", 20, func(tr *traffic) {
			for i := range 200 {
				tr.add(time.Minute+time.Duration(i)*2*time.Second, Request{Address: customer(i), Principal: mallory, Status: 200, Path: fmt.Sprintf("/orders/%d", 5000+i)})
			}
		}, func(q *Request) bool { return q.Principal == mallory }},
		"scraping at human speed": {"scraping", 301, func(tr *traffic) {
			for i := range 1000 {
				tr.add(time.Duration(i)*55*time.Second+tr.within(20*time.Second), Request{Address: customer(77), Principal: mallory, Status: 200, Path: fmt.Sprintf("/orders/%d", tr.r.IntN(1<<30))})
			}
		}, func(q *Request) bool { return q.Principal == mallory }},
		"passwords over 200 addresses": {"spraying", 101, func(tr *traffic) {
			for i := range 200 {
				for range 3 {
					tr.add(tr.within(8*time.Minute), Request{Address: numbered(i * 300), Status: 401, Path: "/session", Signals: OfCode("invalid_credentials") | Rejected, Credential: tr.r.Uint64() | 1})
				}
			}
		}, func(q *Request) bool { return q.Signals&OfCode("invalid_credentials") != 0 }},
		"a scan": {"scanning", 31, func(tr *traffic) {
			for i := range 100 {
				tr.add(time.Minute+time.Duration(i)*time.Second, Request{Address: customer(5555), Status: 404, Path: fmt.Sprintf("/scan/%d", i)})
			}
		}, func(q *Request) bool { return q.Address == customer(5555) }},
	} {
		tr := newTraffic(7)
		tr.honest()
		test.play(tr)
		alarms, first, texts := tr.play(recommended(t), test.mark)
		if alarms[test.rule] == 0 || len(alarms) != 1 || first[test.rule] > test.within {
			t.Errorf("%s: alarms %v, first with %d of its requests, want %s within %d: %v", name, alarms, first[test.rule], test.rule, test.within, texts)
		}
	}
}
