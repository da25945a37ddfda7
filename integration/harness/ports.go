package harness

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

// Ports are chosen before the server that listens on them runs, and stay its
// own while it restarts. So they must not be ports that the system gives to
// outgoing connections meanwhile (from 32768 on Linux, 49152 elsewhere), nor
// those of another package's tests: each process locks a block of its own.
const (
	firstPort = 10_000
	lastPort  = 32_000
	portBlock = 200
)

var ports struct {
	sync.Mutex
	lock *os.File // held while the process lives
	base int
	used int
}

// FreePorts returns n ports on which nobody listens, over TCP or UDP.
func FreePorts(t testing.TB, n int) []string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.lock == nil {
		// Processes that start together begin at different blocks.
		blocks := (lastPort - firstPort) / portBlock
		for i := range blocks {
			base := firstPort + (os.Getpid()+i)%blocks*portBlock
			if lock, err := lockFile(fmt.Sprintf("ports-%d.lock", base), false); err == nil {
				ports.lock, ports.base = lock, base
				break
			}
		}
		if ports.lock == nil {
			t.Fatal("all blocks of ports are in use")
		}
	}
	var list []string
	for range portBlock {
		port := strconv.Itoa(ports.base + ports.used%portBlock)
		ports.used++
		if isFree(port) {
			if list = append(list, port); len(list) == n {
				return list
			}
		}
	}
	t.Fatalf("fewer than %d of the ports from %d are free", n, ports.base)
	return nil
}

func isFree(port string) bool {
	ln, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return false
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return false
	}
	pc.Close()
	return true
}
