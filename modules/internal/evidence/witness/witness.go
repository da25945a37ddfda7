// Package witness has the checkpoints of a log cosigned by witnesses: others
// who remember the last checkpoint that they have seen, and who sign a newer
// one only with a proof that the log has grown from the one into the other. A
// log that was put back to an older state, or that has two histories, cannot
// get a cosignature for it.
//
// It implements the client of C2SP tlog-witness, and the Ed25519 cosignatures
// of C2SP tlog-cosignature. ML-DSA-44 cosignatures are passed over: Go has had
// the algorithm since 1.27.
package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Witness is one witness.
type Witness struct {
	// URL is the submission prefix. Without, the witness cannot be asked,
	// and its cosignatures can be verified all the same.
	URL string

	// Verifier is its key, as NewVerifier makes it.
	Verifier note.Verifier
}

// Parse reads a URL and a verifier key, in any order and separated by white
// space, or a key alone.
func Parse(text string) (Witness, error) {
	var w Witness
	for _, f := range strings.Fields(text) {
		if strings.HasPrefix(f, "http://") || strings.HasPrefix(f, "https://") {
			u, err := url.Parse(f)
			if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || w.URL != "" {
				return Witness{}, fmt.Errorf("%q is not the URL of a witness: write its submission prefix, such as https://witness.example.com", f)
			}
			w.URL = strings.TrimRight(f, "/")
			continue
		}
		v, err := NewVerifier(f)
		if err != nil {
			return Witness{}, err
		}
		if w.Verifier != nil {
			return Witness{}, errors.New("a witness has one key")
		}
		w.Verifier = v
	}
	if w.Verifier == nil {
		return Witness{}, errors.New("the verifier key of the witness is missing: name+hash+key")
	}
	return w, nil
}

// Errors of Cosign.
var (
	// ErrFork says that the witness has seen another history of the log.
	ErrFork = errors.New("the witness has cosigned another history of this log")

	// ErrUnknownLog says that the witness does not know the log or its key.
	ErrUnknownLog = errors.New("the witness does not know this log: give its operator the origin and the verifier key")
)

// AheadError says that the witness has cosigned more records than the log
// has: it was put back to an older state, or there are two of it.
type AheadError struct{ Cosigned, Size int64 }

func (e *AheadError) Error() string {
	return fmt.Sprintf("the witness has cosigned %d records of this log, which has %d: it was put back to an older state, or its key signs another one too", e.Cosigned, e.Size)
}

// Checkpoint is what is to be cosigned.
type Checkpoint struct {
	Note []byte // signed by the log
	Size int64

	// Body returns the body of the request to add it, with the proof that
	// it begins with the first old records.
	Body func(old int64) ([]byte, error)
}

// maxResponse bounds what is read of a response.
const maxResponse = 16 << 10

// Cosign asks for a cosignature. old is the size that the witness has
// cosigned last, as far as is known. It returns the signature line.
func (w *Witness) Cosign(ctx context.Context, client *http.Client, c Checkpoint, old int64, now time.Time) (line string, err error) {
	if old > c.Size {
		old = 0
	}
	for range 3 {
		response, status, at, err := w.add(ctx, client, c, old)
		switch {
		case err != nil:
			return "", err
		case status == http.StatusOK:
			return w.signature(c.Note, response, now)
		case status == http.StatusConflict && at > c.Size:
			return "", &AheadError{Cosigned: at, Size: c.Size}
		case status == http.StatusConflict && at >= 0 && at != old:
			old = at // the witness knows better, or has answered another meanwhile
			continue
		case status == http.StatusConflict, status == http.StatusUnprocessableEntity:
			return "", ErrFork
		case status == http.StatusNotFound, status == http.StatusForbidden:
			return "", ErrUnknownLog
		}
		return "", fmt.Errorf("the witness responds with %d", status)
	}
	return "", errors.New("the witness names another size each time")
}

// add makes one add-checkpoint request. at is the size that a 409 names, -1
// where it names none.
func (w *Witness) add(ctx context.Context, client *http.Client, c Checkpoint, old int64) (response []byte, status int, at int64, err error) {
	body, err := c.Body(old)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("proving that the log has grown from %d records: %w", old, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return nil, 0, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, 0, err
	}
	defer resp.Body.Close()
	response, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return nil, 0, 0, err
	}
	at = -1
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if text, whole := strings.CutSuffix(string(response), "\n"); resp.StatusCode == http.StatusConflict && kind == "text/x.tlog.size" && whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && strconv.FormatInt(n, 10) == text {
			at = n
		}
	}
	return response, resp.StatusCode, at, nil
}

// signature finds the cosignature among the lines of a response.
func (w *Witness) signature(msg, response []byte, now time.Time) (string, error) {
	n, err := note.Open(append(bytes.Clone(msg), response...), note.VerifierList(w.Verifier))
	if err != nil {
		return "", fmt.Errorf("the response of the witness has no cosignature by its key: %w", err)
	}
	s := n.Sigs[0]
	if at, ok := Time(s); !ok || at.After(now.Add(clockSkew)) {
		return "", errors.New("the cosignature is from the future")
	}
	return "\u2014 " + s.Name + " " + s.Base64 + "\n", nil
}

// clockSkew is how far the clock of a witness may be ahead.
const clockSkew = 5 * time.Minute
