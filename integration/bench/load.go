package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// patience bounds every wait for something that should happen by itself.
const patience = 60 * time.Second

// load is a load generator: some keep-alive connections to one server, and
// what they ask for.
type load struct {
	conns []*conn
	next  source
}

// source appends the bytes of the next request to buf. It is called by many
// goroutines at once.
type source func(buf []byte) ([]byte, error)

// connect opens n connections. Close closes them.
func connect(addr string, n, buffer int, next source) (*load, error) {
	l := &load{next: next}
	for range n {
		c, err := dial(addr, buffer)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.conns = append(l.conns, c)
	}
	return l, nil
}

// Close closes the connections.
func (l *load) Close() {
	for _, c := range l.conns {
		c.Close()
	}
}

// guard bounds what follows in time and makes it end when ctx does.
func (l *load) guard(ctx context.Context, limit time.Duration) (release func()) {
	l.deadline(time.Now().Add(limit))
	stop := context.AfterFunc(ctx, func() { l.deadline(time.Unix(1, 0)) })
	return func() { stop() }
}

func (l *load) deadline(t time.Time) {
	for _, c := range l.conns {
		_ = c.SetDeadline(t)
	}
}

// saturate sends n requests, each connection its next one as soon as the last
// was answered, and returns how many bytes of bodies came back. Any answer but
// 200 is an error, since a refusal costs something else than what is measured.
func (l *load) saturate(ctx context.Context, n int) (body int64, err error) {
	defer l.guard(ctx, 10*patience)()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var (
		tickets, total atomic.Int64
		failed         = make(chan error, len(l.conns))
		wg             sync.WaitGroup
	)
	for _, c := range l.conns {
		wg.Go(func() {
			var sum int64
			for tickets.Add(1) <= int64(n) {
				got, err := c.exchange(l.next)
				if err != nil {
					tickets.Add(int64(n)) // the others end as well
					failed <- err
					return
				}
				sum += got
			}
			total.Add(sum)
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return 0, errors.Join(ctx.Err(), err)
	default:
		return total.Load(), nil
	}
}

// exchange sends one request and reads its answer.
func (c *conn) exchange(next source) (body int64, err error) {
	if err := c.send(next); err != nil {
		return 0, err
	}
	return c.receive()
}

func (c *conn) send(next source) (err error) {
	if c.req, err = next(c.req[:0]); err != nil {
		return err
	}
	_, err = c.Write(c.req)
	return err
}

func (c *conn) receive() (body int64, err error) {
	status, body, err := c.response()
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("answered with status %d", status)
	}
	return body, err
}

// pace sends n requests at a constant rate, however fast the answers come,
// and returns the latency of each. A request is due at its place in the
// schedule: if all connections still wait for answers it goes out late, and
// the time it waited for one is part of its latency. So a server that stalls
// is charged for everything that would have arrived meanwhile.
func (l *load) pace(ctx context.Context, n int, rate float64) ([]time.Duration, error) {
	defer l.guard(ctx, 10*patience)()
	// The thread that keeps the schedule mostly sleeps, and must not hold
	// up those that read.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))

	p := &pacer{
		load:   l,
		idle:   make(chan *conn, len(l.conns)),
		failed: make(chan error, len(l.conns)+1),
		left:   int64(n),
		done:   make(chan struct{}),
	}
	var readers sync.WaitGroup
	for _, c := range l.conns {
		c.took = make([]time.Duration, 0, 2*n/len(l.conns)+1)
		p.idle <- c
		readers.Go(func() { p.receive(c) })
	}
	err := p.send(n, time.Duration(float64(time.Second)/rate))
	if err == nil {
		err = p.wait()
	}
	l.deadline(time.Unix(1, 0)) // ends the readers
	readers.Wait()
	l.deadline(time.Time{})
	if err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	all := make([]time.Duration, 0, n)
	for _, c := range l.conns {
		all = append(all, c.took...)
	}
	return all, nil
}

// pacer is one run of pace.
type pacer struct {
	*load
	idle   chan *conn
	failed chan error
	left   int64 // answers still to come; atomic
	done   chan struct{}
}

// send keeps the schedule.
func (p *pacer) send(n int, every time.Duration) error {
	sleep, release := sleeper()
	defer release()
	start := time.Now().Add(10 * time.Millisecond)
	for i := range n {
		due := start.Add(time.Duration(i) * every)
		if d := time.Until(due); d > 0 {
			sleep(d)
		}
		select {
		case c := <-p.idle:
			c.due.Store(due.UnixNano())
			if err := c.send(p.next); err != nil {
				return err
			}
		case err := <-p.failed:
			return err
		}
	}
	return nil
}

// receive notes how long the answers on one connection took, until the
// connection's deadline is set to the past.
func (p *pacer) receive(c *conn) {
	for {
		if _, err := c.receive(); err != nil {
			p.failed <- err
			return
		}
		c.took = append(c.took, time.Duration(time.Now().UnixNano()-c.due.Load()))
		if atomic.AddInt64(&p.left, -1) == 0 {
			close(p.done)
		}
		p.idle <- c
	}
}

// wait returns when all answers have come.
func (p *pacer) wait() error {
	select {
	case <-p.done:
		return nil
	case err := <-p.failed:
		return err
	}
}
