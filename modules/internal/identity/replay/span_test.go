package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// site is who accepts values: for age after they were made, and leeway before
// and after that.
type site struct{ age, leeway time.Duration }

func (s site) span() time.Duration { return s.age + s.leeway }

// accepts is what a site asks of a value before it asks the memory.
func (s site) accepts(made, now time.Time) bool {
	return !made.After(now.Add(s.leeway)) && now.Before(made.Add(s.span()))
}

func (s site) use(m *Memory, value string, made, now time.Time) error {
	return m.Use(context.Background(), Entry{Value: value, Made: made, Until: made.Add(s.span())}, now)
}

var (
	short = site{time.Minute, 10 * time.Second}
	long  = site{10 * time.Minute, time.Minute}
)

// TestLongerSpanAcceptsNothingThatWasUsed: a site with a longer leeway shares
// the memory, or a reload makes the leeway longer, before or after the value
// has been used.
func TestLongerSpanAcceptsNothingThatWasUsed(t *testing.T) {
	for name, widenFirst := range map[string]bool{"two sites": true, "a reload": false} {
		for _, ahead := range []time.Duration{0, short.leeway} {
			for first := time.Duration(0); first < short.span(); first += 7 * time.Second {
				for reload := first; reload < 2*short.span(); reload += 7 * time.Second {
					m := NewMemory(100, start)
					m.Widen(short.span(), start)
					if widenFirst {
						m.Widen(long.span(), start)
					}
					made := start.Add(ahead)
					if err := short.use(m, "1", made, start.Add(first)); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					m.Stats(start.Add(reload))
					m.Widen(long.span(), start.Add(reload))
					for at := reload; at < 2*long.span(); at += 5 * time.Second {
						m.Stats(start.Add(at))
						if err := long.use(m, "1", made, start.Add(at)); err == nil && long.accepts(made, start.Add(at)) {
							t.Fatalf("%s at %v: made at %v, used after %v, accepted after %v", name, reload, ahead, first, at)
						}
					}
				}
			}
		}
	}
}

// TestLongerSpanRefusesNothingThatWasGoodBefore, and what is made once the old
// span is over is good for the whole of the new one.
func TestLongerSpanRefusesNothingThatWasGoodBefore(t *testing.T) {
	m := NewMemory(1000, start)
	m.Widen(short.span(), start)
	reload := start.Add(time.Hour)
	m.Widen(long.span(), reload)
	m.Widen(short.span(), reload) // the other site
	for sec := range time.Duration(70) {
		made := reload.Add(-sec * time.Second)
		if err := short.use(m, "before "+strconv.Itoa(int(sec)), made, reload); err != nil {
			t.Errorf("made %d s before: %v", sec, err)
		}
	}
	made := reload.Add(short.span())
	if err := long.use(m, "after", made, made.Add(long.span()-time.Second)); err != nil {
		t.Errorf("made later: %v", err)
	}
	made = reload.Add(-time.Second)
	if err := long.use(m, "older", made, made.Add(short.span())); !errors.Is(err, ErrOlder) {
		t.Errorf("made before, at the end of what was its span: %v", err)
	}
	if got := m.Stats(reload).Older; got != 1 {
		t.Errorf("%d older", got)
	}
}

// TestShorterSpanForgetsNothingEarlier: what was used before a reload with a
// shorter one, and a third that takes it back.
func TestShorterSpanForgetsNothingEarlier(t *testing.T) {
	m := NewMemory(100, start)
	m.Widen(long.span(), start)
	m.Widen(short.span(), start)
	if err := short.use(m, "1", start, start); err != nil {
		t.Fatal(err)
	}
	m.Widen(long.span(), start.Add(5*time.Minute))
	if err := long.use(m, "1", start, start.Add(10*time.Minute)); !errors.Is(err, ErrReplayed) {
		t.Errorf("got %v", err)
	}
}

// steps plays what data says, nine bytes a step, with spans that change while
// values are used. Nothing may be accepted twice.
func steps(t *testing.T, data []byte) (accepted int) {
	m, now := NewMemory(1000, start), start
	used := map[string]bool{}
	for ; len(data) >= 9; data = data[9:] {
		now = now.Add(time.Duration(data[0]) * time.Second / 16)
		s := site{time.Duration(1+data[1]%120) * time.Second, time.Duration(data[2]%40) * time.Second}
		// As when a site is provisioned, which it always is before it is used.
		m.Widen(s.span(), now)
		// A value tells when it was made: the same value, the same time.
		made := start.Add(time.Duration(binary.BigEndian.Uint16(data[3:])) * time.Second / 16)
		if data[5]%4 == 0 {
			made = now.Add(time.Duration(int8(data[6])) * time.Second / 4).Truncate(time.Second)
		}
		value := made.Format(time.RFC3339Nano)
		if data[7]%4 == 0 {
			m.Stats(now)
		}
		if !s.accepts(made, now) {
			continue
		}
		if err := s.use(m, value, made, now); err != nil {
			continue
		}
		if used[value] {
			t.Fatalf("%s is accepted again at %v by %v", value, now, s)
		}
		used[value] = true
		accepted++
	}
	return accepted
}

func TestNothingIsAcceptedTwiceWhileSpansChange(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 9*2000)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		// Most spans are equal, as in life, and longer ones rare.
		for i := 0; i < len(data); i += 9 {
			if data[i+8] > 5 {
				data[i+1], data[i+2] = 20, 5
			}
		}
		if n := steps(t, data); n < 100 {
			t.Fatalf("seed %d: only %d were accepted", seed, n)
		}
	}
}

func FuzzNothingIsAcceptedTwiceWhileSpansChange(f *testing.F) {
	f.Add([]byte("\x10\x05\x02\x00\x20\x01\x00\x00\x00\xff\x50\x02\x00\x20\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) { steps(t, data[:min(len(data), 9*1000)]) })
}

// TestSpanThatBecomesLongerAgainAndAgain: what was made before the first time
// may have been forgotten by the first span still.
func TestSpanThatBecomesLongerAgainAndAgain(t *testing.T) {
	m := NewMemory(100, start)
	m.Widen(short.span(), start)
	if err := short.use(m, "1", start, start); err != nil {
		t.Fatal(err)
	}
	for i := range time.Duration(10) {
		now := start.Add(short.span() + i*time.Second)
		m.Stats(now)
		m.Widen(long.span()+i*time.Minute, now)
		if err := long.use(m, "1", start, now); !errors.Is(err, ErrOlder) {
			t.Errorf("at the %dth reload: %v", i+1, err)
		}
	}
}
