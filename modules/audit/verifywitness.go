package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/witness"
)

// oldCosignature is the age from which the newest cosignature is warned about.
const oldCosignature = 24 * time.Hour

// witnessed is what is known of the witnesses of a trail that is verified.
type witnessed struct {
	witnesses []witness.Witness
	quorum    int
	by        map[string]time.Time // who cosigned the checkpoint that the trail keeps
	missing   string               // why there is none
}

// readWitnesses reads --witness and --quorum and the cosigned checkpoint of the
// trail, which is then verified against like one that was kept elsewhere.
func readWitnesses(dir string, texts []string, quorum int, o *trail.VerifyOptions) (*witnessed, error) {
	w := &witnessed{quorum: quorum}
	if len(texts) == 0 {
		if quorum != 0 {
			return nil, errors.New("--quorum is for --witness")
		}
		return w, nil
	}
	for _, text := range texts {
		one, err := witness.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--witness: %w", err)
		}
		w.witnesses = append(w.witnesses, one)
	}
	if w.quorum == 0 {
		w.quorum = len(w.witnesses)/2 + 1
	}
	if w.quorum < 1 || w.quorum > len(w.witnesses) {
		return nil, fmt.Errorf("--quorum %d: there are %d witnesses", quorum, len(w.witnesses))
	}
	msg, err := trail.ReadCosigned(dir)
	if errors.Is(err, os.ErrNotExist) {
		w.missing = "there is no cosigned checkpoint"
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	if w.by, err = witness.Cosigned(msg, w.witnesses); err != nil {
		w.missing = err.Error()
		return w, nil
	}
	if len(w.by) < w.quorum {
		w.missing = fmt.Sprintf("%d of %d witnesses have cosigned it, %d must have", len(w.by), len(w.witnesses), w.quorum)
		return w, nil
	}
	o.Remembered = append(o.Remembered, msg)
	return w, nil
}

// report adds what the witnesses say to the report.
func (w *witnessed) report(ctx context.Context, dir string, r *trail.Report) {
	if len(w.witnesses) == 0 {
		return
	}
	if w.missing != "" {
		r.Problems = append(r.Problems, trail.Problem{Kind: trail.Missing, File: "cosigned", Detail: w.missing})
	}
	var newest time.Time
	for name, at := range w.by {
		r.Witnessed = append(r.Witnessed, fmt.Sprintf("%s at %s", name, at.Local().Format("2006-01-02 15:04:05 -07:00")))
		if at.After(newest) {
			newest = at
		}
	}
	slices.Sort(r.Witnessed)
	if !newest.IsZero() && time.Since(newest) > oldCosignature {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the newest cosignature is of %s", newest.Local().Format("2006-01-02 15:04:05 -07:00")))
	}
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	for i := range w.witnesses {
		if w.witnesses[i].URL != "" {
			w.ask(ctx, dir, &w.witnesses[i], r)
		}
	}
}

// ask asks one witness what it has seen last.
func (w *witnessed) ask(ctx context.Context, dir string, one *witness.Witness, r *trail.Report) {
	name := one.Verifier.Name()
	msg, err := os.ReadFile(checkpointOf(dir))
	if err != nil {
		return // Verify has said so
	}
	cp, err := trail.PeekCheckpoint(msg)
	if err != nil || cp.Size == 0 {
		return
	}
	line, err := one.Cosign(ctx, http.DefaultClient, witness.Checkpoint{
		Note: msg, Size: cp.Size,
		Body: func(old int64) ([]byte, error) { return trail.Growth(dir, msg, old) },
	}, 0, time.Now())
	var ahead *witness.AheadError
	switch {
	case err == nil && line != "":
		r.Witnessed = append(r.Witnessed, fmt.Sprintf("%s just now, %d records", name, cp.Size))
	case errors.As(err, &ahead):
		r.Problems = append(r.Problems, trail.Problem{Kind: trail.Truncated, File: "witness " + name, First: ahead.Size, End: ahead.Cosigned, Detail: err.Error()})
	case errors.Is(err, witness.ErrFork):
		r.Problems = append(r.Problems, trail.Problem{Kind: trail.Forged, File: "witness " + name, Detail: err.Error()})
	default:
		r.Warnings = append(r.Warnings, fmt.Sprintf("the witness %s could not be asked: %v", name, err))
	}
}
