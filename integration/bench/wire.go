package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// errResponse is what a response that this client cannot read ends with.
var errResponse = errors.New("malformed response")

// conn is one keep-alive connection of the load generator. It writes requests
// that were built before and reads just enough of a response to find its
// status and its end, so that the load costs little beside what it measures.
type conn struct {
	net.Conn
	buf  []byte // what was read, from r to w not yet used
	r, w int
	req  []byte // scratch for building a request

	due  atomic.Int64    // when the request in flight was due, Unix nanoseconds
	took []time.Duration // latencies since due
}

// dial connects to an address. The buffer holds the head of a response and as
// much of its body as one read should fetch.
func dial(addr string, buffer int) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, buf: make([]byte, max(buffer, 8<<10))}, nil
}

// read fetches more bytes behind those not yet used. At least one byte was
// fetched if the error is nil.
func (c *conn) read() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		if c.r == 0 {
			return fmt.Errorf("%w: head larger than %d bytes", errResponse, len(c.buf))
		}
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

var (
	endOfHead     = []byte("\r\n\r\n")
	lineEnd       = []byte("\r\n")
	contentLength = []byte("Content-Length:")
	chunkedCoding = []byte("Transfer-Encoding: chunked")
)

// response reads one response and returns its status and the length of its
// body. It knows the framings that Go's server writes: Content-Length, chunks
// without trailers, and no body at all for 204 and 304.
func (c *conn) response() (status int, body int64, err error) {
	head, err := c.head()
	if err != nil {
		return 0, 0, err
	}
	if len(head) < len("HTTP/1.1 200") || string(head[:9]) != "HTTP/1.1 " {
		return 0, 0, errResponse
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, 0, errResponse
	}
	length, chunked, err := framing(head)
	if err != nil {
		return 0, 0, err
	}
	switch {
	case status == 204 || status == 304:
		return status, 0, nil
	case chunked:
		body, err = c.chunks()
	case length >= 0:
		body, err = length, c.discard(length)
	default:
		err = fmt.Errorf("%w: neither Content-Length nor chunks", errResponse)
	}
	return status, body, err
}

// head reads up to the empty line and returns what stands before it, valid
// until the next read.
func (c *conn) head() ([]byte, error) {
	seen := 0
	for {
		from := max(seen-len(endOfHead)+1, 0)
		if i := bytes.Index(c.buf[c.r+from:c.w], endOfHead); i >= 0 {
			head := c.buf[c.r : c.r+from+i]
			c.r += from + i + len(endOfHead)
			return head, nil
		}
		seen = c.w - c.r
		if err := c.read(); err != nil {
			return nil, err
		}
	}
}

// framing finds how a body is delimited. The length is -1 if no line says it.
func framing(head []byte) (length int64, chunked bool, err error) {
	length = -1
	for len(head) > 0 {
		line, rest, _ := bytes.Cut(head, lineEnd)
		head = rest
		if len(line) == 0 || line[0]|0x20 != 'c' && line[0]|0x20 != 't' {
			continue
		}
		switch {
		case bytes.EqualFold(line, chunkedCoding):
			chunked = true
		case len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength):
			value := bytes.TrimSpace(line[len(contentLength):])
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil || length < 0 {
				return 0, false, fmt.Errorf("%w: Content-Length %q", errResponse, value)
			}
		}
	}
	return length, chunked, nil
}

// discard passes over n bytes.
func (c *conn) discard(n int64) error {
	for {
		have := min(int64(c.w-c.r), n)
		c.r += int(have)
		if n -= have; n == 0 {
			return nil
		}
		if err := c.read(); err != nil {
			return err
		}
	}
}

// chunks passes over a chunked body and returns the number of bytes in it.
func (c *conn) chunks() (body int64, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return body, err
		}
		size, err := strconv.ParseInt(string(line), 16, 62)
		if err != nil {
			return body, fmt.Errorf("%w: chunk size %q", errResponse, line)
		}
		// The line end after the data; after the last chunk, the empty
		// line that ends the body.
		if err := c.discard(size + int64(len(lineEnd))); err != nil {
			return body, err
		}
		if size == 0 {
			return body, nil
		}
		body += size
	}
}

// line reads up to a line end and returns what stands before it, valid until
// the next read.
func (c *conn) line() ([]byte, error) {
	for {
		if i := bytes.Index(c.buf[c.r:c.w], lineEnd); i >= 0 {
			line := c.buf[c.r : c.r+i]
			c.r += i + len(lineEnd)
			return line, nil
		}
		if err := c.read(); err != nil {
			return nil, err
		}
	}
}
