//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// errUnavailable is what can be measured on Linux alone.
var errUnavailable = errors.New("not available on " + runtime.GOOS)

// cores are the cores the server and the load run on, -1 for any.
type cores struct{ server, load int }

func chooseCores(named string) (cores, error) {
	if named != "" {
		return cores{-1, -1}, errors.New("pinning to cores is " + errUnavailable.Error())
	}
	return cores{-1, -1}, nil
}

func pinSelf(int) error { return nil }

func startPinned(cmd *exec.Cmd, _ int) error { return cmd.Start() }

func cpuTime(int) (time.Duration, error) { return 0, errUnavailable }

func memory(int) (now, peak int64, err error) { return 0, 0, errUnavailable }

func forgetPeak(int) error { return errUnavailable }

func sleeper() (sleep func(time.Duration), release func()) { return time.Sleep, func() {} }

func datasync(f *os.File) error { return f.Sync() }

func cpuModel() string { return runtime.GOARCH }

func busy() string { return "" }

func kernel() string { return runtime.GOOS }
