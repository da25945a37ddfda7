package redact

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
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

// coding returns the one content coding of h, empty for none. More than one,
// or one that is not known, is a fault.
func coding(h http.Header) (string, fault) {
	values := h["Content-Encoding"]
	if len(values) == 0 {
		return "", fault{}
	}
	name := ""
	for _, v := range values {
		for c := range strings.SplitSeq(v, ",") {
			c = strings.ToLower(strings.TrimSpace(c))
			if c == "" || c == "identity" {
				continue
			}
			if name != "" {
				return "", fault{reason: "encoding", detail: "stacked content codings", passable: true}
			}
			name = c
		}
	}
	switch name {
	case "", "gzip", "br", "zstd":
		return name, fault{}
	case "x-gzip": // RFC 9110 section 8.4.1.3
		return "gzip", fault{}
	}
	return "", fault{reason: "encoding", detail: "a content coding that is not known", passable: true}
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
