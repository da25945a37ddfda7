package redact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"text/tabwriter"

	"github.com/caddyserver/certmagic"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

func init() {
	cli.RegisterCommand(redactCommand)
	cli.RegisterCommand(decryptCommand)
	cli.RegisterCommand(detokenizeCommand)
}

// choice is the flags that find a handler in a configuration.
type choice struct {
	config string
	number int
}

func (c *choice) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&c.config, "config", "c", "Caddyfile", "configuration file, Caddyfile or JSON")
	fl.IntVar(&c.number, "number", 0, "which redact of the configuration, counted from 1, where there are several")
}

// open returns the handler with its keys. done is to be called at the end.
func (c *choice) open(ctx context.Context) (h *Handler, keys *keyring, done func(), err error) {
	if ctx == nil {
		ctx = context.Background()
	}
	config, err := cli.LoadConfig(c.config)
	if err != nil {
		return nil, nil, nil, err
	}
	found, err := cli.FindModules(config, "handler", "redact")
	if err != nil {
		return nil, nil, nil, err
	}
	switch {
	case len(found) == 0:
		return nil, nil, nil, fmt.Errorf("%s has no redact", c.config)
	case c.number < 0 || c.number > len(found):
		return nil, nil, nil, fmt.Errorf("%s has %d redact, and no number %d", c.config, len(found), c.number)
	case c.number == 0 && len(found) > 1:
		return nil, nil, nil, fmt.Errorf("%s has %d redact: choose one with --number", c.config, len(found))
	}
	h = new(Handler)
	if err := json.Unmarshal(found[max(c.number, 1)-1], h); err != nil {
		return nil, nil, nil, fmt.Errorf("reading redact: %w", err)
	}
	h.setDefaults()
	if err := h.Validate(); err != nil {
		return nil, nil, nil, err
	}
	closeStorage := func() {}
	keys = h.keyring(ctx)
	keys.storage = func() (certmagic.Storage, error) {
		storage, opened, err := cli.OpenStorage(ctx, config)
		if err == nil {
			closeStorage = opened
		}
		return storage, err
	}
	return h, keys, func() { closeStorage() }, nil
}

// someone is the flags that say for whom a body is.
type someone struct {
	user, kind    string
	issuer        string
	roles, scopes []string
}

func (s *someone) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&s.roles, "role", nil, "role of the caller, repeatable")
	fl.StringArrayVar(&s.scopes, "scope", nil, "scope of the caller, repeatable")
	fl.StringVar(&s.user, "user", "", "ID of the caller")
	fl.StringVar(&s.issuer, "issuer", "", "the issuer of the caller's credential: its name, or internal")
	fl.StringVar(&s.kind, "kind", "", "kind of the caller's credential (default: jwt)")
}

// preview is the flags of `caddy moat redact`.
type preview struct {
	choice
	someone
	contentType string
	request     bool
	explain     bool
}

func redactCommand() *cobra.Command {
	var p preview
	cmd := &cobra.Command{
		Use:   "redact --config <file> [--role <role>]... [--scope <scope>]... [--user <id>] [--explain] < body.json",
		Short: "Shows what a caller would see of a response",
		Long: `Show what a caller would see of a response.

The body comes from standard input. The rules come from the redact directive in
the configuration. Without --role, --scope, --user, --issuer and --kind the caller is
anonymous and sees the least.

With --explain the output is not the body but a list of the values that a rule
changed: the JSON Pointer (RFC 6901) of the value in the input, and the rule. If
the input has several JSON texts, the number of the text precedes its pointers.

A body that the server would reject is an error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			return p.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	p.choice.flags(cmd)
	p.someone.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&p.contentType, "content-type", "application/json", "media type of the body")
	fl.BoolVar(&p.request, "request", false, "the body is one of a request: apply the rules in requests")
	fl.BoolVar(&p.explain, "explain", false, "list which rule changed which value")
	return cmd
}

// caller returns nil where no flag was given: anonymous.
func (s *someone) caller() *principal.Principal {
	if s.user == "" && s.issuer == "" && s.kind == "" && len(s.roles) == 0 && len(s.scopes) == 0 {
		return nil
	}
	c := &principal.Principal{ID: s.user, Issuer: s.issuer, Kind: s.kind, Roles: s.roles, Scopes: s.scopes}
	if c.Kind == "" {
		c.Kind = principal.KindJWT
	}
	if c.Issuer == principal.Internal {
		c.Issuer = principal.InternalIssuer
	}
	return c
}

func (p *preview) run(ctx context.Context, in io.Reader, out io.Writer) error {
	h, keys, done, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := h.compile(keys); err != nil {
		return err
	}
	views, pass := h.responses, h.pass
	if p.request {
		if views, pass = h.requests, h.reqPass; views == nil {
			return errors.New("this redact has no requests")
		}
	}
	body, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {p.contentType}}
	l := readLabel(header, pass)
	if !p.request {
		l.prefixes = h.prefixes
	}
	k, f := judge(l, body[:min(len(body), maxSpace)])
	if !f.is() && k == form && !p.request {
		f = fault{reason: "media_type", detail: l.mediaType, passable: true}
	}
	if f.is() && !h.passes(&f) {
		return &f
	}
	n, _ := cutPrefix(l.prefixes, body)
	prefix := body[:n]
	if k == document || k == sequence {
		body = body[n:]
	} else {
		prefix = nil
	}
	if p.explain {
		if k != document && k != sequence || len(body) == 0 {
			return errors.New("--explain needs JSON")
		}
		return views.explain(out, p.caller(), bytes.TrimPrefix(body, bom))
	}
	v, err := views.of(p.caller())
	if err != nil {
		return err
	}
	if v == nil || len(body) == 0 || f.is() || !reads(k) && k != events {
		_, err := out.Write(body)
		return err
	}
	var shown bytes.Buffer
	if err := h.show(&shown, v, &requestText{header: header, label: l, kind: k, first: body}, p, body); err != nil {
		return err
	}
	_, err = out.Write(append(prefix[:len(prefix):len(prefix)], shown.Bytes()...))
	return err
}

// show writes what a caller sees of a body.
func (h *Handler) show(out io.Writer, v *view, t *requestText, p *preview, body []byte) error {
	var w rewriter
	var f fault
	caller := redaction.Caller{ID: p.user, Vault: redaction.NewVault()}
	switch {
	case t.kind == events:
		s := newEventStream(out, v.program.NewRewriter(nil), h, caller)
		if err := s.write(body); err != nil {
			return err
		}
		return s.end()
	case p.request:
		w, f = newRequestRewriter(t, h, v, caller, out)
	case t.kind == multi, t.kind == envelopes:
		w, f = newFramed(t.kind, t.header, h, v, caller, out)
	default:
		text := &jsonBody{Rewriter: v.program.NewRewriter(out), document: t.kind == document, ascii: t.label.charset == superCharset}
		text.SetCaller(caller)
		w = text
	}
	if f.is() {
		return &f
	}
	_, err := w.Write(body)
	if err == nil {
		err = w.Close()
	}
	var e *redaction.Error
	if errors.As(err, &e) && e.Pointer != "" {
		return fmt.Errorf("%w, in %s", err, e.Pointer)
	}
	return err
}

// unsealing is the flags of `caddy moat decrypt`.
type unsealing struct {
	choice
	user, path string
}

func decryptCommand() *cobra.Command {
	var u unsealing
	cmd := &cobra.Command{
		Use:   "decrypt --config <file> [--user <id>] (< body.json | --path <pointer> <value>)",
		Short: "Decrypts what redact has encrypted",
		Long: `Decrypt what redact has encrypted.

Without an argument, standard input is a JSON document as a caller got it,
and the output is the same document with every encrypted value decrypted.
Encrypted values are bound to the caller (--user, empty for an anonymous one)
and to their position in the document: a value by itself needs --path, its JSON
Pointer (RFC 6901).

The keys come from the redact directive in the configuration. A value that
does not decrypt (another key, caller or position, or an altered value) is an error.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			_, keys, done, err := u.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			o := opening{keys, u.user}
			if len(args) == 1 {
				plain, err := o.open(args[0], u.path)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", plain)
				return err
			}
			if u.path != "" {
				return errors.New("--path is for a value given as an argument")
			}
			return o.document(cmd.OutOrStdout(), cmd.InOrStdin())
		},
	}
	u.flags(cmd)
	cmd.Flags().StringVar(&u.user, "user", "", "ID of the caller who got the document")
	cmd.Flags().StringVar(&u.path, "path", "", "JSON Pointer of the value, where it is given as an argument")
	return cmd
}

// opening decrypts for one caller.
type opening struct {
	keys *keyring
	user string
}

// open returns the JSON of a value that stood at pointer.
func (o opening) open(sealed, pointer string) ([]byte, error) {
	prefix, id, _ := mask.SealedBy(sealed)
	cipher := &aesKeys
	if prefix == sm4Keys.prefix {
		cipher = &sm4Keys
	}
	openers, err := o.keys.openers(cipher)
	if err != nil {
		return nil, err
	}
	for _, k := range openers {
		if plain, err := k.Open(sealed, pointer, o.user); err == nil {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("the value at %q (key %q) cannot be decrypted: it is for another caller, path or key, or was altered", pointer, id)
}

// document copies a document with its encrypted values decrypted.
func (o opening) document(out io.Writer, in io.Reader) error {
	body, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	texts, err := splitTexts(body)
	if err != nil {
		return err
	}
	var made bytes.Buffer
	from := 0
	for _, t := range texts {
		made.Write(body[from:t.from])
		if err := o.text(&made, body[t.from:t.to]); err != nil {
			return err
		}
		from = t.to
	}
	made.Write(body[from:])
	_, err = out.Write(made.Bytes())
	return err
}

// text appends a text with its encrypted values decrypted.
func (o opening) text(made *bytes.Buffer, body []byte) error {
	root, err := parseTree(body)
	if err != nil {
		return err
	}
	from := 0
	err = root.walk("", func(pointer string, n *node) error {
		text, ok := n.text()
		if !ok {
			return nil
		}
		if _, sealed := mask.KeyID(text); !sealed {
			return nil
		}
		plain, err := o.open(text, pointer)
		if err != nil {
			return err
		}
		made.Write(body[from:n.start])
		made.Write(plain)
		from = n.end
		return nil
	})
	made.Write(body[from:])
	return err
}

// explain prints which rule touches which value of body.
func (v *views) explain(out io.Writer, p *principal.Principal, body []byte) error {
	list, err := splitTexts(body)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	touches := 0
	for i, text := range list {
		found, err := v.touched(p, body[text.from:text.to])
		if err != nil {
			return err
		}
		touches += len(found)
		for _, t := range found {
			if t.pointer == "" {
				t.pointer = `""`
			}
			if len(list) > 1 {
				fmt.Fprintf(w, "%d\t", i+1)
			}
			fmt.Fprintf(w, "%s\t%s\n", t.pointer, t.rule)
		}
	}
	if touches == 0 {
		fmt.Fprintln(os.Stderr, "no rule touches anything")
	}
	return w.Flush()
}
