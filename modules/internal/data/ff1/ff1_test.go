package ff1

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/des"
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func hexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newAES(t testing.TB, key []byte) *Cipher {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(block)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"

func numeralsOf(text string) (x []uint16) {
	for _, c := range []byte(text) {
		x = append(x, uint16(strings.IndexByte(alphabet, c)))
	}
	return x
}

// The nine FF1 samples that NIST publishes with SP 800-38G ("FF1samples.pdf").
func TestSamplesOfNIST(t *testing.T) {
	const (
		key128 = "2b7e151628aed2a6abf7158809cf4f3c"
		key192 = key128 + "ef4359d8d580aa4f"
		key256 = key192 + "7f036d6f04fc6a94"
	)
	for i, c := range []struct {
		key, tweak string
		radix      int
		plain, ct  string
	}{
		{key128, "", 10, "0123456789", "2433477484"},
		{key128, "39383736353433323130", 10, "0123456789", "6124200773"},
		{key128, "3737373770717273373737", 36, "0123456789abcdefghi", "a9tv40mll9kdu509eum"},
		{key192, "", 10, "0123456789", "2830668132"},
		{key192, "39383736353433323130", 10, "0123456789", "2496655549"},
		{key192, "3737373770717273373737", 36, "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"},
		{key256, "", 10, "0123456789", "6657667009"},
		{key256, "39383736353433323130", 10, "0123456789", "1001623463"},
		{key256, "3737373770717273373737", 36, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"},
	} {
		check(t, i+1, newAES(t, hexed(t, c.key)), hexed(t, c.tweak), c.radix, numeralsOf(c.plain), numeralsOf(c.ct))
	}
}

func check(t *testing.T, id any, c *Cipher, tweak []byte, radix int, plain, ct []uint16) {
	t.Helper()
	x := slices.Clone(plain)
	if err := c.Encrypt(x, radix, tweak); err != nil || !slices.Equal(x, ct) {
		t.Fatalf("%v: encrypted %v (%v), want %v", id, x, err, ct)
	}
	if err := c.Decrypt(x, radix, tweak); err != nil || !slices.Equal(x, plain) {
		t.Fatalf("%v: decrypted %v (%v), want %v", id, x, err, plain)
	}
}

// Vectors of Wycheproof; testdata/README.md says which.
func TestVectorsOfWycheproof(t *testing.T) {
	file, err := os.Open("testdata/wycheproof.txt.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<20)
	count := map[int]int{}
	for lines.Scan() {
		f := strings.Split(lines.Text(), " ")
		radix, _ := strconv.Atoi(f[0])
		list := func(text string) (x []uint16) {
			for _, n := range bytes.Split([]byte(text), []byte(",")) {
				v, err := strconv.ParseUint(string(n), 10, 16)
				if err != nil {
					t.Fatal(err)
				}
				x = append(x, uint16(v))
			}
			return x
		}
		check(t, f[1], newAES(t, hexed(t, f[2])), hexed(t, strings.TrimPrefix(f[3], "-")), radix, list(f[4]), list(f[5]))
		count[radix]++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for _, radix := range []int{10, 16, 26, 32, 36, 45, 62, 64, 85, 255, 256, 65535, 65536} {
		if count[radix] < 20 {
			t.Errorf("radix %d: %d vectors", radix, count[radix])
		}
	}
}

func TestSmallDomainsAreRefused(t *testing.T) {
	c := newAES(t, make([]byte, 16))
	for _, f := range []struct{ n, radix int }{
		{0, 10}, {1, 10}, {5, 10}, {19, 2}, {4, 26}, {3, 62}, {1, 65536}, {1, 1 << 16},
	} {
		if err := c.Encrypt(make([]uint16, f.n), f.radix, nil); err != ErrDomain {
			t.Errorf("%d numerals of radix %d: %v", f.n, f.radix, err)
		}
	}
	for _, f := range []struct{ n, radix int }{{6, 10}, {20, 2}, {5, 26}, {4, 36}, {4, 62}, {2, 1000}, {2, 65536}} {
		if err := c.Encrypt(make([]uint16, f.n), f.radix, nil); err != nil {
			t.Errorf("%d numerals of radix %d: %v", f.n, f.radix, err)
		}
	}
	for _, radix := range []int{-1, 0, 1, 65537} {
		if err := c.Encrypt(make([]uint16, 30), radix, nil); err != ErrRadix {
			t.Errorf("radix %d: %v", radix, err)
		}
	}
	x := []uint16{1, 2, 3, 4, 5, 10}
	if err := c.Encrypt(x, 10, nil); err != ErrNumeral || x[0] != 1 {
		t.Errorf("numeral 10 of radix 10: %v, %v", err, x)
	}
	block, err := des.NewTripleDESCipher(make([]byte, 24))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(block); err == nil {
		t.Error("a cipher with blocks of 64 bits was accepted")
	}
}

// Numbers of 64 bits and larger ones are two ways to the same result.
func TestSmallEqualsLarge(t *testing.T) {
	c := newAES(t, []byte("0123456789abcdef"))
	for n := 6; n <= 36; n++ {
		for _, radix := range []int{10, 26, 62} {
			v := n - n/2
			most, ok := power(radix, v)
			if !ok {
				continue
			}
			x := make([]uint16, n)
			for i := range x {
				x[i] = uint16(i * 7 % radix)
			}
			y := slices.Clone(x)
			if err := c.Encrypt(x, radix, []byte("t")); err != nil {
				t.Fatal(err)
			}
			w := c.pool.Get().(*work)
			big := bigPower(radix, v)
			w.begin(c.block, n, radix, []byte("t"), (bitLen(most)+7)/8)
			w.large(y, radix, n/2, big, false)
			if !slices.Equal(x, y) {
				t.Errorf("%d numerals of radix %d: %v and %v", n, radix, x, y)
			}
		}
	}
}

// Decrypting what was encrypted gives what there was, whatever the key, the
// tweak, the radix and the length.
func FuzzDecryptIsTheInverse(f *testing.F) {
	f.Add([]byte("key"), []byte("tweak"), uint16(10), []byte("1234567890123456"))
	f.Add([]byte{}, []byte{}, uint16(65535), []byte("1234"))
	f.Add([]byte("k"), bytes.Repeat([]byte("t"), 100), uint16(2), bytes.Repeat([]byte("a"), 300))
	f.Fuzz(func(t *testing.T, key, tweak []byte, radix uint16, text []byte) {
		c := newAES(t, append(key, make([]byte, 32)...)[:32])
		r := int(radix) + 1
		x := make([]uint16, len(text))
		for i, b := range text {
			x[i] = uint16(int(b) * 257 % max(r, 2))
		}
		before := slices.Clone(x)
		err := c.Encrypt(x, r, tweak)
		if fits := Fits(len(x), r); err != fits {
			t.Fatalf("%v, though %v", err, fits)
		}
		if err != nil {
			return
		}
		for _, v := range x {
			if int(v) >= r {
				t.Fatalf("numeral %d of radix %d", v, r)
			}
		}
		if err := c.Decrypt(x, r, tweak); err != nil || !slices.Equal(x, before) {
			t.Fatalf("%v became %v (%v)", before, x, err)
		}
	})
}

// BenchmarkCard encrypts the 15 digits of a card number before its check digit,
// with a tweak of 32 bytes:
//
//	go test ./modules/internal/data/ff1 -run '^$' -bench . -benchmem -cpu 1
func BenchmarkCard(b *testing.B) {
	c := newAES(b, make([]byte, 32))
	x := numeralsOf("411111111111111")
	tweak := make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Encrypt(x, 10, tweak); err != nil {
			b.Fatal(err)
		}
	}
}
