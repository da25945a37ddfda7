package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCPUClockAgreesWithTheKernelsAccount(t *testing.T) {
	account := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	var got time.Duration
	before := account()
	for spun := before; spun < before+100*time.Millisecond; spun = account() {
		var err error
		if got, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	const tick = 10 * time.Millisecond
	if after := account(); got < before-tick || got > after+tick {
		t.Errorf("the CPU clock shows %v, the account %v … %v", got, before, after)
	}
}

func TestMemoryIsRead(t *testing.T) {
	now, peak, err := memory(os.Getpid())
	if err != nil || now < 1<<20 || peak < now/2 {
		t.Errorf("resident %d, peak %d, %v", now, peak, err)
	}
}

func TestSleeperSleepsNoLessThanAsked(t *testing.T) {
	sleep, release := sleeper()
	defer release()
	for _, d := range []time.Duration{-1, 0, 100 * time.Microsecond} {
		began := time.Now()
		sleep(d)
		if took := time.Since(began); took < d {
			t.Errorf("slept %v, want %v", took, d)
		}
	}
}
