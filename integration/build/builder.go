package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// build runs xcaddy with the configuration of root/xcaddy.json, changed by
// adjust. Unless verbose, xcaddy's log is shown only if the build fails.
func build(ctx context.Context, root, out string, verbose bool, adjust func(*xcaddy.Builder)) error {
	b, err := load(root)
	if err != nil {
		return err
	}
	if adjust != nil {
		adjust(b)
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	// Built beside its place and renamed, so that a build that is
	// interrupted or a second one at the same time leaves no half binary.
	part := out + ".part" + filepath.Ext(out)
	defer os.Remove(part)

	var said bytes.Buffer
	if !verbose {
		restore := quiet(&said)
		defer restore()
	}
	if err := b.Build(ctx, part); err != nil {
		return fmt.Errorf("%s\nxcaddy: %w", said.Bytes(), err)
	}
	return os.Rename(part, out)
}

// quiet sends what xcaddy logs to w until restore is called. What the go
// command prints still goes to standard error, since it may take a while.
func quiet(w io.Writer) (restore func()) {
	prefix, old, stdout := log.Prefix(), log.Writer(), os.Stdout
	log.SetPrefix("")
	log.SetOutput(w)
	os.Stdout = os.Stderr
	return func() {
		log.SetPrefix(prefix)
		log.SetOutput(old)
		os.Stdout = stdout
	}
}

// load reads xcaddy.json: the JSON of xcaddy.Builder, where the new side of a
// replacement may be a path relative to the file.
func load(root string) (*xcaddy.Builder, error) {
	body, err := os.ReadFile(filepath.Join(root, "xcaddy.json"))
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	b := new(xcaddy.Builder)
	if err := d.Decode(b); err != nil {
		return nil, fmt.Errorf("xcaddy.json: %w", err)
	}
	for i, r := range b.Replacements {
		if path := string(r.New); strings.HasPrefix(path, ".") {
			b.Replacements[i].New = xcaddy.ReplacementPath(filepath.Join(root, path))
		}
	}
	return b, nil
}

// sourceSum identifies what the binary is made from: every Go file of the
// module that is not a test, and the files that pin versions.
func sourceSum(root string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(name, "_test.go"):
			return nil
		case strings.HasSuffix(name, ".go"), strings.HasSuffix(name, ".s"), name == "go.mod", name == "go.sum", name == "xcaddy.json":
		default:
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
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
		fmt.Fprintf(h, "%x %s\n", content.Sum(nil), filepath.ToSlash(rel))
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}
