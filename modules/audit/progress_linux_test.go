package audit

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a terminal: what is written to tty is read from screen.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { screen.Close() })
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// TestProgressIsShownOnATerminalAlone reads what a person would see of a long
// search, and that a file or pipe gets nothing.
func TestProgressIsShownOnATerminalAlone(t *testing.T) {
	screen, tty := terminal(t)
	p := newProgress(tty)
	p.at(1e6) // too early to be worth a line
	p.start, p.last = time.Now().Add(-time.Second), time.Now().Add(-time.Second)
	p.at(750e6)
	p.done()
	fmt.Fprintln(tty, "end")
	var shown []byte
	for buf := make([]byte, 256); !bytes.Contains(shown, []byte("end")); {
		n, err := screen.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, buf[:n]...)
	}
	if s := string(shown); !strings.HasPrefix(s, "\r750 MB, ") || !strings.Contains(s, "MB/s") || !strings.HasSuffix(strings.TrimSpace(s), "\r\033[Kend") {
		t.Errorf("the terminal shows %q", s)
	}

	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var text bytes.Buffer
	for _, p := range []*progress{newProgress(file), newProgress(&text)} {
		p.last = time.Now().Add(-time.Hour)
		p.at(750e6)
		p.done()
	}
	if info, err := file.Stat(); err != nil || info.Size() > 0 || text.Len() > 0 {
		t.Errorf("a file got %v, a buffer %q", info, &text)
	}
}
