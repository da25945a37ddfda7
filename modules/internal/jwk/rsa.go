package jwk

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"

	"filippo.io/bigmod"
)

// rsaKey is a public key of RSA whose modulus has been prepared. The standard
// library prepares it anew for each signature, which takes a third of the time
// that a check takes, and has no call to do it beforehand. The arithmetic is
// the same: bigmod is the standard library's, published by itself.
//
// Verifying is all that is done here. It handles nothing secret, so nothing
// needs to take constant time.
type rsaKey struct {
	pub     *rsa.PublicKey
	modulus *bigmod.Modulus
}

func newRSAKey(pub *rsa.PublicKey) (*rsaKey, error) {
	m, err := bigmod.NewModulus(pub.N.Bytes())
	if err != nil {
		return nil, err
	}
	return &rsaKey{pub, m}, nil
}

func (k *rsaKey) verify(a *algorithm, signed, sig []byte) bool {
	// RFC 8017 sections 8.1.2 and 8.2.2: exactly as long as the modulus.
	if len(sig) != k.modulus.Size() {
		return false
	}
	var buf [sha512.Size]byte
	sum := digest(a.hash, &buf, signed)
	if fips140.Enabled() {
		return verifyStandard(k.pub, a, sum, sig)
	}
	em, ok := k.encrypt(sig)
	if !ok {
		return false
	}
	if a.family == famPSS {
		return verifyPSS(a.hash, sum, em, k.modulus.BitLen()-1)
	}
	return verifyPKCS1(a.hash, sum, em)
}

// verifyStandard has the standard library check the signature, where only
// validated modules may. The salt is as long as the hash, neither more nor
// less: RFC 7518 section 3.5.
func verifyStandard(pub *rsa.PublicKey, a *algorithm, sum, sig []byte) bool {
	if a.family == famPSS {
		return rsa.VerifyPSS(pub, a.hash, sum, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	}
	return rsa.VerifyPKCS1v15(pub, a.hash, sum, sig) == nil
}

// encrypt is RSAVP1, RFC 8017 section 5.2.2, with I2OSP. It is false if sig is
// not smaller than the modulus.
func (k *rsaKey) encrypt(sig []byte) ([]byte, bool) {
	s, err := bigmod.NewNat().SetBytes(sig, k.modulus)
	if err != nil {
		return nil, false
	}
	return bigmod.NewNat().ExpShortVarTime(s, uint(k.pub.E), k.modulus).Bytes(k.modulus), true
}

// digestInfo is what stands before the hash, RFC 8017 section 9.2 note 1.
var digestInfo = map[crypto.Hash]string{
	crypto.SHA256: "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
	crypto.SHA384: "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
	crypto.SHA512: "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
}

// verifyPKCS1 checks that em is the one EMSA-PKCS1-v1_5 encoding of sum, RFC
// 8017 section 8.2.2. It looks at every byte and parses nothing: forgeries come
// from readers that skip a part.
func verifyPKCS1(hash crypto.Hash, sum, em []byte) bool {
	info := digestInfo[hash]
	pad := len(em) - 3 - len(info) - len(sum)
	if pad < 8 || em[0] != 0 || em[1] != 1 || em[2+pad] != 0 {
		return false
	}
	for _, b := range em[2 : 2+pad] {
		if b != 0xff {
			return false
		}
	}
	rest := em[3+pad:]
	return string(rest[:len(info)]) == info && bytes.Equal(rest[len(info):], sum)
}

// verifyPSS is EMSA-PSS-VERIFY, RFC 8017 section 9.1.2, with MGF1 of the same
// hash and a salt as long as it. The numbers are those of its steps.
func verifyPSS(hash crypto.Hash, sum, em []byte, bits int) bool {
	if len(em) > (bits+7)/8 { // a modulus of 8n+1 bits: one byte more, which is zero
		if em[0] != 0 {
			return false
		}
		em = em[1:]
	}
	size := hash.Size()
	if len(em) < 2*size+2 || em[len(em)-1] != 0xbc { // 3, 4
		return false
	}
	db, h := em[:len(em)-size-1], em[len(em)-size-1:len(em)-1] // 5
	unused := byte(0xff) << (8 - (8*len(em) - bits))
	if db[0]&unused != 0 { // 6
		return false
	}
	mgf1(hash, db, h) // 7, 8
	db[0] &^= unused  // 9
	pad := len(db) - size
	for _, b := range db[:pad-1] { // 10
		if b != 0 {
			return false
		}
	}
	if db[pad-1] != 1 {
		return false
	}
	var m [8 + 2*sha512.Size]byte // 12
	n := 8 + copy(m[8:], sum)
	n += copy(m[n:], db[pad:])
	var buf [sha512.Size]byte
	return bytes.Equal(digest(hash, &buf, m[:n]), h) // 13, 14
}

// mgf1 puts the mask made from seed over db, RFC 8017 appendix B.2.1.
func mgf1(hash crypto.Hash, db, seed []byte) {
	var in [sha512.Size + 4]byte
	n := copy(in[:], seed)
	var buf [sha512.Size]byte
	for i := uint32(0); len(db) > 0; i++ {
		binary.BigEndian.PutUint32(in[n:], i)
		db = db[subtle.XORBytes(db, db, digest(hash, &buf, in[:n+4])):]
	}
}
