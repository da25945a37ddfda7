package witness

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Group are the witnesses of one log. It remembers how far each of them is.
// Ask is not called twice at a time.
type Group struct {
	Witnesses []Witness
	Client    *http.Client
	Now       func() time.Time

	mu   sync.Mutex
	size map[string]int64 // that a witness has cosigned last, by its name
}

// Result is what came of asking one witness.
type Result struct {
	Name string
	Line string // the cosignature
	Err  error
}

// Ask asks all witnesses at once and returns what each of them says.
func (g *Group) Ask(ctx context.Context, c Checkpoint) []Result {
	results := make([]Result, len(g.Witnesses))
	var all sync.WaitGroup
	for i := range g.Witnesses {
		w := &g.Witnesses[i]
		all.Go(func() {
			name := w.Verifier.Name()
			line, err := w.Cosign(ctx, g.Client, c, g.last(name), g.Now())
			if err == nil {
				g.note(name, c.Size)
			}
			results[i] = Result{name, line, err}
		})
	}
	all.Wait()
	return results
}

func (g *Group) last(name string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size[name]
}

func (g *Group) note(name string, size int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.size == nil {
		g.size = make(map[string]int64)
	}
	g.size[name] = size
}
