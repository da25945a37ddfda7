package main

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryGroupBeginsWithTheBareConfiguration(t *testing.T) {
	titles, group := map[string]bool{}, ""
	for _, c := range contestants() {
		if titles[c.title()] {
			t.Errorf("%s: twice", c.title())
		}
		titles[c.title()] = true
		if c.base != (c.group != group) || c.base && c.expand("", "") != "" {
			t.Errorf("%s: base %v after group %q, layers %q", c.title(), c.base, group, c.layers)
		}
		if s := c.expand("DIR", "KEY"); strings.Contains(s, "@") {
			t.Errorf("%s: not all is filled in:\n%s", c.title(), s)
		}
		group = c.group
	}
}

func TestOnlyKeepsWhatIsComparedWith(t *testing.T) {
	chosen, err := choose(contestants(), "jwt_auth ES256: all")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range chosen {
		got = append(got, c.title())
	}
	if want := []string{"jwt_auth ES256: bare", "jwt_auth ES256: all unique"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := choose(contestants(), "nosuch"); err == nil {
		t.Error("a pattern that matches nothing is accepted")
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-n", "-1"}, {"-rate", "0"}, {"-rate", "1e9"}, {"stray"}, {"-nosuch"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestUniqueTokensSuffice(t *testing.T) {
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range contestants() {
		if c.order != unique {
			continue
		}
		next := requests(resource, unique, 0, make([]string, o.plan.tokens(c)))
		for i := range o.plan.warmup(c) + o.plan.scaled(o.plan.Requests, c) + o.plan.paced(c) {
			if _, err := next(nil); err != nil {
				t.Fatalf("%s: %v after %d", c.title(), err, i)
			}
		}
	}
}
