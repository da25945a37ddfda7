package redact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
)

// enveloped redacts the streams of the Connect protocol, application/connect+json:
// JSON messages in envelopes, which are a byte of flags and the length in four.
// (https://connectrpc.com/docs/protocol). A message leaves when it is whole;
// one that was compressed leaves as it is without that.
type enveloped struct {
	fields
	dst    io.Writer
	coding string // of messages with the flag for it
	most   int    // bytes of a message, compressed or not

	buf []byte
}

const (
	envelopeHead   = 5
	flagCompressed = 1
	flagEnd        = 2 // the last message, with an error or trailers
)

func newEnveloped(header http.Header, h *Handler, f fields, dst io.Writer) *enveloped {
	return &enveloped{fields: f, dst: dst, coding: header.Get("Connect-Content-Encoding"), most: h.MaxEvent}
}

// Write takes bytes of the stream.
func (e *enveloped) Write(p []byte) (int, error) {
	e.buf = append(e.buf, p...)
	for len(e.buf) >= envelopeHead {
		n := int64(binary.BigEndian.Uint32(e.buf[1:]))
		if n > int64(e.most) {
			return 0, &fault{reason: "event", detail: "a message longer than max_event"}
		}
		if e.buf[0]&^(flagCompressed|flagEnd) != 0 {
			return 0, formFault("an envelope with flags that are not known")
		}
		end := envelopeHead + int(n)
		if len(e.buf) < end {
			break
		}
		if err := e.message(e.buf[0], e.buf[envelopeHead:end]); err != nil {
			return 0, err
		}
		e.buf = append(e.buf[:0], e.buf[end:]...)
	}
	return len(p), nil
}

// message redacts one message and sends it on.
func (e *enveloped) message(flags byte, text []byte) error {
	if flags&flagCompressed != 0 {
		var err error
		if text, err = e.decode(text); err != nil {
			return err
		}
		flags &^= flagCompressed
	}
	out := bytes.NewBuffer(make([]byte, envelopeHead, envelopeHead+len(text)))
	if len(text) > 0 {
		if texts, err := e.run(out, text); err != nil {
			return err
		} else if texts != 1 {
			return formFault("a message that is not one JSON text")
		}
	}
	b := out.Bytes()
	b[0] = flags
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-envelopeHead))
	_, err := e.dst.Write(b)
	return err
}

// decode returns what a compressed message is.
func (e *enveloped) decode(text []byte) ([]byte, error) {
	bad := fault{reason: "encoding", detail: "a compressed message that cannot be decoded"}
	dec, err := newDecoder(e.coding, bytes.NewReader(text))
	if err != nil {
		return nil, &bad
	}
	defer dec.Close()
	plain, err := io.ReadAll(io.LimitReader(dec, int64(e.most)+1))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, &bad
	case len(plain) > e.most:
		return nil, &fault{reason: "event", detail: "a message longer than max_event"}
	}
	return plain, nil
}

// Close ends the stream.
func (e *enveloped) Close() error {
	if len(e.buf) > 0 {
		return &fault{reason: "truncated", detail: "the stream ends within an envelope"}
	}
	return nil
}
