package redact

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// What a client asks of a part of a response, or of one that has changed, is kept
// from the upstream, since nobody knows before the response begins whether it is JSON: a
// part of a document cannot be understood, and whether a condition holds tells
// something about the original bytes. So the upstream sends the whole. Where
// that passes as it is (an image, a video, a type named by `pass`), the condition
// is evaluated here, from the header and the bytes of the whole.

// excerpt is what is sent of a body that passes.
type excerpt struct {
	skip, left int64 // bytes still to be skipped, and then to be sent
	over       int64 // bytes that came after those
}

// maxOver is how much of a body is taken that nobody needs any more, so that
// the connection to the upstream can be used again.
const maxOver = 1 << 20

// errEnough ends a body of which all has been sent that was asked for.
var errEnough = errors.New("the client has all that it asked for")

// enough reports whether the client has all that it asked for, though the
// whole body may not have come.
func (x *excerpt) enough() bool { return x != nil && x.left == 0 }

// condition evaluates what the client asked of a response that passes.
func (rw *responseWriter) condition() {
	asked := rw.asked.conditions(rw.r)
	if asked == nil {
		return
	}
	h := rw.w.Header()
	size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil || size < 0 || rw.decoding != nil {
		size = 0
		delete(asked.Header, "Range")
	}
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	verdict := &verdictWriter{header: http.Header{"Content-Type": {"x"}}}
	if tag := h["Etag"]; len(tag) == 1 {
		verdict.header["Etag"] = tag
	}
	http.ServeContent(verdict, asked, "", modified, &sizedContent{size: size})
	switch verdict.status {
	case http.StatusPartialContent:
		var first, last, of int64
		if _, err := fmt.Sscanf(verdict.header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &of); err != nil {
			return
		}
		rw.part = &excerpt{skip: first, left: last - first + 1}
		h["Content-Range"] = verdict.header["Content-Range"]
		h["Content-Length"] = []string{strconv.FormatInt(rw.part.left, 10)}
	case http.StatusNotModified:
		rw.part = new(excerpt)
		delete(h, "Content-Type")
		delete(h, "Content-Length")
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		rw.part = new(excerpt)
		if of := verdict.header["Content-Range"]; of != nil {
			h["Content-Range"] = of
		}
		delete(h, "Content-Type")
		h["Content-Length"] = []string{"0"}
	default:
		return
	}
	rw.status = verdict.status
	delete(h, "Content-Digest") // of other content
	delete(h, "Content-Md5")
	removeAnnounced(h, rw.trailers)
	delete(h, "Trailer")
}

// conditions returns a request with what was taken out of r, nil if that
// asks for nothing. Of several parts none is asked for: the whole is a
// valid response, too (RFC 9110 section 14.2).
func (a *asked) conditions(r *http.Request) *http.Request {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil
	}
	var header http.Header
	for _, f := range a.list {
		switch f.name {
		case "Range":
			if r.Method == http.MethodHead || len(f.values) != 1 || strings.Contains(f.values[0], ",") {
				continue
			}
		case "If-Range", "If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since":
		default:
			continue
		}
		if header == nil {
			header = http.Header{}
		}
		header[f.name] = f.values
		if f.name == "If-None-Match" || f.name == "If-Match" {
			header[f.name] = []string{strings.Join(f.values, ", ")}
		}
	}
	if header == nil {
		return nil
	}
	return &http.Request{Method: http.MethodHead, Header: header} // HEAD: the bytes are not wanted
}

// verdictWriter is what http.ServeContent writes to.
type verdictWriter struct {
	header http.Header
	status int
}

func (v *verdictWriter) Header() http.Header { return v.header }

func (v *verdictWriter) WriteHeader(status int) { v.status = status }

func (v *verdictWriter) Write(p []byte) (int, error) { return len(p), nil }

// sizedContent has a size and no bytes.
type sizedContent struct{ size, at int64 }

func (s *sizedContent) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case 1:
		offset += s.at
	case 2:
		offset += s.size
	}
	s.at = offset
	return offset, nil
}

func (*sizedContent) Read([]byte) (int, error) { return 0, errEnough }

// write sends to w what of p belongs to the part.
func (x *excerpt) write(w http.ResponseWriter, p []byte) error {
	if x.left > 0 {
		skip := min(int64(len(p)), x.skip)
		x.skip -= skip
		p = p[skip:]
		send := min(int64(len(p)), x.left)
		if send > 0 {
			if _, err := w.Write(p[:send]); err != nil {
				return err
			}
		}
		x.left -= send
		p = p[send:]
		if x.left > 0 {
			return nil
		}
		// The client need not wait for what is only thrown away.
		_ = http.NewResponseController(w).Flush()
	}
	if x.over += int64(len(p)); x.over > maxOver {
		return errEnough
	}
	return nil
}
