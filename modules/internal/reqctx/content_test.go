package reqctx

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func TestContentIsFoundByReading(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		body   io.Reader
		length int64
		want   bool
		text   string
		err    error
	}{
		"none":                    {nil, 0, false, "", nil},
		"of known length":         {strings.NewReader("abc"), 3, true, "abc", nil},
		"of length 0":             {strings.NewReader(""), 0, false, "", nil},
		"of unknown length":       {strings.NewReader("abc"), -1, true, "abc", nil},
		"one byte":                {strings.NewReader("a"), -1, true, "a", nil},
		"byte by byte":            {iotest.OneByteReader(strings.NewReader("abc")), -1, true, "abc", nil},
		"the end with the data":   {iotest.DataErrReader(strings.NewReader("a")), -1, true, "a", nil},
		"empty of unknown length": {strings.NewReader(""), -1, false, "", nil},
		"broken at once":          {iotest.ErrReader(broken), -1, true, "", broken},
		"broken behind":           {io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), -1, true, "ab", broken},
	} {
		r := &http.Request{Header: http.Header{}, ContentLength: tc.length}
		if tc.body != nil {
			r.Body = io.NopCloser(tc.body)
		}
		for range 2 { // whoever asks next gets the same answer
			if got := HasContent(r); got != tc.want {
				t.Errorf("%s: got %t", name, got)
			}
		}
		if r.Body == nil {
			continue
		}
		if text, err := io.ReadAll(r.Body); string(text) != tc.text || !errors.Is(err, tc.err) {
			t.Errorf("%s: the body is then %q, %v", name, text, err)
		}
		if !tc.want && r.ContentLength != 0 {
			t.Errorf("%s: the length is then %d", name, r.ContentLength)
		}
	}
}
