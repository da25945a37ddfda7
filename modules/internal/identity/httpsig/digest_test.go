package httpsig

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dunglas/httpsfv"
)

func digest512(content []byte) string {
	sum := sha512.Sum512(content)
	return "sha-512=:" + base64Std(sum[:]) + ":"
}

// The examples of RFC 9530 sections 2 and B, by what they agree with.
func TestPublishedDigests(t *testing.T) {
	for _, c := range []struct {
		field, content string
		good           bool
	}{
		// B.1 and others: {"hello": "world"} with a line feed after it.
		{"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:", "{\"hello\": \"world\"}\n", true},
		{"sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:", "{\"hello\": \"world\"}\n", true},
		// RFC 9421 appendix B.2: without it.
		{requestDigest, `{"hello": "world"}`, true},
		{responseDigest, `{"message": "good dog"}`, true},
		{busyDigest, `{"busy": true, "message": "Your call is very important to us"}`, true},
		{requestDigest, "{\"hello\": \"world\"}\n", false},
		// B.2: no content.
		{"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "", true},
		// Section 2: sha-256 of one thing and sha-512 of another, as it is printed.
		{"sha-256=:d435Qo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:, sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:", "{\"hello\": \"world\"}\n", false},
	} {
		d, err := ParseContentDigest([]string{c.field})
		if err != nil {
			t.Errorf("%s: %v", c.field, err)
		} else if d.Check([]byte(c.content)) != c.good {
			t.Errorf("%s agrees with %q: %v", c.field, c.content, !c.good)
		}
	}
}

func TestDigestsThatAreRefused(t *testing.T) {
	content := []byte("content")
	good256, good512 := ContentDigest(content), digest512(content)
	for _, lines := range [][]string{
		nil,
		{""},
		{"sha-256"},
		{"sha-256=1"},
		{"sha-256=::"},
		{"sha-256=:AA==:"},
		{"sha-512=:AA==:, " + good256},
		{"sha-256=" + good512[8:]},
		{good256, good256},
		{good256 + ", " + good256},
		{good256 + ","},
		{strings.ToUpper(good256[:7]) + good256[7:]},
		{good256 + ";x"},
		{"md5=:XrY7u+Ae7tCTyyK7j1rNww==:"},
		{"unixsum=:AA==:"},
		{"unixsum=1, " + good256},
		{"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg==:"}, // RFC 9530 B.5, padded once too often
		{strings.Repeat(" ", maxField) + good256},
		{"a=:AA==:, b=:AA==:, c=:AA==:, d=:AA==:, e=:AA==:, f=:AA==:, g=:AA==:, h=:AA==:, " + good256},
	} {
		if d, err := ParseContentDigest(lines); err == nil {
			t.Errorf("%.90q was read as %v", lines, d)
		}
	}
	for _, lines := range [][]string{{good256}, {good512}, {good256, good512}, {"md5=:AA==:, " + good256}, {"\t" + good256 + " "}} {
		d, err := ParseContentDigest(lines)
		if err != nil || !d.Check(content) || d.Check([]byte("Content")) {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

// Every listed digest that is known must agree, not one of them.
func TestEveryKnownDigestMustAgree(t *testing.T) {
	a, b := []byte("a"), []byte("b")
	for _, field := range []string{ContentDigest(a) + ", " + digest512(b), digest512(b) + ", " + ContentDigest(a)} {
		d, err := ParseContentDigest([]string{field})
		if err != nil || d.Check(a) || d.Check(b) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestLegacyDigest(t *testing.T) {
	content := []byte("content")
	sum, long := sha256.Sum256(content), sha512.Sum512(content)
	for _, c := range []struct {
		lines []string
		good  bool
	}{
		{[]string{"SHA-256=" + base64Std(sum[:])}, true},
		{[]string{" sha-256=" + base64Std(sum[:]) + " "}, true},
		{[]string{"SHA-512=" + base64Std(long[:])}, true},
		{nil, false},
		{[]string{""}, false},
		{[]string{"SHA-256="}, false},
		{[]string{"SHA-256"}, false},
		{[]string{"SHA-256=" + base64Std(long[:])}, false},
		{[]string{"MD5=mgNkuembtIDdJeHwKEyFVQ=="}, false},
		{[]string{"SHA-256=" + base64Std(sum[:]) + ",SHA-256=" + base64Std(sum[:])}, false},
		{[]string{"SHA-256=" + base64Std(sum[:]), "SHA-256=" + base64Std(sum[:])}, false},
		{[]string{"SHA-256=" + base64Std(sum[:])[:20] + "\n" + base64Std(sum[:])[20:]}, false},
	} {
		d, err := parseLegacyDigest(c.lines)
		if (err == nil) != c.good || c.good && (!d.Check(content) || d.Check(nil)) {
			t.Errorf("%q: %v", c.lines, err)
		}
	}
}

// script is a reader that gives its pieces one by one, and then its end: with
// the last piece or after it.
type script struct {
	pieces [][]byte
	end    error
	joint  bool // whether the end comes with the last piece
	over   bool // whether it has come
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		s.over = true
		return 0, s.end
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	if len(s.pieces[0]) > 0 {
		return n, nil
	}
	s.pieces = s.pieces[1:]
	if s.joint && len(s.pieces) == 0 {
		s.over = true
		return n, s.end
	}
	return n, nil
}

func (s *script) Close() error { return nil }

// slow is what Reader must come to: all of the content, or all but its last
// byte and an error.
func slow(d *Digest, content []byte, end error) ([]byte, error) {
	if end == io.EOF && d.Check(content) {
		return content, nil
	}
	if end == io.EOF {
		end = ErrDigest
	}
	return content[:max(len(content)-1, 0)], end
}

// readDigest reads r to its end with a buffer of size bytes, and makes sure
// that nothing ran ahead of the check.
func readDigest(t *testing.T, d *Digest, s *script, length, size int) ([]byte, error) {
	t.Helper()
	r := d.Reader(s)
	var got []byte
	buf := make([]byte, size)
	for range 10 * (length + 10) {
		if n, err := r.Read(nil); n != 0 || err != nil {
			t.Fatalf("empty read: %d, %v", n, err)
		}
		n, err := r.Read(buf)
		got = append(got, buf[:n]...)
		if len(got) == length && length > 0 && !s.over {
			t.Fatal("the last byte came before the end of what is read")
		}
		if err == nil {
			continue
		}
		if n, again := r.Read(buf); n != 0 || again != err {
			t.Fatalf("after %v: %d, %v", err, n, again)
		}
		if err == io.EOF {
			err = nil
		}
		return got, err
	}
	t.Fatal("no end")
	return nil, nil
}

// splits are all ways to cut content into pieces, of which some are empty.
func splits(content []byte) [][][]byte {
	if len(content) == 0 {
		return [][][]byte{nil, {{}}, {{}, {}}}
	}
	var all [][][]byte
	for mask := range 1 << (len(content) - 1) {
		var pieces, spaced [][]byte
		start := 0
		for i := range content {
			if i+1 == len(content) || mask>>i&1 == 1 {
				pieces = append(pieces, content[start:i+1])
				spaced = append(spaced, []byte{}, content[start:i+1])
				start = i + 1
			}
		}
		all = append(all, pieces, spaced)
	}
	return all
}

func TestDigestReaderAgreesWithSlowTwin(t *testing.T) {
	broken := errors.New("broken")
	for length := range 6 {
		content := []byte("abcdef")[:length]
		for _, field := range []string{ContentDigest(content), digest512(content), ContentDigest(content) + "," + digest512(content), ContentDigest([]byte("z")), ContentDigest(content) + "," + digest512([]byte("z"))} {
			d, err := ParseContentDigest([]string{field})
			if err != nil {
				t.Fatal(err)
			}
			for _, end := range []error{io.EOF, broken, io.ErrUnexpectedEOF} {
				want, wantErr := slow(d, content, end)
				for _, pieces := range splits(content) {
					for size := 1; size <= length+1; size++ {
						for _, joint := range []bool{false, true} {
							s := &script{pieces: slices.Clone(pieces), end: end, joint: joint}
							got, err := readDigest(t, d, s, length, size)
							if !bytes.Equal(got, want) || !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
								t.Fatalf("%q, buffer of %d, end %v (joint %v): %q, %v; want %q, %v", pieces, size, end, joint, got, err, want, wantErr)
							}
						}
					}
				}
			}
		}
	}
}

func TestDigestReaderWithOtherReaders(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 5000)
	d, err := ParseContentDigest([]string{ContentDigest(content)})
	if err != nil {
		t.Fatal(err)
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"plain": func(r io.Reader) io.Reader { return r }, "one byte": iotest.OneByteReader, "half": iotest.HalfReader,
		"data with the error": iotest.DataErrReader,
	} {
		r := d.Reader(io.NopCloser(wrap(bytes.NewReader(content))))
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		changed := bytes.Clone(content)
		changed[0] ^= 1
		r = d.Reader(io.NopCloser(wrap(bytes.NewReader(changed))))
		if got, err := io.ReadAll(r); !errors.Is(err, ErrDigest) || len(got) != len(content)-1 {
			t.Errorf("%s: changed content: %d bytes, %v", name, len(got), err)
		}
		r = d.Reader(io.NopCloser(wrap(io.MultiReader(bytes.NewReader(content), strings.NewReader("x")))))
		if _, err := io.ReadAll(r); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: more content: %v", name, err)
		}
	}
	r := d.Reader(io.NopCloser(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(content)))))
	if got, err := io.ReadAll(r); err != iotest.ErrTimeout || len(got) > 1 {
		t.Errorf("time-out: %d bytes, %v", len(got), err)
	}
	if err := iotest.TestReader(d.Reader(io.NopCloser(bytes.NewReader(content))), content); err != nil {
		t.Error(err)
	}
}

// Who reads gives up on a reader that gives nothing; it must come to know.
func TestDigestReaderPassesOnThatNothingCame(t *testing.T) {
	d, err := ParseContentDigest([]string{ContentDigest([]byte("a"))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bufio.NewReader(d.Reader(io.NopCloser(idle{}))).ReadByte()
	if err != io.ErrNoProgress {
		t.Error(err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func FuzzContentDigest(f *testing.F) {
	f.Add(ContentDigest([]byte("content")), []byte("content"), uint64(0x5), uint8(3), false)
	f.Add(ContentDigest([]byte("content"))+", "+digest512([]byte("content")), []byte("content"), uint64(0), uint8(1), true)
	f.Add("md5=:AA==:, sha-512=::", []byte(""), uint64(1), uint8(2), false)
	f.Fuzz(func(t *testing.T, field string, content []byte, cuts uint64, size uint8, joint bool) {
		d, err := ParseContentDigest([]string{field})
		want, good := readWithHTTPSFV(field, content)
		if good && err == nil && d.Check(content) != want {
			t.Errorf("%q of %q: %v", field, content, !want)
		}
		if err == nil && !good {
			t.Errorf("%q: accepted, httpsfv refuses it", field)
		}
		if err != nil || len(content) == 0 || len(content) > 4096 {
			return
		}
		var pieces [][]byte
		start := 0
		for i := range content {
			if cuts>>(i%64)&1 == 1 || i+1 == len(content) {
				pieces, start = append(pieces, content[start:i+1]), i+1
			}
		}
		s := &script{pieces: pieces, end: io.EOF, joint: joint}
		got, readErr := readDigest(t, d, s, len(content), int(size)+1)
		wantBytes, wantErr := slow(d, content, io.EOF)
		if !bytes.Equal(got, wantBytes) || !errors.Is(readErr, wantErr) || (readErr == nil) != (wantErr == nil) {
			t.Errorf("%q, %v; want %q, %v", got, readErr, wantBytes, wantErr)
		}
	})
}

// readWithHTTPSFV is the slow reading of Content-Digest: whether the content
// has every digest, and whether the field can be read.
func readWithHTTPSFV(field string, content []byte) (agrees, ok bool) {
	d, err := httpsfv.UnmarshalDictionary([]string{field})
	if err != nil {
		return false, false
	}
	known, agrees := 0, true
	for _, name := range d.Names() {
		m, _ := d.Get(name)
		i, isItem := m.(httpsfv.Item)
		value, isBytes := i.Value.([]byte)
		if !isItem || !isBytes || len(i.Params.Names()) > 0 {
			return false, false
		}
		a, b := sha256.Sum256(content), sha512.Sum512(content)
		switch name {
		case "sha-256":
			known++
			agrees = agrees && bytes.Equal(value, a[:])
		case "sha-512":
			known++
			agrees = agrees && bytes.Equal(value, b[:])
		}
	}
	return agrees, known > 0
}
