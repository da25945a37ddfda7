package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Record has the members of a record that tests read.
type Record struct {
	Kind   string
	ID     string
	Site   string
	Method string
	Path   string
	Query  string
	Status int
	Code   string
	End    string
	User   struct{ ID, Kind string }
	Roles  []string
	Sent   int64
	What   string

	Decisions []struct{ Layer, Result, Rule, Code string }
}

// Records returns the records of a trail by way of the command, which also
// verifies it.
func (s *Server) Records(trail string, args ...string) []Record {
	s.T.Helper()
	if out, err := s.Caddy("moat", "audit", "verify", trail); err != nil {
		s.T.Fatalf("verify: %v\n%s", err, out)
	}
	var list []Record
	d := json.NewDecoder(strings.NewReader(s.Output(append([]string{"moat", "audit", "search", trail}, args...)...)))
	for {
		var r Record
		if err := d.Decode(&r); err == io.EOF {
			return list
		} else if err != nil {
			s.T.Fatal(err)
		}
		list = append(list, r)
	}
}

// RecordOf waits for the record of a path.
func (s *Server) RecordOf(trail, path string) Record {
	s.T.Helper()
	var found Record
	Eventually(s.T, func() error {
		for _, r := range s.Records(trail) {
			if r.Path == path {
				found = r
				return nil
			}
		}
		return fmt.Errorf("%s was not recorded", path)
	})
	return found
}

// TrailText returns all that the files of a trail in the server's directory
// have.
func (s *Server) TrailText(trail string) string {
	s.T.Helper()
	var all strings.Builder
	err := filepath.WalkDir(s.Path(trail), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return all.String()
}

// GrepTree fails for each text that a file below dir contains.
func GrepTree(t testing.TB, dir string, texts ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, text := range texts {
			if i := bytes.Index(data, []byte(text)); i >= 0 {
				t.Errorf("%s contains %s: …%s…", path, text, data[max(0, i-100):min(len(data), i+100)])
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("looking through %s: %d files, %v", dir, files, err)
	}
}

// CountRecords counts the lines of a trail's segments that contain all texts.
func CountRecords(t testing.TB, dir string, texts ...string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".jsonl") {
			return err
		}
		body, err := os.ReadFile(path)
		for line := range strings.Lines(string(body)) {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				n++
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
