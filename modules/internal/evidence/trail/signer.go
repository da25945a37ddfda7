package trail

import (
	"os"
	"sync"
	"sync/atomic"
)

// signer writes checkpoints in a goroutine of its own, so that signing and
// its three syncs do not delay records.
type signer struct {
	t    *Trail
	ask  chan *frontier
	size atomic.Int64 // of the last checkpoint

	mu   sync.Mutex
	note []byte
	err  error
}

// offer asks for a checkpoint of tree unless there is one, or the signer is
// busy: there is always a next time.
func (s *signer) offer(tree *frontier) {
	snapshot := *tree
	select {
	case s.ask <- &snapshot:
	default:
	}
}

func (s *signer) run() {
	defer close(s.t.signed)
	for tree := range s.ask {
		if _, err := os.Stat(s.t.path(checkpointName)); err == nil && tree.n == s.size.Load() {
			continue
		}
		s.sign(tree)
	}
}

func (s *signer) sign(tree *frontier) {
	t, o := s.t, s.t.opt.Load()
	msg, err := signNote(Checkpoint{t.origin, tree.n, tree.root()}.text(), o.Signer)
	if err == nil {
		err = replaceFile(t.path(checkpointName), msg)
	}
	s.mu.Lock()
	failed := s.err != nil
	s.err = err
	if err == nil {
		s.note = msg
	}
	s.mu.Unlock()
	if err != nil {
		if !failed {
			o.Logf("audit trail %s: writing a checkpoint: %v", t.dir, err)
		}
		return
	}
	s.size.Store(tree.n)
	t.mu.Lock()
	t.stats.Checkpoints++
	t.mu.Unlock()
	if o.Observer.Signed != nil {
		o.Observer.Signed(msg)
	}
}

// Checkpoint returns the last signed checkpoint.
func (t *Trail) Checkpoint() []byte {
	t.signer.mu.Lock()
	defer t.signer.mu.Unlock()
	return append([]byte(nil), t.signer.note...)
}
