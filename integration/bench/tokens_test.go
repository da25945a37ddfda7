package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestPatternsOfTokens(t *testing.T) {
	tokens := []string{"a", "b", "c", "d"}
	for order, want := range map[pattern]string{repeated: "aaaaaa", cycling: "abcabc", unique: "abcd!!"} {
		next := requests(resource, order, 3, tokens)
		var got strings.Builder
		for range len(want) {
			req, err := next(nil)
			if errors.Is(err, errExhausted) {
				got.WriteByte('!')
				continue
			}
			_, token, _ := bytes.Cut(req, []byte("Authorization: Bearer "))
			if !bytes.HasSuffix(token, []byte("\r\n\r\n")) || !bytes.HasPrefix(req, []byte("GET "+resource+" HTTP/1.1\r\n")) {
				t.Fatalf("%s: malformed request %q", order, req)
			}
			got.Write(token[:1])
		}
		if got.String() != want {
			t.Errorf("%s: %s, want %s", order, &got, want)
		}
	}
}

func TestMintedTokensAreValidAndDistinct(t *testing.T) {
	for _, alg := range algorithms {
		s, err := newSigner(alg)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := s.mintMany(5, nil)
		if err != nil {
			t.Fatal(err)
		}
		key := any(s.public)
		if s.public == nil {
			key = s.key
		}
		everNew, subjects := s.everNew(), map[string]bool{}
		if alg == "HS256" {
			for range 5 {
				req, err := everNew(nil)
				if err != nil {
					t.Fatal(err)
				}
				_, token, _ := strings.Cut(string(req), "Authorization: Bearer ")
				tokens = append(tokens, strings.TrimSpace(token))
			}
		}
		for i, raw := range tokens {
			if i == 5 {
				clear(subjects)
			}
			token, err := jwt.Parse(raw, func(*jwt.Token) (any, error) { return key, nil },
				jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired())
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			sub, _ := token.Claims.GetSubject()
			if subjects[sub] {
				t.Errorf("%s: two tokens of %s", alg, sub)
			}
			subjects[sub] = true
		}
	}
}
