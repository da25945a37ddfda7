package trail_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func Example() {
	dir, err := os.MkdirTemp("", "trail")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	signer, verifierKey, err := trail.NewSigner("example.com/orders", key)
	if err != nil {
		log.Fatal(err)
	}
	t, err := trail.Open(dir, trail.Options{Signer: signer, VerifierKey: verifierKey, Sync: trail.Always})
	if err != nil {
		log.Fatal(err)
	}
	for _, rec := range []string{`{"user":"alice","status":200}`, `{"user":"bob","status":403}`, `{"user":"alice","status":200}`} {
		if err := t.AppendSync(context.Background(), []byte(rec)); err != nil {
			log.Fatal(err)
		}
	}
	if err := t.Close(); err != nil {
		log.Fatal(err)
	}

	known, err := trail.ParseKeys([]byte(verifierKey))
	if err != nil {
		log.Fatal(err)
	}
	report, err := trail.Verify(context.Background(), dir, trail.VerifyOptions{Known: known})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Size, "records, good:", report.OK())

	// Somebody gives bob what he was refused.
	path := filepath.Join(dir, "00000000000000000000.jsonl")
	data, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte("403"), []byte("200"), 1), 0o600); err != nil {
		log.Fatal(err)
	}
	report, err = trail.Verify(context.Background(), dir, trail.VerifyOptions{Known: known})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range report.Problems {
		fmt.Println(p)
	}
	// Output:
	// 3 records, good: true
	// 00000000000000000000.jsonl:2: edited: record 1: the line is not the record that was written, going by the leaf hash noted beside it
}
