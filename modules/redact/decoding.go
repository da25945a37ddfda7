package redact

import (
	"errors"
	"io"
	"sync"
)

// decoding decodes a body that is encoded though nobody asked for it. The
// handlers inside write, but decoders read: a goroutine stands between, which
// ends with the request.
type decoding struct {
	in   *io.PipeWriter
	done chan struct{}
}

var decodeBuffers = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// errAborted tells a decoder that the body it waits for will not come.
var errAborted = errors.New("the body was aborted")

func startDecoding(rw *responseWriter, name string) *decoding {
	out, in := io.Pipe()
	d := &decoding{in: in, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		out.CloseWithError(d.run(rw, name, out))
	}()
	return d
}

// write gives p to the decoder and returns when it has been taken.
func (d *decoding) write(p []byte) (int, error) { return d.in.Write(p) }

// end waits until all that was written is decoded. Without err that is the
// end of the body; with it, the body is not complete.
func (d *decoding) end(err error) {
	d.in.CloseWithError(err)
	<-d.done
}

// run returns what a further write gets.
func (d *decoding) run(rw *responseWriter, name string, src io.Reader) error {
	in := &lastError{r: src}
	dec, err := newDecoder(name, in)
	if err == nil {
		defer dec.Close()
		err = d.copy(rw, dec)
	}
	switch {
	case err == io.EOF, in.n == 0 && in.err == io.EOF: // there is no body to decode
		return errRefused
	case errors.Is(err, errWriting), errors.Is(in.err, errAborted):
		return errRefused
	}
	rw.mu.Lock()
	defer rw.mu.Unlock()
	return rw.fail(fault{reason: "encoding", detail: "the body is not what its Content-Encoding says", cause: err})
}

var errWriting = errors.New("writing what was decoded")

func (d *decoding) copy(rw *responseWriter, dec io.Reader) error {
	buf := decodeBuffers.Get().(*[16 << 10]byte)
	defer decodeBuffers.Put(buf)
	for {
		n, err := dec.Read(buf[:])
		if n > 0 && !rw.decoded(buf[:n]) {
			return errWriting
		}
		if err != nil {
			return err
		}
	}
}

// decoded takes decoded bytes. A flush that came before them is made up for,
// since the goroutine that flushed did not know how far the decoder was.
func (rw *responseWriter) decoded(p []byte) bool {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.body(p) != nil {
		return false
	}
	return !rw.flushed || rw.flush() == nil
}

// lastError remembers how reading ended, and whether there was anything.
type lastError struct {
	r   io.Reader
	n   int64
	err error
}

func (l *lastError) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if err != nil {
		l.err = err
	}
	return n, err
}
