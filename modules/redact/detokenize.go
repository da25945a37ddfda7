package redact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// detokenizing is the flags of `caddy moat detokenize`.
type detokenizing struct {
	choice
	someone
	key     string
	request bool
	format  string
	path    string
	number  bool
}

func detokenizeCommand() *cobra.Command {
	var u detokenizing
	cmd := &cobra.Command{
		Use:   "detokenize --config <file> [--key <id>] (< body.json | --format <format> [--path <pointer>] <token>)",
		Short: "Turns tokens of redact into the values again",
		Long: `Turn tokens of redact into the values again.

Without an argument, standard input is a JSON document as a caller got it, and
the output is the same document with the value in place of every token. Which
values are tokens is known from the rules: those for the caller described by
--role, --scope, --user, --issuer and --kind, as with caddy moat redact. With --request
the document is a request body as the upstream got it.

A token by itself needs its format (--format), and its JSON Pointer (--path), since the
name of the member is part of it.

Nothing in a token tells which key made it: after a rotation, --key names it. A
token cannot be told from another value of its format, so a wrong key, caller
or path gives wrong values and no error; what is not of the format is an error.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			h, keys, done, err := u.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			if len(args) == 1 {
				return u.token(cmd.OutOrStdout(), keys, args[0])
			}
			if u.path != "" || u.format != "" || u.number {
				return errors.New("--format, --path and --json-number are for a token given as an argument")
			}
			return u.document(h, keys, cmd.OutOrStdout(), cmd.InOrStdin())
		},
	}
	u.choice.flags(cmd)
	u.someone.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&u.key, "key", "", "ID of the tokenize_key that made the tokens (default: that of each rule)")
	fl.BoolVar(&u.request, "request", false, "the document is a request body: apply the rules in requests")
	fl.StringVar(&u.format, "format", "", "format of the token, where it is given as an argument")
	fl.StringVar(&u.path, "path", "", "JSON Pointer of the token, where it is given as an argument")
	fl.BoolVar(&u.number, "json-number", false, "the token given as an argument is a JSON number, not a string")
	return cmd
}

// token prints what a token stands for.
func (u *detokenizing) token(out io.Writer, keys *keyring, token string) error {
	rule := Rule{Action: "tokenize", Args: []string{u.format}}
	if u.format == "" {
		return fmt.Errorf("--format is needed for a token given as an argument: one of %s and alphabet=<characters>", strings.Join(mask.TokenFormats(), ", "))
	}
	t, err := u.tokenizer(&rule, keys)
	if err != nil {
		return err
	}
	if _, ok := mask.ParseDecimal([]byte(token)); u.number && !ok {
		return errors.New("the token is not a JSON number")
	}
	plain, ok := t.Detokenize(nil, []byte(token), redaction.MemberName(u.path), u.number)
	if !ok {
		return fmt.Errorf("the token is not of the format %s", u.format)
	}
	_, err = fmt.Fprintf(out, "%s\n", plain)
	return err
}

// tokenizer returns that of a rule, with the key of the flag if it is set.
func (u *detokenizing) tokenizer(rule *Rule, keys *keyring) (*mask.Tokenizer, error) {
	r := *rule
	if u.key != "" {
		r.Args = []string{r.Args[0], keyPrefix + u.key}
	}
	return r.tokenizer(keys)
}

// document copies a document with the values in place of tokens.
func (u *detokenizing) document(h *Handler, keys *keyring, out io.Writer, in io.Reader) error {
	rules, groups, fold := h.Rules, h.Groups, false
	if u.request {
		if h.Requests == nil {
			return errors.New("this redact has no requests")
		}
		rules, groups, fold = h.Requests.Rules, h.Requests.Groups, !h.Requests.MatchCase
	}
	var wrong []string
	inverse, err := u.inverse(concerned(rules, groups, u.caller()), keys, func(pointer string) { wrong = append(wrong, strconv.Quote(pointer)) })
	if err != nil {
		return err
	}
	p, err := redaction.Compile(inverse, redaction.Options{MaxDepth: h.MaxDepth, MaxValue: h.MaxValue, Sequence: true, FoldCase: fold})
	if err != nil {
		return err
	}
	body, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if _, err := splitTexts(bytes.TrimPrefix(body, bom)); err != nil {
		return err
	}
	var made bytes.Buffer
	w := p.NewRewriter(&made)
	if _, err = w.Write(body); err == nil {
		err = w.Close()
	}
	switch {
	case err != nil:
		return err
	case len(wrong) > 0:
		return fmt.Errorf("not tokens of the rules for this caller: the values at %s", strings.Join(wrong, ", "))
	}
	_, err = out.Write(made.Bytes())
	return err
}

// concerned returns the rules for a caller, one for each selector.
func concerned(rules []Rule, groups []Group, p *principal.Principal) []line {
	list := lines(rules, "")
	for i := range groups {
		g := &groups[i]
		if p == nil || g.names(p) == (g.Mode == "only") {
			list = append(list, lines(g.Rules, g.title()+": ")...)
		}
	}
	return list
}

// inverse returns rules that undo tokenize. What a stricter action has changed
// is spared.
func (u *detokenizing) inverse(list []line, keys *keyring, misfit func(string)) ([]redaction.Rule, error) {
	var made []redaction.Rule
	found := false
	for _, l := range list {
		rule := redaction.Rule{Name: l.name, Selector: l.selector}
		switch {
		case l.rule.does("tokenize"):
			found = true
			of := l.rule
			if of.Then != nil {
				of = of.Then
			}
			t, err := u.tokenizer(of, keys)
			if err != nil {
				return nil, err
			}
			rule.Action = redaction.Detokenize(t, misfit)
			if l.rule.Then != nil {
				// In text, what was hidden is not found again.
				if rule.Action, err = redaction.Detect(l.rule.Kinds, redaction.Detokenize(t, func(string) {})); err != nil {
					return nil, err
				}
			}
		case l.rule.Action != "remove" && actions[l.rule.Action].rank < rankToken:
			rule.Action = redaction.Spare()
		default:
			continue
		}
		made = append(made, rule)
	}
	if !found {
		return nil, errors.New("no rule for this caller makes tokens")
	}
	return made, nil
}
