package redact

import (
	"net/http"
	"time"
)

// sniffDelay is how long the first bytes of a body are kept for want of more
// that would tell what it is.
const sniffDelay = 50 * time.Millisecond

// sniffing keeps the first bytes of a body until they tell what it is. Then
// another mode replaces it and takes the bytes.
type sniffing struct {
	rw    *responseWriter
	first []byte
}

// sniff begins with it, which may be its end: most labels tell all.
func (rw *responseWriter) sniff() {
	rw.sniffing.rw = rw
	rw.mode = &rw.sniffing
	if decisive(rw.label, nil) {
		_ = rw.choose(nil)
	}
}

func (s *sniffing) write(p []byte) error {
	rw := s.rw
	if len(s.first) == 0 && decisive(rw.label, p) { // the usual case: no copy is needed
		return s.decide(p)
	}
	n := min(len(p), maxSpace-len(s.first))
	s.first = append(s.first, p[:n]...)
	if !decisive(rw.label, s.first) && (!rw.waited || !tells(rw.label, s.first)) {
		if !rw.waited {
			rw.arm(sniffDelay)
		} else if rw.flushed {
			return s.spaceLeaves()
		}
		return nil
	}
	if err := s.decide(s.first); err != nil || n == len(p) {
		return err
	}
	return rw.mode.write(p[n:])
}

// decide ends the sniffing: first is all that there is.
func (s *sniffing) decide(first []byte) error {
	s.first = nil
	if err := s.rw.choose(first); err != nil || len(first) == 0 {
		return err
	}
	return s.rw.mode.write(first)
}

// settle ends the sniffing early, where what has come tells enough: nobody is
// to wait for bytes that do not come.
func (s *sniffing) settle() error {
	if !tells(s.rw.label, s.first) {
		return nil
	}
	return s.decide(s.first)
}

func (s *sniffing) flush() (leaves bool, err error) {
	rw := s.rw
	if s.settle() != nil {
		return false, nil // the fault is noted
	}
	if rw.mode != s {
		return rw.mode.flush()
	}
	switch {
	case rw.committed:
		return true, nil
	case rw.due:
		return false, s.spaceLeaves()
	}
	rw.arm(rw.h.flushDelay)
	return false, nil
}

// spaceLeaves lets the space go that a body begins with, which keeps the
// connection alive until there is something to say.
func (s *sniffing) spaceLeaves() error {
	rw := s.rw
	if len(s.first) == 0 || len(trimSpace(s.first)) > 0 || rw.label.kind == media {
		return nil
	}
	space := s.first
	s.first = nil
	if _, err := (*output)(rw).Write(space); err != nil {
		return rw.blame(err)
	}
	if !rw.committed {
		if err := rw.commit(false); err != nil {
			return err
		}
	}
	return http.NewResponseController(rw.w).Flush()
}

func (s *sniffing) end() error {
	if err := s.decide(s.first); err != nil {
		return err
	}
	return s.rw.mode.end()
}

func (*sniffing) alters() bool { return true } // nobody knows yet
