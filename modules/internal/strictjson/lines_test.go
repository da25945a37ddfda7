package strictjson

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for _, tc := range []struct {
		comments   bool
		text, want string
	}{
		{false, "{}\n{}\n{}", "{}{}{}"},
		{false, " {} \r\n{}\n", "{}{}"},
		{false, "{}\n\n{}", "{} line 2: not a JSON object"},
		{false, "# a\n", " line 1: not a JSON object"},
		{true, "# a\n\n \t\r\n{}\n  # b\n{}", "{}{}"},
		{true, "\n{}\u00a0\n", " line 2: not a JSON object"},
		{true, "{}\n\n{}\n{}\n#\n{}", "{}{}{} line 6: more than 3 things"},
		{true, "{}\n{\"a\":1234567890}", "{} line 2: longer than 15 bytes"},
		{false, strings.Repeat(" ", 101), " larger than 100 bytes"},
		{true, "", ""},
	} {
		var got strings.Builder
		err := Lines{Size: 100, Line: 15, Count: 3, Of: "things", Comments: tc.comments}.Each([]byte(tc.text), func(s *Scanner, line []byte) error {
			if err := s.Object(line); err != nil {
				return err
			}
			got.Write(line)
			return nil
		})
		if err != nil {
			fmt.Fprintf(&got, " %v", err)
		}
		if got.String() != tc.want {
			t.Errorf("%q: got %q, want %q", tc.text, got.String(), tc.want)
		}
	}
	mistake := errors.New("mistake")
	err := Lines{Size: 9, Line: 9, Count: 9}.Each([]byte("x"), func(*Scanner, []byte) error { return mistake })
	if !errors.Is(err, mistake) {
		t.Errorf("got %v", err)
	}
}
