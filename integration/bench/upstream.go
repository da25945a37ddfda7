package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// upstream is the application behind the proxy: it answers every request with the
// same bytes. It knows bodies whose length is announced.
type upstream struct {
	ln       net.Listener
	answer   []byte
	requests atomic.Int64 // how many were answered

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil once closed
	wg    sync.WaitGroup
}

// serve starts an upstream on loopback that answers 200 with a JSON body.
func serve(body []byte) (*upstream, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{ln: ln, answer: answerWith(body), conns: make(map[net.Conn]struct{})}
	u.wg.Go(u.accept)
	return u, nil
}

// addr is the host and port to connect to.
func (u *upstream) addr() string { return u.ln.Addr().String() }

// Close ends the listener, the connections and their goroutines.
func (u *upstream) Close() {
	u.ln.Close()
	u.mu.Lock()
	for c := range u.conns {
		c.Close()
	}
	u.conns = nil
	u.mu.Unlock()
	u.wg.Wait()
}

func (u *upstream) accept() {
	for {
		c, err := u.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		u.mu.Lock()
		if u.conns == nil {
			c.Close()
		} else {
			u.conns[c] = struct{}{}
			u.wg.Go(func() { u.converse(c) })
		}
		u.mu.Unlock()
	}
}

// converse answers the requests of one connection.
func (u *upstream) converse(c net.Conn) {
	defer func() {
		c.Close()
		u.mu.Lock()
		delete(u.conns, c)
		u.mu.Unlock()
	}()
	buf := make([]byte, 128<<10)
	have := 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		for {
			i := bytes.Index(buf[:have], endOfHead)
			if i < 0 {
				break
			}
			whole := i + len(endOfHead) + announced(buf[:i])
			if have < whole {
				break
			}
			u.requests.Add(1)
			if bytes.HasPrefix(buf, dripRequest) {
				drip(c)
				return
			}
			have = copy(buf, buf[whole:have])
			if _, err := c.Write(u.answer); err != nil {
				return
			}
		}
		if have == len(buf) {
			return // no request is that large
		}
	}
}

// announced returns the length of the body that a head announces.
func announced(head []byte) int {
	_, after, ok := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !ok {
		return 0
	}
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	n, _ := strconv.Atoi(string(value))
	return max(n, 0)
}

// dripPath asks an upstream for a long document of which it sends only the
// first half: who waits for the whole before passing on its beginning waits
// until it gives up.
const dripPath = "/orders/drip"

var dripRequest = []byte("GET " + dripPath + " ")

// drip sends the first half and returns when the other side hangs up.
func drip(c net.Conn) {
	whole := answerWith(document(1 << 20))
	if _, err := c.Write(whole[:len(whole)/2]); err == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}

// answerWith returns the bytes of a response.
func answerWith(body []byte) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// document returns a JSON document of about size bytes such as an API would
// answer with: a list of customers, each with members to hide at several
// depths. It is the same every time.
func document(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"page":1,"customers":[`)
	const tail = `],"next":"/orders?page=2"}`
	for i := 0; i == 0 || b.Len()+380+len(tail) <= size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"name":"Customer %d","email":"c%d@example.com","phone":"180%08d","password":"hunter%d","vip":%t,"balance":%d.%02d,`,
			1_000_000+i, i, i, 49_531_999+i, i, i%7 == 0, i*37%10_000, i%100)
		fmt.Fprintf(&b, `"address":{"street":"%d Long Road","city":"Springfield","geo":[%d.25,-%d.5]},`, i%400, i%90, i%180)
		fmt.Fprintf(&b, `"papers":{"id_card":"51343620000320%04d","internal":{"score":%d,"tags":["a","b"]}},"orders":[%d,%d,%d],"note":null}`,
			i%10_000, i%100, i, i+1, i+2)
	}
	b.WriteString(tail)
	return []byte(b.String())
}

// small is the answer of the contestants that have nothing to hide: 140 bytes.
const small = `{"id":42,"item":"Anvil, 50 kg","quantity":3,"price":19.9,"currency":"EUR","status":"shipped","tags":["heavy","metal"],"note":null,"ok":true}`
