#!/usr/bin/env bash
# golang-jwt: a token whose exp is a number in quotes is good or bad by the Go
# type that its claims are read into.
#
# Versions: github.com/golang-jwt/jwt/v5 v5.3.1, Go 1.25 or newer.
#
# Guess: RegisteredClaims and MapClaims are two views of one token; Parse comes to
#   the same verdict about a string in exp, which RFC 7519 wants to be a number.
# Behaviour: MapClaims looks at the decoded type and returns "exp is invalid".
#   NumericDate, of which RegisteredClaims is made, decodes into a json.Number,
#   and encoding/json lets a quoted number into that: "exp":"1796064900" is read
#   as that time, and expires then. nbf and iat are of the same type. "exp":"soon" is
#   refused by both.
# Matters: a service that goes from a map to a struct starts to accept the tokens
#   of an issuer which quotes its dates, and one that goes back stops; a gateway
#   and a service that share this library can disagree about one token.
#
# Output seen:
#   number:            RegisteredClaims verified, MapClaims verified
#   quoted number:     RegisteredClaims verified, MapClaims refused
#   quoted, past:      RegisteredClaims refused, MapClaims refused
#   quoted word:       RegisteredClaims refused, MapClaims refused
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/golang-jwt/jwt/v5 v5.3.1
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func main() {
	key := []byte("0123456789abcdef0123456789abcdef")
	keyFunc := func(*jwt.Token) (any, error) { return key, nil }
	verdict := func(_ *jwt.Token, err error) string {
		if err != nil {
			return "refused"
		}
		return "verified"
	}
	next := time.Now().Add(time.Hour).Unix()
	for _, row := range []struct {
		name string
		exp  any
	}{
		{"number:", next},
		{"quoted number:", strconv.FormatInt(next, 10)},
		{"quoted, past:", strconv.FormatInt(next-7200, 10)},
		{"quoted word:", "soon"},
	} {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "alice", "exp": row.exp}).SignedString(key)
		if err != nil {
			panic(err)
		}
		options := []jwt.ParserOption{jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()}
		fmt.Printf("%-18s RegisteredClaims %s, MapClaims %s\n", row.name,
			verdict(jwt.ParseWithClaims(token, &jwt.RegisteredClaims{}, keyFunc, options...)),
			verdict(jwt.ParseWithClaims(token, jwt.MapClaims{}, keyFunc, options...)))
	}
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
number:            RegisteredClaims verified, MapClaims verified
quoted number:     RegisteredClaims verified, MapClaims refused
quoted, past:      RegisteredClaims refused, MapClaims refused
quoted word:       RegisteredClaims refused, MapClaims refused
TXT
diff want seen || { echo changed; exit 1; }
