package httpsig

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"io"
	"strings"
)

// Digest is what content must hash to. All hashes it has must agree.
type Digest struct {
	sha256, sha512 []byte
}

// ParseContentDigest reads the field Content-Digest (RFC 9530 section 2).
// Algorithms other than sha-256 and sha-512 are passed over, as section 5 asks
// of those that are broken, but at least one of the two is needed.
func ParseContentDigest(lines []string) (*Digest, error) {
	s, ok := joined(lines)
	if !ok {
		return nil, malformed("Content-Digest is too long")
	}
	list, ok := parseByteDictionary(s, maxSignatures)
	if !ok {
		return nil, malformed("Content-Digest is not written as RFC 9530 has it")
	}
	d := new(Digest)
	for _, m := range list {
		switch m.label {
		case "sha-256":
			d.sha256 = m.bytes
			ok = ok && len(m.bytes) == sha256.Size
		case "sha-512":
			d.sha512 = m.bytes
			ok = ok && len(m.bytes) == sha512.Size
		}
	}
	switch {
	case !ok:
		return nil, malformed("Content-Digest has a hash of the wrong length")
	case d.sha256 == nil && d.sha512 == nil:
		return nil, refused("Content-Digest has neither sha-256 nor sha-512")
	}
	return d, nil
}

// parseLegacyDigest reads the field Digest (RFC 3230), as the signatures of
// draft-cavage go with it.
func parseLegacyDigest(lines []string) (*Digest, *Error) {
	if len(lines) != 1 {
		return nil, malformed("Digest has to be one line")
	}
	name, value, _ := strings.Cut(strings.Trim(lines[0], " \t"), "=")
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	switch {
	case err != nil || strings.ContainsAny(value, "\r\n"):
		return nil, malformed("Digest is not written as RFC 3230 has it")
	case strings.EqualFold(name, "SHA-256") && len(sum) == sha256.Size:
		return &Digest{sha256: sum}, nil
	case strings.EqualFold(name, "SHA-512") && len(sum) == sha512.Size:
		return &Digest{sha512: sum}, nil
	}
	return nil, refused("Digest is neither of SHA-256 nor of SHA-512")
}

// ContentDigest returns the value of Content-Digest for content, with sha-256.
func ContentDigest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// hashes are those that a Digest needs.
type hashes struct {
	d              *Digest
	sha256, sha512 hash.Hash
}

func (d *Digest) hashes() hashes {
	h := hashes{d: d}
	if d.sha256 != nil {
		h.sha256 = sha256.New()
	}
	if d.sha512 != nil {
		h.sha512 = sha512.New()
	}
	return h
}

func (h *hashes) write(p []byte) {
	if h.sha256 != nil {
		h.sha256.Write(p)
	}
	if h.sha512 != nil {
		h.sha512.Write(p)
	}
}

// agree reports whether all hashes are what they must be.
func (h *hashes) agree() bool {
	same := func(h hash.Hash, want []byte) bool {
		return h == nil || subtle.ConstantTimeCompare(h.Sum(nil), want) == 1
	}
	a, b := same(h.sha256, h.d.sha256), same(h.sha512, h.d.sha512)
	return a && b
}

// Check reports whether content is what the digest says.
func (d *Digest) Check(content []byte) bool {
	h := d.hashes()
	h.write(content)
	return h.agree()
}

// Reader returns content as it is read from r, but for its last byte, which
// comes, and io.EOF after it, only once the whole has been read and agrees with
// the digest. Otherwise reading ends with an Error of the class ErrDigest: who
// passes the content on cannot take it for complete, nor can who gets it.
func (d *Digest) Reader(r io.ReadCloser) io.ReadCloser {
	return &digestReader{Closer: r, r: r, hashes: d.hashes()}
}

type digestReader struct {
	io.Closer
	r      io.Reader
	hashes hashes

	held byte // the last byte read, if has
	has  bool
	err  error // what remains to be said after the held byte
}

func (d *digestReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.err == nil {
		read, err := d.r.Read(p)
		d.hashes.write(p[:read])
		n := d.shift(p[:read])
		if err != nil {
			d.end(err)
		}
		if d.err != nil && n < len(p) {
			return d.last(p, n)
		}
		if n > 0 || read == 0 { // a reader that gives nothing is the caller's to give up on
			return n, nil
		}
	}
	return d.last(p, 0)
}

// shift puts the held byte before what was read and holds the last of it. It
// returns how many bytes may leave.
func (d *digestReader) shift(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	last := p[len(p)-1]
	n := len(p) - 1
	if d.has {
		copy(p[1:], p[:n])
		p[0] = d.held
		n++
	}
	d.held, d.has = last, true
	return n
}

// end notes how reading ended.
func (d *digestReader) end(err error) {
	d.err = err
	if err == io.EOF && !d.hashes.agree() {
		d.err = &Error{Class: ErrDigest, Reason: "the content does not have the digest that was signed"}
	}
	if d.err != io.EOF {
		d.has = false
	}
}

// last returns the n bytes in p and, after content that agrees, the held one.
func (d *digestReader) last(p []byte, n int) (int, error) {
	if d.has {
		p[n] = d.held
		d.has = false
		n++
	}
	return n, d.err
}

// LegacyDigest returns the value of Digest (RFC 3230) for content.
func LegacyDigest(content []byte) string {
	sum := sha256.Sum256(content)
	return "SHA-256=" + base64.StdEncoding.EncodeToString(sum[:])
}
