package harness

import (
	"slices"
	"testing"
)

func TestLockHasOneHolder(t *testing.T) {
	const name = "test.lock"
	first, err := lockFile(name, true)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := lockFile(name, false); err == nil {
		second.Close()
		t.Error("a lock has two holders")
	}
	got := make(chan error)
	go func() {
		second, err := lockFile(name, true)
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	first.Close()
	if err := <-got; err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
}

func TestPortsAreNotGivenTwiceInARow(t *testing.T) {
	var all []string
	for range 10 {
		all = append(all, FreePorts(t, 7)...)
	}
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 70 {
		t.Errorf("of 70 ports, %d differ", n)
	}
}
