package guard

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var ladder = []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}

func TestBansEscalateAndAreForgotten(t *testing.T) {
	b := NewBook(10)
	s := Host(addr("192.0.2.1"))
	now := time.Duration(0)
	for i, want := range []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour, 24 * time.Hour} {
		ban, fresh := b.Impose(at(now), Ban{Subject: s, Rule: "r"}, ladder)
		if !fresh || ban.For != want || ban.Level != i+1 || ban.Left(at(now)) != want {
			t.Fatalf("ban %d: %v %d %t", i, ban.For, ban.Level, fresh)
		}
		// Requests that cross the line together do not escalate it.
		if again, fresh := b.Impose(at(now+time.Second), Ban{Subject: s, Rule: "r"}, ladder); fresh || again.For != want {
			t.Fatalf("again: %v %t", again.For, fresh)
		}
		if _, ok := b.Address(at(now+want-1), addr("192.0.2.1"), false); !ok {
			t.Fatal("ended early")
		}
		now += want
		if _, ok := b.Address(at(now), addr("192.0.2.1"), false); ok {
			t.Fatal("did not end")
		}
	}
	now += 24 * time.Hour
	b.Sweep(at(now))
	if ban, _ := b.Impose(at(now), Ban{Subject: s, Rule: "r"}, ladder); ban.Level != 1 {
		t.Errorf("level %d after a day", ban.Level)
	}
	if _, ok := b.Lift(at(now), s); !ok || b.Any() {
		t.Error("the ban is still there")
	}
	if ban, _ := b.Impose(at(now), Ban{Subject: s, Rule: "r"}, ladder); ban.Level != 1 {
		t.Errorf("level %d after it was lifted", ban.Level)
	}
}

func TestBansOfNetworksAndOfPagesOfOtherSites(t *testing.T) {
	b := NewBook(10)
	for _, text := range []string{"192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "203.0.113.1 from other sites"} {
		s, err := ParseSubject(text)
		if err != nil {
			t.Fatal(err)
		}
		b.Set(at(0), Ban{Subject: s, For: time.Hour})
	}
	for _, test := range []struct {
		addr    string
		foreign bool
		want    bool
	}{
		{"192.0.2.200", false, true},
		{"192.0.3.1", false, false},
		{"198.51.100.7", true, true},
		{"198.51.100.8", false, false},
		{"2001:db8:ffff::1", false, true},
		{"2001:db9::1", false, false},
		{"203.0.113.1", false, false},
		{"203.0.113.1", true, true},
	} {
		if _, ok := b.Address(at(1), addr(test.addr), test.foreign); ok != test.want {
			t.Errorf("%s (%t): %t", test.addr, test.foreign, ok)
		}
	}
	if _, ok := b.Address(at(1), netip.Addr{}, false); ok {
		t.Error("no address is banned")
	}
	if got := len(b.List(at(1))); got != 4 {
		t.Errorf("%d bans", got)
	}
}

func TestStepsOfTheClock(t *testing.T) {
	b := NewBook(10)
	s := Host(addr("192.0.2.1"))
	b.Impose(at(0), Ban{Subject: s, Rule: "r", Evidence: []string{"x"}}, ladder)
	// The time of day jumps while the process runs: nothing comes of it.
	if _, ok := b.Address(Moment{Since: time.Minute, Wall: began.Add(1000 * time.Hour)}, addr("192.0.2.1"), false); !ok {
		t.Error("a step forward has ended the ban")
	}
	if _, ok := b.Address(Moment{Since: 11 * time.Minute, Wall: began.Add(-time.Hour)}, addr("192.0.2.1"), false); ok {
		t.Error("a step back has prolonged the ban")
	}
	body, err := b.Changes()
	if err != nil || body == nil {
		t.Fatal(err)
	}
	if again, _ := b.Changes(); again != nil {
		t.Error("stored twice")
	}
	for name, test := range map[string]struct {
		wall time.Duration // after the ban
		left time.Duration
	}{
		"after four minutes":     {4 * time.Minute, 6 * time.Minute},
		"the clock was set back": {-100 * time.Hour, 10 * time.Minute},
		"over":                   {11 * time.Minute, 0},
	} {
		loaded := NewBook(10)
		m := Moment{Since: 5 * time.Second, Wall: began.Add(test.wall)}
		if err := loaded.Load(m, body); err != nil {
			t.Fatal(err)
		}
		ban, ok := loaded.Address(m, addr("192.0.2.1"), false)
		if ok != (test.left > 0) || ok && ban.Left(m) != test.left {
			t.Errorf("%s: %t %v", name, ok, ban.Left(m))
		}
		if next, fresh := loaded.Impose(m, Ban{Subject: s}, ladder); test.left == 0 && (!fresh || next.Level != 2) {
			t.Errorf("%s: level %d", name, next.Level)
		}
	}
	for _, text := range []string{`{`, `{"version":2}`, `{"version":1,"bans":[{"subject":"0.0.0.0/0","seconds":1,"level":1}]}`, `{"version":1,"bans":[{"subject":"192.0.2.1"}]}`} {
		if err := NewBook(1).Load(at(0), []byte(text)); err == nil {
			t.Errorf("%s is loaded", text)
		}
	}
}

func TestABookThatIsFullForgetsWhatEndsFirst(t *testing.T) {
	b := NewBook(100)
	manual, _ := ParseSubject("203.0.113.9")
	b.Set(at(0), Ban{Subject: manual, For: time.Second})
	first := Host(addr("198.51.100.1"))
	b.Impose(at(0), Ban{Subject: first, Rule: "r"}, []time.Duration{24 * time.Hour})
	for i := range 1000 {
		b.Impose(at(time.Duration(i)), Ban{Subject: Host(addr(fmt.Sprintf("10.0.%d.%d", i/256, i%256))), Rule: "r"}, ladder)
	}
	if len(b.bans) != 100 {
		t.Errorf("%d bans", len(b.bans))
	}
	for _, s := range []Subject{manual, first} {
		if _, ok := b.Of(at(0), s); !ok {
			t.Errorf("%s was displaced", s)
		}
	}
}
