package guard

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// numbered is the i-th of many addresses.
func numbered(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0x0b000000+uint32(i)) //nolint:gosec // small
	return netip.AddrFrom4(a)
}

// TestAMillionAddressesInBoundedMemory holds what NewCounter promises: 65536 keys have
// about 20 MB, however many come by.
func TestAMillionAddressesInBoundedMemory(t *testing.T) {
	for _, count := range []string{"404 by address", "failed_credentials by address", "distinct path 404 by address"} {
		c := counter(t, count, 20, time.Hour)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		q := &Request{Status: 404, Signals: OfCode("invalid_token"), Path: "/x", ID: id{}}
		for i := range 1_000_000 {
			q.Address, q.Credential = numbered(i), uint64(i)|1<<40
			if a, ok := c.Observe(at(time.Duration(i)*time.Microsecond), q, false); ok {
				t.Fatal(a.Text)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := int64(after.HeapAlloc) - int64(before.HeapAlloc) //nolint:gosec // below 2^63
		n, _ := c.t.size()
		if n > 1<<16 {
			t.Errorf("%s: %d keys", count, n)
		}
		if used > 25<<20 {
			t.Errorf("%s: %d MB", count, used>>20)
		}
		t.Logf("%s: %d keys, %d kB", count, n, used>>10)
		c.Sweep(at(3 * time.Hour))
		if n, e := c.t.size(); n != 0 || e != 0 {
			t.Errorf("%s: %d keys and %d values are left when all is over", count, n, e)
		}
	}
}

type id struct{}

func (id) RecordID() [16]byte { return [16]byte{1} }

// TestAFloodOfKeysDoesNotDisplaceACount: whoever is about to be too many cannot hide
// behind a flood from other addresses.
func TestAFloodOfKeysDoesNotDisplaceACount(t *testing.T) {
	for _, count := range []string{"404 by address", "failed_credentials by address"} {
		c := counter(t, count, 20, time.Hour)
		attacker := &Request{Address: addr("203.0.113.66"), Status: 404, Signals: OfCode("invalid_token")}
		flood := &Request{Status: 404, Signals: OfCode("invalid_token")}
		caught := false
		for i := range 21 {
			attacker.Credential = uint64(1000 + i)
			_, ok := c.Observe(at(0), attacker, false)
			caught = caught || ok
			if i < 8 {
				continue // the flood begins when a few are counted
			}
			for j := range 40_000 {
				flood.Address, flood.Credential = numbered(i*40_000+j), uint64(i*40_000+j)|1<<40
				_, _ = c.Observe(at(0), flood, false)
			}
		}
		if !caught {
			t.Errorf("%s: the attacker was forgotten", count)
		}
		if _, forgotten := c.Size(); forgotten == 0 {
			t.Errorf("%s: the flood was too small to test anything", count)
		}
	}
}

// TestNobodyIsTakenForAnother: a table that is full does not add up counts of different
// callers, so that nobody is accused of what others have done.
func TestNobodyIsTakenForAnother(t *testing.T) {
	c := counter(t, "404 by address", 3, time.Hour)
	c.t = newTable(64, c.t.window, false)
	q := &Request{Status: 404}
	for round := range 3 {
		for i := range 50_000 {
			q.Address = numbered(i)
			if a, ok := c.Observe(at(time.Duration(round)), q, false); ok {
				t.Fatalf("%s: %s", a.Subject, a.Text)
			}
		}
	}
}

func TestLearnedLimit(t *testing.T) {
	c := counter(t, "distinct {id} by caller", 100, 10*time.Minute, paths(t, "/orders/{id}"), func(r *Rule) { r.Learn = true })
	ids := [...]string{"/orders/1", "/orders/2", "/orders/3", "/orders/4", "/orders/5", "/orders/6"}
	now := time.Duration(0)
	for range 3 { // windows
		for i := range 100 { // callers
			for j := range 1 + i%6 {
				q := &Request{Status: 200, Path: ids[j], Principal: &principal.Principal{ID: numbered(i).String(), Kind: "jwt"}}
				if a, ok := c.Observe(at(now), q, false); ok {
					t.Fatal(a.Text)
				}
			}
		}
		now += 11 * time.Minute
		c.Sweep(at(now))
	}
	if n, ok := c.base.normal(1); n != 6 || !ok {
		t.Fatalf("normal is %d, %t", n, ok)
	}
	found := 0
	for i := range 200 {
		q := &Request{Status: 200, Path: "/orders/" + numbered(i).String(), Principal: &principal.Principal{ID: "mallory", Kind: "jwt"}}
		a, ok := c.Observe(at(now), q, false)
		if !ok {
			continue
		}
		found++
		if want := "21 distinct {id} of /orders/{id} in 10m, more than 20: the 99th percentile is 6"; i != 20 || a.Text != want {
			t.Errorf("%d: %s, want %s", i, a.Text, want)
		}
	}
	if found != 1 {
		t.Errorf("%d alarms", found)
	}
	// Nobody learns from the window of an alarm.
	c.Sweep(at(now + 30*time.Minute))
	if n, _ := c.base.normal(1); n != 6 {
		t.Errorf("normal is %d after the alarm", n)
	}
}

func TestHistogram(t *testing.T) {
	for n := uint32(1); n <= MaxDistinct; n++ {
		b := bucketOf(n)
		if b >= len(histogram{}.buckets) || upperOf(b) < n || b > 0 && upperOf(b-1) >= n || float64(upperOf(b)) > float64(n)*1.07 {
			t.Fatalf("%d is in bucket %d, to %d", n, b, upperOf(b))
		}
	}
	var h histogram
	for range 10 * maxSamples {
		h.add(5)
	}
	if h.total >= maxSamples || h.p99 != 5 {
		t.Errorf("%d samples, %d", h.total, h.p99)
	}
	for range h.total / 50 {
		h.add(900)
	}
	if h.p99 < 900 || h.p99 > 960 {
		t.Errorf("the 99th percentile is %d", h.p99)
	}
}

// tenRules are counters as a site may have them.
func tenRules(t testing.TB) []*Counter {
	var all []*Counter
	for _, count := range []string{
		"failed_credentials by address", "401 by network", "403 by caller", "distinct path 404 by address", "ambiguous_path by address",
		"invalid_body by caller", "rate_limited by key", "distinct {id} by caller", "requests by address", "distinct token by address",
	} {
		over := int64(200)
		if count == "requests by address" {
			over = 1 << 30
		}
		all = append(all, counter(t, count, over, time.Hour))
	}
	return all
}

// usual is a request as most are.
func usual() *Request {
	return &Request{
		Address: addr("192.0.2.1"), Proven: true, Status: 200, Path: "/orders/17", Route: "/orders/{id}", RoutePath: "/orders/17", Method: "GET",
		Principal: &principal.Principal{ID: "alice", Issuer: "https://id.example", Kind: principal.KindJWT, TokenID: "t1"},
	}
}

func TestUsualRequestsAllocateNothing(t *testing.T) {
	rules, q := tenRules(t), usual()
	run := func() {
		for _, c := range rules {
			if a, ok := c.Observe(at(time.Second), q, false); ok {
				t.Fatal(a.Text)
			}
		}
	}
	run()
	if n := testing.AllocsPerRun(1000, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	b := NewBook(10)
	b.Set(at(0), Ban{Subject: Host(addr("203.0.113.1")), For: time.Hour})
	if n := testing.AllocsPerRun(1000, func() { _, _ = b.Address(at(1), q.Address, false) }); n != 0 {
		t.Errorf("%v allocations of a look-up", n)
	}
}

// go test ./modules/internal/access/guard -run - -bench . -benchmem
func BenchmarkTenRules(b *testing.B) {
	rules, q := tenRules(b), usual()
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range rules {
			_, _ = c.Observe(at(time.Second), q, false)
		}
	}
}

func BenchmarkBanLookup(b *testing.B) {
	book := NewBook(100_000)
	for i := range 100_000 {
		book.Set(at(0), Ban{Subject: Host(numbered(i)), For: time.Hour})
	}
	a := addr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = book.Address(at(1), a, false)
	}
}
