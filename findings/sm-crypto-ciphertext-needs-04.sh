#!/usr/bin/env bash
# sm-crypto (npm) and gmsm (Go): SM2 ciphertexts and signatures of the one are not
# those of the other, though both follow GB/T 32918.
#
# Versions: sm-crypto 0.5.8 (npm), github.com/emmansun/gmsm v0.15.5, Go 1.25 or newer.
#
# Guess: with the same order (C1C3C2 in both) a ciphertext of a browser is opened by
#   the server, and a signature is verified; only the order is worth an option.
# Behaviour: sm-crypto leaves out the octet 04 that begins the point C1, as a hex text
#   of 2 * (96 + length) digits; gmsm (and the standard, and GmSSL) want it and answer
#   "decryption error", whichever order is set. Signatures are 64 bytes of r and s
#   unless der: true is given, and gmsm verifies DER alone. The public key of
#   the same library does begin with 04.
# Matters: "decryption error" sends people to swap the order, the key, the curve;
#   what is missing is one octet in front.
#
# Output seen:
#   public key begins with:          04
#   ciphertext of hello:             101 bytes
#   opened as it is:                 no
#   opened in the other order:       no
#   opened with 04 in front:         hello
#   signature as it is, 64 bytes:    not verified
#   signature with der: true:        verified
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund sm-crypto@0.5.8
cat >try.cjs <<'JS'
const { sm2 } = require('sm-crypto');
const { privateKey, publicKey } = sm2.generateKeyPairHex();
process.stdout.write(JSON.stringify({ privateKey, publicKey, sealed: sm2.doEncrypt('hello', publicKey, 1),
  raw: sm2.doSignature('hello', privateKey, { hash: true }), der: sm2.doSignature('hello', privateKey, { hash: true, der: true }) }));
JS
node try.cjs >made.json
cat >go.mod <<'MOD'
module finding

go 1.25

require github.com/emmansun/gmsm v0.15.5
MOD
cat >main.go <<'GO'
package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"

	"github.com/emmansun/gmsm/sm2"
)

func main() {
	text, err := os.ReadFile("made.json")
	if err != nil {
		panic(err)
	}
	var made map[string]string
	if err := json.Unmarshal(text, &made); err != nil {
		panic(err)
	}
	bytesOf := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		return b
	}
	key := new(sm2.PrivateKey)
	key.D = new(big.Int).SetBytes(bytesOf(made["privateKey"]))
	key.Curve = sm2.P256()
	key.X, key.Y = key.Curve.ScalarBaseMult(bytesOf(made["privateKey"]))
	show := func(name, value string) { fmt.Printf("%-32s %s\n", name+":", value) }
	opened := func(sealed string, options *sm2.DecrypterOpts) string {
		plain, err := key.Decrypt(rand.Reader, bytesOf(sealed), options)
		if err != nil {
			return "no"
		}
		return string(plain)
	}
	verified := func(signature string) string {
		if sm2.VerifyASN1WithSM2(&key.PublicKey, nil, []byte("hello"), bytesOf(signature)) {
			return "verified"
		}
		return "not verified"
	}
	this, other := sm2.NewPlainDecrypterOpts(sm2.C1C3C2), sm2.NewPlainDecrypterOpts(sm2.C1C2C3)
	show("public key begins with", made["publicKey"][:2])
	show("ciphertext of hello", fmt.Sprint(len(made["sealed"])/2, " bytes"))
	show("opened as it is", opened(made["sealed"], this))
	show("opened in the other order", opened(made["sealed"], other))
	show("opened with 04 in front", opened("04"+made["sealed"], this))
	show(fmt.Sprintf("signature as it is, %d bytes", len(made["raw"])/2), verified(made["raw"]))
	show("signature with der: true", verified(made["der"]))
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
public key begins with:          04
ciphertext of hello:             101 bytes
opened as it is:                 no
opened in the other order:       no
opened with 04 in front:         hello
signature as it is, 64 bytes:    not verified
signature with der: true:        verified
TXT
diff want seen || { echo changed; exit 1; }
