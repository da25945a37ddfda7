package trail

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

const goldenSeal = `caddy-moat trail seal v1
example.com/trail
2 3 101
1800000000 1800000060
U2wWAXqhCCg+iBQCeKu6y3kgEJt4ZmSNcXEc8AAtSGo=
U2wWAXqhCCg+iBQCeKu6y3kgEJt4ZmSNcXEc8AAtSGo=
`

const goldenPruned = `caddy-moat trail pruned v1
example.com/trail
2
1800000000
U2wWAXqhCCg+iBQCeKu6y3kgEJt4ZmSNcXEc8AAtSGo=
`

const goldenCheckpoint = `example.com/trail
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
`

// The checkpoint that C2SP tlog-checkpoint gives as its example.
const exampleCheckpoint = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
`

// reprint parses a note's text as whatever it is and prints it again.
func reprint(text string) (string, error) {
	switch {
	case strings.HasPrefix(text, sealHeader+"\n"):
		s, err := parseSeal(text)
		if err != nil {
			return "", err
		}
		return s.text(), nil
	case strings.HasPrefix(text, prunedHeader+"\n"):
		p, err := parsePruned(text)
		if err != nil {
			return "", err
		}
		return p.text(), nil
	}
	c, err := parseCheckpoint(text)
	if err != nil {
		return "", err
	}
	return c.text(), nil
}

func TestNotesArePrintedAsSpecified(t *testing.T) {
	for _, golden := range []string{goldenSeal, goldenPruned, goldenCheckpoint} {
		got, err := reprint(golden)
		if err != nil || got != golden {
			t.Errorf("got %v\n%s\nwant\n%s", err, got, golden)
		}
	}
}

func TestMalformedNotesAreRefused(t *testing.T) {
	const h = "U2wWAXqhCCg+iBQCeKu6y3kgEJt4ZmSNcXEc8AAtSGo="
	for _, text := range []string{
		"", "\n", "\n\n\n",
		"o\n1\n" + h, "o\n1\n" + h + "\nextension\n", "o\n01\n" + h + "\n", "o\n-1\n" + h + "\n", "o\n+1\n" + h + "\n", "o\n1\n" + h[:43] + "\n", "o\n1\n" + h[:42] + "p=\n",
		"o o\n1\n" + h + "\n", "o+o\n1\n" + h + "\n", "\n1\n" + h + "\n", "o\n9223372036854775808\n" + h + "\n", "o\n1\n" + h + "\r\n",
		strings.Replace(goldenSeal, "2 3 101", "3 3 101", 1),
		strings.Replace(goldenSeal, "2 3 101", "2 4 101", 1),
		strings.Replace(goldenSeal, "2 3 101", "2 3", 1),
		strings.Replace(goldenSeal, "1800000060", "1700000000", 1),
		strings.Replace(goldenSeal, "v1", "v2", 1),
		goldenSeal + h + "\n", strings.TrimSuffix(goldenSeal, "\n"),
		strings.Replace(goldenPruned, "\n2\n", "\n3\n", 1),
		strings.Replace(goldenPruned, "\n2\n", "\n 2\n", 1),
	} {
		if got, err := reprint(text); err == nil {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

func TestPublishedCheckpointIsRead(t *testing.T) {
	text, signed, err := openNote([]byte(exampleCheckpoint), note.VerifierList())
	if err != nil || signed {
		t.Fatalf("openNote: %v, signed %v without a known key", err, signed)
	}
	c, err := parseCheckpoint(text)
	if err != nil || c.Size != 20852163 || c.Origin != "example.com/behind-the-sofa" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := ParseCheckpoint([]byte(exampleCheckpoint), note.VerifierList()); err == nil {
		t.Error("a checkpoint that no known key signed is accepted")
	}
}

func TestKeysAreRead(t *testing.T) {
	_, vkey, _ := testSigner(t)
	if _, err := ParseKeys([]byte("# comment\n\n" + vkey + "\n")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "# none\n", "x\n", vkey + "x\n", vkey + "\nx"} {
		if _, err := ParseKeys([]byte(bad)); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}

// FuzzNote: what is read prints as it was, and nothing panics.
func FuzzNote(f *testing.F) {
	f.Add(goldenSeal)
	f.Add(goldenPruned)
	f.Add(goldenCheckpoint)
	f.Add(exampleCheckpoint)
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := reprint(text); err == nil && got != text {
			t.Errorf("%q is printed as %q", text, got)
		}
		if text, _, err := openNote([]byte(text), nil); err == nil {
			_, _ = reprint(text)
		}
		if index, path, cp, err := parseProof([]byte(text)); err == nil {
			i, p, c, err := parseProof(formatProof(index, path, cp))
			if err != nil || i != index || len(p) != len(path) || !bytes.Equal(c, cp) {
				t.Errorf("proof %q does not come back: %v", text, err)
			}
		}
	})
}

// segmentSeeds are contents of a segment and its leaf hashes; the first is
// the good one.
func segmentSeeds(f *testing.F) {
	f.Add(slices.Concat(testRecord(0, 100), newline, testRecord(1, 100), newline), []byte{})
	f.Add([]byte("{}\n{}\n"), []byte{1})
	f.Add([]byte("\n\n\x00"), bytes.Repeat([]byte{2}, 64))
}

// writeSegment makes a trail of which two records are signed, and gives it
// the segment that the fuzzer came up with.
func writeSegment(tb testing.TB, dir string, segment, hashes []byte) {
	signer, vkey, _ := testSigner(tb)
	var tree frontier
	for _, leaf := range testLeaves(2) {
		tree.add(leaf)
	}
	cp, err := signNote(Checkpoint{"example.com/trail", 2, tree.root()}.text(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	for path, data := range map[string][]byte{
		filepath.Join(dir, checkpointName): cp,
		filepath.Join(dir, keysName):       []byte(vkey + "\n"),
		segmentPath(dir, 0, recordsSuffix): segment,
		segmentPath(dir, 0, hashesSuffix):  hashes,
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// FuzzSegment: whatever stands in a segment, reading it neither panics nor
// fails, agrees with the plain way to cut lines, and a trail is good only if
// it is the one that was signed.
func FuzzSegment(f *testing.F) {
	segmentSeeds(f)
	_, _, known := testSigner(f)
	good := slices.Concat(testRecord(0, 100), newline, testRecord(1, 100), newline)
	f.Fuzz(func(t *testing.T, segment, hashes []byte) {
		dir := t.TempDir() // a new one: ext4 syncs files that are written over
		writeSegment(t, dir, segment, hashes)
		r := mustVerify(t, dir, VerifyOptions{Known: known})
		if r.OK() && !bytes.HasPrefix(segment, good) {
			t.Errorf("a segment of %q is taken for the signed one", segment)
		}
		want := bytes.SplitAfter(segment, newline)
		got := lines(t, dir)
		if len(got) != len(want)-1 || int64(len(got)) != r.Records {
			t.Fatalf("Scan reads %d lines, Verify %d, want %d", len(got), r.Records, len(want)-1)
		}
		for i := range got {
			if got[i]+"\n" != string(want[i]) {
				t.Errorf("line %d: %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// FuzzOpen: Open refuses a segment that is not the one that was signed, and
// otherwise repairs it.
func FuzzOpen(f *testing.F) {
	segmentSeeds(f)
	good := slices.Concat(testRecord(0, 100), newline, testRecord(1, 100), newline)
	f.Add(append(bytes.Clone(good), "{}\n{"...), []byte{})
	f.Fuzz(func(t *testing.T, segment, hashes []byte) {
		dir := t.TempDir()
		writeSegment(t, dir, segment, hashes)
		o := testOptions(t)
		o.Logf = nil
		tr, err := Open(dir, o)
		if err == nil != bytes.HasPrefix(segment, good) || err != nil && !errors.Is(err, ErrTampered) {
			t.Errorf("Open: %v", err)
		}
		if err == nil {
			mustClose(t, tr)
			wantGood(t, dir, tr.Stats().Durable)
		}
	})
}
