// Command build makes the custom caddy binary that xcaddy.json describes,
// with xcaddy itself as the builder.
//
//	go run ./integration/build -o PATH [-race] [-with MODULE@VERSION]...
//	go run ./integration/build COMMAND ARGUMENT...
//	go run ./integration/build -cached
//
// The first form builds PATH. The second builds into the user's cache
// directory, unless a binary there was made from the same sources, and then
// becomes `caddy COMMAND ARGUMENT...`, such as `run --config Caddyfile`. The
// environment variable MOAT_BINARY names a binary to become instead. The third
// prints the path of the binary in the cache directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/caddyserver/xcaddy"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("build: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		stop()
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return buildAndRun(ctx, root, args)
	}

	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	out := flags.String("o", "", "write the binary to this `path` (required)")
	race := flags.Bool("race", false, "build with the race detector")
	inCache := flags.Bool("cached", false, "build into the cache directory and print the path")
	verbose := flags.Bool("v", false, "print xcaddy's own log")
	var with plugins
	flags.Var(&with, "with", "add another plugin, `module@version`; repeatable")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *inCache && flags.NFlag() == 1 && flags.NArg() == 0 {
		path, err := cached(ctx, root)
		if err == nil {
			fmt.Println(path)
		}
		return err
	}
	if *out == "" || *inCache || flags.NArg() > 0 {
		return errors.New("usage: go run ./integration/build -o PATH, or go run ./integration/build COMMAND [ARGUMENT]...; PATH names the binary to write")
	}
	return build(ctx, root, *out, *verbose, func(b *xcaddy.Builder) {
		b.RaceDetector = *race
		b.Plugins = append(b.Plugins, with...)
	})
}

// plugins is the value of the repeatable -with flag.
type plugins []xcaddy.Dependency

func (p *plugins) String() string { return fmt.Sprint(*p) }

func (p *plugins) Set(s string) error {
	path, version, ok := strings.Cut(s, "@")
	if !ok || path == "" || version == "" {
		return fmt.Errorf("%q: write module@version, a build must be repeatable", s)
	}
	*p = append(*p, xcaddy.Dependency{PackagePath: path, Version: version})
	return nil
}

// moduleRoot returns the directory of xcaddy.json: the working directory or
// the nearest one above it.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "xcaddy.json")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no xcaddy.json here or above: run this inside a checkout of caddy-moat")
		}
		dir = parent
	}
}

// buildAndRun builds the binary unless the cache has it, and becomes it.
func buildAndRun(ctx context.Context, root string, args []string) error {
	binary := os.Getenv("MOAT_BINARY")
	if binary == "" {
		var err error
		if binary, err = cached(ctx, root); err != nil {
			return err
		}
	}
	return become(binary, args)
}
