// Package standin is a witness for tests. It takes nothing that C2SP
// tlog-witness does not say, and remembers what it has cosigned.
package standin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Witness is an http.Handler.
type Witness struct {
	Name string
	Key  ed25519.PrivateKey

	mu       sync.Mutex
	logs     map[string]note.Verifiers // by origin
	last     map[string]tlog.Tree
	requests int
}

// New returns a witness with the key of a seed.
func New(name string, seed byte) *Witness {
	return &Witness{
		Name: name, Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)),
		logs: make(map[string]note.Verifiers), last: make(map[string]tlog.Tree),
	}
}

func (w *Witness) publicKey() []byte {
	return append([]byte{4}, w.Key.Public().(ed25519.PublicKey)...)
}

func (w *Witness) hash() []byte {
	h := sha256.Sum256(append([]byte(w.Name+"\n"), w.publicKey()...))
	return h[:4]
}

// VerifierKey is the key by which its cosignatures are verified.
func (w *Witness) VerifierKey() string {
	return fmt.Sprintf("%s+%x+%s", w.Name, w.hash(), base64.StdEncoding.EncodeToString(w.publicKey()))
}

// Know makes a log known.
func (w *Witness) Know(origin string, known note.Verifiers) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs[origin] = known
}

// Last is the tree of a log that it has cosigned last.
func (w *Witness) Last(origin string) tlog.Tree {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[origin]
}

// Requests is how many requests came.
func (w *Witness) Requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

// ServeHTTP takes add-checkpoint.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	if r.Method != http.MethodPost || r.URL.Path != "/add-checkpoint" {
		http.Error(rw, "not add-checkpoint", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	status, kind, response := w.add(string(body))
	if kind != "" {
		rw.Header().Set("Content-Type", kind)
	}
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, response)
}

func (w *Witness) add(body string) (status int, kind, response string) {
	bad := func(why string) (int, string, string) { return http.StatusBadRequest, "text/plain", why }
	head, msg, ok := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	digits, isOld := strings.CutPrefix(lines[0], "old ")
	old, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !isOld || err != nil || strconv.FormatInt(old, 10) != digits || len(lines) > 64 {
		return bad("no old size, or too many hashes")
	}
	var proof tlog.TreeProof
	for _, l := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(l)
		if err != nil || len(h) != tlog.HashSize {
			return bad("not a hash: " + l)
		}
		proof = append(proof, tlog.Hash(h))
	}
	text, _, ok := strings.Cut(msg, "\n\n")
	parts := strings.Split(text, "\n")
	if !ok || len(parts) != 3 || !strings.HasSuffix(msg, "\n") {
		return bad("not a checkpoint")
	}
	known := w.logs[parts[0]]
	if known == nil {
		return http.StatusNotFound, "", ""
	}
	n, err := note.Open([]byte(msg), known)
	if err != nil {
		return http.StatusForbidden, "", ""
	}
	size, err := strconv.ParseInt(parts[1], 10, 64)
	root, err2 := tlog.ParseHash(parts[2])
	if err != nil || err2 != nil || strconv.FormatInt(size, 10) != parts[1] || old > size {
		return bad("sizes")
	}
	last := w.last[parts[0]]
	if old != last.N || old == size && old > 0 && root != last.Hash {
		return http.StatusConflict, "text/x.tlog.size", fmt.Sprintf("%d\n", last.N)
	}
	switch {
	case (old == 0 || old == size) && len(proof) > 0:
		return http.StatusUnprocessableEntity, "", ""
	case old > 0 && old < size && tlog.CheckTree(proof, size, root, last.N, last.Hash) != nil:
		return http.StatusUnprocessableEntity, "", ""
	}
	w.last[parts[0]] = tlog.Tree{N: size, Hash: root}
	return http.StatusOK, "", w.cosign(n.Text)
}

// cosign returns a cosignature behind one of somebody else.
func (w *Witness) cosign(text string) string {
	at := uint64(time.Now().Unix()) //nolint:gosec // after 1970
	sig := ed25519.Sign(w.Key, []byte(fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)))
	line := func(name string, hash []byte) string {
		raw := append(binary.BigEndian.AppendUint64(append([]byte(nil), hash...), at), sig...)
		return "\u2014 " + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	}
	return line("other.example.com", []byte{1, 2, 3, 4}) + line(w.Name, w.hash())
}
