package redact

import (
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// action is what can be done to a value. This table is the single list of
// actions: the parser, its error messages, `--explain` and
// the engine's actions come from it, and a test holds the manual and the
// Syntax comment of the Caddyfile to it.
type action struct {
	name     string
	args     int    // that have to stand before the selectors
	optional int    // and so many that may
	words    string // how the arguments are written
	tail     string // the selectors, if they may be left out
	rank     int    // of several on one value, the lowest wins

	build func(r *Rule, keys *keyring) (redaction.Action, error)
}

// The ranks of actions. The first three apply to objects and arrays as a whole.
const (
	rankWhole    = 2
	rankTruncate = 6
	rankDetect   = 7
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
		{name: "mask", args: 1, words: "<preset>", rank: 4, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			return redaction.Mask(r.Args[0])
		}},
		{name: "keep", args: 2, optional: 1, words: "<first> <last> [<char>|char=<char>]", rank: 4, build: (*Rule).buildKeep},
		{name: "hash", rank: 3, build: func(_ *Rule, keys *keyring) (redaction.Action, error) {
			key, err := keys.hashKey()
			if err != nil {
				return redaction.Action{}, err
			}
			return redaction.Hash(key), nil
		}},
		{name: "truncate", args: 1, words: "<characters>", rank: rankTruncate, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			n, err := number(r.Args[0], 0, 1<<20)
			return redaction.Truncate(n), err
		}},
		{name: "round", args: 1, words: "<places>", rank: 5, build: func(r *Rule, _ *keyring) (redaction.Action, error) {
			n, err := number(r.Args[0], -100, 100)
			return redaction.Round(n), err
		}},
		{name: "shift_dates", args: 1, words: "<most days>", rank: 5, build: (*Rule).buildShift},
		{name: "encrypt", rank: 3, build: func(_ *Rule, keys *keyring) (redaction.Action, error) {
			seal, err := keys.sealer()
			if err != nil {
				return redaction.Action{}, err
			}
			return redaction.Encrypt(seal), nil
		}},
		{name: "placeholder", rank: 3, build: simple(redaction.Placeholder)},
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
