// Package ff1 is FF1, the format-preserving encryption of NIST SP 800-38G:
// strings of numerals become other strings of as many numerals of the same
// radix.
//
// FF1 is deterministic and not authenticated: equal strings under one key and
// tweak become equal strings, and every string decrypts to something. The domain
// has at least [MinDomain] strings, as revision 1 of the standard requires, since
// the attacks on smaller ones are practical. FF3 and FF3-1 are not here: both
// are broken, and revision 1 has dropped them.
package ff1

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math/big"
	"math/bits"
	"sync"
)

// MinDomain is the least number of strings there must be: radix to the power of
// the length (SP 800-38G rev. 1, section 5.2).
const MinDomain = 1_000_000

// MaxRadix is the largest radix, of numerals of 16 bits.
const MaxRadix = 1 << 16

const (
	rounds    = 10
	blockSize = 16
)

// The errors of Encrypt and Decrypt.
var (
	ErrRadix   = errors.New("radix out of range")
	ErrDomain  = errors.New("too few numerals: the domain must have at least 1000000 strings")
	ErrNumeral = errors.New("numeral not below the radix")
)

// Cipher is FF1 under one key. It is safe for use by several goroutines.
type Cipher struct {
	block cipher.Block
	pool  sync.Pool // of *work
}

// New returns FF1 over a block cipher with blocks of 128 bits.
func New(block cipher.Block) (*Cipher, error) {
	if block.BlockSize() != blockSize {
		return nil, errors.New("ff1 needs a cipher with blocks of 128 bits")
	}
	return &Cipher{block: block, pool: sync.Pool{New: func() any { return new(work) }}}, nil
}

// Encrypt encrypts the numerals of x, each below radix, in place.
func (c *Cipher) Encrypt(x []uint16, radix int, tweak []byte) error {
	return c.crypt(x, radix, tweak, false)
}

// Decrypt is the inverse of Encrypt.
func (c *Cipher) Decrypt(x []uint16, radix int, tweak []byte) error {
	return c.crypt(x, radix, tweak, true)
}

// Fits returns the reason why strings of n numerals cannot be encrypted, nil if
// they can.
func Fits(n, radix int) error {
	if radix < 2 || radix > MaxRadix {
		return ErrRadix
	}
	domain := 1
	for i := range n {
		if domain *= radix; domain >= MinDomain && i > 0 { // two halves
			return nil
		}
	}
	return ErrDomain
}

func (c *Cipher) crypt(x []uint16, radix int, tweak []byte, inverse bool) error {
	if err := Fits(len(x), radix); err != nil {
		return err
	}
	for _, v := range x {
		if int(v) >= radix {
			return ErrNumeral
		}
	}
	w := c.pool.Get().(*work)
	defer c.pool.Put(w)
	u := len(x) / 2
	v := len(x) - u
	if most, ok := power(radix, v); ok {
		w.begin(c.block, len(x), radix, tweak, (bits.Len64(most-1)+7)/8)
		w.small(x, radix, u, most, inverse)
		return nil
	}
	most := new(big.Int).Exp(big.NewInt(int64(radix)), big.NewInt(int64(v)), nil)
	w.begin(c.block, len(x), radix, tweak, (new(big.Int).Sub(most, big.NewInt(1)).BitLen()+7)/8)
	w.large(x, radix, u, most, inverse)
	return nil
}

// power returns radix to the power of n, false if it is above 2^63.
func power(radix, n int) (uint64, bool) {
	p := uint64(1)
	for range n {
		hi, lo := bits.Mul64(p, uint64(radix))
		if hi != 0 || lo > 1<<63 {
			return 0, false
		}
		p = lo
	}
	return p, true
}

// work is what one encryption needs, kept because what is given to a
// cipher.Block escapes.
type work struct {
	block  cipher.Block
	q      []byte          // Q of step 6.i, from the first block that changes
	prefix [blockSize]byte // the CBC-MAC of all before it
	mac    [blockSize]byte
	more   [blockSize]byte
	stream []byte // S of step 6.iii
	b      int    // bytes of a half, as a number
}

// begin does steps 3 to 5 and takes into prefix what is the same in all rounds.
func (w *work) begin(block cipher.Block, n, radix int, tweak []byte, b int) {
	w.block, w.b = block, b
	p := &w.prefix
	*p = [blockSize]byte{1, 2, 1, byte(radix >> 16), byte(radix >> 8), byte(radix), rounds, byte(n / 2)}
	binary.BigEndian.PutUint32(p[8:], uint32(n))
	binary.BigEndian.PutUint32(p[12:], uint32(len(tweak)))
	block.Encrypt(p[:], p[:])

	pad := (blockSize - (len(tweak)+b+1)%blockSize) % blockSize
	w.q = append(w.q[:0], tweak...)
	for range pad + 1 + b {
		w.q = append(w.q, 0)
	}
	fixed := (len(tweak) + pad) / blockSize * blockSize
	for i := 0; i < fixed; i += blockSize {
		xor(p, w.q[i:])
		block.Encrypt(p[:], p[:])
	}
	w.q = append(w.q[:0], w.q[fixed:]...)
	d := (b+3)/4*4 + 4
	if cap(w.stream) < d+blockSize {
		w.stream = make([]byte, d+blockSize)
	}
	w.stream = w.stream[:d]
}

func xor(p *[blockSize]byte, q []byte) {
	q = q[:blockSize]
	for i := range p {
		p[i] ^= q[i]
	}
}

// round returns S of round i (steps 6.ii and 6.iii). NUM(B) stands at the end
// of w.q.
func (w *work) round(i int) []byte {
	w.q[len(w.q)-1-w.b] = byte(i)
	w.mac = w.prefix
	for j := 0; j < len(w.q); j += blockSize {
		xor(&w.mac, w.q[j:])
		w.block.Encrypt(w.mac[:], w.mac[:])
	}
	n := copy(w.stream, w.mac[:])
	for j := uint64(1); n < len(w.stream); j++ {
		w.more = w.mac
		tail := binary.BigEndian.Uint64(w.more[8:]) ^ j
		binary.BigEndian.PutUint64(w.more[8:], tail)
		w.block.Encrypt(w.more[:], w.more[:])
		n += copy(w.stream[n:], w.more[:])
	}
	return w.stream
}

// small does the rounds where a half is a number of 64 bits. most is radix to
// the power of the length of the second half.
func (w *work) small(x []uint16, radix, u int, most uint64, inverse bool) {
	modulus := [2]uint64{most, most} // of even rounds, and of odd ones
	if len(x)%2 == 1 {
		modulus[0] /= uint64(radix)
	}
	a, b := number(x[:u], radix), number(x[u:], radix)
	for r := range rounds {
		i := r
		if inverse {
			i = rounds - 1 - r
			a, b = b, a
		}
		for j, v := len(w.q)-1, b; j >= len(w.q)-w.b; j, v = j-1, v>>8 {
			w.q[j] = byte(v)
		}
		s := w.round(i)
		var hi uint64 // S has 8 or 12 bytes
		if len(s) > 8 {
			hi = uint64(binary.BigEndian.Uint32(s))
		}
		m := modulus[i%2]
		_, y := bits.Div64(hi%m, binary.BigEndian.Uint64(s[len(s)-8:]), m)
		if inverse {
			if a < y {
				a += m
			}
			a -= y
			continue
		}
		if a += y; a >= m {
			a -= m
		}
		a, b = b, a
	}
	numerals(x[:u], a, radix)
	numerals(x[u:], b, radix)
}

func number(x []uint16, radix int) (v uint64) {
	for _, n := range x {
		v = v*uint64(radix) + uint64(n)
	}
	return v
}

func numerals(x []uint16, v uint64, radix int) {
	for i := len(x) - 1; i >= 0; i-- {
		x[i] = uint16(v % uint64(radix))
		v /= uint64(radix)
	}
}

// large is small for halves of any size.
func (w *work) large(x []uint16, radix, u int, most *big.Int, inverse bool) {
	base := big.NewInt(int64(radix))
	modulus := [2]*big.Int{most, most}
	if len(x)%2 == 1 {
		modulus[0] = new(big.Int).Quo(most, base)
	}
	a, b := bigNumber(x[:u], base), bigNumber(x[u:], base)
	y := new(big.Int)
	for r := range rounds {
		i := r
		if inverse {
			i = rounds - 1 - r
			a, b = b, a
		}
		b.FillBytes(w.q[len(w.q)-w.b:])
		y.SetBytes(w.round(i))
		if inverse {
			a.Mod(a.Sub(a, y), modulus[i%2])
			continue
		}
		a.Mod(a.Add(a, y), modulus[i%2])
		a, b = b, a
	}
	bigNumerals(x[:u], a, base)
	bigNumerals(x[u:], b, base)
}

func bigNumber(x []uint16, base *big.Int) *big.Int {
	v, n := new(big.Int), new(big.Int)
	for _, d := range x {
		v.Add(v.Mul(v, base), n.SetUint64(uint64(d)))
	}
	return v
}

func bigNumerals(x []uint16, v, base *big.Int) {
	rest := new(big.Int)
	for i := len(x) - 1; i >= 0; i-- {
		v.QuoRem(v, base, rest)
		x[i] = uint16(rest.Uint64())
	}
}
