package strictjson

import (
	"bytes"
	"fmt"
)

// Lines are the JSON lines of a file that an administrator writes: API keys,
// keys of signatures, certificates, revocations. There is one reader for all of
// them, so that they agree on what a line is and on how a mistake is told.
//
// The members of a line are read with a Scanner and not with
// github.com/go-json-experiment/json, which is as strict about syntax, but takes
// null for "not given", which would pass over a restriction, and repeats values
// in its errors, where one may be a secret in the wrong member.
type Lines struct {
	Size     int    // of the file at most, in bytes
	Line     int    // of a line at most, in bytes
	Count    int    // of lines with something in them at most
	Of       string // what a line is, in the plural
	Comments bool   // whether blank lines and lines that begin with # are skipped
}

// Each calls read with each line, without the white space round it. An error
// says in which line it is.
func (l Lines) Each(text []byte, read func(s *Scanner, line []byte) error) error {
	if len(text) > l.Size {
		return fmt.Errorf("larger than %d bytes", l.Size)
	}
	var s Scanner
	number, count := 0, 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.Trim(line, " \t\r\n")
		if l.Comments && (len(line) == 0 || line[0] == '#') {
			continue
		}
		count++
		var err error
		switch {
		case len(line) > l.Line:
			err = fmt.Errorf("longer than %d bytes", l.Line)
		case count > l.Count:
			err = fmt.Errorf("more than %d %s", l.Count, l.Of)
		default:
			err = read(&s, line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return nil
}
