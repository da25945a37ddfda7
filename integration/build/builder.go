package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// build runs xcaddy with the configuration of root/xcaddy.json, changed by
// adjust. Unless verbose, xcaddy's log is shown only if the build fails, and so is what the go command prints.
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
	part := fmt.Sprintf("%s.%d.part%s", out, os.Getpid(), filepath.Ext(out))
	defer os.Remove(part)

	run := func() error { return b.Build(ctx, part) }
	if verbose {
		err = run()
	} else {
		err = quietly(run)
	}
	if err != nil {
		return err
	}
	return os.Rename(part, out)
}

// quietly runs f and keeps what xcaddy logs and the go command prints to
// itself, unless f fails.
func quietly(f func() error) error {
	said, err := os.CreateTemp("", "caddy-moat-build-*.log")
	if err != nil {
		return err
	}
	defer os.Remove(said.Name())
	defer said.Close()

	prefix, writer, stdout, stderr := log.Prefix(), log.Writer(), os.Stdout, os.Stderr
	log.SetPrefix("")
	log.SetOutput(said)
	os.Stdout, os.Stderr = said, said // what the go command inherits
	err = f()
	log.SetPrefix(prefix)
	log.SetOutput(writer)
	os.Stdout, os.Stderr = stdout, stderr
	if err == nil {
		return nil
	}
	text, readErr := os.ReadFile(said.Name())
	if readErr != nil {
		return fmt.Errorf("xcaddy: %w", err)
	}
	return fmt.Errorf("%s\nxcaddy: %w", bytes.TrimSpace(text), err)
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
