package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestRulesThatAreHardlyMeantAreWarnedOf(t *testing.T) {
	for text, want := range map[string]string{
		"DELTE /orders/*":        "DELTE is not a registered HTTP method, and this rule has no other; did you mean 'DELETE'?",
		"GET,FROBNICATE /orders": "FROBNICATE is not a registered HTTP method, and this rule has no other",
		"GET /orders/＊":          "the path has the full-width character ＊, which stands for itself; did you mean '*'?",
		"PROPFIND,QUERY /dav/*":  "",
		"* /orders/*":            "",
	} {
		l, err := ParseLine(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := strings.Join(l.unlikely(), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if !slices.Contains(registered, "DELETE") {
		t.Error("the registry lacks DELETE")
	}
}

func TestSwappedRulesSayWhatToWrite(t *testing.T) {
	for args, want := range map[string]string{
		"/orders/* GET":      "'/orders/*' where a method is expected",
		"GET POST /orders/*": "methods are joined by commas, without spaces: GET,POST",
	} {
		if _, err := ParseArgs(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}
