package httpsig

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func expectRefusal(t *testing.T, m *Message, p *Policy, keys Keys, now time.Time, class error, reason string) {
	t.Helper()
	r, err := Verify(m, p, keys, now)
	var e *Error
	switch {
	case err == nil:
		t.Errorf("accepted: %+v", r)
	case !errors.As(err, &e) || !errors.Is(err, class):
		t.Errorf("%v, want %v", err, class)
	case !strings.Contains(e.Reason, reason):
		t.Errorf("refused since %q, want %q", e.Reason, reason)
	}
}
