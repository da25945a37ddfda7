package redact

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// everything is the selector of detect where none is written: every value.
const everything = "$"

// line is a rule for one selector.
type line struct {
	rule     *Rule
	selector string

	// name is what the audit record says: the line of the Caddyfile.
	name string
}

// lines splits rules by their selectors. prefix is the group they stand in.
func lines(rules []Rule, prefix string) []line {
	var list []line
	for i := range rules {
		rule := &rules[i]
		name := prefix + rule.String()
		if rule.Action == "detect" && len(rule.Selectors) == 0 {
			list = append(list, line{rule, everything, name})
		}
		for _, s := range rule.Selectors {
			list = append(list, line{rule, s, name + " " + quoted(s)})
		}
	}
	return list
}

// build makes rules of the engine.
func build(rules []Rule, prefix string, keys *keyring) ([]redaction.Rule, error) {
	actions := map[*Rule]redaction.Action{}
	for i := range rules {
		rule := &rules[i]
		action, err := rule.build(keys)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Action, err)
		}
		if len(rule.Selectors) == 0 && rule.Action != "detect" {
			return nil, fmt.Errorf("%s needs a selector", rule.Action)
		}
		actions[rule] = action
	}
	var list []redaction.Rule
	for _, l := range lines(rules, prefix) {
		list = append(list, redaction.Rule{Name: l.name, Selector: l.selector, Action: actions[l.rule]})
	}
	return list, nil
}

// check reports what is wrong with a rule, whatever the keys are, so that a
// Caddyfile's mistake is reported with its line.
func (r *Rule) check() error {
	rules, err := build([]Rule{*r}, "", anyKeys())
	if err != nil {
		return err
	}
	_, err = redaction.Compile(rules, redaction.Options{})
	return err
}

// build makes the action of the engine.
func (r *Rule) build(keys *keyring) (redaction.Action, error) {
	var none redaction.Action
	a, ok := actions[r.Action]
	if !ok {
		return none, errors.New("unknown action")
	}
	if n := len(r.Args); n < a.args || n > a.args+a.optional {
		return none, fmt.Errorf("%d arguments: write %s", n, a.usage())
	}
	if r.Action != "detect" && (r.Then != nil || len(r.Kinds) > 0) {
		return none, errors.New("only detect has kinds and then")
	}
	return a.build(r, keys)
}

func (r *Rule) buildHash(keys *keyring) (redaction.Action, error) {
	var none redaction.Action
	hash := redaction.Hash
	switch {
	case len(r.Args) == 0 || r.Args[0] == "sha256":
	case r.Args[0] == "sm3":
		hash = redaction.HashSM3
	default:
		return none, fmt.Errorf("'%s' is not sha256 or sm3", r.Args[0])
	}
	key, err := keys.hashKey()
	if err != nil {
		return none, err
	}
	return hash(key), nil
}

func (r *Rule) buildEncrypt(keys *keyring) (redaction.Action, error) {
	var none redaction.Action
	cipher := &aesKeys
	if len(r.Args) > 0 {
		if cipher = cipherOf(r.Args[0]); cipher == nil {
			return none, fmt.Errorf("'%s' is not aes or sm4", r.Args[0])
		}
	}
	all, err := keys.openers(cipher)
	if err != nil {
		return none, err
	}
	return redaction.Encrypt(all[0]), nil
}

// buildTokenize makes the action of tokenize.
func (r *Rule) buildTokenize(keys *keyring) (redaction.Action, error) {
	t, err := r.tokenizer(keys)
	if err != nil {
		return redaction.Action{}, err
	}
	return redaction.Tokenize(t), nil
}

func (r *Rule) tokenizer(keys *keyring) (*mask.Tokenizer, error) {
	// What is wrong with a format is found whatever the keys are.
	if _, err := mask.NewTokenizer(r.Args[0], make([]byte, mask.TokenKeySize)); err != nil {
		return nil, err
	}
	id := ""
	if len(r.Args) > 1 {
		id = strings.TrimPrefix(r.Args[1], keyPrefix)
	}
	key, err := keys.tokenKey(id)
	if err != nil {
		return nil, err
	}
	return mask.NewTokenizer(r.Args[0], key)
}

func (r *Rule) buildNoise(keys *keyring) (redaction.Action, error) {
	var none redaction.Action
	// As with tokenize.
	if _, err := mask.NewNoise(nil, r.Args[0]); err != nil {
		return none, fmt.Errorf("'%s': %w", r.Args[0], err)
	}
	key, err := keys.hashKey()
	if err != nil {
		return none, err
	}
	n, err := mask.NewNoise(key, r.Args[0])
	return redaction.Noise(n), err
}

func (r *Rule) buildFake(keys *keyring) (redaction.Action, error) {
	var none redaction.Action
	// As with tokenize.
	if _, err := mask.NewFaker(r.Args[0], nil); err != nil {
		return none, err
	}
	key, err := keys.hashKey()
	if err != nil {
		return none, err
	}
	f, err := mask.NewFaker(r.Args[0], key)
	return redaction.Fake(f), err
}

func (r *Rule) buildShift(keys *keyring) (redaction.Action, error) {
	var none redaction.Action
	most, err := number(r.Args[0], 1, 36500)
	if err != nil {
		return none, err
	}
	key, err := keys.hashKey()
	if err != nil {
		return none, err
	}
	return redaction.ShiftDates(key, most), nil
}

func (r *Rule) buildDetect(keys *keyring) (redaction.Action, error) {
	var none redaction.Action
	if r.Then == nil || r.Then.Action == "detect" {
		return none, fmt.Errorf("write %s", actions["detect"].usage())
	}
	then, err := r.Then.build(keys)
	if err != nil {
		return none, fmt.Errorf("%s: %w", r.Then.Action, err)
	}
	return redaction.Detect(r.Kinds, then)
}

func (r *Rule) buildKeep(*keyring) (redaction.Action, error) {
	var none redaction.Action
	first, err := number(r.Args[0], 0, 1<<20)
	if err != nil {
		return none, err
	}
	last, err := number(r.Args[1], 0, 1<<20)
	if err != nil {
		return none, err
	}
	char := '*'
	if len(r.Args) == 3 {
		if utf8.RuneCountInString(r.Args[2]) != 1 {
			return none, fmt.Errorf("'%s' is not one character", r.Args[2])
		}
		char, _ = utf8.DecodeRuneInString(r.Args[2])
	}
	return redaction.Keep(first, last, char), nil
}

// number reads a whole number within bounds.
func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("'%s' is not a number from %d to %d", s, least, most)
	}
	return n, nil
}
