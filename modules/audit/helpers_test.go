package audit

import (
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func decisionOf(layer, result, rule, code string) decision.Decision {
	return decision.Decision{Layer: layer, Result: result, Rule: rule, Code: code}
}

// storedSigner makes a signer.
func storedSigner(t *testing.T) (note.Signer, string, error) {
	t.Helper()
	_, key, err := makeKey("test")
	if err != nil {
		return nil, "", err
	}
	return trail.NewSigner("test", key)
}
