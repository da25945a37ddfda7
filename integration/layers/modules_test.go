package layers

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

var moduleID = regexp.MustCompile(`(?:\bcaddy\.ModuleInfo\{\s+ID:\s+|\b\w+App = )"([a-z0-9_.]+)"`)

// TestListModulesShowsWhatTheSourcesRegister compares the module IDs in the
// sources with what the binary says.
func TestListModulesShowsWhatTheSourcesRegister(t *testing.T) {
	want := []string{"http.handlers.rate_limit"}
	err := filepath.WalkDir(filepath.Join(harness.Root(t), "modules"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		body, err := os.ReadFile(path)
		for _, m := range moduleID.FindAllStringSubmatch(string(body), -1) {
			want = append(want, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := harness.Prepare(t, "")
	listed := s.Output("list-modules", "--packages", "--skip-standard")
	var got []string
	for line := range strings.Lines(listed) {
		if id, pkg, ok := strings.Cut(strings.TrimSpace(line), " "); ok &&
			(strings.HasPrefix(pkg, "github.com/caddy-moat/") || strings.HasPrefix(pkg, "github.com/mholt/")) {
			got = append(got, id)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) < 6 || !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("list-modules shows %v\nthe sources register %v\n%s", got, want, listed)
	}
}
