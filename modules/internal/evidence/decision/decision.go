// Package decision collects what each layer decided about one request, so
// that the outermost one can record it. The zero Log is empty; every method of
// a nil *Log does nothing.
package decision

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Results of a decision.
const (
	Allow = "allow" // the layer let the request pass
	Deny  = "deny"  // the layer refused it
	Skip  = "skip"  // the layer had nothing to decide: no credential, dry run
	Error = "error" // the layer could not decide, which is a rejection too
)

// Decision is what one layer decided.
type Decision struct {
	Layer  string // directive name: jwt_auth, rbac, redact, …
	Result string // one of the constants above
	Rule   string // the rule that decided, as the administrator wrote it
	Code   string // the stable error code of a rejection
	Policy string // the digest of the policy that was asked, where there is one
	Detail string // why a credential was rejected, in words
}

// Call is a call of the Model Context Protocol that a request carries.
type Call struct {
	Method    string `json:"method"`    // tools/call
	Name      string `json:"name"`      // of the tool or prompt, or the URI of the resource
	Arguments string `json:"arguments"` // the digest of what the call has with it
	Error     int    `json:"error"`     // the code of the JSON-RPC error that answered it, 0 for none
	Hidden    int    `json:"hidden"`    // what the caller was not shown of lists
}

// Memo saves the allocation where a layer decides like the last time, as
// nearly all requests pass by the same few rules. A nil Memo saves nothing.
type Memo struct{ last atomic.Pointer[Decision] }

// Of returns d for Note. What it points at is shared and never changes.
func (m *Memo) Of(d Decision) *Decision {
	if m != nil {
		if last := m.last.Load(); last != nil && *last == d {
			return last
		}
	}
	// A copy, so that d itself stays where it is when it is not needed.
	made := new(Decision)
	*made = d
	if m != nil {
		m.last.Store(made)
	}
	return made
}

// Log holds the decisions about one request. Its methods may be called from
// several goroutines, since an upgraded connection is served by two.
type Log struct {
	mu        sync.Mutex
	decisions []*Decision
	space     [4]*Decision // decisions starts here, so that usual requests allocate nothing more
	code      string
	redacted  int
	rules     []string
	caller    *principal.Principal
	call      *Call
}

// Add appends a decision. The code of a rejection becomes the request's error
// code; the last one wins, as the innermost layer that ran decided.
func (l *Log) Add(d Decision) {
	if l != nil {
		l.Note(&d)
	}
}

// Note is Add of a decision that nobody changes any more.
func (l *Log) Note(d *Decision) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.decisions == nil {
		l.decisions = l.space[:0]
	}
	l.decisions = append(l.decisions, d)
	if d.Code != "" {
		l.code = d.Code
	}
}

// SetCode notes the stable error code of the response.
func (l *Log) SetCode(code string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.code = code
	l.mu.Unlock()
}

// SetCaller notes whose credential was rejected, where that is verified.
func (l *Log) SetCaller(p *principal.Principal) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.caller = p
	l.mu.Unlock()
}

// Caller returns what SetCaller noted, or nil.
func (l *Log) Caller() *principal.Principal {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.caller
}

// SetCall notes what the request calls. The Call must not change afterwards.
func (l *Log) SetCall(c *Call) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.call = c
	l.mu.Unlock()
}

// Call returns what SetCall noted, or nil.
func (l *Log) Call() *Call {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.call
}

// AddRedacted notes that n values were changed by the named rules.
func (l *Log) AddRedacted(n int, rules ...string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.redacted += n
	for _, r := range rules {
		if !slices.Contains(l.rules, r) {
			l.rules = append(l.rules, r)
		}
	}
}

// Decisions returns a copy of the decisions, in the order they were made.
func (l *Log) Decisions() []Decision {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Decision
	for _, d := range l.decisions {
		list = append(list, *d)
	}
	return list
}

// AppendTo appends the decisions to dst, in the order they were made, without
// copying what they point at.
func (l *Log) AppendTo(dst []*Decision) []*Decision {
	if l == nil {
		return dst
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(dst, l.decisions...)
}

// Refused reports whether one of the layers refused the request.
func (l *Log) Refused() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.decisions, func(d *Decision) bool { return d.Result == Deny || d.Result == Error })
}

// Code returns the error code of the request, empty if nothing refused it.
func (l *Log) Code() string {
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.code
}

// Redacted returns how many values were changed and by which rules.
func (l *Log) Redacted() (n int, rules []string) {
	if l == nil {
		return 0, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.redacted, slices.Clone(l.rules)
}

// AppendRedacted is Redacted for callers that bring the space for the rules.
func (l *Log) AppendRedacted(dst []string) (n int, rules []string) {
	if l == nil {
		return 0, dst
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.redacted, append(dst, l.rules...)
}
