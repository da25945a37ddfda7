package guard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Ban is somebody whose requests are rejected, or slowed down, for a time.
type Ban struct {
	Subject  Subject
	Rule     string   // that it comes of; "" for one that an administrator has made
	Reason   string   // in words
	Evidence []string // IDs of the records of requests
	By       string   // the administrator's address
	Since    time.Time
	For      time.Duration
	Level    int           // how often it has happened, from 1
	Delay    time.Duration // of each request, of who is slowed down

	until time.Duration // by the clock that does not step
}

// Left returns how long it lasts yet, zero or less for one that is over.
func (b *Ban) Left(m Moment) time.Duration { return b.until - m.Since }

// remembered is how long a ban that is over counts for the length of the next, at
// least. It is no less than the ban itself.
const remembered = 24 * time.Hour

// Book has the bans of one kind. Its methods may be called from several goroutines.
type Book struct {
	max int

	mu      sync.RWMutex
	bans    map[Subject]*Ban
	lengths [2]map[int]int // of prefixes of IPv4 and IPv6: how many bans there are of each
	widths  [2][]int       // the same, sorted, longest first
	names   int            // of callers and keys
	changed bool

	any   atomic.Bool // whether there is one at all
	named atomic.Bool // whether there is one of a caller or key
}

// NewBook returns an empty book with room for so many bans.
func NewBook(most int) *Book {
	return &Book{max: most, bans: make(map[Subject]*Ban), lengths: [2]map[int]int{{}, {}}}
}

// Any reports whether there may be a ban. It costs nothing.
func (b *Book) Any() bool { return b.any.Load() }

// Impose bans somebody for the first of the durations, or for a later one if that has
// happened before, and returns the ban. Where it is in force already, as for requests
// that cross the line together, it stays as it is and fresh is false.
func (b *Book) Impose(m Moment, ban Ban, ladder []time.Duration) (_ Ban, fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.bans[ban.Subject]; old != nil {
		if old.Left(m) > 0 {
			return *old, false
		}
		if -old.Left(m) < max(remembered, old.For) {
			ban.Level = old.Level
		}
	}
	ban.For = ladder[min(ban.Level, len(ladder)-1)]
	ban.Level++
	return b.put(m, ban), true
}

// Set bans somebody as an administrator says, in place of a ban that there is.
func (b *Book) Set(m Moment, ban Ban) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ban.Level = 1
	if old := b.bans[ban.Subject]; old != nil {
		ban.Level = max(1, old.Level)
	}
	b.put(m, ban)
}

// put adds a ban that begins now, and returns it. Callers hold mu.
func (b *Book) put(m Moment, ban Ban) Ban {
	ban.Since, ban.until = m.Wall, m.Since+ban.For
	if b.bans[ban.Subject] == nil && len(b.bans) >= b.max {
		b.evict()
	}
	b.insert(ban)
	b.changed = true
	return ban
}

// insert adds a ban. Callers hold mu.
func (b *Book) insert(ban Ban) {
	if b.bans[ban.Subject] == nil {
		b.account(ban.Subject, 1)
	}
	b.bans[ban.Subject] = &ban
	b.any.Store(true)
}

// evict removes the ban that ends first, if one of a rule is there one of those.
func (b *Book) evict() {
	var first *Ban
	for _, ban := range b.bans {
		if first == nil || (ban.Rule == "") == (first.Rule == "") && ban.until < first.until || ban.Rule != "" && first.Rule == "" {
			first = ban
		}
	}
	if first != nil {
		b.drop(first.Subject)
	}
}

// drop removes a ban. Callers hold mu.
func (b *Book) drop(s Subject) {
	if b.bans[s] == nil {
		return
	}
	delete(b.bans, s)
	b.account(s, -1)
	b.any.Store(len(b.bans) > 0)
	b.changed = true
}

// account keeps the lengths of prefixes. Callers hold mu.
func (b *Book) account(s Subject, n int) {
	if s.Kind != Network {
		b.names += n
		b.named.Store(b.names > 0)
		return
	}
	family := 0
	if s.Net.Addr().Is6() {
		family = 1
	}
	have := b.lengths[family]
	if have[s.Net.Bits()] += n; have[s.Net.Bits()] <= 0 {
		delete(have, s.Net.Bits())
	}
	b.widths[family] = b.widths[family][:0]
	for bits := range have {
		b.widths[family] = append(b.widths[family], bits)
	}
	slices.Sort(b.widths[family])
	slices.Reverse(b.widths[family])
}

// Address returns the ban in force of an address, or of a network that it is in.
func (b *Book) Address(m Moment, a netip.Addr, foreign bool) (Ban, bool) {
	if !b.any.Load() || !a.IsValid() {
		return Ban{}, false
	}
	family := 0
	if a.Is6() {
		family = 1
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, bits := range b.widths[family] {
		p, err := a.Prefix(bits)
		if err != nil {
			continue
		}
		s := Subject{Kind: Network, Net: p}
		if ban := b.bans[s]; ban != nil && ban.Left(m) > 0 {
			return *ban, true
		}
		if s.Foreign = true; foreign {
			if ban := b.bans[s]; ban != nil && ban.Left(m) > 0 {
				return *ban, true
			}
		}
	}
	return Ban{}, false
}

// Principal returns the ban in force of a verified caller, or of its key.
func (b *Book) Principal(m Moment, p *principal.Principal, foreign bool) (Ban, bool) {
	if p == nil || !b.named.Load() {
		return Ban{}, false
	}
	for _, s := range [...]Subject{CallerOf(p, false), KeyOf(p, false)} {
		if s.Name == "" {
			continue
		}
		if ban, ok := b.Of(m, s); ok {
			return ban, true
		}
		if s.Foreign = true; foreign {
			if ban, ok := b.Of(m, s); ok {
				return ban, true
			}
		}
	}
	return Ban{}, false
}

// Of returns the ban in force of a subject.
func (b *Book) Of(m Moment, s Subject) (Ban, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ban := b.bans[s]; ban != nil && ban.Left(m) > 0 {
		return *ban, true
	}
	return Ban{}, false
}

// Lift ends a ban and forgets that there was one, and reports whether it was in force.
func (b *Book) Lift(m Moment, s Subject) (Ban, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ban := b.bans[s]
	if ban == nil {
		return Ban{}, false
	}
	b.drop(s)
	return *ban, ban.Left(m) > 0
}

// List returns the bans in force, those first that end last.
func (b *Book) List(m Moment) []Ban {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var all []Ban
	for _, ban := range b.bans {
		if ban.Left(m) > 0 {
			all = append(all, *ban)
		}
	}
	slices.SortFunc(all, func(x, y Ban) int {
		return cmp.Or(cmp.Compare(y.until, x.until), cmp.Compare(x.Subject.String(), y.Subject.String()))
	})
	return all
}

// Sweep forgets bans that are over and count for nothing.
func (b *Book) Sweep(m Moment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s, ban := range b.bans {
		if -ban.Left(m) >= max(remembered, ban.For) {
			b.drop(s)
		}
	}
}

// stored is a ban as it is stored.
type stored struct {
	Subject  string    `json:"subject"`
	Rule     string    `json:"rule,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Evidence []string  `json:"evidence,omitempty"`
	By       string    `json:"by,omitempty"`
	Since    time.Time `json:"since"`
	Seconds  float64   `json:"seconds"` // for so long
	Level    int       `json:"level"`
}

// Changes returns the bans as JSON if they have changed since the last call, or nil.
func (b *Book) Changes() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.changed {
		return nil, nil
	}
	all := make([]stored, 0, len(b.bans))
	for _, ban := range b.bans {
		all = append(all, stored{ban.Subject.String(), ban.Rule, ban.Reason, ban.Evidence, ban.By, ban.Since, ban.For.Seconds(), ban.Level})
	}
	slices.SortFunc(all, func(x, y stored) int { return cmp.Compare(x.Subject, y.Subject) })
	body, err := json.Marshal(struct {
		Version int      `json:"version"`
		Bans    []stored `json:"bans"`
	}{1, all})
	if err == nil {
		b.changed = false
	}
	return body, err
}

// Unsaved says that what Changes returned last could not be stored.
func (b *Book) Unsaved() {
	b.mu.Lock()
	b.changed = true
	b.mu.Unlock()
}

// Load adds what Changes has returned. A ban lasts as long as it has to by the time of
// day, but never longer than when it was made: a clock that was set back does not
// prolong it.
func (b *Book) Load(m Moment, body []byte) error {
	var state struct {
		Version int      `json:"version"`
		Bans    []stored `json:"bans"`
	}
	if err := json.Unmarshal(body, &state); err != nil {
		return err
	}
	if state.Version != 1 {
		return fmt.Errorf("version %d is not known, only 1", state.Version)
	}
	bans := make([]Ban, 0, len(state.Bans))
	for _, s := range state.Bans {
		subject, err := ParseSubject(s.Subject)
		if err != nil {
			return fmt.Errorf("%q: %w", s.Subject, err)
		}
		length := time.Duration(s.Seconds * float64(time.Second))
		if length <= 0 || s.Level < 1 {
			return fmt.Errorf("%q has no length or level", s.Subject)
		}
		passed := max(0, m.Wall.Sub(s.Since))
		bans = append(bans, Ban{
			Subject: subject, Rule: s.Rule, Reason: s.Reason, Evidence: s.Evidence, By: s.By, Since: s.Since,
			For: length, Level: s.Level, until: m.Since + length - passed,
		})
	}
	slices.SortFunc(bans, func(x, y Ban) int { return cmp.Compare(y.until, x.until) })
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ban := range bans {
		if len(b.bans) >= b.max {
			break
		}
		if b.bans[ban.Subject] == nil {
			b.insert(ban)
		}
	}
	return nil
}
