package redact

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Decoding is bounded in memory by the windows of the formats and by what
// follows being a stream. What a small body can still cost is time; these
// bound how much larger it may become.
const (
	maxWindow = 8 << 20  // of zstd; RFC 9659 section 3 says no more for HTTP
	freeBytes = 16 << 20 // decoded bytes that no ratio is asked of
	maxRatio  = 200      // decoded bytes for each encoded one beyond them
)

var errRatio = fmt.Errorf("a compressed body that becomes more than %d times longer", maxRatio)

// coding is what a message says of how its body is encoded.
type coding struct {
	name  string // of the content coding that is to be decoded, empty for none
	label bool   // what stands there is no coding at all, such as UTF-8
	doubt string // why it is not known what the body is; for the log
}

// readCoding reads the Content-Encoding of h, all its lines.
func readCoding(h http.Header) (c coding) {
	if values := h["Content-Transfer-Encoding"]; values != nil && !untransformed(values) {
		c.doubt = "a Content-Transfer-Encoding, which HTTP does not have"
	}
	values := h["Content-Encoding"]
	if len(values) == 0 {
		return c
	}
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case "", "identity":
			case "none", "utf-8", "utf8", "binary", "8bit", "7bit", "aws-chunked":
				c.label = true
			case "gzip", "x-gzip", "br", "zstd", "deflate": // x-gzip: RFC 9110 section 8.4.1.3
				if c.name != "" {
					c.doubt = "stacked content codings"
				}
				c.name = strings.TrimPrefix(name, "x-")
			default:
				c.doubt = "a content coding that is not known"
			}
		}
	}
	if c.label && c.name != "" {
		c.doubt = "stacked content codings"
	}
	if c.doubt != "" {
		c.name = ""
	}
	return c
}

// untransformed reports whether values of Content-Transfer-Encoding, a field
// of MIME, leave a body as it is.
func untransformed(values []string) bool {
	for _, v := range values {
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "", "7bit", "8bit", "binary", "identity":
		default:
			return false
		}
	}
	return true
}

// newDecoder decodes r. It ends with an error if anything follows the encoded
// data, and if the data grows beyond all proportion.
func newDecoder(name string, r io.Reader) (io.ReadCloser, error) {
	in := &countingReader{r: bufio.NewReaderSize(r, 4096)}
	d := &decoder{in: in, close: func() {}}
	switch name {
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		d.out = z
	case "deflate":
		z, err := newInflater(in)
		if err != nil {
			return nil, err
		}
		d.out = z
	case "br":
		d.out = brotli.NewReader(in)
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<40))
		if err != nil {
			return nil, err
		}
		d.out, d.close = z, z.Close
	default:
		return nil, fmt.Errorf("no decoder for %q", name)
	}
	return d, nil
}

// newInflater decodes the coding deflate, which is the zlib format, and in many
// servers the bare data inside it (RFC 9110 section 8.4.1.2).
func newInflater(in *countingReader) (io.Reader, error) {
	head, err := in.r.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	// RFC 1950 section 2.2: the method deflate, a window of at most 32 KiB, and
	// a check of both bytes.
	if len(head) == 2 && head[0]&0x0f == 8 && head[0]>>4 <= 7 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(in)
	}
	return flate.NewReader(in), nil
}

type decoder struct {
	in    *countingReader
	out   io.Reader
	n     int64
	close func()
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.out.Read(p)
	d.n += int64(n)
	if d.n > freeBytes && d.n-freeBytes > maxRatio*d.in.n {
		return 0, errRatio
	}
	if err == io.EOF {
		// Bytes behind the end would never be looked at.
		if _, more := d.in.ReadByte(); more == nil {
			return n, errors.New("data behind the end of a compressed body")
		} else if more != io.EOF {
			return n, more
		}
	}
	return n, err
}

func (d *decoder) Close() error {
	d.close()
	return nil
}

// countingReader counts what the decoder has taken. It reads single bytes
// too, so that no decoder reads ahead.
type countingReader struct {
	r *bufio.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
