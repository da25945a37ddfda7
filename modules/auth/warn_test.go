package auth

import (
	"fmt"
	"testing"
	"time"
)

func TestOneCauseIsLoggedOnceAMinute(t *testing.T) {
	c := causes{last: make(map[string]time.Time)}
	now := time.Unix(0, 0)
	for _, step := range []struct {
		cause string
		after time.Duration
		want  bool
	}{
		{"a", 0, true}, {"a", 0, false}, {"b", time.Second, true}, {"a", warnEvery - 2*time.Second, false}, {"a", time.Second, true}, {"a", time.Second, false},
	} {
		now = now.Add(step.after)
		if got := c.due(step.cause, now); got != step.want {
			t.Errorf("%s at %v: got %v", step.cause, now, got)
		}
	}
	for i := range 2 * maxCauses {
		c.due(fmt.Sprint(i), now)
	}
	if len(c.last) > maxCauses {
		t.Errorf("%d causes are remembered", len(c.last))
	}
}
