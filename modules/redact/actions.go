package redact

import (
	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// action is what can be done to a value. This table is the single list of
// actions: the parser, its error messages, `--explain` and
// the engine's actions come from it, and a test holds the manual and the
// Syntax comment of the Caddyfile to it.
type action struct {
	name     string
	args     int    // that have to stand before the selectors
	optional int    // and so many that may, in Rule.Args
	words    string // how the arguments are written
	tail     string // the selectors, if they may be left out
	rank     int    // of several on one value, the lowest wins

	// more returns how many of the words behind the arguments are arguments,
	// too; alone tells that no selector has to follow them.
	more func(words []string, alone bool) (int, error)

	build func(r *Rule, keys *keyring) (redaction.Action, error)
}

// The ranks of actions. The first three apply to objects and arrays as a whole.
const (
	rankWhole    = 2
	rankSecret   = 3
	rankToken    = 4
	rankMask     = 5
	rankCoarse   = 6
	rankTruncate = 7
	rankDetect   = 8
)

// actionList is in the order of the manual.
var actionList []*action

// actions is actionList by name.
var actions = map[string]*action{}

func init() { // not in a declaration: detect builds another action
	actionList = []*action{
		{name: "remove", rank: 0, build: simple(redaction.Remove)},
		{name: "null", rank: 1, build: simple(redaction.Null)},
		{name: "replace", args: 1, words: "<text>", rank: rankWhole, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			return redaction.Replace(r.Args[0]), nil
		}},
		{name: "mask", args: 1, words: "<preset>", rank: rankMask, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			return redaction.Mask(r.Args[0])
		}},
		{name: "keep", args: 2, optional: 1, words: "<first> <last> [<char>|char=<char>]", rank: rankMask, build: (*Rule).buildKeep},
		{name: "hash", optional: 1, words: "[sha256|sm3]", rank: rankSecret, more: algorithm("sha256", "sm3"), build: (*Rule).buildHash},
		{name: "truncate", args: 1, words: "<characters>", rank: rankTruncate, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			n, err := number(r.Args[0], 0, 1<<20)
			return redaction.Truncate(n), err
		}},
		{name: "round", args: 1, words: "<places>", rank: rankCoarse, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			n, err := number(r.Args[0], -100, 100)
			return redaction.Round(n), err
		}},
		{name: "shift_dates", args: 1, words: "<most days>", rank: rankCoarse, build: (*Rule).buildShift},
		{name: "bucket", optional: mask.MaxBounds, words: "<width>|<bound>...", rank: rankCoarse, more: numbers, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			b, err := mask.NewBuckets(r.Args)
			return redaction.Bucket(b), err
		}},
		{name: "generalize", args: 1, words: "<to>", rank: rankCoarse, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			g, err := mask.Generalize(r.Args[0])
			return redaction.Generalize(g), err
		}},
		{name: "noise", args: 1, words: "<most>", rank: rankCoarse, build: (*Rule).buildNoise},
		{name: "encrypt", optional: 1, words: "[aes|sm4]", rank: rankSecret, more: algorithm("aes", "sm4"), build: (*Rule).buildEncrypt},
		{name: "tokenize", args: 1, optional: 1, words: "<format> [key=<id>]", rank: rankToken, more: keyID, build: (*Rule).buildTokenize},
		{name: "fake", args: 1, words: "<kind>", rank: rankSecret, build: (*Rule).buildFake},
		{name: "placeholder", rank: rankSecret, build: simple(redaction.Placeholder)},
		{name: "detect", words: "<kind>... <action>", tail: "[<selector>...]", rank: rankDetect, build: (*Rule).buildDetect},
	}
	for _, a := range actionList {
		actions[a.name] = a
	}
}

func simple(f func() redaction.Action) func(*Rule, *keyring) (redaction.Action, error) {
	return func(*Rule, *keyring) (redaction.Action, error) { return f(), nil }
}

// usage is how a rule with the action is written.
func (a *action) usage() string {
	s := a.name
	if a.words != "" {
		s += " " + a.words
	}
	if a.tail != "" {
		return s + " " + a.tail
	}
	return s + " <selector>..."
}
