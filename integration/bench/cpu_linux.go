package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cores are the cores the server and the load run on, -1 for any.
type cores struct{ server, load int }

// chooseCores returns the cores to use: those named "server,load", or the
// first two this process may run on. With only one there is no pinning.
func chooseCores(named string) (cores, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return cores{-1, -1}, err
	}
	if named != "" {
		var c cores
		if _, err := fmt.Sscanf(named, "%d,%d", &c.server, &c.load); err != nil || !set.IsSet(c.server) || !set.IsSet(c.load) {
			return cores{-1, -1}, fmt.Errorf("cores %q: write two numbers of cores this process may use, such as 1,0", named)
		}
		return c, nil
	}
	var usable []int
	for i := range 1024 {
		if set.IsSet(i) {
			usable = append(usable, i)
		}
	}
	if len(usable) < 2 {
		return cores{-1, -1}, nil
	}
	// The first core of a machine is often the one that serves interrupts.
	return cores{server: usable[1], load: usable[0]}, nil
}

// pinSelf binds every thread of this process to one core. Threads to come
// inherit it.
func pinSelf(core int) error {
	if core < 0 {
		return nil
	}
	// Twice, for threads that were started while the first pass ran.
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			if err := pinThread(tid, core); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil
}

func pinThread(tid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(tid, &set)
}

// startPinned starts cmd on a core, from its first instruction on, and so
// that it does not outlive this process.
func startPinned(cmd *exec.Cmd, core int) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if core < 0 {
		return cmd.Start()
	}
	// A child inherits the affinity of the thread that forks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return err
	}
	if err := pinThread(0, core); err != nil {
		return err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &old) }()
	return cmd.Start()
}

// cpuTime returns the CPU time a process has used, user and system: the sum
// that /proc/PID/stat shows in hundredths of a second, read to the nanosecond
// from the process's CPU clock.
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// memory returns the resident set of a process now and at its highest since
// forgetPeak, in bytes.
func memory(pid int) (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	kib := func(name string) int64 {
		_, rest, _ := bytes.Cut(status, []byte("\n"+name+":"))
		line, _, _ := bytes.Cut(rest, []byte(" kB"))
		n, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
		return n
	}
	return kib("VmRSS") << 10, kib("VmHWM") << 10, nil
}

// forgetPeak makes the peak of memory start again from what is resident now.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// sleeper returns a function that sleeps more exactly than time.Sleep, whose
// timers are good for a millisecond, on a thread of its own until release.
func sleeper() (sleep func(time.Duration), release func()) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	sleep = func(d time.Duration) {
		for until := time.Now().Add(d); d > 0; d = time.Until(until) {
			ts := unix.NsecToTimespec(int64(d))
			if err := unix.Nanosleep(&ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
				time.Sleep(d)
			}
		}
	}
	return sleep, func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // the default again
		runtime.UnlockOSThread()
	}
}

// datasync brings what was written to a file to the disk.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// cpuModel names the processor.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// busy returns how many processes want to run, over the last minute.
func busy() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	one, _, _ := strings.Cut(string(load), " ")
	return one
}

// kernel names the operating system.
func kernel() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(release))
}
