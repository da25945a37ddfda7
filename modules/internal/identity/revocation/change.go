package revocation

import "fmt"

// Count is a number of entries by what they revoke.
type Count struct{ Tokens, Subjects, Keys int }

// CountEntries counts entries.
func CountEntries(entries ...Entry) (c Count) {
	for _, e := range entries {
		c.add(e)
	}
	return c
}

func (c *Count) add(e Entry) {
	switch {
	case e.JTI != "":
		c.Tokens++
	case e.Subject != "":
		c.Subjects++
	default:
		c.Keys++
	}
}

// String says the numbers in the words of a list.
func (c Count) String() string {
	return fmt.Sprintf("%d by jti, %d by sub, %d by kid", c.Tokens, c.Subjects, c.Keys)
}

// Change is how a list differs from the one before it.
type Change struct{ Added, Removed Count }

// difference returns how now differs from old, which may be nil.
func difference(old, now *List) (c Change) {
	if old == nil {
		old = NewList()
	}
	for e := range now.entries {
		if _, ok := old.entries[e]; !ok {
			c.Added.add(e)
		}
	}
	for e := range old.entries {
		if _, ok := now.entries[e]; !ok {
			c.Removed.add(e)
		}
	}
	return c
}
