package strictjson

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxList is how many elements List reads at most.
const MaxList = 256

// ErrUnknown is for a member that a line must not have.
var ErrUnknown = errors.New("unknown member")

// Fields calls f with each member of an object and puts the member's name
// before the error.
func (s *Scanner) Fields(object []byte, f func(name string, value []byte) error) error {
	if err := s.Object(object); err != nil {
		return err
	}
	for i := range s.Len() {
		m := s.Member(i)
		if err := f(string(m.Name), m.Value); err != nil {
			return fmt.Errorf("%.40q: %w", m.Name, err)
		}
	}
	return nil
}

// String reads a text.
func String(value []byte) (string, error) {
	b, ok := Text(value)
	if !ok {
		return "", errors.New("a text is expected")
	}
	return string(b), nil
}

// Bool reads true or false.
func Bool(value []byte) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("true or false is expected")
}

// List reads a list of texts that all differ and that read understands.
func List[T comparable](value []byte, read func(string) (T, error)) ([]T, error) {
	elements, ok := Array(value)
	if !ok {
		return nil, errors.New("a list is expected")
	}
	var out []T
	for v, ok := elements.Next(); ok; v, ok = elements.Next() {
		s, err := String(v)
		if err != nil {
			return nil, err
		}
		item, err := read(s)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, item) {
			return nil, errors.New("an element is given twice")
		}
		if out = append(out, item); len(out) > MaxList {
			return nil, fmt.Errorf("more than %d elements", MaxList)
		}
	}
	// An empty list of what is allowed could be read as nothing or as all.
	if len(out) == 0 {
		return nil, errors.New("the list is empty: leave the member out")
	}
	return out, nil
}

// Moment reads a time of RFC 3339 in whole seconds and UTC.
func Moment(value []byte) (time.Time, error) {
	s, err := String(value)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9998 || t.UTC().Format(time.RFC3339) != s {
		return time.Time{}, errors.New("not a time such as 2026-11-22T10:00:00Z")
	}
	return t.UTC(), nil
}

// AppendList prints a member with a list of texts, after another member; none
// where the list is empty.
func AppendList(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":[`...)
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, s)
	}
	return append(b, ']')
}

// AppendTime prints a member with a time, after another member; none where it
// is zero.
func AppendTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = t.UTC().AppendFormat(b, time.RFC3339)
	return append(b, '"')
}
