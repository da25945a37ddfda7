package trail

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight and tileWidth are those of C2SP tlog-tiles.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// WriteTiles writes the trail in dir as a log of C2SP tlog-tiles to the
// directory out: tile/<L>/<N>, tile/entries/<N>, and at last the checkpoint,
// which is msg, or where that is nil the last one of the trail. What out has
// already is not written again, so that repeated calls cost what is new, and
// tiles stay there when the trail removes their records because of their age.
// It returns the size of the tree.
func WriteTiles(ctx context.Context, dir, out string, msg []byte) (int64, error) {
	if msg == nil {
		var err error
		if msg, _, err = lastCheckpoint(dir); err != nil {
			return 0, err
		}
	}
	_, cp, err := readCheckpoint(msg)
	if err != nil {
		return 0, err
	}
	before, err := published(out, cp)
	if err != nil {
		return 0, err
	}
	t := &tileWriter{ctx: ctx, dir: dir, out: out, cp: cp}
	if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // it is made to be served
		return 0, err
	}
	if err := t.entries(before); err != nil {
		return 0, err
	}
	if err := t.hashes(before); err != nil {
		return 0, err
	}
	if root, err := t.root(); err != nil || root != cp.Root {
		return 0, errors.Join(err, errors.New("the tiles do not agree with the checkpoint: verify the trail"))
	}
	return cp.Size, publish(filepath.Join(out, checkpointName), msg)
}

// published returns the size of the tree that out holds.
func published(out string, cp Checkpoint) (int64, error) {
	msg, err := readSmall(filepath.Join(out, checkpointName))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, old, err := readCheckpoint(msg)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", filepath.Join(out, checkpointName), err)
	case old.Origin != cp.Origin:
		return 0, fmt.Errorf("%s has the tiles of another trail, %s", out, old.Origin)
	case old.Size > cp.Size:
		return 0, fmt.Errorf("%s has %d records, the trail %d: it was cut or put back", out, old.Size, cp.Size)
	}
	return old.Size, nil
}

type tileWriter struct {
	ctx context.Context
	dir string
	out string
	cp  Checkpoint
}

// tilePath is the path of a tile below out; kind is a level or "entries".
func tilePath(kind string, n int64, width int) string {
	path := tlog.Tile{H: tileHeight, L: 0, N: n, W: width}.Path() // tile/8/0/…
	return "tile/" + kind + "/" + strings.TrimPrefix(path, "tile/8/0/")
}

func (t *tileWriter) write(kind string, n int64, width int, data []byte) error {
	path := filepath.Join(t.out, filepath.FromSlash(tilePath(kind, n, width)))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // to be served
		return err
	}
	tmp := path + tempSuffix
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // to be served
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync() // the names can be lost: then they are missed, and made again
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil && width == tileWidth {
		err = os.RemoveAll(path + ".p") // clients fall back to the full tile
	}
	return err
}

// publish is replaceFile for what others are to read.
func publish(path string, data []byte) error {
	if err := replaceFile(path, data); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) //nolint:gosec // to be served
}

// entries writes the bundles from the one that holds record from on, and the
// tiles of level 0 beside them.
func (t *tileWriter) entries(from int64) error {
	start := from / tileWidth * tileWidth
	if start >= t.cp.Size {
		return nil
	}
	var bundle, leaves []byte
	next := start
	flush := func() error {
		n, width := (next-1)/tileWidth, int((next-1)%tileWidth+1)
		if err := t.write("entries", n, width, bundle); err != nil {
			return err
		}
		err := t.write("0", n, width, leaves)
		bundle, leaves = bundle[:0], leaves[:0]
		return err
	}
	missing := func(a, b int64) error {
		return fmt.Errorf("records %d to %d are no longer there, and their tiles are not in %s", a, b-1, t.out)
	}
	_, err := Scan(t.ctx, t.dir, ScanOptions{From: Cursor{Index: start, segment: -1}, Gap: missing}, func(r Record) error {
		if r.Index >= t.cp.Size {
			return ErrStop
		}
		e := entryOf(r.Line)
		bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(e))) //nolint:gosec // at most maxEntry
		bundle = append(bundle, e...)
		leaf := tlog.RecordHash(e)
		leaves = append(leaves, leaf[:]...)
		if next++; next%tileWidth == 0 || next == t.cp.Size {
			return flush()
		}
		return nil
	})
	if err == nil && next < t.cp.Size {
		err = fmt.Errorf("the trail ends after %d records, its checkpoint has %d", next, t.cp.Size)
	}
	return err
}

// hashes writes the tiles of the levels above, each from full tiles below.
func (t *tileWriter) hashes(from int64) error {
	for level := 1; t.cp.Size>>(tileHeight*level) > 0; level++ {
		before, size := from>>(tileHeight*level), t.cp.Size>>(tileHeight*level)
		if before == size && from > 0 {
			continue
		}
		for n := before / tileWidth; n*tileWidth < size; n++ {
			width := min(tileWidth, size-n*tileWidth)
			var data []byte
			for i := range width {
				below, err := t.read(level-1, n*tileWidth+i, tileWidth)
				if err != nil {
					return err
				}
				h := fold(below)
				data = append(data, h[:]...)
			}
			if err := t.write(fmt.Sprint(level), n, int(width), data); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads a tile of hashes.
func (t *tileWriter) read(level int, n int64, width int) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(t.out, filepath.FromSlash(tilePath(fmt.Sprint(level), n, width))))
	if err == nil && len(data) != width*tlog.HashSize {
		err = fmt.Errorf("%s has %d bytes", tilePath(fmt.Sprint(level), n, width), len(data))
	}
	return data, err
}

// fold is the root of the complete subtree over the hashes in data.
func fold(data []byte) tlog.Hash {
	if len(data) == tlog.HashSize {
		return tlog.Hash(data)
	}
	half := len(data) / 2
	return tlog.NodeHash(fold(data[:half]), fold(data[half:]))
}

// root is the root of the tree that the tiles hold: every hash that it needs
// is in the last tile of its level.
func (t *tileWriter) root() (tlog.Hash, error) {
	if t.cp.Size == 0 {
		return sha256.Sum256(nil), nil
	}
	var f frontier
	f.n = t.cp.Size
	for level := 0; t.cp.Size>>(tileHeight*level) > 0; level++ {
		size := t.cp.Size >> (tileHeight * level)
		width := int(size % tileWidth)
		if width == 0 {
			continue
		}
		data, err := t.read(level, size/tileWidth, width)
		if err != nil {
			return tlog.Hash{}, err
		}
		at := 0
		for bit := tileHeight - 1; bit >= 0; bit-- {
			if width>>bit&1 == 1 {
				f.h[tileHeight*level+bit] = fold(data[at*tlog.HashSize : (at+(1<<bit))*tlog.HashSize])
				at += 1 << bit
			}
		}
	}
	return f.root(), nil
}

// readCheckpoint reads a checkpoint without a look at its signatures.
func readCheckpoint(msg []byte) (text string, cp Checkpoint, err error) {
	text, _, err = openNote(msg, note.VerifierList())
	if err == nil {
		cp, err = parseCheckpoint(text)
	}
	return text, cp, err
}
