package trail

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// plainVerifier is a verifier written from the package comment alone, with
// nothing but the standard library, so that the comment is known to suffice.
type plainVerifier struct {
	dir, origin string
	key         ed25519.PublicKey
	n           int64
	subtrees    [][]byte // largest first
	checkpoint  struct {
		n    int64
		root []byte
	}
}

// open returns the lines of a signed note's text.
func (v *plainVerifier) open(name string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(v.dir, name))
	if err != nil {
		return nil, err
	}
	i := bytes.LastIndex(data, []byte("\n\n"))
	if i < 0 {
		return nil, errors.New("no blank line")
	}
	text, sigs := string(data[:i+1]), string(data[i+2:])
	id := sha256.Sum256(append([]byte(v.origin+"\n\x01"), v.key...))
	for _, l := range strings.Split(sigs, "\n") {
		b64, ok := strings.CutPrefix(l, "— "+v.origin+" ")
		sig, err := base64.StdEncoding.DecodeString(b64)
		if ok && err == nil && len(sig) == 4+ed25519.SignatureSize && bytes.Equal(sig[:4], id[:4]) && ed25519.Verify(v.key, []byte(text), sig[4:]) {
			return strings.Split(strings.TrimSuffix(text, "\n"), "\n"), nil
		}
	}
	return nil, fmt.Errorf("%s: no good signature", name)
}

func (v *plainVerifier) add(line []byte) {
	h := sha256.Sum256(append([]byte{0}, line...))
	top := h[:]
	for n := v.n; n&1 == 1; n >>= 1 {
		left := v.subtrees[len(v.subtrees)-1]
		v.subtrees = v.subtrees[:len(v.subtrees)-1]
		h := sha256.Sum256(bytes.Join([][]byte{{1}, left, top}, nil))
		top = h[:]
	}
	v.subtrees = append(v.subtrees, top)
	v.n++
}

func (v *plainVerifier) root() []byte {
	if v.n == 0 {
		h := sha256.Sum256(nil)
		return h[:]
	}
	top := v.subtrees[len(v.subtrees)-1]
	for i := len(v.subtrees) - 2; i >= 0; i-- {
		h := sha256.Sum256(bytes.Join([][]byte{{1}, v.subtrees[i], top}, nil))
		top = h[:]
	}
	return top
}

// atCheckpoint compares the root where the checkpoint says.
func (v *plainVerifier) atCheckpoint() error {
	if v.n == v.checkpoint.n && !bytes.Equal(v.root(), v.checkpoint.root) {
		return errors.New("wrong root")
	}
	return nil
}

func (v *plainVerifier) verify() error {
	cp, err := v.open("checkpoint")
	if err != nil {
		return err
	}
	if len(cp) != 3 || cp[0] != v.origin {
		return errors.New("not a checkpoint")
	}
	v.checkpoint.n, _ = strconv.ParseInt(cp[1], 10, 64)
	v.checkpoint.root, _ = base64.StdEncoding.DecodeString(cp[2])
	if p, err := v.open("pruned"); err == nil {
		if p[0] != "caddy-moat trail pruned v1" || p[1] != v.origin {
			return errors.New("not a pruned note")
		}
		v.n, _ = strconv.ParseInt(p[2], 10, 64)
		for _, s := range p[4:] {
			h, _ := base64.StdEncoding.DecodeString(s)
			v.subtrees = append(v.subtrees, h)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if bits.OnesCount64(uint64(v.n)) != len(v.subtrees) {
		return errors.New("wrong subtrees")
	}
	for {
		first := v.n
		base := fmt.Sprintf("%020d", first)
		data, err := os.ReadFile(filepath.Join(v.dir, base+".jsonl"))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err := v.atCheckpoint(); err != nil {
			return err
		}
		all := bytes.SplitAfter(data, []byte("\n"))
		for _, line := range all[:len(all)-1] {
			v.add(line[:len(line)-1])
			if err := v.atCheckpoint(); err != nil {
				return err
			}
		}
		s, err := v.open(base + ".seal")
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		want := []string{"caddy-moat trail seal v1", v.origin, fmt.Sprintf("%d %d %d", first, v.n, len(data)), s[3]}
		for _, h := range v.subtrees {
			want = append(want, base64.StdEncoding.EncodeToString(h))
		}
		if strings.Join(s, "\n") != strings.Join(want, "\n") {
			return fmt.Errorf("the seal of %d is of something else", first)
		}
	}
	if v.n < v.checkpoint.n {
		return errors.New("records are missing")
	}
	// Nothing may follow what was read.
	rest, err := filepath.Glob(filepath.Join(v.dir, "*.jsonl"))
	if err != nil {
		return err
	}
	for _, path := range rest {
		if i, _ := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".jsonl"), 10, 64); i > v.n {
			return errors.New("segments are missing")
		}
	}
	return nil
}

func TestTheFormatIsAsThePackageCommentSays(t *testing.T) {
	verify := func(dir string) (int64, error) {
		v := &plainVerifier{dir: dir, origin: "example.com/trail", key: ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, fix.")).Public().(ed25519.PublicKey)}
		err := v.verify()
		return v.n, err
	}
	good := makeVictim(t)
	if n, err := verify(good); err != nil || n != victimRecords {
		t.Errorf("a good trail: %d records, %v", n, err)
	}
	for _, c := range crimes {
		// What changes only what is not needed to find that something is wrong.
		if c.name == "remove leaf hashes" {
			continue
		}
		for seed := range 3 {
			dir := filepath.Join(t.TempDir(), "trail")
			copyTrail(t, good, dir)
			c.commit(t, newRand(uint64(seed)), openVictim(t, dir))
			if _, err := verify(dir); err == nil {
				t.Errorf("%s: not found", c.name)
			}
		}
	}
	// And after old segments went.
	clock := newClock()
	o := testOptions(t)
	o.RollSize, o.Keep, o.Now, o.uptime = 710, time.Hour, clock.now, clock.uptime
	clock.move(1000 * time.Hour)
	dir := filepath.Join(t.TempDir(), "trail")
	tr := mustOpen(t, dir, o)
	for i := range 50 {
		fill(t, tr, i, i+1, 100)
		clock.move(10 * time.Minute)
	}
	mustClose(t, tr)
	settle(t, dir, o)
	if n, err := verify(dir); err != nil || n != 50 || wantGood(t, dir, 50).Pruned == 0 {
		t.Errorf("after old segments went: %d records, %v", n, err)
	}
}
