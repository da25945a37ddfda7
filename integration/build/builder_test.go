package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
)

func TestWhatABuildPrintsIsShownOnlyIfItFails(t *testing.T) {
	stdout, stderr := os.Stdout, os.Stderr
	noise := func(err error) func() error {
		return func() error {
			log.Print("[INFO] exec go get")
			fmt.Fprintln(os.Stdout, "out")
			fmt.Fprintln(os.Stderr, "go: added example.com/x v1.0.0")
			return err
		}
	}
	if err := quietly(noise(nil)); err != nil {
		t.Errorf("a build that succeeds: %v", err)
	}
	err := quietly(noise(errors.New("exit status 1")))
	if err == nil {
		t.Fatal("a build that fails succeeds")
	}
	for _, want := range []string{"[INFO] exec go get", "out\n", "go: added example.com/x", "exit status 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not have %q", err, want)
		}
	}
	if os.Stdout != stdout || os.Stderr != stderr {
		t.Error("the standard files are not as they were")
	}
}
