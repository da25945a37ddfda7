package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"sync"
)

// digest returns the hash of signed in buf. Unlike hash.Hash it needs no
// memory of its own.
func digest(h crypto.Hash, buf *[sha512.Size]byte, signed []byte) []byte {
	switch h {
	case crypto.SHA256:
		sum := sha256.Sum256(signed)
		return buf[:copy(buf[:], sum[:])]
	case crypto.SHA384:
		sum := sha512.Sum384(signed)
		return buf[:copy(buf[:], sum[:])]
	default:
		*buf = sha512.Sum512(signed)
		return buf[:]
	}
}

// ecdsaKey is a public key of ECDSA and the length of its numbers.
type ecdsaKey struct {
	pub   *ecdsa.PublicKey
	curve string
	size  int
}

// verify takes the signature as RFC 7518 section 3.4 has it: r and s one
// after the other, each as long as the order of the curve.
func (k *ecdsaKey) verify(a *algorithm, signed, sig []byte) bool {
	if len(sig) != 2*k.size {
		return false
	}
	// The standard library takes ASN.1; two numbers of at most 66 bytes, a
	// zero byte each where the first bit is set, and the tags.
	var der [3 + 2*(2+1+66)]byte
	n, ok := putInteger(&der, 3, sig[:k.size])
	if !ok {
		return false
	}
	if n, ok = putInteger(&der, n, sig[k.size:]); !ok {
		return false
	}
	seq := der[:n]
	if length := n - 3; length < 0x80 {
		seq = der[1:n]
		seq[0], seq[1] = 0x30, byte(length)
	} else {
		seq[0], seq[1], seq[2] = 0x30, 0x81, byte(length)
	}
	var buf [sha512.Size]byte
	return ecdsa.VerifyASN1(k.pub, digest(a.hash, &buf, signed), seq)
}

// putInteger writes num as an ASN.1 INTEGER at der[n:]. Zero is never half of
// a signature, and the all-zero signature is an attack that has worked
// elsewhere (CVE-2022-21449).
func putInteger(der *[141]byte, n int, num []byte) (int, bool) {
	for len(num) > 0 && num[0] == 0 {
		num = num[1:]
	}
	if len(num) == 0 {
		return 0, false
	}
	pad := int(num[0] >> 7)
	der[n], der[n+1], der[n+2] = 0x02, byte(len(num)+pad), 0
	copy(der[n+2+pad:], num)
	return n + 2 + pad + len(num), true
}

// hmacKey is a shared secret. It keeps hashes that have already taken the
// secret in, since that is half the work for a short text.
type hmacKey struct {
	secret []byte
	states [3]sync.Pool // of hash.Hash, by hash
}

func (k *hmacKey) verify(a *algorithm, signed, sig []byte) bool {
	pool := &k.states[a.hash-crypto.SHA256]
	mac, ok := pool.Get().(*macState)
	if !ok {
		mac = &macState{Hash: hmac.New(a.hash.New, k.secret)}
	}
	mac.Reset()
	mac.Write(signed)
	sum := mac.Sum(mac.sum[:0])
	ok = subtle.ConstantTimeCompare(sum, sig) == 1
	pool.Put(mac)
	return ok
}

type macState struct {
	hash.Hash
	sum [sha512.Size]byte
}
