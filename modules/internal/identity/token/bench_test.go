package token

// Measure with
//
//	GOMAXPROCS=1 go test -run '^$' -bench . -benchmem -count 5 ./modules/internal/token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// rawCheck is the check of the signature alone, as the standard library does
// it for somebody who has the parts of the token at hand: the floor.
func rawCheck(tb testing.TB, p pair, raw string) func() bool {
	tb.Helper()
	dot := strings.LastIndexByte(raw, '.')
	text := []byte(raw[:dot])
	sig, err := base64.RawURLEncoding.DecodeString(raw[dot+1:])
	if err != nil {
		tb.Fatal(err)
	}
	h, sum := crypto.SHA256, func() []byte { s := sha256.Sum256(text); return s[:] }
	newHash := func() hash.Hash { return sha256.New() }
	switch p.alg[len(p.alg)-3:] {
	case "384":
		h, sum, newHash = crypto.SHA384, func() []byte { s := sha512.Sum384(text); return s[:] }, sha512.New384
	case "512":
		h, sum, newHash = crypto.SHA512, func() []byte { s := sha512.Sum512(text); return s[:] }, sha512.New
	}
	switch pub := p.public.(type) {
	case *rsa.PublicKey:
		if p.alg[0] == 'P' {
			o := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return func() bool { return rsa.VerifyPSS(pub, h, sum(), sig, o) == nil }
		}
		return func() bool { return rsa.VerifyPKCS1v15(pub, h, sum(), sig) == nil }
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:])
		return func() bool { return ecdsa.Verify(pub, sum(), r, s) }
	case ed25519.PublicKey:
		return func() bool { return ed25519.Verify(pub, text, sig) }
	default:
		return func() bool {
			m := hmac.New(newHash, []byte(secret))
			m.Write(text)
			return hmac.Equal(m.Sum(nil), sig)
		}
	}
}

var benchAlgs = []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS512"}

// contestants are the ways to verify one token: the floor, ours, and the
// library that most others use.
func contestants(tb testing.TB, alg string) map[string]func() bool {
	p := families()[alg]
	raw := sign(tb, p, goodClaims)
	v := verifier(tb, Options{}, standard(p))
	ctx := context.Background()
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(issuerName), jwt.WithAudience("orders-api"), jwt.WithExpirationRequired(), jwt.WithTimeFunc(clock))
	key := func(*jwt.Token) (any, error) { return p.public, nil }
	return map[string]func() bool{
		"floor": rawCheck(tb, p, raw),
		"ours": func() bool {
			_, err := v.Verify(ctx, raw, now)
			return err == nil
		},
		"golang-jwt": func() bool {
			_, err := parser.Parse(raw, key)
			return err == nil
		},
	}
}

func TestBenchmarkContestantsAccept(t *testing.T) {
	for _, alg := range benchAlgs {
		for name, check := range contestants(t, alg) {
			if !check() {
				t.Errorf("%s/%s refuses", alg, name)
			}
		}
	}
}

// maxAllocs is what one verification may allocate beside what the standard
// library does for the signature itself.
const maxAllocs = 10

func TestUncachedVerificationAllocatesLittle(t *testing.T) {
	for _, alg := range benchAlgs {
		all := contestants(t, alg)
		ours := testing.AllocsPerRun(100, func() { all["ours"]() })
		floor := testing.AllocsPerRun(100, func() { all["floor"]() })
		t.Logf("%s: %v allocations, %v of them in the signature check", alg, ours, floor)
		if ours > floor+maxAllocs && !raceEnabled {
			t.Errorf("%s: %v allocations beside the signature check, want at most %d", alg, ours-floor, maxAllocs)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range benchAlgs {
		all := contestants(b, alg)
		for _, name := range []string{"floor", "ours", "golang-jwt"} {
			b.Run(alg+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !all[name]() {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}

// cached returns a verifier that knows n tokens, and the tokens.
func cached(tb testing.TB, n int) (*Verifier, []string) {
	p := families()["HS256"]
	v := verifier(tb, Options{Cache: 2 * n}, standard(p))
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = sign(tb, p, strings.Replace(goodClaims, "8b0b5f0e", fmt.Sprintf("%08x", i), 1))
		if _, err := v.Verify(context.Background(), tokens[i], now); err != nil {
			tb.Fatal(err)
		}
	}
	return v, tokens
}

func TestCacheHitAllocatesNothing(t *testing.T) {
	v, tokens := cached(t, 100)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := v.Verify(context.Background(), tokens[i%len(tokens)], now); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if st := v.Stats(); st.Misses != 100 {
		t.Errorf("%+v", st)
	}
}

// BenchmarkCacheHit compares with the floor: finding the same tokens in a map,
// without locks, clocks and generations.
func BenchmarkCacheHit(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		v, tokens := cached(b, n)
		ctx := context.Background()
		index := make(map[string]*Token, n)
		asked := make([]string, n) // as requests bring them: other strings
		for i, raw := range tokens {
			tok, err := v.Verify(ctx, raw, now)
			if err != nil {
				b.Fatal(err)
			}
			index[raw], asked[i] = tok, strings.Clone(raw)
		}
		contestants := map[string]func(string) bool{
			"floor": func(raw string) bool { return index[raw] != nil },
			"ours":  func(raw string) bool { _, err := v.Verify(ctx, raw, now); return err == nil },
		}
		for _, name := range []string{"floor", "ours"} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if !contestants[name](asked[i]) {
						b.Fatal("refused")
					}
					if i++; i == n {
						i = 0
					}
				}
			})
		}
		if st := v.Stats(); st.Misses != uint64(n) {
			b.Fatalf("not all were hits: %+v", st)
		}
	}
}

func BenchmarkRefuse(b *testing.B) {
	p := families()["RS256"]
	v := verifier(b, Options{Cache: 10}, standard(p))
	for name, raw := range map[string]string{
		"expired":  sign(b, p, strings.Replace(goodClaims, "1795342500", "1300819380", 1)),
		"garbage":  strings.Repeat("A", 1000),
		"none":     b64(`{"alg":"none"}`) + "." + b64(goodClaims) + ".",
		"issuer":   sign(b, p, strings.Replace(goodClaims, "id.example", "evil.example", 1)),
		"16K_flat": sign(b, p, claimsWith("exp", "1", "x", "["+strings.Repeat("1,", 5500)+"1]")),
		"16K_obj":  sign(b, p, claimsWith("exp", "1", "x", many(900, -1))),
		"16K_objs": sign(b, p, claimsWith("exp", "1", "x", "["+strings.Repeat(many(23, -1)+",", 50)+"1]")),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Verify(context.Background(), raw, now)
			}
		})
	}
}
