package trail

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The first lines of the signed notes that are not checkpoints. They contain
// spaces, which an origin must not, so none can be taken for a checkpoint.
const (
	sealHeader   = "caddy-moat trail seal v1"
	prunedHeader = "caddy-moat trail pruned v1"
)

// maxNote bounds what is read of a file that should hold one signed note.
const maxNote = 64 << 10

var errMalformedNote = errors.New("malformed signed note")

// Checkpoint is a commitment to the first Size records of a trail.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
}

// text prints the checkpoint as C2SP tlog-checkpoint says, without
// extension lines.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// parseCheckpoint reads the text of a checkpoint. Extension lines are
// refused: this package never writes any, and nothing would check them.
func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || !validName(lines[0]) {
		return Checkpoint{}, errMalformedNote
	}
	n, err1 := parseCount(lines[1])
	h, err2 := parseHash(lines[2])
	if err1 != nil || err2 != nil {
		return Checkpoint{}, errMalformedNote
	}
	return Checkpoint{lines[0], n, h}, nil
}

// ParseCheckpoint reads a signed checkpoint and checks its signature by one
// of the known keys.
func ParseCheckpoint(msg []byte, known note.Verifiers) (Checkpoint, error) {
	text, signed, err := openNote(msg, known)
	if err != nil {
		return Checkpoint{}, err
	}
	if !signed {
		return Checkpoint{}, errUnsigned
	}
	return parseCheckpoint(text)
}

// seal closes a segment: it says which records the segment holds and what
// the tree looks like after them.
type seal struct {
	origin         string
	first, end     int64 // records
	bytes          int64 // size of the segment
	opened, closed int64 // Unix seconds, never decreasing from seal to seal
	tree           *frontier
}

func (s *seal) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%d %d %d\n%d %d\n", sealHeader, s.origin, s.first, s.end, s.bytes, s.opened, s.closed)
	writeNodes(&b, s.tree)
	return b.String()
}

func parseSeal(text string) (*seal, error) {
	lines, ok := cutNote(text, sealHeader, 4)
	if !ok {
		return nil, errMalformedNote
	}
	c, err1 := parseCounts(lines[2], 3)
	t, err2 := parseCounts(lines[3], 2)
	if err1 != nil || err2 != nil || c[0] >= c[1] || t[0] > t[1] {
		return nil, errMalformedNote
	}
	tree, err := parseNodes(c[1], lines[4:])
	if err != nil {
		return nil, err
	}
	return &seal{lines[1], c[0], c[1], c[2], t[0], t[1], tree}, nil
}

// pruned says that the records before a segment were removed because they
// had been kept long enough, and what the tree looked like after them.
type pruned struct {
	origin string
	time   int64 // of the removal, Unix seconds
	tree   *frontier
}

func (p *pruned) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%d\n%d\n", prunedHeader, p.origin, p.tree.n, p.time)
	writeNodes(&b, p.tree)
	return b.String()
}

func parsePruned(text string) (*pruned, error) {
	lines, ok := cutNote(text, prunedHeader, 4)
	if !ok {
		return nil, errMalformedNote
	}
	n, err1 := parseCount(lines[2])
	t, err2 := parseCount(lines[3])
	if err1 != nil || err2 != nil {
		return nil, errMalformedNote
	}
	tree, err := parseNodes(n, lines[4:])
	if err != nil {
		return nil, err
	}
	return &pruned{lines[1], t, tree}, nil
}

func writeNodes(b *strings.Builder, tree *frontier) {
	for _, h := range tree.nodes() {
		b.WriteString(h.String())
		b.WriteByte('\n')
	}
}

func parseNodes(n int64, lines []string) (*frontier, error) {
	if len(lines) != bits.OnesCount64(uint64(n)) {
		return nil, errMalformedNote
	}
	nodes := make([]tlog.Hash, len(lines))
	for i, l := range lines {
		var err error
		if nodes[i], err = parseHash(l); err != nil {
			return nil, err
		}
	}
	return newFrontier(n, nodes)
}

// cutNote splits a note of ours into lines: the header, the origin, and at
// least min lines altogether.
func cutNote(text, header string, min int) ([]string, bool) {
	text, ok := strings.CutSuffix(text, "\n")
	lines := strings.Split(text, "\n")
	return lines, ok && len(lines) >= min && lines[0] == header && validName(lines[1])
}

// parseCount reads a count in the one form that printing gives.
func parseCount(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, errMalformedNote
	}
	return n, nil
}

func parseCounts(s string, want int) ([]int64, error) {
	f := strings.Split(s, " ")
	if len(f) != want {
		return nil, errMalformedNote
	}
	out := make([]int64, want)
	for i := range f {
		var err error
		if out[i], err = parseCount(f[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parseHash(s string) (tlog.Hash, error) {
	h, err := tlog.ParseHash(s)
	if err != nil || h.String() != s {
		return tlog.Hash{}, errMalformedNote
	}
	return h, nil
}

// validName follows the rule for key names in C2SP signed-note.
func validName(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '+' || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

var errUnsigned = errors.New("not signed by a known key")

// openNote returns the text of a signed note and whether one of the known
// keys signed it. A signature by a known key that is wrong is an error.
func openNote(msg []byte, known note.Verifiers) (text string, signed bool, err error) {
	if len(msg) > maxNote {
		return "", false, errMalformedNote
	}
	n, err := note.Open(msg, known)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	var invalid *note.InvalidSignatureError
	if errors.As(err, &invalid) {
		return "", false, fmt.Errorf("its signature is wrong: %w", err)
	}
	if err != nil {
		return "", false, errMalformedNote
	}
	for _, sigs := range [][]note.Signature{n.Sigs, n.UnverifiedSigs} {
		for _, s := range sigs {
			// Package note passes over bits that base64 does not use.
			if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
				return "", false, errMalformedNote
			}
		}
	}
	return n.Text, len(n.Sigs) > 0, nil
}

func signNote(text string, s note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: text}, s)
}

// NewSigner makes a signer of notes from an Ed25519 key, and the encoded
// verifier key that belongs to it (C2SP signed-note: name+hash+key). The name
// must contain neither spaces nor a plus sign; it is best the trail's origin.
func NewSigner(name string, key ed25519.PrivateKey) (note.Signer, string, error) {
	if len(key) != ed25519.PrivateKeySize || !validName(name) {
		return nil, "", fmt.Errorf("making a signer named %q: the name must not contain spaces or '+' and the key must be Ed25519", name)
	}
	vkey, err := note.NewEd25519VerifierKey(name, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, "", err
	}
	hash := strings.Split(vkey, "+")[1]
	seed := base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...))
	s, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + hash + "+" + seed)
	return s, vkey, err
}

// ParseKeys reads encoded verifier keys, one a line. Blank lines and lines
// that begin with # are skipped.
func ParseKeys(data []byte) (note.Verifiers, error) {
	var list []note.Verifier
	for i, line := range bytes.Split(data, []byte("\n")) {
		l := strings.TrimSpace(string(line))
		if l == "" || l[0] == '#' {
			continue
		}
		v, err := note.NewVerifier(l)
		if err != nil {
			return nil, fmt.Errorf("line %d: not a verifier key: %w", i+1, err)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, errors.New("no verifier key")
	}
	return note.VerifierList(list...), nil
}
