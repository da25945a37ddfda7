package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// algorithms are the families of signatures that are compared.
var algorithms = []string{"RS256", "ES256", "HS256", "EdDSA"}

// Who issues the tokens, and for whom.
const (
	issuer   = "https://id.example.com/realms/bench"
	audience = "orders-api"
	hmacEnv  = "BENCH_HS256" // the environment variable with the shared secret
)

// signer signs with one algorithm.
type signer struct {
	alg    string
	method jwt.SigningMethod
	key    any
	public crypto.PublicKey // nil for HMAC
}

// newSigner makes a fresh key.
func newSigner(alg string) (*signer, error) {
	s := &signer{alg: alg, method: jwt.GetSigningMethod(alg)}
	var err error
	switch alg {
	case "RS256":
		var k *rsa.PrivateKey
		if k, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			s.key, s.public = k, k.Public()
		}
	case "ES256":
		var k *ecdsa.PrivateKey
		if k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			s.key, s.public = k, k.Public()
		}
	case "EdDSA":
		var k ed25519.PrivateKey
		if _, k, err = ed25519.GenerateKey(rand.Reader); err == nil {
			s.key, s.public = k, k.Public()
		}
	case "HS256":
		k := make([]byte, 32)
		_, err = rand.Read(k)
		s.key = k
	default:
		err = fmt.Errorf("no algorithm %q", alg)
	}
	return s, err
}

// install writes what a server needs to verify into dir, and returns the
// argument of jwt_auth's key option and the environment that goes with it.
func (s *signer) install(dir string) (key string, env []string, err error) {
	if secret, ok := s.key.([]byte); ok {
		return "{env." + hmacEnv + "}", []string{hmacEnv + "=base64:" + base64.StdEncoding.EncodeToString(secret)}, nil
	}
	der, err := x509.MarshalPKIXPublicKey(s.public)
	if err != nil {
		return "", nil, err
	}
	file := filepath.Join(dir, s.alg+".pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return file, nil, os.WriteFile(file, block, 0o600)
}

// claims are those of an access token of an ordinary identity provider, about
// 600 bytes once signed with an HMAC.
func claims(user int, role string) jwt.MapClaims {
	now := time.Now()
	name := fmt.Sprintf("user-%d", user)
	return jwt.MapClaims{
		"iss": issuer,
		"aud": audience,
		"sub": name,
		"jti": fmt.Sprintf("0d5a2b9e-7c41-4e0f-9d6b-%012d", user),
		"iat": now.Unix(),
		"exp": now.Add(24 * time.Hour).Unix(),
		"azp": "web-frontend", "scope": "openid profile email", "sid": fmt.Sprintf("%032d", user),
		"email": name + "@example.com", "email_verified": true, "preferred_username": name,
		"realm_access": map[string]any{"roles": []string{"offline_access", role}},
	}
}

// mint returns a signed token.
func (s *signer) mint(c jwt.MapClaims) (string, error) {
	t := jwt.NewWithClaims(s.method, c)
	t.Header["typ"] = "JWT"
	return t.SignedString(s.key)
}

// mintMany returns n tokens of n users, made on all cores.
func (s *signer) mintMany(n int, stop <-chan struct{}) ([]string, error) {
	var (
		tokens  = make([]string, n)
		next    atomic.Int64
		workers sync.WaitGroup
		once    sync.Once
		failed  error
	)
	for range runtime.NumCPU() {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				select {
				case <-stop:
					once.Do(func() { failed = errors.New("interrupted while minting tokens") })
					return
				default:
				}
				var err error
				if tokens[i], err = s.mint(claims(i, "clerk")); err != nil {
					once.Do(func() { failed = err })
					return
				}
			}
		})
	}
	workers.Wait()
	return tokens, failed
}

// errExhausted is what a source of unique tokens ends with.
var errExhausted = errors.New("out of unique tokens")

// pattern is the order in which the tokens of a contestant come.
type pattern string

const (
	repeated pattern = "one repeated"
	cycling  pattern = "cycling"
	unique   pattern = "all unique"
)

// requests returns a source of requests that carry these tokens. How far a
// cycle or a supply of unique tokens has come is kept in the source.
func requests(path string, order pattern, cycle int, tokens []string) source {
	head := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: application/json\r\n"
	if len(tokens) == 0 {
		all := []byte(head + "\r\n")
		return func(buf []byte) ([]byte, error) { return append(buf, all...), nil }
	}
	head += "Authorization: Bearer "
	var used atomic.Int64
	return func(buf []byte) ([]byte, error) {
		i := 0
		switch order {
		case repeated:
		case cycling:
			i = int((used.Add(1) - 1) % int64(cycle))
		case unique:
			if i = int(used.Add(1) - 1); i >= len(tokens) {
				return nil, errExhausted
			}
		}
		buf = append(buf, head...)
		buf = append(buf, tokens[i]...)
		return append(buf, "\r\n\r\n"...), nil
	}
}

// mcpPath is where calls are posted.
const mcpPath = "/mcp"

// mcpFields are the header fields of a call of a tool.
func mcpFields(tool string) []string {
	return []string{
		"Content-Type: application/json", "Accept: application/json, text/event-stream",
		"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: " + tool,
	}
}

// calls posts the same call of a tool over and over.
func calls(call []byte) source {
	all := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
		mcpPath, strings.Join(mcpFields("search"), "\r\n"), len(call), call)
	return func(buf []byte) ([]byte, error) { return append(buf, all...), nil }
}
