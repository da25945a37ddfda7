package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"os"
	"slices"
	"time"
)

// floors are what the machine itself takes for what no layer can do without,
// in microseconds.
type floors struct {
	Verify   map[string]float64 `json:"verify_us"`    // one signature, by the standard library
	Datasync float64            `json:"fdatasync_us"` // a small write brought to the disk
}

// measureFloors measures on the core this process runs on. Nothing else may
// run at that time.
func measureFloors(dir string, signers map[string]*signer) (floors, error) {
	f := floors{Verify: map[string]float64{}}
	for alg, s := range signers {
		verify, err := s.verifier()
		if err != nil {
			return f, err
		}
		if f.Verify[alg], err = fastest(verify); err != nil {
			return f, err
		}
	}
	var err error
	f.Datasync, err = measureDatasync(dir)
	return f, err
}

// verifier returns a function that checks one signature of 600 bytes.
func (s *signer) verifier() (func() bool, error) {
	input := make([]byte, 600)
	sum := sha256.Sum256(input)
	switch k := s.key.(type) {
	case *rsa.PrivateKey:
		sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		return func() bool {
			sum := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, sum[:], sig) == nil
		}, err
	case *ecdsa.PrivateKey:
		sig, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
		return func() bool {
			sum := sha256.Sum256(input)
			return ecdsa.VerifyASN1(&k.PublicKey, sum[:], sig)
		}, err
	case ed25519.PrivateKey:
		sig := ed25519.Sign(k, input)
		public, _ := k.Public().(ed25519.PublicKey)
		return func() bool { return ed25519.Verify(public, input, sig) }, nil
	case []byte:
		mac := func() []byte {
			h := hmac.New(sha256.New, k)
			h.Write(input)
			return h.Sum(nil)
		}
		sig := mac()
		return func() bool { return hmac.Equal(mac(), sig) }, nil
	}
	return nil, errors.New("no such key")
}

// fastest returns how many microseconds f takes: the best of several short
// runs, since whatever else the machine does only adds to it.
func fastest(f func() bool) (float64, error) {
	best := time.Duration(1<<63 - 1)
	for range 10 {
		n := 0
		began := time.Now()
		for ; time.Since(began) < 20*time.Millisecond; n++ {
			if !f() {
				return 0, errors.New("a signature made here is not valid")
			}
		}
		best = min(best, time.Since(began)/time.Duration(n))
	}
	return micros(best), nil
}

// measureDatasync returns the median time of appending 500 bytes to a file
// and bringing them to the disk.
func measureDatasync(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "datasync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	record := make([]byte, 500)
	var took []time.Duration
	for range 300 {
		began := time.Now()
		if _, err := f.Write(record); err != nil {
			return 0, err
		}
		if err := datasync(f); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return micros(quantile(took, 0.5)), nil
}
