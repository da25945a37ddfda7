package trail

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// A victim is a trail of 60 records in six segments, the last of them open.
type victim struct {
	dir   string
	files []string // segments
	first []int    // record of each
}

const victimRecords = 60

func makeVictim(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	o := testOptions(tb)
	o.RollSize = 1010 // ten records of 100 bytes
	o.Interval = 1
	tr := mustOpen(tb, dir, o)
	for i := range victimRecords {
		fill(tb, tr, i, i+1, 100)
	}
	mustClose(tb, tr)
	if r := wantGood(tb, dir, victimRecords); r.Segments != 6 {
		tb.Fatalf("%d segments", r.Segments)
	}
	return dir
}

func openVictim(tb testing.TB, dir string) *victim {
	l, err := list(dir)
	if err != nil {
		tb.Fatal(err)
	}
	v := &victim{dir: dir}
	for _, f := range l.records {
		v.files = append(v.files, segmentPath(dir, f, recordsSuffix))
		v.first = append(v.first, int(f))
	}
	return v
}

// lines returns the lines of a segment.
func (v *victim) lines(tb testing.TB, seg int) []string {
	s := string(read(tb, v.files[seg]))
	return strings.SplitAfter(strings.TrimSuffix(s, "\n"), "\n")
}

func (v *victim) write(tb testing.TB, seg int, lines []string) {
	tb.Helper()
	s := strings.Join(lines, "")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	if err := os.WriteFile(v.files[seg], []byte(s), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// rehash makes the leaf hashes of a segment agree with its lines.
func (v *victim) rehash(tb testing.TB, seg int) {
	tb.Helper()
	var out []byte
	for _, l := range v.lines(tb, seg) {
		h := tlog.RecordHash([]byte(strings.TrimSuffix(l, "\n")))
		out = append(out, h[:]...)
	}
	if err := os.WriteFile(strings.Replace(v.files[seg], recordsSuffix, hashesSuffix, 1), out, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// A crime changes a victim and returns the kinds that may be reported and
// the records of which at least one must be named by a problem.
type crime struct {
	name   string
	commit func(tb testing.TB, r *rand.Rand, v *victim) (kinds []string, records []int)
}

func pick(tb testing.TB, r *rand.Rand, v *victim) (seg, line int, lines []string) {
	seg = r.IntN(len(v.files))
	lines = v.lines(tb, seg)
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\n") + "\n"
	}
	return seg, r.IntN(len(lines)), lines
}

func mutate(r *rand.Rand, line string) string {
	b := []byte(line)
	i := r.IntN(len(b) - 1)
	old := b[i]
	for b[i] == old || b[i] == '\n' {
		b[i] = byte(r.UintN(256))
	}
	return string(b)
}

var crimes = []crime{
	{"edit", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		lines[i] = mutate(r, lines[i])
		v.write(tb, seg, lines)
		return []string{Edited}, []int{v.first[seg] + i}
	}},
	{"edit with its hash", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		lines[i] = mutate(r, lines[i])
		v.write(tb, seg, lines)
		v.rehash(tb, seg)
		return []string{Edited}, []int{v.first[seg] + i}
	}},
	{"delete", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		v.write(tb, seg, slices.Delete(lines, i, i+1))
		return []string{Deleted, Truncated}, []int{v.first[seg] + i}
	}},
	{"delete with its hash", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		v.write(tb, seg, slices.Delete(lines, i, i+1))
		v.rehash(tb, seg)
		return []string{Edited, Truncated}, []int{v.first[seg] + i, v.first[seg] + len(lines) - 1}
	}},
	{"insert", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		v.write(tb, seg, slices.Insert(lines, i, `{"forged":true}`+"\n"))
		return []string{Inserted}, []int{v.first[seg] + i}
	}},
	{"repeat", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		j := r.IntN(len(lines))
		v.write(tb, seg, slices.Insert(lines, j, lines[i]))
		return []string{Inserted, Reordered}, nil
	}},
	{"swap two records", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		j := (i + 1 + r.IntN(len(lines)-1)) % len(lines)
		lines[i], lines[j] = lines[j], lines[i]
		v.write(tb, seg, lines)
		return []string{Reordered}, []int{v.first[seg] + i, v.first[seg] + j}
	}},
	{"move a record", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		l := lines[i]
		j := (i + 1 + r.IntN(len(lines)-1)) % len(lines)
		lines = slices.Insert(slices.Delete(lines, i, i+1), j, l)
		v.write(tb, seg, lines)
		// A neighbour moved by one is the same as the record moved.
		return []string{Reordered}, []int{v.first[seg] + i, v.first[seg] + j}
	}},
	{"swap records of two segments", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		a, i, la := pick(tb, r, v)
		b, j, lb := pick(tb, r, v)
		for b == a {
			b, j, lb = pick(tb, r, v)
		}
		la[i], lb[j] = lb[j], la[i]
		v.write(tb, a, la)
		v.write(tb, b, lb)
		return []string{Edited}, []int{v.first[a] + i, v.first[b] + j}
	}},
	{"truncate a segment", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, _, _ := pick(tb, r, v)
		data := read(tb, v.files[seg])
		n := r.IntN(len(data))
		if err := os.Truncate(v.files[seg], int64(n)); err != nil {
			tb.Fatal(err)
		}
		return []string{Deleted, Truncated, Inserted}, []int{v.first[seg] + bytes.Count(data[:n], newline)}
	}},
	{"append to a segment", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg := r.IntN(len(v.files) - 1)
		lines := append(v.lines(tb, seg), "\n{}\n")
		v.write(tb, seg, lines)
		return []string{Inserted}, []int{v.first[seg+1]}
	}},
	{"join two lines", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		i = min(i, len(lines)-2)
		lines[i] = strings.TrimSuffix(lines[i], "\n")
		v.write(tb, seg, lines)
		return []string{Edited}, []int{v.first[seg] + i}
	}},
	{"split a line", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		k := 1 + r.IntN(len(lines[i])-2)
		lines[i] = lines[i][:k] + "\n" + lines[i][k:]
		v.write(tb, seg, lines)
		return []string{Edited}, []int{v.first[seg] + i}
	}},
	{"swap segments", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		a := r.IntN(len(v.files))
		b := (a + 1 + r.IntN(len(v.files)-1)) % len(v.files)
		v.swap(tb, a, b, recordsSuffix)
		return []string{Edited}, []int{v.first[a], v.first[b]}
	}},
	{"swap segments with their hashes", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		a := r.IntN(len(v.files))
		b := (a + 1 + r.IntN(len(v.files)-1)) % len(v.files)
		v.swap(tb, a, b, recordsSuffix)
		v.swap(tb, a, b, hashesSuffix)
		return []string{Edited}, []int{v.first[a], v.first[b]}
	}},
	{"swap segments with hashes and seals", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		a := r.IntN(len(v.files) - 1)
		b := (a + 1 + r.IntN(len(v.files)-2)) % (len(v.files) - 1)
		v.swap(tb, a, b, recordsSuffix)
		v.swap(tb, a, b, hashesSuffix)
		v.swap(tb, a, b, sealSuffix)
		return []string{Forged}, nil
	}},
	{"remove a segment", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg := r.IntN(len(v.files))
		remove(tb, v.files[seg])
		return []string{Missing, Truncated}, []int{v.first[seg]}
	}},
	{"remove a segment with all that is beside it", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg := r.IntN(len(v.files))
		remove(tb, v.files[seg])
		remove(tb, v.beside(seg, hashesSuffix))
		if seg < len(v.files)-1 {
			remove(tb, v.beside(seg, sealSuffix))
		}
		return []string{Missing, Truncated}, []int{v.first[seg]}
	}},
	{"replace a segment by a directory", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg := r.IntN(len(v.files))
		remove(tb, v.files[seg])
		if err := os.Mkdir(v.files[seg], 0o700); err != nil {
			tb.Fatal(err)
		}
		return []string{Missing, Truncated}, []int{v.first[seg]}
	}},
	{"remove a seal", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg := r.IntN(len(v.files) - 1)
		remove(tb, v.beside(seg, sealSuffix))
		return []string{Missing}, []int{v.first[seg]}
	}},
	{"remove leaf hashes", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg := r.IntN(len(v.files) - 1)
		remove(tb, v.beside(seg, hashesSuffix))
		return []string{Missing}, []int{v.first[seg]}
	}},
	{"remove the checkpoint", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		remove(tb, filepath.Join(v.dir, checkpointName))
		return []string{Missing}, nil
	}},
	{"sign again with another key", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg, i, lines := pick(tb, r, v)
		lines[i] = mutate(r, lines[i])
		v.write(tb, seg, lines)
		forge(tb, v)
		return []string{Forged}, nil
	}},
	{"pretend that segments were old", func(tb testing.TB, r *rand.Rand, v *victim) ([]string, []int) {
		seg := 1 + r.IntN(len(v.files)-1)
		s, err := readSeal(v.dir, int64(v.first[seg-1]), "example.com/trail", nil)
		if err != nil {
			tb.Fatal(err)
		}
		for i := range seg {
			for _, suffix := range []string{recordsSuffix, hashesSuffix, sealSuffix} {
				remove(tb, v.beside(i, suffix))
			}
		}
		p := &pruned{origin: s.origin, time: s.closed, tree: s.tree}
		signWith(tb, otherKey(tb), filepath.Join(v.dir, prunedName), p.text())
		return []string{Forged, Missing}, nil
	}},
}

func (v *victim) beside(seg int, suffix string) string {
	return strings.Replace(v.files[seg], recordsSuffix, suffix, 1)
}

func (v *victim) swap(tb testing.TB, a, b int, suffix string) {
	tb.Helper()
	pa, pb := v.beside(a, suffix), v.beside(b, suffix)
	da, errA := os.ReadFile(pa)
	db, errB := os.ReadFile(pb)
	if errA != nil || errB != nil {
		tb.Fatal(errA, errB)
	}
	if os.WriteFile(pa, db, 0o600) != nil || os.WriteFile(pb, da, 0o600) != nil {
		tb.Fatal("swapping")
	}
}

func remove(tb testing.TB, path string) {
	tb.Helper()
	if err := os.Remove(path); err != nil {
		tb.Fatal(err)
	}
}

func otherKey(tb testing.TB) Options {
	tb.Helper()
	s, vkey, err := NewSigner("example.com/trail", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		tb.Fatal(err)
	}
	return Options{Signer: s, VerifierKey: vkey}
}

func signWith(tb testing.TB, o Options, path, text string) {
	tb.Helper()
	msg, err := signNote(text, o.Signer)
	if err == nil {
		err = os.WriteFile(path, msg, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// forge makes the whole trail consistent again, and signs it with another
// key that it also notes in the directory.
func forge(tb testing.TB, v *victim) {
	o := otherKey(tb)
	var tree frontier
	for seg, file := range v.files {
		v.rehash(tb, seg)
		for _, l := range v.lines(tb, seg) {
			tree.add(tlog.RecordHash([]byte(strings.TrimSuffix(l, "\n"))))
		}
		if seg < len(v.files)-1 {
			t := tree
			s := &seal{origin: "example.com/trail", first: int64(v.first[seg]), end: tree.n, bytes: int64(len(read(tb, file))), tree: &t}
			signWith(tb, o, v.beside(seg, sealSuffix), s.text())
		}
	}
	signWith(tb, o, filepath.Join(v.dir, checkpointName), Checkpoint{"example.com/trail", tree.n, tree.root()}.text())
	if err := os.WriteFile(filepath.Join(v.dir, keysName), []byte(o.VerifierKey+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func TestEveryTamperingIsFoundAndNamed(t *testing.T) {
	good := makeVictim(t)
	rounds := 8
	if *thorough {
		rounds = 200
	}
	for _, c := range crimes {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			for seed := range rounds {
				dir := filepath.Join(t.TempDir(), "trail")
				copyTrail(t, good, dir)
				kinds, records := c.commit(t, newRand(uint64(seed)), openVictim(t, dir))
				r := mustVerify(t, dir, VerifyOptions{})
				if r.OK() {
					t.Fatalf("seed %d: nothing was found", seed)
				}
				var named, ofKind bool
				for _, p := range r.Problems {
					ofKind = ofKind || slices.Contains(kinds, p.Kind)
					for _, n := range records {
						named = named || int64(n) >= p.First && (int64(n) < p.End || p.First == p.End && int64(n) == p.First)
					}
				}
				if !ofKind || !named && records != nil {
					t.Errorf("seed %d: want kind %v, one of the records %v, got:", seed, kinds, records)
					for _, p := range r.Problems {
						t.Errorf("\t%v", p)
					}
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

func TestSingleFaultsAreOneProblem(t *testing.T) {
	good := makeVictim(t)
	for _, tt := range []struct {
		name   string
		change func(lines []string) []string
		want   string
	}{
		{"edit", func(l []string) []string { l[3] = "{}\n"; return l }, "00000000000000000020.jsonl:4: edited: record 23: the line is not the record that was written"},
		{"edit two", func(l []string) []string { l[3], l[4] = "{}\n", "{ }\n"; return l }, "00000000000000000020.jsonl:4: edited: records 23 to 24: the line is not the record that was written"},
		{"delete", func(l []string) []string { return slices.Delete(l, 3, 4) }, "00000000000000000020.jsonl:4: deleted: record 23: the record is not there"},
		{"delete three", func(l []string) []string { return slices.Delete(l, 3, 6) }, "00000000000000000020.jsonl:4: deleted: records 23 to 25: the record is not there"},
		{"delete the last", func(l []string) []string { return l[:9] }, "00000000000000000020.jsonl:10: deleted: record 29: the record is not there"},
		{"insert", func(l []string) []string { return slices.Insert(l, 3, "{}\n") }, "00000000000000000020.jsonl:4: inserted: the line is not one of the segment's records"},
		{"repeat", func(l []string) []string { return slices.Insert(l, 6, l[3]) }, "00000000000000000020.jsonl:7: inserted: the line repeats record 23"},
		{"move forward", func(l []string) []string { m := l[3]; return slices.Insert(slices.Delete(l, 3, 4), 8, m) }, "00000000000000000020.jsonl:9: reordered: record 23: the record is not in its position but here"},
		{"move back", func(l []string) []string { m := l[8]; return slices.Insert(slices.Delete(l, 8, 9), 3, m) }, "00000000000000000020.jsonl:4: reordered: record 28: the record is not in its position but here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "trail")
			copyTrail(t, good, dir)
			v := openVictim(t, dir)
			l := v.lines(t, 2)
			l[len(l)-1] += "\n"
			v.write(t, 2, tt.change(l))
			r := mustVerify(t, dir, VerifyOptions{})
			if got := fmt.Sprint(r.Problems); got != "["+tt.want+"]" {
				t.Errorf("got  %s\nwant [%s]", got, tt.want)
			}
		})
	}
}

func TestEveryChangedByteIsFound(t *testing.T) {
	good := makeVictim(t)
	entries, err := os.ReadDir(good)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "trail")
	copyTrail(t, good, dir)
	step := 13
	if *thorough {
		step = 1
	}
	n := 0
	for _, e := range entries {
		if e.Name() == lockName || e.Name() == keysName {
			continue
		}
		data := read(t, good, e.Name())
		for i := 0; i < len(data); i += step {
			changed := bytes.Clone(data)
			changed[i] ^= 1 << (i % 8)
			if err := os.WriteFile(filepath.Join(dir, e.Name()), changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if mustVerify(t, dir, VerifyOptions{}).OK() {
				t.Errorf("%s: bit %d of byte %d changed: nothing was found", e.Name(), i%8, i)
			}
			n++
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantGood(t, dir, victimRecords)
	t.Logf("%d changes", n)
}

func TestRolledBackTrailIsFoundByARememberedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.RollSize = 1010
	tr := mustOpen(t, dir, o)
	fill(t, tr, 0, 25, 100)
	mustClose(t, tr)
	old := filepath.Join(t.TempDir(), "old")
	copyTrail(t, dir, old)
	tr = mustOpen(t, dir, o)
	fill(t, tr, 25, 40, 100)
	mustClose(t, tr)
	remembered := VerifyOptions{Remembered: [][]byte{tr.Checkpoint()}}

	if r := mustVerify(t, dir, remembered); !r.OK() {
		t.Errorf("the trail itself: %v", r.Problems)
	}
	if r := mustVerify(t, old, VerifyOptions{}); !r.OK() {
		t.Errorf("an old copy alone cannot be told from a trail: %v", r.Problems)
	}
	r := mustVerify(t, old, remembered)
	if len(r.Problems) != 1 || r.Problems[0].Kind != Truncated || r.Problems[0].First != 25 || r.Problems[0].End != 40 {
		t.Errorf("rolled back trail: %v", r.Problems)
	}

	// The same goes for a trail that went on differently.
	tr = mustOpen(t, old, o)
	fill(t, tr, 1025, 1045, 100)
	mustClose(t, tr)
	if r := mustVerify(t, old, remembered); r.OK() {
		t.Error("a fork was not found")
	}
	// And an older checkpoint agrees with what came later.
	first := VerifyOptions{Remembered: [][]byte{read(t, old, checkpointName)}}
	if r := mustVerify(t, old, first); !r.OK() {
		t.Errorf("%v", r.Problems)
	}
}

func TestVerifyNeedsTheRightKey(t *testing.T) {
	dir := makeVictim(t)
	v := openVictim(t, dir)
	forge(t, v)
	if r := mustVerify(t, dir, VerifyOptions{}); r.OK() {
		t.Error("a trail signed by another key passes")
	}
	known, err := ParseKeys(read(t, dir, keysName))
	if err != nil {
		t.Fatal(err)
	}
	if r := mustVerify(t, dir, VerifyOptions{Known: known}); !r.OK() || r.OwnKeys {
		t.Errorf("the forged trail is consistent, so its own key finds nothing: %v", r.Problems)
	}
}

func TestOpenRefusesATrailWhoseEndWasTamperedWith(t *testing.T) {
	good := makeVictim(t)
	for _, tt := range []struct {
		name   string
		commit func(v *victim)
	}{
		{"edited", func(v *victim) {
			l := v.lines(t, 5)
			l[0] = "{}\n"
			v.write(t, 5, l)
		}},
		{"cut", func(v *victim) { v.write(t, 5, v.lines(t, 5)[:9]) }},
		{"no open segment", func(v *victim) { remove(t, v.files[5]) }},
		{"no checkpoint", func(v *victim) { remove(t, filepath.Join(v.dir, checkpointName)) }},
		{"other key", func(v *victim) {
			keys := read(t, v.dir, keysName)
			forge(t, v)
			if err := os.WriteFile(filepath.Join(v.dir, keysName), keys, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"no last seal", func(v *victim) { remove(t, v.beside(4, sealSuffix)) }},
	} {
		dir := filepath.Join(t.TempDir(), "trail")
		copyTrail(t, good, dir)
		tt.commit(openVictim(t, dir))
		tr, err := Open(dir, testOptions(t))
		if err == nil {
			tr.Close()
			t.Errorf("%s: Open went on", tt.name)
		} else if !strings.Contains(err.Error(), ErrTampered.Error()) {
			t.Errorf("%s: %v, want ErrTampered", tt.name, err)
		}
	}
}
