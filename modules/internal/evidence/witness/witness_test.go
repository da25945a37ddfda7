package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/witness/standin"
)

// testLog is a log in memory.
type testLog struct {
	t      *testing.T
	signer note.Signer
	hashes []tlog.Hash
	n      int64
}

func (l *testLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *testLog) grow(records ...string) Checkpoint {
	l.t.Helper()
	for _, r := range records {
		h, err := tlog.StoredHashes(l.n, []byte(r), l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes = append(l.hashes, h...)
		l.n++
	}
	root, err := tlog.TreeHash(l.n, l)
	if err != nil {
		l.t.Fatal(err)
	}
	msg, err := note.Sign(&note.Note{Text: fmt.Sprintf("log.example.com\n%d\n%s\n", l.n, root)}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	size := l.n
	return Checkpoint{Note: msg, Size: size, Body: func(old int64) ([]byte, error) {
		var proof tlog.TreeProof
		if old > 0 && old < size {
			var err error
			if proof, err = tlog.ProveTree(size, old, l); err != nil {
				return nil, err
			}
		}
		b := fmt.Appendf(nil, "old %d\n", old)
		for _, h := range proof {
			b = fmt.Appendf(b, "%s\n", h)
		}
		return append(append(b, '\n'), msg...), nil
	}}
}

func newLog(t *testing.T) (*testLog, note.Verifiers) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(bytes.NewReader(make([]byte, ed25519.SeedSize)), "log.example.com")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return &testLog{t: t, signer: signer}, note.VerifierList(v)
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestWitnessCosignsAGrowingLogAndNoOther(t *testing.T) {
	l, known := newLog(t)
	s := standin.New("witness.example.com", 1)
	w, err := Parse(serve(t, s) + "/ " + s.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	cosign := func(c Checkpoint, old int64) (string, error) {
		return w.Cosign(context.Background(), http.DefaultClient, c, old, time.Now())
	}
	c := l.grow("a", "b", "c")
	if _, err := cosign(c, 0); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("an unknown log: %v", err)
	}
	s.Know("log.example.com", known)
	for i := range 20 {
		old := int64(0) // as after a restart: the witness tells
		if i%2 == 1 {
			old = c.Size
		}
		c = l.grow(fmt.Sprint("record ", i), fmt.Sprint("and ", i))
		line, err := cosign(c, old)
		if err != nil {
			t.Fatal(err)
		}
		by, err := Cosigned(append(bytes.Clone(c.Note), line...), []Witness{w})
		if err != nil || len(by) != 1 || time.Since(by["witness.example.com"]) > time.Minute {
			t.Fatalf("%v %v", by, err)
		}
	}
	if _, err := cosign(c, c.Size); err != nil { // the same once more
		t.Error(err)
	}
	// The log is put back, and goes on from there.
	back, _ := newLog(t)
	var ahead *AheadError
	if _, err := cosign(back.grow("a", "b", "c"), 0); !errors.As(err, &ahead) || ahead.Cosigned != c.Size {
		t.Errorf("a log that was put back: %v", err)
	}
	var other []string
	for i := range 50 {
		other = append(other, fmt.Sprint("other ", i))
	}
	if _, err := cosign(back.grow(other...), 0); !errors.Is(err, ErrFork) {
		t.Errorf("another history: %v", err)
	}
	same, _ := newLog(t)
	if _, err := cosign(same.grow(other[:c.Size]...), 0); !errors.Is(err, ErrFork) {
		t.Errorf("another history of the same size: %v", err)
	}
}

func TestAnswersOfBadWitnessesAreNoCosignatures(t *testing.T) {
	l, known := newLog(t)
	good := standin.New("witness.example.com", 1)
	good.Know("log.example.com", known)
	c := l.grow("a")
	other := standin.New("witness.example.com", 2) // another key under the name
	other.Know("log.example.com", known)
	answer := func(status int, kind, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	for name, h := range map[string]http.Handler{
		"another key":         other,
		"nothing":             answer(200, "", ""),
		"no signature":        answer(200, "", "thanks\n"),
		"the log's own":       answer(200, "", string(c.Note[bytes.Index(c.Note, []byte("\n\n"))+2:])),
		"an error":            answer(500, "", ""),
		"a redirect":          answer(307, "", ""),
		"conflict, no size":   answer(409, "text/x.tlog.size", ""),
		"conflict, bad size":  answer(409, "text/x.tlog.size", "007\n"),
		"conflict, as before": answer(409, "text/x.tlog.size", "0\n"),
		"conflict for ever":   answer(409, "text/x.tlog.size", "1\n"),
		"endless":             answer(200, "", strings.Repeat("x", 1<<20)),
	} {
		w, err := Parse(serve(t, h) + " " + good.VerifierKey())
		if err != nil {
			t.Fatal(err)
		}
		if line, err := w.Cosign(context.Background(), http.DefaultClient, c, 0, time.Now()); err == nil {
			t.Errorf("%s: cosigned by %q", name, line)
		}
	}
	// One that is not there, and one whose clock is ahead.
	w, _ := Parse("http://127.0.0.1:1 " + good.VerifierKey())
	if _, err := w.Cosign(context.Background(), http.DefaultClient, c, 0, time.Now()); err == nil {
		t.Error("nobody cosigns")
	}
	w, _ = Parse(serve(t, good) + " " + good.VerifierKey())
	if _, err := w.Cosign(context.Background(), http.DefaultClient, c, 0, time.Now().Add(-time.Hour)); err == nil {
		t.Error("a cosignature from the future")
	}
}

func TestKeysOfWitnesses(t *testing.T) {
	s := standin.New("witness.example.com", 1)
	good := s.VerifierKey()
	for text, want := range map[string]string{
		good:                                     "",
		"https://w.example.com " + good:          "",
		good + " https://w.example.com/w1/":      "",
		"":                                       "missing",
		"https://w.example.com":                  "missing",
		good + " " + good:                        "one key",
		"https:// " + good:                       "not the URL",
		"https://w.example.com/?a=b " + good:     "not the URL",
		strings.Replace(good, "witness", "w", 1): "does not fit",
		"a+b":                                    "not a verifier key",
		good[:60]:                                "not a verifier key",
		// The key of a log, and one of ML-DSA-44.
		"log.example.com+1a2b3c4d+" + "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": "not one of a witness",
		"w.example.com+1a2b3c4d+BgAA": "ML-DSA-44",
	} {
		_, err := Parse(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// The example of C2SP tlog-cosignature.
func TestCosignatureOfTheSpecificationIsRead(t *testing.T) {
	at, ok := Time(note.Signature{Base64: "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="})
	if !ok || at.Unix() != 1679315147 {
		t.Errorf("%v %v", at, ok)
	}
}
