// Package interop has the tools of others read a trail: those of Tessera and
// Torchwood, which know C2SP tlog-tiles and nothing of this project. It is a
// module of its own, so that nobody who builds the plugin has to download them:
//
//	cd modules/internal/evidence/trail/interop && go test ./...
package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/witness"
)

const origin = "audit.example.com/orders"

// makeTiles makes a trail of n records, one of which no bundle can hold, and
// its tiles.
func makeTiles(t *testing.T, n int) (dir string, known note.Verifier) {
	t.Helper()
	signer, vkey, err := trail.NewSigner(origin, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(t.TempDir(), "trail")
	tr, err := trail.Open(from, trail.Options{Signer: signer, VerifierKey: vkey, Origin: origin, RollSize: 40_000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		pad := ""
		if i == 100 {
			pad = fmt.Sprintf("%0200000d", i)
		}
		if err := tr.Append(fmt.Appendf(nil, `{"n":%d,"pad":%q}`, i, pad)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if _, err := trail.WriteTiles(context.Background(), from, dir, nil); err != nil {
		t.Fatal(err)
	}
	if known, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	return dir, known
}

// leaves hashes the entries of a bundle.
func leaves(bundle []byte) (out [][]byte, err error) {
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
			return nil, errors.New("a bundle ends early")
		}
		n := int(binary.BigEndian.Uint16(bundle))
		h := tlog.RecordHash(bundle[2 : 2+n])
		out = append(out, h[:])
		bundle = bundle[2+n:]
	}
	return out, nil
}

func TestTesseraChecksTheTiles(t *testing.T) {
	dir, known := makeTiles(t, 1500)
	check := func() error {
		return fsck.New(origin, known, client.FileFetcher{Root: dir}, leaves, fsck.Opts{}).Check(context.Background())
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "tile", "entries", "002")
	data, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	data[100] ^= 1
	if err := os.WriteFile(bundle, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(); err == nil {
		t.Error("an edited entry is not found")
	}
}

func TestTorchwoodReadsTheEntriesAndCosigns(t *testing.T) {
	const n = 1500
	dir, known := makeTiles(t, n)
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer s.Close()
	msg, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Open(msg, note.VerifierList(known))
	if err != nil {
		t.Fatal(err)
	}
	cp, err := torchwood.ParseCheckpoint(signed.Text)
	if err != nil || cp.Origin != origin || cp.N != n {
		t.Fatalf("%+v %v", cp, err)
	}
	fetcher, err := torchwood.NewTileFetcher(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := torchwood.NewClient(fetcher)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for i, entry := range c.Entries(context.Background(), cp.Tree, 0) {
		if want := fmt.Sprintf(`{"n":%d,`, i); !bytes.HasPrefix(entry, []byte(want)) {
			t.Fatalf("entry %d: %.40q", i, entry)
		}
		read++
	}
	if err := c.Err(); err != nil || read < n-256 { // the last, partial bundle may wait
		t.Errorf("%d entries: %v", read, err)
	}
	// Its cosignature is one for us.
	cosigner, err := torchwood.NewCosignatureSigner("witness.example.com", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	with, err := note.Sign(signed, cosigner)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.Parse(cosigner.Verifier().String())
	if err != nil {
		t.Fatal(err)
	}
	if by, err := witness.Cosigned(with, []witness.Witness{w}); err != nil || len(by) != 1 {
		t.Errorf("%v %v", by, err)
	}
}
