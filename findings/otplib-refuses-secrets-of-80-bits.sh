#!/usr/bin/env bash
# otplib (npm) 13 and pquerna/otp (Go): the secret that most enrolments have is too
# short for the one and usual for the other, and they disagree about the last code.
#
# Versions: otplib 13.5.0 (npm), github.com/pquerna/otp v1.5.0, Go 1.25 or newer;
#   RFC 4226 section 4 (R6), RFC 6238 section 5.2.
#
# Guess: TOTP is TOTP: a secret that authenticator apps have had for years is taken
#   by every library, and the code of the period before is accepted, as RFC 6238 advises.
# Behaviour: otplib 13 refuses secrets of 16 base32 letters (80 bits, what Google
#   Authenticator's own tools make) with an exception, also in verify, unless its
#   guardrails are changed; spaces, as apps show secrets in groups of four, are an
#   exception too, lower case is not. verify has no tolerance at all by default: a code that is
#   a second into the next period is false. pquerna/otp takes the short secret, takes
#   spaces at the ends alone, and accepts one period on either side.
# Matters: a server that changes its library locks out everybody who enrolled with
#   the other, and one that reads from a users file made elsewhere must say which.
#
# Output seen:
#   otplib, 16 letters:              SecretTooShortError
#   otplib, 32 letters:              a code
#   otplib, lower case:              a code
#   otplib, groups of four:          Error
#   otplib, code of 1 s ago:         rejected
#   pquerna/otp, 16 letters:         a code
#   pquerna/otp, 32 letters:         a code
#   pquerna/otp, lower case:         a code
#   pquerna/otp, groups of four:     error
#   pquerna/otp, code of 1 s ago:    accepted
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund otplib@13.5.0
cat >try.mjs <<'JS'
import { generate, verify } from 'otplib';

const show = (name, text) => console.log(`otplib, ${name}:`.padEnd(32), text);
const short = 'MFRGGZDFMZTWQ2LK', long = short + short;
for (const [name, secret] of [['16 letters', short], ['32 letters', long], ['lower case', long.toLowerCase()],
  ['groups of four', long.replace(/(.{4})(?=.)/g, '$1 ')]]) {
  try {
    await generate({ secret, epoch: 1_800_000_000 });
    show(name, 'a code');
  } catch (error) { show(name, error.name); }
}
const token = await generate({ secret: long, epoch: 1_799_999_999 });
show('code of 1 s ago', (await verify({ secret: long, token, epoch: 1_800_000_000 })).valid ? 'accepted' : 'rejected');
JS
node try.mjs | tee seen
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/pquerna/otp v1.5.0
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"
)

func main() {
	show := func(name, value string) { fmt.Printf("%-32s %s\n", "pquerna/otp, "+name+":", value) }
	const short = "MFRGGZDFMZTWQ2LK"
	const long = short + short
	now := time.Unix(1_800_000_000, 0)
	for _, c := range [][2]string{{"16 letters", short}, {"32 letters", long}, {"lower case", strings.ToLower(long)},
		{"groups of four", strings.TrimSpace(regexp.MustCompile(".{4}").ReplaceAllString(long, "$0 "))}} {
		if _, err := totp.GenerateCode(c[1], now); err != nil {
			show(c[0], "error")
			continue
		}
		show(c[0], "a code")
	}
	code, err := totp.GenerateCode(long, now.Add(-time.Second))
	if err != nil {
		panic(err)
	}
	options := totp.ValidateOpts{Period: 30, Skew: 1, Digits: 6} // those of Validate
	verdict := "rejected"
	if ok, err := totp.ValidateCustom(code, long, now, options); ok && err == nil {
		verdict = "accepted"
	}
	show("code of 1 s ago", verdict)
}
GO
go mod tidy 2>/dev/null
go run . | tee -a seen
cat >want <<'TXT'
otplib, 16 letters:              SecretTooShortError
otplib, 32 letters:              a code
otplib, lower case:              a code
otplib, groups of four:          Error
otplib, code of 1 s ago:         rejected
pquerna/otp, 16 letters:         a code
pquerna/otp, 32 letters:         a code
pquerna/otp, lower case:         a code
pquerna/otp, groups of four:     error
pquerna/otp, code of 1 s ago:    accepted
TXT
diff want seen || { echo changed; exit 1; }
