package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// cached returns the path of a binary made from the sources as they are, in
// the user's cache directory. It builds it unless it is there.
func cached(ctx context.Context, root string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum, err := sourceSum(root)
	if err != nil {
		return "", err
	}
	// A directory for each checkout, so that they leave each other's alone.
	checkout := sha256.Sum256([]byte(root))
	dir := filepath.Join(cache, "caddy-moat", hex.EncodeToString(checkout[:4]))
	binary := filepath.Join(dir, "caddy-"+sum)
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	now := time.Now()
	if os.Chtimes(binary, now, now) == nil {
		return binary, nil
	}
	log.Print("building the binary with xcaddy; the first time takes a few minutes")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := forget(dir); err != nil {
		return "", err
	}
	return binary, build(ctx, root, binary, false, nil)
}

// forget removes binaries made from other sources, but for the two that were
// used last: tests may be running one.
func forget(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "caddy-*"))
	if err != nil {
		return err
	}
	used := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(old, func(a, b string) int { return cmp.Compare(used(b), used(a)) })
	for _, f := range old[min(2, len(old)):] {
		// One that still runs cannot be removed on Windows; it is
		// removed the next time.
		_ = os.Remove(f)
	}
	return nil
}

// sourceSum identifies what the binary is made from: the toolchain, every Go
// file of the module that is not a test, what those embed, and the files that
// pin versions.
func sourceSum(root string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version())
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		name := d.Name()
		if d.IsDir() {
			dir, _ := filepath.Split(rel)
			if rel != "." && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
				dir == "integration/" && name != "build") {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(name, "_test.go"):
			return nil
		case strings.HasSuffix(name, ".go"), name == "go.mod", name == "go.sum", name == "xcaddy.json", strings.HasPrefix(rel, "modules/"):
		default:
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		content := sha256.New()
		if _, err := io.Copy(content, f); err != nil {
			return err
		}
		fmt.Fprintf(h, "%x %s\n", content.Sum(nil), rel)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}
