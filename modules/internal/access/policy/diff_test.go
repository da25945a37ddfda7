package policy

import (
	"slices"
	"testing"
)

func TestDiffSaysWhatCameAndWent(t *testing.T) {
	from, to := shop(), shop()
	if got := Diff(from, to); got != nil {
		t.Errorf("equal policies: got %q", got)
	}
	if from.Digest() != to.Digest() {
		t.Error("equal policies have different digests")
	}
	to.Roles["clerk"] = &Block{Allow: []string{"GET /orders/*", "GET /stock"}, Inherits: []string{"base"}}
	to.Users = map[string]Grants{"carol": {{Roles: []string{"clerk", "base"}}}}
	want := []string{
		"- role clerk: allow POST /orders",
		"- user carol roles clerk",
		"+ role clerk inherits base",
		"+ role clerk: allow GET /stock",
		"+ user carol roles base clerk",
	}
	if got := Diff(from, to); !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if n := Common(from, to); n != 9 {
		t.Errorf("%d statements in common; want 9", n)
	}
	if from.Digest() == to.Digest() {
		t.Error("different policies have one digest")
	}
	if got := Diff(nil, &Document{Anyone: &Block{Deny: []string{"* /a"}}}); !slices.Equal(got, []string{"+ anyone: deny * /a"}) {
		t.Errorf("from nothing: got %q", got)
	}
}
