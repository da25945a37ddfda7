package reqctx

import (
	"io"
	"net/http"
)

// HasContent reports whether a request has content (RFC 9110 section 6.4).
//
// Its length tells for HTTP/1.1 and, mostly, for HTTP/2. A request over
// HTTP/3 without content has the length -1, as one whose length nobody has
// announced: only reading says which it is. So one byte is read ahead and put
// back; a request that turns out to have no content has the length 0 afterwards.
func HasContent(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return false
	}
	if r.ContentLength > 0 {
		return true
	}
	if _, ok := r.Body.(*ahead); ok {
		return true
	}
	a := &ahead{ReadCloser: r.Body}
	for a.n == 0 && a.err == nil {
		a.n, a.err = a.ReadCloser.Read(a.first[:])
	}
	// An error other than the end is for whoever reads the body: there is some.
	if a.n > 0 || a.err != io.EOF {
		r.Body = a
		return true
	}
	r.ContentLength, r.TransferEncoding = 0, nil
	r.Header.Del("Transfer-Encoding")
	if len(r.Trailer) == 0 {
		r.Body = http.NoBody
	}
	return false
}

// ahead is a body of which the first byte has been read.
type ahead struct {
	io.ReadCloser
	first [1]byte
	n     int   // bytes in first that are still to be given out
	err   error // what reading them ended with
}

func (a *ahead) Read(p []byte) (int, error) {
	switch {
	case a.n > 0 && len(p) > 0:
		p[0], a.n = a.first[0], 0
		return 1, nil
	case a.n > 0:
		return 0, nil
	case a.err != nil:
		return 0, a.err
	}
	return a.ReadCloser.Read(p)
}
