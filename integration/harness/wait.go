package harness

import (
	"testing"
	"time"
)

// Patience bounds every wait of this package for something that happens by
// itself. It is no measure of speed: machines under test may be very busy, and
// certmagic tries again after a minute.
const Patience = 90 * time.Second

// Eventually calls f until it returns nil, and fails the test with its last
// error otherwise.
func Eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
